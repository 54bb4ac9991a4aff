//! Why a cluster does not run.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use wan::{LinkError, MatrixError, StartError};

use crate::plan::SITES_MAX;

/// Why a cluster, or a site of it, does not run.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// None, or more than there are addresses for.
    #[error("{0} sites: give 1 to {SITES_MAX}")]
    Sites(usize),
    /// A site that the plan does not have.
    #[error("no site is called {0}")]
    Unknown(String),
    /// Someone else listens there.
    #[error("{address} is taken ({source}): stop whoever listens there, or choose other ports")]
    Taken {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Everybody listens everywhere.
    #[error("no ports are free between {from} and {to}: stop what listens there, or choose some")]
    NoPorts {
        /// The first that was tried.
        from: u16,
        /// The last.
        to: u16,
    },
    /// A file could not be written or read.
    #[error("{path}: {source}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The binary could not be run.
    #[error("cannot run {path}: {source}; build it first")]
    Binary {
        /// Which binary.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The binary ran and failed.
    #[error("`{command}` failed: {said}")]
    Failed {
        /// What was run.
        command: String,
        /// What it said.
        said: String,
    },
    /// A site ended while it was waited for.
    #[error("site {site} ended by itself ({status}); the end of its log:\n{log}")]
    Ended {
        /// Which site.
        site: String,
        /// How.
        status: String,
        /// The last lines it wrote.
        log: String,
    },
    /// A site is not ready in time.
    #[error("site {site} is not ready after {seconds} s: {said}; the end of its log:\n{log}")]
    NotReady {
        /// Which site.
        site: String,
        /// How long was waited.
        seconds: u64,
        /// What it said last.
        said: String,
        /// The last lines it wrote.
        log: String,
    },
    /// A signal could not be sent.
    #[error("cannot signal site {site}: {reason}")]
    Signal {
        /// Which site.
        site: String,
        /// What the system said.
        reason: String,
    },
    /// The emulator did not start.
    #[error(transparent)]
    Emulator(#[from] StartError),
    /// The emulator knows no such link.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// A pair of sites has no distance.
    #[error(transparent)]
    Matrix(#[from] MatrixError),
}
