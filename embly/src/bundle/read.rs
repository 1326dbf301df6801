//! Reads a bundle as it comes, from a file or over the wire: no more than its limits, in order, with
//! each file checked as it is written. None of it is held in memory but its list.

use std::fs::{self, File};
use std::io::{self, BufReader, Write};
use std::path::Path;

use flate2::bufread::GzDecoder;
use ring::digest::{Context, SHA256};

use super::manifest::{Entry, MANIFEST, Manifest, SEAL, Seal, sha256};
use super::{About, BundleError, Limits, VerifyKey, hex, key, tar};

/// The largest list, in bytes: ten thousand files with the longest paths take half.
const MANIFEST_MOST: u64 = 8 << 20;

/// The largest seal, in bytes: it has a checksum and a signature.
const SEAL_MOST: u64 = 4096;

/// Nothing that people make shrinks so much …
pub(super) const EXPANSION: u64 = 200;

/// … but for what is small anyway, in bytes.
const EXPANSION_FROM: u64 = 16 << 20;

/// What compression can add to what does not shrink, with the list and the headers, in bytes.
const OVERHEAD: u64 = 64 << 20;

/// Bytes that are passed on at a time.
const PIECE: usize = 64 << 10;

/// Unpacks a bundle to a folder that is there, empty, and nobody else's. Files are new ones, always.
/// What was unpacked stays there on an error.
///
/// # Errors
/// See [`BundleError`].
pub fn unpack(
    from: impl io::Read,
    folder: &Path,
    must: Option<&VerifyKey>,
    limits: &Limits,
) -> Result<About, BundleError> {
    read(from, must, limits, &mut |path| {
        let file = folder.join(path);
        if let Some(parent) = file.parent() {
            fs::create_dir_all(parent)?;
        }
        File::create_new(file)
    })
}

/// Reads all of a bundle, and unpacks nothing.
///
/// # Errors
/// See [`BundleError`].
pub fn examine(
    from: impl io::Read,
    must: Option<&VerifyKey>,
    limits: &Limits,
) -> Result<About, BundleError> {
    read(from, must, limits, &mut |_| Ok(io::sink()))
}

fn read<W: Write>(
    from: impl io::Read,
    must: Option<&VerifyKey>,
    limits: &Limits,
    create: &mut dyn FnMut(&str) -> io::Result<W>,
) -> Result<About, BundleError> {
    let mut input = Input::new(from, limits);
    let text = input.small(MANIFEST, MANIFEST_MOST)?;
    let manifest = Manifest::read(&text, limits)?;
    let sealed = input.small(SEAL, SEAL_MOST)?;
    let seal: Seal = serde_json::from_slice(&sealed)
        .map_err(|error| BundleError::Damaged(format!("its seal: {error}")))?;
    let checksum = sha256(&text);
    if seal.sha256 != checksum {
        let text = "its list has another checksum".to_owned();
        return Err(BundleError::Damaged(text));
    }
    let signed_by = key::signer(&seal, must)?;
    // Both are kept beside what they are of.
    for (path, text) in [(MANIFEST, &text), (SEAL, &sealed)] {
        let written = create(path).and_then(|mut file| file.write_all(text));
        written.map_err(|source| not_written(path, source))?;
    }
    for entry in &manifest.files {
        input.file(entry, create)?;
    }
    input.end()?;
    Ok(About {
        checksum,
        signed_by,
        files: manifest.files.len(),
        bytes: manifest.files.iter().map(|file| file.size).sum(),
    })
}

fn not_written(path: &str, source: io::Error) -> BundleError {
    BundleError::Write {
        path: path.to_owned(),
        source,
    }
}

/// Counts what is read, up to a bound.
struct Counted<R> {
    from: R,
    count: u64,
    most: u64,
}

impl<R: io::Read> io::Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // Blocks of nothing could go on for ever.
        if self.count > self.most {
            return Ok(0);
        }
        let count = self.from.read(buffer)?;
        self.count += count as u64;
        Ok(count)
    }
}

/// What comes out of the compression, with its bounds.
struct Input<R> {
    gzip: GzDecoder<BufReader<Counted<R>>>,
    out: u64,
    bytes: u64,
}

