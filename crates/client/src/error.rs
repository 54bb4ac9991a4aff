//! What can go wrong between us and a broker, and whether trying again may help.

use kafka_protocol::error::ResponseError;

/// A failed call.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ClientError {
    /// No connection could be made.
    #[error("cannot connect to {address}: {reason}")]
    Unreachable {
        /// Where to.
        address: String,
        /// What the system said.
        reason: String,
    },
    /// The connection ended before the answer came.
    #[error("the connection to {address} was lost: {reason}")]
    Lost {
        /// Where to.
        address: String,
        /// Why.
        reason: String,
    },
    /// No answer in time.
    #[error("{address} did not answer {call} within {after_ms} ms")]
    TimedOut {
        /// Who was asked.
        address: String,
        /// What was asked.
        call: &'static str,
        /// How long we waited.
        after_ms: u128,
    },
    /// The broker said no.
    #[error("{what}: {code}{}", detail.as_deref().map(|d| format!(" ({d})")).unwrap_or_default())]
    Refused {
        /// What was asked of it, such as `produce to orders/3`.
        what: String,
        /// Kafka's error.
        code: ResponseError,
        /// What the broker added.
        detail: Option<String>,
    },
    /// The broker speaks no version of a call that we speak.
    #[error("{address} does not offer {call} in a version that this client speaks")]
    NoVersion {
        /// Who was asked.
        address: String,
        /// What was to be asked.
        call: &'static str,
    },
    /// The answer could not be read, or was not an answer to the question.
    #[error("unreadable answer to {call}: {reason}")]
    Malformed {
        /// What was asked.
        call: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The request could not be encoded.
    #[error("cannot encode {call}: {reason}")]
    Unspeakable {
        /// What was to be asked.
        call: &'static str,
        /// Why not.
        reason: String,
    },
    /// Metadata names no leader for this partition.
    #[error("no broker leads {topic}/{partition}: does the topic exist with that many partitions?")]
    NoLeader {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
    },
    /// The batch could not be built.
    #[error("cannot build a record batch: {reason}")]
    BadRecords {
        /// Why not.
        reason: String,
    },
    /// The part of this client that would have answered has ended.
    #[error("the {what} has been closed")]
    Closed {
        /// Which part.
        what: &'static str,
    },
}

impl ClientError {
    /// May the same call succeed later, perhaps at another broker?
    #[must_use]
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Lost { .. } | Self::TimedOut { .. } | Self::NoLeader { .. } => {
                true
            }
            Self::Refused { code, .. } => code.is_retriable(),
            Self::NoVersion { .. }
            | Self::Malformed { .. }
            | Self::Unspeakable { .. }
            | Self::BadRecords { .. }
            | Self::Closed { .. } => false,
        }
    }

    /// Kafka's error, if it was the broker that said no.
    #[must_use]
    pub fn code(&self) -> Option<ResponseError> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            _ => None,
        }
    }
}

/// `Ok` for code 0, else the refusal.
pub(crate) fn check(
    code: i16,
    what: impl FnOnce() -> String,
    detail: Option<&str>,
) -> Result<(), ClientError> {
    use kafka_protocol::error::ParseResponseErrorCode as _;
    match code.err() {
        None => Ok(()),
        Some(code) => Err(ClientError::Refused { what: what(), code, detail: detail.map(str::to_owned) }),
    }
}
