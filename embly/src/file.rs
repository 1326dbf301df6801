//! Where files of a user are, files that are opened without waiting, and files that are there whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A folder of this user: the one that an environment variable names, else one in the home; `None` where there is no
/// home either (as the XDG Base Directory Specification has it).
pub fn of_user(variable: &str, in_home: &str) -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let named = set(variable).map(PathBuf::from);
    named.or_else(|| Some(PathBuf::from(set("HOME")?).join(in_home)))
}

/// Opens a file to read it. A FIFO keeps nobody waiting; whether it is one shows in the metadata.
///
/// # Errors
/// What the system says.
pub fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed())
        .open(path)
}

/// The most that a file of keys or certificates has, in bytes: all authorities that browsers know are
/// 200 KiB.
const SMALL: u64 = 4 << 20;

/// All of a plain file that is small. A FIFO keeps nobody waiting, and a device that never ends is not
/// read.
///
/// # Errors
/// What the system says; or it is something else than a file, or longer than 4 MiB.
pub fn small(path: &Path) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    if !file.metadata()?.is_file() {
        let what = "it is not a plain file";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    }
    let mut bytes = Vec::new();
    file.take(SMALL + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > SMALL {
        let what = "it is bigger than 4 MiB";
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, what));
    }
    Ok(bytes)
}

/// Where something lies until it is whole: beside its place.
pub fn partial(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.partial", std::process::id()));
    path.with_file_name(name)
}

/// Writes a file under another name, which it loses once it is whole and on the disk.
///
/// # Errors
/// What the system says, or `write`. Then nothing is left, and a file that was there is as it was.
pub fn whole<T, E: From<io::Error>>(
    path: &Path,
    write: impl FnOnce(&mut File) -> Result<T, E>,
) -> Result<T, E> {
    let partial = partial(path);
    // A process of the same number may have been killed; a link of somebody else is not followed.
    match fs::remove_file(&partial) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let mut options = OpenOptions::new();
    let mut file = options
        .read(true)
        .write(true)
        .create_new(true)
        .open(&partial)?;
    let written = write(&mut file).and_then(|written| {
        file.sync_all()?;
        fs::rename(&partial, path)?;
        Ok(written)
    });
    if written.is_err() {
        // It is of no use.
        let _ = fs::remove_file(&partial);
    }
    written
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn only_a_plain_file_of_some_size_is_read_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "text").unwrap();
        assert_eq!(small(&path).unwrap(), b"text");
        fs::write(&path, vec![0; SMALL as usize + 1]).unwrap();
        assert!(small(&path).unwrap_err().to_string().contains("4 MiB"));
        // It has no end.
        let device = small(Path::new("/dev/zero")).unwrap_err();
        assert!(device.to_string().contains("plain file"), "{device}");
        assert!(small(folder.path()).is_err());
    }

    #[test]
    fn a_file_is_whole_or_as_it_was_and_what_others_have_left_is_not_written_to() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let other = folder.path().join("other");
        fs::write(&other, "theirs").unwrap();
        symlink(&other, partial(&path)).unwrap();
        whole(&path, |file| file.write_all(b"one")).unwrap();
        let failed: io::Result<()> = whole(&path, |file| {
            file.write_all(b"two")?;
            Err(io::ErrorKind::StorageFull.into())
        });
        assert!(failed.is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "one");
        assert_eq!(fs::read_to_string(&other).unwrap(), "theirs");
        assert!(!partial(&path).exists());
    }
}