impl<R: io::Read> Input<R> {
    fn new(from: R, limits: &Limits) -> Self {
        let counted = Counted {
            from,
            count: 0,
            most: limits.bytes + OVERHEAD,
        };
        Self {
            gzip: GzDecoder::new(BufReader::new(counted)),
            out: 0,
            bytes: limits.bytes,
        }
    }

    fn came(&self) -> u64 {
        self.gzip.get_ref().get_ref().count
    }

    /// Some bytes; none at the end.
    fn some(&mut self, buffer: &mut [u8]) -> Result<usize, BundleError> {
        let read = loop {
            match io::Read::read(&mut self.gzip, buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        let count = read.map_err(|error| self.failed(error))?;
        self.out += count as u64;
        if self.out > EXPANSION_FROM + EXPANSION * self.came() {
            return Err(BundleError::Expands);
        }
        Ok(count)
    }

    fn failed(&self, error: io::Error) -> BundleError {
        let counted = self.gzip.get_ref().get_ref();
        match error.kind() {
            _ if counted.count > counted.most => BundleError::TooLarge(self.bytes),
            // Before the first byte came out: there is no gzip.
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData if self.out == 0 => {
                BundleError::Other
            }
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
                BundleError::Damaged("its compression is wrong".to_owned())
            }
            io::ErrorKind::UnexpectedEof if counted.count == 0 => BundleError::Other,
            io::ErrorKind::UnexpectedEof => BundleError::Truncated,
            _ => BundleError::Read(error),
        }
    }

    fn exact(&mut self, buffer: &mut [u8]) -> Result<(), BundleError> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.some(&mut buffer[filled..])? {
                0 => return Err(BundleError::Truncated),
                count => filled += count,
            }
        }
        Ok(())
    }

    /// The next header.
    fn header(&mut self) -> Result<(String, u64), BundleError> {
        let mut block = [0; tar::BLOCK];
        let first = self.out == 0;
        let end = BundleError::Damaged("files of its list are missing".to_owned());
        match self.exact(&mut block) {
            Err(BundleError::Truncated) if first => return Err(BundleError::Other),
            read => read?,
        }
        if block == [0; tar::BLOCK] {
            return Err(if first { BundleError::Other } else { end });
        }
        tar::parse(&block).map_err(|(path, why)| match first {
            true => BundleError::Other,
            false => BundleError::Entry { path, why },
        })
    }

    /// A whole file of a few bytes, which must be the next one.
    fn small(&mut self, path: &str, most: u64) -> Result<Vec<u8>, BundleError> {
        let first = self.out == 0;
        let (found, size) = self.header()?;
        if found != path {
            return Err(match first {
                true => BundleError::Other,
                false => BundleError::Entry {
                    path: found,
                    why: "stands in the place of another one",
                },
            });
        }
        if size > most {
            let why = "is larger than it ever is";
            return Err(BundleError::Entry { path: found, why });
        }
        let mut text = Vec::new();
        self.pass_on(size, &mut |piece| {
            text.extend_from_slice(piece);
            Ok(())
        })?;
        self.padding(size)?;
        Ok(text)
    }

    /// The next file, which must be this one.
    fn file<W: Write>(
        &mut self,
        entry: &Entry,
        create: &mut dyn FnMut(&str) -> io::Result<W>,
    ) -> Result<(), BundleError> {
        let wrong = |why| BundleError::Entry {
            path: entry.path.clone(),
            why,
        };
        let (path, size) = self.header()?;
        if path != entry.path {
            let why = "is not the one that its list has next";
            return Err(BundleError::Entry { path, why });
        }
        if size != entry.size {
            return Err(wrong("has another size than its list says"));
        }
        let cannot = |source| not_written(&entry.path, source);
        let mut file = create(&entry.path).map_err(cannot)?;
        let mut digest = Context::new(&SHA256);
        self.pass_on(size, &mut |piece| {
            digest.update(piece);
            file.write_all(piece).map_err(cannot)
        })?;
        file.flush().map_err(cannot)?;
        self.padding(size)?;
        if hex(digest.finish().as_ref()) != entry.sha256 {
            let text = format!("`{}` has another checksum", entry.path);
            return Err(BundleError::Damaged(text));
        }
        Ok(())
    }

    fn pass_on(
        &mut self,
        size: u64,
        to: &mut dyn FnMut(&[u8]) -> Result<(), BundleError>,
    ) -> Result<(), BundleError> {
        let mut piece = [0; PIECE];
        let mut left = size;
        while left > 0 {
            let most = usize::try_from(left).map_or(PIECE, |left| left.min(PIECE));
            let count = match self.some(&mut piece[..most])? {
                0 => return Err(BundleError::Truncated),
                count => count,
            };
            to(&piece[..count])?;
            left -= count as u64;
        }
        Ok(())
    }

    /// Zeros up to a whole block.
    fn padding(&mut self, size: u64) -> Result<(), BundleError> {
        let over = (size % tar::BLOCK as u64) as usize;
        if over > 0 {
            self.zeros(tar::BLOCK - over)?;
        }
        Ok(())
    }

    fn zeros(&mut self, count: usize) -> Result<(), BundleError> {
        let mut zeros = [0; 2 * tar::BLOCK];
        self.exact(&mut zeros[..count])?;
        match zeros.iter().all(|byte| *byte == 0) {
            true => Ok(()),
            false => {
                let text = "there is something where nothing should be".to_owned();
                Err(BundleError::Damaged(text))
            }
        }
    }

    /// Two blocks of zeros, the checksum of the compression, and nothing else.
    fn end(mut self) -> Result<(), BundleError> {
        self.zeros(2 * tar::BLOCK)?;
        let more = self.some(&mut [0])? > 0;
        let mut rest = self.gzip.into_inner();
        if more || io::Read::read(&mut rest, &mut [0]).map_err(BundleError::Read)? > 0 {
            let text = "something follows after its end".to_owned();
            return Err(BundleError::Damaged(text));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::{Bundle, Content, PROJECT};

    const NONE: Limits = Limits {
        files: 10,
        bytes: 0,
    };

    /// Blocks of the compression with nothing in them, for ever.
    struct Nothing(u64);

    impl io::Read for Nothing {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            const HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
            const BLOCK: [u8; 5] = [0, 0, 0, 0xff, 0xff];
            for byte in buffer.iter_mut() {
                *byte = match self.0 {
                    0..10 => HEAD[self.0 as usize],
                    at => BLOCK[((at - 10) % 5) as usize],
                };
                self.0 += 1;
            }
            Ok(buffer.len())
        }
    }

    #[test]
    fn what_never_ends_is_not_read_for_ever() {
        let mut nothing = Nothing(0);
        let error = examine(&mut nothing, None, &NONE).unwrap_err();
        assert!(matches!(error, BundleError::TooLarge(0)), "{error}");
        assert!(nothing.0 <= OVERHEAD + (1 << 20));
    }

    #[test]
    fn a_bundle_cut_or_changed_anywhere_is_refused_and_never_more_than_it_says() {
        let mut bundle = Bundle::default();
        bundle.add(PROJECT, Content::Bytes(b"functions: []\n".to_vec()));
        let text: Vec<u8> = (0..2000_u32).flat_map(u32::to_le_bytes).collect();
        bundle.add("static/0/numbers", Content::Bytes(text));
        let mut file = tempfile::tempfile().unwrap();
        let about = bundle.write(&mut file, None, &Limits::default()).unwrap();
        let mut bytes = Vec::new();
        io::Seek::rewind(&mut file).unwrap();
        io::Read::read_to_end(&mut file, &mut bytes).unwrap();
        let read = |bytes: &[u8]| examine(bytes, None, &Limits::default());
        assert_eq!(read(&bytes).unwrap(), about);
        for at in 0..bytes.len() {
            assert!(read(&bytes[..at]).is_err(), "cut at {at}");
            let mut changed = bytes.clone();
            changed[at] ^= 0x10;
            // The head of gzip may say another time, and the last bits mean nothing.
            if let Ok(read) = read(&changed) {
                assert_eq!(read, about, "changed at {at}");
            }
        }
    }
}
