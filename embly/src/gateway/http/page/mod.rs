//! The page that `embly dev` shows a person in place of an answer that a function did not give: what
//! happened, where, what was said, and what to do. It loads itself anew after the next build.
//!
//! Nothing of what a function, a compiler or a source says is markup, and no secret is in it. What runs
//! on the page is its own script alone: its policy names that by a number used once.

mod trace;

use std::fmt::{self, Write as _};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_SECURITY_POLICY;
use http::{HeaderMap, HeaderValue, Response};
use protos::{Ending, Errno, Reason};
use serde::Deserialize;

use super::super::workbench::{Code, Project, Workbench};
use super::access::Access;
use super::html::Shown;
use super::refuse::Told;
use crate::config::FILE_NAME;
use crate::report::{Reporter, Wanted, escape, without_colours};
use crate::secrets::Masks;
use trace::{Backtrace, Excerpt, Frame, Place};

/// Lines of the function's log that are shown.
const LOG_LINES: usize = 40;

/// Why there is a page where the function has exited with 0.
const HANDLER: &str = "Its handler has returned this `Err`, and the SDK has answered with status 500 in \
                       its place. Only `embly dev` shows it: clients of `embly run` get that answer, \
                       without a word of it.";

/// What others get while the project file is wrong.
const PROJECT: &str = "Other clients get what was served before. The same text stands in the \
                       terminal; `embly explain CODE` says more.";

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The policy of a page, which headers of the project do not replace.
#[derive(Debug, Clone)]
struct Policy(HeaderValue);

/// What a function did instead of an answer.
#[derive(Debug, Clone)]
pub enum What {
    /// It was ended, or never begun.
    Ended(Ending),
    /// Its handler has returned an `Err`, and the SDK has answered.
    Handler,
    /// It was not asked: this is wrong with the project file.
    Project(String),
}

/// What is known of a request that has no answer.
#[derive(Debug)]
struct Facts {
    /// The text for the reason.
    why: &'static str,
    what: What,
    status: u16,
    function: String,
    /// Method and target.
    asked: String,
    request_id: String,
    /// The build that was served as the request came.
    build: String,
    /// Whether the request may be sent again by itself.
    again: bool,
    log: Vec<Said>,
    /// The number that the policy names.
    nonce: String,
}

impl Facts {
    /// The lines of this invocation.
    fn own(&self) -> Vec<&str> {
        own(&self.log).collect()
    }
}

/// A line of a log.
#[derive(Debug)]
struct Said {
    line: String,
    /// By this invocation, or by another one of the function.
    own: bool,
}

