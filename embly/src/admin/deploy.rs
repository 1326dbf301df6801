//! Versions: a bundle arrives, is unpacked as it comes, and whoever has started the master is asked to
//! serve it.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use http::{Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::sync::{Mutex, MutexGuard, mpsc, oneshot};
use tokio::time::timeout;

use super::server::{Body, failed, json};
use super::{Activate, Admin, Change, Wants, api, endpoint};
use crate::bundle::VerifyKey;
use crate::service::Services;
use crate::versions::{VersionError, Versions};

/// Whoever sends a bundle is silent for so long at most.
const SILENT: Duration = Duration::from_secs(30);

/// Pieces of a bundle that wait to be unpacked.
const PIECES: usize = 4;

/// What is sent of a bundle that was refused is read on for so long, in bytes, so that whoever sends it
/// hears why.
const READ_ON: u64 = 2 << 30;

/// Where a master keeps versions.
#[derive(Debug)]
pub struct Deploys {
    versions: Versions,
    must: Option<VerifyKey>,
    /// They have the state folder.
    services: Arc<Services>,
    /// A bundle is under way.
    one: Mutex<()>,
}

impl Deploys {
    /// In the state folder of these services; each must be signed with the key, if there is one.
    pub fn new(versions: Versions, must: Option<VerifyKey>, services: Arc<Services>) -> Self {
        Self {
            versions,
            must,
            services,
            one: Mutex::default(),
        }
    }
}

/// The body of a request, on a thread that may block.
struct Pieces {
    from: mpsc::Receiver<io::Result<Bytes>>,
    piece: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.from.blocking_recv() {
                Some(piece) => self.piece = piece?,
                None => return Ok(0),
            }
        }
        let count = self.piece.len().min(buffer.len());
        self.piece.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

/// Passes a body on, until its end.
async fn pass_on(mut body: Incoming, to: mpsc::Sender<io::Result<Bytes>>) {
    let mut unread = 0;
    loop {
        let piece = match timeout(SILENT, body.frame()).await {
            Ok(None) => return,
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => Ok(data),
                // Trailers say nothing here.
                Err(_) => continue,
            },
            Ok(Some(Err(error))) => Err(io::Error::other(error)),
            Err(_) => {
                let text = format!("nothing has come for {SILENT:?}");
                Err(io::Error::new(io::ErrorKind::TimedOut, text))
            }
        };
        let (last, length) = match &piece {
            Ok(piece) => (false, piece.len() as u64),
            Err(_) => (true, 0),
        };
        if to.send(piece).await.is_err() {
            unread += length;
        }
        if last || unread > READ_ON {
            return;
        }
    }
}

/// All that were served and are kept, the latest first.
///
/// # Errors
/// The folder cannot be read.
pub fn kept(versions: &Versions) -> Result<api::Versions, VersionError> {
    let current = versions.current()?;
    let list = versions.list()?.into_iter().map(|version| api::Version {
        version: version.number,
        current: current == Some(version.number),
        deployed: version.deployed,
        checksum: version.checksum,
        signed_by: version.signed_by,
        files: version.files,
        bytes: version.bytes,
    });
    Ok(api::Versions {
        versions: list.collect(),
    })
}

impl Admin {
    #[expect(clippy::result_large_err, reason = "made once for each request")]
    fn deploys(&self) -> Result<&Deploys, Response<Body>> {
        self.deploys.as_ref().ok_or_else(|| {
            let Self { identity, .. } = self;
            let why = match identity.command {
                "dev" => "`embly dev` serves a folder and keeps no versions",
                _ => "this master was started without `--state DIR`, so it has no place to keep versions",
            };
            failed(&endpoint::NO_STATE, why)
        })
    }

