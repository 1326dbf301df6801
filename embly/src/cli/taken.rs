//! Who has the port that a gateway needs: another master of this user, which is named, or somebody else.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use tokio::time::timeout;

use super::admin;
use crate::admin::api;
use crate::config::{Bind, Project};
use crate::gateway::BindError;
use crate::master::{BindOverride, ServeError};
use crate::report::Reporter;

/// The words are not waited for longer: what they are about has failed already.
const WITHIN: Duration = Duration::from_secs(2);

/// Whether the ports of a project are free, before it is built for minutes; says of each that is not who has it.
pub async fn all_are_free(project: &Project, bind: BindOverride, reporter: &Reporter) -> bool {
    let mut seen = BTreeSet::new();
    let mut are_free = true;
    for gateway in project.gateways.iter().filter(|_| !bind.any_port) {
        let (Bind::Ip(ip), port @ 1..) = (&gateway.bind, gateway.port) else {
            continue;
        };
        let at = SocketAddr::new(bind.address.unwrap_or(*ip), port);
        // Closed again at once. Other failures are told where it is opened to be served.
        let is_taken = seen.insert(at)
            && TcpListener::bind(at).is_err_and(|error| error.kind() == ErrorKind::AddrInUse);
        if is_taken {
            let gateway = gateway.name.clone();
            let error = ServeError::Bind(BindError::Taken { gateway, at });
            reporter.error(explained(&error).await);
            are_free = false;
        }
    }
    are_free
}

/// Why a project is not served, with the master that has a port, if one does.
pub async fn explained(error: &ServeError) -> String {
    let ServeError::Bind(BindError::Taken { gateway, at }) = error else {
        return error.to_string();
    };
    let masters = timeout(WITHIN, admin::answering()).await;
    let own = u64::from(std::process::id());
    let others = masters.unwrap_or_default().into_iter();
    let holder = others.filter(|master| master.pid != own).find(|master| {
        let urls = master.gateways.iter().map(|gateway| &gateway.url);
        let mut urls = urls.chain(&master.admin_listen);
        urls.any(|url| holds(url, *at))
    });
    let Some(api::Master { id, project, .. }) = holder else {
        return error.to_string();
    };
    format!(
        "gateway `{gateway}`: port {} is taken on {}, by the master of `{project}`: \
         `embly stop --master {id}` stops it; or choose another `port:`, or `--bind :0` for free ones",
        at.port(),
        at.ip()
    )
}

/// Whether a socket with this URL keeps another one from this address.
fn holds(url: &str, at: SocketAddr) -> bool {
    let address = url.split_once("://").map_or(url, |(_, rest)| rest);
    let address = address.split('/').next().unwrap_or_default();
    let Ok(other) = address.parse::<SocketAddr>() else {
        return false;
    };
    let any = at.ip().is_unspecified() || other.ip().is_unspecified();
    other.port() == at.port() && (any || other.ip() == at.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_keeps_others_from_its_port_on_its_address_or_on_all() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        assert!(holds("http://127.0.0.1:80", at("127.0.0.1:80")));
        assert!(holds("tcp://0.0.0.0:80", at("127.0.0.1:80")));
        assert!(holds("http://[::1]:80", at("[::]:80")));
        assert!(holds("http://127.0.0.1:80/metrics", at("127.0.0.1:80")));
        assert!(!holds("http://127.0.0.1:81", at("127.0.0.1:80")));
        assert!(!holds("http://127.0.0.2:80", at("127.0.0.1:80")));
        assert!(!holds("unix:/run/web.sock", at("127.0.0.1:80")));
    }
}
