//! Packages from the Debian mirror that this machine uses, without root and without touching its package lists.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::rustc::on_path;
use crate::build::Cancel;
use crate::build::process::{self, Captured};

/// Signs what is downloaded.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// For one apt or dpkg call; the largest package has 45 MB.
const LIMIT: Duration = Duration::from_secs(300);
/// Read after the machine's own settings. No preferences, no programs that the machine starts after an update (they would
/// clear its caches), no translations or indexes of contents; an update that does not reach the mirror is an error.
const SETTINGS: &str = r#"
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
APT::Sandbox::User "root";
APT::Update::Error-Mode "any";
Acquire::Languages "none";
Acquire::Retries "1";
Acquire::http::Timeout "30";
Acquire::https::Timeout "30";
Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled "false";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
"#;

/// A Debian mirror and the release of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mirror {
    pub(super) uri: String,
    pub(super) codename: String,
}

/// The mirror that this machine's apt uses for its own release; in words why there is none.
pub(super) fn mirror(cancel: &Cancel) -> Result<Mirror, String> {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let value = |key| field(&release, key).unwrap_or_default();
    if value("ID") != "debian" {
        return Err("Debian's sources: this system is not Debian".to_owned());
    }
    for program in ["apt-get", "dpkg-deb"] {
        on_path(program).ok_or_else(|| format!("Debian's sources: `{program}` was not found"))?;
    }
    if !Path::new(KEYRING).is_file() {
        return Err(
            "Debian's sources: the package `debian-archive-keyring` is not installed".to_owned(),
        );
    }
    let codename = value("VERSION_CODENAME");
    let mut command = Command::new("apt-get");
    command
        .args([
            "indextargets",
            "--no-release-info",
            "--format",
            "$(REPO_URI)",
        ])
        .args([
            "Created-By: Packages".to_owned(),
            format!("Release: {codename}"),
        ]);
    let done = finish(&mut command, cancel)?;
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    let uri = text
        .lines()
        .next()
        .map(str::trim)
        .filter(|uri| !uri.is_empty());
    let uri =
        uri.ok_or_else(|| format!("Debian's sources: apt knows no mirror for `{codename}`"))?;
    Ok(Mirror {
        uri: uri.to_owned(),
        codename: codename.to_owned(),
    })
}

/// A value of `/etc/os-release`, without its quotes.
fn field<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
        .map(|value| value.trim_matches(['"', '\'']))
}

/// Downloads packages into a folder of its own.
pub(super) struct Packages<'a> {
    mirror: &'a Mirror,
    work: PathBuf,
    cancel: &'a Cancel,
    /// Suites whose lists were fetched, with what went wrong.
    lists: HashMap<String, Result<(), String>>,
}

impl<'a> Packages<'a> {
    pub(super) fn new(mirror: &'a Mirror, work: &Path, cancel: &'a Cancel) -> Self {
        Self {
            mirror,
            work: work.to_owned(),
            cancel,
            lists: HashMap::new(),
        }
    }

    /// Fetches `name` in a version that matches the pattern (empty: the newest) from the first suite that has it, and
    /// unpacks it; returns the folder.
    pub(super) fn fetch(
        &mut self,
        name: &str,
        version: &str,
        suites: &[&str],
    ) -> Result<PathBuf, String> {
        let mut reasons = Vec::new();
        for suite in suites {
            match self.fetch_from(name, version, suite) {
                Ok(folder) => return Ok(folder),
                Err(_) if self.cancel.is_cancelled() => break,
                Err(why) => reasons.push(format!("{suite}: {why}")),
            }
        }
        let pattern = if version.is_empty() {
            String::new()
        } else {
            format!(" {version}")
        };
        Err(format!(
            "no package `{name}`{pattern} from {}\n{}",
            self.mirror.uri,
            reasons.join("\n")
        ))
    }

