//! Native code from a file.

use std::fs::File;

use wasmtime::{Engine, Module};

/// Maps the artefact in `file`.
///
/// The caller has checked that the file is one that this program wrote: owner, mode
/// and checksum, on this very descriptor (`artefact::open`).
///
/// # Errors
/// When the file is not an artefact of this engine with this configuration.
pub fn load(engine: &Engine, file: File) -> wasmtime::Result<Module> {
    // SAFETY: the file was made by `Module::serialize` in this executable, is read-only in
    // a folder that only this user can write, and its checksum was verified by the caller.
    unsafe { Module::deserialize_open_file(engine, file) }
}
