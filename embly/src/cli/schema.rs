//! `embly schema`: the project file as a JSON Schema.

use std::io::{self, Write};

use super::{Exit, output};
use crate::config;
use crate::report::Reporter;

/// Prints it.
pub fn run(reporter: &Reporter) -> Exit {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let schema = config::json_schema();
    let written = serde_json::to_writer_pretty(&mut out, &schema).map_err(io::Error::from);
    let written = written
        .and_then(|()| out.write_all(b"\n"))
        .and_then(|()| out.flush());
    output::done(written, reporter).err().unwrap_or(Exit::Done)
}
