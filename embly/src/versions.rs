//! The versions of a project that were deployed to a master, or run by it as a bundle: in the folder `versions` of its state, a
//! folder each, and a file that names the current one. Whoever changes them holds the lock on the state.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::bundle::{self, About, BundleError, Limits, VerifyKey};
use crate::file;

/// Where they are, in the state folder.
pub const FOLDER: &str = "versions";

/// So many are kept; the oldest go first, and never the current one.
pub const KEPT: usize = 10;

/// Names the current one.
const CURRENT: &str = "current";

/// What is known of a version, beside its project.
const ABOUT: &str = "version.json";

/// Is there once a version was healthy; one without it was broken off. Has the name of the environment in
/// which that was, or nothing.
const SERVED: &str = "served";

/// The checksum of the bundle that a run has brought last.
const BROUGHT: &str = "brought";

/// What is under way begins so; what is left of it is removed by the next master.
const ARRIVING: &str = ".arriving-";

/// The versions in a state folder.
#[derive(Debug, Clone)]
pub struct Versions {
    folder: PathBuf,
    /// What masters that were killed have left was removed.
    swept: Arc<AtomicBool>,
}

/// A version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// From 1; a later one has a larger number.
    #[serde(skip)]
    pub number: u64,
    /// Of its bundle, in hex.
    pub checksum: String,
    /// The key that has signed it, in hex, if any has.
    pub signed_by: Option<String>,
    /// Its files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// When it came, RFC 3339.
    pub deployed: String,
}

/// A bundle that was unpacked and is no version yet. Removed when it is dropped.
#[derive(Debug)]
pub struct Arrived {
    path: PathBuf,
}

/// Why something cannot be done with versions.
#[derive(Debug, thiserror::Error)]
pub enum VersionError {
    /// The bundle cannot be used.
    #[error("cannot use the bundle: {0}")]
    Bundle(#[from] BundleError),
    /// The folder cannot be used.
    #[error("cannot use `{}`: {source}", path.display())]
    Folder {
        /// Which file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The state folder is another's, or cannot be made.
    #[error("{0}")]
    State(String),
    /// It is not the bundle any more that was read before.
    #[error("the bundle was replaced meanwhile: `embly reload` serves what is there now")]
    Replaced,
    /// It does not name a version.
    #[error("`{}` names no version that is there: write the number of one of the folders beside it into it", .0.display())]
    Current(PathBuf),
}

fn of(path: &Path) -> impl Fn(io::Error) -> VersionError + '_ {
    |source| VersionError::Folder {
        path: path.to_owned(),
        source,
    }
}

impl Drop for Arrived {
    fn drop(&mut self) {
        // Nothing is there where it has become a version.
        let _ = fs::remove_dir_all(&self.path);
    }
}

impl Versions {
    /// Those in this state folder.
    pub fn new(state: &Path) -> Self {
        Self {
            folder: state.join(FOLDER),
            swept: Arc::default(),
        }
    }

    /// Whether anything was ever deployed here.
    pub fn is_used(&self) -> bool {
        self.folder.exists()
    }

    /// The number of the current one, if any was deployed.
    ///
    /// # Errors
    /// It cannot be read, or is not there.
    pub fn current(&self) -> Result<Option<u64>, VersionError> {
        let path = self.folder.join(CURRENT);
        let text = match fs::read_to_string(&path) {
            Err(error) if is_none(&error) => return Ok(None),
            text => text.map_err(of(&path))?,
        };
        let number = text.trim_end().parse().ok();
        match number.filter(|number| self.project(*number).is_dir()) {
            Some(number) => Ok(Some(number)),
            None => Err(VersionError::Current(path)),
        }
    }

    /// All that were served, the latest first.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn list(&self) -> Result<Vec<Version>, VersionError> {
        let mut versions = Vec::new();
        for number in self.numbers()? {
            if !self.was_served(number) {
                continue;
            }
            let read = match about(&self.version(number)) {
                // Whoever serves them has just removed it.
                Err(_) if !self.version(number).exists() => continue,
                read => read?,
            };
            versions.push(Version { number, ..read });
        }
        Ok(versions)
    }

    /// Whether a bundle with this checksum is to be served, and not the current version: it is that
    /// version, or no run has brought it last, so it is a new one.
    ///
    /// # Errors
    /// The folder cannot be used.
    pub fn is_to_be_run(&self, checksum: &str, current: u64) -> Result<bool, VersionError> {
        let path = self.folder.join(BROUGHT);
        let brought = match fs::read_to_string(&path) {
            // Nothing but deployments has brought any.
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            read => Some(read.map_err(of(&path))?),
        };
        let is_new = brought.is_none_or(|brought| brought != checksum);
        Ok(is_new || about(&self.version(current))?.checksum == checksum)
    }

