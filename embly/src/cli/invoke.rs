//! `embly invoke`: runs one function once, with this terminal for its client.

mod input;
mod output;

use std::collections::BTreeSet;
use std::future::ready;
use std::path::PathBuf;

use clap::Args;
use embly_wrapper::jail::{Policy, User};
use protos::{Ending, Reason};
use tokio_util::task::AbortOnDropHandle;

use super::context::{self, Need};
use super::scratch::Scratch;
use super::serve::{self, Signals, Unbuilt};
use super::{Exit, Project, Serve, build};
use crate::config::{self, Function};
use crate::limits::Limits;
use crate::master::Master;
use crate::report::{Reporter, describe};
use crate::state;
use crate::store::{self, Place};
use crate::switchboard::{Exchange, Origin, StreamEvent, Times};
use input::Input;
use output::{Output, Took};

/// Embly itself could not do it, as the shell's `timeout` and `docker run` say it.
const OWN_FAILURE: u8 = 125;

/// A limit ended it, as `timeout` says it.
const LIMIT: u8 = 124;

/// It trapped: what a shell says of a program that aborts (128 and SIGABRT).
const TRAP: u8 = 134;

/// A signal asked for the end: what a shell says of SIGINT.
const INTERRUPTED: u8 = 130;

/// A code of the function that does not fit into one byte.
const OTHER_CODE: u8 = 255;

#[derive(Debug, Args)]
pub(super) struct Invoke {
    /// The function
    name: String,
    #[command(flatten)]
    project: Project,
    #[command(flatten)]
    request: input::Request,
    /// A variable of its environment, on top of those of the project file; may be given several times
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_variable)]
    env: Vec<String>,
    /// Folder of what is kept: stores, secrets [default: data, in the project]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// As root: the user that functions run as, by number, of whom nothing else should run
    #[arg(long, value_name = "UID[:GID]")]
    jail_user: Option<User>,
    /// Do not start where a part of the jail is missing
    #[arg(long)]
    require_jail: bool,
    /// Arguments of the function, after its name
    #[arg(last = true, value_name = "ARGUMENT")]
    arguments: Vec<String>,
}

fn parse_variable(text: &str) -> Result<String, String> {
    match text.split_once('=') {
        Some((name, _)) if !name.is_empty() && !text.contains('\0') => Ok(text.to_owned()),
        _ => Err("`NAME=VALUE` is expected".to_owned()),
    }
}

/// Runs it once.
pub fn run(invoke: Invoke, reporter: &Reporter) -> Exit {
    once(invoke, reporter).unwrap_or_else(own)
}

/// A failure that is not the function's.
fn own(exit: Exit) -> Exit {
    match exit {
        Exit::Failed => Exit::Code(OWN_FAILURE),
        Exit::Done | Exit::Usage | Exit::Code(_) => exit,
    }
}

fn once(invoke: Invoke, reporter: &Reporter) -> Result<Exit, Exit> {
    let Invoke {
        name,
        project,
        request,
        env,
        state,
        jail_user,
        require_jail,
        arguments,
    } = invoke;
    let (input, output) = request.open(reporter)?;
    let mut options = Serve::alone(project, jail_user, require_jail);
    options.state = state;
    let need = Need::Secrets(options.state.as_deref());
    let mut project = context::project(&options.project.chosen, false, need, reporter)?;
    let needed = needed(&mut project, &name, reporter)?;
    // It is the only way in.
    project.gateways.clear();
    // They may be those of a master that runs.
    project.logs.clear();
    project.crons.clear();
    let policy = serve::policy(&options, reporter)?;
    let origin = Origin {
        request_id: input.request_id(),
        env: (!env.is_empty()).then(|| env.into()),
        args: (!arguments.is_empty()).then(|| arguments.into()),
        ..Origin::default()
    };
    let runtime = serve::runtime(reporter)?;
    let call = Call {
        name,
        needed,
        origin,
        input,
        output,
    };
    Ok(serve::block_on(runtime, async {
        let exit = serve_and_call(options, policy, project, call, reporter).await;
        exit.unwrap_or_else(own)
    }))
}

