//! The project's `.embly` folder, and files that are there whole or not at all.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::file;

/// The folder of a build, in its project.
pub const FOLDER: &str = ".embly";

/// Marks a folder that backup programs may leave out, see <https://bford.info/cachedir/>.
const CACHEDIR_TAG: &[u8] =
    b"Signature: 8a477f597d28d172789f06886806bc55\n# Build output of Embly; safe to delete.\n";

/// Makes `<project>/.embly` with a `.gitignore` and a `CACHEDIR.TAG`; returns its path.
pub(super) fn prepare(project: &Path) -> io::Result<PathBuf> {
    let folder = project.join(FOLDER);
    fs::create_dir_all(&folder)?;
    for (name, content) in [(".gitignore", &b"*\n"[..]), ("CACHEDIR.TAG", CACHEDIR_TAG)] {
        let file = folder.join(name);
        if !file.exists() {
            write_whole(&file, content)?;
        }
    }
    Ok(folder)
}

/// Writes `content` under a temporary name and renames it, unless the file already holds exactly that.
/// True if the file changed.
pub(super) fn write_if_new(file: &Path, content: &[u8]) -> io::Result<bool> {
    if fs::read(file).is_ok_and(|old| old == content) {
        return Ok(false);
    }
    write_whole(file, content).map(|()| true)
}

fn write_whole(path: &Path, content: &[u8]) -> io::Result<()> {
    file::whole(path, |file| file.write_all(content))
}
