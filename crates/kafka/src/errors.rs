//! Kafka's error codes, and the one table that says which refusal is which code.
//!
//! A code tells a client library what to do: retry, refresh its metadata, rejoin, give up. The choice here is made by
//! what the libraries do with it, so a code may read oddly beside the refusal; the refusal's own words go along where
//! the protocol has a field for them.

use crate::broker::{GroupRefusal, ProduceRefusal, ProducerIdRefusal, ReadRefusal, TopicRefusal};

/// An error as Kafka numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i16)]
pub(crate) enum ErrorCode {
    None = 0,
    OffsetOutOfRange = 1,
    CorruptMessage = 2,
    UnknownTopicOrPartition = 3,
    LeaderNotAvailable = 5,
    RequestTimedOut = 7,
    MessageTooLarge = 10,
    OffsetMetadataTooLarge = 12,
    CoordinatorLoadInProgress = 14,
    CoordinatorNotAvailable = 15,
    NotCoordinator = 16,
    InvalidTopic = 17,
    NotEnoughReplicas = 19,
    InvalidRequiredAcks = 21,
    IllegalGeneration = 22,
    InconsistentGroupProtocol = 23,
    InvalidGroupId = 24,
    UnknownMemberId = 25,
    InvalidSessionTimeout = 26,
    RebalanceInProgress = 27,
    InvalidTimestamp = 32,
    UnsupportedVersion = 35,
    TopicAlreadyExists = 36,
    InvalidPartitions = 37,
    InvalidReplicationFactor = 38,
    InvalidConfig = 40,
    NotController = 41,
    InvalidRequest = 42,
    UnsupportedForMessageFormat = 43,
    PolicyViolation = 44,
    InvalidProducerEpoch = 47,
    TransactionalIdAuthorizationFailed = 53,
    KafkaStorageError = 56,
    NonEmptyGroup = 68,
    GroupIdNotFound = 69,
    FetchSessionIdNotFound = 70,
    UnsupportedCompressionType = 76,
    MemberIdRequired = 79,
    GroupMaxSizeReached = 81,
    FencedInstanceId = 82,
    InvalidRecord = 87,
    UnknownTopicId = 100,
    MismatchedEndpointType = 114,
}

impl ErrorCode {
    /// The number on the wire.
    pub(crate) fn number(self) -> i16 {
        self as i16
    }
}

/// The code of an answer that may be a refusal.
pub(crate) fn code_of<T, R>(answer: &Result<T, R>) -> ErrorCode
where
    ErrorCode: for<'a> From<&'a R>,
{
    answer.as_ref().err().map_or(ErrorCode::None, ErrorCode::from)
}

impl From<&ProduceRefusal> for ErrorCode {
    fn from(refusal: &ProduceRefusal) -> ErrorCode {
        match refusal {
            ProduceRefusal::UnknownTopic => ErrorCode::UnknownTopicOrPartition,
            ProduceRefusal::ReadOnly => ErrorCode::InvalidTopic,
            ProduceRefusal::Corrupt(_) => ErrorCode::CorruptMessage,
            ProduceRefusal::OldFormat => ErrorCode::UnsupportedForMessageFormat,
            ProduceRefusal::TooLarge { .. } => ErrorCode::MessageTooLarge,
            ProduceRefusal::Invalid(_) | ProduceRefusal::Keyless { .. } => ErrorCode::InvalidRecord,
            ProduceRefusal::BadTime => ErrorCode::InvalidTimestamp,
            ProduceRefusal::BadCompression(_) => ErrorCode::UnsupportedCompressionType,
            // Fatal to every library, where others would retry for ever.
            ProduceRefusal::Transactional => ErrorCode::TransactionalIdAuthorizationFailed,
            ProduceRefusal::FencedProducer => ErrorCode::InvalidProducerEpoch,
            // Retried after a metadata refresh: another site may be named by then.
            ProduceRefusal::NotWritable(_) | ProduceRefusal::DiskFull => ErrorCode::KafkaStorageError,
            // Retried in place, and known not to have been appended. Never OUT_OF_ORDER_SEQUENCE: fatal to some.
            ProduceRefusal::AfterRefused
            | ProduceRefusal::Overloaded
            | ProduceRefusal::HeldBack(_)
            | ProduceRefusal::TooFewSites => ErrorCode::NotEnoughReplicas,
            ProduceRefusal::TimedOut => ErrorCode::RequestTimedOut,
        }
    }
}

