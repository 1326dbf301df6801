//! Which route a request takes, by its host, path and method. Pure: nothing here waits.
//!
//! Of all routes that match a path the more special one counts, segment by segment: a literal beats a
//! parameter, a parameter beats the rest. The order of the project file never matters.

mod host;
mod path;
mod pattern;
mod table;

pub use host::HostPattern;
pub use path::{BadPath, normal};
pub use pattern::{BadPattern, Pattern};
pub use table::{Clash, Found, Table, Takes};
