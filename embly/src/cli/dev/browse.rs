//! Opens a page in a browser.

use std::ffi::OsString;
use std::io;
use std::process::{Command, Stdio};

/// A command that opens a URL.
#[derive(Debug, PartialEq, Eq)]
pub struct Browser {
    program: String,
    arguments: Vec<String>,
}

/// Where it stands in the command, if not at the end.
const URL: &str = "%s";

impl Browser {
    /// The first one of `$BROWSER`; else that of the desktop, where there is one.
    pub fn find() -> Option<Self> {
        Self::of(|name| std::env::var_os(name).filter(|value| !value.is_empty()))
    }

    fn of(variable: impl Fn(&str) -> Option<OsString>) -> Option<Self> {
        if let Some(browsers) = variable("BROWSER") {
            let browsers = browsers.into_string().ok()?;
            let mut words = browsers.split(':').next()?.split_whitespace();
            let program = words.next()?.to_owned();
            let arguments = words.map(str::to_owned).collect();
            return Some(Self { program, arguments });
        }
        // Without a desktop it may be one that takes the terminal.
        variable("DISPLAY").or_else(|| variable("WAYLAND_DISPLAY"))?;
        Some(Self {
            program: "xdg-open".to_owned(),
            arguments: Vec::new(),
        })
    }

    fn command(&self, url: &str) -> Command {
        let mut command = Command::new(&self.program);
        let says_where = self.arguments.iter().any(|argument| argument.contains(URL));
        command.args(self.arguments.iter().map(|it| it.replace(URL, url)));
        if !says_where {
            command.arg(url);
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }
}

/// Opens it, and returns when the command has ended.
///
/// # Errors
/// It could not be started, or says that it has failed.
pub fn open(browser: &Browser, url: &str) -> io::Result<()> {
    let program = &browser.program;
    let status = browser
        .command(url)
        .status()
        .map_err(|error| io::Error::new(error.kind(), format!("`{program}`: {error}")))?;
    if status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("`{program}`: {status}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_browser_is_the_users_or_the_desktops_or_none() {
        let of = |set: &[(&str, &str)]| {
            let found = Browser::of(|name| {
                let found = set.iter().find(|(other, _)| *other == name);
                found.map(|(_, value)| OsString::from(value))
            });
            found.map(|browser| {
                let command = browser.command("http://x/");
                let mut words = vec![command.get_program()];
                words.extend(command.get_args());
                let words = words.iter().map(|word| word.to_string_lossy());
                words.collect::<Vec<_>>().join(" ")
            })
        };
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[("DISPLAY", ":0")]).unwrap(), "xdg-open http://x/");
        assert_eq!(
            of(&[("BROWSER", "fox --new:other"), ("DISPLAY", ":0")]).unwrap(),
            "fox --new http://x/"
        );
        assert_eq!(
            of(&[("BROWSER", "fox -u %s -n")]).unwrap(),
            "fox -u http://x/ -n"
        );
    }
}
