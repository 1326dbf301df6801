use std::fs;
use std::path::{Path, PathBuf};

use super::*;

fn draft(text: &str) -> Draft {
    let problems = Problems::new(PathBuf::from("/nowhere/embly-project.yml"), text.to_owned());
    Draft::of(problems).unwrap_or_else(|problems| panic!("{problems}\n{text}"))
}

fn item() -> [(&'static str, Given); 3] {
    [
        ("name", Given::Text("new".to_owned())),
        ("schedule", Given::Text("*/5 * * * *".to_owned())),
        ("port", Given::Number(8080)),
    ]
}

/// What becomes of a text with `gateways`.
fn with(text: &str) -> String {
    match draft(text).with(List::Gateways, &item()) {
        Ok(edited) => edited.text,
        Err(error) => panic!("{error:?}\n{text}"),
    }
}

const BLOCK: &str = "  - name: new\n    schedule: \"*/5 * * * *\"\n    port: 8080\n";
const FLOW: &str = "{name: new, schedule: \"*/5 * * * *\", port: 8080}";

#[test]
fn a_list_that_is_not_there_comes_at_the_end() {
    for before in [
        "",
        "# only a comment\n",
        "functions:\n  - name: a\n",
        "functions:\n- name: a\n# the end\n",
        "functions: []\n",
        "functions: |\n  text\n",
        "---\nfunctions: []\n",
        "functions: []\n\n\n",
    ] {
        assert_eq!(
            with(before),
            format!("{before}gateways:\n{BLOCK}"),
            "{before}"
        );
    }
    let apart = "a: 1\n\nfunctions: []\n";
    assert_eq!(with(apart), format!("{apart}\ngateways:\n{BLOCK}"));
}

#[test]
fn the_end_of_the_text_stays_as_it_is() {
    let bare = "functions: []";
    let list = format!("gateways:\n{BLOCK}");
    assert_eq!(with(bare), format!("{bare}\n{}", list.trim_end()));
    assert_eq!(with("gateways:"), list.trim_end());
    assert_eq!(
        with("gateways:\n  - name: a"),
        format!("gateways:\n  - name: a\n{}", BLOCK.trim_end())
    );
    let windows = "functions: []\r\ngateways: # x\r\n  - name: a # y\r\n  # z\r\nstores: []\r\n";
    let block = BLOCK.replace('\n', "\r\n");
    assert_eq!(
        with(windows),
        windows.replace("# y\r\n", &format!("# y\r\n{block}"))
    );
    let bare = "functions: []\r\nx: 1";
    let expected = format!("{bare}\r\ngateways:\r\n{}", block.trim_end());
    assert_eq!(with(bare), expected);
}

#[test]
fn an_empty_list_gets_lines_of_its_own() {
    for (before, after) in [
        ("gateways:\nfunctions: []\n", "gateways:\n@functions: []\n"),
        ("gateways: # none\n", "gateways: # none\n@"),
        ("gateways: []\n", "gateways:\n@"),
        (
            "gateways: [ ] # none yet\nx: 1\n",
            "gateways: # none yet\n@x: 1\n",
        ),
        ("gateways: ~\n", "gateways:\n@"),
        ("gateways: null # x\n", "gateways: # x\n@"),
        (
            "gateways:\n  # - name: a\n# b\nx: 1\n",
            "gateways:\n  # - name: a\n@# b\nx: 1\n",
        ),
        ("gateways:\n\nx: 1\n", "gateways:\n@\nx: 1\n"),
        ("gateways:   []\n", "gateways:\n@"),
        ("\"gateways\": []\n", "\"gateways\":\n@"),
    ] {
        assert_eq!(with(before), after.replace('@', BLOCK), "{before}");
    }
}

#[test]
fn an_item_is_written_as_those_before_it() {
    for (before, after) in [
        // Dashes that are not indented, or by four.
        (
            "gateways:\n- name: a\n  port: 1\nx: 1\n",
            "gateways:\n- name: a\n  port: 1\n- name: new\n  schedule: \"*/5 * * * *\"\n  port: 8080\nx: 1\n",
        ),
        (
            "gateways:\n    -   name: a\n        port: 1 # one\n",
            "gateways:\n    -   name: a\n        port: 1 # one\n    -   name: new\n        schedule: \"*/5 * * * *\"\n        port: 8080\n",
        ),
        // In one line each.
        (
            "gateways:\n  - {name: a} # x\n  # y\n",
            "gateways:\n  - {name: a} # x\n  - %\n  # y\n",
        ),
        // An empty line between two.
        (
            "gateways:\n  - name: a\n\n  - name: b\n\nfunctions: []\n",
            "gateways:\n  - name: a\n\n  - name: b\n\n@\nfunctions: []\n",
        ),
        // What is commented out in an item stays in it.
        (
            "gateways:\n  - name: a\n    # port: 1\n    #hosts: []\n  # - name: b\n",
            "gateways:\n  - name: a\n    # port: 1\n    #hosts: []\n@  # - name: b\n",
        ),
        // Values of several lines.
        (
            "gateways:\n  - name: a\n    x: |\n      one\n      two\nx: 1\n",
            "gateways:\n  - name: a\n    x: |\n      one\n      two\n@x: 1\n",
        ),
        (
            "gateways:\n  - name: a\n    hosts: [\n      b,\n    ] # c\n",
            "gateways:\n  - name: a\n    hosts: [\n      b,\n    ] # c\n@",
        ),
        (
            "gateways:\n  - name: a\n    \"function\": 'b' # \"c\"\n",
            "gateways:\n  - name: a\n    \"function\": 'b' # \"c\"\n@",
        ),
        (
            "gateways:\n  -\n    name: a\n",
            "gateways:\n  -\n    name: a\n@",
        ),
        (
            "gateways:\n  - name: ü\n    x:\n",
            "gateways:\n  - name: ü\n    x:\n@",
        ),
    ] {
        let after = after.replace('@', BLOCK).replace('%', FLOW);
        assert_eq!(with(before), after, "{before}");
    }
}

#[test]
fn a_list_in_brackets_stays_in_them() {
    for (before, after) in [
        ("gateways: [{name: a}]\n", "gateways: [{name: a}, %]\n"),
        (
            "gateways: [{name: a}, ] # x\n",
            "gateways: [{name: a}, %, ] # x\n",
        ),
        (
            "gateways: [\n  {name: a}, # one\n  {name: b} # two, and the last\n]\n",
            "gateways: [\n  {name: a}, # one\n  {name: b}, # two, and the last\n  %\n]\n",
        ),
        (
            "gateways: [\n  {name: a},\n] # x\n",
            "gateways: [\n  {name: a},\n  %,\n] # x\n",
        ),
        (
            "gateways: [{name: a},\n           {name: b}]\n",
            "gateways: [{name: a},\n           {name: b},\n           %]\n",
        ),
        ("gateways: [ # none\n]\n", "gateways: [ # none\n%]\n"),
        (
            "{functions: [], gateways: []}\n",
            "{functions: [], gateways: [%]}\n",
        ),
        ("{functions: []}\n", "{functions: [], gateways: [%]}\n"),
        ("{ } # none\n", "{ gateways: [%]} # none\n"),
        ("{gateways: ~}\n", "{gateways: [%]}\n"),
    ] {
        assert_eq!(with(before), after.replace('%', FLOW), "{before}");
    }
}

#[test]
fn json_stays_json() {
    for before in [
        "{\"functions\": [{\"name\": \"a\"}]}",
        "{\n  \"functions\": [],\n  \"gateways\": [\n    {\"name\": \"a\"}\n  ]\n}\n",
        "{\"gateways\":null}",
        "{}",
    ] {
        let after = with(before);
        let after: serde_json::Value = serde_json::from_str(&after).unwrap();
        let last = after["gateways"]
            .as_array()
            .unwrap()
            .last()
            .unwrap()
            .clone();
        let expected = serde_json::json!({"name": "new", "schedule": "*/5 * * * *", "port": 8080});
        assert_eq!(last, expected, "{before}");
    }
}

#[test]
fn what_cannot_be_added_to_is_left_to_a_person() {
    for text in [
        "gateways: 5\n",
        "gateways: {a: 1}\n",
        "- a\n",
        "functions: []\n...\n",
        "{gateways: , functions: []}\n",
    ] {
        let error = draft(text).with(List::Gateways, &item()).unwrap_err();
        let EditError::ByHand(words) = error else {
            panic!("{error:?}");
        };
        assert_eq!(words, format!("gateways:\n{}", BLOCK.trim_end()), "{text}");
    }
}

#[test]
fn words_that_mean_something_else_are_quoted() {
    for text in [
        "true", "8080", "a: b", "-x", "", "1.5", "null", "ü", "a\nb", "*",
    ] {
        let item = [("name", Given::Text(text.to_owned()))];
        for before in ["", "gateways: [{name: a}]\n", "{}"] {
            draft(before).with(List::Gateways, &item).unwrap();
        }
    }
}

#[test]
fn every_file_of_the_tests_keeps_its_bytes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config");
    let mut added = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let file = entry.unwrap().path();
        if file.extension().is_none_or(|end| end != "yml") {
            continue;
        }
        let Ok(draft) = Draft::open(&file) else {
            continue;
        };
        for list in [List::Functions, List::Gateways] {
            let Ok(edited) = draft.with(list, &item()) else {
                continue;
            };
            let (before, mut after) = (&*draft.text.text, edited.text.as_str());
            // All bytes are there in their order, but for an empty list.
            let emptied = before.replace("[]", "");
            for letter in emptied.chars().filter(|letter| !letter.is_whitespace()) {
                let at = after.find(letter);
                let at = at.unwrap_or_else(|| panic!("{}: {letter}", file.display()));
                after = &after[at + letter.len_utf8()..];
            }
            added += 1;
        }
    }
    assert!(added > 40, "{added}");
}
