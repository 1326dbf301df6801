//! `embly trace`: who started whom, what went between them, and how each ended, as a tree.

use std::io::{self, Write as _};

use clap::Args;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use url::form_urlencoded::Serializer;

use super::find::{Found, Which};
use super::{age, json, refused, shown, size};
use crate::admin::api;
use crate::cli::Exit;
use crate::cli::output::{self, Table};
use crate::report::{Format, Reporter, escape};

#[derive(Debug, Args)]
pub struct Trace {
    /// Address of an invocation, or the id of a request (`x-request-id`), or the beginning of one
    /// [default: list what is kept, the latest last]
    id: Option<String>,
    #[command(flatten)]
    which: Which,
    /// Of those that are kept, only those that begin with this function
    #[arg(long, value_name = "NAME", conflicts_with = "id")]
    function: Option<String>,
}

impl Trace {
    pub async fn run(&self, reporter: &Reporter) -> Result<(), Exit> {
        let Found { client, .. } = self.which.find(reporter).await?;
        let wrong = |refusal| refused(refusal, reporter);
        let Some(id) = &self.id else {
            let mut query = Serializer::new(String::from("/v1/traces?"));
            if let Some(function) = &self.function {
                query.append_pair("function", function);
            }
            let api::Traces { traces } = client.get(&query.finish()).await.map_err(wrong)?;
            return list(traces, reporter);
        };
        let path = format!("/v1/traces/{}", utf8_percent_encode(id, NON_ALPHANUMERIC));
        let api::Traced { traces } = client.get(&path).await.map_err(wrong)?;
        if reporter.options().format == Format::Json {
            return json("trace", &traces, reporter);
        }
        let mut out = io::BufWriter::new(io::stdout().lock());
        let mut lines = traces.iter().flat_map(tree);
        let written = lines.try_for_each(|line| writeln!(out, "{line}"));
        output::done(written.and_then(|()| out.flush()), reporter)
    }
}

fn list(traces: Vec<api::Brief>, reporter: &Reporter) -> Result<(), Exit> {
    if reporter.options().format == Format::Json {
        return json("traced", &traces, reporter);
    }
    if traces.is_empty() {
        reporter.info("nothing has run yet");
        return Ok(());
    }
    let looked_at = output::is_looked_at(reporter);
    let mut titles = vec!["TIME", "ADDRESS", "STATUS", "TOTAL", "REASON", "FUNCTION"];
    // Whoever looks for more looks at the trace.
    if !looked_at {
        titles.extend(["GATEWAY", "PARTS", "MESSAGES", "REQUEST"]);
    }
    titles.push("ASKED");
    let mut table = Table::new(titles).cuts_the_last();
    let or_dash = |text: Option<String>| {
        text.map_or_else(|| "-".to_owned(), |text| escape(&text).into_owned())
    };
    for one in traces {
        let asked = one.method.zip(one.path);
        let asked = asked.map(|(method, path)| format!("{method} {path}"));
        let mut row = vec![
            match looked_at {
                true => shown::clock(&one.time),
                false => shown::time(&one.time),
            },
            one.address,
            or_dash(one.status.map(|status| status.to_string())),
            age(one.total_us),
            or_dash(match (one.reason, one.failed) {
                (Some(reason), true) => Some(format!("{reason}, Err")),
                (reason, _) => reason,
            }),
            one.function,
        ];
        if !looked_at {
            row.extend([
                or_dash(one.gateway),
                one.invocations.to_string(),
                one.messages.to_string(),
                or_dash(one.request_id),
            ]);
        }
        row.push(or_dash(asked));
        table.row(row);
    }
    table.print(reporter)?;
    if looked_at {
        reporter.info(
            "`embly trace ADDRESS` shows one as a tree; the beginning of the address is enough",
        );
    }
    Ok(())
}

