//! New projects: complete, or nothing at all.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use embly::scaffold::{self, Created, ScaffoldError, TEMPLATES, Template};

fn new(target: &Path) -> Result<Created, ScaffoldError> {
    scaffold::new(target, Template::usual())
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

const TOPS: [&str; 7] = [
    ".gitignore",
    "Cargo.toml",
    "README.md",
    "embly-project.yml",
    "listener",
    "tests",
    "vendor",
];

#[test]
fn a_new_folder_holds_the_whole_project_and_nothing_lies_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let created = new(&folder.path().join("deep/my-project")).unwrap();
    assert_eq!(created.name, "my-project");
    assert_eq!(created.folder, folder.path().join("deep/my-project"));
    assert_eq!(names(&created.folder), TOPS);
    assert_eq!(names(&folder.path().join("deep")), ["my-project"]);
    assert!(
        fs::read_to_string(created.folder.join("README.md"))
            .unwrap()
            .starts_with("# my-project\n")
    );
    let sdk = fs::read_to_string(created.folder.join("vendor/embly-sdk/Cargo.toml")).unwrap();
    assert!(
        sdk.contains("name = \"embly-sdk\"") && !sdk.contains("workspace = true"),
        "{sdk}"
    );
}

#[test]
fn the_files_of_a_template_are_those_that_it_lists() {
    let folder = tempfile::tempdir().unwrap();
    for template in &TEMPLATES {
        let made = scaffold::new(&folder.path().join(template.name), template).unwrap();
        let listed = template.files();
        for file in &listed {
            assert!(made.folder.join(file).exists(), "{file}");
        }
        let tops: BTreeSet<&str> = listed
            .iter()
            .filter_map(|file| file.split('/').next())
            .collect();
        let there = names(&made.folder);
        assert_eq!(tops.into_iter().collect::<Vec<_>>(), there);
        for file in listed.iter().filter(|file| !file.ends_with('/')) {
            let text = fs::read_to_string(made.folder.join(file)).unwrap();
            for word in ["{{name}}", "{{function}}", "{{try}}", "{{where}}"] {
                assert!(!text.contains(word), "{file}: {text}");
            }
        }
    }
}

#[test]
fn an_empty_folder_may_hold_a_repository() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join(".git")).unwrap();
    new(&folder.path().join(".")).unwrap();
    let mut expected = TOPS.to_vec();
    expected.insert(0, ".git");
    assert_eq!(names(folder.path()), expected);
}

#[test]
fn a_folder_with_something_in_it_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("mine");
    fs::create_dir(&target).unwrap();
    fs::write(target.join("notes.txt"), "mine").unwrap();
    let error = new(&target).unwrap_err();
    assert!(
        error.to_string().contains("is not empty: `notes.txt`"),
        "{error}"
    );
    assert_eq!(names(&target), ["notes.txt"]);
    fs::write(target.join("plain"), "").unwrap();
    assert!(matches!(
        new(&target.join("plain")),
        Err(ScaffoldError::NotAFolder(_))
    ));
}

#[test]
fn a_bad_name_comes_with_a_good_one() {
    let folder = tempfile::tempdir().unwrap();
    let error = new(&folder.path().join("My Project")).unwrap_err();
    let good = folder.path().join("my-project");
    assert!(
        error
            .to_string()
            .ends_with(&format!("hint: `embly new {}`", good.display())),
        "{error}"
    );
    assert!(names(folder.path()).is_empty());
}

#[test]
fn a_failure_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    let error = new(&folder.path().join("file/project")).unwrap_err();
    assert!(matches!(error, ScaffoldError::Write { .. }), "{error}");
    assert_eq!(names(folder.path()), ["file"]);
}
