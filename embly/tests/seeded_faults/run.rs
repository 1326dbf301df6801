//! One run: a master, its load, the faults of the plan, and what is there afterwards.

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::checks::{self, Kept};
use crate::kinds::Strike;
use crate::load::wire::Wire;
use crate::load::{self, Entry, Load};
use crate::plan::Plan;
use crate::support::process::{Process, children_and_zombies, descriptors, resident};
use crate::support::{Done, Embly, sql};
use crate::world::{WELL_WITHIN, World};

/// The allocator keeps some of what was used at the busiest moment.
const GROWTH: u64 = 64 << 20;

/// Wrappers that died while they waited for a request, in a place where none has come by since: each
/// keeps a descriptor until one does, or until its function is put away.
const DEAD: usize = 6;

/// The load goes on for so long after the last fault.
const AFTER: Duration = Duration::from_millis(150);

/// Files that may lie in the state folder.
const STATE: [&str; 4] = ["default", "main.db", "lock", "cron"];

/// What came of a run.
pub struct Outcome {
    pub plan: Plan,
    pub entries: Vec<Entry>,
    /// How often each kind had an effect.
    pub struck: HashMap<&'static str, usize>,
    pub findings: Vec<String>,
    /// The last that masters have said.
    pub said: String,
    pub took: Duration,
}

/// What a master has while nobody asks for anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Idle {
    /// Without those for its processes.
    descriptors: usize,
    /// Fork servers beside another one of the same function: an old version that nobody uses.
    spare: usize,
    zombies: usize,
}

/// Does it.
pub fn run(plan: &Plan) -> Outcome {
    with(plan, |world| storm(world, plan))
}

/// A master, this meanwhile, and all that is checked afterwards.
pub fn with(plan: &Plan, meanwhile: impl FnOnce(&World)) -> Outcome {
    let since = Instant::now();
    let world = World::start(plan);
    for load in plan.loads.iter() {
        world.well(load);
    }
    let before = idle(&world);
    let memory = world.pid().map_or(0, resident);
    meanwhile(&world);
    afterwards(&world, plan, before, memory);
    let said = world.said(60);
    stops(&world);
    leftovers(&world, plan);
    let kept = kept(&world, plan);
    let entries = world.record.entries();
    let mut findings = world.findings();
    findings.extend(checks::record(&entries, &kept, plan.may_fail()));
    Outcome {
        plan: plan.clone(),
        entries,
        struck: world.struck(),
        findings,
        said,
        took: since.elapsed(),
    }
}

/// Load, and faults at their times.
fn storm(world: &World, plan: &Plan) {
    let done = Done::default();
    let began = Instant::now();
    std::thread::scope(|scope| {
        let at_end = done.at_end();
        load::run(scope, world, plan.loads, &done);
        let faults: Vec<_> = plan
            .faults
            .iter()
            .map(|fault| {
                scope.spawn(move || {
                    std::thread::sleep(fault.at.saturating_sub(began.elapsed()));
                    let strike = Strike {
                        world,
                        kind: fault.kind,
                        lasts: fault.lasts,
                        pick: fault.pick,
                    };
                    world.watched(fault.kind.name, || (fault.kind.strike)(&strike));
                })
            })
            .collect();
        for fault in faults {
            // What it had to say is in the findings.
            let _ = fault.join();
        }
        // One that came while something else was missing has failed, and left all as it was.
        world.reload();
        std::thread::sleep(AFTER);
        drop(at_end);
    });
}

/// Everything is well again, and back where it was.
fn afterwards(world: &World, plan: &Plan, before: Idle, memory: u64) {
    match world.pid().and_then(Process::find) {
        Some(master) if !master.is_gone() => {}
        _ => return world.finding("the master has stopped".to_owned()),
    }
    for load in plan.loads.iter() {
        world.well(load);
    }
    // What has died while it waited for a request is put away by the next one.
    for gateway in ["sleeps", "pours"] {
        answers(world, gateway);
    }
    let mut after = idle(world);
    // What was begun before may still end.
    let since = Instant::now();
    let mut before = before;
    if plan.parked {
        before.descriptors += DEAD;
    }
    while !back(before, after) && since.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(50));
        after = idle(world);
    }
    if !back(before, after) {
        world.finding(format!("{before:?} before, {after:?} afterwards"));
    }
    let grown = world.pid().map_or(0, resident).saturating_sub(memory);
    if grown > GROWTH {
        world.finding(format!("the master has grown by {grown} bytes"));
    }
}

