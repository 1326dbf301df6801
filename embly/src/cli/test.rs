//! `embly test`: the functions' own tests, then requests to the project as it is served.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::future::ready;
use std::io::{self, BufRead as _, Write as _};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use embly_wrapper::jail::User;
use futures_util::FutureExt as _;
use serde::Serialize;
use serde_json::Value;
use tokio::time::{sleep, timeout};

use super::context::{self, Need};
use super::scratch::Scratch;
use super::serve::{self, Signals, Unbuilt};
use super::{Exit, Serve, build};
use crate::build::rust::folder_of_tests;
use crate::config::{self, Bind, Language};
use crate::hurl::{self, Ran, Script, Wrong};
use crate::master::{BindOverride, Master};
use crate::report::{Follower, Format, Reporter, Wanted, elapsed, escape, without_colours};
use crate::telemetry::Gateway;

/// The folder of a project with its tests.
const FOLDER: &str = "tests";

/// Lines of a function may come after its answer; those of a test that has failed are waited for so long.
const LAST_LINES: Duration = Duration::from_millis(500);

/// How soon it is looked for them again.
const SOON: Duration = Duration::from_millis(2);

/// What cargo says of a test that has failed, for whoever has called it.
const RERUN: &str = "error: test failed, to rerun pass ";

/// What their names end with.
const ENDING: &str = "hurl";

#[derive(Debug, Args)]
pub(super) struct Test {
    #[command(flatten)]
    project: super::Project,
    /// Only functions, and files of `tests/`, that have this in their name
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Folder of the secrets; what else functions keep begins empty [default: data, in the project]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// As root: the user that functions run as, by number, of whom nothing else should run
    #[arg(long, value_name = "UID[:GID]")]
    jail_user: Option<User>,
    /// Do not start where a part of the jail is missing
    #[arg(long)]
    require_jail: bool,
}

/// What came of one.
#[derive(Debug, Serialize)]
struct Tested {
    event: &'static str,
    kind: Kind,
    /// The function, or the file, relative to the project's folder.
    name: String,
    passed: bool,
    elapsed_ms: u128,
    /// Of a file: requests that were answered as expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    requests: Option<usize>,
    /// Of a file: requests that it has.
    #[serde(skip)]
    of: usize,
    /// What it is found by, of all tests.
    #[serde(skip)]
    filter: String,
    problems: Vec<Problem>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Function,
    Hurl,
}

/// What was not as expected.
#[derive(Debug, Serialize)]
struct Problem {
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<usize>,
    message: String,
}

/// All of it.
#[derive(Debug, Serialize)]
struct Summary {
    event: &'static str,
    passed: usize,
    failed: usize,
}

/// Runs all tests of a project.
pub fn run(test: Test, reporter: &Reporter) -> Exit {
    tested(test, reporter).unwrap_or_else(|exit| exit)
}

fn tested(test: Test, reporter: &Reporter) -> Result<Exit, Exit> {
    let Test {
        project: place,
        filter,
        state,
        jail_user,
        require_jail,
    } = test;
    let need = Need::Secrets(state.as_deref());
    let project = context::project(&place.chosen, true, need, reporter)?;
    reporter.masks().only(&project.secrets);
    let wanted = |name: &str| filter.as_deref().is_none_or(|text| name.contains(text));
    let crates = crates(&project, wanted);
    let files = files(&project.root, wanted, reporter)?;
    if crates.is_empty() && files.is_empty() {
        return match filter {
            Some(text) => {
                let text: String = text.escape_debug().collect();
                reporter.error(format!("nothing to test has `{text}` in its name"));
                Err(Exit::Usage)
            }
            None => {
                let what = "there is nothing to test: no function in Rust, and no `tests/*.hurl`";
                reporter.info(what);
                Ok(Exit::Done)
            }
        };
    }
    let mut report = Report {
        reporter,
        is_whole: filter.is_none() && crates.len() + files.len() > 1,
        passed: 0,
        failed: 0,
    };
    for (path, names) in &crates {
        report.take(native(path, names, &project, reporter)?);
    }
    let scripts = read(&project.root, files, &mut report);
    if !scripts.is_empty() {
        let mut options = Serve::alone(place, jail_user, require_jail);
        options.state = state;
        options.bind = Some(BindOverride {
            address: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            any_port: true,
        });
        served(options, project, &scripts, &mut report)?;
    }
    Ok(report.end())
}

