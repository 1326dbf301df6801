//! cargo's messages, one JSON object per line.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::metadata::Target;

/// A file that cargo has made, or has found to be up to date.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Artifact {
    pub(super) package_id: String,
    pub(super) target: Target,
    filenames: Vec<PathBuf>,
}

impl Artifact {
    /// The wasm file among its files.
    pub(super) fn wasm(&self) -> Option<&Path> {
        self.filenames
            .iter()
            .map(PathBuf::as_path)
            .find(|path| path.extension().is_some_and(|end| end == "wasm"))
    }
}

/// A line of cargo's standard output.
#[derive(Debug)]
pub(super) enum Line {
    /// A file is ready.
    Artifact(Artifact),
    /// Another message of cargo's.
    Other,
    /// Not cargo's: a compiler plug-in or a macro has printed it.
    Foreign,
}

#[derive(Deserialize)]
struct Reason {
    reason: String,
}

/// Reads one line, without its end.
pub(super) fn parse(line: &[u8]) -> Line {
    match serde_json::from_slice::<Reason>(line) {
        Ok(Reason { reason }) if reason == "compiler-artifact" => {
            serde_json::from_slice(line).map_or(Line::Other, Line::Artifact)
        }
        Ok(_) => Line::Other,
        Err(_) => Line::Foreign,
    }
}

/// Puts pieces of output together to lines.
#[derive(Default)]
pub(super) struct Lines(Vec<u8>);

impl Lines {
    /// Takes a piece in and hands out the lines that are complete now.
    pub(super) fn push(&mut self, piece: &[u8], mut each: impl FnMut(&[u8])) {
        self.0.extend_from_slice(piece);
        let mut from = 0;
        while let Some(length) = self.0[from..].iter().position(|byte| *byte == b'\n') {
            each(&self.0[from..from + length]);
            from += length + 1;
        }
        self.0.drain(..from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARTIFACT: &str = r#"{"reason":"compiler-artifact","package_id":"path+file:///w/a%20b#ab@0.1.0","manifest_path":"/w/a b/Cargo.toml","target":{"kind":["bin"],"crate_types":["bin"],"name":"ab","src_path":"/w/a b/src/main.rs","edition":"2024","doc":true,"doctest":false,"test":true},"profile":{"opt_level":"3","debuginfo":0,"debug_assertions":false,"overflow_checks":false,"test":false},"features":[],"filenames":["/t t/wasm32-wasip1/release/ab.wasm"],"executable":"/t t/wasm32-wasip1/release/ab.wasm","fresh":false}"#;

    #[test]
    fn an_artefact_names_its_crate_and_its_wasm() {
        let Line::Artifact(artifact) = parse(ARTIFACT.as_bytes()) else {
            panic!("not an artefact")
        };
        assert_eq!(artifact.package_id, "path+file:///w/a%20b#ab@0.1.0");
        assert!(artifact.target.is("bin"));
        assert_eq!(
            artifact.wasm(),
            Some(Path::new("/t t/wasm32-wasip1/release/ab.wasm"))
        );
    }

    #[test]
    fn other_messages_are_told_from_foreign_lines() {
        assert!(matches!(
            parse(br#"{"reason":"build-finished","success":true}"#),
            Line::Other
        ));
        assert!(matches!(
            parse(br#"{"reason":"some-later-message","x":[1]}"#),
            Line::Other
        ));
        assert!(matches!(parse(b"a macro says hello"), Line::Foreign));
    }

    #[test]
    fn lines_may_come_in_any_pieces() {
        let mut lines = Lines::default();
        let mut seen = Vec::new();
        for piece in ["one", "\ntw", "o\n", "three\nfour\nfi", "ve"] {
            lines.push(piece.as_bytes(), |line| {
                seen.push(String::from_utf8_lossy(line).into_owned())
            });
        }
        assert_eq!(seen, ["one", "two", "three", "four"]);
    }
}
