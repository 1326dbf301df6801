//! The compiler: what it is kept in, and what becomes of modules that are made to hurt it.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use embly_wrapper::compile::{CompileError, Compiled, MAX_WASM, compile, compile_within};
use embly_wrapper::jail::compiler::Limits;

use rustix::process::{Signal, getppid, kill_process};

use super::support::{EMBLY, eventually};

/// Compiles a text or binary module in a cache of its own.
fn compiled(module: &[u8], limits: Limits, within: Duration) -> Result<Compiled, CompileError> {
    let folder = tempfile::tempdir().unwrap();
    let name = if module.starts_with(b"\0asm") {
        "x.wasm"
    } else {
        "x.wat"
    };
    let file = folder.path().join(name);
    fs::write(&file, module).unwrap();
    let result = compile_within(&file, folder.path(), "_start", limits, within);
    if result.is_err() {
        let left = fs::read_dir(folder.path().join("artefacts"))
            .unwrap()
            .count();
        assert_eq!(left, 0, "an artefact of a module that was refused");
    }
    result
}

/// Many functions with much in each of them.
fn large(functions: usize, loops: usize) -> String {
    let mut text = String::from("(module (func (export \"_start\"))");
    for _ in 0..functions {
        text.push_str("(func (param i64 i64) (result i64) (local i64 i64 i64 i64)");
        for n in 0..loops {
            let (a, b, c) = (n % 6, (n * 7 + 1) % 6, (n * 5 + 2) % 6);
            write!(
                text,
                "(loop (local.set {a} (i64.mul (local.get {b}) (i64.xor (local.get {c}) \
                 (i64.const {n})))) (br_if 0 (i64.eqz (local.get {a}))))"
            )
            .unwrap();
        }
        text.push_str("(local.get 1))");
    }
    text.push(')');
    text
}

pub fn a_compiler_is_jailed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.wat");
    fs::write(&file, large(300, 300)).unwrap();
    let mut compiler = Command::new(EMBLY)
        .args(["wrapper", "compile"])
        .args([file.as_path(), folder.path(), Path::new("_start")])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let read = |name: &str| {
        fs::read_to_string(format!("/proc/{}/{name}", compiler.id())).unwrap_or_default()
    };
    let lines = [
        "Seccomp:\t2",
        "NoNewPrivs:\t1",
        "CapPrm:\t0000000000000000",
        "CapEff:\t0000000000000000",
        "CapAmb:\t0000000000000000",
    ];
    eventually("its jail is closed", || {
        let status = read("status");
        lines.iter().all(|line| status.contains(line))
    });
    let limits = read("limits");
    let words: Vec<Vec<&str>> = limits
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    let Limits { memory, cpu } = Limits::default();
    for (name, most) in [("cpu", cpu), ("data", memory), ("core", 0), ("locked", 0)] {
        let line = words
            .iter()
            .find(|line| line.get(1) == Some(&name))
            .unwrap();
        assert!(line.contains(&most.to_string().as_str()), "{line:?}");
    }
    assert_eq!(read("oom_score_adj").trim(), "1000");
    let _ = compiler.kill();
    compiler.wait().unwrap();
}

pub fn a_module_that_takes_too_long_ends_with_the_limit() {
    let module = large(4000, 400);
    let limits = Limits {
        cpu: 1,
        ..Limits::default()
    };
    let error = compiled(module.as_bytes(), limits, Duration::from_secs(60)).unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with("compiling it takes more than 1 s of CPU time, "),
        "{text}"
    );
    assert!(text.contains("make it smaller"), "{text}");
    let began = Instant::now();
    let error = compiled(module.as_bytes(), Limits::default(), Duration::from_secs(1));
    let text = error.unwrap_err().to_string();
    assert!(
        text.starts_with("compiling it takes more than 1 s, "),
        "{text}"
    );
    assert!(
        began.elapsed() < Duration::from_secs(3),
        "{:?}",
        began.elapsed()
    );
}

pub fn a_module_that_takes_too_much_memory_ends_with_the_limit() {
    let limits = Limits {
        memory: 48 << 20,
        ..Limits::default()
    };
    let module = large(2000, 200);
    let error = compiled(module.as_bytes(), limits, Duration::from_secs(60)).unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with("compiling it takes more than 48 MiB of memory, "),
        "{text}"
    );
}

/// A number as wasm writes it.
fn leb(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let digit = (number & 0x7f) as u8;
        number >>= 7;
        if number == 0 {
            bytes.push(digit);
            return bytes;
        }
        bytes.push(digit | 0x80);
    }
}

fn section(number: u8, content: &[u8]) -> Vec<u8> {
    [&[number], &leb(content.len() as u64)[..], content].concat()
}

fn module(sections: &[Vec<u8>]) -> Vec<u8> {
    [b"\0asm\x01\0\0\0".to_vec(), sections.concat()].concat()
}

/// One function of type `() -> ()`, exported, with this body.
fn with_body(locals: &[u8], code: &[u8]) -> Vec<u8> {
    let body = [locals, code, &[0x0b]].concat();
    let body = [&[1], &leb(body.len() as u64)[..], &body].concat();
    module(&[
        section(1, &[1, 0x60, 0, 0]),
        section(3, &[1, 0]),
        section(7, b"\x01\x06_start\x00\x00"),
        section(10, &body),
    ])
}

