//! Functions that mean harm: each is refused, held back or ended with its reason, and whoever
//! else uses the machine does not notice.
//!
//! `cargo xtask bench attacks` measures how soon, and prints the table of `docs/benchmarks.md`; with
//! a name, `loops` say, that row only.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::fmt::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use embly_wrapper::cpus::{Cpus, keep_to};
use support::client::{Response, pause, post};
use support::process::{peak_memory, resident, time_until_gone};
use support::{Embly, Project, Session, eventually, get};

/// What is promised: the end comes at most so long after the limit.
const WITHIN: Duration = Duration::from_millis(100);

/// One way to do harm.
struct Attack {
    /// In the words of the documents.
    name: &'static str,
    /// The function that a client asks for.
    function: &'static str,
    /// Others that it starts.
    others: &'static [&'static str],
    /// Its limits, as in the project file.
    limits: &'static str,
    /// What stops it, and from when on this is counted.
    held: Held,
    /// What the client sees: status and reason.
    answer: (u16, &'static str),
}

/// What is compared with the limit.
#[derive(Clone, Copy)]
enum Held {
    /// CPU time.
    Cpu(Duration),
    /// Time since the request.
    Wall(Duration),
    /// It is refused as it happens.
    AtOnce,
}

const TIME: Duration = Duration::from_millis(300);

const ATTACKS: &[Attack] = &[
    Attack {
        name: "endless loop in wasm",
        function: "loops",
        others: &[],
        limits: "{cpu: 300ms}",
        held: Held::Cpu(TIME),
        answer: (504, "cpu"),
    },
    Attack {
        name: "endless loop through host calls",
        function: "calls",
        others: &[],
        limits: "{cpu: 300ms}",
        held: Held::Cpu(TIME),
        answer: (504, "cpu"),
    },
    Attack {
        name: "sleeping",
        function: "waits-for-ever",
        others: &[],
        limits: "{wall: 300ms}",
        held: Held::Wall(TIME),
        answer: (504, "wall"),
    },
    Attack {
        name: "waiting for credit",
        function: "waits-for-credit",
        others: &["never-reads"],
        limits: "{wall: 300ms}",
        held: Held::Wall(TIME),
        answer: (504, "wall"),
    },
    Attack {
        name: "memory bomb",
        function: "eats-memory",
        others: &[],
        limits: "{memory: 16MiB}",
        held: Held::AtOnce,
        answer: (500, "memory"),
    },
    Attack {
        name: "table bomb",
        function: "eats-tables",
        others: &[],
        limits: "{memory: 16MiB}",
        held: Held::AtOnce,
        answer: (500, "memory"),
    },
    Attack {
        name: "stack overflow",
        function: "recurses",
        others: &[],
        limits: "{}",
        held: Held::AtOnce,
        answer: (500, "trap"),
    },
    Attack {
        name: "spawn bomb",
        function: "breeds",
        others: &[],
        limits: "{wall: 300ms, children: 8, depth: 3}",
        held: Held::Wall(TIME),
        answer: (504, "wall"),
    },
    Attack {
        name: "message flood to the parent",
        function: "floods-its-parent",
        others: &["floods"],
        limits: "{wall: 300ms}",
        held: Held::Wall(TIME),
        answer: (504, "wall"),
    },
    Attack {
        name: "message flood to a child",
        function: "floods-its-child",
        others: &["never-reads"],
        limits: "{wall: 300ms}",
        held: Held::Wall(TIME),
        answer: (504, "wall"),
    },
    Attack {
        name: "writes of one byte",
        function: "writes-single-bytes",
        others: &["single-bytes"],
        limits: "{wall: 300ms}",
        held: Held::Wall(TIME),
        answer: (504, "wall"),
    },
    Attack {
        name: "never reading",
        function: "never-reads",
        others: &[],
        limits: "{wall: 300ms}",
        held: Held::Wall(TIME),
        answer: (504, "wall"),
    },
];

/// Grows a table as far as it goes, again and again.
const EATS_TABLES: &str = r#"(module
  (import "embly" "_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (table 1 funcref)
  (memory (export "memory") 1)
  (func (export "_start") (local $size i32)
    (drop (call $read (i32.const 1) (i32.const 0) (i32.const 8) (i32.const 16)))
    (local.set $size (i32.const 1000))
    (loop $next
      (if (i32.eq (table.grow (ref.null func) (local.get $size)) (i32.const -1))
        (then unreachable))
      (local.set $size (i32.mul (local.get $size) (i32.const 2)))
      (br $next))))"#;

impl Attack {
    /// A master with this attacker and an innocent neighbour, which go into an empty project.
    fn master(&self, project: Project) -> Embly {
        let keys = format!("    limits: {}", self.limits);
        let mut project = project
            .wat("hello", &support::project::answering("hello"))
            .http("hello");
        project = match self.function {
            "eats-tables" => project.wat_with("eats-tables", EATS_TABLES, &keys),
            guest => project.guest_with(guest, &keys),
        };
        for other in self.others {
            project = project.guest(other);
        }
        let embly = Embly::run(&project.http(self.function));
        assert_eq!(get(embly.at("hello"), "/").text(), "hello");
        embly
    }