/// The functions that have to be built: this one, those that the project keeps running beside it,
/// and all that they may start. It is itself started once, whatever the project says.
fn needed(
    project: &mut config::Project,
    name: &str,
    reporter: &Reporter,
) -> Result<BTreeSet<String>, Exit> {
    let names = || project.functions.iter().map(|function| &*function.name);
    if !names().any(|other| other == name) {
        let help = match config::nearest(name, names()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("there are `{}`", names().collect::<Vec<_>>().join("`, `")),
        };
        let name: String = name.escape_debug().collect();
        reporter.error(format!("there is no function `{name}`: {help}"));
        return Err(Exit::Usage);
    }
    let kept = project
        .functions
        .iter()
        .filter(|other| other.start.is_some());
    let mut next: Vec<String> = kept.map(|function| function.name.clone()).collect();
    next.push(name.to_owned());
    let mut needed = BTreeSet::new();
    while let Some(name) = next.pop() {
        let mut functions = project.functions.iter();
        let Some(function) = functions.find(|function| function.name == name) else {
            continue;
        };
        if needed.insert(name) {
            match &function.allow.spawn {
                Some(names) => next.extend(names.iter().cloned()),
                None => next.extend(names().map(str::to_owned)),
            }
        }
    }
    for function in &mut project.functions {
        if function.name == name {
            function.start = None;
        }
    }
    Ok(needed)
}

/// What is to be run, and with what.
struct Call {
    name: String,
    needed: BTreeSet<String>,
    origin: Origin,
    input: Input,
    output: Output,
}

async fn serve_and_call(
    mut options: Serve,
    policy: Policy,
    project: config::Project,
    call: Call,
    reporter: &Reporter,
) -> Result<Exit, Exit> {
    let mut signals = Signals::take(reporter)?;
    let jail = serve::check_jail(policy, reporter);
    let secrets = serve::secrets(&options, &project, reporter);
    let copies = copies(&options, &project, reporter)?;
    if let Some(copies) = &copies {
        options.state = Some(copies.path().to_owned());
    }
    let (theirs, to, needed) = (project.clone(), reporter.clone(), call.needed.clone());
    let how = build::How::to_work_on(&options.project);
    let work = move |cancel: &_| {
        let functions = theirs.functions.iter();
        let functions: Vec<&Function> = functions
            .filter(|function| needed.contains(&function.name))
            .collect();
        build::some(&theirs, &functions, how, cancel, &to)
    };
    let built = match serve::build(&mut signals, work).await {
        Ok(built) if built.failed.is_empty() => built,
        Ok(_) => return Err(Exit::Failed),
        Err(Unbuilt::Stopped) => return Err(Exit::Code(INTERRUPTED)),
        Err(Unbuilt::Failed(exit)) => return Err(exit),
    };
    let master = serve::start(
        &options,
        (jail, None),
        secrets,
        &project,
        &built,
        None,
        &mut signals,
        reporter,
    )
    .await
    .map_err(|exit| match exit {
        // A signal came.
        Exit::Done => Exit::Code(INTERRUPTED),
        other => other,
    })?;
    let exit = tokio::select! {
        exit = talk(&master, call, reporter) => Some(exit),
        () = signals.stop() => None,
    };
    match exit {
        Some(exit) => {
            // What it has left behind may finish.
            serve::drain(master, &mut signals, reporter).await;
            Ok(exit)
        }
        None => {
            master.stop(ready(())).await;
            Ok(Exit::Code(INTERRUPTED))
        }
    }
}

/// Where a master uses the stores of the project, copies of them, as they are now.
fn copies(
    options: &Serve,
    project: &config::Project,
    reporter: &Reporter,
) -> Result<Option<Scratch>, Exit> {
    let folder = context::state(&project.file, options.state.as_deref());
    if project.stores.is_empty() || !state::is_taken(&folder) {
        return Ok(None);
    }
    let fail = |error: String| {
        reporter.error(format!("cannot copy the stores of the project: {error}"));
        Exit::Failed
    };
    let copies = Scratch::make("invoke").map_err(|error| fail(error.to_string()))?;
    for store in &project.stores {
        let (from, to) = [folder.as_path(), copies.path()]
            .map(|state| Place::new(store, state))
            .into();
        // One that nobody has used yet is as empty in a copy.
        if from.path.exists() {
            let made = to.path.parent().map_or(Ok(()), state::make);
            made.map_err(|error| fail(error.to_string()))?;
            store::backup(&from, &to.path).map_err(|error| fail(error.to_string()))?;
        }
    }
    reporter.info(
        "a master uses the stores of this project: the function gets copies of them, which are gone afterwards",
    );
    Ok(Some(copies))
}

