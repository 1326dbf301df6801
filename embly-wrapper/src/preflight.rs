//! Whether a module can run here at all, said before anything is started.

use wasmtime::{Engine, ExternType, Module, UnknownImportError};

use crate::link;

/// Everything that keeps this module from running, each with what to do about it. Empty: it
/// can run.
///
/// # Errors
/// When the engine itself fails.
pub fn problems(engine: &Engine, module: &Module, entry: &str) -> wasmtime::Result<Vec<String>> {
    let mut linker = link::linker(engine)?;
    let mut found = Vec::new();
    while let Err(error) = linker.instantiate_pre(module) {
        let Some(unknown) = error.downcast_ref::<UnknownImportError>() else {
            found.push(format!("{:#}", error.root_cause()));
            break;
        };
        let (from, name) = (unknown.module(), unknown.name());
        found.push(format!(
            "imports `{from}::{name}`, which Embly does not offer{}",
            hint(from)
        ));
        // Stand in for it, to find the next one.
        let ExternType::Func(ty) = unknown.ty() else {
            break;
        };
        linker.func_new(from, name, ty, |_, _, _| wasmtime::bail!("never called"))?;
    }
    match module.get_export(entry) {
        Some(ExternType::Func(ty)) if ty.params().len() == 0 && ty.results().len() == 0 => {}
        Some(ExternType::Func(_)) => {
            found.push(format!("its export `{entry}` must take and return nothing"));
        }
        Some(_) => found.push(format!("its export `{entry}` is not a function")),
        None => found.push(format!("exports no function `{entry}`{}", exports(module))),
    }
    Ok(found)
}

fn exports(module: &Module) -> String {
    let names: Vec<String> = module
        .exports()
        .filter(|export| matches!(export.ty(), ExternType::Func(_)))
        .map(|export| format!("`{}`", export.name()))
        .take(10)
        .collect();
    if names.is_empty() {
        "; a Rust function is a program with a `main`, not a library".to_owned()
    } else {
        format!(
            "; name another with `entry:`, it exports {}",
            names.join(", ")
        )
    }
}

fn hint(module: &str) -> &'static str {
    match module {
        "wasi_unstable" => "; this is the first draft of WASI, build for `wasm32-wasip1`",
        "env" => "; something was left undefined when linking",
        "embly" | "wasi_snapshot_preview1" => "; was it built for a newer Embly?",
        name if name.starts_with("wasi:") => "; this is WASI preview 2, build for `wasm32-wasip1`",
        name if name.contains("wbindgen") => "; this was made for browsers, leave out wasm-bindgen",
        _ => "",
    }
}
