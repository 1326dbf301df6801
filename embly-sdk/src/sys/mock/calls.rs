//! The host calls. What each means stands in the module above.

use super::{
    guest::{is_somebody, me},
    world::Phase,
};
use crate::{
    reason::Reason,
    sys::{Errno, Result, Status, Wait},
};
use std::time::Duration;

/// Live children that one invocation may have, as on the real host by default.
const CHILDREN: usize = 64;

pub(crate) fn in_function() -> bool {
    is_somebody() && me().guest != super::world::TEST
}

/// A test has no log but its own output.
#[expect(clippy::unnecessary_wraps, reason = "as the real host has it")]
pub(crate) fn log(severity: i32, text: &str) -> Result<()> {
    for line in text.lines() {
        eprintln!("<{severity}> {line}");
    }
    Ok(())
}

pub(crate) fn read(id: i32, buf: &mut [u8]) -> Result<usize> {
    let me = me();
    let mut state = me.check(me.world.lock());
    state.calls.read += 1;
    let end = state.guests[me.guest]
        .ends
        .get_mut(&id)
        .ok_or(Errno::BADF)?;
    let n = end.take(buf).ok_or(Errno::AGAIN)?;
    if end.relieved()
        && let Some(peer) = end.peer
    {
        state.notify(peer.guest, peer.id);
    }
    Ok(n)
}

pub(crate) fn write(id: i32, buf: &[u8]) -> Result<usize> {
    let me = me();
    let mut state = me.check(me.world.lock());
    state.calls.write += 1;
    state.connect(me.guest, id);
    let end = state.guests[me.guest].ends.get(&id).ok_or(Errno::BADF)?;
    let peer = end
        .peer
        .filter(|_| end.exit.is_none() && !end.closed)
        .ok_or(Errno::PIPE)?;
    let theirs = state.guests[peer.guest]
        .ends
        .get_mut(&peer.id)
        .ok_or(Errno::PIPE)?;
    let n = theirs.offer(buf);
    if n > 0 {
        state.notify(peer.guest, peer.id);
    } else if !buf.is_empty() {
        return Err(Errno::AGAIN);
    }
    Ok(n)
}

pub(crate) fn close(id: i32) -> Result<()> {
    let me = me();
    let mut state = me.check(me.world.lock());
    state.calls.close += 1;
    state.connect(me.guest, id);
    let end = state.guests[me.guest]
        .ends
        .get_mut(&id)
        .ok_or(Errno::BADF)?;
    if std::mem::replace(&mut end.closed, true) {
        return Ok(());
    }
    if let Some(peer) = end.peer
        && let Some(theirs) = state.guests[peer.guest].ends.get_mut(&peer.id)
    {
        theirs.half_close();
        state.notify(peer.guest, peer.id);
        state.hang_up(me.guest, id, peer);
    }
    Ok(())
}

pub(crate) fn spawn(name: &str) -> Result<i32> {
    start(name, false)
}

pub(super) fn start(name: &str, detached: bool) -> Result<i32> {
    let me = me();
    let mut state = me.check(me.world.lock());
    state.calls.spawn += 1;
    let us = &mut state.guests[me.guest];
    let live = us
        .ends
        .iter()
        .filter(|(id, end)| **id != 1 && !end.by_name && end.exit.is_none());
    if live.count() >= CHILDREN {
        return Err(Errno::AGAIN);
    }
    if let Some(start) = state.functions.get(name).cloned() {
        drop(state);
        return Ok(me.start_with(name, start, detached));
    }
    // The real host, too, finds that out later: the stream starts, and ends.
    let detail = format!("no function `{name}`: register one with `mock::function`");
    Ok(state.refuse(me.guest, Errno::NOENT, detail))
}

pub(crate) fn status(id: i32, detail: &mut [u8]) -> Result<Status> {
    let me = me();
    let mut state = me.check(me.world.lock());
    state.calls.status += 1;
    if id == crate::warning::ID {
        let limit = state.guests[me.guest].warnings.pop_front();
        return warning(limit.ok_or(Errno::AGAIN)?, detail);
    }
    let end = state.guests[me.guest].ends.get(&id).ok_or(Errno::BADF)?;
    let exit = end.exit.as_ref().ok_or(Errno::AGAIN)?;
    let text = exit.detail.as_bytes();
    let detail_len = text.len().min(detail.len());
    detail[..detail_len].copy_from_slice(&text[..detail_len]);
    Ok(Status {
        reason: exit.reason.number(),
        code: exit.code,
        detail_len,
    })
}

fn warning(limit: &str, detail: &mut [u8]) -> Result<Status> {
    let reason = if limit == "cpu" {
        Reason::Cpu
    } else {
        Reason::Wall
    };
    let detail_len = limit.len().min(detail.len());
    detail[..detail_len].copy_from_slice(&limit.as_bytes()[..detail_len]);
    Ok(Status {
        reason: reason.number(),
        code: 0,
        detail_len,
    })
}

pub(crate) fn events(wait: Wait, ids: &mut [i32]) -> Result<usize> {
    let me = me();
    let mut state = me.check(me.world.lock());
    state.calls.events += 1;
    if state.guests[me.guest].events.is_empty() {
        let until = match wait {
            Wait::AtMost(timeout) => Some(state.now + timeout),
            Wait::Forever => None,
        };
        if until == Some(state.now) {
            // One look; but let the others get on.
            state.queue.push_back(me.guest);
        } else {
            state.guests[me.guest].phase = Phase::Waits(until);
        }
        state.pass();
        state = me.until_turn(state);
        if let Phase::Waits(None) = state.guests[me.guest].phase {
            let who = state.who_waits();
            state.guests[me.guest].phase = Phase::Runs;
            drop(state);
            panic!("nothing can happen any more, all wait for each other: {who}");
        }
    }
    let events = &mut state.guests[me.guest].events;
    let n = ids.len().min(events.len());
    for (to, from) in ids.iter_mut().zip(events.drain(..n)) {
        *to = from;
    }
    Ok(n)
}

pub(crate) fn now() -> Duration {
    me().world.now()
}
