//! The environment of this process.

use std::io;

/// Removes variables. Only for a process with one thread.
///
/// # Errors
/// There are others, or it does not show.
pub fn remove(names: &[&str]) -> io::Result<()> {
    if std::fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(io::Error::other("other threads may read the environment"));
    }
    for name in names {
        // SAFETY: this is the only thread, as was just seen, and it reads nothing meanwhile.
        unsafe { std::env::remove_var(name) };
    }
    Ok(())
}
