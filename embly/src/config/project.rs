//! From the text of a project file to the [`Project`].

use std::cell::RefCell;
use std::path::Path;

use super::codes;
use super::environment::Environment;
use super::fields::Fields;
use super::function::{self, World};
use super::gateway::{self, Taken};
use super::machine::Machine;
use super::names::Names;
use super::problem::{Problem, Problems};
use super::tree::Node;
use super::written::Written;
use super::{
    Cron, Function, Gateway, Project, Store, allow, cron, log, overlay, schema, store, yaml,
};
use crate::report::SinkPlan;

/// Checks everything, whatever is found on the way.
pub(super) fn read(
    mut problems: Problems,
    environment: &Environment<'_>,
    machine: &Machine,
) -> Result<Project, Problems> {
    problems.choose(environment.chosen());
    problems.elsewhere(environment.is_elsewhere());
    let Some(mut tree) = yaml::parse(&mut problems) else {
        problems.sort();
        return Err(problems);
    };
    let environments = overlay::apply(&mut tree, environment.chosen(), &mut problems);
    let folder = problems.file.parent().unwrap_or(Path::new("/"));
    let root = match folder.canonicalize() {
        Ok(root) => root,
        Err(error) => {
            let message = format!("the folder of the file cannot be read: {error}");
            problems.push(Problem::of_file(&codes::UNREADABLE, message));
            return Err(problems);
        }
    };
    let world = World {
        root: &root,
        environment,
        machine,
        secrets: RefCell::default(),
    };
    let (functions, gateways, crons, stores, logs) = sections(&tree, &world, &mut problems);
    problems.sort();
    if problems.count().0 > 0 {
        return Err(problems);
    }
    let name = problems.file.file_name().unwrap_or_default();
    Ok(Project {
        file: root.join(name),
        functions,
        gateways,
        crons,
        stores,
        logs,
        environments,
        secrets: world.secrets.into_inner().given,
        among_versions: false,
        warnings: problems,
        root,
    })
}

/// The file as it is written.
pub(super) fn written(
    mut problems: Problems,
    environment: Option<&str>,
) -> Result<Written, Problems> {
    problems.choose(environment);
    let tree = yaml::parse(&mut problems).map(|mut tree| {
        overlay::apply(&mut tree, environment, &mut problems);
        tree
    });
    match tree {
        Some(tree) if problems.count().0 == 0 => Ok(Written(tree)),
        _ => Err(problems),
    }
}

/// What the sections of a file say.
type Sections = (
    Vec<Function>,
    Vec<Gateway>,
    Vec<Cron>,
    Vec<Store>,
    Vec<SinkPlan>,
);

fn sections(tree: &Node, world: &World<'_>, problems: &mut Problems) -> Sections {
    let (mut functions, mut gateways, mut crons) = (Vec::new(), Vec::new(), Vec::new());
    let Some(project) = Fields::read(tree, &schema::PROJECT, problems) else {
        return (functions, gateways, crons, Vec::new(), Vec::new());
    };
    let (stores, known_stores) = store::read(project.get("stores"), world.root, problems);

    let defaults = project.get("defaults");
    let defaults = defaults
        .map(|field| function::defaults(field, world, problems))
        .unwrap_or_default();

    let mut names = Names::default();
    // Gateways are not blamed for functions whose names could not be read.
    let mut all_named = true;
    if let Some(field) = project.get("functions") {
        let before = problems.count();
        let items = field.list(problems);
        if items.is_empty() && problems.count() == before {
            let problem = Problem::new(
                &codes::NO_FUNCTIONS,
                field.entry.key_span.clone(),
                "the project has no functions",
            );
            problems.push(problem.help(
                "write, for example, `- {name: hello, path: ./hello, language: rust}` below it",
            ));
        }
        all_named = !items.is_empty();
        let mut read = Vec::new();
        for item in items {
            let fields = Fields::read(item, &schema::FUNCTION, problems);
            all_named &= fields
                .as_ref()
                .is_some_and(|fields| fields.get("name").is_some());
            let Some(fields) = fields else { continue };
            let name = fields.get("name");
            let name = name.and_then(|field| names.take(field, "functions", problems));
            read.push((fields, name));
        }
        let known = names.all();
        let there = allow::There {
            root: world.root,
            functions: all_named.then_some(known.as_slice()),
            stores: known_stores.as_ref(),
        };
        for (fields, name) in read {
            let function = function::read(&fields, name, there, &defaults, world, problems);
            functions.extend(function);
        }
    }

    let known = names.all();
    let known = (all_named && project.get("functions").is_some()).then_some(known.as_slice());
    let mut names = Names::default();
    let mut taken = Taken::default();
    taken.files.stores = stores.iter().map(|store| store.path.clone()).collect();
    let items = project.get("gateways").map(|field| field.list(problems));
    for item in items.unwrap_or_default() {
        let section = match cron::is(item) {
            true => &schema::CRON,
            false => &schema::GATEWAY,
        };
        let Some(fields) = Fields::read(item, section, problems) else {
            continue;
        };
        let name = fields.get("name");
        let name = name.and_then(|field| names.take(field, "gateways", problems));
        if cron::is(item) {
            crons.extend(cron::read(&fields, name, known, world, problems));
            continue;
        }
        gateways.extend(gateway::read(
            (item, &fields),
            name,
            known,
            world,
            &mut taken,
            problems,
        ));
    }
    let logs = project.get("logs");
    let logs = logs.map(|field| log::read(field, known, &mut taken.files, problems));
    (functions, gateways, crons, stores, logs.unwrap_or_default())
}
