//! More than there is room for: where it ends, what is said, and that nothing stays.

use super::clients::{self, Tree};
use super::embly::Embly;
use super::live;
use super::machine::{most_processes, raise_open_files};

/// Limits as a system sets them.
const FEW_FILES: usize = 1024;
const FEW_PROCESSES: usize = 2048;

/// More than fit.
const MORE: usize = 500;

pub fn measure() {
    let processes = most_processes();
    let files = raise_open_files(3 * processes as u64);
    let files = usize::try_from(files).unwrap_or(usize::MAX);
    println!(
        "| limit | asked for | live | the others | a request meanwhile | after |\n\
         |---|--:|--:|---|---|---|"
    );
    let few = [
        (
            format!("{FEW_FILES} open files"),
            format!("--nofile={FEW_FILES}"),
            FEW_FILES,
        ),
        (
            format!("{FEW_PROCESSES} processes"),
            format!("--nproc={FEW_PROCESSES}"),
            FEW_PROCESSES,
        ),
    ];
    for (name, limit, count) in few {
        row(&name, Some(&limit), count + MORE, connections);
        row(&name, Some(&limit), count + MORE, children);
    }
    let name = format!("{processes} processes, {files} open files");
    row(&name, None, processes.min(files / 2) + MORE, connections);
    row(&name, None, processes.min(files) + MORE, children);
}

/// What lives, and what was said to those that do not.
struct Filled {
    what: &'static str,
    live: usize,
    others: String,
    _held: Box<dyn std::any::Any>,
}

fn connections(embly: &Embly, count: usize) -> Filled {
    let runtime = clients::runtime();
    let opened = runtime.block_on(clients::open(embly.at("waits"), count));
    let others = format!(
        "{} reset, {} without an answer",
        opened.turned_away, opened.ignored
    );
    Filled {
        what: "connections",
        live: opened.there.len(),
        others,
        _held: Box::new((opened, runtime)),
    }
}

fn children(embly: &Embly, count: usize) -> Filled {
    let runtime = clients::runtime();
    let tree = runtime.block_on(Tree::grow(embly.at("spawns"), count));
    let others = format!("{} refused, errno {}", tree.refused, tree.code);
    Filled {
        what: "children",
        // The function that starts them as well.
        live: tree.there + 1,
        others,
        _held: Box::new((tree, runtime)),
    }
}

fn row(name: &str, limit: Option<&str>, count: usize, fill: impl FnOnce(&Embly, usize) -> Filled) {
    let folder = tempfile::tempdir().unwrap();
    let (embly, outside) = live::start(folder.path(), limit);
    let filled = fill(&embly, count);
    let answer = clients::ask(embly.at("hello")).unwrap_or_else(|error| error.to_string());
    let Filled {
        what,
        live,
        others,
        _held,
    } = filled;
    drop(_held);
    embly.wait_until_at_most(outside);
    // What waited for requests has given way, and comes back after one.
    let after = clients::ask(embly.at("hello")).unwrap_or_else(|error| error.to_string());
    embly.wait_until(outside);
    println!("| {name} | {count} {what} | {live} | {others} | {answer} | {after} |");
    eprintln!("{name}: {}", embly.endings());
    for warning in embly.warnings().iter().take(2) {
        eprintln!("  {warning}");
    }
    embly.stop();
}