/// The crates of functions, each with the functions that are made of it.
fn crates(
    project: &config::Project,
    wanted: impl Fn(&str) -> bool,
) -> BTreeMap<PathBuf, Vec<String>> {
    let mut crates: BTreeMap<PathBuf, Vec<String>> = BTreeMap::new();
    for function in &project.functions {
        if function.language == Language::Rust && wanted(&function.name) {
            let names = crates.entry(function.path.clone()).or_default();
            names.push(function.name.clone());
        }
    }
    crates
}

/// The files in the folder of tests, in the order of their names.
fn files(
    root: &Path,
    wanted: impl Fn(&str) -> bool,
    reporter: &Reporter,
) -> Result<Vec<PathBuf>, Exit> {
    let folder = root.join(FOLDER);
    let entries = match fs::read_dir(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.and_then(Iterator::collect::<io::Result<Vec<_>>>),
    };
    let entries = entries.map_err(|error| {
        let folder = context::shown(&folder);
        reporter.error(format!("cannot read `{folder}`: {error}"));
        Exit::Failed
    })?;
    let paths = entries.into_iter().map(|entry| entry.path());
    let mut files: Vec<PathBuf> = paths
        .filter(|path| path.extension().is_some_and(|end| end == ENDING))
        .filter(|path| wanted(&path.file_name().unwrap_or_default().to_string_lossy()))
        .collect();
    files.sort();
    Ok(files)
}

/// Runs `cargo test` in the crate of a function. What it says is passed on, to stderr.
fn native(
    path: &Path,
    names: &[String],
    project: &config::Project,
    reporter: &Reporter,
) -> Result<Tested, Exit> {
    let began = Instant::now();
    let filter = names.first().cloned().unwrap_or_default();
    let names = names.join(", ");
    reporter.info(format!("cargo test in `{}`", context::shown(path)));
    let mut cargo = Command::new("cargo");
    cargo.arg("test").current_dir(path);
    // Whoever has set it has chosen.
    if env::var_os("CARGO_TARGET_DIR").is_none()
        && let Some(target) = folder_of_tests(&project.root, path)
    {
        cargo.arg("--target-dir").arg(target);
    }
    // What functions may know is not for all that cargo runs.
    for name in project.secrets.keys() {
        cargo.env_remove(name);
    }
    let status = passed_on(&mut cargo, reporter.options().color).map_err(|error| {
        let hint = "`embly doctor` says what is missing";
        reporter.error(format!("cannot run `cargo`: {error}\nhint: {hint}"));
        Exit::Failed
    })?;
    let problem = (!status.success()).then(|| Problem {
        line: None,
        column: None,
        message: format!("`cargo test` failed: {status}"),
    });
    Ok(Tested {
        event: "test",
        kind: Kind::Function,
        name: names,
        passed: problem.is_none(),
        elapsed_ms: began.elapsed().as_millis(),
        requests: None,
        of: 0,
        filter,
        problems: problem.into_iter().collect(),
    })
}

/// Runs cargo. What it says, and what it runs says, goes to stderr, but for one line.
fn passed_on(cargo: &mut Command, color: bool) -> io::Result<ExitStatus> {
    if color {
        // It would see no terminal.
        cargo.env("CARGO_TERM_COLOR", "always");
    }
    let stdout = io::stderr().as_fd().try_clone_to_owned()?;
    let mut cargo = cargo.stdout(stdout).stderr(Stdio::piped()).spawn()?;
    let (done, is_done) = mpsc::channel();
    if let Some(said) = cargo.stderr.take() {
        let _ = thread::Builder::new().spawn(move || {
            let mut said = io::BufReader::new(said);
            let mut line = Vec::new();
            while said.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                let text = without_colours(&String::from_utf8_lossy(&line));
                // Whoever cannot be told any more has gone.
                if !text.starts_with(RERUN) && io::stderr().write_all(&line).is_err() {
                    break;
                }
                line.clear();
            }
            let _ = done.send(());
        })?;
    }
    let status = cargo.wait()?;
    // What a test has left running may hold the other end.
    let _ = is_done.recv_timeout(LAST_LINES);
    Ok(status)
}

/// A file that can be run.
struct Readable {
    /// As it is shown.
    name: String,
    text: String,
    script: Script,
}

