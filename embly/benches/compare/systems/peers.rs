//! The others: the same five bytes, as fast as each of them can.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use super::{System, free_addresses, install, output};

type Make = fn(&Path) -> Result<System, String>;

pub const ALL: [(&str, Make); 3] = [
    ("`wasmtime serve`", wasmtime),
    ("workerd", workerd),
    ("lighttpd with CGI", lighttpd),
];

/// An instance for each request, in one process.
fn wasmtime(_: &Path) -> Result<System, String> {
    let program = install::wasmtime()?;
    let at = address()?;
    let component = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/compare/hello.wat");
    let version = version(output(Command::new(&program).arg("--version"))?, ' ');
    let mut command = Command::new(program);
    command.args(["serve", "--addr", &at.to_string(), component]);
    let name = format!("`wasmtime serve` {version}");
    Ok(system("wasmtime", name, version, at, command))
}

/// One isolate for all requests.
fn workerd(folder: &Path) -> Result<System, String> {
    let program = install::workerd()?;
    let at = address()?;
    let config = format!(
        "using Workerd = import \"/workerd/workerd.capnp\";
const config :Workerd.Config = (
  services = [(name = \"main\", worker = .hello)],
  sockets = [(name = \"http\", address = \"{at}\", http = (), service = \"main\")]
);
const hello :Workerd.Worker = (
  modules = [(name = \"hello\",
    esModule = \"export default {{ fetch() {{ return new Response('hello'); }} }}\")],
  compatibilityDate = \"2025-01-01\"
);
"
    );
    let file = folder.join("workerd.capnp");
    fs::write(&file, config).map_err(|error| error.to_string())?;
    let version = version(output(Command::new(&program).arg("--version"))?, ' ');
    let mut command = Command::new(program);
    command.arg("serve").arg(file);
    let name = format!("workerd {version}");
    Ok(system("workerd", name, version, at, command))
}

/// A process for each request, started from a small static program.
fn lighttpd(folder: &Path) -> Result<System, String> {
    let (program, modules) = install::lighttpd()?;
    let at = address()?;
    let root = folder.join("cgi");
    fs::create_dir(&root).map_err(|error| error.to_string())?;
    install::compile_c("hello.c", &root.join("hello.cgi"))?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let config = format!(
        "server.modules = (\"mod_cgi\")
server.document-root = \"{}\"
server.bind = \"{}\"
server.port = {}
server.max-worker = {cores}
server.max-keep-alive-requests = 1000000000
index-file.names = (\"hello.cgi\")
cgi.assign = (\".cgi\" => \"\")
",
        root.display(),
        at.ip(),
        at.port()
    );
    let file = folder.join("lighttpd.conf");
    fs::write(&file, config).map_err(|error| error.to_string())?;
    let version = version(output(Command::new(&program).arg("-v"))?, '/');
    let mut command = Command::new(program);
    command.arg("-D").arg("-f").arg(file);
    if let Some(modules) = modules {
        command.arg("-m").arg(modules);
    }
    let name = format!("lighttpd {version}, CGI in static C");
    Ok(system("lighttpd", name, version, at, command))
}

/// Files of a folder.
pub fn nginx(folder: &Path, root: &Path) -> Result<System, String> {
    let program = install::nginx()?;
    let at = address()?;
    // It says its version on standard error.
    let version = install::errors(Command::new(&program).arg("-v"))?;
    let version = version.trim().rsplit('/').next().unwrap_or("?").to_owned();
    let config = format!(
        "worker_processes auto;
daemon off;
pid {folder}/nginx.pid;
error_log stderr crit;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 1000000000;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  default_type application/octet-stream;
  server {{ listen {at}; root {root}; }}
}}
",
        folder = folder.display(),
        root = root.display(),
    );
    let file = folder.join("nginx.conf");
    fs::write(&file, config).map_err(|error| error.to_string())?;
    let mut command = Command::new(program);
    command.arg("-p").arg(folder).arg("-c").arg(file);
    let name = format!("nginx {version}");
    Ok(system("nginx", name, version, at, command))
}

/// hyper and rustls, and nothing else: this executable in another role.
pub fn bare(bodies: &[usize], certificate: &Path, key: &Path) -> Result<System, String> {
    let at = free_addresses(2).map_err(|error| error.to_string())?;
    let mut command = Command::new("/proc/self/exe");
    command.arg("bare").arg(certificate).arg(key);
    command.args(at.iter().map(ToString::to_string));
    command.args(bodies.iter().map(ToString::to_string));
    let name = "hyper and rustls".to_owned();
    Ok(System::new("bare", name, String::new(), at, command))
}

/// Standard error is where they say that they serve.
fn system(
    id: &'static str,
    name: String,
    version: String,
    at: SocketAddr,
    mut command: Command,
) -> System {
    command.stderr(Stdio::null());
    System::new(id, name, version, vec![at], command)
}

fn address() -> Result<SocketAddr, String> {
    let free = free_addresses(1).map_err(|error| error.to_string())?;
    free.into_iter()
        .next()
        .ok_or_else(|| "no free port".to_owned())
}

/// What stands behind the program's name.
fn version(said: String, after: char) -> String {
    let mut words = said.split(|c: char| c == after || c.is_whitespace());
    words.nth(1).unwrap_or("?").to_owned()
}
