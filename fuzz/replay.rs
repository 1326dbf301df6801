//! Runs inputs that are kept, without a fuzzer: a part of the tests of each crate that has targets.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// Feeds each target all of its corpus. Each has one.
pub fn all(targets: &[(&str, super::Target)]) {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    let mut failed = Vec::new();
    for (name, target) in targets {
        let inputs = fs::read_dir(corpora.join(name)).unwrap_or_else(|error| {
            panic!("fuzz/corpus/{name}: {error}");
        });
        let mut paths: Vec<_> = inputs.map(|input| input.unwrap().path()).collect();
        paths.sort();
        assert!(!paths.is_empty(), "fuzz/corpus/{name} is empty");
        for path in paths {
            let input = fs::read(&path).unwrap();
            if catch_unwind(AssertUnwindSafe(|| target(&input))).is_err() {
                failed.push(path.display().to_string());
            }
        }
    }
    assert!(failed.is_empty(), "see above: {}", failed.join(", "));
}
