//! Traces as the API shows them.

use std::collections::HashSet;

use protos::Address;

use super::api;
use crate::secrets::Masks;
use crate::switchboard::{Life, Log, Switchboard, Trace, Traced, What};

/// So many of one request are shown, the last: each has a trace for the function in front of others
/// and one for the function itself, and whoever makes ids may use one twice.
const OF_ONE_REQUEST: usize = 16;

/// So many are named of those that begin alike, the last.
const ALIKE: usize = 8;

/// All that are kept, in a few words.
pub fn list(switchboard: &Switchboard, function: Option<&str>) -> api::Traces {
    let traces = switchboard.traces();
    let masks = switchboard.reporter().masks();
    let brief = traces
        .iter()
        .filter_map(|trace| trace.look(|log| brief(trace, log, function, masks)));
    api::Traces {
        traces: brief.collect(),
    }
}

/// Why there is no trace to show.
#[derive(Debug)]
pub enum NotFound {
    /// Nothing is kept of it.
    Unknown,
    /// More than one id begins like this.
    Several(String),
}

/// Those of an invocation or a request, by its whole id, or by the beginning of one.
pub fn find(switchboard: &Switchboard, id: &str) -> Result<api::Traced, NotFound> {
    if let Some(found) = of(switchboard, id) {
        return Ok(found);
    }
    match &begins(switchboard, id)[..] {
        [] => Err(NotFound::Unknown),
        [one] => of(switchboard, one).ok_or(NotFound::Unknown),
        several => Err(NotFound::Several(named(several))),
    }
}

/// The ids that begin like this, the last first: of requests, and of invocations whose request does not.
fn begins(switchboard: &Switchboard, id: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for trace in switchboard.traces().iter().rev() {
        trace.look(|log| {
            for one in &log.invocations {
                let request = one.request_id.as_deref().map(str::to_owned);
                let request = request.filter(|request| request.starts_with(id));
                let address = || Some(one.address.to_string()).filter(|it| it.starts_with(id));
                found.extend(request.or_else(address));
            }
        });
    }
    let mut seen = HashSet::new();
    found.retain(|one| seen.insert(one.clone()));
    found
}

/// Some of them, and how many there are beside.
fn named(ids: &[String]) -> String {
    let shown = ids.iter().take(ALIKE).map(|one| format!("`{one}`"));
    let shown = shown.collect::<Vec<_>>().join(", ");
    match ids.len().saturating_sub(ALIKE) {
        0 => shown,
        more => format!("{shown}, and {more} more"),
    }
}

fn of(switchboard: &Switchboard, id: &str) -> Option<api::Traced> {
    let masks = switchboard.reporter().masks();
    let address: Option<Address> = id.parse().ok();
    let is_meant = |one: &Traced| {
        one.request_id.as_deref() == Some(id) || address.is_some_and(|it| it == one.address)
    };
    let traces = switchboard.traces();
    let mut found: Vec<_> = traces
        .iter()
        .rev()
        .filter_map(|trace| {
            trace.look(|log| {
                let meant = log.invocations.iter().any(is_meant);
                meant.then(|| shown(trace, log, masks))
            })
        })
        .take(OF_ONE_REQUEST)
        .collect();
    found.reverse();
    (!found.is_empty()).then_some(api::Traced { traces: found })
}

