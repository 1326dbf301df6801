//! Which cargo calls build which functions.

use std::path::{Path, PathBuf};

use super::metadata::{Metadata, Package};
use super::{RustBuild, RustError, RustFunction, RustOutcome, inputs};

/// What a crate becomes wasm by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A program.
    Bin,
    /// A library of crate type `cdylib`.
    Library,
}

impl Kind {
    /// cargo's word for it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Bin => "bin",
            Self::Library => "cdylib",
        }
    }
}

/// One cargo call: crates of one workspace whose outputs have different names.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) workspace: Metadata,
    pub(super) kind: Kind,
    pub(super) crates: Vec<Crate>,
}

/// A crate that is built, and the functions that it is the code of.
#[derive(Clone, Debug)]
pub(super) struct Crate {
    pub(super) package: Package,
    /// The program or library in it.
    pub(super) target: String,
    /// Positions in the list of functions.
    pub(super) functions: Vec<usize>,
}

impl Plan {
    /// Asks cargo about each workspace once and groups the functions; also those that cannot be built at all.
    pub(super) fn make(
        build: &RustBuild<'_>,
        functions: &[RustFunction],
    ) -> (Vec<Self>, Vec<RustOutcome>) {
        let mut workspaces: Vec<Metadata> = Vec::new();
        let mut plans = Vec::new();
        let mut failed = Vec::new();
        for (position, function) in functions.iter().enumerate() {
            let found =
                locate(build, &mut workspaces, &function.path).and_then(|(workspace, package)| {
                    choose(&package).map(|chosen| (workspace, package, chosen))
                });
            match found {
                Ok((workspace, package, (kind, target))) => {
                    add(
                        &mut plans,
                        &workspaces[workspace],
                        package,
                        kind,
                        target,
                        position,
                    );
                }
                Err(error) => failed.push(RustOutcome::failed(function, &error)),
            }
        }
        (plans, failed)
    }

    /// The names of its functions, in the order of the project file.
    pub(super) fn names(&self, functions: &[RustFunction]) -> Vec<String> {
        let mut positions: Vec<usize> = self
            .crates
            .iter()
            .flat_map(|one| one.functions.iter().copied())
            .collect();
        positions.sort_unstable();
        positions
            .into_iter()
            .map(|position| functions[position].name.clone())
            .collect()
    }
}

/// The workspace's position, and the crate in `path`.
fn locate(
    build: &RustBuild<'_>,
    workspaces: &mut Vec<Metadata>,
    path: &Path,
) -> Result<(usize, Package), RustError> {
    let missing = || RustError::NoManifest {
        folder: path.to_owned(),
    };
    let folder: PathBuf = path.canonicalize().map_err(|_| missing())?;
    if !folder.join("Cargo.toml").is_file() {
        return Err(missing());
    }
    for (position, workspace) in workspaces.iter().enumerate() {
        if let Some(package) = workspace.package_in(&folder) {
            return Ok((position, package.clone()));
        }
    }
    let workspace = Metadata::read(build.toolchain, &folder, build.cancel)?;
    let Some(package) = workspace.package_in(&folder).cloned() else {
        let members = workspace
            .packages
            .into_iter()
            .map(|package| package.name)
            .collect();
        return Err(RustError::OnlyWorkspace { folder, members });
    };
    workspaces.push(workspace);
    Ok((workspaces.len() - 1, package))
}

/// Which of a crate's targets is the function.
fn choose(package: &Package) -> Result<(Kind, String), RustError> {
    let named = |kind: &str| -> Vec<String> {
        package
            .targets
            .iter()
            .filter(|target| target.is(kind))
            .map(|target| target.name.clone())
            .collect()
    };
    let mut programs = named("bin");
    programs.sort();
    match (programs.len(), &package.default_run) {
        (0, _) => match named("cdylib").into_iter().next() {
            Some(library) => Ok((Kind::Library, library)),
            None => Err(RustError::NoProgram {
                package: package.name.clone(),
            }),
        },
        (1, _) => Ok((Kind::Bin, programs.remove(0))),
        (_, Some(default)) if programs.contains(default) => Ok((Kind::Bin, default.clone())),
        _ => Err(RustError::SeveralPrograms {
            package: package.name.clone(),
            programs,
        }),
    }
}

