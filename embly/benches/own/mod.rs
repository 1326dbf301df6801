//! A master that the executable of a benchmark plays itself.

use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// It runs until this is dropped.
pub struct Own {
    process: Child,
    /// Where its gateways listen, in their order.
    pub at: Vec<SocketAddr>,
}

impl Own {
    /// Serves the project in `folder`, which has so many gateways, and waits until they listen.
    pub fn start(folder: &Path, gateways: usize) -> io::Result<Self> {
        let process = Command::new("/proc/self/exe")
            .arg("run")
            .arg(folder)
            .args(["--format", "json", "--quiet"])
            .env("XDG_CACHE_HOME", folder)
            .env("XDG_RUNTIME_DIR", folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut own = Self {
            process,
            at: Vec::new(),
        };
        if let Some(out) = own.process.stdout.take() {
            let mut lines = BufReader::new(out).lines();
            while own.at.len() < gateways {
                let line = lines.next().ok_or(io::ErrorKind::UnexpectedEof)??;
                let event: serde_json::Value = serde_json::from_str(&line)?;
                let url = event["url"].as_str().and_then(|url| url.split_once("://"));
                if let Some((_, address)) = url {
                    own.at.push(address.parse().map_err(io::Error::other)?);
                }
            }
            // Somebody has to take what it says.
            std::thread::spawn(move || lines.for_each(drop));
        }
        Ok(own)
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // What it has started ends with it.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