/// Runs the function to its end: what is read goes to it, what it says is printed.
async fn talk(master: &Master, call: Call, reporter: &Reporter) -> Exit {
    let Call {
        name,
        origin,
        input,
        mut output,
        ..
    } = call;
    let switchboard = master.switchboard();
    // Both are there: it was built and is served, and nothing else runs of it.
    let Some(function) = switchboard.functions().get(&name) else {
        reporter.error(format!("`{name}` was not built"));
        return Exit::Code(OWN_FAILURE);
    };
    let Some(permit) = function.permit().await else {
        return Exit::Code(OWN_FAILURE);
    };
    let times = times(&function.limits, output.is_http());
    let most = function.limits.request_body.unwrap_or(u64::MAX);
    output.at_most(function.limits.response_body.unwrap_or(u64::MAX));
    let exchange = match switchboard.start(function, permit, origin, times) {
        Ok(exchange) => exchange,
        Err(ending) => {
            reporter.error(format!("`{name}` was not started: {}", describe(&ending)));
            return Exit::Code(code(&ending));
        }
    };
    let Exchange { sink, mut source } = exchange;
    // It is not waited for: what it reads may never end.
    let _upload = AbortOnDropHandle::new(tokio::spawn(input.send(sink, most, reporter.clone())));
    let mut deaf = false;
    loop {
        let took = match source.next().await {
            Some(StreamEvent::Data(data)) => output.data(data).await,
            Some(StreamEvent::HalfClose) => output.half_close(),
            Some(StreamEvent::Ended(mut finished)) => {
                if let Err(ending) = output.end() {
                    finished.amend(ending.reason, &ending.detail);
                }
                return match finished.ending.reason {
                    // We have ended it ourselves.
                    Reason::ClientGone if deaf => Exit::Done,
                    _ => Exit::Code(code(&finished.ending)),
                };
            }
            None => return Exit::Code(OWN_FAILURE),
        };
        match took {
            Ok(Took::All) => {}
            Ok(Took::Head) => source.head_received(),
            Ok(Took::Whole) => {
                source.head_received();
                source.response_complete();
            }
            Ok(Took::Deaf) => {
                deaf = true;
                source.stop(Reason::ClientGone, "nobody reads what it writes");
            }
            Err(output::Error::Response(ending)) => {
                let code = code(&ending);
                source.condemn(ending);
                return Exit::Code(code);
            }
            Err(output::Error::Write(error)) => {
                reporter.error(format!("cannot write to stdout: {error}"));
                return Exit::Code(OWN_FAILURE);
            }
        }
    }
}

/// Nobody else waits for it, so only what the project file says ends it.
fn times(limits: &Limits, http: bool) -> Times {
    Times {
        wall: limits.wall.or(None),
        idle: limits.idle.or(None),
        response: None,
        head: http,
        total: limits.total,
        background: limits.background.filter(|_| http),
    }
}

/// The exit code for an ending.
fn code(ending: &Ending) -> u8 {
    match ending.reason {
        Reason::Ok => 0,
        Reason::Exit => u8::try_from(ending.code).unwrap_or(OTHER_CODE),
        Reason::Trap => TRAP,
        Reason::Memory
        | Reason::Cpu
        | Reason::Wall
        | Reason::Idle
        | Reason::Flood
        | Reason::TooLarge => LIMIT,
        Reason::NoResponse | Reason::BadResponse => 1,
        Reason::Violation
        | Reason::Killed
        | Reason::Lost
        | Reason::Refused
        | Reason::Overloaded
        | Reason::Backoff
        | Reason::Starting
        | Reason::ClientGone
        | Reason::ParentEnded
        | Reason::Shutdown
        | Reason::Replaced => OWN_FAILURE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_code_is_that_of_the_function_and_never_0_for_another() {
        let exit = |code| Ending {
            code,
            ..Ending::new(Reason::Exit, "")
        };
        for (ending, is) in [
            (exit(3), 3),
            (exit(255), 255),
            (exit(256), OTHER_CODE),
            (exit(-1), OTHER_CODE),
            (Ending::new(Reason::Ok, ""), 0),
            (Ending::new(Reason::Trap, ""), TRAP),
            (Ending::new(Reason::Cpu, ""), LIMIT),
        ] {
            assert_eq!(code(&ending), is, "{ending:?}");
        }
        for reason in Reason::ALL.iter().filter(|reason| **reason != Reason::Exit) {
            let is_0 = code(&Ending::new(*reason, "")) == 0;
            assert_eq!(is_0, *reason == Reason::Ok, "{reason}");
        }
    }

    #[test]
    fn a_variable_has_a_name() {
        assert_eq!(parse_variable("A=b=c"), Ok("A=b=c".to_owned()));
        assert_eq!(parse_variable("A="), Ok("A=".to_owned()));
        assert!(parse_variable("A").is_err());
        assert!(parse_variable("=b").is_err());
    }
}
