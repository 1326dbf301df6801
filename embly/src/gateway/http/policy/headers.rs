//! `headers`: those that are set, and those that are removed.

use http::HeaderMap;

use crate::config::Headers;

/// Removes, then sets: a name that is in both has the value that is set.
pub fn apply(rules: &Headers, headers: &mut HeaderMap) {
    for name in &rules.remove {
        headers.remove(name);
    }
    for (name, value) in &rules.set {
        headers.insert(name, value.clone());
    }
}
