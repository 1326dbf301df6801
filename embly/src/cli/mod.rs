//! The command line.

use std::process::ExitCode;

/// Runs a command.
pub fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let options = crate::report::Options { format: if args.iter().any(|a| a=="--json") {crate::report::Format::Json} else {Default::default()}, color: crate::report::Options::terminal_color(false), verbose: true, quiet: false };
    let reporter = crate::report::Reporter::new(options).expect("x");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("x");
    runtime.block_on(async {
        let env = crate::config::Environment::of_process();
        let project = match crate::config::load(std::path::Path::new(&args[1]), &env) { Ok(p) => p, Err(e) => { eprintln!("{}", e.render(true, Some(80))); return } };
        let cache = std::path::PathBuf::from("/tmp/embly-cache-test");
        let mut artefacts = std::collections::HashMap::new();
        for f in &project.functions {
            match embly_wrapper::compile::compile(&f.path, &cache, &f.entry) {
                Ok(c) => { reporter.info(format!("{:?}", c)); artefacts.insert(f.name.clone(), c.artefact); }
                Err(e) => reporter.error(format!("{e}")),
            }
        }
        let master = crate::master::Master::start(reporter.clone(), Default::default(), true).expect("x");
        if let Err(e) = master.serve(&project, &artefacts).await { reporter.error(format!("{e}")); return }
        tokio::signal::ctrl_c().await.ok();
        master.stop(async { tokio::signal::ctrl_c().await.ok(); }).await;
    });
    reporter.finish();
    ExitCode::SUCCESS
}
