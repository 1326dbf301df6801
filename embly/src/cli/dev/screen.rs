//! What a terminal has more than a pipe: a last line that stays, and keys. Lines scroll as ever, so that
//! they can be read, searched and copied; nothing is drawn over.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Signal, getpgrp};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::browse::{self, Browser};
use crate::admin::{Admin, Asks};
use crate::cli::admin::{NOTHING_RUNS, table};
use crate::cli::keys;
use crate::config::{GatewayKind, Project, Target};
use crate::report::{Format, Reporter, columns_of};

/// How often a master in the background looks whether it is in the foreground again, when a key waits.
const LOOK: Duration = Duration::from_millis(300);

/// The exit code of a process that a shell has seen end by SIGQUIT.
const ENDED_BY_QUIT: i32 = 128 + 3;

/// What `?` prints.
const HELP: [&str; 6] = [
    "  r  build all functions again",
    "  o  open the first gateway in a browser, or that of the chosen function",
    "  f  lines of the next function only, after the last one of all again",
    "  p  invocations that run, as `embly ps`",
    "  q  stop, as Ctrl-C: what runs may finish, a second one ends it",
    "  ?  this",
];

/// The terminal, as long as it is used. It is as before when this is dropped, also by a panic.
#[derive(Debug)]
pub struct Screen {
    shared: Arc<Shared>,
    /// Keys are acted on until this is dropped.
    _end: mpsc::Sender<()>,
    _terminal: Terminal,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    asks: Asks,
    rebuild: mpsc::UnboundedSender<()>,
    reporter: Reporter,
}

/// What the last line and the keys are about.
#[derive(Debug, Default)]
struct State {
    admin: Option<Arc<Admin>>,
    functions: Vec<String>,
    /// Those that a browser can open, with the functions behind each.
    gateways: Vec<(String, Vec<String>)>,
    failed: Vec<String>,
    /// The project file cannot be used as it is now.
    wrong: bool,
    /// Lines of this function only.
    chosen: Option<String>,
}

impl Screen {
    /// Takes the terminal, where there is one and a person looks at it. `rebuild` is told that all is
    /// to be built again; call it in a runtime.
    pub fn enter(
        asks: Asks,
        rebuild: mpsc::UnboundedSender<()>,
        reporter: &Reporter,
    ) -> Option<Self> {
        let options = reporter.options();
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        if options.format != Format::Text || options.quiet || dumb || !reporter.has_terminal() {
            return None;
        }
        let terminal = Terminal::enter()?;
        let keys = keys::read(next_key).ok()?;
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            asks,
            rebuild,
            reporter: reporter.clone(),
        });
        let (end, ended) = mpsc::channel(1);
        let modes = terminal.modes();
        tokio::spawn(act(Arc::clone(&shared), keys, ended, modes));
        shared.draw();
        Some(Self {
            shared,
            _end: end,
            _terminal: terminal,
        })
    }

    /// This is built, or was not, and served by a master once there is one.
    pub fn shows(
        &self,
        project: &Project,
        failed: Vec<String>,
        wrong: bool,
        admin: Option<&Arc<Admin>>,
    ) {
        let functions = project.functions.iter();
        let functions: Vec<_> = functions.map(|function| function.name.clone()).collect();
        let gateways = project.gateways.iter();
        let gateways = gateways.filter(|gateway| gateway.kind == GatewayKind::Http);
        let gateways = gateways.map(|gateway| {
            let routes = gateway.routes.iter();
            let behind = routes.filter_map(|route| match &route.target {
                Target::Function(name) => Some(&**name),
                Target::Redirect(_) | Target::Files(_) => None,
            });
            let behind = behind.chain(gateway.function.as_deref());
            (gateway.name.clone(), behind.map(str::to_owned).collect())
        });
        let gateways = gateways.collect();
        let mut state = self.shared.state();
        if state
            .chosen
            .as_ref()
            .is_some_and(|it| !functions.contains(it))
        {
            state.chosen = None;
            self.shared.reporter.only(None);
        }
        let chosen = state.chosen.take();
        *state = State {
            admin: admin.cloned().or(state.admin.take()),
            functions,
            gateways,
            failed,
            wrong,
            chosen,
        };
        drop(state);
        self.shared.draw();
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.shared.reporter.bar(None);
    }
}

impl State {
    /// Where a browser finds the chosen function, or the first gateway.
    fn url(&self) -> Option<String> {
        let served = self.admin.as_ref()?.served().gateways;
        let fits = |(_, behind): &&(String, Vec<String>)| {
            let chosen = self.chosen.as_ref();
            chosen.is_none_or(|chosen| behind.contains(chosen))
        };
        let mut gateways = self.gateways.iter();
        let (name, _) = gateways.find(fits).or(self.gateways.first())?;
        let url = served
            .into_iter()
            .find(|gateway| gateway.name == *name)?
            .url;
        // A socket file has no URL. An address that stands for all of them is none to go to.
        url.starts_with("http").then(|| {
            let url = url.replace("//0.0.0.0", "//127.0.0.1");
            url.replace("//[::]", "//[::1]")
        })
    }

    /// What matters most stands first: a narrow terminal shows only the beginning.
    fn line(&self) -> String {
        let mut parts = vec!["? help".to_owned()];
        if self.wrong {
            parts.push("errors in the project file".to_owned());
        }
        if !self.failed.is_empty() {
            parts.push(format!("not built: {}", self.failed.join(", ")));
        }
        match (&self.chosen, self.functions.len()) {
            (Some(chosen), _) => parts.push(format!("only {chosen}")),
            (None, 0) => {}
            (None, 1) => parts.push("1 function".to_owned()),
            (None, count) => parts.push(format!("{count} functions")),
        }
        parts.extend(self.url());
        parts.join(" · ")
    }

