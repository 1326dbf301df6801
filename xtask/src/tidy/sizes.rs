//! Source files stay of a size that can be read at once.

use super::{none, tree};

/// The largest that is borne. Look twice at half of it.
const LINES: usize = 800;

#[test]
fn no_source_file_is_too_long() {
    let files = tree::ending(".rs");
    let found = files.iter().filter_map(|file| {
        let lines = file.text.lines().count();
        (lines > LINES).then(|| format!("{}: {lines} lines", file.path))
    });
    none(
        "files over 800 lines: find the seam and split them",
        found.collect(),
    );
}
