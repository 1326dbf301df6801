//! The archive below a bundle: ustar with plain files only. A header is right if it is the very one
//! that is written here for its path and its size, so there is nothing else in it that could mean
//! anything: no links, no owners, no times, no extensions.

/// Headers and files take whole blocks, in bytes.
pub const BLOCK: usize = 512;

/// The longest path, in bytes: what `prefix` and `name` of a header hold.
pub const LONGEST_PATH: usize = 255;

const NAME: std::ops::Range<usize> = 0..100;
const SIZE: std::ops::Range<usize> = 124..136;
const CHECKSUM: std::ops::Range<usize> = 148..156;
const KIND: usize = 156;
const PREFIX: std::ops::Range<usize> = 345..500;

/// The largest size that a header can say: eleven octal digits.
const LARGEST: u64 = 0o777_7777_7777;

/// The header of a file; `None` where its path or its size has no room.
pub fn header(path: &str, size: u64) -> Option<[u8; BLOCK]> {
    let (prefix, name) = split(path)?;
    if size > LARGEST {
        return None;
    }
    let mut header = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    put(NAME.start, name.as_bytes());
    // Readable for all, writable for whoever unpacks it; of root; at the beginning of time.
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(SIZE.start, format!("{size:011o}\0").as_bytes());
    put(136, b"00000000000\0");
    // Counted as spaces while it is not known.
    put(CHECKSUM.start, b"        ");
    put(KIND, b"0");
    put(257, b"ustar\x0000");
    put(329, b"0000000\0");
    put(337, b"0000000\0");
    put(PREFIX.start, prefix.as_bytes());
    let sum: u32 = header.iter().copied().map(u32::from).sum();
    header[CHECKSUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Some(header)
}

/// `prefix` and `name`: at the first slash behind which the rest has room.
fn split(path: &str) -> Option<(&str, &str)> {
    if path.len() <= NAME.len() {
        return Some(("", path));
    }
    let slashes = path.match_indices('/');
    let mut halves = slashes.map(|(at, _)| (&path[..at], &path[at + 1..]));
    halves.find(|(prefix, name)| {
        prefix.len() <= PREFIX.len() && name.len() <= NAME.len() && !name.is_empty()
    })
}

/// Path and size of a header.
///
/// # Errors
/// What it is instead of that of a plain file, to be read after the path.
pub fn parse(block: &[u8; BLOCK]) -> Result<(String, u64), (String, &'static str)> {
    let text = |range: std::ops::Range<usize>| {
        let bytes = &block[range];
        let end = bytes.iter().position(|byte| *byte == 0);
        String::from_utf8_lossy(&bytes[..end.unwrap_or(bytes.len())]).into_owned()
    };
    let path = match text(PREFIX).as_str() {
        "" => text(NAME),
        prefix => format!("{prefix}/{}", text(NAME)),
    };
    let size = u64::from_str_radix(text(SIZE).trim_end(), 8).unwrap_or(u64::MAX);
    if header(&path, size).is_some_and(|right| right == *block) {
        return Ok((path, size));
    }
    let what = match block[KIND] {
        b'1' => "is a hard link, and not a plain file",
        b'2' => "is a symbolic link, and not a plain file",
        b'3' | b'4' => "is a device, and not a plain file",
        b'5' => "is a folder, and not a plain file",
        b'6' => "is a FIFO, and not a plain file",
        b'0' | 0 => "has a header that `embly bundle` does not write",
        _ => "is of a kind that `embly bundle` does not write",
    };
    Err((path, what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_as_it_was_written_and_no_other_is() {
        let deep = format!("static/{}/{}", "d".repeat(90), "f".repeat(100));
        for path in ["a", "functions/hello.wasm", &deep, &"x".repeat(100)] {
            for size in [0, 1, 511, LARGEST] {
                let header = header(path, size).unwrap();
                assert_eq!(parse(&header), Ok((path.to_owned(), size)));
                for at in 0..BLOCK {
                    let mut other = header;
                    other[at] ^= 1;
                    let sum: u32 = other.iter().copied().map(u32::from).sum();
                    // With the right sum as well, unless it says another path or size.
                    let own = other[CHECKSUM].iter().copied().map(u32::from).sum::<u32>();
                    let sum = sum - own + 8 * 32;
                    other[CHECKSUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
                    let same = parse(&other) == Ok((path.to_owned(), size)) && other != header;
                    assert!(!same, "byte {at}");
                }
            }
        }
        assert!(header(&"x".repeat(101), 0).is_none());
        assert!(header(&format!("{}/x", "p".repeat(156)), 0).is_none());
        assert!(header("a", LARGEST + 1).is_none());
    }
}