/// Makes a page of the answer.
pub async fn dress(
    bench: &Arc<Workbench>,
    reporter: &Reporter,
    access: &Access,
    what: What,
    response: &mut Response<Bytes>,
) {
    let nonce = uuid::Uuid::now_v7().simple().to_string();
    let header = |name| response.headers().get(name)?.to_str().ok();
    let facts = Facts {
        why: match &what {
            What::Ended(ending) => (bench.explain)(ending.reason),
            What::Handler => HANDLER,
            What::Project(_) => PROJECT,
        },
        status: response.status().as_u16(),
        function: match &what {
            What::Project(_) => FILE_NAME.to_owned(),
            What::Ended(_) | What::Handler => access.function.to_string(),
        },
        asked: access.asked(),
        request_id: header(super::head::REQUEST_ID)
            .unwrap_or_default()
            .to_owned(),
        build: access.build.clone().unwrap_or_else(|| bench.build()),
        again: access.is_get(),
        log: log(reporter, access).await,
        nonce: nonce.clone(),
        what,
    };
    let (project, masks) = (bench.project(), Arc::clone(reporter.masks()));
    // It reads sources.
    let page = tokio::task::spawn_blocking(move || Page::new(&project, &masks).of(&facts));
    // A panic was printed; the small answer stands.
    let Ok(page) = page.await else { return };
    let policy = format!(
        "default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; \
         connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    );
    if let Ok(policy) = HeaderValue::try_from(policy) {
        *response.body_mut() = Bytes::from(page);
        response.extensions_mut().insert(Policy(policy));
        keep_policy(response);
    }
}

/// What others than browsers are told of a handler that has failed.
pub async fn told(reporter: &Reporter, access: &Access) -> Told {
    let log = log(reporter, access).await;
    let own: Vec<&str> = own(&log).collect();
    let error = own[trace::error(&own)].join("\n");
    let function = &access.function;
    Told {
        what: reporter.masks().mask(&plain(&error)).into_owned(),
        advice: format!(
            "The handler of `{function}` has returned this `Err`, which only `embly dev` shows; what it \
             has said before is in the terminal, and `embly logs --function {function}` shows it"
        ),
    }
}

/// The lines of the invocation itself.
fn own(log: &[Said]) -> impl Iterator<Item = &str> {
    log.iter().filter(|said| said.own).map(|said| &*said.line)
}

/// The policy of a page is its own, whatever was done to the headers since.
pub fn keep_policy<T>(response: &mut Response<T>) {
    if let Some(Policy(policy)) = response.extensions().get().cloned() {
        let headers: &mut HeaderMap = response.headers_mut();
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
}

/// The last lines of the function's log.
async fn log(reporter: &Reporter, access: &Access) -> Vec<Said> {
    #[derive(Deserialize)]
    struct Line {
        address: String,
        line: String,
    }
    let wanted = Wanted {
        logs: true,
        function: Some(access.function.to_string()),
        ..Wanted::default()
    };
    let own = access.address.map(|address| address.to_string());
    let mut follower = reporter.follow(wanted, false);
    let mut said = Vec::new();
    while let Some(lines) = follower.next().await {
        let lines = lines.lines();
        said.extend(lines.filter_map(|line| {
            let Line { address, line } = serde_json::from_str(line).ok()?;
            let own = own.as_ref() == Some(&address);
            Some(Said { line, own })
        }));
    }
    said
}

/// Writes one page.
struct Page<'a> {
    project: &'a Project,
    masks: &'a Masks,
    html: String,
}

impl<'a> Page<'a> {
    fn new(project: &'a Project, masks: &'a Masks) -> Self {
        let html = String::with_capacity(16 * 1024);
        Self {
            project,
            masks,
            html,
        }
    }

    fn of(mut self, facts: &Facts) -> String {
        let code = self.project.functions.get(&facts.function);
        let failed = code.and_then(|code| code.failed.as_deref());
        match (&facts.what, code, failed) {
            (What::Ended(ending), Some(code), Some(said))
                if ending.reason == Reason::Refused && ending.code == i32::from(Errno::NOENT.0) =>
            {
                let folder = code.path.strip_prefix(&self.project.root);
                let said = trace::own_first(&without_colours(said), folder.unwrap_or(&code.path));
                self.not_built(facts, &said);
            }
            (What::Ended(ending), _, _) => self.ended(facts, ending, code),
            (What::Handler, ..) => self.failed(facts),
            (What::Project(said), ..) => self.wrong(facts, said),
        }
        self.end(facts);
        self.html
    }

    fn begin(&mut self, facts: &Facts, what: &str, title: &str) {
        let (nonce, function) = (&facts.nonce, Shown(&facts.function));
        self.write(format_args!(
            "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>{what}: {function}</title>\n<style nonce=\"{nonce}\">\n{STYLE}</style>\n\
             <main>\n<p class=\"what\">{what} <span>status {} · {function}</span></p>\n<h1>{title}</h1>\n",
            facts.status
        ));
    }

    fn end(&mut self, facts: &Facts) {
        let waits = if facts.again {
            "This page loads itself again after the next build."
        } else {
            "This page says when there is another build."
        };
        let asked = self.masks.mask(&facts.asked).into_owned();
        let (again, nonce) = (if facts.again { "yes" } else { "no" }, &facts.nonce);
        self.write(format_args!(
            "<footer>\n<p id=\"state\" role=\"status\">{waits}</p>\n\
             <p><code>{}</code> · request <code>{}</code> · shown by <code>embly dev</code> only</p>\n\
             </footer>\n</main>\n\
             <script nonce=\"{nonce}\" data-since=\"{}\" data-again=\"{again}\">\n{SCRIPT}</script>\n",
            Shown(&asked),
            Shown(&facts.request_id),
            Shown(&facts.build),
        ));
    }

    fn not_built(&mut self, facts: &Facts, said: &str) {
        let function = format!("<code>{}</code>", Shown(&facts.function));
        self.begin(facts, "not built", &format!("{function} does not compile"));
        self.said(said);
        self.write(format_args!(
            "<p class=\"why\">Other clients get what was built of it before, if anything was. \
             The same text stands in the terminal.</p>\n"
        ));
    }

    /// The project file is not right.
    fn wrong(&mut self, facts: &Facts, said: &str) {
        let title = format!("<code>{}</code> is wrong, and not served", Shown(FILE_NAME));
        self.begin(facts, "project file", &title);
        self.said(said);
        let (_, code) = said.split_once("error[").unwrap_or_default();
        let why = match code.split_once(']') {
            Some((code, _)) => &*facts.why.replace("CODE", code),
            None => facts.why,
        };
        self.write(format_args!("<p class=\"why\">{}</p>\n", words(why)));
    }

    /// What a compiler says, or Embly of a project file: both in the same form.
    fn said(&mut self, said: &str) {
        // A colour in the middle of a secret must not hide it.
        let said = plain(&self.masks.mask(&without_colours(said)));
        if let Some(place) = Place::of_error(&said) {
            let Place { file, line } = &place;
            let text = format!("{file}:{line}");
            self.write(format_args!(
                "<p class=\"message\"><code>{}</code></p>\n",
                Shown(&text)
            ));
        }
        self.html.push_str("<pre class=\"card\"><code>");
        for line in said.trim_end().lines() {
            let begins = line.trim_start();
            let class = match begins {
                _ if line.starts_with("error") => "error",
                _ if line.starts_with("warning") => "warning",
                _ if begins.starts_with("--> ") || begins.starts_with("::: ") => "at",
                _ if begins.starts_with("= ") => "advice",
                _ => "",
            };
            let line = Shown(line);
            match class {
                "" => self.write(format_args!("{line}\n")),
                class => self.write(format_args!("<span class=\"{class}\">{line}</span>\n")),
            }
        }
        self.html.push_str("</code></pre>\n");
    }

    fn ended(&mut self, facts: &Facts, ending: &Ending, code: Option<&Code>) {
        let Ending {
            reason,
            code: number,
            detail,
            ..
        } = ending;
        let title = match reason {
            Reason::Exit => format!("Exit with the code {number}"),
            _ => reason.meaning().trim_end_matches('.').to_owned(),
        };
        self.begin(facts, reason.name(), &words(&title));
        let detail = self.masks.mask(detail).into_owned();
        let mut message = plain(&detail);
        let own = facts.own();
        let Backtrace {
            lines,
            message: whole,
            frames,
        } = trace::backtrace(&own, reason.name());
        // The detail is in one line.
        if *reason == Reason::Trap && !whole.is_empty() {
            message = plain(&whole);
        }
        let error = match reason {
            Reason::Exit => trace::error(&own),
            _ => 0..0,
        };
        self.message(&message);
        self.message(&own[error.clone()].join("\n"));
        self.write(format_args!(
            "<p class=\"why\">{} <code>embly explain {reason}</code></p>\n",
            words(facts.why)
        ));
        self.places(code, &frames, &message);
        self.rest_of_log(facts, &[error, lines]);
    }

    /// The handler has returned an `Err`, which the SDK has written to the log.
    fn failed(&mut self, facts: &Facts) {
        self.begin(facts, "error", "The handler has returned an error");
        let own = facts.own();
        let error = trace::error(&own);
        self.message(&own[error.clone()].join("\n"));
        self.write(format_args!("<p class=\"why\">{}</p>\n", words(facts.why)));
        self.rest_of_log(facts, &[error]);
    }

    fn message(&mut self, said: &str) {
        let said = plain(said);
        if !said.is_empty() {
            let said = Shown(&said);
            self.write(format_args!(
                "<p class=\"message\"><code>{said}</code></p>\n"
            ));
        }
    }

    /// The log without those of the invocation's lines that were shown.
    fn rest_of_log(&mut self, facts: &Facts, shown: &[Range<usize>]) {
        let own = own(&facts.log).enumerate();
        let rest = own.filter(|(n, _)| !shown.iter().any(|lines| lines.contains(n)));
        let rest: Vec<&str> = rest.map(|(_, line)| line).collect();
        if !rest.is_empty() {
            self.html
                .push_str("<h2>What it has said before</h2>\n<div class=\"card\"><pre>");
            self.lines(&rest);
            self.html.push_str("</pre></div>\n");
        }
        let others = facts.log.iter().filter(|said| !said.own);
        let others = others.filter(|said| !trace::is_of_backtrace(&said.line));
        let others: Vec<&str> = others.map(|said| &*said.line).collect();
        if !others.is_empty() {
            self.write(format_args!(
                "<h2>What others have said</h2>\n<details class=\"card\">\
                 <summary>The last lines of other invocations of <code>{}</code></summary>\n\
                 <pre class=\"other\">",
                Shown(&facts.function)
            ));
            self.lines(&others);
            self.html.push_str("</pre></details>\n");
        }
    }

    /// The last lines.
    fn lines(&mut self, lines: &[&str]) {
        for line in &lines[lines.len().saturating_sub(LOG_LINES)..] {
            let line = plain(line);
            self.write(format_args!("{}\n", Shown(&line)));
        }
    }

    /// Where the function was.
    fn places(&mut self, code: Option<&Code>, frames: &[Frame], message: &str) {
        let panic = Place::of_panic(message);
        let of = |place: &Place| trace::excerpt(self.project, code?, place);
        let mut shown: Vec<(Frame, Option<Excerpt>)> = Vec::new();
        for frame in frames {
            let at = frame.place.as_deref().and_then(Place::parse);
            let excerpt = at.as_ref().and_then(of);
            shown.push((frame.clone(), excerpt));
        }
        let known = |excerpt: &Excerpt| {
            let mut others = shown.iter().filter_map(|(_, other)| other.as_ref());
            others.any(|other| (&other.file, other.line) == (&excerpt.file, excerpt.line))
        };
        // A module without lines still says where it panicked.
        if let Some(excerpt) = panic.as_ref().and_then(of)
            && !known(&excerpt)
        {
            let frame = Frame {
                name: "the panic".to_owned(),
                place: None,
                folded: false,
            };
            shown.insert(0, (frame, Some(excerpt)));
        }
        if shown.is_empty() {
            return;
        }
        self.html.push_str("<h2>Where it was</h2>\n");
        let mut first = true;
        let has_sources = shown.iter().any(|(_, excerpt)| excerpt.is_some());
        let hidden =
            |(frame, excerpt): &(Frame, Option<Excerpt>)| excerpt.is_none() && !frame.folded;
        for group in shown.chunk_by(|one, other| hidden(one) && hidden(other)) {
            match group {
                [(frame, Some(excerpt))] => {
                    self.excerpt(&plain(&frame.name), excerpt, std::mem::take(&mut first));
                    continue;
                }
                [(frame, None)] if frame.folded => {
                    let name = plain(&frame.name);
                    let name = Shown(&name);
                    self.write(format_args!("<p class=\"folded\">{name}</p>\n"));
                    continue;
                }
                _ => {}
            }
            // What is not the project's own is of interest where nothing else is.
            let open = if has_sources { "" } else { " open" };
            let (count, s) = (group.len(), if group.len() == 1 { "" } else { "s" });
            self.write(format_args!(
                "<details class=\"card\"{open}><summary>{count} function{s} without a source in \
                 the project</summary>\n"
            ));
            for (Frame { name, place, .. }, _) in group {
                let place = plain(place.as_deref().unwrap_or_default());
                self.write(format_args!(
                    "<div class=\"frame\"><code>{}</code><span class=\"place\">{}</span></div>\n",
                    Shown(&plain(name)),
                    Shown(&place)
                ));
            }
            self.html.push_str("</details>\n");
        }
        if frames.iter().all(|frame| frame.place.is_none()) {
            self.write(format_args!(
                "<p class=\"why\">This module has no files and lines. <code>embly dev</code> asks cargo \
                 for them, where no <code>[profile.release]</code> says something about \
                 <code>debug</code> or <code>strip</code>.</p>\n"
            ));
        }
    }

    fn excerpt(&mut self, name: &str, excerpt: &Excerpt, open: bool) {
        let (file, open) = (plain(&excerpt.file), if open { " open" } else { "" });
        let line = excerpt.line;
        self.write(format_args!(
            "<details class=\"card\"{open}><summary><code>{}</code>\
             <span class=\"place\">{}:{line}</span></summary>\n<pre class=\"source\">",
            Shown(name),
            Shown(&file)
        ));
        let lines = self.masks.mask(&excerpt.lines.join("\n")).into_owned();
        for (text, number) in lines.lines().zip(excerpt.first..) {
            let class = if number == line {
                " class=\"here\""
            } else {
                ""
            };
            let text = escape(text);
            self.write(format_args!(
                "<span{class}><i>{number}</i>{}</span>",
                Shown(&text)
            ));
        }
        self.html.push_str("</pre></details>\n");
    }

    fn write(&mut self, text: fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = self.html.write_fmt(text);
    }
}

/// Our own words, in which code stands between backticks.
fn words(text: &str) -> String {
    let mut html = String::new();
    for (n, part) in text.split('`').enumerate() {
        let part = Shown(part);
        // Writing to a string cannot fail.
        let _ = if n % 2 == 1 {
            write!(html, "<code>{part}</code>")
        } else {
            write!(html, "{part}")
        };
    }
    html
}

/// What a program has written for a terminal, without colours and what else steers one.
fn plain(text: &str) -> String {
    let mut lines = String::new();
    for (n, line) in text.split('\n').enumerate() {
        if n > 0 {
            lines.push('\n');
        }
        lines.push_str(&escape(&without_colours(line.trim_end_matches('\r'))));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_said_is_markup_or_steers() {
        let said = "<script>alert(\"1\" & '2')</script>";
        assert_eq!(
            Shown(said).to_string(),
            "&lt;script&gt;alert(&quot;1&quot; &amp; &#39;2&#39;)&lt;/script&gt;"
        );
        assert_eq!(words("an `a<b` here"), "an <code>a&lt;b</code> here");
        let coloured = "\x1b[1m\x1b[38;5;9merror\x1b[0m: x\r\n\ty\x07\u{202e}\x1b[";
        assert_eq!(plain(coloured), "error: x\n\ty\\u{7}\\u{202e}");
    }
}