impl From<&ProducerIdRefusal> for ErrorCode {
    fn from(refusal: &ProducerIdRefusal) -> ErrorCode {
        match refusal {
            ProducerIdRefusal::NotReady(_) => ErrorCode::CoordinatorLoadInProgress,
        }
    }
}

impl From<&ReadRefusal> for ErrorCode {
    fn from(refusal: &ReadRefusal) -> ErrorCode {
        match refusal {
            ReadRefusal::UnknownTopic => ErrorCode::UnknownTopicOrPartition,
            ReadRefusal::OutOfRange { .. } => ErrorCode::OffsetOutOfRange,
            ReadRefusal::NotReady(_) | ReadRefusal::Damaged(_) => ErrorCode::KafkaStorageError,
        }
    }
}

impl From<&TopicRefusal> for ErrorCode {
    fn from(refusal: &TopicRefusal) -> ErrorCode {
        match refusal {
            TopicRefusal::Exists(_) => ErrorCode::TopicAlreadyExists,
            TopicRefusal::Unknown => ErrorCode::UnknownTopicOrPartition,
            TopicRefusal::BadName(_) => ErrorCode::InvalidTopic,
            TopicRefusal::BadPartitions(_) => ErrorCode::InvalidPartitions,
            TopicRefusal::BadSetting { .. } => ErrorCode::InvalidConfig,
            TopicRefusal::ReadOnly | TopicRefusal::NotOffered(_) => ErrorCode::PolicyViolation,
            TopicRefusal::BeyondEnd(_) => ErrorCode::OffsetOutOfRange,
            // Known not to have been made; the libraries look up the controller again and retry.
            TopicRefusal::NotWritable(_) => ErrorCode::NotController,
            TopicRefusal::Stopping => ErrorCode::RequestTimedOut,
        }
    }
}

impl From<&GroupRefusal> for ErrorCode {
    fn from(refusal: &GroupRefusal) -> ErrorCode {
        match refusal {
            GroupRefusal::NotCoordinator => ErrorCode::NotCoordinator,
            GroupRefusal::Loading => ErrorCode::CoordinatorLoadInProgress,
            GroupRefusal::NotAvailable | GroupRefusal::NotWritable => ErrorCode::CoordinatorNotAvailable,
            GroupRefusal::BadGroupName => ErrorCode::InvalidGroupId,
            GroupRefusal::OldGeneration => ErrorCode::IllegalGeneration,
            GroupRefusal::UnknownMember => ErrorCode::UnknownMemberId,
            GroupRefusal::Rebalancing => ErrorCode::RebalanceInProgress,
            GroupRefusal::NoSharedProtocol => ErrorCode::InconsistentGroupProtocol,
            GroupRefusal::BadSessionTimeout => ErrorCode::InvalidSessionTimeout,
            GroupRefusal::MemberIdRequired => ErrorCode::MemberIdRequired,
            GroupRefusal::FencedInstance => ErrorCode::FencedInstanceId,
            GroupRefusal::Full => ErrorCode::GroupMaxSizeReached,
            GroupRefusal::UnknownGroup => ErrorCode::GroupIdNotFound,
            GroupRefusal::NotEmpty => ErrorCode::NonEmptyGroup,
            GroupRefusal::UnknownTopic => ErrorCode::UnknownTopicOrPartition,
            GroupRefusal::TooLarge => ErrorCode::InvalidRequest,
        }
    }
}
