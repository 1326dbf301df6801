//! `embly top`: what is called and what runs now, again and again, in the order of one column.

use std::cmp::Reverse;
use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use super::client::Refusal;
use super::find::{Found, Which};
use super::rates::Rates;
use super::{NOTHING_RUNS, json, print, refused, shown, table};
use crate::admin::api;
use crate::cli::serve::Signals;
use crate::cli::{Exit, keys};
use crate::report::{Format, Reporter, wrapped};

/// How often it looks.
const EVERY: Duration = Duration::from_secs(1);

/// Begins and ends a screen of its own, without the cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// To the upper left; clears the rest of a line, and what is below.
const HOME: &str = "\x1b[H";
const REST_OF_LINE: &str = "\x1b[K";
const BELOW: &str = "\x1b[J";

#[derive(Debug, Args)]
pub struct Top {
    #[command(flatten)]
    which: Which,
    /// The column that comes first
    #[arg(long, value_enum, default_value_t = Sort::Cpu)]
    sort: Sort,
}

/// What is compared. Numbers are largest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Sort {
    /// CPU time
    Cpu,
    /// Memory
    Memory,
    /// Payload both ways
    Bytes,
    /// The oldest first
    Age,
    /// By name
    Function,
}

impl Sort {
    /// The key that chooses it.
    const KEYS: [(u8, Self, &str); 5] = [
        (b'c', Self::Cpu, "c cpu"),
        (b'm', Self::Memory, "m memory"),
        (b'b', Self::Bytes, "b bytes"),
        (b'a', Self::Age, "a age"),
        (b'f', Self::Function, "f function"),
    ];

    fn apply(self, invocations: &mut [api::Invocation]) {
        match self {
            Self::Cpu => invocations.sort_by_key(|one| Reverse(one.cpu_us)),
            Self::Memory => invocations.sort_by_key(|one| Reverse(one.memory_bytes)),
            Self::Bytes => {
                invocations.sort_by_key(|one| Reverse(one.bytes_in.saturating_add(one.bytes_out)));
            }
            Self::Age => invocations.sort_by_key(|one| Reverse(one.age_us)),
            Self::Function => {
                invocations.sort_by(|one, other| one.function.cmp(&other.function));
            }
        }
    }
}

impl Top {
    pub async fn run(&self, reporter: &Reporter) -> Result<(), Exit> {
        let found = self.which.find(reporter).await?;
        let options = reporter.options();
        let live = io::stdout().is_terminal() && io::stdin().is_terminal();
        if options.format == Format::Json || !live {
            let asked = running(&found, self.sort).await;
            let invocations = asked.map_err(|refusal| refused(refusal, reporter))?;
            return match options.format {
                Format::Json => json("invocation", &invocations, reporter),
                Format::Text => print(&invocations, reporter),
            };
        }
        let signals = Signals::take(reporter)?;
        let Some(screen) = Screen::enter() else {
            reporter.error("the terminal cannot be used: `embly ps` prints the same once");
            return Err(Exit::Failed);
        };
        let watched = match keys::read(next_key) {
            Ok(keys) => self.watch(&found, signals, keys).await,
            Err(error) => Err(Refusal::Silent(format!("cannot read keys: {error}"))),
        };
        // What is said is said where it can be read.
        drop(screen);
        watched.map_err(|refusal| refused(refusal, reporter))
    }

    /// Until somebody has seen enough, or the master ends.
    async fn watch(
        &self,
        found: &Found,
        mut signals: Signals,
        mut keys: mpsc::Receiver<u8>,
    ) -> Result<(), Refusal> {
        let mut sort = self.sort;
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut invocations, mut rates) = (Vec::new(), Rates::default());
        loop {
            tokio::select! {
                _ = ticks.tick() => {
                    let asked = found.client.get("/v1/functions");
                    let api::Functions { functions } = asked.await?;
                    rates.look(functions, Instant::now());
                    invocations = running(found, sort).await?;
                }
                () = signals.stop() => return Ok(()),
                // An end of the input is an end as well; 3 is Ctrl-C, 4 Ctrl-D.
                key = keys.recv() => match key.unwrap_or(b'q') {
                    b'q' | 3 | 4 => return Ok(()),
                    key => {
                        let chosen = Sort::KEYS.iter().find(|(known, _, _)| *known == key);
                        if let Some((_, chosen, _)) = chosen {
                            sort = *chosen;
                            sort.apply(&mut invocations);
                        }
                    }
                },
            }
            // A terminal that is gone shows at the next key.
            let _ = draw(&found.master, &rates, &invocations, sort);
        }
    }
}