fn brief(trace: &Trace, log: &Log, function: Option<&str>, masks: &Masks) -> Option<api::Brief> {
    let first = log.invocations.first()?;
    if function.is_some_and(|function| *first.function != *function) {
        return None;
    }
    let ends = log.invocations.iter().map(|one| match &one.life {
        Life::Over(over) => Some(over.at),
        Life::Runs(_) => None,
    });
    // What is not kept may run as well, which is no reason to look for it.
    let end: Option<Vec<u64>> = ends.collect();
    let end = end.and_then(|ends| ends.into_iter().max());
    let Asked {
        method,
        path,
        status,
        failed,
    } = asked(trace, masks);
    Some(api::Brief {
        method,
        path,
        status,
        failed,
        address: first.address.to_string(),
        function: first.function.to_string(),
        gateway: first.gateway.as_deref().map(str::to_owned),
        request_id: first.request_id.as_deref().map(str::to_owned),
        time: time(trace),
        total_us: end.unwrap_or_else(|| trace.age()),
        reason: match &first.life {
            Life::Over(over) => Some(over.ending.reason.to_string()),
            Life::Runs(_) => None,
        },
        invocations: log.invocations.len() as u64,
        messages: log.messages().count() as u64,
    })
}

/// What a request asked for, and got.
#[derive(Default)]
struct Asked {
    method: Option<String>,
    path: Option<String>,
    status: Option<u64>,
    failed: bool,
}

fn asked(trace: &Trace, masks: &Masks) -> Asked {
    let Some(requested) = &trace.requested else {
        return Asked::default();
    };
    Asked {
        method: Some((*requested.method).to_owned()),
        // Once more: there may be secrets that were not known when the request came.
        path: Some(masks.mask(&requested.path).into_owned()),
        status: requested.status().map(u64::from),
        failed: requested.has_failed(),
    }
}

fn time(trace: &Trace) -> String {
    format!("{:.6}", trace.time)
}

fn shown(trace: &Trace, log: &Log, masks: &Masks) -> api::Trace {
    let messages = log.messages().map(|message| {
        let (kind, bytes) = match message.what {
            What::Data(bytes) => ("data", bytes),
            What::Close => ("close", 0),
        };
        api::TracedMessage {
            at_us: message.at,
            from: message.from.to_string(),
            to: message.to.to_string(),
            kind: kind.to_owned(),
            bytes: u64::from(bytes),
        }
    });
    let refusals = log.refusals.iter().map(|refusal| api::TracedRefusal {
        at_us: refusal.at,
        address: refusal.to.to_string(),
        what: refusal.what.to_string(),
    });
    let Asked {
        method,
        path,
        status,
        failed,
    } = asked(trace, masks);
    api::Trace {
        time: time(trace),
        method,
        path,
        status,
        failed,
        invocations: log.invocations.iter().map(invocation).collect(),
        messages: messages.collect(),
        refusals: refusals.collect(),
        invocations_left_out: log.left_out.invocations,
        messages_left_out: log.left_out.messages,
        refusals_left_out: log.left_out.refusals,
    }
}

fn invocation(one: &Traced) -> api::TracedInvocation {
    let (over, bytes) = match &one.life {
        Life::Over(over) => (Some(over), Some(over.bytes)),
        Life::Runs(live) => (None, live.as_ref().map(|live| live.bytes())),
    };
    api::TracedInvocation {
        address: one.address.to_string(),
        parent: one.parent.to_string(),
        function: one.function.to_string(),
        gateway: one.gateway.as_deref().map(str::to_owned),
        request_id: one.request_id.as_deref().map(str::to_owned),
        at_us: one.at,
        ended_us: over.map(|over| over.at),
        reason: over.map(|over| over.ending.reason.to_string()),
        code: over.map(|over| over.ending.code),
        detail: over.map(|over| over.ending.detail.clone()),
        queue_us: over.map(|over| over.used.queue_us),
        start_us: over.map(|over| over.used.start_us),
        cpu_us: over.map(|over| over.used.cpu_us),
        bytes_in: bytes.map(|(bytes_in, _)| bytes_in),
        bytes_out: bytes.map(|(_, bytes_out)| bytes_out),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_ids_that_begin_alike_some_are_named_and_the_others_counted() {
        let ids: Vec<String> = (0..=ALIKE).map(|id| format!("a{id}")).collect();
        assert_eq!(named(&ids[..2]), "`a0`, `a1`");
        let named = named(&ids);
        assert!(named.ends_with("`a7`, and 1 more"), "{named}");
    }
}