    /// The turn of one that deploys, as long as the result lives.
    #[expect(clippy::result_large_err, reason = "made once for each request")]
    fn turn(&self) -> Result<(&Deploys, MutexGuard<'_, ()>), Response<Body>> {
        let deploys = self.deploys()?;
        let one = deploys.one.try_lock();
        let one = one.map_err(|_| failed(&endpoint::BUSY, "a bundle is being deployed"))?;
        Ok((deploys, one))
    }

    pub(super) async fn versions(
        &self,
        status: StatusCode,
    ) -> Result<Response<Body>, Response<Body>> {
        let versions = self.deploys()?.versions.clone();
        let versions = blocking(move || kept(&versions)).await?;
        Ok(json(status, &versions))
    }

    pub(super) async fn deploy(
        &self,
        status: StatusCode,
        body: Incoming,
    ) -> Result<Response<Body>, Response<Body>> {
        let (sender, from) = mpsc::channel(PIECES);
        // Until it is served, or is not.
        let (deploys, _one) = match self.turn() {
            Ok(turn) => turn,
            Err(refused) => {
                // Who still sends would not see an answer.
                drop(from);
                pass_on(body, sender).await;
                return Err(refused);
            }
        };
        let arrived = tokio::spawn({
            let pieces = Pieces {
                from,
                piece: Bytes::new(),
            };
            let (versions, must) = (deploys.versions.clone(), deploys.must.clone());
            let services = Arc::clone(&deploys.services);
            blocking(move || {
                // The folder is there from then on, and no other master's.
                let state = services.state();
                let taken = state.map_err(|error| VersionError::State(error.to_string()));
                taken.and_then(|_| versions.receive(pieces, must.as_ref()))
            })
        });
        pass_on(body, sender).await;
        // A panic was printed.
        let arrived = arrived
            .await
            .map_err(|error| not_kept(&error.to_string()))??;
        let versions = deploys.versions.clone();
        let wants = blocking(move || {
            Ok(match versions.same_as_current(&arrived)? {
                // It takes the same steps, and the versions before it are kept.
                Some(current) => Wants::Kept(current),
                None => Wants::Arrived(arrived),
            })
        });
        self.activate(status, wants.await?).await
    }

    pub(super) async fn rollback(
        &self,
        status: StatusCode,
        version: Option<u64>,
    ) -> Result<Response<Body>, Response<Body>> {
        let (deploys, _one) = self.turn()?;
        let versions = deploys.versions.clone();
        let (current, list) = blocking(move || Ok((versions.current()?, versions.list()?))).await?;
        let mut numbers = list.iter().map(|version| version.number);
        let found = match version {
            Some(version) => numbers.find(|number| *number == version),
            None => numbers.find(|number| current.is_some_and(|current| *number < current)),
        };
        let found = found.ok_or_else(|| {
            let message = match (version, current) {
                (Some(version), _) => format!("version {version} is not kept"),
                (None, Some(current)) => format!("no version before {current} is kept"),
                (None, None) => "nothing was deployed yet".to_owned(),
            };
            failed(&endpoint::UNKNOWN_VERSION, message)
        })?;
        self.activate(status, Wants::Kept(found)).await
    }

    async fn activate(
        &self,
        status: StatusCode,
        version: Wants,
    ) -> Result<Response<Body>, Response<Body>> {
        let (done, deployed) = oneshot::channel();
        let change = Change::Activate(Activate { version, done });
        let deployed = self.change(change, deployed).await?;
        Ok(json(status, &deployed))
    }
}

/// Does what may block; what goes wrong is an answer.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, VersionError> + Send + 'static,
) -> Result<T, Response<Body>> {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error @ VersionError::Bundle(_))) => {
            Err(failed(&endpoint::BAD_BUNDLE, error.to_string()))
        }
        Ok(Err(error)) => Err(not_kept(&error.to_string())),
        // A panic was printed.
        Err(error) => Err(not_kept(&error.to_string())),
    }
}

fn not_kept(why: &str) -> Response<Body> {
    failed(&endpoint::NOT_KEPT, why)
}
