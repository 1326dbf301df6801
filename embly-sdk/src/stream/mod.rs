//! Streams of bytes: to the parent, to children.

mod conn;
mod end;
mod hint;
mod io;
mod send;

pub(crate) mod input;

pub use conn::Conn;
pub(crate) use conn::Found;
pub(crate) use end::exit;
pub use send::Sending;