/// Reads all files before one is run. Those that are wrong have failed.
fn read(root: &Path, files: Vec<PathBuf>, report: &mut Report<'_>) -> Vec<Readable> {
    let mut readable = Vec::new();
    for file in files {
        let name = file.strip_prefix(root).unwrap_or(&file);
        let name = name.display().to_string();
        let text = fs::read_to_string(&file);
        let parsed = text
            .map_err(|error| {
                (
                    String::new(),
                    Wrong::new(0, format!("cannot be read: {error}")),
                )
            })
            .and_then(|text| match hurl::parse(&text) {
                Ok(script) => Ok((text, script)),
                Err(wrong) => Err((text, wrong)),
            });
        match parsed {
            Ok((text, script)) => readable.push(Readable { name, text, script }),
            Err((text, wrong)) => {
                let ran = Ran {
                    requests: 0,
                    of: 0,
                    wrong: vec![wrong],
                    took: Duration::ZERO,
                };
                report.file(&name, &text, ran);
            }
        }
    }
    readable
}

/// Serves the project and runs the files against it.
fn served(
    options: Serve,
    mut project: config::Project,
    files: &[Readable],
    report: &mut Report<'_>,
) -> Result<(), Exit> {
    let reporter = report.reporter;
    // On free ports of this machine, without what stands in front, and without times that come when
    // they like.
    for gateway in &mut project.gateways {
        gateway.bind = Bind::Ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
        gateway.tls = None;
        gateway.proxy_protocol = false;
        gateway.access_log = None;
    }
    project.crons.clear();
    // What is said in tests is for whoever runs them.
    project.logs.clear();
    let policy = serve::policy(&options, reporter)?;
    let scratch = Scratch::make("test").map_err(|error| {
        reporter.error(format!("cannot make a folder for what is kept: {error}"));
        Exit::Failed
    })?;
    let runtime = serve::runtime(reporter)?;
    let mut exit = Ok(());
    serve::block_on(runtime, async {
        exit = serve_and_ask(options, policy, &project, &scratch, files, report).await;
        Exit::Done
    });
    exit
}

async fn serve_and_ask(
    mut options: Serve,
    policy: embly_wrapper::jail::Policy,
    project: &config::Project,
    scratch: &Scratch,
    files: &[Readable],
    report: &mut Report<'_>,
) -> Result<(), Exit> {
    let reporter = report.reporter;
    let mut signals = Signals::take(reporter)?;
    let jail = serve::check_jail(policy, reporter);
    // From where they are kept; what else is kept begins empty.
    let secrets = serve::secrets(&options, project, reporter);
    options.state = Some(scratch.path().to_owned());
    let (theirs, to) = (project.clone(), reporter.clone());
    let how = build::How::to_work_on(&options.project);
    let work = move |cancel: &_| build::all(&theirs, how, cancel, &to);
    match serve::build(&mut signals, work).await {
        Ok(built) if built.failed.is_empty() => {
            let mut follower = reporter.follow(Wanted::default(), true);
            let master = serve::start(
                &options,
                (jail, None),
                secrets,
                project,
                &built,
                None,
                &mut signals,
                reporter,
            )
            .await
            .map_err(|exit| match exit {
                // A signal came.
                Exit::Done => Exit::Failed,
                other => other,
            })?;
            let variables = addresses(&mut follower);
            drop(follower);
            if !reporter.options().verbose {
                reporter.hold();
            }
            let asked = tokio::select! {
                () = ask(files, &variables, (&project.root, &master), report) => Ok(()),
                () = signals.stop() => Err(Exit::Failed),
            };
            stop(master, asked.is_ok(), &mut signals).await;
            let said = reporter.take_held();
            if asked.is_err() && !said.is_empty() {
                // What was under way did not pass.
                reporter.raw(&said);
            }
            asked
        }
        Ok(_) | Err(Unbuilt::Stopped) => Err(Exit::Failed),
        Err(Unbuilt::Failed(exit)) => Err(exit),
    }
}

async fn stop(master: Master, in_order: bool, signals: &mut Signals) {
    // What is left to the kernel matters to nobody here.
    let _ = match in_order {
        true => master.stop(signals.stop()).await,
        false => master.stop(ready(())).await,
    };
}

/// The URL of each gateway, by its name.
fn addresses(follower: &mut Follower) -> BTreeMap<String, Value> {
    let mut addresses = BTreeMap::new();
    // All that listen have said so.
    while let Some(Some(lines)) = follower.next().now_or_never() {
        let events = lines.lines().map(serde_json::from_str::<Value>);
        for event in events.flatten() {
            if event["event"] == "listening"
                && let (Some(gateway), url) = (event["gateway"].as_str(), &event["url"])
            {
                addresses.insert(gateway.to_owned(), url.clone());
            }
        }
    }
    addresses
}

