//! Stores of type `sql` as files, while a master uses them.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use support::client::get;
use support::{Embly, Project, output};

#[test]
fn a_store_of_type_sql_is_copied_in_use_shown_and_put_back() {
    let project = Project::new()
        .guest_with("permits-sql", "    allow: {sql: [main]}")
        .http("permits-sql")
        .store("name: main, type: sql");
    let path = project.path().to_str().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy").to_str().unwrap().to_owned();
    let embly = Embly::run(&project);
    let answer = get(embly.at("permits-sql"), "/embly/sql?main:write");
    assert_eq!(answer.text(), "done");
    let (code, _, stderr) = output(&["store", "backup", "main", &copy, path]);
    assert_eq!(code, 0, "{stderr}");
    let (code, stdout, stderr) = output(&["store", "browse", "main", "", path]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("CREATE TABLE t (a)"), "{stdout}");
    assert_eq!(output(&["store", "restore", "main", &copy, path]).0, 1);
    drop(embly);
    let (code, _, stderr) = output(&["store", "restore", "main", &copy, path]);
    assert_eq!(code, 0, "{stderr}");
    let embly = Embly::run(&project);
    let answer = get(embly.at("permits-sql"), "/embly/sql?main:read");
    assert_eq!(answer.text(), "done");
}
