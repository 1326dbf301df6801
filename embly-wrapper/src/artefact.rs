//! Artefacts: the native code of one function version, as a file.
//!
//! Native code is trusted code. An artefact is named by the hash of its wasm and of the
//! engine that made it, written to a temporary name and renamed by whoever has asked for it, and
//! read-only, in a folder that only this user can write. Whoever loads one opens it once and checks owner, mode and
//! checksum on that descriptor.
//!
//! The file is the engine's ELF image, then a trailer of 48 bytes: `EMBLYAO3`, or `EMBLYAS3` for
//! a module with a start section; the length of the image as u64 little-endian; and the BLAKE3
//! hash of all that comes before it and of the file's own name, so that no artefact passes for
//! another.

use std::fs::{self, File, OpenOptions, Permissions};
use std::hash::{Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use wasmtime::Engine;

const MAGIC: [u8; 8] = *b"EMBLYAO3";
const MAGIC_WITH_START: [u8; 8] = *b"EMBLYAS3";
const TRAILER_BYTES: u64 = 8 + 8 + 32;

/// An artefact that was opened and checked.
#[derive(Debug)]
pub struct Artefact {
    /// The descriptor to load it from.
    pub file: File,
    /// It has a start section: to instantiate it is to run guest code.
    pub has_start: bool,
}

/// Whether a module has a start section (number 8). What is not a module has none.
pub fn has_start(wasm: &[u8]) -> bool {
    const HEADER: usize = 8;
    const START: u8 = 8;
    let mut rest = wasm.get(HEADER..).unwrap_or_default();
    while let Some((section, after)) = rest.split_first() {
        if *section == START {
            return true;
        }
        // The size of a section is a LEB128 number.
        let Some(length) = after
            .iter()
            .position(|byte| byte & 0x80 == 0)
            .filter(|at| *at < 5)
        else {
            return false;
        };
        let digits = after[..=length].iter().rev();
        let size = digits.fold(0u64, |size, byte| size << 7 | u64::from(byte & 0x7f));
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        rest = after
            .get(size.saturating_add(length + 1)..)
            .unwrap_or_default();
    }
    false
}

/// Why a file is no artefact to trust.
#[derive(Debug, thiserror::Error)]
pub enum Untrusted {
    /// It cannot be opened or read.
    #[error("it cannot be read")]
    Io(#[from] io::Error),
    /// Not a plain file.
    #[error("it is not a regular file")]
    NotAFile,
    /// Somebody else's.
    #[error("it belongs to uid {0}")]
    Owner(u32),
    /// Others may write it.
    #[error("its mode is {0:o}: others than its owner may write it")]
    Mode(u32),
    /// Cut short, or never an artefact.
    #[error("it is cut short or not an artefact")]
    Trailer,
    /// Changed since it was written, or that of another function.
    #[error("its checksum does not match")]
    Checksum,
}

/// Where the artefact of this wasm, binary or text, lies in the cache folder, whether or not it
/// is there.
pub fn path(cache: &Path, wasm: &[u8], engine: &Engine) -> PathBuf {
    let mut compatibility = Blake3Hasher(blake3::Hasher::new());
    engine
        .precompile_compatibility_hash()
        .hash(&mut compatibility);
    let wasm = blake3::hash(wasm).to_hex();
    let engine = compatibility.0.finalize().to_hex();
    folder(cache).join(format!("{}-{}.cwasm", &wasm[..32], &engine[..16]))
}

/// The folder of artefacts in the cache folder.
pub fn folder(cache: &Path) -> PathBuf {
    cache.join("artefacts")
}

/// Makes the folder of artefacts, if need be, and sees that only this user can change it.
///
/// # Errors
/// That of the file system, also where the folder is somebody else's.
pub fn prepare_folder(cache: &Path) -> io::Result<()> {
    let folder = folder(cache);
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(&folder)?;
    if fs::metadata(&folder)?.mode() & 0o077 != 0 {
        fs::set_permissions(&folder, Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// A file that a compiler is writing is never as old as this.
const LEFT_BEHIND: Duration = Duration::from_secs(60 * 60);

fn is_temporary(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "tmp")
}

/// Removes what compilers that were killed have left behind.
fn sweep(folder: &Path) {
    let is_old = |path: &Path| -> io::Result<bool> {
        let age = fs::symlink_metadata(path)?.modified()?.elapsed();
        Ok(age.is_ok_and(|age| age > LEFT_BEHIND))
    };
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if is_temporary(&path) && is_old(&path).unwrap_or(false) {
            // Another compiler may be doing the same.
            let _ = fs::remove_file(path);
        }
    }
}

/// Opens an artefact and checks it. The descriptor is the only thing to use from then on.
///
/// # Errors
/// [`Untrusted`] says what is wrong with it.
pub fn open(path: &Path) -> Result<Artefact, Untrusted> {
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(Untrusted::NotAFile);
    }
    let me = rustix::process::geteuid().as_raw();
    if meta.uid() != me {
        return Err(Untrusted::Owner(meta.uid()));
    }
    if meta.mode() & 0o022 != 0 {
        return Err(Untrusted::Mode(meta.mode() & 0o7777));
    }
    let has_start = check(&mut file, meta.len(), name(path))?;
    Ok(Artefact { file, has_start })
}

/// Whether it has a start section, if all is well with it.
fn check(file: &mut File, length: u64, name: &str) -> Result<bool, Untrusted> {
    let image_length = length
        .checked_sub(TRAILER_BYTES)
        .ok_or(Untrusted::Trailer)?;
    let mut hasher = blake3::Hasher::new();
    io::copy(&mut Read::take(&mut *file, image_length), &mut hasher)?;
    let mut trailer = Vec::with_capacity(TRAILER_BYTES as usize);
    file.read_to_end(&mut trailer)?;
    let has_start = trailer.starts_with(&MAGIC_WITH_START);
    let expected = trailer_of(has_start, image_length, name, hasher);
    if trailer.len() != expected.len() || trailer[..16] != expected[..16] {
        return Err(Untrusted::Trailer);
    }
    if trailer != expected {
        return Err(Untrusted::Checksum);
    }
    Ok(has_start)
}

/// What follows an image that went into `hasher`, in a file of this name.
fn trailer_of(has_start: bool, length: u64, name: &str, mut hasher: blake3::Hasher) -> Vec<u8> {
    let magic = if has_start { MAGIC_WITH_START } else { MAGIC };
    let mut trailer = [magic, length.to_le_bytes()].concat();
    hasher.update(&trailer);
    hasher.update(name.as_bytes());
    trailer.extend_from_slice(hasher.finalize().as_bytes());
    trailer
}

/// What `fuzz/` feeds.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing {
    use std::io::Seek;

    use super::*;

    /// What it was written as.
    const NAME: &str = "fed.cwasm";

    /// A file that may be an artefact. The first byte: as it is, or with a trailer of which byte `at` has
    /// been changed. It is trusted only if it is the very file that is written here.
    pub fn artefact(data: &[u8]) {
        let [how, at, flip, content @ ..] = data else {
            return;
        };
        let trailed = how & 1 == 1;
        let mut bytes = content.to_vec();
        if trailed {
            let mut hasher = blake3::Hasher::new();
            hasher.update(content);
            bytes.extend(trailer_of(how & 2 == 2, content.len() as u64, NAME, hasher));
            let at = bytes.len() - 1 - usize::from(*at).min(bytes.len() - 1);
            bytes[at] ^= flip;
        }
        let path = std::env::temp_dir().join(format!("embly-fuzz-artefact-{}", std::process::id()));
        let mut file = File::options();
        let file = file.read(true).write(true).create(true).truncate(true);
        let mut file = file.open(&path).expect("a temporary file");
        fs::remove_file(&path).expect("what was made here");
        file.write_all(&bytes).expect("room for it");
        file.rewind().expect("a plain file");
        let trusted = check(&mut file, bytes.len() as u64, NAME);
        match trusted {
            Ok(has_start) => {
                let image = bytes.len() - TRAILER_BYTES as usize;
                let mut hasher = blake3::Hasher::new();
                hasher.update(&bytes[..image]);
                let trailer = trailer_of(has_start, image as u64, NAME, hasher);
                assert_eq!(bytes[image..], trailer);
                assert!(!trailed || *flip == 0, "a bit was changed");
            }
            Err(_) => assert!(!trailed || *flip != 0, "nothing was changed"),
        }
        // Before a module is compiled it may be anything.
        let begins = has_start(content);
        assert!(begins || (0..content.len().min(64)).all(|end| !has_start(&content[..end])));
    }
}

/// All artefacts together may take so many bytes; then those go that were not used for longest.
pub const CACHE_CAP: u64 = 1 << 30;

/// Says that an artefact was used just now.
pub fn touch(file: &File) {
    // Only for the order in which artefacts are removed.
    let _ = file.set_modified(SystemTime::now());
}

/// Removes what was not used for longest, until the folder takes at most `cap` bytes; `keep` is
/// never removed. A fork server that has one open keeps its content.
pub fn prune(folder: &Path, keep: &Path, cap: u64) {
    let mut files: Vec<(SystemTime, u64, PathBuf)> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        // What a compiler is writing at this moment stays.
        .filter(|entry| !is_temporary(&entry.path()))
        .filter_map(|entry| {
            let meta = entry.metadata().ok()?;
            Some((meta.modified().ok()?, meta.len(), entry.path()))
        })
        .collect();
    files.sort();
    let mut total: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
    for (_, bytes, path) in files {
        if total <= cap {
            return;
        }
        // Another build may be removing the same.
        if path != keep && fs::remove_file(&path).is_ok() {
            total -= bytes;
        }
    }
}

/// An artefact that is being written: a file that only this process has open, under a temporary
/// name, which nobody trusts.
#[derive(Debug)]
pub struct Draft {
    file: File,
    /// Its name, in the folder of artefacts.
    pub name: String,
    /// The name that it gets.
    becomes: String,
}

impl Draft {
    /// An empty one for the artefact `path`.
    ///
    /// # Errors
    /// That of the file system.
    pub fn new(path: &Path) -> io::Result<Self> {
        let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        sweep(folder);
        // Two writers never share a name, not even with one in another process namespace or with
        // what a killed one has left.
        let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let nanoseconds = time.map_or(0, |time| time.as_nanos());
        let temporary = path.with_extension(format!("{}-{nanoseconds}.tmp", std::process::id()));
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o400)
            .open(&temporary)?;
        Ok(Self {
            file,
            name: name(&temporary).to_owned(),
            becomes: name(path).to_owned(),
        })
    }

    /// Writes all of it, to the disk.
    ///
    /// # Errors
    /// That of the file system.
    pub fn fill(mut self, image: &[u8], has_start: bool) -> io::Result<()> {
        self.file.write_all(image)?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(image);
        let trailer = trailer_of(has_start, image.len() as u64, &self.becomes, hasher);
        self.file.write_all(&trailer)?;
        self.file.sync_all()
    }
}

