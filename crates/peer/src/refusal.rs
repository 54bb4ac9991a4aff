//! Why a connection is not kept: the codes that QUIC carries, and telling the operator once instead of every second.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use quinn::{Connection, VarInt};

/// How many different refusals are remembered in order not to repeat them.
const REMEMBERED_MAX: usize = 256;

/// What a connection is closed with. The numbers are part of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    /// The process is stopping.
    Goodbye = 0,
    /// The certificate is not that of the site it should be.
    Identity = 1,
    /// Another live process already is that site.
    Duplicate = 2,
    /// What was sent breaks the rules of this room.
    Protocol = 3,
    /// A newer connection takes over.
    Superseded = 4,
    /// The site asked for a new connection.
    Reset = 5,
}

impl Code {
    fn of(code: VarInt) -> Option<Self> {
        let all =
            [Self::Goodbye, Self::Identity, Self::Duplicate, Self::Protocol, Self::Superseded, Self::Reset];
        all.into_iter().find(|known| *known as u64 == code.into_inner())
    }

    /// Whether an operator has to do something about it.
    pub(crate) fn wants_operator(self) -> bool {
        matches!(self, Self::Identity | Self::Duplicate | Self::Protocol)
    }
}

/// A decision not to keep a connection, and why.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) code: Code,
    pub(crate) reason: String,
}

impl Refusal {
    pub(crate) fn new(code: Code, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into() }
    }

    /// Tells the other end.
    pub(crate) fn close(&self, connection: &Connection) {
        connection.close(VarInt::from_u32(self.code as u32), self.reason.as_bytes());
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

/// What the end of a connection means.
pub(crate) struct Ending {
    pub(crate) reason: String,
    pub(crate) wants_operator: bool,
    /// The other end says that another process has our id.
    pub(crate) calls_us_duplicate: bool,
}

impl Ending {
    pub(crate) fn of(error: &quinn::ConnectionError) -> Self {
        match error {
            quinn::ConnectionError::ApplicationClosed(close) => {
                let said = String::from_utf8_lossy(&close.reason).into_owned();
                let code = Code::of(close.error_code);
                Self {
                    reason: format!("the other site closed the connection: {said}"),
                    wants_operator: code.is_none_or(Code::wants_operator),
                    calls_us_duplicate: code == Some(Code::Duplicate),
                }
            }
            quinn::ConnectionError::TransportError(inner) => Self::of_tls(&inner.reason, error),
            quinn::ConnectionError::ConnectionClosed(close) => {
                let said = format!("refused by the other site: {}", String::from_utf8_lossy(&close.reason));
                Self::of_tls(&said, error)
            }
            other => Self::here(other.to_string(), false),
        }
    }

    fn of_tls(said: &str, error: &quinn::ConnectionError) -> Self {
        let reason = format!(
            "{error} ({said}); check that both certificates are valid, come from the same authority and name these sites"
        );
        Self::here(reason, true)
    }

    /// An end that was decided here, or that nobody decided.
    pub(crate) fn here(reason: String, wants_operator: bool) -> Self {
        Self { reason, wants_operator, calls_us_duplicate: false }
    }
}

/// Refusals already told.
#[derive(Debug, Default)]
pub(crate) struct Told(Mutex<BTreeSet<(Option<u16>, IpAddr, String)>>);

impl Told {
    /// Whether this is news.
    pub(crate) fn is_news(&self, site: Option<u16>, from: IpAddr, reason: &str) -> bool {
        let mut told = self.lock();
        if told.len() >= REMEMBERED_MAX {
            told.clear();
        }
        told.insert((site, from, reason.to_owned()))
    }

    /// The site is fine now: its next refusal is news again.
    pub(crate) fn forget(&self, site: u16) {
        self.lock().retain(|(about, _, _)| *about != Some(site));
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<(Option<u16>, IpAddr, String)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
