//! The host calls for names, and those that act on children.

use super::{
    calls,
    guest::me,
    pipe::{End, Peer},
    world::{Phase, State},
};
use crate::{
    options::SpawnOptions,
    reason::{Exit, Reason},
    sys::{Errno, Result},
};

/// Streams by name that one invocation may have open, as on the real host.
const BY_NAME: usize = 64;

pub(crate) fn spawn_with(options: &[u8]) -> Result<i32> {
    let (name, detached) = SpawnOptions::decode_for_mock(options).ok_or(Errno::INVAL)?;
    calls::start(&name, detached)
}

pub(crate) fn kill(id: i32) -> Result<()> {
    let me = me();
    let mut state = me.check(me.world.lock());
    let end = state.guests[me.guest].ends.get(&id).ok_or(Errno::BADF)?;
    if id == 1 || end.by_name {
        return Err(Errno::PERM);
    }
    if let Some(child) = end.peer.filter(|_| end.exit.is_none()) {
        state.doom(child.guest, Reason::Killed, "killed by its parent");
    }
    Ok(())
}

pub(crate) fn register(name: &str) -> Result<()> {
    check(name)?;
    let me = me();
    let mut state = me.check(me.world.lock());
    let holder = *state.names.entry(name.to_owned()).or_insert(me.guest);
    if holder == me.guest {
        Ok(())
    } else {
        Err(Errno::EXIST)
    }
}

pub(crate) fn unregister(name: &str) -> Result<()> {
    check(name)?;
    let me = me();
    let mut state = me.check(me.world.lock());
    if state.names.get(name) != Some(&me.guest) {
        return Err(Errno::NOENT);
    }
    state.names.remove(name);
    Ok(())
}

pub(crate) fn lookup(name: &str) -> Result<i32> {
    check(name)?;
    let me = me();
    let mut state = me.check(me.world.lock());
    if state.open_by_name(me.guest) >= BY_NAME {
        return Err(Errno::AGAIN);
    }
    // The real host, too, finds that out later: the stream starts, and ends.
    let refused = match state.names.get(name).copied() {
        None => Err((Errno::NOENT, format!("nobody has the name `{name}`"))),
        Some(host) if host == me.guest => Err((Errno::INVAL, "the name is its own".to_owned())),
        Some(host) if state.open_by_name(host) >= BY_NAME => {
            let detail = format!("`{name}` has {BY_NAME} streams by name");
            Err((Errno::AGAIN, detail))
        }
        Some(host) => Ok(host),
    };
    Ok(match refused {
        Ok(host) => {
            let mut end = End::new(None);
            (end.host, end.by_name) = (Some(host), true);
            state.add(me.guest, end)
        }
        Err((errno, detail)) => state.refuse(me.guest, errno, detail),
    })
}

pub(crate) fn monitor(id: i32) -> Result<()> {
    let me = me();
    let mut state = me.check(me.world.lock());
    let end = state.guests[me.guest]
        .ends
        .get_mut(&id)
        .ok_or(Errno::BADF)?;
    if end.by_name && end.exit.is_some() {
        return Err(Errno::PIPE);
    }
    end.monitors = true;
    Ok(())
}

fn check(name: &str) -> Result<()> {
    let usable = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    match name.len() {
        64.. => Err(Errno::NAMETOOLONG),
        _ if usable => Ok(()),
        _ => Err(Errno::INVAL),
    }
}

impl State {
    fn add(&mut self, guest: usize, end: End) -> i32 {
        let it = &mut self.guests[guest];
        let id = it.next_id;
        it.next_id += 1;
        it.ends.insert(id, end);
        id
    }

    /// A stream that was refused: it is there, and has ended.
    pub(super) fn refuse(&mut self, guest: usize, errno: Errno, detail: String) -> i32 {
        let mut end = End::new(None);
        end.exit = Some(Exit {
            reason: Reason::Refused,
            code: errno.0.into(),
            detail,
        });
        let id = self.add(guest, end);
        self.notify(guest, id);
        id
    }

    fn open_by_name(&self, guest: usize) -> usize {
        let ends = self.guests[guest].ends.values();
        ends.filter(|end| end.by_name && end.exit.is_none()).count()
    }

    /// Before the first word on a stream by name: the other side gets an end of its own.
    pub(super) fn connect(&mut self, guest: usize, id: i32) {
        let ours = self.guests[guest].ends.get_mut(&id);
        let Some(host) = ours.and_then(|end| end.host.take()) else {
            return;
        };
        let mut theirs = End::new(Some(Peer { guest, id }));
        theirs.by_name = true;
        let their_id = self.add(host, theirs);
        if let Some(ours) = self.guests[guest].ends.get_mut(&id) {
            ours.peer = Some(Peer {
                guest: host,
                id: their_id,
            });
        }
        if self.guests[host].phase != Phase::Ended {
            self.notify(host, their_id);
        }
    }

    /// A stream by name that both have closed is over.
    pub(super) fn hang_up(&mut self, guest: usize, id: i32, peer: Peer) {
        let both = [(guest, id), (peer.guest, peer.id)];
        let closed = |(guest, id): &(usize, i32)| {
            let end = self.guests[*guest].ends.get(id);
            end.is_some_and(|end| end.by_name && end.closed)
        };
        if !both.iter().all(closed) {
            return;
        }
        for (guest, id) in both {
            if let Some(end) = self.guests[guest].ends.get_mut(&id)
                && !end.monitors
                && end.exit.is_none()
            {
                end.exit = Some(Exit {
                    reason: Reason::Ok,
                    code: 0,
                    detail: String::new(),
                });
                self.notify(guest, id);
            }
        }
    }
}
