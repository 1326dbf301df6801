//! `embly add`: one more function or gateway, in a project file that otherwise stays as it is.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};

use super::{Exit, Where, context, new};
use crate::config::edit::{Draft, EditError, Edited, Given, Item, List, check_name};
use crate::file::whole;
use crate::report::Reporter;
use crate::scaffold::{Crate, Template};

/// Where the first gateway of a project listens.
const FIRST_PORT: u16 = 8082;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Add a function to the project file, and make its crate
    #[command(
        after_help = "Examples:\n  embly add function users\n  embly add function chat --template websocket\n  embly add function resize --path ./resize.wasm"
    )]
    Function(Function),
    /// Add a gateway to the project file
    #[command(
        after_help = "Examples:\n  embly add gateway web --function users\n  embly add gateway lines --type tcp --port 9000 --function echo\n  embly add gateway nightly --type cron --schedule '@daily' --function digest"
    )]
    Gateway(Gateway),
}

#[derive(Debug, Args)]
pub(super) struct Function {
    /// Its name
    name: String,
    #[command(flatten)]
    place: Where,
    /// What its program begins with
    #[arg(short, long, value_name = "NAME", value_parser = new::template_of_functions(), default_value = Template::usual().name)]
    template: &'static Template,
    /// The folder of its crate, which is made where it is not there, or a ready `.wasm` or `.wat` file;
    /// relative to the project's folder [default: ./NAME]
    #[arg(long = "path", value_name = "PATH")]
    source: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Gateway {
    /// Its name
    name: String,
    #[command(flatten)]
    place: Where,
    /// What it speaks
    #[arg(short = 't', long = "type", value_name = "TYPE", value_enum, default_value_t = Kind::Http)]
    kind: Kind,
    /// Where it listens; 0 is any free port [default: 8082, or the next that no gateway has]
    #[arg(short, long)]
    port: Option<u16>,
    /// The function that it starts [default: the only one]
    #[arg(short, long, value_name = "NAME")]
    function: Option<String>,
    /// When a gateway of type cron starts it: minute, hour, day of the month, month, day of the week
    #[arg(long, value_name = "TIMES", required_if_eq("kind", "cron"))]
    schedule: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// An invocation for each request
    Http,
    /// An invocation for each connection
    Tcp,
    /// An invocation for each WebSocket
    Websocket,
    /// An invocation at each time of a schedule
    Cron,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Http => "http",
            Kind::Tcp => "tcp",
            Kind::Websocket => "websocket",
            Kind::Cron => "cron",
        }
    }
}

/// Adds what was asked for.
pub fn run(command: &Command, reporter: &Reporter) -> Exit {
    let added = match command {
        Command::Function(function) => add_function(function, reporter),
        Command::Gateway(gateway) => add_gateway(gateway, reporter),
    };
    added.err().unwrap_or(Exit::Done)
}

fn add_function(function: &Function, reporter: &Reporter) -> Result<(), Exit> {
    let name = &function.name;
    let (file, draft) = open(&function.place, List::Functions, name, reporter)?;
    let root = file.parent().unwrap_or(Path::new("/"));
    let path = match &function.source {
        Some(path) => path.clone(),
        None => Path::new(".").join(name),
    };
    let Some(written) = path.to_str() else {
        reporter.error(format!("`{}` is not UTF-8", path.display()));
        return Err(Exit::Usage);
    };
    let ready = path
        .extension()
        .is_some_and(|end| end == "wasm" || end == "wat");
    let language = if ready { "wasm" } else { "rust" };
    let item = [
        ("name", text(name)),
        ("path", text(written)),
        ("language", text(language)),
    ];
    let edited = with(&draft, List::Functions, &item, &file, reporter)?;
    let mut made = None;
    if !ready {
        let others = draft.values(List::Functions, "path");
        let others: Vec<PathBuf> = others.into_iter().map(|path| root.join(path)).collect();
        let made_crate = Crate::make(root, &path, name, function.template, &others);
        made = Some(made_crate.map_err(|error| {
            reporter.error(error.to_string());
            Exit::Failed
        })?);
    }
    write(&draft, &edited, &file, reporter)?;
    let shown = context::shown(&file);
    let folder = context::shown(&root.join(path.strip_prefix(".").unwrap_or(&path)));
    let also = match made {
        Some(made) => {
            let what = match made.is_new() {
                true => format!(", and made `{folder}/`"),
                false => format!("; `{folder}/` was there and is as it was"),
            };
            made.keep();
            what
        }
        None => String::new(),
    };
    reporter.info(format!("added the function `{name}` to `{shown}`{also}"));
    if !draft
        .values(List::Gateways, "function")
        .contains(&name.as_str())
    {
        let invoke = match function.template.name {
            "http" => format!("\n  embly invoke {name} --http GET /"),
            // A client in the terminal, once it has a gateway.
            "websocket" => String::new(),
            _ => format!("\n  embly invoke {name}"),
        };
        let kind = match function.template.name {
            "tcp" => Some(" --type tcp"),
            "websocket" => Some(" --type websocket"),
            "cron" => Some(" --type cron --schedule '@hourly'"),
            "http" => Some(""),
            // Other functions start it.
            _ => None,
        };
        let gateway =
            kind.map(|kind| format!("\n  embly add gateway {name}{kind} --function {name}"));
        reporter.info(invoke + &gateway.unwrap_or_default());
    }
    Ok(())
}

