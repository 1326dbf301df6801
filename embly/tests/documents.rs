//! Documents that show what the code says: they are compared, and `EMBLY_UPDATE=1` writes them.

use std::fs;
use std::path::Path;

const BEGIN: &str = "<!-- table -->\n";
const END: &str = "<!-- end of table -->\n";

#[test]
fn the_state_machine_in_the_documents_is_the_one_in_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/state-machine.md");
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("a marker before the table");
    let (_, after) = rest.split_once(END).expect("a marker after the table");
    let right = format!(
        "{before}{BEGIN}\n{}\n{END}{after}",
        embly::router::markdown()
    );
    if std::env::var_os("EMBLY_UPDATE").is_some() {
        fs::write(&path, right).unwrap();
    } else {
        assert!(
            text == right,
            "docs/state-machine.md is old: EMBLY_UPDATE=1 cargo test --test documents"
        );
    }
}