    /// A client comes; what it sees.
    fn strike(&self, embly: &Embly) -> Response {
        match self.function {
            "never-reads" => post(embly.at(self.function), "/", &vec![b'x'; 5 << 20]),
            _ => get(embly.at(self.function), "/"),
        }
    }

    /// How far beyond its limit the attacker of this ending came.
    fn beyond(&self, ending: &Value) -> Duration {
        let micros = |name: &str| Duration::from_micros(ending[name].as_u64().unwrap());
        match self.held {
            Held::Cpu(limit) => micros("cpu_us").saturating_sub(limit),
            Held::Wall(limit) => {
                (micros("queue_us") + micros("start_us") + micros("run_us")).saturating_sub(limit)
            }
            Held::AtOnce => Duration::ZERO,
        }
    }
}

/// The endings of the function that attacks, without those of its children of the same name.
fn endings(embly: &Embly, attack: &Attack) -> Vec<Value> {
    let mut all = embly.events();
    all.retain(|event| {
        event["event"] == "invocation_ended"
            && event["function"] == attack.function
            && event["reason"] != "parent_ended"
            && event["request_id"].is_string()
    });
    all
}

fn middle(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn is_held(function: &str) {
    const STRIKES: usize = 3;
    let attack = ATTACKS.iter().find(|attack| attack.function == function);
    let attack = attack.unwrap();
    let embly = attack.master(Project::unparked());
    let before = resident(embly.pid());
    let done = support::Done::default();
    thread::scope(|scope| {
        let at_end = done.at_end();
        let neighbour = scope.spawn(|| {
            let (mut session, mut count) = (Session::new(embly.at("hello")), 0);
            while !done.is_set() {
                let answer = session.get("/").unwrap();
                assert_eq!((answer.status, answer.text().as_str()), (200, "hello"));
                count += 1;
                pause(5, "a client thinks");
            }
            count
        });
        for _ in 0..STRIKES {
            let answer = attack.strike(&embly);
            assert_eq!(
                (answer.status, answer.reason()),
                attack.answer,
                "{}",
                attack.name
            );
        }
        drop(at_end);
        assert!(neighbour.join().unwrap() > 0);
    });
    eventually("that nothing is left", || {
        embly
            .processes()
            .iter()
            .all(support::process::Process::leads)
    });
    let mut beyond = Vec::new();
    eventually("that all strikes are reported", || {
        beyond = endings(&embly, attack)
            .iter()
            .map(|ending| attack.beyond(ending))
            .collect();
        beyond.len() >= STRIKES
    });
    // Of the middle one: others use this machine as well.
    assert!(middle(beyond.clone()) < WITHIN, "{beyond:?}");
    let grown = peak_memory(embly.pid()).saturating_sub(before);
    assert!(grown < 64 << 20, "the master has taken {grown} bytes");
}

macro_rules! held {
    ($(#[test] fn $test:ident() = $function:literal;)*) => {
        $(#[test]
        fn $test() {
            is_held($function);
        })*
    };
}

held! {
    #[test]
    fn an_endless_loop_in_wasm_is_ended() = "loops";
    #[test]
    fn an_endless_loop_through_host_calls_is_ended() = "calls";
    #[test]
    fn sleeping_is_ended() = "waits-for-ever";
    #[test]
    fn waiting_for_credit_is_ended() = "waits-for-credit";
    #[test]
    fn a_memory_bomb_is_ended() = "eats-memory";
    #[test]
    fn a_table_bomb_is_ended() = "eats-tables";
    #[test]
    fn a_stack_overflow_is_ended() = "recurses";
    #[test]
    fn a_spawn_bomb_is_ended() = "breeds";
    #[test]
    fn a_message_flood_to_the_parent_is_held_back() = "floods-its-parent";
    #[test]
    fn a_message_flood_to_a_child_is_held_back() = "floods-its-child";
    #[test]
    fn writes_of_one_byte_are_held_back() = "writes-single-bytes";
    #[test]
    fn never_reading_is_ended() = "never-reads";
}

#[test]
fn every_attack_has_a_test() {
    let source = include_str!("attacks.rs");
    for attack in ATTACKS {
        let line = format!("() = \"{}\";\n", attack.function);
        assert!(source.contains(&line), "{}", attack.name);
    }
}

/// It takes longer than the others: five seconds beyond ten times what is allowed.
#[test]
fn a_log_flood_is_dropped_and_then_ended() {
    let project = Project::unparked()
        .guest_with("logs-for-ever", "    limits: {log: {lines: 10/s}}")
        .wat("hello", &support::project::answering("hello"));
    let embly = Embly::run(&project.http("logs-for-ever").http("hello"));
    assert_eq!(get(embly.at("hello"), "/").text(), "hello");
    let before = resident(embly.pid());
    let answer = get(embly.at("logs-for-ever"), "/");
    assert_eq!((answer.status, answer.reason()), (500, "flood"));
    assert_eq!(get(embly.at("hello"), "/").text(), "hello");
    let lines = embly.events();
    let lines = lines.iter().filter(|event| event["event"] == "log").count();
    assert!(lines < 200, "{lines} lines");
    let grown = peak_memory(embly.pid()).saturating_sub(before);
    assert!(grown < 64 << 20, "the master has taken {grown} bytes");
}

#[test]
fn who_never_exits_is_ended_with_its_parent() {
    let project = Project::unparked().guest("loops").guest("leaves-a-child");
    let embly = Embly::run(&project.http("leaves-a-child"));
    let mut times = Vec::new();
    for n in 0..5 {
        let answer = get(embly.at("leaves-a-child"), "/");
        assert_eq!(answer.text(), "left");
        let since = Instant::now();
        time_until_gone(&embly.wrappers("loops"));
        times.push(since.elapsed());
        let ended = embly.nth_event("invocation_ended", n, |event| event["function"] == "loops");
        assert_eq!(ended["reason"], "parent_ended");
    }
    assert!(middle(times.clone()) < WITHIN, "{times:?}");
}

/// Times of a client that asks every 5 ms until it is told to end. It stands for one on another
/// machine: it keeps off the processors that offenders are confined to.
fn neighbour(embly: &Embly, done: &support::Done) -> Vec<Duration> {
    if let Some((here, _)) = Cpus::here().halves() {
        keep_to(None, &here).unwrap();
    }
    let mut session = Session::new(embly.at("hello"));
    let mut times = Vec::new();
    while !done.is_set() {
        let since = Instant::now();
        assert_eq!(session.get("/").unwrap().text(), "hello");
        times.push(since.elapsed());
        thread::sleep(Duration::from_millis(5).saturating_sub(since.elapsed()));
    }
    times
}

fn percentile(times: &[Duration], of: f64) -> Duration {
    let mut times = times.to_vec();
    times.sort();
    let at = (times.len() as f64 * of / 100.0) as usize;
    times
        .get(at.min(times.len().saturating_sub(1)))
        .copied()
        .unwrap_or_default()
}

fn during<T>(embly: &Embly, what: impl FnOnce() -> T) -> (Vec<Duration>, T) {
    let done = support::Done::default();
    thread::scope(|scope| {
        let at_end = done.at_end();
        let times = scope.spawn(|| neighbour(embly, &done));
        let result = what();
        drop(at_end);
        (times.join().unwrap(), result)
    })
}

#[test]
#[ignore = "a benchmark: it prints how soon attackers are ended, and what others notice of it"]
fn attackers_are_ended_within() {
    const ROUND: Duration = Duration::from_secs(2);
    const ROUNDS: usize = 3;
    let mut table = String::from(
        "| attack | ends with | beyond its limit p50 | p99 | neighbour p50 alone | p99 alone | p50 beside | p99 beside | p99 ratio |\n\
         |---|---|---|---|---|---|---|---|---|\n",
    );
    let only = std::env::var("EMBLY_ATTACK").ok();
    let chosen = |attack: &&Attack| only.as_ref().is_none_or(|name| name == attack.function);
    for attack in ATTACKS.iter().filter(chosen) {
        let embly = attack.master(Project::new());
        let (mut alone, mut beside) = (Vec::new(), Vec::new());
        // All of it before: who has offended stays confined for a while.
        for _ in 0..ROUNDS {
            alone.push(during(&embly, || pause(2000, "nothing happens")).0);
        }
        for _ in 0..ROUNDS {
            let (times, ()) = during(&embly, || {
                let since = Instant::now();
                while since.elapsed() < ROUND {
                    let answer = attack.strike(&embly);
                    assert_eq!((answer.status, answer.reason()), attack.answer);
                }
            });
            beside.push(times);
        }
        let beyond: Vec<_> = endings(&embly, attack)
            .iter()
            .map(|ending| attack.beyond(ending))
            .collect();
        let show = |time: Duration| format!("{:.2} ms", time.as_secs_f64() * 1000.0);
        // Of the rounds the middle one: a hiccup of the machine is in one of them.
        let of = |rounds: &[Vec<Duration>], part| {
            middle(rounds.iter().map(|times| percentile(times, part)).collect())
        };
        let (quiet, loud) = (of(&alone, 99.0), of(&beside, 99.0));
        writeln!(
            table,
            "| {} | `{}` | {} | {} | {} | {} | {} | {} | {:.2} |",
            attack.name,
            attack.answer.1,
            show(percentile(&beyond, 50.0)),
            show(percentile(&beyond, 99.0)),
            show(of(&alone, 50.0)),
            show(quiet),
            show(of(&beside, 50.0)),
            show(loud),
            loud.as_secs_f64() / quiet.as_secs_f64(),
        )
        .unwrap();
    }
    println!("{table}");
}
