//! `embly bundle` and `embly unbundle`: a project to one file, and back to a folder.

mod collect;
pub mod unpacked;

use std::collections::HashMap;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::context::{self, Need};
use super::serve::{self, Signals};
use super::{Exit, Where, build, output};
use crate::bundle::{self, About, ENDING, Limits, SigningKey, VerifyKey, WriteError};
use crate::config::{Function, Language, Project};
use crate::file;
use crate::report::{Format, Reporter};
use collect::Variant;

#[derive(Debug, Args)]
pub(super) struct Make {
    #[command(flatten)]
    place: Where,
    /// Do not install what is missing, say so and stop
    #[arg(long)]
    no_install: bool,
    /// The file to make [default: the name of the project's folder with `.embly`, here]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Sign it with this key
    #[arg(long, value_name = "FILE")]
    sign_key: Option<PathBuf>,
    /// Make no bundle, but a key to sign with, and FILE.pub to verify with
    #[arg(long, value_name = "FILE", conflicts_with_all = ["output", "sign_key", "path"])]
    new_key: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Unpack {
    /// The bundle
    file: PathBuf,
    /// A folder that is empty or not there [default: the name of the bundle without `.embly`, here]
    #[arg(short = 'C', long, value_name = "DIR")]
    into: Option<PathBuf>,
    #[command(flatten)]
    verify: Verify,
}

/// Who must have signed a bundle.
#[derive(Debug, Clone, Args)]
pub(super) struct Verify {
    /// Take only what was signed with the key that this file, FILE.pub, belongs to
    #[arg(long, value_name = "FILE")]
    pub verify_key: Option<PathBuf>,
}

impl Verify {
    /// The key, if there is to be one.
    ///
    /// # Errors
    /// It cannot be read; that was said.
    pub fn key(&self, reporter: &Reporter) -> Result<Option<VerifyKey>, Exit> {
        let key = self.verify_key.as_deref().map(VerifyKey::read).transpose();
        key.map_err(|error| failed(error.to_string(), reporter))
    }
}

fn failed(error: impl AsRef<str>, reporter: &Reporter) -> Exit {
    reporter.error(error);
    Exit::Failed
}

/// A bundle as `--format json` tells it.
#[derive(Debug, Serialize)]
struct Told<'a> {
    event: &'static str,
    path: String,
    checksum: &'a str,
    files: usize,
    bytes: u64,
    signed_by: Option<&'a str>,
}

