//! Projects with secrets.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::{Embly, Project, arguments, command};

/// The line of a function that gets the secret `KEY`.
pub const LISTED: &str = "    secrets: [KEY]";

/// A project, and the key of its secrets.
pub struct Place {
    /// The project.
    pub project: Project,
    /// Where the key lies.
    pub keys: tempfile::TempDir,
}

impl Place {
    /// A project whose key is not made yet.
    pub fn new(project: Project) -> Self {
        let keys = tempfile::tempdir().unwrap();
        Self { project, keys }
    }

    /// The file of the key.
    pub fn key(&self) -> PathBuf {
        self.keys.path().join("secrets.key")
    }

    /// Its folder.
    pub fn path(&self) -> &str {
        self.project.path().to_str().unwrap()
    }

    /// `embly` with these arguments and this on standard input: exit code, stdout, stderr.
    pub fn embly(&self, arguments: &[&str], input: &[u8]) -> (i32, String, String) {
        finish(self.command(arguments), input)
    }

    /// `embly` with these arguments.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command(arguments, self.keys.path());
        command.env("EMBLY_SECRETS_KEY_FILE", self.key());
        command
    }

    /// Sets a secret.
    pub fn set(&self, name: &str, value: &str) {
        let (code, stdout, stderr) =
            self.embly(&["secrets", "set", name, self.path()], value.as_bytes());
        assert_eq!((code, stdout.as_str()), (0, ""), "{stderr}");
        assert!(!stderr.contains(value), "{stderr}");
    }

    /// `embly COMMAND` on the project, with these variables.
    pub fn start(&self, what: &str, variables: &[(&str, &str)], more: &[&str]) -> Embly {
        let runtime = tempfile::tempdir().unwrap();
        let mut command = command(&arguments(what, self.project.path()), runtime.path());
        command.args(more);
        command.env("EMBLY_SECRETS_KEY_FILE", self.key());
        command.envs(variables.iter().copied());
        Embly::spawn(command, runtime, self.project.gateways())
    }

    /// `embly run` on the project.
    pub fn run(&self) -> Embly {
        self.start("run", &[], &[])
    }
}

/// Runs a command with this on standard input: exit code, stdout, stderr.
pub fn finish(mut command: Command, input: &[u8]) -> (i32, String, String) {
    let command = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // One that wants none may have gone.
    let _ = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    (output.status.code().unwrap(), stdout, stderr)
}

/// A function that is careless with its secrets.
pub fn confides(keys: &str) -> Project {
    Project::new().guest_with("confides", keys).http("confides")
}

/// Neither as it is, nor as JSON or a URL write it.
#[track_caller]
pub fn not_in(text: &str, value: &str) {
    let json = serde_json::to_string(value).unwrap();
    let percent = value.replace('"', "%22").replace(' ', "%20");
    for form in [value, json.trim_matches('"'), &percent] {
        assert!(!text.contains(form), "{form} in {text}");
    }
}
