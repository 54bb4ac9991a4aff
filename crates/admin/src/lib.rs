//! What an operator sees of a site and may ask of it: HTTP for machines, a Unix socket for people, and the metrics.
//!
//! | door | who | what |
//! | --- | --- | --- |
//! | `[listen] http` | load balancers, Prometheus, `verify` between machines | `/healthz`, `/readyz`, `/metrics`, and the looks below |
//! | `admin.sock` in the data directory | whoever may read that directory | the looks, `POST /v1/stop`, `POST /v1/certificates`, `POST /v1/fence/<site>`, `POST /v1/give-up?sites=&who=`, `POST /v1/add/<site>`, `POST /v1/remove/<site>` |
//!
//! The looks: `GET /v1/status`, `GET /v1/digests?topic=&partition=&end=`, `GET /v1/groups`. They change nothing and show
//! no records. What does change something is reachable through the socket only, whose file mode is its access rule.
//!
//! Before a site runs, [`serve_starting`] says at the first door that it is well, and why it is not ready.
//!
//! The node implements [`Admin`]; this room turns questions into calls and answers into JSON, and decides nothing. Its other
//! half, [`client`], asks the same questions.

mod answers;
mod bounded;
pub mod client;
mod metrics;
mod routes;
mod serve;
mod socket;

#[cfg(test)]
mod tests;

pub use answers::{
    BlockerStatus, CertificateStatus, CertificatesNow, CopyProgress, DigestQuery, EndedLink, GiveUpQuery,
    GivenUp, Group, GroupPosition, Halt, JournalStatus, LogDigest, MembersNow, PeerStatus, SiteStatus, Turn,
    TurnKind, Unreplicated, Witness,
};
pub use metrics::{Direction, KafkaMetrics, Metrics, WalMetrics};
pub use routes::{Admin, AdminError};
pub use serve::{serve_http, serve_socket, serve_starting};
pub use socket::{SOCKET_NAME, SocketError, bind};
