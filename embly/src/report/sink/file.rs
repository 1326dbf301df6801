//! A file that is moved away when it is full.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::super::appender;
use super::{Line, Rotate};

/// So many bytes are collected before they are written.
const BUFFER: usize = 64 * 1024;

pub struct File {
    path: PathBuf,
    rotate: Option<Rotate>,
    file: fs::File,
    /// Bytes that the file has, or will have with what is collected.
    size: u64,
    text: Vec<u8>,
    /// A write has failed in the middle of a line.
    broken: bool,
}

impl File {
    pub fn open(path: &Path, rotate: Option<Rotate>) -> io::Result<Self> {
        let file = appender::open(path)?;
        Ok(Self {
            path: path.to_owned(),
            rotate,
            size: file.metadata()?.len(),
            file,
            text: Vec::new(),
            broken: false,
        })
    }

    /// Moves the file away, and those that were before it: `NAME.1` is the last of them.
    fn move_away(&mut self, keep: u32) -> io::Result<()> {
        let numbered = |number: u32| {
            let mut name = self.path.as_os_str().to_owned();
            name.push(format!(".{number}"));
            PathBuf::from(name)
        };
        for number in (1..keep).rev() {
            match fs::rename(numbered(number), numbered(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        match fs::rename(&self.path, numbered(1)) {
            // Somebody else has moved it.
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn write_out(&mut self) -> io::Result<()> {
        if self.text.is_empty() {
            return Ok(());
        }
        if self.broken {
            self.file.write_all(b"\n")?;
            self.size += 1;
            self.broken = false;
        }
        let (bytes, written) = appender::append(&mut self.file, &self.text);
        if written.is_ok() {
            self.text.clear();
            return Ok(());
        }
        // Whole lines are there; the rest of one that was cut is written anew, as a line of its own.
        let whole = self.text[..bytes].iter().rposition(|byte| *byte == b'\n');
        let whole = whole.map_or(0, |end| end + 1);
        self.broken = bytes > whole;
        self.size += (bytes - whole) as u64;
        self.text.drain(..whole);
        written
    }
}

impl super::Write for File {
    fn write(&mut self, line: &Line) -> io::Result<()> {
        // What is left from before comes first; where that fails this line is not taken.
        if self.text.len() >= BUFFER {
            self.write_out()?;
        }
        let bytes = line.text.len() as u64;
        if let Some(Rotate { size, keep }) = self.rotate
            && self.size > 0
            && self.size + bytes > size
        {
            self.write_out()?;
            self.move_away(keep)?;
            self.reopen_empty()?;
        }
        self.text.extend_from_slice(line.text.as_bytes());
        self.size += bytes;
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.write_out()
    }

    fn reopen(&mut self) -> io::Result<()> {
        // What cannot be written to the old one goes to the new one.
        let _ = self.write_out();
        let file = appender::open(&self.path)?;
        self.broken &= appender::same(&self.file, &file);
        self.size = file.metadata()?.len() + self.text.len() as u64;
        self.file = file;
        Ok(())
    }
}

impl File {
    fn reopen_empty(&mut self) -> io::Result<()> {
        super::Write::reopen(self)
    }
}
