//! The `limits` of a function.

use std::time::Duration;

use super::codes::{self, Code};
use super::fields::{Field, Fields};
use super::machine::Machine;
use super::problem::{Problem, Problems, quote};
use super::schema::{self, Section};
use super::units::{self, Parsed};
use crate::limits::{
    self, HttpLimits, Kv, Limits, Log, Parked, Queue, Reuse, Span, Sql, TcpLimits,
};

/// Limits, and which of them the file itself says.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    pub limits: Limits,
    memory: bool,
    concurrency: bool,
}

/// Reads the section on top of the limits that are known already; a limit that is wrong stays as
/// it is there.
pub(super) fn read(
    field: Field<'_>,
    mut known: Known,
    machine: &Machine,
    problems: &mut Problems,
) -> Known {
    if field.entry.value.is_null() {
        return known;
    }
    let Some(fields) = Fields::read(&field.entry.value, &schema::LIMITS, problems) else {
        return known;
    };
    let before = problems.count();
    let limits = &mut known.limits;
    for field in fields.iter() {
        let mut limit = Limit {
            field,
            machine,
            problems,
        };
        match field.key.name {
            "memory" => set(&mut limits.memory, limit.memory()),
            "cpu" => set(&mut limits.cpu, limit.time()),
            "wall" => set_span(&mut limits.wall, limit.time()),
            "idle" => set_span(&mut limits.idle, limit.time()),
            "total" => set(&mut limits.total, limit.time()),
            "request_head" => limits.request_head = limit.head().unwrap_or(limits.request_head),
            "request_body" => set(&mut limits.request_body, limit.size()),
            "response_body" => set(&mut limits.response_body, limit.size()),
            "concurrency" => set(&mut limits.concurrency, limit.processes()),
            "queue" => limit.queue(&mut limits.queue),
            "children" => set(&mut limits.children, limit.processes()),
            "depth" => set(&mut limits.depth, limit.count()),
            "tree" => set(&mut limits.tree, limit.processes()),
            "window" => limits.window = limit.window().unwrap_or(limits.window),
            "log" => limit.log(&mut limits.log),
            "background" => set(&mut limits.background, limit.time()),
            "tcp" => limit.tcp(&mut limits.tcp),
            "http" => limit.http(&mut limits.http),
            "kv" => limit.kv(&mut limits.kv),
            "sql" => limit.sql(&mut limits.sql),
            name => debug_assert!(false, "{name} is in the table but not read"),
        }
    }
    known.memory |= fields.get("memory").is_some();
    known.concurrency |= fields.get("concurrency").is_some();
    if problems.count() == before {
        warn(&fields, &known, machine, problems);
    }
    known
}

/// Reads `parked`; what is wrong, or missing, is as in `parked`.
pub(super) fn parked(
    field: Field<'_>,
    mut parked: Parked,
    machine: &Machine,
    problems: &mut Problems,
) -> Parked {
    let mut whole = Limit {
        field,
        machine,
        problems,
    };
    let fields = whole.inner(&schema::PARKED, |limit| match limit.field.key.name {
        "min" => parked.min = limit.parked().unwrap_or(parked.min),
        "max" => parked.max = limit.parked().unwrap_or(parked.max),
        "after" => set(&mut parked.after, limit.time()),
        name => debug_assert!(false, "{name} is in the table but not read"),
    });
    let get = |name| fields.as_ref().and_then(|fields| fields.get(name));
    // Who says one of them has not to think of the other's default.
    match (get("min"), get("max")) {
        (Some(_), None) => parked.max = parked.max.max(parked.min),
        (None, Some(_)) => parked.min = parked.min.min(parked.max),
        (Some(field), Some(_)) if parked.min > parked.max => {
            let message = format!("`min: {}` is more than `max: {}`", parked.min, parked.max);
            let problem = Problem::new(&codes::LIMIT_VALUE, field.span(), message);
            problems.push(problem.help(format!("write `min: {}` or less", parked.max)));
        }
        _ => {}
    }
    parked
}

/// Reads a time that stands alone; `None` is wrong, `Some(None)` is `none`.
pub(super) fn time(
    field: Field<'_>,
    machine: &Machine,
    problems: &mut Problems,
) -> Option<Option<Duration>> {
    let mut limit = Limit {
        field,
        machine,
        problems,
    };
    limit.time()
}

/// Reads the size of something that is held in memory, for the reason `why`.
pub(super) fn held(
    field: Field<'_>,
    (least, most): (u64, u64),
    why: &str,
    machine: &Machine,
    problems: &mut Problems,
) -> Option<u32> {
    let mut limit = Limit {
        field,
        machine,
        problems,
    };
    limit.held(least, most, why)
}