/// Puts the crate into the first call of its workspace that makes the same kind of thing and no other thing of the same
/// name, because cargo gives both the same file.
fn add(
    plans: &mut Vec<Plan>,
    workspace: &Metadata,
    package: Package,
    kind: Kind,
    target: String,
    position: usize,
) {
    let fits = |plan: &&mut Plan| {
        plan.kind == kind
            && plan.workspace.workspace_root == workspace.workspace_root
            && plan
                .crates
                .iter()
                .all(|one| one.target != target || one.package.id == package.id)
    };
    let crates = match plans.iter_mut().find(fits) {
        Some(plan) => &mut plan.crates,
        None => {
            plans.push(Plan {
                workspace: workspace.clone(),
                kind,
                crates: Vec::new(),
            });
            let last = plans.len() - 1;
            &mut plans[last].crates
        }
    };
    match crates.iter_mut().find(|one| one.package.id == package.id) {
        Some(one) => one.functions.push(position),
        None => crates.push(Crate {
            package,
            target,
            functions: vec![position],
        }),
    }
}

impl Crate {
    /// What to watch after this crate did not compile.
    pub(super) fn broken_inputs(
        &self,
        build: &RustBuild<'_>,
        workspace: &Metadata,
    ) -> Vec<PathBuf> {
        inputs::after_failure(build, workspace, &self.package)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, targets: &[(&str, &str)], default_run: Option<&str>) -> Package {
        let targets: Vec<_> = targets
            .iter()
            .map(|(kind, name)| serde_json::json!({"kind": [kind], "name": name}))
            .collect();
        serde_json::from_value(serde_json::json!({
            "name": name, "id": format!("path+file:///w/{name}#0.1.0"), "manifest_path": format!("/w/{name}/Cargo.toml"),
            "targets": targets, "default_run": default_run, "dependencies": [],
        }))
        .unwrap()
    }

    fn workspace(root: &str) -> Metadata {
        Metadata {
            packages: Vec::new(),
            workspace_root: PathBuf::from(root),
        }
    }

    #[test]
    fn the_only_program_is_taken_whatever_its_name() {
        let chosen = choose(&package("a", &[("lib", "a"), ("bin", "other")], None));
        assert_eq!(chosen, Ok((Kind::Bin, "other".to_owned())));
    }

    #[test]
    fn of_several_programs_the_default_is_taken_or_one_is_asked_for() {
        let targets = [("bin", "two"), ("bin", "one")];
        assert_eq!(
            choose(&package("a", &targets, Some("two"))),
            Ok((Kind::Bin, "two".to_owned()))
        );
        let error = choose(&package("a", &targets, None)).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("several programs: one, two\nhint: write `default-run = \"one\"`"),
            "{error}"
        );
    }

    #[test]
    fn a_library_counts_only_as_cdylib() {
        assert_eq!(
            choose(&package("a", &[("cdylib", "a")], None)),
            Ok((Kind::Library, "a".to_owned()))
        );
        assert_eq!(
            choose(&package("a", &[("lib", "a")], None)),
            Err(RustError::NoProgram {
                package: "a".to_owned()
            })
        );
    }

    #[test]
    fn a_workspace_is_one_call_unless_outputs_have_the_same_name() {
        let (one, two) = (workspace("/w"), workspace("/v"));
        let mut plans = Vec::new();
        add(
            &mut plans,
            &one,
            package("a", &[], None),
            Kind::Bin,
            "main".into(),
            0,
        );
        add(
            &mut plans,
            &one,
            package("b", &[], None),
            Kind::Bin,
            "b".into(),
            1,
        );
        add(
            &mut plans,
            &two,
            package("a", &[], None),
            Kind::Bin,
            "main".into(),
            2,
        );
        add(
            &mut plans,
            &one,
            package("c", &[], None),
            Kind::Bin,
            "main".into(),
            3,
        );
        add(
            &mut plans,
            &one,
            package("a", &[], None),
            Kind::Bin,
            "main".into(),
            4,
        );
        add(
            &mut plans,
            &one,
            package("d", &[], None),
            Kind::Library,
            "d".into(),
            5,
        );
        let positions: Vec<Vec<Vec<usize>>> = plans
            .iter()
            .map(|plan| {
                plan.crates
                    .iter()
                    .map(|one| one.functions.clone())
                    .collect()
            })
            .collect();
        assert_eq!(
            positions,
            [
                vec![vec![0, 4], vec![1]],
                vec![vec![2]],
                vec![vec![3]],
                vec![vec![5]]
            ]
        );
    }
}
