//! Bundles, as somebody else may have made them.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Cursor, Write};
use std::path::{Component, Path};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::manifest::{Entry, FORMAT, MANIFEST, Manifest, SEAL, Seal, encode, sha256};
use super::{About, Bundle, BundleError, Content, Limits, tar, unpack};

/// Small, so that they are reached.
const LIMITS: Limits = Limits {
    files: 4,
    bytes: 2048,
};

/// The first byte says what the rest is: a bundle; the archive in one; or a description of one, which
/// is made of it. Then nothing is written but files below its folder, no more than the limits say, and
/// what was accepted is what was in it.
pub fn bundle(data: &[u8]) {
    let Some((&how, rest)) = data.split_first() else {
        return;
    };
    match how % 3 {
        0 => drop(unpacked(rest)),
        1 => drop(unpacked(&gzip(rest))),
        _ => described(rest),
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::fast());
    out.write_all(bytes).expect("a buffer that grows");
    out.finish().expect("a buffer that grows")
}

/// What was unpacked, by path. Looks around in the folder that it was unpacked to.
fn unpacked(bytes: &[u8]) -> Result<(About, BTreeMap<String, Vec<u8>>), BundleError> {
    let around = std::env::temp_dir().join(format!("embly-fuzz-{}", std::process::id()));
    let folder = around.join("a").join("b");
    fs::create_dir_all(&folder).expect("a folder for temporary files");
    let about = unpack(bytes, &folder, None, &LIMITS);
    let mut found = BTreeMap::new();
    collect(&around, &folder, &mut found);
    fs::remove_dir_all(&around).expect("what was made here");
    let size = found.values().map(Vec::len).sum::<usize>() as u64;
    let own = [MANIFEST, SEAL].map(|name| found.remove(name).map_or(0, |own| own.len() as u64));
    assert!(size - own[0] - own[1] <= LIMITS.bytes, "limit `bytes`");
    assert!(found.len() <= LIMITS.files, "limit `files`");
    let about = about?;
    assert_eq!(about.files, found.len());
    assert_eq!(about.bytes, size - own[0] - own[1]);
    Ok((about, found))
}

fn collect(at: &Path, folder: &Path, found: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(at).expect("a folder") {
        let entry = entry.expect("an entry");
        let (path, kind) = (entry.path(), entry.file_type().expect("its kind"));
        if kind.is_dir() {
            assert!(path.starts_with(folder) || folder.starts_with(&path));
            collect(&path, folder, found);
            continue;
        }
        assert!(kind.is_file(), "{} is no plain file", path.display());
        let below = path.strip_prefix(folder).expect("below its folder");
        let plain = |part: Component<'_>| matches!(part, Component::Normal(_));
        assert!(below.components().all(plain));
        let content = fs::read(&path).expect("what was unpacked");
        found.insert(below.to_str().expect("a text").to_owned(), content);
    }
}

/// Lines: a path each, a tab, and what is in it. All sizes and checksums are right, so that nothing but
/// the paths, their order and the limits can be wrong.
fn described(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let files: Vec<(&str, &[u8])> = text
        .split('\n')
        .map(|line| {
            let (path, content) = line.split_once('\t').unwrap_or((line, ""));
            (path, content.as_bytes())
        })
        .collect();
    let Some(bytes) = made(&files) else { return };
    let result = unpacked(&bytes);
    let mut ours = Bundle::default();
    for (path, content) in &files {
        ours.add(*path, Content::Bytes(content.to_vec()));
    }
    let mut written = Cursor::new(Vec::new());
    let writes = ours.write(&mut written, None, &LIMITS).is_ok();
    match result {
        Ok((_, found)) => {
            let expected = files
                .iter()
                .map(|(path, content)| (*path, content.to_vec()));
            let expected: BTreeMap<_, _> = expected.collect();
            assert_eq!(expected.len(), files.len(), "a path is there once");
            assert!(
                found
                    .iter()
                    .map(|(path, content)| (&**path, content))
                    .eq(expected.iter().map(|(path, content)| (*path, content)))
            );
            assert!(writes, "what is read can be written");
        }
        // In order and each once, it would be the very bundle that is written here.
        Err(error) => {
            let in_order = files.is_sorted_by(|one, other| one.0 < other.0);
            assert!(!(writes && in_order), "{error}");
        }
    }
    if writes {
        let again = unpacked(written.get_ref());
        assert!(again.is_ok(), "what is written can be read");
    }
}

/// A bundle with these files in this order; `None` where no archive can have such a path.
fn made(files: &[(&str, &[u8])]) -> Option<Vec<u8>> {
    let entries = files.iter().map(|(path, content)| Entry {
        path: (*path).to_owned(),
        size: content.len() as u64,
        sha256: sha256(content),
    });
    let list = encode(&Manifest {
        format: FORMAT,
        made_by: String::new(),
        files: entries.collect(),
    });
    let seal = encode(&Seal {
        sha256: sha256(&list),
        signature: None,
    });
    let mut archive = Vec::new();
    let own = [(MANIFEST, &*list), (SEAL, &*seal)].into_iter();
    for (path, content) in own.chain(files.iter().copied()) {
        archive.extend_from_slice(&tar::header(path, content.len() as u64)?);
        archive.extend_from_slice(content);
        archive.resize(archive.len().next_multiple_of(tar::BLOCK), 0);
    }
    archive.resize(archive.len() + 2 * tar::BLOCK, 0);
    Some(gzip(&archive))
}
