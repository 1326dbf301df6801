//! `embly-fuzz-modules FOLDER FIRST COUNT`: writes so many modules, one for each seed from the first on.
//! The same seed makes the same module.

mod calls;
mod dice;
mod module;

use std::path::Path;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, first, count] = &arguments[..] else {
        panic!("usage: embly-fuzz-modules FOLDER FIRST COUNT");
    };
    let number = |text: &String| -> u64 { text.parse().expect("a number") };
    let (first, count) = (number(first), number(count));
    std::fs::create_dir_all(folder).expect("a folder that can be made");
    for seed in first..first + count {
        let file = Path::new(folder).join(format!("{seed:010}.wasm"));
        std::fs::write(file, module::module(seed)).expect("a folder that can be written to");
    }
}
