//! `embly deploy`, `versions` and `rollback`: bundles to a master of this machine, or of another one by
//! way of `ssh`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Args;
use http::Method;
use url::Url;

use super::find::{Found, Named, Which};
use super::{changed, json, refused, shown};
use crate::admin::{self, api};
use crate::bundle::{self, Limits};
use crate::cli::bundle::{Verify, open, refused as bad_bundle};
use crate::cli::output::Table;
use crate::cli::{Exit, context, serve};
use crate::report::{Format, Reporter};
use crate::versions::Versions;

/// The program that reaches other machines.
const SSH: &str = "ssh";

/// What a shell says of a program that it does not find.
const NOT_FOUND: i32 = 127;

#[derive(Debug, Args)]
pub struct Deploy {
    /// The bundle; `-` is standard input
    file: PathBuf,
    #[command(flatten)]
    named: Named,
    /// The machine of the master; `ssh` reaches it, and runs `embly` there
    #[arg(long, value_name = "ssh://[USER@]HOST[:PORT]", value_parser = Remote::parse)]
    to: Option<Remote>,
    #[command(flatten)]
    verify: Verify,
}

/// Which versions.
#[derive(Debug, Args)]
pub struct Kept {
    #[command(flatten)]
    which: Which,
    /// Those in this folder, where it was given to `embly run --state`; no master has to run
    #[arg(long, value_name = "DIR", conflicts_with_all = ["path", "master"])]
    state: Option<PathBuf>,
}

/// Where no master can be asked.
const ASK_THE_FOLDER: &str = "start one with `embly run --state DIR`, or see what is kept in its folder with `embly versions --state DIR`";

impl Kept {
    async fn find(&self, reporter: &Reporter) -> Result<api::Versions, Exit> {
        let Some(state) = &self.state else {
            let Found { client, .. } = self.which.find_or(ASK_THE_FOLDER, reporter).await?;
            let versions = client.get("/v1/versions").await;
            return versions.map_err(|refusal| refused(refusal, reporter));
        };
        let wrong = |text: String| {
            reporter.error(text);
            Exit::Failed
        };
        if !state.is_dir() {
            return Err(wrong(format!(
                "there is no folder `{}`: name the one that `embly run --state DIR` was given",
                state.display()
            )));
        }
        admin::kept(&Versions::new(state)).map_err(|error| wrong(error.to_string()))
    }
}

/// A machine that `ssh` reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    user: Option<String>,
    host: String,
    port: Option<u16>,
}

impl Remote {
    fn parse(text: &str) -> Result<Self, String> {
        const FORM: &str = "write `ssh://[USER@]HOST[:PORT]`";
        let url = Url::parse(text).map_err(|error| format!("{error}: {FORM}"))?;
        let bare = matches!(url.path(), "" | "/") && url.query().is_none();
        let plain = url.password().is_none() && url.fragment().is_none();
        if url.scheme() != SSH || !bare || !plain {
            return Err(FORM.to_owned());
        }
        // Nothing of it may be an option of `ssh`, or a word of a shell.
        let word = |text: &str| {
            let first = text.bytes().next();
            first.is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_')
                && text
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        };
        let address = |text: &str| text.parse::<std::net::Ipv6Addr>().is_ok();
        let host = url.host_str().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let user = Some(url.username()).filter(|user| !user.is_empty());
        if !(word(host) || address(host)) || user.is_some_and(|user| !word(user)) {
            return Err(format!("this is no host, or no user: {FORM}"));
        }
        Ok(Self {
            user: user.map(str::to_owned),
            host: host.to_owned(),
            port: url.port(),
        })
    }
}

/// Deploys a bundle.
pub fn run(deploy: &Deploy, reporter: &Reporter) -> Exit {
    let done = deployed(deploy, reporter);
    done.err().unwrap_or(Exit::Done)
}

fn deployed(deploy: &Deploy, reporter: &Reporter) -> Result<(), Exit> {
    let Deploy {
        file: path,
        named,
        to,
        verify,
    } = deploy;
    let key = verify.key(reporter)?;
    let unreadable = |error: io::Error| {
        let hint = match error.kind() {
            io::ErrorKind::NotFound => "\nhint: `embly bundle -o FILE` makes one of a project",
            _ => "",
        };
        reporter.error(format!("cannot read `{}`: {error}{hint}", path.display()));
        Exit::Failed
    };
    let mut file = match path == Path::new("-") {
        true => taken(reporter)?,
        false => open(path).map_err(unreadable)?,
    };
    // Here, where somebody can do something about it.
    bundle::examine(&file, key.as_ref(), &Limits::default()).map_err(|error| {
        reporter.error(bad_bundle(path, &error));
        Exit::Failed
    })?;
    file.rewind().map_err(unreadable)?;
    if let Some(remote) = to {
        return elsewhere(remote, named, file, reporter);
    }
    let runtime = serve::runtime(reporter)?;
    let sent = async {
        let sent = send(named, file, reporter).await;
        sent.err().unwrap_or(Exit::Done)
    };
    match serve::block_on(runtime, sent) {
        Exit::Done => Ok(()),
        exit => Err(exit),
    }
}

