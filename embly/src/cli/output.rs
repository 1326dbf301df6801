//! What a command was asked for, on stdout: a table for people, or a JSON object a line. None of it
//! is dropped, however slow its reader is.

use std::io::{self, IsTerminal as _, Write};
use std::ops::Range;

use serde::Serialize;

use super::Exit;
use crate::report::{Reporter, columns_of, fit};

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
    /// The last column has what room there is.
    cuts: bool,
}

impl Table {
    /// With a line above.
    pub fn new(titles: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let titles = titles.into_iter().map(Into::into);
        Self {
            rows: vec![titles.collect()],
            cuts: false,
        }
    }

    /// Cuts the last column where a terminal has no room for all of it.
    pub fn cuts_the_last(mut self) -> Self {
        self.cuts = true;
        self
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
        let lines = self.within(columns_of(io::stdout()));
        let mut out = io::BufWriter::new(io::stdout().lock());
        let written = lines.iter().map(|line| writeln!(out, "{line}"));
        let written = written.collect::<io::Result<()>>();
        done(written.and_then(|()| out.flush()), reporter)
    }

    /// The lines, the one above included; the columns that a terminal has no room for stand below, a
    /// little to the right.
    pub fn within(&self, room: Option<usize>) -> Vec<String> {
        let mut widths: Vec<usize> = Vec::new();
        for row in &self.rows {
            widths.resize(widths.len().max(row.len()), 0);
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let last = widths.len().saturating_sub(1);
        if let (Some(columns), Some((width, others))) = (room, widths.split_last_mut())
            && self.cuts
        {
            let before = parts(others, room).pop().unwrap_or_default();
            let indent = if before.start == 0 { 0 } else { GAP };
            let before: usize = others[before].iter().map(|width| width + GAP).sum();
            let beside = columns.saturating_sub(indent + before);
            let alone = columns.saturating_sub(GAP);
            *width = (*width).min(if beside < LEAST { alone } else { beside });
        }
        let parts = parts(&widths, room);
        let mut lines = Vec::new();
        for row in &self.rows {
            for part in &parts {
                let mut line = " ".repeat(if part.start == 0 { 0 } else { GAP });
                let cells = widths.iter().zip(row).enumerate();
                for (at, (width, cell)) in cells.take(part.end).skip(part.start) {
                    let cell = match at == last {
                        true => fit(cell, *width),
                        false => cell.into(),
                    };
                    line.push_str(&cell);
                    let missing = width + GAP - cell.chars().count();
                    line.extend(std::iter::repeat_n(' ', missing));
                }
                line.truncate(line.trim_end().len());
                if part.start == 0 || !line.is_empty() {
                    lines.push(line);
                }
            }
        }
        lines
    }
}

/// Between columns, and before those that stand below.
const GAP: usize = 2;

/// A column that is cut has a line of its own rather than less than this.
const LEAST: usize = 12;

/// Whether somebody looks at what is printed, who has not asked for all of it.
pub fn is_looked_at(reporter: &Reporter) -> bool {
    io::stdout().is_terminal() && !reporter.options().verbose
}

/// Which columns stand in a line; one that is wider than the terminal has a line of its own.
fn parts(widths: &[usize], room: Option<usize>) -> Vec<Range<usize>> {
    let Some(room) = room else {
        return std::iter::once(0..widths.len()).collect();
    };
    let mut parts: Vec<Range<usize>> = Vec::new();
    let mut used = 0;
    for (at, width) in widths.iter().enumerate() {
        match parts.last_mut() {
            Some(part) if used + GAP + width <= room => {
                part.end = at + 1;
                used += GAP + width;
            }
            last => {
                used = width + if last.is_some() { GAP } else { 0 };
                parts.push(at..at + 1);
            }
        }
    }
    parts
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_without_room_stand_below() {
        let mut table = Table::new(["NAME", "STATE", "PATH"]);
        table.row(["one", "serving", "/srv/one"]);
        table.row(["another", "-", ""]);
        let whole = [
            "NAME     STATE    PATH",
            "one      serving  /srv/one",
            "another  -",
        ];
        assert_eq!(table.within(None), whole);
        assert_eq!(table.within(Some(26)), whole);
        let narrow = [
            "NAME     STATE",
            "  PATH",
            "one      serving",
            "  /srv/one",
            "another  -",
        ];
        assert_eq!(table.within(Some(25)), narrow);
        let least = [
            "NAME",
            "  STATE",
            "  PATH",
            "one",
            "  serving",
            "  /srv/one",
            "another",
            "  -",
        ];
        assert_eq!(table.within(Some(1)), least);
    }

    #[test]
    fn a_last_column_is_cut_to_the_room_that_there_is() {
        let mut table = Table::new(["NAME", "ASKED"]).cuts_the_last();
        table.row(["one", "GET /a/long/path"]);
        assert_eq!(table.within(None)[1], "one   GET /a/long/path");
        assert_eq!(table.within(Some(19))[1], "one   GET /a/long/…");
        let narrow = ["NAME", "  ASKED", "one", "  GET /a/long/pa…"];
        assert_eq!(table.within(Some(17)), narrow);
        // Beside what stands below, where that leaves enough.
        let mut table = Table::new(["NAME", "FUNCTION", "ASKED"]).cuts_the_last();
        table.row(["a-name-of-15-ch", "two", "GET /a/long/path"]);
        let below = ["a-name-of-15-ch", "  two       GET /a/long…"];
        assert_eq!(table.within(Some(24))[2..], below);
    }
}
