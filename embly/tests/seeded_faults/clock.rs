//! A wall clock that can be set, for the master alone: a library that is loaded before all others
//! answers what time it is, and reads from a file by how much it is wrong.
//!
//! Embly has no seam for that, and needs none: it asks the C library, as everybody does. Clocks that
//! only count on are left alone.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use crate::support::{program, skipped};

const SOURCE: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile long long *wrong;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("TEST_CLOCK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *map = mmap(0, 8, PROT_READ, MAP_SHARED, file, 0);
    if (map != MAP_FAILED) wrong = map;
    close(file);
}

int clock_gettime(clockid_t id, struct timespec *time) {
    int result = (int)syscall(SYS_clock_gettime, id, time);
    if (result == 0 && wrong && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
        time->tv_sec += *wrong;
    return result;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
    struct timespec now;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &now)) return -1;
    time->tv_sec = now.tv_sec;
    time->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *to) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (to) *to = now.tv_sec;
    return now.tv_sec;
}
"#;

/// A clock of one run.
pub struct Shim {
    folder: tempfile::TempDir,
    library: PathBuf,
}

impl Shim {
    /// `None` where there is no compiler for it.
    pub fn new() -> Option<Self> {
        let library = library()?;
        let folder = tempfile::tempdir().unwrap();
        crate::support::user::open(folder.path());
        let shim = Self { folder, library };
        shim.set(0);
        Some(shim)
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("clock")
    }

    /// So many seconds from the right time, from now on.
    pub fn set(&self, seconds: i64) {
        use std::io::Write;
        // In place: the file is mapped.
        let file = fs::File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(self.file());
        file.unwrap().write_all(&seconds.to_ne_bytes()).unwrap();
    }

    /// Has a command see this clock.
    pub fn show(&self, command: &mut Command) {
        command
            .env("LD_PRELOAD", &self.library)
            .env("TEST_CLOCK", self.file());
    }
}

/// The library, built once; everybody may read it.
fn library() -> Option<PathBuf> {
    static LIBRARY: OnceLock<Option<(tempfile::TempDir, PathBuf)>> = OnceLock::new();
    let built = LIBRARY.get_or_init(|| {
        let cc = program("cc")?;
        let folder = tempfile::tempdir().unwrap();
        crate::support::user::open(folder.path());
        let (source, library) = (
            folder.path().join("clock.c"),
            folder.path().join("clock.so"),
        );
        fs::write(&source, SOURCE).unwrap();
        let mut command = Command::new(cc);
        command
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(&library)
            .arg(&source);
        let done = command.output().unwrap();
        if !done.status.success() {
            skipped("a C compiler that makes libraries");
            return None;
        }
        Some((folder, library))
    });
    built.as_ref().map(|(_, library)| library.clone())
}
