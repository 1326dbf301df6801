//! Bundles made by other means than `embly bundle`, to see what is refused.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

/// An entry of the archive, and of the list.
#[derive(Clone)]
pub struct Entry {
    pub path: String,
    pub content: Vec<u8>,
    /// As tar knows it: `0` is a file.
    pub kind: u8,
    /// Where a link leads.
    pub link: String,
}

/// A plain file.
pub fn entry(path: &str, content: impl Into<Vec<u8>>) -> Entry {
    Entry {
        path: path.to_owned(),
        content: content.into(),
        kind: b'0',
        link: String::new(),
    }
}

/// A bundle that is right but for what a test does to it.
#[derive(Clone)]
pub struct Raw {
    pub entries: Vec<Entry>,
    /// Done to the list.
    pub list: fn(&mut Value),
    /// Instead of the checksum of the list.
    pub seal: Option<Value>,
    /// After its end.
    pub after: Vec<u8>,
}

/// What a project file without anything but a function says.
pub const PROJECT: &str =
    "functions:\n  - {name: hello, path: ./functions/hello.wat, language: wasm}\n";

impl Raw {
    /// With these entries beside the project file, in order.
    pub fn new(more: impl IntoIterator<Item = Entry>) -> Self {
        let mut entries = vec![
            entry("embly-project.yml", PROJECT),
            entry("functions/hello.wat", "(module (func (export \"_start\")))"),
        ];
        entries.extend(more);
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        Self {
            entries,
            list: |_| {},
            seal: None,
            after: Vec::new(),
        }
    }

    /// With another project file.
    pub fn project(mut self, text: &str) -> Self {
        let file = self
            .entries
            .iter_mut()
            .find(|it| it.path == "embly-project.yml");
        file.unwrap().content = text.into();
        self
    }

    /// The archive, before it is compressed.
    pub fn tar(&self) -> Vec<u8> {
        let files: Vec<Value> = self
            .entries
            .iter()
            .map(|it| json!({"path": it.path, "size": it.content.len(), "sha256": sha256(&it.content)}))
            .collect();
        let mut list = json!({"format": 1, "made_by": "a test", "files": files});
        (self.list)(&mut list);
        let list = list.to_string();
        let seal = self.seal.clone();
        let seal = seal.unwrap_or_else(|| json!({"sha256": sha256(list.as_bytes())}));
        let mut tar = Vec::new();
        add(&mut tar, &entry("embly-bundle.json", list));
        add(&mut tar, &entry("embly-bundle.seal", seal.to_string()));
        self.entries.iter().for_each(|it| add(&mut tar, it));
        tar.extend([0; 1024]);
        tar
    }

    /// All of it.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = gzip(&self.tar());
        bytes.extend(&self.after);
        bytes
    }

    /// In a file.
    pub fn write(&self, folder: &Path) -> PathBuf {
        let path = folder.join("raw.embly");
        File::create(&path)
            .unwrap()
            .write_all(&self.bytes())
            .unwrap();
        path
    }
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

pub fn sha256(bytes: &[u8]) -> String {
    let digest = digest(&SHA256, bytes);
    digest
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn add(tar: &mut Vec<u8>, entry: &Entry) {
    let mut header = [0_u8; 512];
    let mut put = |at: usize, text: &[u8]| header[at..at + text.len()].copy_from_slice(text);
    put(0, entry.path.as_bytes());
    put(100, b"0000644\x000000000\x000000000\0");
    put(124, format!("{:011o}\0", entry.content.len()).as_bytes());
    put(136, b"00000000000\0        ");
    put(156, &[entry.kind]);
    put(157, entry.link.as_bytes());
    put(257, b"ustar\x0000");
    put(329, b"0000000\x000000000\0");
    let sum: u32 = header.iter().copied().map(u32::from).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    tar.extend(header);
    tar.extend(&entry.content);
    tar.resize(tar.len().next_multiple_of(512), 0);
}