/// The last part of a path that was made here, of hexadecimal digits and points.
pub fn name(path: &Path) -> &str {
    path.file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default()
}

struct Blake3Hasher(blake3::Hasher);

impl Hasher for Blake3Hasher {
    fn finish(&self) -> u64 {
        let mut first = [0; 8];
        first.copy_from_slice(&self.0.finalize().as_bytes()[..8]);
        u64::from_le_bytes(first)
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_section_is_found_wherever_it_stands() {
        let wasm = |text: &str| wat::parse_str(text).unwrap();
        let filler = "(data \"".to_owned() + &"x".repeat(1000) + "\")";
        assert!(has_start(&wasm(&format!(
            "(module (func) (start 0) {filler})"
        ))));
        assert!(!has_start(&wasm(&format!("(module (func) {filler})"))));
        let module = wasm("(module (func) (start 0))");
        assert!((0..module.len() - 8).all(|n| has_start(&module[..n]) <= has_start(&module)));
    }

    #[test]
    fn what_was_not_used_for_longest_is_removed_first() {
        let folder = std::env::temp_dir().join(format!("embly-prune-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let file = |name: &str, age: u64| {
            let path = folder.join(name);
            fs::write(&path, [0; 100]).unwrap();
            let time = SystemTime::now() - Duration::from_secs(age);
            File::options()
                .write(true)
                .open(&path)
                .unwrap()
                .set_modified(time)
                .unwrap();
            path
        };
        let (new, old, oldest, kept) = (
            file("new", 1),
            file("old", 10),
            file("oldest", 100),
            file("kept", 1000),
        );
        prune(&folder, &kept, 300);
        assert!(new.exists() && old.exists() && !oldest.exists() && kept.exists());
        prune(&folder, &kept, 0);
        assert!(!new.exists() && !old.exists() && kept.exists());
        fs::remove_dir_all(&folder).unwrap();
    }
}
