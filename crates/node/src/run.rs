//! Running a node: everything is opened, wired together, served, and closed again, in that order.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use admin::Metrics;
use entry::{SiteId, StorageId};
use site::{Entropy, Event, Fresh, IdentityError, Notary, RecoverError, Site, SiteConfig};
use thiserror::Error;
use tokio::net::UnixListener;
use tokio::sync::{mpsc, watch};

use crate::carry::{Carrier, Ending, Ends};
use crate::certificates::{CertificateFiles, Certificates, Users};
use crate::descriptors;
use crate::doors::{self, DoorError, Doors};
use crate::engine::{Command, Engine, Inbox};
use crate::files::{Files, random};
use crate::front::{Bounds, Front, Groups};
use crate::hold::{self, Hold, HoldError};
use crate::notary::NodeNotary;
use crate::opening::when_there_is_room;
use crate::readable::Readable;
use crate::room::Room;
use crate::timepiece::{Timepiece, WallClock};
use crate::views::{Fixed, Views};
use crate::writer::Writer;

/// All that a node needs to know, checked.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The data directory.
    pub data: PathBuf,
    /// The machine's share.
    pub site: SiteConfig,
    /// What clients are told.
    pub clients: Fixed,
    /// Where clients come in.
    pub doors: Doors,
    /// What clients may take.
    pub limits: kafka::Limits,
    /// With less free than this, the disk counts as full.
    pub disk_free_bytes_min: u64,
    /// The certificates' files.
    pub certificates: CertificateFiles,
    /// The links to other sites.
    pub links: peer::LinkConfig,
    /// Where health and metrics are served.
    pub http: SocketAddr,
    /// The wall clock it goes by.
    pub wall_clock: WallClock,
}