async fn running(found: &Found, sort: Sort) -> Result<Vec<api::Invocation>, Refusal> {
    let asked = found.client.get("/v1/invocations");
    let api::Invocations { mut invocations } = asked.await?;
    sort.apply(&mut invocations);
    Ok(invocations)
}

fn next_key() -> Option<u8> {
    let mut key = [0];
    let read = io::stdin().read(&mut key);
    matches!(read, Ok(1)).then_some(key[0])
}

/// As much as the terminal has room for.
fn draw(
    master: &api::Master,
    rates: &Rates,
    invocations: &[api::Invocation],
    sort: Sort,
) -> io::Result<()> {
    let size = tcgetwinsize(io::stdout())?;
    // One that does not say how large it is has the usual size.
    let or = |number: u16, usual| {
        if number == 0 {
            usual
        } else {
            usize::from(number)
        }
    };
    let (rows, columns) = (or(size.ws_row, 24), or(size.ws_col, 80));
    let count = invocations.len();
    let keys = Sort::KEYS.iter().map(|(_, other, text)| {
        if *other == sort {
            format!("[{text}]")
        } else {
            (*text).to_owned()
        }
    });
    let keys = keys.collect::<Vec<_>>().join("  ");
    let mut lines = vec![
        // What matters most first: a narrow terminal shows the beginning.
        format!(
            "{count} running  {}  {}",
            master.id,
            shown::project(&master.project)
        ),
        format!("q quit  {keys}"),
        String::new(),
    ];
    let called = rates.table();
    if !called.is_empty() {
        // The half of the screen is for what runs.
        lines.extend(called.within(Some(columns)).into_iter().take(rows / 2));
        lines.push(String::new());
    }
    match invocations {
        [] => lines.extend(wrapped(NOTHING_RUNS, columns).lines().map(str::to_owned)),
        some => lines.extend(table(some).within(Some(columns))),
    }
    let mut text = String::from(HOME);
    for (n, line) in lines.iter().take(rows).enumerate() {
        if n > 0 {
            text.push_str("\r\n");
        }
        text.extend(line.chars().take(columns));
        text.push_str(REST_OF_LINE);
    }
    text.push_str(BELOW);
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// A screen of its own, in which keys are read one by one; as before when it is dropped.
struct Screen(Termios);

impl Screen {
    fn enter() -> Option<Self> {
        let before = tcgetattr(io::stdin()).ok()?;
        let mut raw = keys::modes(&before);
        // Ctrl-C is a key as well.
        raw.local_modes.remove(LocalModes::ISIG);
        tcsetattr(io::stdin(), OptionalActions::Now, &raw).ok()?;
        let screen = Self(before);
        let mut out = io::stdout().lock();
        out.write_all(ENTER.as_bytes())
            .and_then(|()| out.flush())
            .ok()?;
        Some(screen)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // There is nothing else to try.
        let mut out = io::stdout().lock();
        let _ = out.write_all(LEAVE.as_bytes()).and_then(|()| out.flush());
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(function: &str, cpu: Option<u64>, bytes: u64, age: u64) -> api::Invocation {
        api::Invocation {
            address: String::new(),
            function: function.to_owned(),
            parent: String::new(),
            gateway: None,
            request_id: None,
            state: String::new(),
            age_us: age,
            pid: None,
            cpu_us: cpu,
            memory_bytes: cpu.map(|cpu| 100 - cpu),
            bytes_in: bytes,
            bytes_out: 0,
        }
    }

    #[test]
    fn numbers_are_largest_first_and_names_in_order() {
        let mut all = [
            one("b", Some(5), 3, 1),
            one("a", None, 9, 2),
            one("c", Some(50), 1, 3),
        ];
        for (sort, expected) in [
            (Sort::Cpu, "cba"),
            (Sort::Memory, "bca"),
            (Sort::Bytes, "abc"),
            (Sort::Age, "cab"),
            (Sort::Function, "abc"),
        ] {
            sort.apply(&mut all);
            let names: String = all.iter().map(|one| &*one.function).collect();
            assert_eq!(names, expected, "{sort:?}");
        }
    }
}