async fn ask(
    files: &[Readable],
    variables: &BTreeMap<String, Value>,
    (root, master): (&Path, &Master),
    report: &mut Report<'_>,
) {
    let folder = root.join(FOLDER);
    let telemetry = Arc::clone(report.reporter.telemetry());
    // Requests that have their line in the log.
    let told = || -> u64 {
        let gateways = telemetry.gateways().into_iter();
        let answered = |gateway: &Gateway| gateway.classes().map(|(_, count)| count).sum::<u64>();
        gateways.map(|(_, gateway)| answered(&gateway)).sum()
    };
    for file in files {
        let before = told();
        let ran = hurl::run(&file.script, variables.clone(), &folder).await;
        // It comes a moment after the answer, and must not be taken for one of the next file. What another
        // server has answered has none.
        let asked = ran.requests as u64 + u64::from(!ran.wrong.is_empty());
        let _ = timeout(LAST_LINES, async {
            while told() < before + asked {
                sleep(SOON).await;
            }
        })
        .await;
        if !ran.wrong.is_empty() {
            // What is kept running does not end.
            let _ = timeout(LAST_LINES, master.switchboard().idle()).await;
        }
        let said = report.reporter.take_held();
        if !ran.wrong.is_empty() && !said.is_empty() {
            report.reporter.raw(&said);
        }
        report.file(&file.name, &file.text, ran);
    }
}

/// Says what comes of each, and counts.
struct Report<'r> {
    reporter: &'r Reporter,
    /// Whether there are several, and all were asked for.
    is_whole: bool,
    passed: usize,
    failed: usize,
}

impl Report<'_> {
    fn file(&mut self, name: &str, text: &str, ran: Ran) {
        let problems = ran.wrong.iter().map(|wrong| {
            let (line, column, shown) = wrong.place(text);
            let message = self.reporter.masks().mask(&wrong.message);
            // What a function answers must not act on the terminal that shows it.
            let lines: Vec<String> = message
                .lines()
                .map(|line| escape(line).into_owned())
                .collect();
            let message = lines.join("\n");
            if self.reporter.options().format == Format::Text {
                let shown = escape(shown);
                self.reporter.error(format!(
                    "{name}:{line}:{column}: {message}\n  {line} | {shown}"
                ));
            }
            Problem {
                line: Some(line),
                column: Some(column),
                message,
            }
        });
        let problems: Vec<Problem> = problems.collect();
        self.take(Tested {
            event: "test",
            kind: Kind::Hurl,
            name: name.to_owned(),
            passed: problems.is_empty(),
            elapsed_ms: ran.took.as_millis(),
            requests: Some(ran.requests),
            of: ran.of,
            filter: name.rsplit('/').next().unwrap_or(name).to_owned(),
            problems,
        });
    }

    fn take(&mut self, tested: Tested) {
        match tested.passed {
            true => self.passed += 1,
            false => self.failed += 1,
        }
        if self.reporter.options().format == Format::Json {
            self.reporter.object(&tested);
            return;
        }
        let time = u64::try_from(tested.elapsed_ms).unwrap_or(u64::MAX);
        let time = elapsed(Duration::from_millis(time));
        let name = &tested.name;
        let what = match (tested.requests, tested.of) {
            (None, _) => String::new(),
            (Some(_), 0) if !tested.passed => "cannot be read, ".to_owned(),
            (Some(requests), of) if !tested.passed => format!("request {} of {of}, ", requests + 1),
            (Some(1), _) => "1 request, ".to_owned(),
            (Some(requests), _) => format!("{requests} requests, "),
        };
        if tested.passed {
            self.reporter.info(format!("passed {name} ({what}{time})"));
            return;
        }
        let alone = match self.is_whole {
            true => format!(
                "\nhint: `embly test --filter {}` runs it alone",
                tested.filter
            ),
            false => String::new(),
        };
        self.reporter
            .error(format!("failed {name} ({what}{time}){alone}"));
    }

    fn end(self) -> Exit {
        let Self {
            reporter,
            is_whole: _,
            passed,
            failed,
        } = self;
        if reporter.options().format == Format::Json {
            let summary = Summary {
                event: "tests",
                passed,
                failed,
            };
            reporter.object(&summary);
        } else {
            reporter.info(format!("\n{passed} passed, {failed} failed"));
        }
        if failed == 0 {
            Exit::Done
        } else {
            Exit::Failed
        }
    }
}
