//! What `fuzz/` feeds, and each test run with the inputs that are kept in `fuzz/corpus`. Each function
//! takes whatever comes, and panics where a promise does not hold.
//!
//! Where a target needs what only its neighbours see, it stands beside them, in a `fuzzing` of their own.

mod hurl;
mod order;
mod routes;

pub use crate::bundle::fuzzing::bundle;
pub use crate::config::fuzzing::project;
pub use crate::gateway::fuzzing::{proxy, request, response, websocket};
pub use crate::service::fuzzing::services;
pub use hurl::hurl;
pub use order::order;
pub use routes::routes;

/// Takes an input.
pub type Target = fn(&[u8]);

/// Each function by the name of its corpus.
pub const TARGETS: [(&str, Target); 10] = [
    ("bundle", bundle),
    ("hurl", hurl),
    ("order", order),
    ("project", project),
    ("proxy", proxy),
    ("request", request),
    ("response", response),
    ("routes", routes),
    ("services", services),
    ("websocket", websocket),
];

#[cfg(test)]
#[path = "../../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    #[test]
    fn inputs_of_the_fuzzer_keep_every_promise_of_the_master() {
        super::replay::all(&super::TARGETS);
    }
}
