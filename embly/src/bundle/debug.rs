//! What of a module is there for debuggers, and for the files and lines of backtraces.

/// Bytes in front of the first section: magic number and version.
const HEAD: usize = 8;

/// The number of a custom section, which has a name.
const CUSTOM: u8 = 0;

/// How those begin that hold DWARF.
const DWARF: &[u8] = b".debug_";

/// Bytes of its DWARF. What cannot be read has none.
pub fn dwarf(module: &[u8]) -> u64 {
    let mut rest = module.get(HEAD..).unwrap_or_default();
    let mut bytes = 0;
    while let Some((id, after)) = rest.split_first() {
        let section = number(after).and_then(|(size, body)| body.split_at_checked(size));
        let Some((section, next)) = section else {
            break;
        };
        if *id == CUSTOM && number(section).is_some_and(|(_, name)| name.starts_with(DWARF)) {
            bytes += section.len() as u64;
        }
        rest = next;
    }
    bytes
}

/// A number as modules write them, in LEB128, and what follows it.
fn number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0;
    for (n, byte) in bytes.iter().enumerate().take(5) {
        value |= u64::from(byte & 0x7f) << (7 * n);
        if byte & 0x80 == 0 {
            return Some((usize::try_from(value).ok()?, bytes.get(n + 1..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dwarf_of_a_module_is_measured_and_nothing_else() {
        let head = b"\0asm\x01\0\0\0";
        let names = b"\0\x06\x04name\x01";
        let code = b"\x0a\x02\x01\x00";
        // Sizes may have more bytes than they need.
        let lines = b"\0\x8e\x80\x00\x0b.debug_line\x01\x02";
        let module = [&head[..], names, lines, code].concat();
        assert_eq!(dwarf(&module), 14);
        assert_eq!(dwarf(&[&head[..], names, code].concat()), 0);
        for end in 0..module.len() {
            assert!(dwarf(&module[..end]) <= 14);
        }
        assert_eq!(
            dwarf(&[&head[..], &[0, 0xff, 0xff, 0xff, 0xff, 0xff]].concat()),
            0
        );
    }
}
