//! `embly schema`, by a validator of somebody else's.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use embly::config::{self, Environment, Machine};
use embly::limits::{Limits, Parked};
use serde_json::{Map, Value, json};
use support::{output, skipped};

/// Prints the errors of each file, a line for one: FILE, the place, the rule. Without files: those
/// of a map with a key that nobody knows, for each kind of map.
const VALIDATE: &str = r##"
import json, sys, yaml
from jsonschema import Draft202012Validator as Validator

schema = json.load(open(sys.argv[1]))
Validator.check_schema(schema)

def leaves(error):
    return [leaf for inner in error.context for leaf in leaves(inner)] if error.context else [error]

def show(name, validator, value):
    for error in validator.iter_errors(value):
        for leaf in leaves(error):
            print(name, leaf.json_path, leaf.validator, sep="\t")

for file in sys.argv[2:]:
    show(file, Validator(schema), yaml.safe_load(open(file)))
if not sys.argv[2:]:
    for name in schema["$defs"]:
        part = dict(schema, **{"$ref": "#/$defs/" + name})
        show(name, Validator(part), {"no_such_key": 1})
"##;

fn schema() -> Value {
    let (code, stdout, stderr) = output(&["schema"]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    serde_json::from_str(&stdout).unwrap()
}

/// What the validator says; `None` where there is none.
fn validate(files: &[PathBuf]) -> Option<Vec<String>> {
    let probe = Command::new("python3")
        .args(["-c", "import jsonschema, yaml"])
        .output();
    if !probe.is_ok_and(|probe| probe.status.success()) {
        skipped("python3-jsonschema and python3-yaml");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("schema.json");
    fs::write(&file, schema().to_string()).unwrap();
    let ran = Command::new("python3")
        .args(["-c", VALIDATE])
        .arg(&file)
        .args(files)
        .output()
        .unwrap();
    assert!(
        ran.status.success(),
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    let said = String::from_utf8(ran.stdout).unwrap();
    Some(said.lines().map(str::to_owned).collect())
}

/// The files of a folder that end so.
fn files(folder: &str, end: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let file = if path.is_dir() {
            path.join(config::FILE_NAME)
        } else {
            path
        };
        if file.to_str().unwrap().ends_with(end) && file.exists() {
            found.push(file);
        }
    }
    assert!(!found.is_empty());
    found
}

#[test]
fn every_project_file_that_is_right_is_right_for_the_schema() {
    let mut right = files("../examples", config::FILE_NAME);
    // Of those the parser has nothing to say.
    let silent = |file: &PathBuf| {
        !fs::read_to_string(file.with_extension("txt"))
            .unwrap()
            .contains("error")
    };
    right.extend(files("tests/config", ".yml").into_iter().filter(silent));
    assert!(right.len() > 12, "{right:?}");
    if let Some(said) = validate(&right) {
        assert_eq!(said, Vec::<String>::new());
    }
}

#[test]
fn a_key_that_nobody_knows_is_refused_in_every_map() {
    let Some(said) = validate(&[]) else { return };
    let schema = schema();
    for name in schema["$defs"].as_object().unwrap().keys() {
        let refused = format!("{name}\t$\tadditionalProperties");
        assert!(said.contains(&refused), "{name}: {said:?}");
    }
}

#[test]
fn values_of_the_wrong_form_are_refused_where_they_stand() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("wrong.yml");
    let text = "\
functions:
  - {name: Hello, path: ./hello, language: go, start: 1, limits: {memory: 64 MB, cpu: 10, log: {lines: 5}}}
  - {name: hello, path: ./hello}
gateways:
  - {name: a, type: cron, port: 80}
  - {name: a, type: http, port: 65536, rate: {requests: 5/d}, routes: [{path: a, methods: []}]}
";
    fs::write(&file, text).unwrap();
    let Some(said) = validate(std::slice::from_ref(&file)) else {
        return;
    };
    let file = file.to_str().unwrap();
    for (place, rule) in [
        ("functions[0].name", "pattern"),
        ("functions[0].language", "enum"),
        ("functions[0].start", "type"),
        ("functions[0].limits.memory", "pattern"),
        ("functions[0].limits.cpu", "type"),
        ("functions[0].limits.log.lines", "type"),
        ("functions[1]", "required"),
        ("gateways[0]", "required"),
        ("gateways[0]", "additionalProperties"),
        ("gateways[1].port", "maximum"),
        ("gateways[1].rate.requests", "pattern"),
        ("gateways[1].routes[0].path", "pattern"),
        ("gateways[1].routes[0].methods", "minItems"),
    ] {
        let line = format!("{file}\t$.{place}\t{rule}");
        assert!(said.contains(&line), "{line}: {said:#?}");
    }
}

/// The defaults of a kind of map, and of those in it.
fn defaults(schema: &Value, name: &str) -> Map<String, Value> {
    let properties = schema["$defs"][name]["properties"].as_object().unwrap();
    let mut found = Map::new();
    for (key, value) in properties {
        let inner = value["$ref"]
            .as_str()
            .and_then(|at| at.strip_prefix("#/$defs/"));
        match (inner, value.get("default")) {
            (Some(inner), _) => drop(found.insert(key.clone(), defaults(schema, inner).into())),
            (None, Some(default)) => drop(found.insert(key.clone(), default.clone())),
            (None, None) => {}
        }
    }
    found
}

#[test]
fn defaults_of_the_schema_are_those_of_the_parser() {
    let schema = schema();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(config::FILE_NAME);
    fs::write(folder.path().join("hello.wat"), "(module)").unwrap();
    let load = |more: Value| {
        let mut function = json!({"name": "hello", "path": "hello.wat", "language": "wasm"});
        function
            .as_object_mut()
            .unwrap()
            .append(&mut more.as_object().unwrap().clone());
        // JSON is YAML.
        fs::write(&file, json!({"functions": [function]}).to_string()).unwrap();
        let machine = Machine {
            memory: None,
            processes: None,
        };
        let project = config::load_for(&file, &Environment::of_process(), &machine);
        project.unwrap_or_else(|problems| panic!("{problems}"))
    };
    let limits = defaults(&schema, "limits");
    assert!(limits.len() > 15, "{limits:?}");
    let project = load(json!({"limits": limits, "parked": defaults(&schema, "parked")}));
    let function = &project.functions[0];
    assert_eq!(function.limits, Limits::default());
    assert_eq!(
        function.parked,
        Parked::of(function.isolation, function.limits.concurrency)
    );
    let mut function = defaults(&schema, "function");
    function.remove("reuse");
    function.remove("parked");
    function.remove("restart");
    let plain = load(json!({}));
    assert_eq!(
        load(function.into()).functions[0].entry,
        plain.functions[0].entry
    );
}