/// Something that an invocation did, or that was done to it.
enum Step<'t> {
    /// Bytes, or the end of them.
    Message(&'t api::TracedMessage),
    /// It started another one: its place in the list.
    Started(usize),
    Refused(&'t api::TracedRefusal),
}

/// One trace, while it is shown.
struct Tree<'t> {
    trace: &'t api::Trace,
    /// What each did, with its time.
    steps: Vec<Vec<(u64, Step<'t>)>>,
    lines: Vec<String>,
}

fn tree(trace: &api::Trace) -> Vec<String> {
    let mut tree = Tree {
        trace,
        steps: trace.invocations.iter().map(|_| Vec::new()).collect(),
        lines: Vec::new(),
    };
    let mut roots = Vec::new();
    for (at, one) in trace.invocations.iter().enumerate() {
        // Only those before it, so that nobody is below themselves, whatever the addresses are.
        match tree.of(&one.parent, at, one.at_us) {
            Some(parent) => tree.steps[parent].push((one.at_us, Step::Started(at))),
            None => roots.push(at),
        }
    }
    for message in &trace.messages {
        for owner in tree.owners(message) {
            tree.steps[owner].push((message.at_us, Step::Message(message)));
        }
    }
    for refusal in &trace.refusals {
        if let Some(owner) = tree.of(&refusal.address, trace.invocations.len(), refusal.at_us) {
            tree.steps[owner].push((refusal.at_us, Step::Refused(refusal)));
        }
    }
    for steps in &mut tree.steps {
        steps.sort_by_key(|(at, _)| *at);
    }
    tree.lines.push(match trace.invocations.first() {
        Some(api::TracedInvocation {
            request_id: Some(id),
            ..
        }) => format!("{} request {}", shown::time(&trace.time), escape(id)),
        _ => shown::time(&trace.time),
    });
    if let (Some(method), Some(path)) = (&trace.method, &trace.path) {
        let status = trace.status.map(|status| status.to_string());
        let status = status.unwrap_or_else(|| "no answer yet".to_owned());
        let failed = match trace.failed {
            true => ", the handler has returned an `Err`: its log says which",
            false => "",
        };
        tree.lines
            .push(format!("{method} {}: {status}{failed}", escape(path)));
    }
    for root in roots {
        let line = tree.invocation(root);
        tree.lines.push(line);
        tree.below(root, "");
    }
    tree.left_out();
    tree.lines
}

impl Tree<'_> {
    /// The invocation of this address among the first `before`, which had begun by then.
    fn of(&self, address: &str, before: usize, at_us: u64) -> Option<usize> {
        let known = &self.trace.invocations[..before];
        known
            .iter()
            .rposition(|one| one.address == address && one.at_us <= at_us)
    }

    /// Where a message is shown: with the child where it goes between parent and child, with both ends
    /// where it goes by name.
    fn owners(&self, message: &api::TracedMessage) -> Vec<usize> {
        let all = self.trace.invocations.len();
        let [from, to] =
            [&message.from, &message.to].map(|address| self.of(address, all, message.at_us));
        let is_child_of = |child: Option<usize>, parent: &String| {
            child.filter(|child| self.trace.invocations[*child].parent == *parent)
        };
        match is_child_of(from, &message.to).or(is_child_of(to, &message.from)) {
            Some(child) => vec![child],
            None => [from, to].into_iter().flatten().collect(),
        }
    }

    fn invocation(&self, at: usize) -> String {
        let one = &self.trace.invocations[at];
        let mut line = format!("{} {}", one.function, one.address);
        if let Some(gateway) = &one.gateway {
            line.push_str(&format!(" of gateway {gateway}"));
        }
        let (Some(ended), Some(reason)) = (one.ended_us, &one.reason) else {
            return line + " runs";
        };
        let took = age(ended.saturating_sub(one.at_us));
        line.push_str(&format!(": {reason}"));
        if let Some(code) = one.code.filter(|_| reason == "exit") {
            line.push_str(&format!(" {code}"));
        }
        line.push_str(&format!(" after {took}"));
        if let Some(queue) = one.queue_us.filter(|queue| *queue > 0) {
            line.push_str(&format!(", {} in the queue", age(queue)));
        }
        if let Some(cpu) = one.cpu_us.filter(|cpu| *cpu > 0) {
            line.push_str(&format!(", {} CPU", age(cpu)));
        }
        match one.detail.as_deref() {
            None | Some("") => line,
            Some(detail) => line + ": " + &escape(detail),
        }
    }

    fn below(&mut self, at: usize, indent: &str) {
        let steps = std::mem::take(&mut self.steps[at]);
        let count = steps.len();
        for (n, (at_us, step)) in steps.into_iter().enumerate() {
            let last = n + 1 == count;
            let text = match &step {
                Step::Message(message) => self.message(at, message),
                Step::Started(child) => self.invocation(*child),
                Step::Refused(refusal) => format!("refused: {}", escape(&refusal.what)),
            };
            let branch = if last { "└" } else { "├" };
            let time = format!("+{}", age(at_us));
            self.lines
                .push(format!("{indent}{branch} {time:<9} {text}"));
            if let Step::Started(child) = step {
                let stem = if last { "  " } else { "│ " };
                self.below(child, &format!("{indent}{stem}"));
            }
        }
    }

    fn message(&self, at: usize, message: &api::TracedMessage) -> String {
        let one = &self.trace.invocations[at];
        let what = match message.kind.as_str() {
            "data" => size(message.bytes),
            _ => "end".to_owned(),
        };
        let (way, joint, other) = if message.from == one.address {
            ("out", "to", &message.to)
        } else {
            ("in ", "from", &message.from)
        };
        if *other == one.parent {
            return format!("{way} {what}");
        }
        format!("{way} {what}, by name {joint} {other}")
    }

    fn left_out(&mut self) {
        for (count, what) in [
            (
                self.trace.invocations_left_out,
                "invocations that ended early on",
            ),
            (
                self.trace.messages_left_out,
                "messages between the first and the last",
            ),
            (self.trace.refusals_left_out, "refusals"),
        ] {
            if count > 0 {
                self.lines.push(format!("not kept: {count} {what}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invocation(address: &str, parent: &str, at_us: u64) -> api::TracedInvocation {
        api::TracedInvocation {
            address: address.to_owned(),
            parent: parent.to_owned(),
            function: format!("f{address}"),
            gateway: (at_us == 0).then(|| "web".to_owned()),
            request_id: Some("id".to_owned()),
            at_us,
            ended_us: Some(9_000),
            reason: Some("ok".to_owned()),
            code: Some(0),
            detail: Some(String::new()),
            queue_us: Some(0),
            start_us: Some(1),
            cpu_us: Some(500),
            bytes_in: Some(1),
            bytes_out: Some(2),
        }
    }

    fn message(at_us: u64, from: &str, to: &str, bytes: u64) -> api::TracedMessage {
        api::TracedMessage {
            at_us,
            from: from.to_owned(),
            to: to.to_owned(),
            kind: if bytes > 0 { "data" } else { "close" }.to_owned(),
            bytes,
        }
    }

    fn trace() -> api::Trace {
        api::Trace {
            time: "then".to_owned(),
            method: Some("GET".to_owned()),
            path: Some("/a?b".to_owned()),
            status: Some(200),
            failed: false,
            invocations: vec![
                invocation("a", "gate", 0),
                invocation("b", "a", 2_000),
                invocation("c", "b", 3_000),
            ],
            messages: vec![
                message(1_000, "gate", "a", 7),
                message(2_500, "a", "b", 3),
                message(4_000, "c", "elsewhere", 4),
                message(8_000, "a", "gate", 0),
            ],
            refusals: vec![api::TracedRefusal {
                at_us: 5_000,
                address: "a".to_owned(),
                what: "spawn of `d`: \u{1b}no".to_owned(),
            }],
            invocations_left_out: 0,
            messages_left_out: 12,
            refusals_left_out: 0,
        }
    }

    #[test]
    fn each_step_stands_with_whom_it_belongs_to_in_the_order_of_time() {
        assert_eq!(
            tree(&trace()),
            [
                "then request id",
                "GET /a?b: 200",
                "fa a of gateway web: ok after 9.0ms, 500µs CPU",
                "├ +1.0ms    in  7B",
                "├ +2.0ms    fb b: ok after 7.0ms, 500µs CPU",
                "│ ├ +2.5ms    in  3B",
                "│ └ +3.0ms    fc c: ok after 6.0ms, 500µs CPU",
                "│   └ +4.0ms    out 4B, by name to elsewhere",
                "├ +5.0ms    refused: spawn of `d`: \\u{1b}no",
                "└ +8.0ms    out end",
                "not kept: 12 messages between the first and the last",
            ]
        );
    }

    #[test]
    fn an_address_that_comes_again_below_itself_makes_no_circle() {
        let mut trace = trace();
        trace.invocations.push(invocation("a", "c", 6_000));
        let lines = tree(&trace);
        assert_eq!(lines.len(), 12);
        assert!(lines[8].starts_with("│   └ +6.0ms    fa a"), "{lines:#?}");
    }
}
