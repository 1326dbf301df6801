//! Files below a folder, as the HTTP library reads them. What the kernel has in its cache is taken at
//! once; only what it has not is read on another thread, so that a slow disk holds nobody else.

use std::future::ready;
use std::io::{self, SeekFrom};
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready as must};
use std::time::{Duration, SystemTime};

use bytes::{Buf, Bytes};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, Stat, fstat, openat2};
use rustix::io::{Errno, ReadWriteFlags, pread, preadv2};
use tokio::io::{AsyncRead, AsyncSeek, ReadBuf};
use tokio::task::{JoinHandle, spawn_blocking};
use tower_http::services::fs::{Backend, File, Metadata};

/// The one folder with a dot in front of its name that is served (RFC 8615).
const WELL_KNOWN: &str = ".well-known";

/// Bytes that are read at once on another thread.
const BLOCK: usize = 64 * 1024;

/// A folder. Nothing outside of it is reached, whatever links lie in it.
#[derive(Debug, Clone)]
pub struct Disk {
    root: Arc<OwnedFd>,
    /// What was looked at last, open: who asks about a file mostly opens it next.
    looked: Arc<Mutex<Option<(PathBuf, Open)>>>,
}

impl Disk {
    /// Opens the folder.
    ///
    /// # Errors
    /// That of the system.
    pub fn open(root: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(root, flags, Mode::empty())?;
        Ok(Self {
            root: Arc::new(root),
            looked: Arc::default(),
        })
    }

    /// A request begins: what was open for others is not for it, and may be of an older version.
    pub fn forget(&self) {
        drop(self.last(|last| last.take()));
    }

    fn last<T>(&self, with: impl FnOnce(&mut Option<(PathBuf, Open)>) -> T) -> T {
        // Nothing panics in here.
        with(&mut self.looked.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A file or folder in it. `cached`: only what needs no disk; `WouldBlock` otherwise.
    fn resolve(&self, path: &Path, cached: bool) -> io::Result<Open> {
        let mut resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        if cached {
            resolve |= ResolveFlags::CACHED;
        }
        // A pipe must not make us wait for its writer.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = match openat2(&*self.root, path, flags, Mode::empty(), resolve) {
            Ok(file) => file,
            // Old kernels do not know `CACHED`.
            Err(Errno::INVAL) if cached => return Err(io::ErrorKind::WouldBlock.into()),
            // Links that lead outside, or nowhere.
            Err(Errno::XDEV | Errno::LOOP | Errno::NXIO) => {
                return Err(io::ErrorKind::NotFound.into());
            }
            Err(error) => return Err(error.into()),
        };
        let about = About::of(&fstat(&file)?);
        if about.kind != FileType::RegularFile && about.kind != FileType::Directory {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(Open {
            file: Arc::new(file),
            about,
            at: 0,
            reading: None,
            read: Bytes::new(),
        })
    }

    fn look_up(&self, path: &Path) -> Pin<Box<dyn Future<Output = io::Result<Open>> + Send>> {
        let Some(path) = shown(path) else {
            return Box::pin(ready(Err(io::ErrorKind::NotFound.into())));
        };
        match self.resolve(&path, true) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            found => return Box::pin(ready(found)),
        }
        let this = self.clone();
        Box::pin(async move {
            let found = spawn_blocking(move || this.resolve(&path, false)).await;
            found.unwrap_or_else(|error| Err(io::Error::other(error)))
        })
    }
}

/// The path, if it is one that is served: relative, and nothing in it is hidden.
fn shown(path: &Path) -> Option<PathBuf> {
    let mut shown = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => {
                let name = name.to_str()?;
                if name.starts_with('.') && name != WELL_KNOWN {
                    return None;
                }
                shown.push(name);
            }
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    if shown.as_os_str().is_empty() {
        shown.push(".");
    }
    Some(shown)
}

/// What is known of a file.
#[derive(Debug, Clone, Copy)]
pub struct About {
    kind: FileType,
    length: u64,
    modified: Option<SystemTime>,
}

impl About {
    fn of(stat: &Stat) -> Self {
        let seconds = u64::try_from(stat.st_mtime).ok();
        let nanos = u32::try_from(stat.st_mtime_nsec).unwrap_or(0);
        Self {
            kind: FileType::from_raw_mode(stat.st_mode),
            length: u64::try_from(stat.st_size).unwrap_or(0),
            // Before 1970 there is no time that HTTP could say.
            modified: seconds.and_then(|seconds| {
                SystemTime::UNIX_EPOCH.checked_add(Duration::new(seconds, nanos))
            }),
        }
    }
}

impl Metadata for About {
    fn is_dir(&self) -> bool {
        self.kind == FileType::Directory
    }