    /// The next function, and all of them after the last one.
    fn choose_next(&mut self) {
        let at = |chosen: &String| self.functions.iter().position(|it| it == chosen);
        let next = match self.chosen.as_ref().map(at) {
            None => 0,
            Some(at) => at.map_or(0, |at| at + 1),
        };
        self.chosen = self.functions.get(next).cloned();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn draw(&self) {
        let line = self.state().line();
        self.reporter.bar(Some(line));
    }

    async fn key(&self, key: u8) {
        match key {
            b'r' => {
                // The receiver lives as long as the screen.
                let _ = self.rebuild.send(());
            }
            b'o' => self.open(),
            b'f' => {
                let mut state = self.state();
                state.choose_next();
                self.reporter.only(state.chosen.clone());
                drop(state);
                self.draw();
            }
            b'p' => self.processes().await,
            // 4 is Ctrl-D; Ctrl-C is a signal.
            b'q' | 4 => self.asks.stop(),
            b'?' | b'h' => HELP
                .iter()
                .for_each(|line| self.reporter.words((*line).to_owned())),
            _ => {}
        }
    }

    fn open(&self) {
        let Some(url) = self.state().url() else {
            return self
                .reporter
                .info("nothing is served that a browser can open");
        };
        let Some(browser) = Browser::find() else {
            return self.reporter.info(format!("open {url} in a browser"));
        };
        let reporter = self.reporter.clone();
        // It may be a browser itself, which stays.
        thread::spawn(move || {
            if let Err(error) = browse::open(&browser, &url) {
                reporter.warn(format!("cannot open {url}: {error}"));
            }
        });
    }

    async fn processes(&self) {
        let Some(admin) = self.state().admin.clone() else {
            return self.reporter.info("nothing is served yet");
        };
        let running = admin.invocations().await.invocations;
        if running.is_empty() {
            return self.reporter.info(NOTHING_RUNS);
        }
        let lines = table(&running).within(columns_of(io::stderr()));
        lines.iter().for_each(|line| self.reporter.raw(line));
    }
}

/// Acts on keys, until the screen is left.
async fn act(
    shared: Arc<Shared>,
    mut keys: mpsc::Receiver<u8>,
    mut ended: mpsc::Receiver<()>,
    (before, raw): (Termios, Termios),
) {
    let resumed = signal(SignalKind::from_raw(Signal::CONT.as_raw()));
    let (Ok(mut resumed), Ok(mut quit)) = (resumed, signal(SignalKind::quit())) else {
        return;
    };
    loop {
        tokio::select! {
            key = keys.recv() => match key {
                Some(key) => {
                    // A job that comes from the background is not always told.
                    set(&raw);
                    shared.key(key).await;
                }
                None => return,
            },
            // Whoever has stopped a job with Ctrl-Z gets another terminal back, where the shell thinks so.
            _ = resumed.recv() => {
                set(&raw);
                match in_foreground() {
                    true => shared.draw(),
                    false => shared.reporter.bar(None),
                }
            }
            // Ctrl-\ ends it at once, as ever.
            _ = quit.recv() => {
                set(&before);
                std::process::exit(ENDED_BY_QUIT);
            }
            _ = ended.recv() => return,
        }
    }
}

/// Keys are read one by one.
#[derive(Debug)]
struct Terminal {
    before: Termios,
    raw: Termios,
}

impl Terminal {
    fn enter() -> Option<Self> {
        // A job in the background must not touch it.
        if !in_foreground() {
            return None;
        }
        let before = tcgetattr(io::stdin()).ok()?;
        // Ctrl-C and Ctrl-Z stay what they are.
        let raw = keys::modes(&before);
        tcsetattr(io::stdin(), OptionalActions::Now, &raw).ok()?;
        Some(Self { before, raw })
    }

    /// Those before, and those with which keys are read.
    fn modes(&self) -> (Termios, Termios) {
        (self.before.clone(), self.raw.clone())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        set(&self.before);
    }
}

fn set(modes: &Termios) {
    if in_foreground() {
        // There is nothing else to try.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, modes);
    }
}

fn in_foreground() -> bool {
    tcgetpgrp(io::stdin()).is_ok_and(|group| group == getpgrp())
}

fn next_key() -> Option<u8> {
    let stdin = io::stdin();
    loop {
        let mut polled = [PollFd::new(&stdin, PollFlags::IN)];
        match poll(&mut polled, None) {
            Err(Errno::INTR) => continue,
            Err(_) => return None,
            Ok(_) => {}
        }
        // The kernel stops a job in the background that reads.
        if !in_foreground() {
            tcgetpgrp(&stdin).ok()?;
            thread::sleep(LOOK);
            continue;
        }
        let mut key = [0];
        match rustix::io::read(&stdin, &mut key) {
            Ok(1) => return Some(key[0]),
            Err(Errno::INTR | Errno::AGAIN) => {}
            Ok(_) | Err(_) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_function_is_chosen_in_turn_and_then_all() {
        let mut state = State {
            functions: vec!["a".to_owned(), "b".to_owned()],
            failed: vec!["b".to_owned()],
            ..State::default()
        };
        assert_eq!(state.line(), "? help · not built: b · 2 functions");
        let mut lines = Vec::new();
        for _ in 0..3 {
            state.choose_next();
            lines.push(state.line());
        }
        assert_eq!(
            lines,
            [
                "? help · not built: b · only a",
                "? help · not built: b · only b",
                "? help · not built: b · 2 functions"
            ]
        );
        // One that is gone is followed by the first.
        state.chosen = Some("gone".to_owned());
        state.choose_next();
        assert_eq!(state.chosen.as_deref(), Some("a"));
    }
}