/// Reads `reuse`; what is wrong stays as it is without it.
pub(super) fn reuse(field: Field<'_>, machine: &Machine, problems: &mut Problems) -> Reuse {
    let mut reuse = Reuse::default();
    let mut whole = Limit {
        field,
        machine,
        problems,
    };
    whole.inner(&schema::REUSE, |limit| match limit.field.key.name {
        "invocations" => set(&mut reuse.invocations, limit.count()),
        "age" => set(&mut reuse.age, limit.time()),
        name => debug_assert!(false, "{name} is in the table but not read"),
    });
    reuse
}

/// `read` is `None` where the value is wrong, `Some(None)` for `none`.
fn set<T>(limit: &mut Option<T>, read: Option<Option<T>>) {
    if let Some(read) = read {
        *limit = read;
    }
}

fn set_span(limit: &mut Span, read: Option<Option<Duration>>) {
    if let Some(read) = read {
        *limit = read.map_or(Span::None, Span::Of);
    }
}

/// One limit of the file. Its methods report what is wrong and then return `None`.
struct Limit<'t, 'p> {
    field: Field<'t>,
    machine: &'p Machine,
    problems: &'p mut Problems,
}

impl<'t> Limit<'t, '_> {
    fn memory(&mut self) -> Option<Option<u64>> {
        let size = self.size()?;
        let Some(bytes) = size else {
            return Some(None);
        };
        let least = limits::MEMORY_MIN;
        if bytes < least {
            let why = "is less than one page of WebAssembly memory";
            return self.wrong(&codes::LIMIT_VALUE, why, &at_least(least));
        }
        if bytes > limits::MEMORY_MAX {
            let why = "is more than a WebAssembly memory can have";
            return self.wrong(&codes::LIMIT_MACHINE, why, &at_most(limits::MEMORY_MAX));
        }
        match self.machine.memory {
            Some(has) if bytes > has => {
                let why = format!("is more than this machine has: {}", units::about_size(has));
                self.wrong(&codes::LIMIT_MACHINE, &why, "write a smaller limit")
            }
            _ => Some(size),
        }
    }

    fn head(&mut self) -> Option<u32> {
        let (least, most) = (limits::REQUEST_HEAD_MIN, limits::REQUEST_HEAD_MAX);
        self.held(least, most, "a head is held in memory")
    }

    fn window(&mut self) -> Option<u32> {
        let (least, most) = (limits::WINDOW_MIN.into(), limits::WINDOW.into());
        self.held(least, most, "what is under way is held in memory")
    }

    /// A size of something that is held in memory, for the reason `why`.
    fn held(&mut self, least: u64, most: u64, why: &str) -> Option<u32> {
        match self.parse(units::size, "a size")? {
            Some(0) => self.wrong(&codes::LIMIT_VALUE, "cannot be zero", &at_least(least)),
            None => {
                let why = format!("is not possible, {why}");
                self.wrong(&codes::LIMIT_VALUE, &why, &at_most(most))
            }
            Some(bytes) if bytes < least => {
                self.wrong(&codes::LIMIT_VALUE, "is too small", &at_least(least))
            }
            Some(bytes) => match u32::try_from(bytes) {
                Ok(bytes) if u64::from(bytes) <= most => Some(bytes),
                _ => self.wrong(&codes::LIMIT_VALUE, "is too big", &at_most(most)),
            },
        }
    }

    fn queue(&mut self, queue: &mut Queue) {
        self.inner(&schema::QUEUE, |limit| match limit.field.key.name {
            "length" => set(&mut queue.length, limit.count()),
            "wait" => set(&mut queue.wait, limit.time()),
            name => debug_assert!(false, "{name} is in the table but not read"),
        });
    }

    fn log(&mut self, log: &mut Log) {
        self.inner(&schema::LOG, |limit| match limit.field.key.name {
            "lines" => set(&mut log.lines, limit.rate()),
            "line" => {
                let (least, most) = (limits::LOG_LINE_MIN, limits::LOG_LINE_MAX);
                let line = limit.held(least, most, "a line is held in memory");
                log.line = line.unwrap_or(log.line);
            }
            name => debug_assert!(false, "{name} is in the table but not read"),
        });
    }

    fn tcp(&mut self, tcp: &mut TcpLimits) {
        self.inner(&schema::LIMITS_TCP, |limit| match limit.field.key.name {
            "connect" => set(&mut tcp.connect, limit.time()),
            "idle" => set(&mut tcp.idle, limit.time()),
            "connections" => set(&mut tcp.connections, limit.count()),
            name => debug_assert!(false, "{name} is in the table but not read"),
        });
    }

    fn kv(&mut self, kv: &mut Kv) {
        self.inner(&schema::KV, |limit| match limit.field.key.name {
            "batch" => kv.batch = limit.within(limits::KV_BATCH_MAX).unwrap_or(kv.batch),
            "page" => kv.page = limit.within(limits::KV_PAGE_MAX).unwrap_or(kv.page),
            "watches" => kv.watches = limit.within(limits::KV_WATCHES_MAX).unwrap_or(kv.watches),
            "pending" => kv.pending = limit.within(limits::KV_PENDING_MAX).unwrap_or(kv.pending),
            name => debug_assert!(false, "{name} is in the table but not read"),
        });
    }

    fn http(&mut self, http: &mut HttpLimits) {
        self.inner(&schema::LIMITS_HTTP, |limit| match limit.field.key.name {
            "connect" => set(&mut http.connect, limit.time()),
            "head" => set(&mut http.head, limit.time()),
            "time" => set(&mut http.time, limit.time()),
            "idle" => set(&mut http.idle, limit.time()),
            "request_body" => set(&mut http.request_body, limit.size()),
            "response_head" => {
                let (least, most) = (limits::HTTP_HEAD_MIN, limits::HTTP_HEAD_MAX);
                let head = limit.held(least, most, "a head is held in memory");
                http.response_head = head.unwrap_or(http.response_head);
            }
            "response_body" => set(&mut http.response_body, limit.size()),
            "redirects" => http.redirects = limit.redirects().unwrap_or(http.redirects),
            "connections" => set(&mut http.connections, limit.count()),
            name => debug_assert!(false, "{name} is in the table but not read"),
        });
    }

    fn sql(&mut self, sql: &mut Sql) {
        self.inner(&schema::SQL, |limit| match limit.field.key.name {
            "memory" => {
                let (least, most) = (limits::SQL_MEMORY_MIN, limits::SQL_MEMORY_MAX);
                let memory = limit.held(least, most, "it is that of a process");
                sql.memory = memory.unwrap_or(sql.memory);
            }
            "time" => set(&mut sql.time, limit.time()),
            "transaction" => set(&mut sql.transaction, limit.time()),
            "read" => set(&mut sql.read, limit.time()),
            "wait" => set(&mut sql.wait, limit.time()),
            "rows" => set(&mut sql.rows, limit.count()),
            "connections" => {
                let most = limits::SQL_CONNECTIONS_MAX;
                let help = format!("write at most `{most}`");
                match limit.processes() {
                    Some(Some(count)) if count <= most => sql.connections = count,
                    Some(_) => {
                        let why = "is too much, each is a process";
                        let _: Option<()> = limit.wrong(&codes::LIMIT_VALUE, why, &help);
                    }
                    None => {}
                }
            }
            name => debug_assert!(false, "{name} is in the table but not read"),
        });
    }

    /// A count that may be 0, and is always limited.
    fn redirects(&mut self) -> Option<u32> {
        let most = limits::HTTP_REDIRECTS_MAX;
        match self.parse(units::count, "a count")? {
            Some(count) if count <= most.into() => u32::try_from(count).ok(),
            _ => {
                let help = format!("write `0` to `{most}`");
                self.wrong(&codes::LIMIT_VALUE, "is too much", &help)
            }
        }
    }

    /// A count of what is held in memory.
    fn within(&mut self, most: u32) -> Option<u32> {
        let why = match self.parse(units::count, "a count")? {
            Some(0) => "cannot be zero",
            Some(count) if count <= most.into() => return u32::try_from(count).ok(),
            Some(_) => "is too big",
            None => "is not possible, it bounds what is held in memory",
        };
        let help = format!("write at most `{most}`");
        self.wrong(&codes::LIMIT_VALUE, why, &help)
    }

    fn size(&mut self) -> Option<Option<u64>> {
        let size = self.parse(units::size, "a size")?;
        self.not_zero(size, 0)
    }

    fn time(&mut self) -> Option<Option<Duration>> {
        let time = self.parse(units::time, "a time")?;
        let time = self.not_zero(time, Duration::ZERO)?;
        if time.is_some_and(|time| time > limits::TIME_MAX) {
            let help = "write at most `365d`, or `none` for no limit";
            return self.wrong(&codes::LIMIT_VALUE, "is more than a year", help);
        }
        Some(time)
    }

    fn count(&mut self) -> Option<Option<u32>> {
        self.number(units::count, "a count")
    }

    fn rate(&mut self) -> Option<Option<u32>> {
        self.number(units::rate, "a rate")
    }

    fn number(&mut self, parse: fn(&str) -> Parsed<u64>, what: &str) -> Option<Option<u32>> {
        let count = self.parse(parse, what)?;
        let Some(count) = self.not_zero(count, 0)? else {
            return Some(None);
        };
        match u32::try_from(count) {
            Ok(count) => Some(Some(count)),
            Err(_) => {
                let help = format!("write at most `{}`, or `none` for no limit", u32::MAX);
                self.wrong(&codes::LIMIT_VALUE, "is too big", &help)
            }
        }
    }

    /// A count of processes that may be 0, but not any number.
    fn parked(&mut self) -> Option<u32> {
        let text = self.field.scalar("a count", self.problems)?;
        let Ok(count) = text.parse() else {
            let name = self.field.key.name;
            let message = format!("{} is not a count, for `{name}`", quote(text));
            let problem = Problem::new(&codes::LIMIT_FORM, self.field.span(), message);
            let help = "write a whole number; `0` is none";
            self.problems.push(problem.help(help));
            return None;
        };
        self.fits(count).then_some(count)
    }

    /// A count of invocations, of which each is a process.
    fn processes(&mut self) -> Option<Option<u32>> {
        let count = self.count()?;
        count.is_none_or(|count| self.fits(count)).then_some(count)
    }

    /// Whether this machine can have so many processes.
    fn fits(&mut self, count: u32) -> bool {
        match self.machine.processes {
            Some(has) if u64::from(count) > has => {
                let why = format!("is more processes than this machine can have: {has}");
                let help = "write a smaller limit";
                self.wrong::<()>(&codes::LIMIT_MACHINE, &why, help)
                    .is_some()
            }
            _ => true,
        }
    }

    /// Reads each of the limits in the map that this one is; which are there, if it is a map.
    fn inner(
        &mut self,
        section: &'static Section,
        mut read: impl FnMut(&mut Limit<'_, '_>),
    ) -> Option<Fields<'t>> {
        let fields = Fields::read(&self.field.entry.value, section, self.problems)?;
        for field in fields.iter() {
            read(&mut Limit {
                field,
                machine: self.machine,
                problems: self.problems,
            });
        }
        Some(fields)
    }

    fn parse<T>(&mut self, parse: fn(&str) -> Parsed<T>, expected: &str) -> Option<Option<T>> {
        let name = self.field.key.name;
        let text = self.field.scalar(expected, self.problems)?;
        let help = match parse(text) {
            Ok(value) => return Some(value),
            Err(Some(instead)) => format!("write `{name}: {instead}`"),
            Err(None) => format!("write, for example, `{}`", self.field.key.example),
        };
        let message = format!("{} is not {expected}, for the limit `{name}`", quote(text));
        let problem = Problem::new(&codes::LIMIT_FORM, self.field.span(), message);
        self.problems.push(problem.help(help));
        None
    }

    fn not_zero<T: PartialEq>(&mut self, value: Option<T>, zero: T) -> Option<Option<T>> {
        if value == Some(zero) {
            let help = "write `none` for no limit";
            return self.wrong(&codes::LIMIT_VALUE, "cannot be zero", help);
        }
        Some(value)
    }

    fn wrong<T>(&mut self, code: &'static Code, why: &str, help: &str) -> Option<T> {
        let text = self
            .field
            .scalar("a limit", self.problems)
            .unwrap_or_default();
        let message = format!("the limit `{}: {text}` {why}", self.field.key.name);
        let problem = Problem::new(code, self.field.span(), message);
        self.problems.push(problem.help(help));
        None
    }
}

