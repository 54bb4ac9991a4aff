//! Links between sites: this room moves bytes from one site to another and does not know what they mean.
//!
//! One QUIC connection joins each pair of sites. Both ends prove with a certificate which site they are, and a link
//! counts as up only once both have said so over the finished connection. On it run three ordered lanes of falling
//! priority (`Control`, `Tail`, `CatchUp`) and unordered, unreliable *pulses* that bulk data cannot delay.
//!
//! Why QUIC: lanes that do not block each other, datagrams for what only matters when fresh, and a congestion
//! controller that can be replaced. The ones at hand either collapse at one percent of loss or overrun the path, so the
//! one in [`congestion`] is ours.
//!
//! Certificates are changed while links run ([`Links::renew`]), and no connection outlives what it was let in with.
//!
//! It also signs statements with a site's key and checks those of others: who a site is, is this room's matter.
//!
//! What it refuses: peers it was not told about, certificates that name another site, a second live holder of one site
//! id, frames above [`MAX_FRAME_BYTES`], 0-RTT, session resumption and migration. It never blocks the caller: sending
//! either queues or says why not.
//!
//! Memory, per peer, by default: at most 64 MiB sent and not acknowledged, 64 MiB received and not read, 40 MiB queued to
//! be sent and 8 MiB delivered as events that nobody has dropped yet. A peer that keeps up stays far below.

mod backoff;
pub mod cert;
mod certificate;
pub mod congestion;
mod connect;
mod event;
mod frame;
mod hello;
mod identity;
mod known;
mod lane;
mod links;
#[cfg(feature = "fuzz")]
pub mod lone;
mod notary;
mod outbox;
mod refusal;
mod renew;
mod roster;
mod session;
mod silence;
mod tls;
mod trust;

pub use certificate::{Certificate, Fingerprint, NoFingerprint};
pub use event::{Credit, Event};
pub use identity::{Identity, IdentityError, SiteName};
pub use lane::{Lane, MAX_FRAME_BYTES};
pub use links::{LinkConfig, LinkStats, Links, PeerAddress, SendError, StartError, Tuning};
pub use notary::{NotSigned, Notary, Said};

#[cfg(test)]
mod tests;
