//! Files that lines are appended to, by one thread: whoever has a line never waits for a disk.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::{self, JoinHandle};

use super::{Often, PAUSE, QUEUE, Reporter, WRITE, Waiting};

/// The files, and the thread that writes them. Clones share both.
#[derive(Debug, Clone)]
pub struct Appender {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    reporter: Reporter,
    orders: Mutex<Option<Sender<Order>>>,
    /// Started with the first file.
    writer: Mutex<Option<JoinHandle<()>>>,
    /// Those that somebody writes to.
    files: Mutex<HashMap<Arc<PathBuf>, Weak<Used>>>,
    waiting: Arc<Waiting>,
    dropped: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Order {
    /// From now on the lines for this path go here.
    Open(Arc<PathBuf>, File),
    Line(Arc<PathBuf>, String),
    /// There will be no more.
    Close(Arc<PathBuf>),
}

/// A file that lines can be appended to; it is closed with the last of its clones.
#[derive(Debug, Clone)]
pub struct Lines(Arc<Used>);

#[derive(Debug)]
struct Used {
    path: Arc<PathBuf>,
    shared: Arc<Shared>,
}

impl Drop for Used {
    fn drop(&mut self) {
        let mut files = lock(&self.shared.files);
        // Somebody may have opened it meanwhile.
        if files
            .get(&self.path)
            .is_some_and(|used| used.strong_count() == 0)
        {
            files.remove(&self.path);
            self.shared.order(Order::Close(Arc::clone(&self.path)));
        }
    }
}

impl Appender {
    /// No files yet.
    pub fn new(reporter: Reporter) -> Self {
        Self {
            shared: Arc::new(Shared {
                reporter,
                orders: Mutex::default(),
                writer: Mutex::default(),
                files: Mutex::default(),
                waiting: Arc::default(),
                dropped: Arc::default(),
            }),
        }
    }

    /// A file, which is made where it is not there, private to this user.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(&self, path: &Path) -> io::Result<Lines> {
        let shared = &self.shared;
        let mut files = lock(&shared.files);
        let path = Arc::new(path.to_owned());
        if let Some(used) = files.get(&path).and_then(Weak::upgrade) {
            return Ok(Lines(used));
        }
        let file = open(&path)?;
        self.start()?;
        shared.order(Order::Open(Arc::clone(&path), file));
        let used = Arc::new(Used {
            path: Arc::clone(&path),
            shared: Arc::clone(shared),
        });
        files.insert(path, Arc::downgrade(&used));
        Ok(Lines(used))
    }

    /// Opens all files anew: they may have been moved away. One that cannot be opened goes on as it is.
    pub fn reopen(&self) {
        for path in lock(&self.shared.files).keys() {
            match open(path) {
                Ok(file) => self.shared.order(Order::Open(Arc::clone(path), file)),
                Err(error) => self.shared.reporter.warn(format!(
                    "cannot open the `access_log` `{}` anew: {error}; lines go where they went before",
                    path.display()
                )),
            }
        }
    }

    /// Waits until everything is written. Lines that come afterwards are lost.
    pub fn finish(&self) {
        lock(&self.shared.orders).take();
        let writer = lock(&self.shared.writer).take();
        if let Some(writer) = writer {
            // It ends as its queue does; a panic in it was printed already.
            let _ = writer.join();
        }
    }

    fn start(&self) -> io::Result<()> {
        let mut orders = lock(&self.shared.orders);
        if orders.is_some() {
            return Ok(());
        }
        let (sender, inbox) = mpsc::channel();
        let mut writing = Writing {
            reporter: self.shared.reporter.clone(),
            waiting: Arc::clone(&self.shared.waiting),
            dropped: Arc::clone(&self.shared.dropped),
            files: HashMap::new(),
        };
        let writer = thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || {
                // Otherwise it may be woken at the end of each process, only to wake another thread.
                let _ = embly_wrapper::process::block_child_signals();
                writing.run(&inbox);
            })?;
        *orders = Some(sender);
        *lock(&self.shared.writer) = Some(writer);
        Ok(())
    }
}

