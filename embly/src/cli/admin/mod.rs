//! Commands that ask a running master: `masters`, `ps`, `top`, `logs`, `trace`, `kill`, `ready`, `reload`,
//! `deploy`, `versions`, `rollback`, `stop`.

mod beginning;
mod client;
mod deploy;
mod find;
mod logs;
mod rates;
mod shown;
mod top;
mod trace;

use http::Method;
use serde::Serialize;

use super::output::{self, Table};
use super::{Exit, context, serve};
use crate::admin::api;
use crate::master;
use crate::report::{Format, Reporter};
pub use beginning::Beginning;
use client::{Client, Refusal};
pub use deploy::{Deploy, Kept, run as deploy};
use find::Found;
pub use find::{Named, Which, answering};
pub use logs::Logs;
use shown::{age, size};
pub use top::Top;
pub use trace::Trace;

/// What can be asked.
#[derive(Debug)]
pub enum Ask<'a> {
    /// Which masters there are.
    Masters,
    /// What runs; with `true`, what can run.
    Ps(&'a Which, bool),
    /// What runs, again and again.
    Top(&'a Top),
    /// What functions have written.
    Logs(&'a Logs),
    /// What an invocation did, and all that belongs to it.
    Trace(&'a Trace),
    /// End an invocation.
    Kill(&'a Which, &'a Beginning),
    /// Whether it serves.
    Ready(&'a Which),
    /// Read the project again.
    Reload(&'a Which),
    /// Which versions there are.
    Versions(&'a Kept),
    /// Serve another version.
    Rollback(&'a Named, Option<u64>),
    /// Stop.
    Stop(&'a Which),
}

/// Asks, and shows the answer.
pub fn run(ask: &Ask<'_>, reporter: &Reporter) -> Exit {
    let runtime = match serve::runtime(reporter) {
        Ok(runtime) => runtime,
        Err(exit) => return exit,
    };
    serve::block_on(runtime, async {
        let done = match ask {
            Ask::Masters => masters(reporter).await,
            Ask::Ps(which, false) => ps(which, reporter).await,
            Ask::Ps(which, true) => functions(which, reporter).await,
            Ask::Top(top) => top.run(reporter).await,
            Ask::Logs(logs) => logs.run(reporter).await,
            Ask::Trace(trace) => trace.run(reporter).await,
            Ask::Kill(which, address) => kill(which, address, reporter).await,
            Ask::Ready(which) => ready(which, reporter).await,
            Ask::Reload(which) => reload(which, reporter).await,
            Ask::Versions(kept) => deploy::versions(kept, reporter).await,
            Ask::Rollback(named, version) => deploy::rollback(named, *version, reporter).await,
            Ask::Stop(which) => stop(which, reporter).await,
        };
        done.err().unwrap_or(Exit::Done)
    })
}

/// An object of the API as an event.
#[derive(Serialize)]
struct Shown<'a, T> {
    event: &'static str,
    #[serde(flatten)]
    what: &'a T,
}

fn json<T: Serialize>(event: &'static str, all: &[T], reporter: &Reporter) -> Result<(), Exit> {
    output::json(all.iter().map(|what| Shown { event, what }), reporter)
}

/// Says why the answer is not the one that was asked for.
fn refused(refusal: Refusal, reporter: &Reporter) -> Exit {
    match refusal {
        Refusal::Failed(failure) => {
            reporter.error(format!("{}: {}", failure.message, failure.help));
        }
        Refusal::Silent(why) => {
            reporter.error(format!(
                "the master does not answer: {why}; `embly masters` shows those that run"
            ));
        }
    }
    Exit::Failed
}

async fn masters(reporter: &Reporter) -> Result<(), Exit> {
    let found = find::all(reporter).await?;
    let masters: Vec<_> = found.into_iter().map(|found| found.master).collect();
    if reporter.options().format == Format::Json {
        return json("master", &masters, reporter);
    }
    let begun = master::begun();
    for file in &begun {
        let file = context::shown(file);
        reporter.info(format!("`{file}` {}", find::STILL_BUILT));
    }
    if masters.is_empty() && begun.is_empty() {
        reporter.info("no master runs");
    }
    let mut table = Table::new(["ID", "PID", "COMMAND", "STATE", "SINCE", "PROJECT"]);
    let looked_at = output::is_looked_at(reporter);
    for master in masters {
        let since = match looked_at {
            true => shown::clock(&master.since),
            false => shown::time(&master.since),
        };
        table.row([
            master.id,
            master.pid.to_string(),
            master.command,
            master.state,
            since,
            shown::project(&master.project).to_owned(),
        ]);
    }
    table.print(reporter)
}

async fn ps(which: &Which, reporter: &Reporter) -> Result<(), Exit> {
    let Found { client, .. } = which.find(reporter).await?;
    let api::Invocations { invocations } = client
        .get("/v1/invocations")
        .await
        .map_err(|refusal| refused(refusal, reporter))?;
    if reporter.options().format == Format::Json {
        return json("invocation", &invocations, reporter);
    }
    print(&invocations, reporter)
}

/// What is said instead of an empty table.
pub(super) const NOTHING_RUNS: &str =
    "no invocation runs; `embly trace` lists those that have ended";

/// Invocations for people.
fn print(invocations: &[api::Invocation], reporter: &Reporter) -> Result<(), Exit> {
    if invocations.is_empty() {
        reporter.info(NOTHING_RUNS);
        return Ok(());
    }
    table(invocations).print(reporter)
}

/// Invocations in columns.
pub(super) fn table(invocations: &[api::Invocation]) -> Table {
    let mut table = Table::new([
        "ADDRESS", "FUNCTION", "FROM", "STATE", "AGE", "CPU", "MEMORY", "IN", "OUT",
    ]);
    for one in invocations {
        table.row([
            one.address.clone(),
            one.function.clone(),
            // A gateway's side of a request says nothing that its name does not.
            one.gateway.clone().unwrap_or_else(|| one.parent.clone()),
            one.state.clone(),
            age(one.age_us),
            one.cpu_us.map_or_else(|| "-".to_owned(), age),
            one.memory_bytes.map_or_else(|| "-".to_owned(), size),
            size(one.bytes_in),
            size(one.bytes_out),
        ]);
    }
    table
}

async fn functions(which: &Which, reporter: &Reporter) -> Result<(), Exit> {
    let Found { client, .. } = which.find(reporter).await?;
    let api::Functions { functions } = client
        .get("/v1/functions")
        .await
        .map_err(|refusal| refused(refusal, reporter))?;
    if reporter.options().format == Format::Json {
        return json("function", &functions, reporter);
    }
    let mut table = Table::new(["FUNCTION", "LIVE", "PARKED", "WAITING", "REFUSED", "ENDED"]);
    for one in functions {
        let numbers = [one.live, one.parked, one.waiting, one.refused, one.ended];
        let numbers = numbers.into_iter().map(|number| number.to_string());
        table.row(std::iter::once(one.name).chain(numbers));
    }
    table.print(reporter)
}

async fn kill(which: &Which, address: &Beginning, reporter: &Reporter) -> Result<(), Exit> {
    let Found { client, .. } = which.find_to_change(reporter).await?;
    let address = match address.whole() {
        Some(whole) => whole.to_owned(),
        None => {
            let asked = client.get("/v1/invocations").await;
            let api::Invocations { invocations } = asked.map_err(|it| refused(it, reporter))?;
            let found = address.find(&invocations).map(str::to_owned);
            found.map_err(|why| {
                reporter.error(why);
                Exit::Failed
            })?
        }
    };
    let path = format!("/v1/invocations/{address}/kill");
    let killed: api::Killed = client
        .ask(&Method::POST, &path)
        .await
        .map_err(|refusal| refused(refusal, reporter))?;
    if reporter.options().format == Format::Json {
        return json("killed", &[killed], reporter);
    }
    let api::Killed { address, function } = killed;
    reporter.info(format!("killed {function} {address}"));
    Ok(())
}

async fn ready(which: &Which, reporter: &Reporter) -> Result<(), Exit> {
    let Found { master, .. } = which.find(reporter).await?;
    if reporter.options().format == Format::Json {
        json("master", std::slice::from_ref(&master), reporter)?;
    }
    let serves = master.state == "serving";
    let said = format!("{} is {}", master.project, master.state);
    match serves {
        true => reporter.info(said),
        false => reporter.error(said),
    }
    serves.then_some(()).ok_or(Exit::Failed)
}

async fn reload(which: &Which, reporter: &Reporter) -> Result<(), Exit> {
    let Found { client, master } = which.find_to_change(reporter).await?;
    let reloaded: Result<api::Reloaded, _> = client.ask(&Method::POST, "/v1/reload").await;
    let reloaded = reloaded.map(|reloaded| ((), reloaded.problems));
    changed(reloaded, reporter)?;
    reporter.info(format!("reloaded {}", master.project));
    Ok(())
}

/// What has come of a change: what is to be said of the project file is shown, and so is a failure.
fn changed<T>(
    changed: Result<(T, Vec<serde_json::Value>), Refusal>,
    reporter: &Reporter,
) -> Result<T, Exit> {
    let (problems, changed) = match changed {
        Ok((changed, problems)) => (problems, Ok(changed)),
        Err(Refusal::Failed(failure)) => (failure.problems.clone(), Err(failure)),
        Err(silent) => return Err(refused(silent, reporter)),
    };
    if reporter.options().format == Format::Json {
        if !problems.is_empty() {
            let problems = serde_json::json!({"problems": problems});
            json("problems", &[problems], reporter)?;
        }
    } else {
        problems
            .iter()
            .for_each(|problem| reporter.words(shown::problem(problem)));
    }
    changed.map_err(|failure| {
        let wrong_file = failure.code == crate::admin::PROJECT_FILE.name;
        let exit = refused(Refusal::Failed(failure), reporter);
        if wrong_file { Exit::Usage } else { exit }
    })
}

async fn stop(which: &Which, reporter: &Reporter) -> Result<(), Exit> {
    let Found { client, master } = which.find_to_change(reporter).await?;
    let wrong = |refusal| refused(refusal, reporter);
    // It ends when the master does.
    let mut until_its_end = end(&client).await.map_err(wrong)?;
    let api::Stopping { running } = client
        .ask(&Method::POST, "/v1/stop")
        .await
        .map_err(|refusal| refused(refusal, reporter))?;
    if running > 0 {
        let what = if running == 1 {
            "invocation runs"
        } else {
            "invocations run"
        };
        reporter.info(format!(
            "{running} {what}; type `embly stop` once more to end what runs at once"
        ));
    }
    while until_its_end.next().await.is_some() {}
    reporter.info(format!("stopped {}", master.project));
    Ok(())
}

async fn end(client: &Client) -> Result<client::Lines, Refusal> {
    client.lines(&Method::GET, "/v1/events?follow").await
}
