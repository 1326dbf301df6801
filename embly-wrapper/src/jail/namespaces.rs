//! Who a process is and what it sees: user, groups, namespaces.
//!
//! Root leaves the namespaces for IPC, UTS and network first, while it may; then it becomes an
//! unprivileged user, and as that one enters a user namespace in which only this user exists.
//! Who is not root begins with the user namespace, and as its owner leaves the others.
//!
//! There is no PID namespace: it begins with the first child and ends with it.

use std::io;

use rustix::fs::{Gid, Uid};
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::step::{Missing, Step};
use crate::sys;

/// A user for processes that belong to functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct User {
    /// Never 0.
    pub uid: u32,
    /// Never 0.
    pub gid: u32,
}

impl Default for User {
    /// A number that no system gives to anybody (65534, beside it, is `nobody`, whom many
    /// programs share), and that exists even in a container with 65,536 users.
    fn default() -> Self {
        Self {
            uid: 65533,
            gid: 65533,
        }
    }
}

impl std::str::FromStr for User {
    type Err = &'static str;

    /// `UID` or `UID:GID`; the group is otherwise the one of the same number.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "a user is expected by number, like 65533 or 65533:65533, not root";
        let (uid, gid) = text.split_once(':').unwrap_or((text, text));
        let number = |text: &str| {
            let number = text.parse::<u32>().ok();
            // The last number means "leave it as it is".
            number
                .filter(|number| !matches!(*number, 0 | u32::MAX))
                .ok_or(EXPECTED)
        };
        Ok(Self {
            uid: number(uid)?,
            gid: number(gid)?,
        })
    }
}

impl std::fmt::Display for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.uid, self.gid)
    }
}

pub(super) struct Namespaces {
    user: User,
    root: bool,
    /// Those that could not be left at the first attempt.
    left_over: Vec<Step>,
}

fn flag(step: Step) -> libc::c_int {
    match step {
        Step::IpcNamespace => libc::CLONE_NEWIPC,
        Step::UtsNamespace => libc::CLONE_NEWUTS,
        Step::NetNamespace => libc::CLONE_NEWNET,
        _ => libc::CLONE_NEWUSER,
    }
}

impl Namespaces {
    pub fn new(user: User) -> Self {
        Self {
            user,
            root: rustix::process::geteuid().is_root(),
            left_over: Vec::new(),
        }
    }

    /// One of IPC, UTS, network, as root.
    pub fn leave_early(&mut self, step: Step) {
        if !self.root || sys::process::unshare(flag(step)).is_err() {
            self.left_over.push(step);
        }
    }

    /// What could not be left early; what remains is missing.
    pub fn leave_late(&mut self) -> Vec<Missing> {
        let attempt = |step: Step| {
            let error = sys::process::unshare(flag(step)).err()?;
            Some(step.missing(&error))
        };
        self.left_over.drain(..).filter_map(attempt).collect()
    }

    /// From root to the unprivileged user; capabilities stay for the steps that follow.
    pub fn become_user(&self) -> io::Result<()> {
        if !self.root {
            return Ok(());
        }
        let mine = rustix::thread::capabilities(None)?;
        if !mine.effective.contains(CapabilitySet::KILL) {
            // Nobody could end the processes of another user.
            return Err(io::Error::other("root has no capability CAP_KILL here"));
        }
        rustix::thread::set_keep_capabilities(true)?;
        let (uid, gid) = (Uid::from_raw(self.user.uid), Gid::from_raw(self.user.gid));
        rustix::thread::set_thread_groups(&[])?;
        rustix::thread::set_thread_res_gid(gid, gid, gid)?;
        rustix::thread::set_thread_res_uid(uid, uid, uid).map_err(|error| match error {
            rustix::io::Errno::INVAL => io::Error::other(format!(
                "the user {uid} does not exist in this container; choose another with `--jail-user`",
                uid = self.user.uid
            )),
            error => error.into(),
        })?;
        let effective = mine.permitted;
        rustix::thread::set_capabilities(None, CapabilitySets { effective, ..mine })?;
        // Or the map of its ids would belong to root.
        Ok(rustix::process::set_dumpable_behavior(
            rustix::process::DumpableBehavior::Dumpable,
        )?)
    }

    /// A user namespace with this user alone, under its own number.
    pub fn leave_user(&self) -> io::Result<()> {
        let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
        sys::process::unshare(flag(Step::UserNamespace))?;
        let map = |id: u32| format!("{id} {id} 1");
        // Who may map groups might also leave some that keep it out; so nobody may.
        std::fs::write("/proc/self/setgroups", "deny")?;
        std::fs::write("/proc/self/uid_map", map(uid.as_raw()))?;
        std::fs::write("/proc/self/gid_map", map(gid.as_raw()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_given_by_number_and_is_never_root() {
        assert_eq!("7".parse(), Ok(User { uid: 7, gid: 7 }));
        assert_eq!("7:8".parse(), Ok(User { uid: 7, gid: 8 }));
        for wrong in [
            "",
            "0",
            "7:0",
            "0:7",
            "nobody",
            "4294967295",
            "-1",
            "7:",
            "1:2:3",
        ] {
            assert!(wrong.parse::<User>().is_err(), "{wrong}");
        }
        let user = User::default();
        assert_eq!(user.to_string().parse(), Ok(user));
    }
}
