//! `embly store`: copies a store, puts a copy back, and looks into one.

use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::context::{self, Need};
use super::output::{self, Table};
use super::{Exit, Kept};
use crate::config;
use crate::report::{Format, Reporter};
use crate::store::text::{short, unescape};
use crate::store::{self, Asked, Browser, Place, Shown};

/// Characters of a value that a line shows.
const WIDTH: usize = 120;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Copy a store to a file, also while it is in use
    #[command(after_help = "Example:\n  embly store backup default /backups/default.kv")]
    Backup {
        /// Name of the store
        store: String,
        /// The file to make
        file: PathBuf,
        #[command(flatten)]
        kept: Kept,
    },
    /// Put a copy in the place of a store; no master may use it
    #[command(after_help = "Example:\n  embly store restore default /backups/default.kv")]
    Restore {
        /// Name of the store
        store: String,
        /// A file that `embly store backup` has made
        file: PathBuf,
        #[command(flatten)]
        kept: Kept,
    },
    /// Show what is in a store, also while it is in use
    #[command(
        after_help = "Examples:\n  embly store browse default\n  embly store browse default users/ --values\n  embly store browse main orders --after 100"
    )]
    Browse {
        /// Name of the store
        store: String,
        /// Of a store of type `kv`: what keys begin with; of type `sql`: a table
        #[arg(default_value = "")]
        prefix: String,
        #[command(flatten)]
        kept: Kept,
        /// Show values, not only their sizes
        #[arg(long)]
        values: bool,
        /// So many keys or rows
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
        /// Begin after this key, or after so many rows, as the page before has said
        #[arg(long, value_name = "KEY|N")]
        after: Option<String>,
    },
}

/// Does what was asked for.
pub fn run(command: &Command, reporter: &Reporter) -> Exit {
    let done = match command {
        Command::Backup { store, file, kept } => backup(store, file, kept, reporter),
        Command::Restore { store, file, kept } => restore(store, file, kept, reporter),
        Command::Browse {
            store,
            prefix,
            kept,
            values,
            limit,
            after,
        } => {
            let asked = Asked {
                prefix: Some(unescape(prefix)).filter(|prefix| !prefix.is_empty()),
                after: after.as_deref().map(unescape),
                limit: *limit,
                values: *values,
            };
            browse(store, kept, &asked, reporter)
        }
    };
    done.err().unwrap_or(Exit::Done)
}

fn backup(name: &str, file: &Path, kept: &Kept, reporter: &Reporter) -> Result<(), Exit> {
    let (place, _) = place(name, kept, reporter)?;
    let bytes = store::backup(&place, file).map_err(|error| failed(&error, reporter))?;
    let file = context::shown(file);
    reporter.info(format!(
        "copied the store `{name}` to `{file}`, {bytes} bytes"
    ));
    Ok(())
}

fn restore(name: &str, file: &Path, kept: &Kept, reporter: &Reporter) -> Result<(), Exit> {
    let (place, state) = place(name, kept, reporter)?;
    let replaced =
        store::restore(&place, &state, file).map_err(|error| failed(&error, reporter))?;
    let before = if replaced {
        ", which holds nothing else now"
    } else {
        ""
    };
    let file = context::shown(file);
    reporter.info(format!("put `{file}` into the store `{name}`{before}"));
    Ok(())
}

fn browse(name: &str, kept: &Kept, asked: &Asked, reporter: &Reporter) -> Result<(), Exit> {
    let (place, _) = place(name, kept, reporter)?;
    let page = Browser::open(place).and_then(|browser| browser.page(asked));
    let page = page.map_err(|error| failed(&error, reporter))?;
    let next = page.next;
    match reporter.options().format {
        Format::Json => output::json(page.shown.iter(), reporter)?,
        Format::Text => match page.shown.is_empty() {
            true => reporter.info("there is nothing to show"),
            false => table(&page.shown, asked.values).print(reporter)?,
        },
    }
    if let Some(next) = next {
        reporter.info(format!("there is more: add `--after '{next}'`"));
    }
    Ok(())
}

fn table(shown: &[Shown], values: bool) -> Table {
    let titles: Vec<String> = match shown.first() {
        Some(Shown::Row { columns, .. }) => columns.clone(),
        Some(Shown::Table { .. }) => ["TABLE", "ROWS", "SCHEMA"].map(str::to_owned).into(),
        Some(Shown::Entry { .. }) | None => {
            let titles = ["KEY", "BYTES", "EXPIRES", "VALUE"].map(str::to_owned);
            titles
                .into_iter()
                .take(if values { 4 } else { 3 })
                .collect()
        }
    };
    let mut table = Table::new(titles);
    for one in shown {
        match one {
            Shown::Entry {
                key,
                bytes,
                expires_at,
                value,
            } => {
                let expires = expires_at.as_deref().unwrap_or("-").to_owned();
                let cells = [key.clone(), bytes.to_string(), expires];
                let value = value.iter().map(|value| short(value, WIDTH));
                table.row(cells.into_iter().chain(value));
            }
            Shown::Table { name, rows, schema } => {
                table.row([name.clone(), rows.to_string(), short(schema, WIDTH)]);
            }
            Shown::Row { row, columns } => {
                let cells = columns.iter().filter_map(|name| row.get(name));
                table.row(cells.map(|cell| short(&cell.to_string(), WIDTH)));
            }
        }
    }
    table
}

/// Where a store of the project is kept, and the state folder.
fn place(name: &str, kept: &Kept, reporter: &Reporter) -> Result<(Place, PathBuf), Exit> {
    let found = context::kept(kept);
    let (file, state) = found.map_err(|error| context::nothing_kept(&error, kept, reporter))?;
    let project = context::load(&file, kept.chosen.named(), false, Need::Nothing, reporter)?;
    let mut stores = project.stores.iter();
    if let Some(store) = stores.find(|store| store.name == name) {
        return Ok((Place::new(store, &state), state));
    }
    let names: Vec<&str> = project.stores.iter().map(|store| &*store.name).collect();
    let help = match (
        config::nearest(name, names.iter().copied()),
        names.as_slice(),
    ) {
        (Some(near), _) => format!("did you mean `{near}`?"),
        (None, []) => "the project file has no `stores`".to_owned(),
        (None, names) => format!("there are `{}`", names.join("`, `")),
    };
    let name = store::text::escape(name.as_bytes());
    reporter.error(format!("there is no store `{name}`: {help}"));
    Err(Exit::Usage)
}

fn failed(error: &store::Error, reporter: &Reporter) -> Exit {
    reporter.error(error.to_string());
    Exit::Failed
}
