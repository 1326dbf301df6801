//! Stand-ins for the services of the host, so that functions that call them are tested without it.
//! Each is a function like any other; `mock::function` with the name of a service puts another in
//! its place.

#[cfg(feature = "http-client")]
pub mod http;
pub mod kv;
#[cfg(feature = "sql")]
pub mod sql;
#[cfg(feature = "tcp")]
pub mod tcp;

use crate::sys::mock::world::Start;

/// What every test begins with. One line for each service.
pub(crate) fn all() -> Vec<(&'static str, Start)> {
    let services = [
        #[cfg(feature = "http-client")]
        http::all(),
        kv::all(),
        #[cfg(feature = "sql")]
        sql::all(),
        #[cfg(feature = "tcp")]
        tcp::all(),
    ];
    services.into_iter().flatten().collect()
}
