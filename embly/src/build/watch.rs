//! Watching the files that went into a build.
//!
//! The folders are watched, not the files: editors save by renaming a new file over the old one, and a file that was
//! missing may appear. Of what happens in a folder, only changes of the files asked for and new files are passed on.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use notify::event::ModifyKind;
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};

/// Changes that follow each other this closely are one batch: an editor's save is several of them.
const QUIET: Duration = Duration::from_millis(100);
/// A batch is handed out after this time even if the changes do not end.
const LONGEST: Duration = Duration::from_secs(1);
/// Folders that tools write to by themselves.
const IGNORED_FOLDERS: [&str; 4] = ["target", ".embly", ".git", "node_modules"];

/// Why nothing can be watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The system gives no watcher.
    #[error("files cannot be watched: {0}\nhint: `embly run` works without")]
    Start(#[source] notify::Error),
    /// The system's limit is reached.
    #[error(
        "too many folders to watch: {0}\nhint: `sysctl fs.inotify.max_user_watches=524288` as root"
    )]
    TooMany(#[source] notify::Error),
}

/// Watches a changing set of files and reports their changes in batches.
pub struct Watcher {
    system: RecommendedWatcher,
    folders: BTreeSet<PathBuf>,
    wanted: Arc<Mutex<Wanted>>,
    changes: Sender<PathBuf>,
}

/// What to report.
#[derive(Default)]
struct Wanted {
    files: BTreeSet<PathBuf>,
    folders: BTreeSet<PathBuf>,
}

impl Watcher {
    /// A watcher of nothing yet. `changed` is called on a thread of its own with the sorted paths of each batch, about
    /// 100 ms after the last change in it; the thread ends with the watcher.
    ///
    /// # Errors
    /// The system gives no watcher.
    pub fn new(changed: impl FnMut(Vec<PathBuf>) + Send + 'static) -> Result<Self, WatchError> {
        let (changes, received) = mpsc::channel();
        let wanted = Arc::new(Mutex::new(Wanted::default()));
        let (of_events, sender) = (Arc::clone(&wanted), changes.clone());
        let system = notify::recommended_watcher(move |event: notify::Result<Event>| {
            // The receiver is gone only when the watcher goes.
            match event {
                Ok(event) => {
                    let wanted = of_events.lock().unwrap_or_else(PoisonError::into_inner);
                    for path in wanted.pick(&event) {
                        let _ = sender.send(path);
                    }
                }
                // Events were lost: anything may have changed.
                Err(_) => {
                    let wanted = of_events.lock().unwrap_or_else(PoisonError::into_inner);
                    wanted
                        .files
                        .iter()
                        .for_each(|path| drop(sender.send(path.clone())));
                }
            }
        })
        .map_err(WatchError::Start)?;
        thread::Builder::new()
            .spawn(move || batches(&received, changed))
            .map_err(|error| WatchError::Start(notify::Error::io(error)))?;
        Ok(Self {
            system,
            folders: BTreeSet::new(),
            wanted,
            changes,
        })
    }

    /// Watches `paths`, and nothing else any more. Of a file, its changes are reported; of a folder, those of the files
    /// directly in it; beside both, files that are new. Paths that do not exist are waited for if their folder exists.
    ///
    /// # Errors
    /// The system's limit is reached; some of the paths are watched then.
    pub fn set(&mut self, paths: Vec<PathBuf>) -> Result<(), WatchError> {
        let mut wanted = Wanted::default();
        for path in paths {
            if path.is_dir() {
                wanted.folders.insert(path);
            } else {
                wanted.folders.extend(path.parent().map(Path::to_owned));
                wanted.files.insert(path);
            }
        }
        let folders = wanted.folders.clone();
        *self.wanted.lock().unwrap_or_else(PoisonError::into_inner) = wanted;

        for gone in self.folders.difference(&folders) {
            // A folder that was deleted is not watched any more either.
            let _ = self.system.unwatch(gone);
        }
        let mut result = Ok(());
        // All of them are asked for again: one that was deleted and made anew has lost its watch.
        for folder in folders.iter().filter(|folder| folder.is_dir()) {
            if let Err(error) = self.system.watch(folder, RecursiveMode::NonRecursive)
                && matches!(error.kind, notify::ErrorKind::MaxFilesWatch)
            {
                result = Err(WatchError::TooMany(error));
            }
        }
        self.folders = folders;
        result
    }

    /// Like [`Watcher::set`], and reports at once the files that were modified at or after `since`: those that changed
    /// while the build that has named them was running.
    ///
    /// # Errors
    /// As [`Watcher::set`].
    pub fn set_since(&mut self, paths: Vec<PathBuf>, since: SystemTime) -> Result<(), WatchError> {
        let files: Vec<PathBuf> = paths
            .iter()
            .filter(|path| !path.is_dir())
            .cloned()
            .collect();
        let result = self.set(paths);
        for file in files {
            if file
                .metadata()
                .and_then(|meta| meta.modified())
                .is_ok_and(|modified| modified >= since)
            {
                // The receiving thread lives as long as this watcher.
                let _ = self.changes.send(file);
            }
        }
        result
    }
}

impl Wanted {
    /// The paths of an event that are worth a batch.
    fn pick<'a>(&'a self, event: &'a Event) -> impl Iterator<Item = PathBuf> + 'a {
        // `touch` changes metadata only, and people use it to ask for a build.
        let touched = !matches!(event.kind, EventKind::Access(_));
        let appeared = matches!(
            event.kind,
            EventKind::Create(_) | EventKind::Modify(ModifyKind::Name(_))
        );
        let paths = event.paths.iter().filter(move |_| touched);
        paths
            .filter(move |path| self.files.contains(*path) || (appeared && self.is_new(path)))
            .cloned()
    }