    /// A bundle that is served because it was run, in this environment, is the current version from now
    /// on: its number. May block.
    ///
    /// # Errors
    /// The bundle cannot be used, has another checksum, or the folder cannot be used.
    pub fn take_run(
        &self,
        from: impl Read,
        must: Option<&VerifyKey>,
        checksum: &str,
        environment: Option<&str>,
    ) -> Result<u64, VersionError> {
        if let Some(current) = self.current()?
            && about(&self.version(current))?.checksum == checksum
        {
            if self.environment(current)?.as_deref() != environment {
                self.make_current(current, environment)?;
            }
            write(&self.folder, BROUGHT, checksum)?;
            return Ok(current);
        }
        let arrived = self.receive(from, must)?;
        if about(&arrived.path)?.checksum != checksum {
            return Err(VersionError::Replaced);
        }
        let number = self.keep(arrived)?;
        self.make_current(number, environment)?;
        write(&self.folder, BROUGHT, checksum)?;
        self.prune(&[number])?;
        Ok(number)
    }

    /// The latest first.
    fn numbers(&self) -> Result<Vec<u64>, VersionError> {
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if is_none(&error) => return Ok(Vec::new()),
            entries => entries.map_err(of(&self.folder))?,
        };
        let names = entries.flatten().map(|entry| entry.file_name());
        let numbers = names.filter_map(|name| name.to_str()?.parse().ok());
        let mut numbers: Vec<u64> = numbers.collect();
        numbers.sort_unstable_by_key(|number| std::cmp::Reverse(*number));
        Ok(numbers)
    }

    fn was_served(&self, number: u64) -> bool {
        self.version(number).join(SERVED).exists()
    }

    fn version(&self, number: u64) -> PathBuf {
        self.folder.join(number.to_string())
    }

    /// The folder of the project of a version.
    pub fn project(&self, number: u64) -> PathBuf {
        self.version(number).join("project")
    }

    /// Unpacks a bundle as it comes. May block.
    ///
    /// # Errors
    /// The bundle cannot be used, or the folder.
    pub fn receive(
        &self,
        from: impl Read,
        must: Option<&VerifyKey>,
    ) -> Result<Arrived, VersionError> {
        let make = |path: &Path| DirBuilder::new().mode(0o700).create(path);
        match make(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made.map_err(of(&self.folder))?,
        }
        if !self.swept.swap(true, Ordering::Relaxed) {
            for entry in fs::read_dir(&self.folder)
                .map_err(of(&self.folder))?
                .flatten()
            {
                let name = entry.file_name();
                if name.to_string_lossy().starts_with(ARRIVING) {
                    // The next master tries again.
                    let _ = fs::remove_dir_all(entry.path());
                }
            }
            let mut numbers = self.numbers()?;
            numbers.retain(|number| !self.was_served(*number));
            for number in numbers {
                self.remove(number)?;
            }
        }
        let name = format!("{ARRIVING}{:016x}", rand::random::<u64>());
        let path = self.folder.join(name);
        make(&path).map_err(of(&path))?;
        let arrived = Arrived { path };
        let project = arrived.path.join("project");
        make(&project).map_err(of(&project))?;
        let about = bundle::unpack(from, &project, must, &Limits::default())?;
        let path = arrived.path.join(ABOUT);
        fs::write(&path, described(about)).map_err(of(&path))?;
        // All of it is on the disk before anybody counts on it.
        let folder = File::open(&arrived.path).map_err(of(&arrived.path))?;
        let synced = rustix::fs::syncfs(&folder).map_err(io::Error::from);
        synced.map_err(of(&arrived.path))?;
        Ok(arrived)
    }

    /// The current version, where this has the same in it.
    ///
    /// # Errors
    /// The folder cannot be used.
    pub fn same_as_current(&self, arrived: &Arrived) -> Result<Option<u64>, VersionError> {
        let Some(current) = self.current()? else {
            return Ok(None);
        };
        let is_same = about(&self.version(current))?.checksum == about(&arrived.path)?.checksum;
        Ok(is_same.then_some(current))
    }

    /// Makes it a version, which is not the current one yet: its number.
    ///
    /// # Errors
    /// The folder cannot be used.
    pub fn keep(&self, arrived: Arrived) -> Result<u64, VersionError> {
        let number = self.numbers()?.first().map_or(1, |last| last + 1);
        let path = self.version(number);
        fs::rename(&arrived.path, &path).map_err(of(&path))?;
        self.sync().map_err(of(&self.folder))?;
        Ok(number)
    }

    /// The environment in which a version was served last, if one was named.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn environment(&self, number: u64) -> Result<Option<String>, VersionError> {
        let path = self.version(number).join(SERVED);
        match fs::read_to_string(&path) {
            Err(error) if is_none(&error) => Ok(None),
            read => {
                let name = read.map_err(of(&path))?.trim_end().to_owned();
                Ok(Some(name).filter(|name| !name.is_empty()))
            }
        }
    }

    /// From now on, and after a restart, it is the current one, in this environment.
    ///
    /// # Errors
    /// The folder cannot be used; then it is the one that it was.
    pub fn make_current(&self, number: u64, environment: Option<&str>) -> Result<(), VersionError> {
        let environment = environment.unwrap_or_default();
        write(&self.version(number), SERVED, environment)?;
        write(&self.folder, CURRENT, &format!("{number}\n"))
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.folder)?.sync_all()
    }

    /// Removes a version.
    ///
    /// # Errors
    /// The folder cannot be used.
    pub fn remove(&self, number: u64) -> Result<(), VersionError> {
        let path = self.version(number);
        // Its name is no number from then on, however far this comes.
        let away = self.folder.join(format!("{ARRIVING}{number}"));
        fs::rename(&path, &away)
            .and_then(|()| fs::remove_dir_all(&away))
            .map_err(of(&path))
    }

    /// Removes the oldest beyond [`KEPT`], but the current one and these.
    ///
    /// # Errors
    /// The folder cannot be used.
    pub fn prune(&self, but: &[u64]) -> Result<(), VersionError> {
        let current = self.current()?;
        let mut numbers = self.numbers()?;
        let mut beyond = numbers.len().saturating_sub(KEPT);
        while beyond > 0
            && let Some(oldest) = numbers.pop()
        {
            if current != Some(oldest) && !but.contains(&oldest) {
                self.remove(oldest)?;
                beyond -= 1;
            }
        }
        Ok(())
    }
}