    fn modified(&self) -> io::Result<SystemTime> {
        self.modified
            .ok_or_else(|| io::ErrorKind::Unsupported.into())
    }

    fn len(&self) -> u64 {
        self.length
    }
}

/// An open file.
#[derive(Debug)]
pub struct Open {
    file: Arc<OwnedFd>,
    about: About,
    at: u64,
    /// A block that another thread reads.
    reading: Option<JoinHandle<io::Result<Bytes>>>,
    /// What it has read.
    read: Bytes,
}

impl Open {
    fn take(&mut self, buffer: &mut ReadBuf<'_>) {
        let bytes = self.read.len().min(buffer.remaining());
        buffer.put_slice(&self.read[..bytes]);
        self.read.advance(bytes);
        self.at += bytes as u64;
    }
}

impl AsyncRead for Open {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(reading) = &mut self.reading {
            let read = must!(Pin::new(reading).poll(context));
            self.reading = None;
            self.read = read.unwrap_or_else(|error| Err(io::Error::other(error)))?;
            self.take(buffer);
            return Poll::Ready(Ok(()));
        }
        if !self.read.is_empty() {
            self.take(buffer);
            return Poll::Ready(Ok(()));
        }
        // No more is made ready than there is to read; one byte more shows a file that has grown.
        let rest = self.about.length.saturating_sub(self.at).saturating_add(1);
        let rest = usize::try_from(rest).unwrap_or(usize::MAX);
        let room = buffer.initialize_unfilled_to(rest.min(buffer.remaining()));
        let slices = &mut [io::IoSliceMut::new(room)];
        match preadv2(&self.file, slices, self.at, ReadWriteFlags::NOWAIT) {
            Ok(bytes) => {
                buffer.advance(bytes);
                self.at += bytes as u64;
                Poll::Ready(Ok(()))
            }
            // Not in the cache; or a file system that cannot tell.
            Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS) => {
                let (file, at) = (Arc::clone(&self.file), self.at);
                self.reading = Some(spawn_blocking(move || {
                    let mut block = vec![0; BLOCK];
                    let bytes = pread(&file, &mut block, at)?;
                    block.truncate(bytes);
                    Ok(block.into())
                }));
                self.poll_read(context, buffer)
            }
            Err(error) => Poll::Ready(Err(error.into())),
        }
    }
}

impl AsyncSeek for Open {
    fn start_seek(mut self: Pin<&mut Self>, to: SeekFrom) -> io::Result<()> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.about.length.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        (self.reading, self.read) = (None, Bytes::new());
        Ok(())
    }

    fn poll_complete(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<u64>> {
        Poll::Ready(Ok(self.at))
    }
}

impl File for Open {
    type Metadata = About;
    type MetadataFuture<'a> = std::future::Ready<io::Result<About>>;

    fn metadata(&self) -> Self::MetadataFuture<'_> {
        ready(Ok(self.about))
    }
}

impl Backend for Disk {
    type File = Open;
    type Metadata = About;
    type OpenFuture = Pin<Box<dyn Future<Output = io::Result<Open>> + Send>>;
    type MetadataFuture = Pin<Box<dyn Future<Output = io::Result<About>> + Send>>;