fn add_gateway(gateway: &Gateway, reporter: &Reporter) -> Result<(), Exit> {
    let name = &gateway.name;
    let (file, draft) = open(&gateway.place, List::Gateways, name, reporter)?;
    let functions = draft.names(List::Functions);
    let function = match (&gateway.function, functions.as_slice()) {
        (Some(function), _) => function.as_str(),
        (None, [only]) => only,
        (None, []) => {
            reporter
                .error("the project has no functions\nhint: `embly add function NAME` makes one");
            return Err(Exit::Usage);
        }
        (None, several) => {
            reporter.error(format!(
                "which function? `--function NAME`, of {}",
                several.join(", ")
            ));
            return Err(Exit::Usage);
        }
    };
    let mut item = vec![("name", text(name)), ("type", text(gateway.kind.name()))];
    match (gateway.kind, &gateway.schedule, gateway.port) {
        (Kind::Cron, Some(schedule), None) => item.push(("schedule", text(schedule))),
        (Kind::Cron, ..) => {
            reporter.error("a gateway of type cron has a `--schedule` and no `--port`");
            return Err(Exit::Usage);
        }
        (_, Some(_), _) => {
            reporter.error("only a gateway of type cron has a `--schedule`");
            return Err(Exit::Usage);
        }
        (_, None, port) => {
            let port = port.unwrap_or_else(|| free_port(&draft));
            item.push(("port", Given::Number(port)));
        }
    }
    item.push(("function", text(function)));
    let edited = with(&draft, List::Gateways, &item, &file, reporter)?;
    write(&draft, &edited, &file, reporter)?;
    let shown = context::shown(&file);
    let at = item.iter().find_map(|(_, given)| match given {
        Given::Number(0) | Given::Text(_) => None,
        Given::Number(port) => Some(format!(" at port {port}")),
    });
    let at = at.unwrap_or_default();
    reporter.info(format!(
        "added the gateway `{name}`{at} for the function `{function}` to `{shown}`"
    ));
    Ok(())
}

/// The first port from the usual one upward that no gateway of the file has.
fn free_port(draft: &Draft) -> u16 {
    let taken = draft.values(List::Gateways, "port");
    let free = |port: &u16| !taken.contains(&port.to_string().as_str());
    (FIRST_PORT..=u16::MAX).find(free).unwrap_or(0)
}

fn text(text: &str) -> Given {
    Given::Text(text.to_owned())
}

/// Finds and reads the project file, and sees that the name can be used.
fn open(
    place: &Where,
    list: List,
    name: &str,
    reporter: &Reporter,
) -> Result<(PathBuf, Draft), Exit> {
    if let Err(near) = check_name(name) {
        let name: String = name.escape_debug().collect();
        let hint = near.map(|near| format!("\nhint: `{near}` can be one"));
        let hint = hint.unwrap_or_default();
        reporter.error(format!(
            "`{name}` is not a name: lower-case letters, digits and `-`, a letter first, at most 63{hint}"
        ));
        return Err(Exit::Usage);
    }
    let file = context::find(&place.path, reporter)?;
    let draft = Draft::open(&file).map_err(|problems| {
        context::show(&problems, reporter);
        Exit::Usage
    })?;
    let free = draft.free(list, name);
    free.map_err(|error| refused(error, &file, reporter))?;
    Ok((file, draft))
}

fn with(
    draft: &Draft,
    list: List,
    item: &Item,
    file: &Path,
    reporter: &Reporter,
) -> Result<Edited, Exit> {
    let edited = draft.with(list, item);
    edited.map_err(|error| refused(error, file, reporter))
}

fn refused(error: EditError, file: &Path, reporter: &Reporter) -> Exit {
    match error {
        EditError::Wrong(problems) => {
            context::show(&problems, reporter);
            reporter.info("nothing was changed");
            Exit::Usage
        }
        EditError::ByHand(words) => {
            let file = context::shown(file);
            reporter.error(format!(
                "cannot add to `{file}` without a change to the rest of it; write there\n\n{words}"
            ));
            Exit::Failed
        }
    }
}

/// Puts the new text in the place of the old one, if nothing is wrong with it that was right before.
fn write(draft: &Draft, edited: &Edited, file: &Path, reporter: &Reporter) -> Result<(), Exit> {
    let right = draft.check(edited);
    right.map_err(|error| refused(error, file, reporter))?;
    replace(file, draft, edited).map_err(|error| {
        let file = context::shown(file);
        reporter.error(format!("cannot write `{file}`: {error}"));
        Exit::Failed
    })
}

/// In one step, so that who reads the file sees the old text or the new one.
fn replace(file: &Path, draft: &Draft, edited: &Edited) -> io::Result<()> {
    // Where it is a link, the file behind it is written.
    let file = file.canonicalize()?;
    let old = fs::metadata(&file)?;
    if old.permissions().readonly() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let bytes = draft.bytes(edited, &fs::read(&file)?)?;
    whole(&file, |new| {
        new.write_all(&bytes)?;
        new.set_permissions(old.permissions())
    })
}
