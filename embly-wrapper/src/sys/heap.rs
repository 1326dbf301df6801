//! The allocator of the C library, before a process is copied.

/// More than any request that is met from a list of small pieces, in bytes.
const LARGE: usize = 100 * 1024;

/// Joins free pieces and sorts them into their lists. The allocator puts that off to the next
/// request that is large, or for which it finds nothing: in a fork server that would be each of
/// its children, which would write to (so copy) every page with a free piece.
pub fn settle() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes a number, and only gives back what nobody uses.
    unsafe {
        libc::malloc_trim(0);
    }
    drop(std::hint::black_box(Vec::<u8>::with_capacity(LARGE)));
}