    fn open(&self, path: PathBuf) -> Self::OpenFuture {
        match self.last(|last| last.take_if(|(looked, _)| *looked == path)) {
            Some((_, open)) => Box::pin(ready(Ok(open))),
            None => self.look_up(&path),
        }
    }

    fn metadata(&self, path: PathBuf) -> Self::MetadataFuture {
        let found = self.look_up(&path);
        let this = self.clone();
        Box::pin(async move {
            let open = found.await?;
            let about = open.about;
            drop(this.last(|last| last.replace((path, open))));
            Ok(about)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use tokio::io::{AsyncReadExt, AsyncSeekExt};

    use super::*;

    #[tokio::test]
    async fn what_lies_below_the_folder_is_found_and_nothing_else() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("public");
        fs::create_dir_all(root.join("a/.git")).unwrap();
        fs::create_dir_all(root.join(".well-known")).unwrap();
        for name in [
            "a/page",
            "a/.git/config",
            ".env",
            ".well-known/x",
            "../secret",
        ] {
            fs::write(root.join(name), name).unwrap();
        }
        symlink("a/page", root.join("inside")).unwrap();
        symlink("../secret", root.join("outside")).unwrap();
        symlink(place.path().join("secret"), root.join("absolute")).unwrap();
        symlink("..", root.join("up")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        symlink("/proc/self/root", root.join("magic")).unwrap();
        let pipe = rustix::fs::mknodat(
            rustix::fs::CWD,
            root.join("pipe"),
            FileType::Fifo,
            Mode::RWXU,
            0,
        );
        pipe.unwrap();
        let disk = Disk::open(&root).unwrap();
        for path in ["a/page", "/a/page", "inside", ".well-known/x", "a", "."] {
            assert!(disk.open(path.into()).await.is_ok(), "{path}");
        }
        for path in [
            "a/.git/config",
            ".env",
            "outside",
            "absolute",
            "up/secret",
            "../secret",
            "loop",
            "magic",
            "pipe",
            "none",
        ] {
            let error = disk.open(path.into()).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::NotFound, "{path}");
        }
    }

    #[tokio::test]
    async fn a_file_that_was_looked_at_is_opened_once_and_not_kept_for_the_next_request() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("page");
        let read = async |disk: &Disk| {
            let mut text = String::new();
            let mut file = disk.open("page".into()).await.unwrap();
            file.read_to_string(&mut text).await.unwrap();
            text
        };
        let replace = |text: &str| {
            fs::write(place.path().join("new"), text).unwrap();
            fs::rename(place.path().join("new"), &path).unwrap();
        };
        replace("old");
        let disk = Disk::open(place.path()).unwrap();
        assert_eq!(disk.metadata("page".into()).await.unwrap().len(), 3);
        replace("newer");
        // What its head was made of.
        assert_eq!(read(&disk).await, "old");
        assert_eq!(read(&disk).await, "newer");
        disk.metadata("page".into()).await.unwrap();
        replace("newest");
        disk.forget();
        assert_eq!(read(&disk).await, "newest");
    }

    #[tokio::test]
    async fn a_file_is_read_whole_whether_it_is_in_the_cache_or_not() {
        let place = tempfile::tempdir().unwrap();
        let bytes: Vec<u8> = (0..300_000_u32).map(|n| n as u8).collect();
        fs::write(place.path().join("big"), &bytes).unwrap();
        let disk = Disk::open(place.path()).unwrap();
        for by_thread in [false, true] {
            let mut file = disk.open("big".into()).await.unwrap();
            file.seek(SeekFrom::Start(10)).await.unwrap();
            if by_thread {
                let block = Bytes::copy_from_slice(&bytes[10..100]);
                file.reading = Some(spawn_blocking(move || Ok(block)));
            }
            let mut read = Vec::new();
            file.read_to_end(&mut read).await.unwrap();
            assert!(read == bytes[10..]);
        }
    }
}
