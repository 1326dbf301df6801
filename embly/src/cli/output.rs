//! What a command was asked for, on stdout: a table for people, or a JSON object a line. None of it
//! is dropped, however slow its reader is.

use std::io::{self, Write};

use serde::Serialize;

use super::Exit;
use crate::report::Reporter;

/// Prints objects, one a line.
///
/// # Errors
/// It cannot be written; that was said.
pub fn json(
    objects: impl Iterator<Item = impl Serialize>,
    reporter: &Reporter,
) -> Result<(), Exit> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let written = objects.map(|object| {
        serde_json::to_writer(&mut out, &object)?;
        out.write_all(b"\n")
    });
    let written = written.collect::<io::Result<()>>();
    done(written.and_then(|()| out.flush()), reporter)
}

/// Columns as wide as what is in them.
#[derive(Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// With a line above.
    pub fn new(titles: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let titles = titles.into_iter().map(Into::into);
        Self {
            rows: vec![titles.collect()],
        }
    }

    /// Adds a line.
    pub fn row(&mut self, cells: impl IntoIterator<Item = impl Into<String>>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// Whether there is only the line above.
    pub fn is_empty(&self) -> bool {
        self.rows.len() < 2
    }

    /// Prints it, unless it is empty.
    ///
    /// # Errors
    /// It cannot be written; that was said.
    pub fn print(&self, reporter: &Reporter) -> Result<(), Exit> {
        if self.is_empty() {
            return Ok(());
        }
        let mut out = io::BufWriter::new(io::stdout().lock());
        let lines = self.lines().into_iter();
        let written = lines.map(|line| writeln!(out, "{line}"));
        let written = written.collect::<io::Result<()>>();
        done(written.and_then(|()| out.flush()), reporter)
    }

    /// The lines, the one above included.
    pub fn lines(&self) -> Vec<String> {
        let mut widths: Vec<usize> = Vec::new();
        for row in &self.rows {
            widths.resize(widths.len().max(row.len()), 0);
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let lines = self.rows.iter().map(|row| {
            let mut line = String::new();
            for (width, cell) in widths.iter().zip(row) {
                line.push_str(cell);
                let missing = width + 2 - cell.chars().count();
                line.extend(std::iter::repeat_n(' ', missing));
            }
            line.truncate(line.trim_end().len());
            line
        });
        lines.collect()
    }
}

/// What comes of it: a reader that has gone has seen enough.
///
/// # Errors
/// It could not be written; that was said.
pub fn done(written: io::Result<()>, reporter: &Reporter) -> Result<(), Exit> {
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            reporter.error(format!("cannot write to stdout: {error}"));
            Err(Exit::Failed)
        }
        _ => Ok(()),
    }
}
