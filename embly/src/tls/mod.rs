//! TLS towards clients: certificates and their keys from files, which certificate a client gets, and
//! an authority for the machine of a developer.

mod authority;
mod files;
mod server;

pub use authority::{Authority, AuthorityError};
pub use files::{Files, LoadError};
pub use server::{Server, SetupError};
