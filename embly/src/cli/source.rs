//! Where `embly run` has its project from: a folder, a bundle, or a version that was deployed.

use std::path::{Path, PathBuf};

use super::bundle::unpacked::{self, UnpackError, Unpacked};
use super::bundle::{open, refused};
use super::context::{self, Need};
use super::{Exit, serve};
use crate::admin::Unchanged;
use crate::bundle::{ENDING, PROJECT, VerifyKey};
use crate::config::{Gateway, Problems, Project};
use crate::gateway::TransportError;
use crate::report::Reporter;
use crate::versions::Versions;

/// Where a project is from.
#[derive(Debug, Clone)]
pub enum Source {
    /// Its own folder, with this project file.
    Folder(PathBuf),
    /// A bundle, which must be signed with the key, if there is one.
    Bundle(PathBuf, Option<VerifyKey>),
    /// What was deployed, in the state folder.
    Version(Versions, u64),
}

/// A project that was read.
#[derive(Debug)]
pub struct Loaded {
    pub project: Project,
    /// Where it lies, if it was unpacked for this.
    unpacked: Option<Unpacked>,
}

impl Loaded {
    /// The checksum of the bundle that was unpacked for this.
    pub fn checksum(&self) -> Option<&str> {
        let unpacked = self.unpacked.as_ref()?;
        Some(&unpacked.about.checksum)
    }
}

/// Why none was read.
#[derive(Debug)]
pub enum LoadError {
    /// The project file has problems, which were shown.
    Problems(Box<Problems>),
    /// The bundle, or the version, cannot be used.
    Bundle(String),
    /// The cache folder cannot be used; that was said.
    Cache,
}

impl LoadError {
    /// Says it, and how the command ends.
    pub fn exit(self, reporter: &Reporter) -> Exit {
        match self {
            Self::Problems(_) => Exit::Usage,
            Self::Bundle(error) => {
                reporter.error(error);
                Exit::Failed
            }
            Self::Cache => Exit::Failed,
        }
    }

    /// For whoever has asked for it.
    pub fn unchanged(&self) -> Unchanged {
        match self {
            Self::Problems(problems) => serve::problems_of_the_file(problems),
            Self::Bundle(error) => serve::bad_bundle(error.clone()),
            Self::Cache => serve::bad_bundle("the cache folder cannot be used".to_owned()),
        }
    }
}

/// Whether this is a bundle, and no project.
pub fn is_bundle(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == ENDING) && !path.is_dir()
}

impl Source {
    /// What was typed: a bundle, or a folder of a project or anything below it.
    ///
    /// # Errors
    /// There is nothing; that was said.
    pub fn new(path: &Path, key: Option<VerifyKey>, reporter: &Reporter) -> Result<Self, Exit> {
        if is_bundle(path) {
            let path = path.canonicalize().map_err(|error| {
                reporter.error(format!("cannot read `{}`: {error}", path.display()));
                Exit::Usage
            })?;
            return Ok(Self::Bundle(path, key));
        }
        Ok(Self::Folder(context::find(path, reporter)?))
    }

    /// What people know it by.
    pub fn shown(&self) -> String {
        match self {
            Self::Folder(file) => format!("project {}", context::shown(file)),
            Self::Bundle(file, _) => format!("bundle {}", context::shown(file)),
            Self::Version(_, number) => format!("version {number}, which was deployed"),
        }
    }

    /// Reads it, as it is now, in this one of its environments.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub fn load(
        &self,
        state: &Path,
        environment: Option<&str>,
        reporter: &Reporter,
    ) -> Result<Loaded, LoadError> {
        let need = Need::Secrets(Some(state));
        let right = |project: Result<Project, Box<Problems>>| {
            let project = project.map_err(LoadError::Problems)?;
            let why = unpacked::contained(&project).err();
            let why = why.or_else(|| only_for_dev(&project).map(|error| error.to_string()));
            match why {
                Some(why) => Err(LoadError::Bundle(format!(
                    "cannot use {}: {why}",
                    self.shown()
                ))),
                None => Ok(project),
            }
        };
        match self {
            Self::Folder(file) => {
                let project = context::read(file, environment, false, need, reporter);
                Ok(Loaded {
                    project: project.map_err(LoadError::Problems)?,
                    unpacked: None,
                })
            }
            Self::Bundle(path, key) => {
                let cache = context::cache(reporter).map_err(|_| LoadError::Cache)?;
                let file = open(path).map_err(|error| {
                    LoadError::Bundle(format!("cannot read `{}`: {error}", path.display()))
                })?;
                let unpacked = Unpacked::new(file, &cache, key.as_ref());
                let unpacked = unpacked.map_err(|error| {
                    LoadError::Bundle(match error {
                        UnpackError::Bundle(error) => refused(path, &error),
                        error @ UnpackError::Place { .. } => error.to_string(),
                    })
                })?;
                let file = unpacked.project().join(PROJECT);
                let project = context::read_unpacked(&file, path, environment, need, reporter);
                Ok(Loaded {
                    project: right(project)?,
                    unpacked: Some(unpacked),
                })
            }
            Self::Version(versions, number) => {
                let file = versions.project(*number).join(PROJECT);
                let project = context::read(&file, environment, false, need, reporter);
                Ok(Loaded {
                    project: right(project)?,
                    unpacked: None,
                })
            }
        }
    }
}

/// Which gateway has a certificate that nobody else trusts, if any has.
pub fn only_for_dev(project: &Project) -> Option<TransportError> {
    let dev = |gateway: &&Gateway| gateway.tls.as_ref().is_some_and(|tls| tls.dev);
    let Gateway { name, .. } = project.gateways.iter().find(dev)?;
    let gateway = name.clone();
    Some(TransportError::OnlyDev { gateway })
}
