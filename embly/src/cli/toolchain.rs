//! `embly toolchain install`: what is needed to compile functions.

use std::path::Path;

use super::{Exit, context};
use crate::build::Cancel;
use crate::build::toolchain::{TARGET, ensure};
use crate::report::Reporter;

/// Installs what is missing.
pub fn install(reporter: &Reporter) -> Exit {
    let cache = match context::cache(reporter) {
        Ok(cache) => cache,
        Err(exit) => return exit,
    };
    let mut say = |line: &str| reporter.info(line);
    match ensure(Path::new("."), &cache, true, &Cancel::new(), &mut say) {
        Ok(toolchain) => {
            let place = match &toolchain.sysroot {
                Some(sysroot) => format!("in `{}`", sysroot.display()),
                None => "beside rustc".to_owned(),
            };
            reporter.info(format!(
                "`{TARGET}` for rustc {} is {place}",
                toolchain.rustc_version
            ));
            Exit::Done
        }
        Err(error) => {
            reporter.error(error.to_string());
            Exit::Failed
        }
    }
}