fn at_least(bytes: u64) -> String {
    format!("write at least `{}`", units::show_size(bytes))
}

fn at_most(bytes: u64) -> String {
    format!("write at most `{}`", units::show_size(bytes))
}

/// What can be, but is hardly meant. Only limits that the file itself sets.
fn warn(fields: &Fields<'_>, known: &Known, machine: &Machine, problems: &mut Problems) {
    let limits = &known.limits;
    if let (Some(field), Some(cpu)) = (fields.get("cpu"), limits.cpu)
        && cpu > limits::CPU_WINDOW
    {
        let message = "this CPU limit is never reached: it counts the CPU time in any 60 s";
        let problem = Problem::new(&codes::CPU_WINDOW, field.span(), message);
        problems.push(problem.help("write at most `cpu: 60s`, or `cpu: none`"));
    }
    // Said where the second of the two is written.
    let field = fields.get("concurrency").or_else(|| fields.get("memory"));
    let Some(field) = field.filter(|_| known.memory && known.concurrency) else {
        return;
    };
    let (Some(memory), Some(count)) = (limits.memory, limits.concurrency) else {
        return;
    };
    let sum = memory.saturating_mul(u64::from(count));
    if let Some(has) = machine.memory.filter(|has| sum > *has) {
        let message = format!(
            "{count} invocations of {} are {}, this machine has {}",
            units::show_size(memory),
            units::about_size(sum),
            units::about_size(has),
        );
        let problem = Problem::new(&codes::MEMORY_SUM, field.span(), message);
        let fits = (has / memory).max(1);
        problems.push(problem.help(format!("`concurrency: {fits}` fits when all of it is used")));
    }
}
