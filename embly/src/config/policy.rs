//! What a gateway or a route does to requests and responses. A key of a route takes the place of its
//! gateway's, `none` switches it off.

mod auth;
mod compress;
mod cors;
mod headers;
mod ip;
mod rate;

use std::sync::Arc;

use super::fields::{Field, Fields};
use super::function::World;
use super::gateway::function_name;
use super::problem::Problems;
use super::tree::Value;
pub use auth::{Algorithm, Auth, Basic, Jwt, usable_keys};
pub use compress::Compress;
pub use cors::{Cors, Names};
pub use headers::{HeaderRules, Headers};
pub use ip::IpRules;
pub use rate::Rate;

/// The keys that are read here.
pub(super) const KEYS: [&str; 7] = [
    "ip", "rate", "cors", "auth", "before", "compress", "headers",
];

/// What is done to requests and to their answers. Where a route has nothing of its own it shares that
/// of its gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Who may ask.
    pub ip: Option<Arc<IpRules>>,
    /// How often.
    pub rate: Option<Arc<Rate>>,
    /// Pages of which sites.
    pub cors: Option<Arc<Cors>>,
    /// Who asks.
    pub auth: Option<Arc<Auth>>,
    /// The function that lets requests pass, or answers them.
    pub before: Option<Arc<String>>,
    /// Answers that are compressed.
    pub compress: Option<Arc<Compress>>,
    /// Headers that are set and removed.
    pub headers: Option<Arc<HeaderRules>>,
}

/// Reads the keys; what is not there is as in `of_gateway`. `functions` is `None` when their names
/// are not known.
pub(super) fn read(
    fields: &Fields<'_>,
    functions: Option<&[&str]>,
    of_gateway: Option<&Policy>,
    world: &World<'_>,
    problems: &mut Problems,
) -> Policy {
    let mut policy = of_gateway.cloned().unwrap_or_default();
    let key = |name| fields.get(name);
    set(key("ip"), &mut policy.ip, |field| ip::read(field, problems));
    set(key("rate"), &mut policy.rate, |field| {
        rate::read(field, problems)
    });
    set(key("cors"), &mut policy.cors, |field| {
        cors::read(field, world.machine, problems)
    });
    set(key("auth"), &mut policy.auth, |field| {
        auth::read(field, world.root, problems)
    });
    set(key("before"), &mut policy.before, |field| {
        function_name(field, functions, problems)
    });
    set(key("compress"), &mut policy.compress, |field| {
        compress::read(field, problems)
    });
    set(key("headers"), &mut policy.headers, |field| {
        headers::read(field, problems)
    });
    policy
}

/// What is wrong was reported, and the file is not used.
fn set<T>(
    field: Option<Field<'_>>,
    place: &mut Option<Arc<T>>,
    read: impl FnOnce(Field<'_>) -> Option<T>,
) {
    match field {
        None => {}
        Some(field) if is_off(field) => *place = None,
        Some(field) => *place = read(field).map(Arc::new),
    }
}

fn is_off(field: Field<'_>) -> bool {
    matches!(&field.entry.value.value, Value::Scalar(scalar) if scalar.plain && scalar.text == "none")
}
