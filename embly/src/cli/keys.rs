//! Keys of a terminal, one by one as they are typed.

use std::io;
use std::thread;

use rustix::termios::{LocalModes, SpecialCodeIndex, Termios};
use tokio::sync::mpsc;

/// Keys that were typed and not acted on yet.
const TYPED: usize = 16;

/// These modes, but for lines and for showing what is typed: a read waits for the first key.
pub fn modes(before: &Termios) -> Termios {
    let mut modes = before.clone();
    modes
        .local_modes
        .remove(LocalModes::ICANON | LocalModes::ECHO);
    modes.special_codes[SpecialCodeIndex::VMIN] = 1;
    modes.special_codes[SpecialCodeIndex::VTIME] = 0;
    modes
}

/// Keys as they are typed; none at the end of the input. The thread that reads them, with `next`, ends
/// with the process.
pub fn read(
    mut next: impl FnMut() -> Option<u8> + Send + 'static,
) -> io::Result<mpsc::Receiver<u8>> {
    let (sender, keys) = mpsc::channel(TYPED);
    let read = move || {
        // In a master it would be woken at the end of each process.
        let _ = embly_wrapper::process::block_child_signals();
        while let Some(key) = next() {
            if sender.blocking_send(key).is_err() {
                return;
            }
        }
    };
    thread::Builder::new().name("keys".to_owned()).spawn(read)?;
    Ok(keys)
}
