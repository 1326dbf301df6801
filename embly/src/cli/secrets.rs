//! `embly secrets`: sets, lists and removes what is kept in the encrypted file. A value comes from
//! standard input, never from the command line, where others of the machine could read it.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Subcommand;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use serde::Serialize;
use tokio::sync::oneshot;
use zeroize::Zeroizing;

use super::context;
use super::output::{self, Table};
use super::serve::{self, Signals};
use super::{Chosen, Exit, Kept};
use crate::config::{self, Project};
use crate::report::{Format, Reporter};
use crate::secrets::{Entry, LONGEST, Secret, Stored, Vault, VaultError, is_name};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Keep a secret: its value is read from standard input, or asked for
    #[command(
        after_help = "Examples:\n  embly secrets set STRIPE_KEY\n  embly secrets set STRIPE_KEY <key.txt"
    )]
    Set {
        /// The name, as functions list it
        name: String,
        #[command(flatten)]
        kept: Kept,
    },
    /// Show names, where they come from and who gets them; never a value
    #[command(after_help = "Example:\n  embly secrets list")]
    List(Kept),
    /// Forget a secret
    #[command(after_help = "Example:\n  embly secrets remove STRIPE_KEY")]
    Remove {
        /// The name
        name: String,
        #[command(flatten)]
        kept: Kept,
    },
}

/// Does what was asked for.
pub fn run(command: &Command, reporter: &Reporter) -> Exit {
    let done = match command {
        Command::Set { name, kept } => set(name, kept, reporter),
        Command::List(kept) => list(kept, reporter),
        Command::Remove { name, kept } => remove(name, kept, reporter),
    };
    done.err().unwrap_or(Exit::Done)
}

fn set(name: &str, kept: &Kept, reporter: &Reporter) -> Result<(), Exit> {
    check(name, reporter)?;
    if !kept.chosen.place.path.exists() {
        // It may be the value, so it is not shown.
        reporter.error(format!(
            "the word after the name is no folder of a project; the value is not typed there: type `embly secrets set {name}`, then the value"
        ));
        return Err(Exit::Usage);
    }
    let (file, vault) = place(kept, reporter)?;
    let value = value(name, reporter)?;
    let value = Secret::new(value).map_err(|unfit| {
        reporter.error(unfit.of(name));
        Exit::Failed
    })?;
    let entry = Entry { value, set: now() };
    let insert = |all: &mut Stored| all.insert(name.to_owned(), entry).is_some();
    let (replaced, made) = vault
        .change(insert)
        .map_err(|error| refused(&error, reporter))?;
    if let Some(key) = made {
        let key = key.display();
        reporter.info(format!(
            "made the key file `{key}`: keep a copy of it elsewhere, nothing can be read without it"
        ));
    }
    if vault.key_is_inside() {
        reporter.warn(
            "the key lies in the state folder, beside what it encrypts: whoever copies the folder has both",
        );
    }
    let verb = if replaced { "replaced" } else { "set" };
    let at = context::shown(&vault.path());
    reporter.info(format!("{verb} `{name}` in `{at}`"));
    if let Some(project) = lenient(&file, &kept.chosen)
        && !project.secrets.contains_key(name)
    {
        reporter.info(format!(
            "no function gets it yet: add `secrets: [{name}]` to one"
        ));
    }
    Ok(())
}

fn remove(name: &str, kept: &Kept, reporter: &Reporter) -> Result<(), Exit> {
    check(name, reporter)?;
    let (file, vault) = place(kept, reporter)?;
    let at = context::shown(&vault.path());
    let stored = vault.read().map_err(|error| refused(&error, reporter))?;
    let removed = match stored.contains_key(name) {
        false => false,
        true => {
            let change = |all: &mut Stored| all.remove(name).is_some();
            vault
                .change(change)
                .map_err(|error| refused(&error, reporter))?
                .0
        }
    };
    if !removed {
        reporter.error(format!(
            "there is no secret `{name}` in `{at}`: type `embly secrets list`, which shows those that are there"
        ));
        return Err(Exit::Failed);
    }
    reporter.info(format!("removed `{name}` from `{at}`"));
    let project = lenient(&file, &kept.chosen);
    let users = users(project.as_ref(), name);
    if !users.is_empty() {
        reporter.warn(format!(
            "`{name}` is still listed by {}: without a value in the environment it is not started",
            users.join(", ")
        ));
    }
    Ok(())
}

/// A secret as `list` tells it.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    event: &'static str,
    name: &'a str,
    from: &'static str,
    set_at: Option<String>,
    functions: Vec<&'a str>,
}

fn list(kept: &Kept, reporter: &Reporter) -> Result<(), Exit> {
    let (file, vault) = place(kept, reporter)?;
    let project = lenient(&file, &kept.chosen);
    if project.is_none() && file.exists() {
        reporter.warn(
            "the project file is wrong, so functions that list a secret are not shown: `embly check` says why",
        );
    }
    let stored = vault.read().map_err(|error| refused(&error, reporter))?;
    let dotenv = |project: &Project| config::dotenv(&project.root.join(config::DOTENV)).ok();
    let dotenv = project.as_ref().and_then(dotenv).unwrap_or_default();
    let mut names: BTreeMap<&str, &'static str> = BTreeMap::new();
    for (name, value) in project.iter().flat_map(|project| &project.secrets) {
        let from = match value {
            Some(_) => "environment",
            None if dotenv.contains_key(name) => ".env",
            None => "missing",
        };
        names.insert(name, from);
    }
    names.extend(stored.keys().map(|name| (&**name, "file")));
    let shown = names.into_iter().map(|(name, from)| Shown {
        event: "secret",
        name,
        from,
        set_at: stored.get(name).map(|entry| time(entry.set)),
        functions: users(project.as_ref(), name),
    });
    match reporter.options().format {
        Format::Json => output::json(shown, reporter),
        Format::Text => {
            let mut table = Table::new(["NAME", "FROM", "SET", "FUNCTIONS"]);
            for secret in shown {
                let set = secret.set_at.unwrap_or_else(|| "-".to_owned());
                let functions = match secret.functions.is_empty() {
                    true => "-".to_owned(),
                    false => secret.functions.join(", "),
                };
                table.row([
                    secret.name.to_owned(),
                    secret.from.to_owned(),
                    set,
                    functions,
                ]);
            }
            if table.is_empty() {
                reporter.info("there are no secrets, and no function lists any");
            }
            table.print(reporter)
        }
    }
}