fn tell(
    (event, verb): (&'static str, &str),
    path: &Path,
    about: &About,
    reporter: &Reporter,
) -> Result<(), Exit> {
    // A folder has no size of its own.
    let packed = path.metadata().ok().filter(fs::Metadata::is_file);
    let path = context::shown(path);
    if reporter.options().format == Format::Json {
        let told = Told {
            event,
            path,
            checksum: &about.checksum,
            files: about.files,
            bytes: about.bytes,
            signed_by: about.signed_by.as_deref(),
        };
        return output::json(std::iter::once(told), reporter);
    }
    let About {
        checksum,
        signed_by,
        files,
        bytes,
    } = about;
    let signed = match signed_by {
        Some(key) => format!("signed by {key}"),
        None => "not signed".to_owned(),
    };
    let bytes = match packed {
        Some(packed) => format!("{} bytes, {bytes} unpacked", packed.len()),
        None => format!("{bytes} bytes"),
    };
    reporter.info(format!(
        "{verb} `{path}`: {files} files, {bytes}, checksum {checksum}, {signed}"
    ));
    Ok(())
}

/// Makes a bundle, or a key.
pub(super) fn make(options: &Make, reporter: &Reporter) -> Exit {
    if let Some(path) = &options.new_key {
        return match SigningKey::create(path) {
            Ok(public) => {
                reporter.info(format!(
                    "made `{}`, which signs, and `{}`, which verifies: keep the first one secret, and a copy of it elsewhere",
                    path.display(),
                    public.display()
                ));
                Exit::Done
            }
            Err(error) => failed(error.to_string(), reporter),
        };
    }
    let made = match serve::runtime(reporter) {
        Ok(runtime) => runtime.block_on(made(options, reporter)),
        Err(exit) => Err(exit),
    };
    made.err().unwrap_or(Exit::Done)
}

async fn made(options: &Make, reporter: &Reporter) -> Result<(), Exit> {
    let key = options.sign_key.as_deref().map(SigningKey::read);
    let key = key
        .transpose()
        .map_err(|error| failed(error.to_string(), reporter))?;
    let file = context::find(&options.place.path, reporter)?;
    let (base, others) = projects(&file, reporter)?;
    let mut secrets = base.secrets.clone();
    for (_, project) in &others {
        secrets.extend(project.secrets.clone());
    }
    reporter.masks().only(&secrets);
    let mut signals = Signals::take(reporter)?;
    let how = build::How::to_ship(options.no_install);
    let all = base.functions.clone();
    let built = modules(&mut signals, &base, all, how, reporter).await?;
    let base = Variant {
        environment: None,
        project: base,
        modules: built,
    };
    let mut variants = Vec::new();
    for (name, project) in others {
        let functions = collect::built_otherwise(&project, &base.project);
        let built = modules(&mut signals, &project, functions, how, reporter).await?;
        variants.push(Variant {
            environment: Some(name),
            project,
            modules: built,
        });
    }
    let project = &base.project;
    let bundle = match collect::contents(&base, &variants) {
        Ok(bundle) => bundle,
        Err(error @ collect::CollectError::Differs { .. }) => {
            reporter.error(error.to_string());
            return Err(Exit::Usage);
        }
        Err(collect::CollectError::Problems(problems)) => {
            context::show(&problems, reporter);
            return Err(Exit::Usage);
        }
        Err(collect::CollectError::Write(error)) => return Err(failed(said(&error), reporter)),
    };
    let path = match &options.output {
        Some(path) => path.clone(),
        None => {
            let mut name = project
                .root
                .file_name()
                .unwrap_or("project".as_ref())
                .to_owned();
            name.push(".");
            name.push(ENDING);
            PathBuf::from(name)
        }
    };
    let about = file::whole(&path, |file| {
        bundle.write(file, key.as_ref(), &Limits::default())
    });
    let about = about.map_err(|error| failed(said(&error), reporter))?;
    tell(("bundle", "made"), &path, &about, reporter)?;
    if reporter.options().format != Format::Text {
        return Ok(());
    }
    let dwarf = dwarf(std::iter::once(&base).chain(&variants));
    if dwarf > 0 {
        reporter.info(format!(
            "{dwarf} bytes of that are there for the files and lines of backtraces: without them it is \
             made by `CARGO_PROFILE_RELEASE_DEBUG=none embly bundle`"
        ));
    }
    Ok(())
}

/// Bytes for debuggers in the modules that were compiled here.
fn dwarf<'v>(variants: impl Iterator<Item = &'v Variant>) -> u64 {
    let modules = variants.flat_map(|variant| {
        let functions = variant.project.functions.iter();
        let compiled = functions.filter(|function| function.language == Language::Rust);
        compiled.filter_map(|function| variant.modules.get(&function.name))
    });
    // It was read a moment ago.
    let read = modules.filter_map(|module| fs::read(module).ok());
    read.map(|module| bundle::dwarf(&module)).sum()
}

/// The project in no environment, and in each that it has: a bundle is for all of them.
fn projects(file: &Path, reporter: &Reporter) -> Result<(Project, Vec<(String, Project)>), Exit> {
    let base = context::load(file, None, false, Need::Nothing, reporter)?;
    reporter.info(format!("project {}", context::shown(file)));
    let said = &base.warnings;
    let mut others = Vec::new();
    for name in &base.environments {
        let project = context::read_again(file, Some(name), said, false, Need::Nothing, reporter);
        others.push((name.clone(), project.map_err(|_| Exit::Usage)?));
    }
    Ok((base, others))
}