    fn fetch_from(&mut self, name: &str, version: &str, suite: &str) -> Result<PathBuf, String> {
        if !self.lists.contains_key(suite) {
            let result = self.update(suite);
            self.lists.insert(suite.to_owned(), result);
        }
        self.lists[suite].clone()?;
        let package = if version.is_empty() {
            name.to_owned()
        } else {
            format!("{name}={version}")
        };
        let packages = self.work.join("packages").join(name);
        fs::create_dir_all(&packages)
            .map_err(|error| format!("{}: {error}", packages.display()))?;
        finish(
            self.apt(suite)
                .arg("download")
                .arg(package)
                .current_dir(&packages),
            self.cancel,
        )?;
        let file = fs::read_dir(&packages)
            .map_err(|error| format!("{}: {error}", packages.display()))?
            .flatten()
            .map(|entry| entry.path())
            .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
            .ok_or("apt has downloaded nothing")?;
        let folder = self.work.join(name);
        finish(
            Command::new("dpkg-deb").arg("-x").arg(&file).arg(&folder),
            self.cancel,
        )?;
        let _ = fs::remove_file(file);
        Ok(folder)
    }

    fn update(&self, suite: &str) -> Result<(), String> {
        let apt = self.root(suite);
        let line = format!(
            "deb [signed-by={KEYRING}] {} {suite} main\n",
            self.mirror.uri
        );
        fs::create_dir_all(apt.join("lists/partial"))
            .and_then(|()| fs::create_dir_all(apt.join("cache/archives/partial")))
            .and_then(|()| fs::write(apt.join("status"), ""))
            .and_then(|()| fs::write(apt.join("list"), line))
            .and_then(|()| fs::write(apt.join("conf"), SETTINGS))
            .map_err(|error| format!("{}: {error}", apt.display()))?;
        finish(self.apt(suite).arg("update"), self.cancel).map(drop)
    }

    fn root(&self, suite: &str) -> PathBuf {
        self.work.join("apt").join(suite)
    }

    /// apt with the machine's proxies and credentials, but with one source and with folders of our own.
    fn apt(&self, suite: &str) -> Command {
        let root = self.root(suite);
        let mut command = Command::new("apt-get");
        let folders = [
            ("Dir::Etc::sourcelist", "list"),
            ("Dir::State::lists", "lists"),
            ("Dir::State::status", "status"),
            ("Dir::Cache", "cache"),
        ];
        for (key, name) in folders {
            let mut option = std::ffi::OsString::from(format!("{key}="));
            option.push(root.join(name));
            command.arg("-o").arg(option);
        }
        command.arg("-c").arg(root.join("conf"));
        command.arg("-qq");
        command
    }
}

/// Runs a command that must succeed; in words what went wrong.
pub(super) fn finish(command: &mut Command, cancel: &Cancel) -> Result<Captured, String> {
    command
        .env("LC_ALL", "C.UTF-8")
        .env("DEBIAN_FRONTEND", "noninteractive");
    let name = format!("`{}`", command.get_program().to_string_lossy());
    match process::capture(command, LIMIT, cancel) {
        Ok(done) if done.status.success() => Ok(done),
        Ok(done) => Err(format!(
            "{name} failed ({})\n{}",
            done.status,
            errors(&done.tail())
        )),
        Err(error) => Err(format!("{name} {error}")),
    }
}

/// apt's lines of errors, without its warnings; all lines where there are none.
fn errors(text: &str) -> String {
    let errors: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("E: "))
        .collect();
    if errors.is_empty() {
        text.to_owned()
    } else {
        errors.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_os_release_are_found_with_and_without_quotes() {
        let text = "PRETTY_NAME=\"Debian GNU/Linux 12\"\nVERSION_ID='12'\nID=debian\n";
        assert_eq!(field(text, "ID"), Some("debian"));
        assert_eq!(field(text, "VERSION_ID"), Some("12"));
        assert_eq!(field(text, "VERSION_CODENAME"), None);
    }
}
