//! What `cargo metadata` says about a crate and its workspace.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::RustError;
use crate::build::Cancel;
use crate::build::process::{self, RunError};
use crate::build::toolchain::Toolchain;

/// cargo only reads manifests for this.
const LIMIT: Duration = Duration::from_secs(60);

/// A cargo workspace; a crate outside one is its own.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Metadata {
    pub(super) packages: Vec<Package>,
    pub(super) workspace_root: PathBuf,
}

/// A crate of the workspace.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Package {
    pub(super) name: String,
    /// Also what `--package` takes.
    pub(super) id: String,
    pub(super) manifest_path: PathBuf,
    pub(super) targets: Vec<Target>,
    pub(super) default_run: Option<String>,
    pub(super) dependencies: Vec<Dependency>,
}

/// Something that cargo makes from a crate.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Target {
    pub(super) name: String,
    pub(super) kind: Vec<String>,
}

/// A crate that another one names.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Dependency {
    /// `dev` or `build`.
    pub(super) kind: Option<String>,
    /// Its folder, if it is given by one.
    pub(super) path: Option<PathBuf>,
}

impl Metadata {
    /// Asks cargo about the workspace of the crate in `folder`, without looking at any registry.
    pub(super) fn read(
        toolchain: &Toolchain,
        folder: &Path,
        cancel: &Cancel,
    ) -> Result<Self, RustError> {
        let mut cargo = toolchain.cargo_command();
        cargo.args([
            "metadata",
            "--no-deps",
            "--format-version",
            "1",
            "--color",
            "never",
            "--manifest-path",
        ]);
        cargo.arg(folder.join("Cargo.toml")).current_dir(folder);
        match process::capture(&mut cargo, LIMIT, cancel) {
            Ok(done) if done.status.success() => Self::parse(&done.stdout),
            Ok(done) => Err(RustError::Manifest(done.tail())),
            Err(RunError::NotFound) => Err(RustError::NoCargo),
            Err(RunError::Cancelled) => Err(RustError::Cancelled),
            Err(error) => Err(RustError::Cargo(error.to_string())),
        }
    }

    pub(super) fn parse(json: &[u8]) -> Result<Self, RustError> {
        serde_json::from_slice(json)
            .map_err(|error| RustError::Cargo(format!("gave unknown metadata: {error}")))
    }

    /// The crate in `folder`, an absolute path without links.
    pub(super) fn package_in(&self, folder: &Path) -> Option<&Package> {
        self.packages
            .iter()
            .find(|package| package.folder() == folder)
    }
}

impl Package {
    /// Where its `Cargo.toml` lies, without links.
    pub(super) fn folder(&self) -> PathBuf {
        let folder = self.manifest_path.parent().unwrap_or(Path::new("/"));
        folder.canonicalize().unwrap_or_else(|_| folder.to_owned())
    }
}

impl Target {
    pub(super) fn is(&self, kind: &str) -> bool {
        self.kind.iter().any(|one| one == kind)
    }
}
