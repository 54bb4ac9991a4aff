//! A whole site as one deterministic machine.
//!
//! [`Site`] composes the rooms below it: journals and WAL, origin and merged logs, the order, the catalog, progress. It
//! holds the rules by which they act together, and nothing else: no thread, no file, no clock, no socket. Events go in,
//! actions come out ([`Site::handle`]); `node` carries them out on a real machine, `sim` on a hostile one.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `site` | the machine, one event at a time |
//! | `append`, `topics`, `desk` | what clients ask for, and who is answered when |
//! | `pipeline`, `durable` | from taken-in to durable, and what a finished sync makes true |
//! | `merge` | released entries take effect |
//! | `greet`, `pulse`, `replicate`, `peers` | the others |
//! | `relay`, `receive`, `heads`, `notary` | what is sent and taken of journals, and the proof that it is their owners' |
//! | `start`, `stop`, `doubt` | coming and going, and being taken for a second one |
//! | `copy`, `donor`, `files` | taking over what others have dropped, and giving it |
//! | `repair` | looking at every byte, and taking back what is damaged |
//! | `retain`, `lookback` | how long the WAL is kept, and what of it is read behind a start |
//! | `lives` | which of a site's lives its origin logs show |
//! | `jump`, `behind` | a wall clock that jumped, and one that is behind |
//! | `unreplicated` | how much this site may have that no other has |
//! | `retention`, `compaction` | what merged logs keep, and for how long |
//! | `members` | who the members are, and what an operator may change of it |
//! | `seal` | fencing: the ends of journals, and what lies beyond |
//! | `checkpoint`, `recover`, `identity`, `notes` | what survives |
//! | `view` | looking at it |

mod action;
mod append;
mod behind;
mod checkpoint;
mod compaction;
mod config;
mod copy;
mod desk;
mod donor;
mod doubt;
mod durable;
mod event;
mod files;
mod greet;
mod heads;
mod identity;
mod journals;
mod jump;
mod lives;
#[cfg(feature = "fuzz")]
pub mod lone;
mod lookback;
mod members;
mod merge;
mod mutant;
mod notary;
mod notes;
mod peers;
mod pipeline;
mod progress;
mod pulse;
mod receive;
mod recover;
mod relay;
mod repair;
mod replicate;
mod retain;
mod retention;
mod seal;
mod site;
mod start;
mod stop;
mod topics;
mod unreplicated;
mod view;
pub mod wire;

#[cfg(test)]
mod tests;

pub use action::{Action, Answer, CatalogRefusal, Grown, Lane, Refusal};
pub use append::SITE_ID_MAX;
pub use config::{Limits, Member, SiteConfig};
pub use copy::CopyStatus;
pub use event::{Acknowledge, Append, Commit, Event, Request, Ticket};
pub use files::{FileAnswer, FileTask, FileWork};
pub use identity::{Identity, IdentityError};
pub use merge::Counts;
#[cfg(feature = "mutants")]
pub use mutant::Mutant;
pub use notary::{CertificateId, Claim, NotBelieved, Notary, Signed};
pub use notes::Note;
pub use progress::{Position, Positions, Target};
pub use recover::{Entropy, Fresh, RecoverError, Recovery};
pub use repair::RepairCounts;
pub use retain::WalStatus;
pub use site::Site;
pub use unreplicated::UnreplicatedStatus;
pub use view::{Extent, JournalStatus, Reading, Status, WitnessStatus};
