//! What reasons and errnos mean for whoever writes the function, and what to do.

use protos::{Errno, Reason};

/// A paragraph for a reason: what it comes from, and what to do.
pub fn of_reason(reason: Reason) -> &'static str {
    match reason {
        Reason::Ok => {
            "The function has returned, or has exited with 0, and nothing was wrong with what it said."
        }
        Reason::Exit => {
            "The function has exited with a code of its own, which is shown. An SDK handler that \
             returns an `Err` exits with 1, and its error is in the log. With `run_catch_error`, and \
             before the response has begun, the SDK answers 500 in its place and the invocation ends as \
             `ok, Err` in the trace; `embly dev` shows the error instead of that answer, under this name."
        }
        Reason::Trap => {
            "The function did what WebAssembly does not allow (`unreachable`, a division by zero, an \
             access beyond its memory, a stack that is too deep), or Rust code has panicked. The message \
             and its place are in the log, with a backtrace. `embly dev` builds so that it has files and \
             lines; elsewhere they come with `debug = \"line-tables-only\"` in the profile."
        }
        Reason::Memory => {
            "It wanted more memory than `limits: {memory: …}` lets it have. The log has a backtrace of \
             that moment. Read large bodies in pieces, or raise the limit."
        }
        Reason::Violation => {
            "The process said something that the protocol does not have, or tried a system call that no \
             function needs, which the jail has stopped (SIGSYS). A function alone cannot do so: look at \
             the text of the ending and at the kernel's log (`dmesg`, a line with `type=1326`), and \
             report it. Where every function ends so, it is an Embly that was built in another way \
             than releases are, without `--release`, say: `embly doctor` looks whether its processes \
             live, and `cargo build --release` makes another."
        }
        Reason::Killed => {
            "Its parent has ended it with `kill`, an operator has, or a signal from outside: most often \
             the kernel, which was out of memory (`dmesg` says so)."
        }
        Reason::Lost => {
            "The process ended, or closed its connection, without saying why. That is a defect, or \
             somebody has taken the process away: look at the text of the ending, and report it."
        }
        Reason::Cpu => {
            "It used more CPU time in 60 s than `limits: {cpu: …}` lets it. Time in which it waits does \
             not count. The log has a backtrace of that moment: look for a loop that does not end, or \
             raise the limit."
        }
        Reason::Wall => {
            "It took longer than `wall` (until the head of the response, or the end), `total` (until the \
             end in any case) or `background` (after the response) lets it; the text of the ending says \
             which. Waiting counts. The log has a backtrace of that moment, unless the process could not \
             be asked. `none` lifts such a limit."
        }
        Reason::Idle => {
            "For as long as `limits: {idle: …}`, or `response` of the gateway's `timeouts`, not a byte \
             went to it or came from it. Write something now and then, or raise the limit."
        }
        Reason::NoResponse => {
            "It exited with 0, or closed its stream, and an HTTP response was expected. Behind a gateway \
             of type http a function reads a request and writes a response, which `http::run` of the SDK \
             does; one that speaks bytes stands behind a gateway of type tcp."
        }
        Reason::BadResponse => {
            "What it wrote is not an HTTP/1.1 response, or is shorter than its `Content-Length`, or breaks \
             off in a chunk. The text of the ending says which. `println!` writes to the log, not to the \
             response."
        }
        Reason::Refused => {
            "It was not started: there is no function or service of this name, its last build has failed, \
             `allow` of the caller does not list it, or a limit on starting others was reached. The code is a WASI errno: `embly \
             explain ENOENT`, `EACCES`, `EPERM` and `EAGAIN` say what to do, and the log names the line \
             to add."
        }
        Reason::Overloaded => {
            "More is asked for than there is room for: `concurrency` invocations run and the `queue` is \
             full, or the wait in it is over, or the machine has no processes, descriptors or memory left. \
             Clients are told to come again. Raise `concurrency` where the machine has room; look at what \
             the function waits for."
        }
        Reason::Backoff => {
            "The function crashed at each of its last starts, before it looked at its input, so it is not \
             started for a while: 1 s at first, up to 60 s. How it crashes is in the log. A build that is \
             right ends the pause at once."
        }
        Reason::Starting => {
            "No process could be started for it, or a secret that it lists is gone. The text of the \
             ending says what was missing; `embly doctor` says what the machine lacks."
        }
        Reason::Flood => {
            "For 5 s it wrote more than ten times as many lines as `limits: {log: {lines: …}}` has. \
             Below that, lines beyond the limit are dropped and counted, and it goes on."
        }
        Reason::TooLarge => {
            "The body of the request is longer than `request_body`, its head longer than `request_head`, \
             or the response longer than `response_body`; all of them are in `limits`."
        }
        Reason::ClientGone => {
            "The client reset its connection, or its body broke off or stood still. It is not the \
             function's doing."
        }
        Reason::ParentEnded => {
            "The invocation that had started it has ended. One that is to go on is started `detached`."
        }
        Reason::Shutdown => {
            "The master stops. What runs gets 10 s to finish, and less when the signal comes twice."
        }
        Reason::Replaced => {
            "It is kept running by the project (`start: true`), and was ended so that its newer version \
             can begin."
        }
    }
}