impl Shared {
    fn order(&self, order: Order) {
        if let Some(sender) = &*lock(&self.orders) {
            // The writer lives until the last sender is gone.
            let _ = sender.send(order);
        }
    }
}

impl Lines {
    /// Appends a line, without its end, if there is room for it.
    pub fn append(&self, line: String) {
        let Used { path, shared } = &*self.0;
        if shared.waiting.is_full(QUEUE) {
            shared.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        shared.waiting.add(line.len());
        shared.order(Order::Line(Arc::clone(path), line));
    }
}

/// Makes the folders of the file as well. What is there and is no file is refused, and not waited for.
pub(super) fn open(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
    }
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOFOLLOW;
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(flags.bits().cast_signed())
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    Ok(file)
}

/// The thread.
struct Writing {
    reporter: Reporter,
    waiting: Arc<Waiting>,
    dropped: Arc<AtomicU64>,
    files: HashMap<Arc<PathBuf>, Out>,
}

struct Out {
    file: File,
    text: String,
    /// A write has failed in the middle of a line.
    broken: bool,
    said: Often,
}

impl Writing {
    fn run(&mut self, inbox: &Receiver<Order>) {
        while let Ok(first) = inbox.recv() {
            let rest = std::iter::from_fn(|| inbox.try_recv().ok());
            for order in std::iter::once(first).chain(rest) {
                self.obey(order);
            }
            for (path, out) in &mut self.files {
                out.write(path, &self.reporter);
            }
            let dropped = self.dropped.swap(0, Ordering::Relaxed);
            if dropped > 0 {
                self.reporter.warn(format!(
                    "{dropped} lines of access logs were dropped, the disk is too slow"
                ));
            }
            // Those of this time are collected.
            thread::sleep(PAUSE);
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Open(path, file) => match self.files.get_mut(&path) {
                Some(out) => {
                    out.write(&path, &self.reporter);
                    out.broken &= same(&out.file, &file);
                    out.file = file;
                }
                None => {
                    let out = Out {
                        file,
                        text: String::new(),
                        broken: false,
                        said: Often::default(),
                    };
                    self.files.insert(path, out);
                }
            },
            Order::Close(path) => {
                if let Some(mut out) = self.files.remove(&path) {
                    out.write(&path, &self.reporter);
                }
            }
            Order::Line(path, line) => {
                self.waiting.take(line.len());
                if let Some(out) = self.files.get_mut(&path) {
                    out.text.push_str(&line);
                    out.text.push('\n');
                    if out.text.len() >= WRITE {
                        out.write(&path, &self.reporter);
                    }
                }
            }
        }
    }
}

impl Out {
    fn write(&mut self, path: &Path, reporter: &Reporter) {
        if self.text.is_empty() {
            return;
        }
        if self.broken {
            self.text.insert(0, '\n');
        }
        let (bytes, written) = append(&mut self.file, self.text.as_bytes());
        if let Some(last) = self.text.as_bytes()[..bytes].last() {
            self.broken = *last != b'\n';
        }
        self.text.clear();
        if let Err(error) = written
            && let Some(more) = self.said.say()
        {
            reporter.warn(format!(
                "cannot write the `access_log` `{}`: {error}; its lines are lost{more}",
                path.display()
            ));
        }
    }
}

/// Writes all of it, or less; also says how many bytes.
pub(super) fn append(file: &mut impl Write, text: &[u8]) -> (usize, io::Result<()>) {
    let mut done = 0;
    while done < text.len() {
        match file.write(&text[done..]) {
            Ok(0) => return (done, Err(io::ErrorKind::WriteZero.into())),
            Ok(bytes) => done += bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (done, Err(error)),
        }
    }
    (done, Ok(()))
}

