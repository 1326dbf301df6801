//! How a run of guest code ended, as a reason.

use protos::{Ending, Reason};
use wasmtime::{Error, Trap, WasmBacktrace};

use crate::channel::ChannelError;
use crate::engine::FRAMES;
use crate::sys;

/// The guest called `proc_exit`.
#[derive(Debug, thiserror::Error)]
#[error("exit with code {0}")]
pub struct ProcExit(pub i32);

/// A limit that this process watches over was reached.
#[derive(Debug, thiserror::Error)]
#[error("{detail}")]
pub struct LimitReached {
    /// [`Reason::Cpu`], [`Reason::Memory`] or [`Reason::Wall`].
    pub reason: Reason,
    /// With figures.
    pub detail: String,
}

/// Whether the guest may go on, or has taken so long that the master has asked it to stop.
///
/// # Errors
/// [`LimitReached`], so that the log says where it was.
pub fn go_on() -> Result<(), LimitReached> {
    match sys::signal::is_asked_to_stop() {
        false => Ok(()),
        true => Err(LimitReached {
            reason: Reason::Wall,
            detail: "it was here when its time was over".to_owned(),
        }),
    }
}

/// What the end of a run tells us beside its result.
#[derive(Debug, Default)]
pub struct Clues {
    /// Growth of memory was refused, with figures.
    pub memory_refused: Option<String>,
    /// A panic's place and message, from what the guest wrote to stderr.
    pub panic: Option<String>,
}

/// How a run ended that has returned this error, or none. `None` when the connection to the master
/// is gone and there is nobody to tell.
pub fn ending(error: Option<&Error>, clues: Clues) -> Option<Ending> {
    let Some(error) = error else {
        return Some(Ending::exit(0));
    };
    if error.downcast_ref::<ChannelError>().is_some() {
        return None;
    }
    if let Some(ProcExit(code)) = error.downcast_ref() {
        return Some(Ending::exit(*code));
    }
    if let Some(LimitReached { reason, detail }) = error.downcast_ref() {
        return Some(Ending::new(*reason, detail));
    }
    // A refused growth is answered to the guest; one that then gives up, as allocators do,
    // has ended for want of memory.
    if let Some(detail) = clues.memory_refused {
        return Some(Ending::new(Reason::Memory, detail));
    }
    let trap = match error.downcast_ref::<Trap>() {
        Some(trap) => {
            let text = trap.to_string();
            // The reason says already that it is a trap.
            let text = text.strip_prefix("wasm trap: ").unwrap_or(&text);
            match *trap == Trap::MemoryOutOfBounds && is_deep(error) {
                true => format!(
                    "{text}, with {FRAMES} calls or more on the stack: most likely it is full, by a recursion \
                     without an end"
                ),
                false => text.to_owned(),
            }
        }
        None => format!("{:#}", error.root_cause()),
    };
    // How Rust traps after it is of no interest.
    Some(Ending::new(Reason::Trap, clues.panic.unwrap_or(trap)))
}

/// Whether it has called as deep as is looked. A program keeps a stack in its memory, first of all (`--stack-first`), and
/// reaches beyond that memory where the stack is full; wasmtime does not tell the address of each access.
fn is_deep(error: &Error) -> bool {
    let backtrace = error.downcast_ref::<WasmBacktrace>();
    backtrace.is_some_and(|backtrace| backtrace.frames().len() >= FRAMES)
}
