//! What an entry says: one variant per kind.

use bytes::{BufMut, Bytes, BytesMut};

use crate::head::Kind;
use crate::{
    AdoptBody, BatchBody, BeginBody, EntryError, MembersBody, OpenBody, ProgressBody, SealBody, TopicBody,
    TrimBody,
};

/// The body of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// A record batch of one partition.
    Batch(BatchBody),
    /// How far a group has come.
    Progress(ProgressBody),
    /// Changes to the catalog document, framed and checksummed by the catalog.
    Catalog(Bytes),
    /// A topic's creation, restated.
    Topic(TopicBody),
    /// The owner leaves in good order: from this entry's place in the merged order, no promise of it is required.
    Part,
    /// Another journal takes part again.
    Open(OpenBody),
    /// The agreed end of a silent site's journal.
    Seal(SealBody),
    /// What lies beyond a sealed journal's end takes its place here.
    Adopt(AdoptBody),
    /// The members change.
    Members(MembersBody),
    /// The owner begins this journal, and says what it holds of its former ones.
    Begin(BeginBody),
    /// The start of a merged log moves.
    Trim(TrimBody),
    /// Time has passed, and nothing else: what is kept for a time goes by the stamps of the order, which stand still where
    /// nobody writes.
    Mark,
}

impl Body {
    /// The kind that the head names.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Body::Batch(_) => Kind::Batch,
            Body::Progress(_) => Kind::Progress,
            Body::Catalog(_) => Kind::Catalog,
            Body::Topic(_) => Kind::Topic,
            Body::Part => Kind::Part,
            Body::Open(_) => Kind::Open,
            Body::Seal(_) => Kind::Seal,
            Body::Adopt(_) => Kind::Adopt,
            Body::Members(_) => Kind::Members,
            Body::Begin(_) => Kind::Begin,
            Body::Trim(_) => Kind::Trim,
            Body::Mark => Kind::Mark,
        }
    }

    pub(crate) fn encode(&self, out: &mut BytesMut) {
        match self {
            Body::Batch(batch) => batch.encode(out),
            Body::Progress(progress) => progress.encode(out),
            Body::Catalog(changes) => out.put_slice(changes),
            Body::Topic(topic) => topic.encode(out),
            Body::Part | Body::Mark => {}
            Body::Open(open) => open.encode(out),
            Body::Seal(seal) => seal.encode(out),
            Body::Adopt(adopt) => adopt.encode(out),
            Body::Members(members) => members.encode(out),
            Body::Begin(begin) => begin.encode(out),
            Body::Trim(trim) => trim.encode(out),
        }
    }

    /// About how many bytes the body takes: what to reserve before encoding.
    pub(crate) fn size_hint(&self) -> usize {
        match self {
            Body::Batch(batch) => batch.encoded_bytes(),
            Body::Catalog(changes) => changes.len(),
            Body::Open(_) => OpenBody::encoded_bytes(),
            Body::Trim(_) => TrimBody::encoded_bytes(),
            Body::Progress(_)
            | Body::Topic(_)
            | Body::Part
            | Body::Mark
            | Body::Begin(_)
            | Body::Seal(_)
            | Body::Adopt(_)
            | Body::Members(_) => 256,
        }
    }

    pub(crate) fn decode(kind: Kind, body: &Bytes) -> Result<Body, EntryError> {
        match kind {
            Kind::Batch => BatchBody::decode(body).map(Body::Batch),
            Kind::Progress => ProgressBody::decode(body).map(Body::Progress),
            Kind::Catalog => Ok(Body::Catalog(body.clone())),
            Kind::Topic => TopicBody::decode(body).map(Body::Topic),
            Kind::Part if body.is_empty() => Ok(Body::Part),
            Kind::Part => Err(EntryError::Body("a parting that says more than that")),
            Kind::Open => OpenBody::decode(body).map(Body::Open),
            Kind::Seal => SealBody::decode(body).map(Body::Seal),
            Kind::Adopt => AdoptBody::decode(body).map(Body::Adopt),
            Kind::Members => MembersBody::decode(body).map(Body::Members),
            Kind::Begin => BeginBody::decode(body).map(Body::Begin),
            Kind::Trim => TrimBody::decode(body).map(Body::Trim),
            Kind::Mark if body.is_empty() => Ok(Body::Mark),
            Kind::Mark => Err(EntryError::Body("a mark of time that says more than that")),
        }
    }
}
