//! What was taken from the host and not yet by the function.
//!
//! A [`Conn`](super::Conn) is only a number, so that it can be copied; what belongs to a stream
//! is kept here, as long as there is something to keep.

use crate::sys;
use std::{
    cell::RefCell,
    collections::{BTreeMap, btree_map::Entry},
};

/// Bytes taken from the host at once: a stream's first window.
const CHUNK: usize = 16 * 1024;

/// Where `bytes` stops when the other side writes as fast as we read: four full windows.
const PLENTY: usize = 1024 * 1024;

#[derive(Default)]
struct Input {
    bytes: Vec<u8>,
    /// Where the unread bytes begin.
    start: usize,
    /// How many of the unread bytes are a piece of a character that `string` holds back.
    held: usize,
}

thread_local! {
    static INPUTS: RefCell<BTreeMap<i32, Input>> = const { RefCell::new(BTreeMap::new()) };
}

/// Does something with what is there of a stream; keeps it only if something is left.
fn with<T>(id: i32, act: impl FnOnce(&mut Input) -> T) -> T {
    INPUTS.with_borrow_mut(|inputs| {
        let mut entry = match inputs.entry(id) {
            Entry::Vacant(entry) => entry.insert_entry(Input::default()),
            Entry::Occupied(entry) => entry,
        };
        let result = act(entry.get_mut());
        if entry.get().unread().is_empty() {
            entry.remove();
        }
        result
    })
}

impl Input {
    fn unread(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    fn take_all(&mut self) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.drain(..self.start);
        *self = Self::default();
        bytes
    }
}

/// Whether there is something that nobody has seen yet.
pub(super) fn has_news(id: i32) -> bool {
    INPUTS.with_borrow(|inputs| {
        inputs
            .get(&id)
            .is_some_and(|it| it.unread().len() > it.held)
    })
}

/// Takes what has arrived from the host. 0: the end.
pub(super) fn fill(id: i32) -> sys::Result<usize> {
    let mut chunk = [0; CHUNK];
    let n = sys::read(id, &mut chunk)?;
    with(id, |input| input.bytes.extend_from_slice(&chunk[..n]));
    Ok(n)
}

/// Reads what is there into `buf`, without asking the host.
pub(super) fn read(id: i32, buf: &mut [u8]) -> usize {
    with(id, |input| {
        let n = buf.len().min(input.unread().len());
        buf[..n].copy_from_slice(&input.unread()[..n]);
        input.start += n;
        input.held = input.held.saturating_sub(n);
        n
    })
}

/// Everything that has arrived so far.
pub(super) fn take_all(id: i32) -> Vec<u8> {
    let mut len = with(id, |input| input.unread().len());
    while len < PLENTY {
        match fill(id) {
            // What ends or fails is seen by who comes next.
            Ok(0) | Err(_) => break,
            Ok(n) => len += n,
        }
    }
    take_some(id)
}

/// What was taken from the host already.
pub(crate) fn take_some(id: i32) -> Vec<u8> {
    with(id, Input::take_all)
}

/// Puts bytes back, to be read first.
pub(crate) fn unread(id: i32, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    with(id, |input| {
        let rest = input.take_all();
        input.bytes = [bytes, &rest].concat();
    });
}

/// As [`unread`], for a piece of a character whose rest has not arrived.
pub(super) fn hold_back(id: i32, piece: &[u8]) {
    unread(id, piece);
    with(id, |input| input.held = piece.len());
}

/// Whether only a held back piece of a character is left.
pub(super) fn holds_a_piece(id: i32) -> bool {
    INPUTS.with_borrow(|inputs| inputs.get(&id).is_some_and(|it| it.held > 0))
}

/// Forgets everything.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn reset() {
    INPUTS.set(BTreeMap::new());
}
