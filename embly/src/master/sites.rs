//! Where the gateways of a project listen: which share a socket, which goes on, which is new.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{Master, ServeError};
use crate::config::{self, Bind, GatewayKind, Project};
use crate::gateway::{Behind, Gateway, Listener, Place, Site, Transport};
use crate::report::{AccessLog, Event};
use crate::service::ConfigureError;

/// Names a socket that listens, whatever `--bind` makes of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Socket {
    /// Several gateways of type http may share it.
    At(SocketAddr),
    /// Any free port, for this gateway alone.
    Free(String),
    /// A file, which several may share as well.
    Unix(PathBuf),
    /// One of systemd, as well.
    Systemd(String),
}

/// The gateways of one socket, each with what stands behind it, and how clients are met there.
pub struct Shared<'p> {
    pub gateways: Vec<(&'p config::Gateway, Behind)>,
    pub transport: Transport,
    /// What is said where it is new.
    pub told: Option<String>,
}

impl Socket {
    pub fn of(gateway: &config::Gateway) -> Self {
        match (&gateway.bind, gateway.port) {
            (Bind::Ip(_), 0) => Self::Free(gateway.name.clone()),
            (Bind::Ip(ip), port) => Self::At(SocketAddr::new(*ip, port)),
            (Bind::Unix(path), _) => Self::Unix(path.clone()),
            (Bind::Systemd(name), _) => Self::Systemd(name.clone()),
        }
    }
}

/// How the URL of a gateway begins.
pub fn scheme(gateway: &config::Gateway) -> &'static str {
    match (gateway.kind, &gateway.tls) {
        (GatewayKind::Http, Some(_)) => "https",
        (GatewayKind::Tcp, Some(_)) => "tls",
        (GatewayKind::Websocket, Some(_)) => "wss",
        (kind, None) => kind.scheme(),
    }
}

/// Serves from now on.
pub fn open_site(
    gateways: Vec<Arc<Gateway>>,
    transport: Transport,
    asked: Place,
    listener: Arc<Listener>,
) -> Open {
    let site = Arc::new(Site::new(gateways, transport));
    let (closing, closed) = watch::channel(false);
    let task = tokio::spawn(Arc::clone(&site).serve(Arc::clone(&listener), closed));
    Open {
        site,
        asked,
        listener,
        closing,
        task,
    }
}

#[derive(Debug)]
pub struct Open {
    pub site: Arc<Site>,
    pub asked: Place,
    pub listener: Arc<Listener>,
    pub closing: watch::Sender<bool>,
    pub task: JoinHandle<()>,
}

impl Master {
    /// What answers for the project that is served.
    pub fn sites(&self) -> Vec<Arc<Site>> {
        let open = self.open();
        open.values().map(|open| Arc::clone(&open.site)).collect()
    }

    /// The gateways of a project by their sockets.
    pub(super) fn behind<'p>(
        &self,
        project: &'p Project,
    ) -> Result<BTreeMap<Socket, Shared<'p>>, ServeError> {
        let mut sockets: BTreeMap<Socket, Vec<_>> = BTreeMap::new();
        for gateway in &project.gateways {
            let access_log = self.access_log(gateway)?;
            let behind = Behind::new(gateway, &project.functions, access_log)?;
            let of_socket = sockets.entry(Socket::of(gateway)).or_default();
            of_socket.push((gateway, behind));
        }
        let shared = |(socket, gateways): (Socket, Vec<(&'p config::Gateway, Behind)>)| {
            let all: Vec<_> = gateways.iter().map(|(gateway, _)| *gateway).collect();
            let (transport, told) = Transport::new(&all, self.authority.as_deref())?;
            let shared = Shared {
                gateways,
                transport,
                told,
            };
            Ok((socket, shared))
        };
        sockets.into_iter().map(shared).collect()
    }

    /// Where the access lines of a gateway go, if not only to who runs the master.
    pub(super) fn access_log(
        &self,
        gateway: &config::Gateway,
    ) -> Result<Option<AccessLog>, ServeError> {
        let Some(log) = &gateway.access_log else {
            return Ok(None);
        };
        let state = self.services.state().map_err(ConfigureError::from)?;
        let path = state.path(&log.path);
        let lines = self.access_logs.open(&path);
        let lines = lines.map_err(|source| ServeError::AccessLog {
            gateway: gateway.name.clone(),
            path,
            source,
        })?;
        let format = log.format;
        Ok(Some(AccessLog { lines, format }))
    }

    pub(super) fn where_to_listen(&self, gateway: &config::Gateway) -> Place {
        match &gateway.bind {
            Bind::Ip(bind) => {
                let port = match self.bind.any_port {
                    true => 0,
                    false => gateway.port,
                };
                Place::Ip(SocketAddr::new(self.bind.address.unwrap_or(*bind), port))
            }
            Bind::Unix(path) => Place::Unix(path.clone()),
            Bind::Systemd(name) => Place::Systemd(name.clone()),
        }
    }

    /// The socket that listens there already, whichever gateway has it.
    pub(super) fn listening(&self, socket: &Socket, asked: &Place) -> Option<Arc<Listener>> {
        let open = self.open();
        let any = matches!(asked, Place::Ip(at) if at.port() == 0);
        let same =
            |(other, open): &(&Socket, &Open)| open.asked == *asked && (!any || *other == socket);
        open.iter()
            .find(same)
            .map(|(_, open)| Arc::clone(&open.listener))
    }

    /// A gateway as the project file says: the one that was there, or a new one.
    pub(super) fn gateway(
        &self,
        (config, behind): (&config::Gateway, Behind),
        listener: &Listener,
        old: &[Arc<Gateway>],
    ) -> Arc<Gateway> {
        if let Some(gateway) = old.iter().find(|gateway| *gateway.name == *config.name) {
            gateway.set(behind);
            return Arc::clone(gateway);
        }
        let gateway = Gateway::new(
            config,
            behind,
            Arc::clone(&self.switchboard),
            self.dev.clone(),
        );
        self.reporter.event(&Event::Listening {
            gateway: &config.name,
            // One that listens knows where.
            url: &listener.url(scheme(config)).unwrap_or_default(),
            address: gateway.address,
            function: config.function.as_deref(),
            routes: config.routes.len(),
        });
        Arc::new(gateway)
    }
}
