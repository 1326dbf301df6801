//! Makes a bundle: the same bytes for the same files, wherever and whenever it is made.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use flate2::{Compression, GzBuilder};
use ring::digest::{Context, SHA256};

use super::manifest::{Entry, FORMAT, MANIFEST, Manifest, SEAL, Seal, encode, sha256};
use super::{About, BundleError, Limits, SigningKey, hex, tar};

/// The header of gzip says no system: the same bytes on each.
const NO_SYSTEM: u8 = 255;

/// What goes into a bundle, by its path there.
#[derive(Debug, Default)]
pub struct Bundle {
    files: BTreeMap<String, Content>,
}

/// What is in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// These bytes.
    Bytes(Vec<u8>),
    /// What is in this file.
    File(PathBuf),
}

/// Why there is no bundle.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// A file cannot be read.
    #[error("cannot read `{}`: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It cannot be written.
    #[error("cannot write the bundle: {0}")]
    Write(#[from] io::Error),
    /// A file changed while it was read.
    #[error("`{}` has changed while it was read: try again", .0.display())]
    Changed(PathBuf),
    /// A bundle cannot have it.
    #[error("`{from}` {why}: no bundle can have it; rename it, or move it elsewhere")]
    Entry {
        /// The file, or its path in the bundle.
        from: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// It would not be read.
    #[error("what the bundle would have is too much: {0}")]
    Unreadable(#[source] BundleError),
}

impl Bundle {
    /// Adds a file; one that was there of the same path is replaced.
    pub fn add(&mut self, path: impl Into<String>, content: Content) {
        self.files.insert(path.into(), content);
    }

    /// Writes all of it, and reads it once, as whoever gets it does.
    ///
    /// # Errors
    /// See [`WriteError`]; what was written is of no use then.
    pub fn write<W: Write + Read + Seek>(
        &self,
        to: &mut W,
        key: Option<&SigningKey>,
        limits: &Limits,
    ) -> Result<About, WriteError> {
        let entries = self
            .files
            .iter()
            .map(|(path, content)| entry(path, content));
        let manifest = Manifest {
            format: FORMAT,
            made_by: format!("embly {}", env!("CARGO_PKG_VERSION")),
            files: entries.collect::<Result<_, _>>()?,
        };
        manifest.check(limits).map_err(|error| match error {
            BundleError::Entry { path, why } => {
                let from = match self.files.get(&path) {
                    Some(Content::File(file)) => file.display().to_string(),
                    _ => path,
                };
                WriteError::Entry { from, why }
            }
            error => WriteError::Unreadable(error),
        })?;
        let list = encode(&manifest);
        let sha256 = sha256(&list);
        let signature = key.map(|key| key.sign(&sha256));
        let seal = encode(&Seal { sha256, signature });

        let gzip = GzBuilder::new().operating_system(NO_SYSTEM).mtime(0);
        let mut out = gzip.write(&mut *to, Compression::default());
        for (path, bytes) in [(MANIFEST, &list), (SEAL, &seal)] {
            let read = &mut bytes.as_slice();
            one(&mut out, path, bytes.len() as u64, read).map_err(WriteError::Write)?;
        }
        for (file, content) in manifest.files.iter().zip(self.files.values()) {
            match content {
                Content::Bytes(bytes) => {
                    one(&mut out, &file.path, file.size, &mut bytes.as_slice())
                        .map_err(WriteError::Write)?;
                }
                Content::File(path) => from_file(&mut out, file, path)?,
            }
        }
        out.write_all(&[0; 2 * tar::BLOCK])
            .and_then(|()| out.finish())
            .and_then(|out| out.flush().and_then(|()| out.rewind()))
            .map_err(WriteError::Write)?;
        super::examine(to, None, limits).map_err(WriteError::Unreadable)
    }
}

fn entry(path: &str, content: &Content) -> Result<Entry, WriteError> {
    let mut digest = Context::new(&SHA256);
    let mut size = 0;
    match content {
        Content::Bytes(bytes) => {
            digest.update(bytes);
            size = bytes.len() as u64;
        }
        Content::File(file) => {
            let failed = |source| WriteError::Read {
                path: file.clone(),
                source,
            };
            let mut open = File::open(file).map_err(failed)?;
            let mut piece = [0; 64 << 10];
            loop {
                match open.read(&mut piece).map_err(failed)? {
                    0 => break,
                    count => {
                        digest.update(&piece[..count]);
                        size += count as u64;
                    }
                }
            }
        }
    }
    Ok(Entry {
        path: path.to_owned(),
        size,
        sha256: hex(digest.finish().as_ref()),
    })
}

fn from_file(out: &mut impl Write, file: &Entry, path: &Path) -> Result<(), WriteError> {
    let failed = |source| WriteError::Read {
        path: path.to_owned(),
        source,
    };
    let mut open = File::open(path).map_err(failed)?;
    match one(out, &file.path, file.size, &mut open) {
        // That it has grown, or has other bytes, shows as it is read back.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err(WriteError::Changed(path.to_owned()))
        }
        written => written.map_err(WriteError::Write),
    }
}

fn one(out: &mut impl Write, path: &str, size: u64, from: &mut impl Read) -> io::Result<()> {
    let header = tar::header(path, size).expect("paths and sizes were checked");
    out.write_all(&header)?;
    if io::copy(&mut from.take(size), out)? < size {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let over = (size % tar::BLOCK as u64) as usize;
    match over {
        0 => Ok(()),
        over => out.write_all(&[0; tar::BLOCK][over..]),
    }
}