pub fn hostile_modules_end_with_a_clear_error() {
    let deep = |depth: usize| {
        let code = [[0x02, 0x40].repeat(depth), vec![0x0b; depth]].concat();
        with_body(&[0], &code)
    };
    let start = "(func (export \"_start\"))";
    let text = |text: &str| format!("(module {text} {start})").into_bytes();
    let many = |one: &str, count: usize| text(&one.repeat(count));
    // A name, the module, and what its error says; nothing: it may compile, or not.
    let cases: Vec<(&str, Vec<u8>, Option<&str>)> = vec![
        ("a header alone", module(&[]), Some("exports no function")),
        ("half a header", b"\0asm".to_vec(), Some("not valid")),
        (
            "half a section",
            module(&[vec![1, 0xff, 0xff, 3, 1]]),
            Some("not valid"),
        ),
        (
            "a section of 4 GiB",
            module(&[vec![10, 0xff, 0xff, 0xff, 0xff, 0xf]]),
            Some("not valid"),
        ),
        (
            "4294967295 types",
            module(&[section(1, &leb(0xffff_ffff))]),
            Some("not valid"),
        ),
        (
            "4294967295 functions",
            module(&[section(3, &leb(0xffff_ffff))]),
            Some("not valid"),
        ),
        (
            "4294967295 locals",
            with_body(&[1, 0xff, 0xff, 0xff, 0xff, 0xf, 0x7e], &[]),
            Some("not valid"),
        ),
        (
            "50000 locals",
            with_body(&[&[1][..], &leb(50_000), &[0x7e]].concat(), &[]),
            None,
        ),
        ("blocks 100000 deep", deep(100_000), None),
        ("blocks 3000000 deep", deep(3_000_000), None),
        (
            "a text 100000 deep",
            text(&format!(
                "(func {} {})",
                "(block ".repeat(100_000),
                ")".repeat(100_000)
            )),
            None,
        ),
        ("a memory of 4 GiB", text("(memory 65536)"), None),
        (
            "a memory over 4 GiB",
            text("(memory 65537)"),
            Some("not valid"),
        ),
        (
            "a table of 4294967295",
            text("(table 4294967295 funcref)"),
            None,
        ),
        ("200 memories", many("(memory 65536)", 200), None),
        (
            "1000 tables of 10000000",
            many("(table 10000000 funcref)", 1000),
            Some("not valid"),
        ),
        (
            "100000 globals",
            many("(global (mut i64) (i64.const 0))", 100_000),
            None,
        ),
        ("2000000 types", many("(type (func))", 2_000_000), None),
        (
            "a br_table of 5000000",
            with_body(
                &[0],
                &[&[0x41, 0, 0x0e][..], &leb(5_000_000), &vec![0; 5_000_001]].concat(),
            ),
            None,
        ),
        (
            "200000 exports",
            {
                let mut exports = String::new();
                for n in 0..200_000 {
                    write!(exports, "(export \"{n}\" (func 0))").unwrap();
                }
                text(&exports)
            },
            None,
        ),
    ];
    for (name, module, expected) in cases {
        let began = Instant::now();
        let result = compiled(&module, Limits::default(), Duration::from_secs(60));
        let took = began.elapsed();
        match (&result, expected) {
            (Ok(_), None) => {}
            (Err(CompileError::Process(text)), _) => panic!("{name}: the compiler broke: {text}"),
            (Err(error), Some(words)) if error.to_string().contains(words) => {}
            (Err(error), None) if !error.to_string().is_empty() => {}
            other => panic!("{name}: {other:?}"),
        }
        eprintln!(
            "{name}: {} ms, {}",
            took.as_millis(),
            match result {
                Ok(_) => "compiles".to_owned(),
                Err(error) => error.to_string().chars().take(100).collect(),
            }
        );
        assert!(took < Duration::from_secs(30), "{name}: {took:?}");
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.wasm");
    fs::write(&file, b"\0asm\x01\0\0\0").unwrap();
    fs::File::options()
        .write(true)
        .open(&file)
        .unwrap()
        .set_len(MAX_WASM + 1)
        .unwrap();
    let error = compile(&file, folder.path(), "_start").unwrap_err();
    assert!(error.to_string().contains("larger than 256 MiB"), "{error}");
}

/// The role in which this program enters the jail of a compiler and tries to get at a folder.
pub const ROLE: &str = "compiler-that-was-taken-over";

/// Tries it, and says what has worked.
pub fn attempt(mut arguments: impl Iterator<Item = std::ffi::OsString>) -> ExitCode {
    let folder = PathBuf::from(arguments.next().unwrap());
    let (own, other) = (folder.join("own"), folder.join("other"));
    // What a compiler has open before it looks at the module.
    let mut draft = fs::File::create(&own).unwrap();
    embly_wrapper::jail::compiler::enter(Limits::default()).unwrap();
    let worked = [
        ("reads another", fs::read(&other).is_ok()),
        ("writes another", fs::write(&other, "hostile").is_ok()),
        ("removes another", fs::remove_file(&other).is_ok()),
        ("takes another's name", fs::rename(&own, &other).is_ok()),
        ("makes a file", fs::write(folder.join("new"), "").is_ok()),
        ("lists the folder", fs::read_dir(&folder).is_ok()),
        ("reads the system", fs::read("/etc/passwd").is_ok()),
        ("connects", TcpStream::connect("127.0.0.1:1").is_ok()),
        (
            "starts a program",
            Command::new("/bin/true").spawn().is_ok(),
        ),
        (
            "ends another",
            kill_process(getppid().unwrap(), Signal::CONT).is_ok(),
        ),
    ];
    for (what, _) in worked.iter().filter(|(_, worked)| *worked) {
        println!("{what}");
    }
    draft.write_all(b"its own").unwrap();
    ExitCode::SUCCESS
}

pub fn a_compiler_that_was_taken_over_writes_its_own_file_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("other"), "native code").unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args([OsStr::new(ROLE), folder.path().as_os_str()])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    assert_eq!(
        (read("own").as_str(), read("other").as_str()),
        ("its own", "native code")
    );
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}