/// Standard input, in a file that nobody else sees: it is read twice.
fn taken(reporter: &Reporter) -> Result<File, Exit> {
    let path = context::cache(reporter)?.join(format!(".deploy-{:016x}", rand::random::<u64>()));
    let take = || {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        let mut file = options.open(&path)?;
        fs::remove_file(&path)?;
        // What is more is no bundle, and is not taken.
        let most = 2 * Limits::default().bytes;
        io::copy(&mut io::stdin().lock().take(most), &mut file)?;
        file.rewind()?;
        Ok(file)
    };
    take().map_err(|error: io::Error| {
        reporter.error(format!(
            "cannot take the bundle from standard input: {error}"
        ));
        Exit::Failed
    })
}

async fn send(named: &Named, file: File, reporter: &Reporter) -> Result<(), Exit> {
    let Found { client, .. } = named.find(reporter).await?;
    let sent = client.send(&Method::POST, "/v1/versions", file).await;
    told(sent, reporter)
}

fn told(deployed: Result<api::Deployed, super::Refusal>, reporter: &Reporter) -> Result<(), Exit> {
    let deployed = deployed.map(|mut deployed| {
        let problems = std::mem::take(&mut deployed.problems);
        (deployed, problems)
    });
    let deployed = changed(deployed, reporter)?;
    if reporter.options().format == Format::Json {
        return json("deployed", &[deployed], reporter);
    }
    let before = match deployed.before {
        Some(before) if before == deployed.version => {
            ", as before: it has the same in it".to_owned()
        }
        Some(before) => format!(", before it was version {before}"),
        None => String::new(),
    };
    let version = deployed.version;
    reporter.info(format!("version {version} is served{before}"));
    Ok(())
}

/// Has `embly` on the other machine do it.
fn elsewhere(remote: &Remote, named: &Named, file: File, reporter: &Reporter) -> Result<(), Exit> {
    let mut ssh = Command::new(SSH);
    if let Some(port) = remote.port {
        ssh.args(["-p", &port.to_string()]);
    }
    if let Some(user) = &remote.user {
        ssh.args(["-l", user]);
    }
    ssh.args(["--", &remote.host, "embly", "deploy", "-"]);
    if let Some(id) = named.name() {
        // A shell reads it.
        if !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            reporter.error(format!("`{}` names no master", id.escape_debug()));
            return Err(Exit::Usage);
        }
        ssh.args(["--master", id]);
    }
    if reporter.options().format == Format::Json {
        ssh.args(["--format", "json"]);
    }
    let status = ssh.stdin(Stdio::from(file)).status().map_err(|error| {
        let what = match error.kind() {
            io::ErrorKind::NotFound => "there is no `ssh`: install OpenSSH's client".to_owned(),
            _ => format!("cannot run `ssh`: {error}"),
        };
        reporter.error(what);
        Exit::Failed
    })?;
    let host = &remote.host;
    match status.code() {
        Some(0) => Ok(()),
        Some(NOT_FOUND) => {
            reporter.error(format!(
                "there is no `embly` on `{host}`: install it there, where the shell of `ssh {host}` finds it"
            ));
            Err(Exit::Failed)
        }
        // It has said why.
        Some(2) => Err(Exit::Usage),
        _ => {
            reporter.error(format!("not deployed to `{host}`"));
            Err(Exit::Failed)
        }
    }
}

/// Shows the versions that are kept.
pub async fn versions(kept: &Kept, reporter: &Reporter) -> Result<(), Exit> {
    let api::Versions { versions } = kept.find(reporter).await?;
    if reporter.options().format == Format::Json {
        return json("version", &versions, reporter);
    }
    if versions.is_empty() {
        reporter.info("nothing was deployed yet: type `embly deploy FILE.embly`");
        return Ok(());
    }
    let mut table = Table::new([
        "VERSION", "CURRENT", "DEPLOYED", "UNPACKED", "SIGNED", "CHECKSUM",
    ]);
    for one in versions {
        table.row([
            one.version.to_string(),
            if one.current { "*" } else { "" }.to_owned(),
            shown::time(&one.deployed),
            shown::size(one.bytes),
            if one.signed_by.is_some() { "yes" } else { "no" }.to_owned(),
            one.checksum,
        ]);
    }
    table.print(reporter)
}

/// Has a version served that was deployed before.
pub async fn rollback(
    named: &Named,
    version: Option<u64>,
    reporter: &Reporter,
) -> Result<(), Exit> {
    let Found { client, .. } = named.find(reporter).await?;
    let path = match version {
        Some(version) => format!("/v1/rollback?version={version}"),
        None => "/v1/rollback".to_owned(),
    };
    told(client.ask(&Method::POST, &path).await, reporter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_named_by_a_url_that_no_shell_and_no_option_can_hide_in() {
        let remote = |user: Option<&str>, host: &str, port| {
            let (user, host) = (user.map(str::to_owned), host.to_owned());
            Ok(Remote { user, host, port })
        };
        assert_eq!(Remote::parse("ssh://a.test"), remote(None, "a.test", None));
        let whole = Remote::parse("ssh://me@a.test:2222/");
        assert_eq!(whole, remote(Some("me"), "a.test", Some(2222)));
        assert_eq!(Remote::parse("ssh://[::1]"), remote(None, "::1", None));
        for wrong in [
            "a.test",
            "http://a.test",
            "ssh://",
            "ssh://-oProxyCommand=x",
            "ssh://a.test/path",
            "ssh://me:secret@a.test",
            "ssh://a b",
            "ssh://-l@a.test",
            "ssh://a;b@a.test",
            "ssh://$(x)",
        ] {
            assert!(Remote::parse(wrong).is_err(), "{wrong}");
        }
    }
}
