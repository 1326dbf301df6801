//! System calls by number, as an attacker makes them who has got out of the engine.

#![expect(unsafe_code, reason = "an attacker is not held by a safe function")]

/// An address, a number, or a descriptor.
pub type Word = usize;

/// Makes a system call: what it returns, or its errno.
pub fn call(number: i64, arguments: [Word; 6]) -> Result<i64, i32> {
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: none: it is what an attacker does. The process is there to be lost, has one thread,
    // and whatever a call of the table changes is not used by the few lines that run after it.
    let result = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    if result == -1 {
        return Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(0));
    }
    Ok(result)
}

/// A fork in disguise must not run what its parent runs.
pub fn leave() -> ! {
    // SAFETY: takes a number and does not return.
    unsafe { libc::_exit(0) }
}