/// Whether both are one file.
pub(super) fn same(one: &File, other: &File) -> bool {
    let id = |file: &File| file.metadata().map(|file| (file.dev(), file.ino())).ok();
    id(one).is_some_and(|one| id(other) == Some(one))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Nobody panics under these.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn appender() -> Appender {
        Appender::new(Reporter::new(super::super::Options::default()).unwrap())
    }

    /// A disk that is full after so many bytes.
    struct Full(usize);

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let some = self.0.min(bytes.len());
            self.0 -= some;
            match some {
                0 => Err(io::ErrorKind::StorageFull.into()),
                some => Ok(some),
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn how_much_was_written_is_known_also_where_it_failed() {
        for room in 0..4 {
            let (bytes, written) = append(&mut Full(room), b"abcd");
            assert_eq!((bytes, written.is_ok()), (room, false));
        }
        assert!(matches!(append(&mut Full(4), b"abcd"), (4, Ok(()))));
    }

    #[test]
    fn a_line_for_which_there_is_no_room_is_dropped_and_counted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let appender = appender();
        let lines = appender.open(&path).unwrap();
        let waiting = &appender.shared.waiting;
        waiting.lines.fetch_add(QUEUE, Ordering::Relaxed);
        lines.append("dropped".to_owned());
        lines.append("dropped".to_owned());
        assert_eq!(appender.shared.dropped.load(Ordering::Relaxed), 2);
        waiting.lines.fetch_sub(QUEUE, Ordering::Relaxed);
        lines.append("kept".to_owned());
        appender.finish();
        assert_eq!(fs::read_to_string(&path).unwrap(), "kept\n");
        // It was said.
        assert_eq!(appender.shared.dropped.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_file_that_nobody_writes_to_any_more_is_closed_and_not_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let [used, left] = ["used", "left"].map(|name| folder.path().join(name));
        let appender = appender();
        let lines = appender.open(&used).unwrap();
        let last = appender.open(&left).unwrap();
        let same = appender.open(&left).unwrap();
        last.append("one".to_owned());
        drop(last);
        same.append("two".to_owned());
        drop(same);
        assert_eq!(lock(&appender.shared.files).len(), 1);
        let again = appender.open(&left).unwrap();
        again.append("three".to_owned());
        drop(again);
        fs::rename(&used, folder.path().join("moved")).unwrap();
        fs::rename(&left, folder.path().join("away")).unwrap();
        appender.reopen();
        lines.append("four".to_owned());
        appender.finish();
        assert_eq!(fs::read_to_string(&used).unwrap(), "four\n");
        assert!(!left.exists());
        let away = fs::read_to_string(folder.path().join("away")).unwrap();
        assert_eq!(away, "one\ntwo\nthree\n");
    }

    #[test]
    fn a_line_that_was_cut_has_an_end_of_its_own_in_the_same_file_only() {
        let folder = tempfile::tempdir().unwrap();
        let (path, moved) = (folder.path().join("log"), folder.path().join("moved"));
        let name = Arc::new(path.clone());
        let mut writing = Writing {
            reporter: appender().shared.reporter.clone(),
            waiting: Arc::default(),
            dropped: Arc::default(),
            files: HashMap::new(),
        };
        let opens = || Order::Open(Arc::clone(&name), open(&path).unwrap());
        let cut = |writing: &mut Writing| {
            let out = writing.files.get_mut(&name).unwrap();
            (&out.file).write_all(b"cut").unwrap();
            out.broken = true;
        };
        let line = |writing: &mut Writing| {
            let line = "whole".to_owned();
            writing.waiting.add(line.len());
            writing.obey(Order::Line(Arc::clone(&name), line));
            let out = writing.files.get_mut(&name).unwrap();
            out.write(&path, &writing.reporter);
        };
        writing.obey(opens());
        cut(&mut writing);
        writing.obey(opens());
        line(&mut writing);
        assert_eq!(fs::read_to_string(&path).unwrap(), "cut\nwhole\n");
        cut(&mut writing);
        fs::rename(&path, &moved).unwrap();
        writing.obey(opens());
        line(&mut writing);
        assert_eq!(fs::read_to_string(&path).unwrap(), "whole\n");
    }
}
