//! Projects made by tests.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use embly::build::Cancel;
use embly::build::toolchain::{self, TARGET};

/// All tests with this isolation: nothing that they promise depends on it.
const ISOLATION: &str = "EMBLY_TEST_ISOLATION";

/// A project in a folder of its own.
pub struct Project {
    folder: tempfile::TempDir,
    functions: String,
    gateways: String,
    stores: String,
    more: String,
    count: usize,
    parks: bool,
}

impl Project {
    /// Nothing in it yet.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            folder,
            functions: String::new(),
            gateways: String::new(),
            stores: String::new(),
            more: String::new(),
            count: 0,
            parks: true,
        }
    }

    /// Nothing in it yet, and no wrapper of it ever waits for a request: for who looks at processes.
    pub fn unparked() -> Self {
        Self {
            parks: false,
            ..Self::new()
        }
    }

    /// Adds a function from a text module.
    pub fn wat(self, name: &str, text: &str) -> Self {
        self.wat_with(name, text, "")
    }

    /// The same with more keys, each line indented by four.
    pub fn wat_with(mut self, name: &str, text: &str, keys: &str) -> Self {
        fs::write(self.folder.path().join(format!("{name}.wat")), text).unwrap();
        self.function(name, &format!("./{name}.wat"), "wasm", keys);
        self
    }

    /// Adds a function of `tests/guest`, built once for all tests.
    pub fn guest(self, name: &str) -> Self {
        self.guest_with(name, "")
    }

    /// The same with more keys, each line indented by four: `    limits: {wall: 1s}`.
    pub fn guest_with(mut self, name: &str, keys: &str) -> Self {
        let wasm = guest();
        let here = self.folder.path().join("guest.wasm");
        if !here.exists() {
            fs::copy(wasm, &here).unwrap();
        }
        self.function(name, "./guest.wasm", "wasm", keys);
        self
    }

    /// Adds a function from a Rust program, a crate in the project's workspace.
    pub fn rust(mut self, name: &str, text: &str) -> Self {
        // What cargo needs is there from now on, and no other version of it.
        guest();
        let sdk = Path::new(env!("CARGO_MANIFEST_DIR")).join("../embly-sdk");
        let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guest/Cargo.lock");
        fs::copy(lock, self.folder.path().join("Cargo.lock")).unwrap();
        self.write(
            "Cargo.toml",
            "[workspace]\nresolver = \"3\"\nmembers = [\"[a-z]*/\"]\n",
        );
        let manifest = format!(
            "[package]\nname = \"{name}\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n\
             [dependencies]\nembly = {{ package = \"embly-sdk\", path = {:?} }}\n",
            sdk.canonicalize().unwrap()
        );
        self.write(&format!("{name}/Cargo.toml"), &manifest);
        self.write(&format!("{name}/src/main.rs"), text);
        self.function(name, &format!("./{name}"), "rust", "");
        self
    }

    /// The text of a file in the project.
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap()
    }

    /// Writes a file in the project, in one step, as editors do.
    pub fn write(&self, name: &str, text: &str) {
        let file = self.folder.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        let temporary = file.with_extension("tmp");
        fs::write(&temporary, text).unwrap();
        fs::rename(temporary, file).unwrap();
    }

    fn function(&mut self, name: &str, path: &str, language: &str, keys: &str) {
        let functions = &mut self.functions;
        writeln!(
            functions,
            "  - name: {name}\n    path: {path}\n    language: {language}"
        )
        .unwrap();
        if !self.parks {
            writeln!(functions, "    parked: {{max: 0}}").unwrap();
        }
        if let Ok(isolation) = std::env::var(ISOLATION)
            && !keys.contains("isolation: ")
        {
            writeln!(functions, "    isolation: {isolation}").unwrap();
        }
        if !keys.is_empty() {
            writeln!(functions, "{keys}").unwrap();
        }
    }

    /// Adds an HTTP gateway of the same name as its function.
    pub fn http(self, function: &str) -> Self {
        self.gateway(function, "http", function)
    }

    /// Adds a TCP gateway of the same name as its function.
    pub fn tcp(self, function: &str) -> Self {
        self.gateway(function, "tcp", function)
    }

    /// Adds a gateway.
    pub fn gateway(mut self, name: &str, kind: &str, function: &str) -> Self {
        let gateways = &mut self.gateways;
        write!(
            gateways,
            "  - name: {name}\n    type: {kind}\n    port: 0\n"
        )
        .unwrap();
        writeln!(gateways, "    function: {function}").unwrap();
        self.count += 1;
        self
    }

    /// Adds a gateway with these keys, each line indented by four.
    pub fn gateway_with(mut self, name: &str, keys: &str) -> Self {
        let gateways = &mut self.gateways;
        writeln!(gateways, "  - name: {name}\n    type: http\n{keys}").unwrap();
        self.count += 1;
        self
    }

    /// Adds a gateway of type cron with these keys, each line indented by four.
    pub fn cron(mut self, name: &str, keys: &str) -> Self {
        writeln!(self.gateways, "  - name: {name}\n    type: cron\n{keys}").unwrap();
        self
    }

    /// Adds a store: `name: default, type: kv`.
    pub fn store(mut self, keys: &str) -> Self {
        writeln!(self.stores, "  - {{{keys}}}").unwrap();
        self
    }

    /// Adds keys of the project itself, as they are.
    pub fn top(mut self, keys: &str) -> Self {
        writeln!(self.more, "{keys}").unwrap();
        self
    }

    /// Replaces text in the project file, from then on as it is; it must be there.
    pub fn edit(&self, old: &str, new: &str) {
        self.path();
        let text = self.read("embly-project.yml");
        assert!(text.contains(old), "{text}");
        self.write("embly-project.yml", &text.replace(old, new));
    }

    /// Writes the project file, once, and returns the folder.
    pub fn path(&self) -> &Path {
        let Self {
            folder,
            functions,
            gateways,
            stores,
            more,
            ..
        } = self;
        let mut text = format!("functions:\n{functions}");
        if !gateways.is_empty() {
            write!(text, "gateways:\n{gateways}").unwrap();
        }
        if !stores.is_empty() {
            write!(text, "stores:\n{stores}").unwrap();
        }
        text.push_str(more);
        let file = folder.path().join("embly-project.yml");
        if !file.exists() {
            fs::write(file, text).unwrap();
        }
        folder.path()
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// How many gateways it has.
    pub fn gateways(&self) -> usize {
        self.count
    }
}