/// Builds these functions of a project: their modules.
async fn modules(
    signals: &mut Signals,
    project: &Project,
    functions: Vec<Function>,
    how: build::How,
    reporter: &Reporter,
) -> Result<HashMap<String, PathBuf>, Exit> {
    if functions.is_empty() {
        return Ok(HashMap::new());
    }
    let (project, to) = (project.clone(), reporter.clone());
    let work = move |cancel: &_| {
        let functions: Vec<_> = functions.iter().collect();
        build::some(&project, &functions, how, cancel, &to)
    };
    match serve::build(signals, work).await {
        Ok(built) if built.failed.is_empty() => Ok(built.modules),
        Ok(_) | Err(_) => Err(Exit::Failed),
    }
}

/// The error, and why.
fn said(error: &WriteError) -> String {
    let path = |why: &str| format!("{error}{why}");
    match error {
        WriteError::Write(_) => path("; is there room on the disk, and may this user write there?"),
        _ => path(""),
    }
}

/// Unpacks a bundle.
pub(super) fn unpack(options: &Unpack, reporter: &Reporter) -> Exit {
    let done = unpacked_to(options, reporter);
    done.err().unwrap_or(Exit::Done)
}

fn unpacked_to(options: &Unpack, reporter: &Reporter) -> Result<(), Exit> {
    let Unpack { file, into, verify } = options;
    let key = verify.key(reporter)?;
    let unreadable = |error: io::Error| {
        failed(
            format!("cannot read `{}`: {error}", file.display()),
            reporter,
        )
    };
    let bundle = open(file).map_err(unreadable)?;
    let into = match into {
        Some(into) => into.clone(),
        None => {
            let stem = file.file_stem().unwrap_or_default();
            if file.extension().is_none_or(|end| end != ENDING) {
                let error = "say where to unpack it, with `-C DIR`: the name of the file does not end with `.embly`";
                reporter.error(error);
                return Err(Exit::Usage);
            }
            PathBuf::from(stem)
        }
    };
    let cannot = |error: io::Error| {
        let text = match error.kind() {
            io::ErrorKind::DirectoryNotEmpty => format!(
                "`{}` is not empty, and nothing is overwritten: give another folder with `-C DIR`",
                into.display()
            ),
            _ => format!("cannot unpack to `{}`: {error}", into.display()),
        };
        failed(text, reporter)
    };
    let target = Target::new(&into).map_err(cannot)?;
    let unpacked = bundle::unpack(bundle, &target.partial, key.as_ref(), &Limits::default());
    let about = unpacked.map_err(|error| failed(refused(file, &error), reporter))?;
    target.done().map_err(cannot)?;
    tell(("unbundled", "unpacked to"), &into, &about, reporter)
}

/// Opens a bundle; what is not a file keeps nobody waiting.
///
/// # Errors
/// What the system says.
pub fn open(path: &Path) -> io::Result<File> {
    let file = file::open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("it is not a file")),
    }
}

/// Why a bundle is not used.
pub fn refused(file: &Path, error: &bundle::BundleError) -> String {
    format!("cannot use the bundle `{}`: {error}", file.display())
}

/// A folder that becomes what it is to be once all is in it.
struct Target {
    /// Where it is to be; empty until then.
    path: PathBuf,
    /// Whether it was made for this.
    made: bool,
    /// Where it is filled, which only this user can look into.
    partial: PathBuf,
}

impl Target {
    fn new(path: &Path) -> io::Result<Self> {
        let made = match fs::create_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
            made => made.map(|()| true)?,
        };
        let path = path.canonicalize()?;
        if fs::read_dir(&path)?.next().is_some() {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        let partial = file::partial(&path);
        let target = Self {
            path,
            made,
            partial,
        };
        DirBuilder::new().mode(0o700).create(&target.partial)?;
        Ok(target)
    }

    fn done(mut self) -> io::Result<()> {
        fs::set_permissions(&self.partial, fs::metadata(&self.path)?.permissions())?;
        // An empty folder makes room; one that somebody has put something into does not.
        fs::rename(&self.partial, &self.path)?;
        self.made = false;
        Ok(())
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // Nothing is there after it was renamed.
        let _ = fs::remove_dir_all(&self.partial);
        if self.made {
            let _ = fs::remove_dir(&self.path);
        }
    }
}