    /// Whether a path that appeared may matter to the next build.
    fn is_new(&self, path: &Path) -> bool {
        let Some(name) = path.file_name().map(|name| name.to_string_lossy()) else {
            return false;
        };
        let in_a_folder = path
            .parent()
            .is_some_and(|folder| self.folders.contains(folder));
        in_a_folder && !is_temporary(&name) && !IGNORED_FOLDERS.contains(&name.as_ref())
    }
}

/// Names that editors give to files for a moment, and hidden ones.
fn is_temporary(name: &str) -> bool {
    let ends = [".swp", ".swx", ".swo", ".tmp", ".bak", ".partial", "~"];
    // vim tries out whether it can write to a folder with a file called 4913.
    name.starts_with(['.', '#']) || name == "4913" || ends.iter().any(|end| name.ends_with(end))
}

fn batches(received: &Receiver<PathBuf>, mut changed: impl FnMut(Vec<PathBuf>)) {
    while let Ok(first) = received.recv() {
        let began = Instant::now();
        let mut batch = BTreeSet::from([first]);
        while began.elapsed() < LONGEST {
            match received.recv_timeout(QUIET) {
                Ok(path) => drop(batch.insert(path)),
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
        changed(batch.into_iter().collect());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    struct Watched {
        folder: tempfile::TempDir,
        watcher: Watcher,
        batches: Receiver<Vec<PathBuf>>,
    }

    impl Watched {
        fn new(files: &[&str]) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let (sender, batches) = mpsc::channel();
            let mut watcher = Watcher::new(move |batch| drop(sender.send(batch))).unwrap();
            for file in files {
                fs::create_dir_all(folder.path().join(file).parent().unwrap()).unwrap();
                fs::write(folder.path().join(file), "old").unwrap();
            }
            watcher
                .set(files.iter().map(|file| folder.path().join(file)).collect())
                .unwrap();
            Self {
                folder,
                watcher,
                batches,
            }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        fn next(&self) -> Vec<String> {
            let batch = self
                .batches
                .recv_timeout(Duration::from_secs(5))
                .expect("a batch");
            let names = batch
                .iter()
                .map(|path| path.strip_prefix(self.folder.path()).unwrap());
            names.map(|name| name.display().to_string()).collect()
        }

        fn nothing(&self) {
            assert_eq!(
                self.batches.recv_timeout(Duration::from_millis(400)),
                Err(RecvTimeoutError::Timeout)
            );
        }
    }

    #[test]
    fn a_save_is_one_batch_however_the_editor_does_it() {
        let watched = Watched::new(&["src/main.rs", "src/other.rs"]);
        fs::write(watched.path("src/main.rs"), "new").unwrap();
        fs::write(watched.path("src/other.rs"), "new").unwrap();
        assert_eq!(watched.next(), ["src/main.rs", "src/other.rs"]);
        fs::write(watched.path("src/.main.rs.swp"), "newer").unwrap();
        fs::rename(
            watched.path("src/.main.rs.swp"),
            watched.path("src/main.rs"),
        )
        .unwrap();
        assert_eq!(watched.next(), ["src/main.rs"]);
        fs::remove_file(watched.path("src/main.rs")).unwrap();
        assert_eq!(watched.next(), ["src/main.rs"]);
        watched.nothing();
    }

    #[test]
    fn new_files_beside_the_watched_ones_are_seen_and_output_is_not() {
        let watched = Watched::new(&["Cargo.toml", "src/main.rs"]);
        for folder in ["target", ".embly", ".git"] {
            fs::create_dir(watched.path(folder)).unwrap();
        }
        for name in ["src/main.rs~", "src/4913", "src/.hidden", "src/#main.rs#"] {
            fs::write(watched.path(name), "").unwrap();
        }
        watched.nothing();
        fs::write(watched.path("src/new.rs"), "").unwrap();
        assert_eq!(watched.next(), ["src/new.rs"]);
        fs::create_dir(watched.path("src/part")).unwrap();
        assert_eq!(watched.next(), ["src/part"]);
    }

    #[test]
    fn a_new_set_replaces_the_old_one() {
        let mut watched = Watched::new(&["a/one.rs", "b/two.rs"]);
        let two = watched.path("b/two.rs");
        watched.watcher.set(vec![two]).unwrap();
        fs::write(watched.path("a/one.rs"), "new").unwrap();
        watched.nothing();
        fs::write(watched.path("b/two.rs"), "new").unwrap();
        assert_eq!(watched.next(), ["b/two.rs"]);
    }

    #[test]
    fn a_change_during_the_build_is_reported_afterwards() {
        let mut watched = Watched::new(&["a.rs", "b.rs"]);
        let past = SystemTime::now() - Duration::from_secs(60);
        fs::File::open(watched.path("a.rs"))
            .unwrap()
            .set_modified(past)
            .unwrap();
        assert_eq!(watched.next(), ["a.rs"]);
        let files = vec![watched.path("a.rs"), watched.path("b.rs")];
        watched
            .watcher
            .set_since(files, past + Duration::from_secs(1))
            .unwrap();
        assert_eq!(watched.next(), ["b.rs"]);
    }
}
