//! A gateway of type cron: it has no socket, and starts its function when the time has come.

use super::codes;
use super::fields::{Field, Fields};
use super::function::World;
use super::gateway::function_name;
use super::limit;
use super::problem::{Problem, Problems, quote};
use super::suggest;
use super::tree::{Node, Value};
use super::{Cron, Missed, Overlap};
use crate::schedule::Schedule;

/// What `type` says.
pub(super) const TYPE: &str = "cron";

/// Whether an item of `gateways` is one.
pub(super) fn is(item: &Node) -> bool {
    let Value::Map(entries) = &item.value else {
        return false;
    };
    entries.iter().any(|entry| {
        let value = &entry.value.value;
        entry.key == "type" && matches!(value, Value::Scalar(scalar) if scalar.text == TYPE)
    })
}

/// `None` if something is wrong, and reported. `functions` is `None` when their names are not
/// known.
pub(super) fn read(
    fields: &Fields<'_>,
    name: Option<&str>,
    functions: Option<&[&str]>,
    world: &World<'_>,
    problems: &mut Problems,
) -> Option<Cron> {
    let function = fields.get("function");
    let function = function.and_then(|field| function_name(field, functions, problems));
    let zone = fields.get("timezone");
    let zone = zone.map_or(Some("UTC"), |field| timezone(field, problems));
    let schedule = fields.get("schedule");
    let schedule = schedule.and_then(|field| schedule_of(field, zone.unwrap_or("UTC"), problems));
    let overlap = fields.get("overlap").map_or(Some(Overlap::Skip), |field| {
        one_of(field, Overlap::ALL, Overlap::name, problems)
    });
    let missed = fields.get("missed").map_or(Some(Missed::Skip), |field| {
        one_of(field, Missed::ALL, Missed::name, problems)
    });
    let jitter = fields
        .get("jitter")
        .and_then(|field| limit::time(field, world.machine, problems).flatten());
    Some(Cron {
        name: name?.to_owned(),
        function: function?,
        schedule: zone.and(schedule)?,
        overlap: overlap?,
        missed: missed?,
        jitter: jitter.unwrap_or_default(),
    })
}

fn timezone<'t>(field: Field<'t>, problems: &mut Problems) -> Option<&'t str> {
    let text = field.text(problems)?;
    if jiff::tz::TimeZone::get(text).is_ok() {
        return Some(text);
    }
    let message = format!("there is no time zone {}", quote(text));
    let problem = Problem::new(&codes::CRON, field.span(), message);
    problems.push(problem.help("write a name such as `UTC` or `Europe/Berlin`"));
    None
}

fn schedule_of(field: Field<'_>, zone: &str, problems: &mut Problems) -> Option<Schedule> {
    let text = field.text(problems)?;
    Schedule::new(text, zone)
        .map_err(|error| {
            let message = format!("{} is not a schedule: {error}", quote(text));
            let help = "write minute, hour, day, month and weekday, as in `\"*/5 * * * *\"`; a \
                        sixth in front is the second";
            problems.push(Problem::new(&codes::CRON, field.span(), message).help(help));
        })
        .ok()
}

/// The one of `all` that is written there.
fn one_of<T: Copy>(
    field: Field<'_>,
    all: &[T],
    name: impl Fn(T) -> &'static str,
    problems: &mut Problems,
) -> Option<T> {
    let text = field.scalar("text", problems)?;
    let found = all.iter().copied().find(|one| name(*one) == text);
    if found.is_none() {
        let message = format!("{} is not a way for `{}`", quote(text), field.key.name);
        let names = all.iter().map(|one| name(*one));
        let help = format!("write one of {}", suggest::list(names));
        problems.push(Problem::new(&codes::CRON, field.span(), message).help(help));
    }
    found
}