/// Writes a file of a folder, which is on the disk then, with its name.
fn write(folder: &Path, name: &str, text: &str) -> Result<(), VersionError> {
    let path = folder.join(name);
    file::whole(&path, |file| file.write_all(text.as_bytes()))
        .and_then(|()| File::open(folder)?.sync_all())
        .map_err(of(&path))
}

/// What a folder of a version says of it, but for its number.
fn about(version: &Path) -> Result<Version, VersionError> {
    let path = version.join(ABOUT);
    let text = fs::read(&path).map_err(of(&path))?;
    let read = serde_json::from_slice(&text).map_err(io::Error::from);
    read.map_err(of(&path))
}

/// Nothing was deployed: what is wrong with the state folder is said by whoever takes it.
fn is_none(error: &io::Error) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory)
}

fn described(about: About) -> Vec<u8> {
    let version = Version {
        number: 0,
        checksum: about.checksum,
        signed_by: about.signed_by,
        files: about.files as u64,
        bytes: about.bytes,
        deployed: Timestamp::now().to_string(),
    };
    bundle::manifest::encode(&version)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::{Bundle, Content, PROJECT};

    fn packed() -> File {
        let mut bundle = Bundle::default();
        bundle.add(PROJECT, Content::Bytes(b"functions: []\n".to_vec()));
        let mut file = tempfile::tempfile().unwrap();
        bundle.write(&mut file, None, &Limits::default()).unwrap();
        std::io::Seek::rewind(&mut file).unwrap();
        file
    }

    #[test]
    fn the_oldest_go_first_and_never_the_current_one() {
        let state = tempfile::tempdir().unwrap();
        let versions = Versions::new(state.path());
        assert_eq!(versions.current().unwrap(), None);
        let deploy = || {
            versions
                .keep(versions.receive(packed(), None).unwrap())
                .unwrap()
        };
        for number in 1..=KEPT as u64 {
            assert_eq!(deploy(), number);
            versions.make_current(number, None).unwrap();
        }
        for number in 11..=13 {
            assert_eq!(deploy(), number);
            versions.make_current(number, None).unwrap();
            versions.make_current(2, None).unwrap();
            versions.prune(&[number]).unwrap();
        }
        let numbers: Vec<u64> = versions
            .list()
            .unwrap()
            .iter()
            .map(|it| it.number)
            .collect();
        assert_eq!(numbers, [13, 12, 11, 10, 9, 8, 7, 6, 5, 2]);
        assert_eq!(versions.current().unwrap(), Some(2));
    }

    #[test]
    fn what_was_broken_off_leaves_nothing_and_is_no_version() {
        let state = tempfile::tempdir().unwrap();
        let versions = Versions::new(state.path());
        drop(versions.receive(packed(), None).unwrap());
        // As of a master that was killed.
        let versions = Versions::new(state.path());
        versions
            .keep(versions.receive(packed(), None).unwrap())
            .unwrap();
        let versions = Versions::new(state.path());
        fs::create_dir(state.path().join(FOLDER).join(".arriving-1")).unwrap();
        let error = versions.receive(&b"no bundle"[..], None).unwrap_err();
        assert!(matches!(error, VersionError::Bundle(BundleError::Other)));
        let left = fs::read_dir(state.path().join(FOLDER)).unwrap().count();
        assert_eq!((left, versions.list().unwrap().len()), (0, 0));
        fs::write(state.path().join(FOLDER).join(CURRENT), "7\n").unwrap();
        assert!(matches!(versions.current(), Err(VersionError::Current(_))));
    }
}