/// Why a node does not run, or ended.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The data directory is not to be had.
    #[error(transparent)]
    Hold(#[from] HoldError),
    /// What it holds cannot be used.
    #[error(transparent)]
    Recover(#[from] RecoverError),
    /// A witness is no founder.
    #[error("this site is the witness, which founds nothing: `meridian join` prepares its data directory")]
    WitnessFounds,
    /// Its identity cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The certificates cannot be used.
    #[error(transparent)]
    Certificates(#[from] peer::IdentityError),
    /// Clients cannot be served with TLS.
    #[error(transparent)]
    Doors(#[from] DoorError),
    /// The operator's socket cannot be made.
    #[error(transparent)]
    Socket(#[from] admin::SocketError),
    /// The port of health and metrics is taken or not ours to take.
    #[error("cannot listen for health and metrics on {address}: {cause}; is another site running on it?")]
    Http {
        /// The address.
        address: SocketAddr,
        /// What the operating system said.
        cause: std::io::Error,
    },
    /// The links cannot be made.
    #[error(transparent)]
    Links(#[from] peer::StartError),
    /// A port is taken or not ours to take.
    #[error("cannot listen for Kafka clients on {address}: {cause}; is another site running on it?")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the operating system said.
        cause: std::io::Error,
    },
    /// The operating system refused something.
    #[error("{what}: {cause}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What it said.
        cause: std::io::Error,
    },
    /// The machine could not go on.
    #[error("{0}. Nothing more was acknowledged. Look into it, then start the site again")]
    Halted(String),
}

/// How long the engine may take to part and stop.
const STOP_MAX: Duration = Duration::from_secs(6);

/// A node that runs.
pub struct Running {
    pub(crate) front: Arc<Front>,
    pub(crate) links: Arc<peer::Links>,
    pub(crate) certificates: Arc<Certificates>,
    pub(crate) kafka: Arc<kafka::Front<Front>>,
    pub(crate) metrics: Arc<Metrics>,
    ended: watch::Receiver<Option<Ending>>,
    closing: watch::Sender<bool>,
    _hold: Option<Hold>,
}

/// Founds this site's data directory: incarnation 0, open from the start.
///
/// # Errors
/// [`ServeError`] if the directory already is somebody, is in use, or the disk fails.
pub(crate) fn found(setup: &Setup) -> Result<(), ServeError> {
    match setup.site.witness == Some(setup.site.own) {
        true => Err(ServeError::WitnessFounds),
        false => claim(setup, Site::bootstrap),
    }
}

/// Prepares an empty directory of a known site: it asks the others for a fresh incarnation when it is served.
///
/// # Errors
/// [`ServeError`] if the directory already is somebody, is in use, or the disk fails.
pub(crate) fn join(setup: &Setup) -> Result<(), ServeError> {
    claim(setup, Site::join)
}

type Claim = fn(&SiteConfig, Fresh, &mut dyn disk::Disk) -> Result<(), IdentityError>;

fn claim(setup: &Setup, claim: Claim) -> Result<(), ServeError> {
    let _hold = hold::take(&setup.data, 0)?;
    let number = || random().map(u128::from_le_bytes).map_err(no_random);
    let fresh = Fresh { storage: StorageId(number()?), wal_nonce: number()? };
    Ok(claim(&setup.site, fresh, &mut Files::new(setup.data.clone()))?)
}

fn no_random(cause: std::io::Error) -> ServeError {
    ServeError::System { what: "drawing random bytes", cause }
}

/// Starts a node.
///
/// While its disk has no room it waits, and says why.
///
/// # Errors
/// [`ServeError`]; whatever was started is stopped again.
pub(crate) async fn start(
    setup: Setup,
    waits: &watch::Sender<String>,
) -> Result<(Running, UnixListener), ServeError> {
    let timepiece = Timepiece::start(&setup.wall_clock)
        .map_err(|cause| ServeError::System { what: "following the clock's offset", cause })?;
    let shares = descriptors::raise(setup.limits.connections_max);
    tracing::info!(
        limit = shares.limit,
        files = shares.files,
        kafka_connections = shares.connections,
        "open files and sockets"
    );
    let files = Files::keeping_open(setup.data.clone(), shares.files);
    let room = Room::new(files.clone(), setup.disk_free_bytes_min);
    let keys = Arc::new(NodeNotary::new(&setup.links)?);
    let notary: Arc<dyn Notary> = Arc::<NodeNotary>::clone(&keys);
    let opened = open(&setup, (&files, &room), &notary, &timepiece, waits).await?;
    let Opened { hold, site, socket } = opened;

    let doors = doors::open(&setup.doors).await?;
    let (peers_out, peers) = mpsc::channel(setup.links.event_capacity());
    let identity = setup.links.identity.clone();
    let links = Arc::new(peer::Links::start(setup.links, peers_out).await?);
    let users = Users {
        links: Arc::clone(&links),
        notary: keys,
        doors: setup.doors.tls.as_ref().map(|tls| Arc::clone(&tls.shown)),
        names: setup.clients.clone(),
    };
    let certificates = Certificates::new(setup.certificates, &identity, users);
    let certificates = Arc::new(certificates.map_err(peer::StartError::Tls)?);
    let (engine, commands) = mpsc::unbounded_channel();
    let thread = |what: &'static str| move |cause| ServeError::System { what, cause };
    let metrics = Arc::new(Metrics::new(&setup.clients.name_of(setup.clients.own)));
    let writer = Writer {
        files: files.clone(),
        free_bytes_min: room.logs_bytes(),
        metrics: metrics.wal.clone(),
        events: engine.clone(),
    };
    let wal = writer.clone().start("wal").map_err(thread("starting the WAL's thread"))?;
    let checkpoints =
        writer.clone().start("checkpoint").map_err(thread("starting the checkpoints' thread"))?;
    let copies = writer.start("copies").map_err(thread("starting the copies' thread"))?;
    room.clone().watch(engine.clone()).map_err(thread("starting the thread that looks for room"))?;
    let (views, readable) = (Arc::new(Views::new(setup.clients.clone())), Arc::new(Readable::default()));
    let (ended_out, ended) = watch::channel(None);
    let ends = Ends {
        wal,
        checkpoints,
        copies,
        links: Arc::clone(&links),
        readable: Arc::clone(&readable),
        views: Arc::clone(&views),
        ended: ended_out,
    };
    views.renew(&site, timepiece.now().mono_us);
    let life = u32::from_le_bytes(random().map_err(no_random)?);
    let groups = Groups::start(Arc::clone(&views), group::Settings::new(setup.clients.own.0, life));
    let counts = metrics.kafka.clone();
    let early = Arc::new(crate::front::Early::default());
    let front = Arc::new(Front {
        engine,
        files: files.clone(),
        views,
        readable,
        groups,
        early,
        metrics: counts,
        bounds: Bounds::default(),
    });
    let (carrier, config) = (Carrier::new(ends), setup.site);
    let machine = Engine { site, files, room, carrier, timepiece, config, notary, reopens_at: None };
    machine.start(Inbox { commands, peers }).map_err(thread("starting the site's thread"))?;

    let kafka = kafka::Front::new(Arc::clone(&front), setup.limits.with_connections(shares.connections));
    let (closing, closed) = watch::channel(false);
    for door in doors {
        tokio::spawn(Arc::clone(&kafka).serve(door, closed.clone()));
    }
    Ok((Running { front, links, certificates, kafka, metrics, ended, closing, _hold: hold }, socket))
}

/// What a data directory becomes.
struct Opened {
    hold: Option<Hold>,
    site: Site,
    socket: UnixListener,
}

/// Opens the data directory as soon as there is room for that.
async fn open(
    setup: &Setup,
    (files, room): (&Files, &Room),
    notary: &Arc<dyn Notary>,
    timepiece: &Timepiece,
    waits: &watch::Sender<String>,
) -> Result<Opened, ServeError> {
    let (mut hold, mut files) = (None, files.clone());
    let opened = when_there_is_room(room.clone(), waits, || {
        let (config, now) = (setup.site.clone(), timepiece.now());
        if hold.is_none() {
            hold = Some(hold::take(&setup.data, now.wall_ms)?);
        }
        let entropy = Entropy { actor: random().map_err(no_random)? };
        let opened = Site::open(config, entropy, Arc::clone(notary), now, &mut files)?;
        Ok((opened, admin::bind(&setup.data)?))
    });
    let ((site, recovery), socket) = opened.await?;
    for remark in &recovery.remarks {
        tracing::warn!("{remark}");
    }
    if let Some(cut) = &recovery.truncated {
        tracing::warn!(file = %cut.file, offset = cut.offset, "a write that was under way was cut off; nothing of it was acknowledged");
    }
    tracing::info!(records = recovery.records, released = site.released(), "recovered");
    Ok(Opened { hold, site, socket })
}

impl Running {
    /// Runs until `shutdown` ends or the machine does; then parts, stops and closes.
    ///
    /// # Errors
    /// [`ServeError::Halted`] if the machine could not go on.
    pub async fn until(mut self, shutdown: impl Future<Output = ()>) -> Result<(), ServeError> {
        tokio::select! {
            () = shutdown => tracing::info!("stopping: parting from the other sites"),
            _ = self.ended.wait_for(Option::is_some) => {}
        }
        let _ = self.front.engine.send(Command::Event(Event::Stop));
        let ended = tokio::time::timeout(STOP_MAX, self.ended.wait_for(Option::is_some)).await;
        let ending = ended.ok().and_then(|ended| ended.ok().and_then(|ending| ending.clone()));
        let _ = self.closing.send(true);
        // What is queued towards peers is part of a good stop: give it a moment to leave.
        tokio::time::sleep(Duration::from_millis(50)).await;
        match ending {
            Some(Ending::Halted(reason)) => Err(ServeError::Halted(reason)),
            Some(Ending::Stopped) | None => Ok(()),
        }
    }

    /// How the engine ended, once it has.
    pub(crate) fn ended(&self) -> watch::Receiver<Option<Ending>> {
        self.ended.clone()
    }

    /// Where this site stands.
    pub async fn status(&self) -> Option<site::Status> {
        self.front.look(|site, _, now| site.status(now.mono_us)).await.ok()
    }

    /// This site's id.
    #[must_use]
    pub fn own(&self) -> SiteId {
        SiteId(u16::try_from(self.front.views.current().cluster.this_site).unwrap_or_default())
    }

    /// The links to the other sites, for their statistics.
    #[must_use]
    pub fn links(&self) -> &peer::Links {
        &self.links
    }

    /// Open connections of Kafka clients.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.kafka.connections()
    }
}
