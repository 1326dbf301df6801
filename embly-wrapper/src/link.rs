//! The names that a module may import: module `embly`, and every name of
//! `wasi_snapshot_preview1`, most of which answer that they are not offered.

use protos::Errno;
use wasmtime::{Engine, FuncType, Linker, Val, ValType};

use crate::host::{Host, errno, log, names, spawn, stream, wasi};

/// Names of WASI that link but are not offered: name, parameters (`i` 32 bits, `I` 64 bits),
/// and the answer. Files answer EBADF, since there are none; everything else ENOSYS.
const NOT_OFFERED: &[(&str, &str, Errno)] = &[
    ("fd_advise", "iIIi", Errno::BADF),
    ("fd_allocate", "iII", Errno::BADF),
    ("fd_datasync", "i", Errno::BADF),
    ("fd_fdstat_set_flags", "ii", Errno::BADF),
    ("fd_fdstat_set_rights", "iII", Errno::BADF),
    ("fd_filestat_get", "ii", Errno::BADF),
    ("fd_filestat_set_size", "iI", Errno::BADF),
    ("fd_filestat_set_times", "iIIi", Errno::BADF),
    ("fd_pread", "iiiIi", Errno::BADF),
    ("fd_prestat_dir_name", "iii", Errno::BADF),
    ("fd_prestat_get", "ii", Errno::BADF),
    ("fd_pwrite", "iiiIi", Errno::BADF),
    ("fd_readdir", "iiiIi", Errno::BADF),
    ("fd_renumber", "ii", Errno::BADF),
    ("fd_sync", "i", Errno::BADF),
    ("fd_tell", "ii", Errno::BADF),
    ("path_create_directory", "iii", Errno::BADF),
    ("path_filestat_get", "iiiii", Errno::BADF),
    ("path_filestat_set_times", "iiiiIIi", Errno::BADF),
    ("path_link", "iiiiiii", Errno::BADF),
    ("path_open", "iiiiiIIii", Errno::BADF),
    ("path_readlink", "iiiiii", Errno::BADF),
    ("path_remove_directory", "iii", Errno::BADF),
    ("path_rename", "iiiiii", Errno::BADF),
    ("path_symlink", "iiiii", Errno::BADF),
    ("path_unlink_file", "iii", Errno::BADF),
    ("proc_raise", "i", Errno::NOSYS),
    ("sock_accept", "iii", Errno::NOSYS),
    ("sock_recv", "iiiiii", Errno::NOSYS),
    ("sock_send", "iiiii", Errno::NOSYS),
    ("sock_shutdown", "ii", Errno::NOSYS),
];

/// The module of Embly's own calls.
pub const EMBLY: &str = "embly";
/// The module of WASI's.
pub const WASI: &str = "wasi_snapshot_preview1";

/// Everything that can be imported.
///
/// # Errors
/// When two definitions share a name, which a test excludes.
pub fn linker(engine: &Engine) -> wasmtime::Result<Linker<Host>> {
    let mut linker = Linker::new(engine);
    linker
        .func_wrap(EMBLY, "_read", stream::read)?
        .func_wrap(EMBLY, "_write", stream::write)?
        .func_wrap(EMBLY, "_close", stream::close)?
        .func_wrap(
            EMBLY,
            "_events",
            |guest: crate::host::Guest<'_>, a, b, c, d, e, f| {
                stream::events(guest, (a, b, c, d, e, f))
            },
        )?
        .func_wrap(
            EMBLY,
            "_status",
            |guest: crate::host::Guest<'_>, a, b, c, d, e, f| {
                stream::status(guest, (a, b, c, d, e, f))
            },
        )?
        .func_wrap(EMBLY, "_spawn", spawn::spawn)?
        .func_wrap(EMBLY, "_spawn_with", spawn::spawn_with)?
        .func_wrap(EMBLY, "_kill", names::kill)?
        .func_wrap(EMBLY, "_register", names::register)?
        .func_wrap(EMBLY, "_unregister", names::unregister)?
        .func_wrap(EMBLY, "_lookup", names::lookup)?
        .func_wrap(EMBLY, "_monitor", names::monitor)?
        .func_wrap(EMBLY, "_log", log::log)?
        .func_wrap(WASI, "args_get", wasi::args_get)?
        .func_wrap(WASI, "args_sizes_get", wasi::args_sizes_get)?
        .func_wrap(WASI, "environ_get", wasi::environ_get)?
        .func_wrap(WASI, "environ_sizes_get", wasi::environ_sizes_get)?
        .func_wrap(WASI, "clock_res_get", wasi::clock_res_get)?
        .func_wrap(WASI, "clock_time_get", wasi::clock_time_get)?
        .func_wrap(WASI, "random_get", wasi::random_get)?
        .func_wrap(WASI, "sched_yield", wasi::sched_yield)?
        .func_wrap(WASI, "proc_exit", wasi::proc_exit)?
        .func_wrap(WASI, "poll_oneoff", wasi::poll_oneoff)?
        .func_wrap(WASI, "fd_write", wasi::fd_write)?
        .func_wrap(WASI, "fd_read", wasi::fd_read)?
        .func_wrap(WASI, "fd_close", wasi::fd_close)?
        .func_wrap(WASI, "fd_seek", wasi::fd_seek)?
        .func_wrap(WASI, "fd_fdstat_get", wasi::fd_fdstat_get)?;
    for (name, parameters, answer) in NOT_OFFERED {
        let parameters = parameters
            .chars()
            .map(|c| if c == 'I' { ValType::I64 } else { ValType::I32 });
        let ty = FuncType::new(engine, parameters, [ValType::I32]);
        let answer = errno(Err(*answer));
        linker.func_new(WASI, name, ty, move |_, _, results| {
            results[0] = Val::I32(answer);
            Ok(())
        })?;
    }
    Ok(linker)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_wasi_preview_1_links() {
        let engine = crate::engine::engine().unwrap();
        let linker = linker(&engine).unwrap();
        let mut store = wasmtime::Store::new(&engine, Host::default());
        // 46 names in wasi_snapshot_preview1.witx, fd_read and sock_accept among them.
        let names = linker
            .iter(&mut store)
            .filter(|(module, ..)| *module == WASI)
            .count();
        assert_eq!(names, 46);
    }
}