/// A text module that waits for something that never comes.
pub const WAITS: &str = "(module
  (import \"embly\" \"_events\" (func $events (param i32 i64 i32 i32 i32 i32) (result i32)))
  (memory (export \"memory\") 1)
  (func (export \"_start\") (loop $again
    (drop (call $events (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 64) (i32.const 4) (i32.const 32)))
    (br $again))))";

/// A text module that answers any request with this text.
pub fn answering(text: &str) -> String {
    let length = text.len();
    writing(&format!(
        "HTTP/1.1 200 OK\\0d\\0acontent-length: {length}\\0d\\0a\\0d\\0a{text}"
    ))
}

/// A text module that writes these bytes, escaped as its text has them.
pub fn writing(response: &str) -> String {
    // Each escaped byte is three characters long and one byte in memory.
    let bytes = response.len() - 2 * response.matches('\\').count();
    format!(
        "(module
          (import \"embly\" \"_write\" (func $write (param i32 i32 i32 i32) (result i32)))
          (memory (export \"memory\") 1)
          (data (i32.const 16) \"{response}\")
          (func (export \"_start\")
            (drop (call $write (i32.const 1) (i32.const 16) (i32.const {bytes}) (i32.const 0)))))"
    )
}

/// The wasm of `tests/guest`.
pub fn guest() -> &'static Path {
    static GUEST: OnceLock<PathBuf> = OnceLock::new();
    GUEST.get_or_init(|| {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let cache = super::cache_home().join("embly");
        let mut say = |line: &str| eprintln!("{line}");
        let toolchain = toolchain::ensure_in_cache(here, &cache, &Cancel::new(), &mut say).unwrap();
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("guest");
        let mut cargo: Command = toolchain.cargo_command();
        let built = cargo
            .args([
                "build",
                "--release",
                "--quiet",
                "--target",
                TARGET,
                "--target-dir",
            ])
            .arg(&target)
            .current_dir(here.join("tests/guest"))
            .output()
            .unwrap();
        assert!(
            built.status.success(),
            "{}",
            String::from_utf8_lossy(&built.stderr)
        );
        target.join(TARGET).join("release/guest.wasm")
    })
}