/// A function that only faults call answers as well.
fn answers(world: &World, gateway: &str) {
    let since = Instant::now();
    let ask = || {
        let mut wire = Wire::to(world.at(gateway))?;
        let head = "GET /0?1 HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n";
        wire.say(head.as_bytes())?;
        let (response, _) = wire.response()?;
        Ok::<_, load::Outcome>(response.status)
    };
    let mut said = ask();
    while said != Ok(200) {
        if since.elapsed() > WELL_WITHIN {
            return world.finding(format!("{gateway} is not well again: {said:?}"));
        }
        std::thread::sleep(Duration::from_millis(50));
        said = ask();
    }
}

fn back(before: Idle, after: Idle) -> bool {
    // Functions that faults have called have a fork server now, which is a process for a descriptor.
    after.descriptors <= before.descriptors && after.spare == 0 && after.zombies == 0
}

/// Waits until nothing changes.
fn idle(world: &World) -> Idle {
    let now = || {
        let pid = world.pid()?;
        let all = children_and_zombies(pid);
        let mut names: Vec<_> = world.servers().into_iter().map(|one| one.name).collect();
        let servers = names.len();
        names.sort();
        names.dedup();
        let zombies = all.iter().filter(|process| process.state == 'Z').count();
        Some(Idle {
            descriptors: descriptors(pid).saturating_sub(all.len()),
            spare: servers - names.len(),
            zombies,
        })
    };
    let since = Instant::now();
    let (mut last, mut same) = (None, 0);
    while same < 4 && since.elapsed() < Duration::from_secs(5) {
        std::thread::sleep(Duration::from_millis(15));
        let this = now();
        same = if this == last { same + 1 } else { 0 };
        last = this;
    }
    last.unwrap_or(Idle {
        descriptors: 0,
        spare: 0,
        zombies: 0,
    })
}

/// The master stops in order, with nothing in its tables.
fn stops(world: &World) {
    world.watched("the stop", || {
        world.with(Embly::stops_with_nothing_left);
    });
    let said = world.said(1000);
    if let Some(line) = said.lines().find(|line| line.contains("panicked")) {
        world.finding(format!("the master panicked: {line}"));
    }
}

fn leftovers(world: &World, plan: &Plan) {
    for folder in world.sockets() {
        world.finding(format!("`{}` is left", folder.display()));
    }
    // What a killed master was compiling goes after an hour, as the reference says.
    if !plan.has("kill-master") {
        for file in files(&world.cache().join("embly")) {
            if file.ends_with(".tmp") {
                world.finding(format!("`{file}` is left in the cache"));
            }
        }
    }
    for file in files(&world.data()) {
        let known = STATE.iter().any(|name| file.starts_with(name));
        if !known {
            world.finding(format!("`{file}` is left in the state folder"));
        }
    }
}

/// The names of all files below a folder.
fn files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found = Vec::new();
    for entry in entries {
        match entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            true => found.extend(files(&entry.path())),
            false => found.push(entry.file_name().to_string_lossy().into_owned()),
        }
    }
    found
}

/// What another master finds in the stores.
fn kept(world: &World, plan: &Plan) -> Kept {
    let mut kept = Kept::new();
    world.begin_again();
    world.watched("the stores", || {
        if plan.loads.has(Load::Kv) {
            kept.extend(counters(world));
        }
        if plan.loads.has(Load::Sql) {
            kept.extend(rows(world));
        }
    });
    world.watched("the last stop", || {
        world.with(Embly::stops_with_nothing_left);
    });
    kept
}

fn counters(world: &World) -> Kept {
    let mut wire = Wire::to(world.at("stores")).unwrap();
    let body = "list k 1000";
    let length = body.len();
    let head = format!("POST /default HTTP/1.1\r\nhost: test\r\ncontent-length: {length}\r\n\r\n");
    wire.say(format!("{head}{body}").as_bytes()).unwrap();
    let (response, _) = wire.response().unwrap();
    let text = response.text();
    assert_eq!(response.status, 200, "{text}");
    let pairs = text.split_whitespace().filter(|word| *word != "|");
    pairs
        .map(|pair| {
            let (key, times) = pair.split_once('=').unwrap_or_else(|| panic!("{text}"));
            (key.to_owned(), times.parse().unwrap())
        })
        .collect()
}

fn rows(world: &World) -> Kept {
    let ask = |line: &str| {
        let talk = world.with(|embly| sql::Talk::new(embly, "queries", "open main"));
        let mut talk = talk.expect("a master");
        talk.ask(line)
    };
    for n in 1..=world.migrations() {
        let count = ask(&format!("q SELECT count(*) FROM m{n}"));
        assert_eq!(count, crate::kinds::ROWS, "rows of migration {n}");
    }
    assert_eq!(ask("q PRAGMA integrity_check"), "ok");
    let text = ask("q SELECT a, count(*) FROM t GROUP BY a");
    let pairs = text.split(" | ").filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (key, times) = pair.split_once(',').unwrap_or_else(|| panic!("{text}"));
            (key.to_owned(), times.parse().unwrap())
        })
        .collect()
}