/// A paragraph for an errno: which calls give it, and what to do. `None` for a number that is not
/// used.
pub fn of_errno(errno: Errno) -> Option<&'static str> {
    Some(match errno {
        Errno::SUCCESS => "The call has done what it was asked for.",
        Errno::TOOBIG => {
            "The options of `_spawn_with` are longer than 32 KiB, or a service got a message longer than \
             it takes. Send long input on the stream instead."
        }
        Errno::ACCES => {
            "The function's `allow` in the project file does not have it: a function under `spawn`, a name \
             under `register` or `reach`, a store under `kv` or `sql`, an address under `tcp`, a URL under \
             `http`. The log names the whole line to write."
        }
        Errno::AGAIN => {
            "`_read`: nothing has come yet. `_write`: the other side has not taken enough. `_status`: it \
             has not ended. Wait with `_events`, and call again. `_spawn`, or an ending with `refused`: as \
             many run as `children` of the caller or `concurrency` of the other one lets, or the machine \
             has no room: wait for one of them to end. `_lookup`: 64 streams by name are open."
        }
        Errno::BADF => {
            "The stream was never there, or is over and was forgotten: the last 1,024 that have ended stay \
             readable. Of WASI: there are no files, only 0, 1 and 2."
        }
        Errno::EXIST => {
            "`_register`: another invocation has the name, until it ends or gives it back. `_monitor` of \
             its holder says when."
        }
        Errno::INTR => "The call was interrupted. Call again.",
        Errno::INVAL => {
            "An argument makes no sense: no room for the answer, a time below 0, a name with other \
             characters than lower-case letters, digits and `-`, options that do not decode; or a service \
             got a message that it cannot read."
        }
        Errno::ILSEQ => {
            "A text that has to be UTF-8 is not, most often a name. Send bytes on a stream instead."
        }
        Errno::IO => {
            "A store could not be read or written: the disk, or the file. The master's log says more, and \
             what was not acknowledged is not kept."
        }
        Errno::NAMETOOLONG => {
            "The name of a function or service has more than 128 bytes, or the name of an invocation more \
             than 63."
        }
        Errno::NOENT => {
            "There is no function or service of this name, nobody has registered the name, or the key is \
             not in the store. The log says which names there are; look for a misspelling."
        }
        Errno::NOSPC => {
            "The store is as large as `size` in `stores` lets it be, or the disk is full. Remove something, \
             or raise `size`."
        }
        Errno::NOSYS => {
            "Embly links every call of WASI preview 1, and does not offer this one: sockets and signals. \
             Connections to others are the services `embly/tcp` and `embly/http`."
        }
        Errno::NOTSUP => {
            "The descriptor does not do this: 0, 1 and 2 are all there are, and what is written to 1 and 2 \
             are lines of the log."
        }
        Errno::PERM => {
            "A limit that waiting does not change: `depth` (levels of functions that start functions) or \
             `tree` (how many one request may start in all); or the call is for a parent only, as `_kill` \
             is. Functions that start each other without end come to it."
        }
        Errno::PIPE => {
            "The other side has ended, or this stream was closed by us. How it ended is in `_status`."
        }
        Errno::SPIPE => "0, 1 and 2 are streams: they have no position to go to.",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_and_every_errno_is_explained() {
        let reasons = Reason::ALL.iter().map(|reason| of_reason(*reason));
        let errnos = Errno::ALL
            .iter()
            .map(|errno| of_errno(*errno).expect("a text"));
        for text in reasons.chain(errnos) {
            assert!(text.ends_with('.'), "{text}");
            assert!(!text.contains("  "), "{text}");
        }
    }
}