fn check(name: &str, reporter: &Reporter) -> Result<(), Exit> {
    if is_name(name) {
        return Ok(());
    }
    // What is not a name may be the value.
    let error = match name.split_once('=') {
        Some((name, _)) if is_name(name) => format!(
            "a value on the command line can be read by others: type `embly secrets set {name}`, then the value"
        ),
        _ => "this cannot be the name of a secret: it has letters, digits and `_`, and begins with no digit".to_owned(),
    };
    reporter.error(error);
    Err(Exit::Usage)
}

/// The project file, and where its secrets are kept.
fn place(kept: &Kept, reporter: &Reporter) -> Result<(PathBuf, Vault), Exit> {
    match (context::kept(kept), &kept.state) {
        (Ok((file, state)), _) => Ok((file, Vault::new(&state))),
        // They may be there before the first version is.
        (Err(_), Some(state)) => Ok((state.join(config::FILE_NAME), Vault::new(state))),
        (Err(error), None) => Err(context::nothing_kept(&error, kept, reporter)),
    }
}

/// The project, if its file is right: where it is not, nobody needs to hear of it now.
fn lenient(file: &Path, chosen: &Chosen) -> Option<Project> {
    let environment = config::Environment::of_process().choose(chosen.named());
    let environment = environment.with_secrets(config::Secrets::Unneeded);
    config::load(file, &environment).ok()
}

fn users<'p>(project: Option<&'p Project>, name: &str) -> Vec<&'p str> {
    let functions = project.into_iter().flat_map(|project| &project.functions);
    let users = functions.filter(|function| function.secrets.contains(name));
    users.map(|function| &*function.name).collect()
}

fn refused(error: &VaultError, reporter: &Reporter) -> Exit {
    reporter.error(error.to_string());
    Exit::Failed
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}

fn time(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(|_| "-".to_owned(), |at| at.to_string())
}

/// From standard input, whole but for one end of line, or typed without being shown.
fn value(name: &str, reporter: &Reporter) -> Result<String, Exit> {
    let typed = io::stdin().is_terminal();
    let read = if typed {
        ask(&format!("value of {name}"), reporter)?
    } else {
        let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST + 3));
        let input = io::stdin().lock().take(LONGEST as u64 + 3);
        let mut input = input;
        input.read_to_end(&mut bytes).map(|_| bytes)
    };
    let bytes = read.map_err(|error| {
        reporter.error(format!("cannot read the value of `{name}`: {error}"));
        Exit::Failed
    })?;
    let line = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.is_empty() {
        reporter.error(format!(
            "there is no value on standard input: type `embly secrets set {name} <FILE`, or without `<FILE` to be asked"
        ));
        return Err(Exit::Failed);
    }
    String::from_utf8(line.to_vec()).map_err(|_| {
        reporter.error(format!(
            "the value of `{name}` is not UTF-8, which every environment variable of a function is: encode it, as `base64` does"
        ));
        Exit::Failed
    })
}

/// What is typed, without being shown. A signal leaves the terminal as it was.
pub(super) fn ask(what: &str, reporter: &Reporter) -> Result<io::Result<Zeroizing<Vec<u8>>>, Exit> {
    let runtime = serve::runtime(reporter)?;
    runtime.block_on(async {
        let mut signals = Signals::take(reporter)?;
        let hidden = Hidden::new();
        eprint!("{what}, not shown as you type: ");
        let (answer, answered) = oneshot::channel();
        // It ends with the process, if nobody types anything.
        std::thread::spawn(move || {
            let mut line = Zeroizing::new(String::with_capacity(LONGEST + 3));
            let read = io::stdin()
                .take(LONGEST as u64 + 3)
                .read_line_into(&mut line);
            // Whoever asked may have gone.
            let _ = answer.send(read.map(|()| Zeroizing::new(line.as_bytes().to_vec())));
        });
        let read = tokio::select! {
            read = answered => Some(read.unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()))),
            () = signals.stop() => None,
        };
        drop(hidden);
        eprintln!();
        read.ok_or(Exit::Failed)
    })
}

/// Reads up to an end of line.
trait ReadLine {
    fn read_line_into(self, line: &mut String) -> io::Result<()>;
}

impl<R: Read> ReadLine for R {
    fn read_line_into(self, line: &mut String) -> io::Result<()> {
        io::BufRead::read_line(&mut io::BufReader::new(self), line).map(drop)
    }
}

/// The terminal does not show what is typed, until this is dropped.
struct Hidden(Option<Termios>);

impl Hidden {
    fn new() -> Self {
        let before = tcgetattr(io::stdin()).ok();
        if let Some(before) = &before {
            let mut without = before.clone();
            without.local_modes.remove(LocalModes::ECHO);
            // A terminal that cannot do so shows it, as it would have anyway.
            let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &without);
        }
        Self(before)
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = tcsetattr(io::stdin(), OptionalActions::Flush, before);
        }
        // The cursor stands behind the question.
        let _ = io::stderr().flush();
    }
}
