//! What sites say to each other, and its bytes.
//!
//! A message is one kind byte and then postcard, but for entries, which follow verbatim as they stand in journals.
//! Nothing is allocated on a length that the bytes themselves do not back.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use agree::{Said, Vote};
use bytes::Bytes;
use clock::Stamp;
use entry::{ChainHash, ClusterId, Cut, Incarnation, JournalId, MemberEpoch, Seq, SiteId, StorageId};
use serde::{Deserialize, Serialize};
use thiserror::Error;

mod copy;
mod signed;

pub(crate) use copy::shared;
pub use copy::{CHUNK_BYTES_MAX, Chunk, CopyMessage, Extent};
pub use signed::{CERTIFICATE_BYTES_MAX, SIGNATURE_BYTES_MAX, SignedHead, Vouched};

/// The protocol spoken here. A site speaks with versions one below and one above, and says to each only what it reads;
/// entries are read by all, so a kind of entry is written once all members have told that they know it.
pub const PROTOCOL: u16 = 2;

/// Most journals one message may speak of: what a peer can make us hold.
pub const JOURNALS_MAX: usize = 10_000;

/// One message between sites.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// The first message on every link, both ways.
    Hello(Hello),
    /// Promises and frontiers; the latest counts.
    Pulse(Pulse),
    /// Send me this journal from here on.
    Need(Need),
    /// I get this journal elsewhere now.
    Enough(JournalId),
    /// Entries, and what vouches for them.
    Entries(Vouched),
    /// The certificate by which heads of entries that follow on the same lane can be checked.
    Certificate(Bytes),
    /// My journal parted and I am back: open it, please.
    OpenMe {
        /// Whose.
        journal: JournalId,
        /// The first entry after the parting.
        first: Seq,
    },
    /// A site that does not know its last incarnation asks for this one, for this data directory.
    AskIncarnation(Incarnation, StorageId),
    /// It is yours (`granted`), or this is the lowest number that could be.
    Incarnation {
        /// Which number was asked for.
        asked: Incarnation,
        /// For which data directory.
        storage: StorageId,
        /// Whether it is granted.
        granted: bool,
        /// If not: the lowest number that this site has not granted.
        next: Incarnation,
        /// The epoch of members that the sender votes in.
        epoch: MemberEpoch,
    },
    /// About copies of files.
    Copy(CopyMessage),
    /// About where a journal ends; the number counts the attempts to agree.
    Seal(JournalId, u32, Said),
    /// This is my disk. How have you voted, and what do you hold? I lost what I knew, or am about to enter an epoch.
    AskVotes(StorageId, Option<MemberEpoch>),
    /// So.
    Votes(Votes),
    /// Operators, or the witness, have decided this.
    GivenUp(Vec<GivenUp>),
    /// Let me go on without others.
    AskWitness(AskWitness),
}

/// A decision to go on without a site, an operator's or the witness's; a record for good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenUp {
    /// Which site.
    pub site: SiteId,
    /// In which epoch it was a member.
    pub epoch: MemberEpoch,
    /// Where that was decided.
    pub by: SiteId,
    /// When, by the clock there, in Unix milliseconds.
    pub at_ms: u64,
    /// By whom, as they called themselves.
    pub who: String,
    /// How much of its journals was held there.
    pub held: BTreeMap<JournalId, Seq>,
    /// Which witness has let it happen, if no operator decided.
    pub witness: Option<SiteId>,
}

/// What a member asks of the witness: to be let go on without others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskWitness {
    /// Which data directory of the witness is asked: no other one's word counts.
    pub storage: StorageId,
    /// The members, and since which epoch each has been one.
    pub members: BTreeMap<SiteId, MemberEpoch>,
    /// What would be decided.
    pub decisions: Vec<GivenUp>,
}

/// Where a journal stands at a site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stand {
    /// Up to where its entries have their places by their own stamps.
    pub sorted: Option<Seq>,
    /// Where it ends.
    pub cut: Option<Cut>,
}

/// What a site is told that lost its disk, or that enters an epoch of members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Votes {
    /// Who is told.
    pub storage: StorageId,
    /// The epoch that is about to be entered; none where the disk was lost.
    pub enters: Option<MemberEpoch>,
    /// The one that the sender has entered.
    pub entered: MemberEpoch,
    /// The sender's votes on the ends of journals.
    pub votes: BTreeMap<JournalId, Vote>,
    /// Incarnations that it granted, and to which data directories.
    pub granted: BTreeMap<SiteId, (Incarnation, StorageId)>,
    /// What the sender holds durably.
    pub held: BTreeMap<JournalId, Seq>,
    /// The members that were not given up, as far as the sender knows.
    pub remain: BTreeSet<SiteId>,
    /// The data directories that count at the sender, of the sites of which others did before, and of the witness; and those
    /// whose word it takes no more.
    pub storages: BTreeMap<SiteId, (StorageId, BTreeSet<StorageId>)>,
}

/// What of a site's frontier does not count for the quorum of a release.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Frozen {
    /// All of it: the site has lost its disk and does not hold again what it held.
    pub all: bool,
    /// For which members it counts, and for those before: the epoch that the site has entered. Reports of another epoch are
    /// others.
    pub epoch: MemberEpoch,
    /// Journals on whose ends the site has voted.
    pub journals: BTreeMap<JournalId, Freeze>,
}

/// How much of one journal counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freeze {
    /// In which attempt to agree on its end; the highest where that is known.
    pub attempt: u32,
    /// No more than this.
    pub most: Option<Seq>,
}

impl Freeze {
    /// The journal ended here: that is never taken back.
    #[must_use]
    pub fn ended(next: Seq) -> Freeze {
        Freeze { attempt: u32::MAX, most: Some(next) }
    }

    fn learn(&mut self, said: Freeze) {
        match said.attempt.cmp(&self.attempt) {
            Ordering::Greater => *self = said,
            Ordering::Equal => self.most = self.most.max(said.most),
            Ordering::Less => {}
        }
    }
}

impl Frozen {
    /// How much of a journal counts where `held` is held, and where it is known to have gone on from all attempts before
    /// `attempt`: what was frozen for these has thawed.
    #[must_use]
    pub fn counted(&self, journal: JournalId, held: Seq, attempt: u32) -> Seq {
        let freeze = self.journals.get(&journal).filter(|freeze| freeze.attempt >= attempt);
        let most = freeze.and_then(|freeze| freeze.most);
        if self.all { 0 } else { most.map_or(held, |most| held.min(most)) }
    }

    /// What follows from this and from what was heard by another way.
    pub fn learn(&mut self, said: &Frozen) {
        match said.epoch.cmp(&self.epoch) {
            Ordering::Greater => return self.clone_from(said),
            Ordering::Less => return,
            Ordering::Equal => {}
        }
        self.all &= said.all;
        for (journal, freeze) in &said.journals {
            self.journals.entry(*journal).or_insert(*freeze).learn(*freeze);
        }
    }
}

/// Who speaks, and what must be the same at both ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The protocol the sender speaks.
    pub protocol: u16,
    /// Its cluster.
    pub cluster: ClusterId,
    /// Itself; the link's certificate says the same.
    pub site: SiteId,
    /// Its data directory.
    pub storage: StorageId,
    /// The cluster's first members; none if it has not been told.
    pub founders: Vec<SiteId>,
    /// Whether it has seen the receiver removed.
    pub removed: bool,
    /// The sites it knows, members or not.
    pub sites: BTreeMap<SiteId, String>,
    /// The homes it knows, and their ports.
    pub homes: BTreeMap<String, u16>,
    /// What it holds durably: next seq and the hash before it, per journal.
    pub held: BTreeMap<JournalId, (Seq, ChainHash)>,
    /// The highest promise it knows of every journal: an owner that has forgotten must not go below its own.
    pub promised: BTreeMap<JournalId, Stamp>,
    /// What of that does not count.
    pub frozen: Frozen,
    /// The witness, if it knows one.
    pub witness: Option<SiteId>,
    /// What operators and the witness have decided, as far as it knows.
    pub given_up: Vec<GivenUp>,
    /// Where the journals stand.
    pub stands: BTreeMap<JournalId, Stand>,
}

/// Promises and frontiers, own and passed on.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Pulse {
    /// Per journal: everything of it stamped at most this is below this head, and nothing later will be.
    pub promises: BTreeMap<JournalId, (Stamp, Seq)>,
    /// What each site is known to hold durably: its storage, and the next seq per journal.
    pub frontiers: BTreeMap<SiteId, (StorageId, BTreeMap<JournalId, Seq>)>,
    /// What of these does not count.
    pub frozen: BTreeMap<SiteId, Frozen>,
    /// How much of each journal the sender has released, in front of an end only: as much as was held by a majority, whoever of
    /// that is left. Told while somebody stands in front of a change of the members that the sender has released.
    pub released: BTreeMap<JournalId, Seq>,
    /// Whether clients are to be sent to the sender.
    pub takes_clients: bool,
}

/// A journal, and the first entry of it that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Need {
    /// The journal.
    pub journal: JournalId,
    /// The first seq not yet held.
    pub from: Seq,
}

/// Why bytes are no message.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WireError {
    /// Nothing there.
    #[error("an empty message")]
    Empty,
    /// A kind this code does not know.
    #[error("messages of kind {0} are not known here: is the other site newer?")]
    Kind(u8),
    /// The body does not read.
    #[error("a message of kind {0} does not read")]
    Body(u8),
}

impl Message {
    /// The message's bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        match self {
            Message::Hello(hello) => framed(1, hello),
            Message::Pulse(pulse) => framed(2, pulse),
            Message::Need(need) => framed(3, need),
            Message::Enough(journal) => framed(4, journal),
            Message::Entries(entries) => entries.encode(5),
            Message::Certificate(certificate) => framed(30, certificate),
            Message::OpenMe { journal, first } => framed(6, &(journal, first)),
            Message::AskIncarnation(asked, storage) => framed(7, &(asked, storage)),
            Message::Incarnation { asked, storage, granted, next, epoch } => {
                framed(8, &(asked, storage, granted, next, epoch))
            }
            Message::Copy(message) => message.encode(),
            Message::Seal(journal, attempt, said) => framed(9, &(journal, attempt, said)),
            Message::AskVotes(storage, enters) => framed(10, &(storage, enters)),
            Message::Votes(votes) => framed(11, votes),
            Message::GivenUp(records) => framed(12, records),
            Message::AskWitness(ask) => framed(13, ask),
        }
    }

    /// How many bytes that makes, without copying bulk.
    #[must_use]
    pub fn encoded_bytes(&self) -> usize {
        match self {
            Message::Entries(entries) => entries.encoded_bytes(),
            Message::Copy(message) => message.encoded_bytes(),
            small => small.encode().len(),
        }
    }

    /// Reads a message.
    ///
    /// # Errors
    /// [`WireError`] if the bytes are not one.
    pub fn decode(mut bytes: Bytes) -> Result<Message, WireError> {
        let kind = *bytes.first().ok_or(WireError::Empty)?;
        let body = bytes.split_off(1);
        match kind {
            1 => read(kind, &body).map(Message::Hello),
            2 => read(kind, &body).map(Message::Pulse),
            3 => read(kind, &body).map(Message::Need),
            4 => read(kind, &body).map(Message::Enough),
            5 => Vouched::decode(kind, &body).map(Message::Entries),
            6 => read(kind, &body).map(|(journal, first)| Message::OpenMe { journal, first }),
            7 => read(kind, &body).map(|(asked, storage)| Message::AskIncarnation(asked, storage)),
            8 => {
                let incarnation = |(asked, storage, granted, next, epoch)| Message::Incarnation {
                    asked,
                    storage,
                    granted,
                    next,
                    epoch,
                };
                read(kind, &body).map(incarnation)
            }
            copy::FIRST_KIND..=copy::LAST_KIND => CopyMessage::decode(kind, &body),
            9 => read(kind, &body).map(|(journal, attempt, said)| Message::Seal(journal, attempt, said)),
            10 => read(kind, &body).map(|(storage, enters)| Message::AskVotes(storage, enters)),
            11 => read(kind, &body).map(Message::Votes),
            12 => read(kind, &body).map(Message::GivenUp),
            13 => read(kind, &body).map(Message::AskWitness),
            30 => match read::<Bytes>(kind, &body)? {
                certificate if certificate.len() <= CERTIFICATE_BYTES_MAX => {
                    Ok(Message::Certificate(certificate))
                }
                _ => Err(WireError::Body(kind)),
            },
            other => Err(WireError::Kind(other)),
        }
    }
}

fn framed<T: Serialize>(kind: u8, body: &T) -> Bytes {
    postcard::to_extend(body, vec![kind]).expect("plain data with known lengths always encodes").into()
}

fn read<'a, T: Deserialize<'a>>(kind: u8, body: &'a Bytes) -> Result<T, WireError> {
    match postcard::take_from_bytes(body) {
        Ok((message, [])) => Ok(message),
        _ => Err(WireError::Body(kind)),
    }
}

#[cfg(test)]
mod tests {
    use super::{AskWitness, Freeze, Frozen, GivenUp, Message, Need, Pulse, Votes, WireError};
    use agree::{Ballot, Said, Verdict, Vote};
    use bytes::Bytes;
    use clock::Stamp;
    use entry::{ChainHash, Cut, Incarnation, JournalId, MemberEpoch, SiteId, StorageId};
    use proptest::prelude::proptest;
    use std::collections::{BTreeMap, BTreeSet};

    fn messages() -> Vec<Message> {
        let journal = JournalId { site: SiteId(2), incarnation: Incarnation(1) };
        let mut pulse = Pulse::default();
        pulse.promises.insert(journal, (Stamp::from_raw(77), 9));
        pulse.released.insert(journal, 8);
        pulse.frontiers.insert(SiteId(1), (StorageId(5), BTreeMap::from([(journal, 8)])));
        pulse.frozen.insert(
            SiteId(1),
            Frozen {
                all: false,
                epoch: MemberEpoch(1),
                journals: BTreeMap::from([(journal, Freeze::ended(7))]),
            },
        );
        let mut all = vec![
            Message::Pulse(pulse),
            Message::Need(Need { journal, from: 3 }),
            Message::Enough(journal),
            Message::Entries(super::signed::sample()),
            Message::Certificate(Bytes::from_static(b"certificate")),
            Message::OpenMe { journal, first: 4 },
            Message::AskIncarnation(Incarnation(2), StorageId(5)),
            Message::Incarnation {
                asked: Incarnation(2),
                storage: StorageId(5),
                granted: false,
                next: Incarnation(3),
                epoch: MemberEpoch(1),
            },
            Message::Seal(
                journal,
                0,
                Said::Prepare { ballot: Ballot { epoch: MemberEpoch(1), round: 2, by: 1 } },
            ),
            Message::Seal(
                journal,
                3,
                Said::Decided(Verdict::Ends(Cut { next: 4, hash: ChainHash([3; 32]) })),
            ),
            Message::AskVotes(StorageId(6), None),
            Message::AskVotes(StorageId(6), Some(MemberEpoch(2))),
            Message::Votes(Votes {
                storage: StorageId(6),
                enters: Some(MemberEpoch(2)),
                entered: MemberEpoch(1),
                votes: BTreeMap::from([(journal, Vote::default())]),
                granted: BTreeMap::from([(SiteId(3), (Incarnation(1), StorageId(7)))]),
                held: BTreeMap::from([(journal, 4)]),
                remain: BTreeSet::from([SiteId(1), SiteId(2)]),
                storages: BTreeMap::from([(SiteId(9), (StorageId(8), BTreeSet::from([StorageId(7)])))]),
            }),
        ];
        let decision = GivenUp {
            site: SiteId(2),
            epoch: MemberEpoch(1),
            by: SiteId(1),
            at_ms: 8,
            who: "eve".to_owned(),
            held: BTreeMap::from([(journal, 3)]),
            witness: None,
        };
        all.push(Message::GivenUp(vec![decision.clone()]));
        all.push(Message::AskWitness(AskWitness {
            storage: StorageId(8),
            members: BTreeMap::from([(SiteId(1), MemberEpoch(1)), (SiteId(2), MemberEpoch(3))]),
            decisions: vec![GivenUp { witness: Some(SiteId(3)), ..decision }],
        }));
        all.extend(super::copy::samples());
        all
    }

    #[test]
    fn messages_come_back_as_they_went() {
        for message in messages() {
            let bytes = message.encode();
            assert_eq!(message.encoded_bytes(), bytes.len(), "{message:?}");
            assert_eq!(Message::decode(bytes), Ok(message));
        }
    }

    #[test]
    fn what_is_cut_or_follows_is_refused() {
        for message in messages().into_iter().filter(|message| !matches!(message, Message::Entries(_))) {
            let bytes = message.encode();
            assert!(Message::decode(bytes.slice(..bytes.len() - 1)).is_err());
            let longer = Bytes::from([&bytes[..], b"x"].concat());
            assert!(Message::decode(longer).is_err());
        }
        assert_eq!(Message::decode(Bytes::from_static(&[99])), Err(WireError::Kind(99)));
    }

    #[test]
    fn what_is_frozen_is_learnt_by_any_way_and_thaws_with_the_attempt() {
        let journal = JournalId::genesis(SiteId(2));
        let frozen = |attempt, most| Frozen {
            all: false,
            epoch: MemberEpoch(1),
            journals: BTreeMap::from([(journal, Freeze { attempt, most })]),
        };
        let mut known = Frozen { all: true, epoch: MemberEpoch(1), journals: BTreeMap::new() };
        known.learn(&frozen(0, Some(3)));
        assert_eq!((known.counted(journal, 9, 0), known.counted(journal, 2, 0)), (3, 2));
        known.learn(&Frozen::default());
        assert_eq!(known.counted(journal, 9, 0), 3, "an older word takes nothing back");
        known.learn(&frozen(1, None));
        assert_eq!(known.counted(journal, 9, 0), 9, "it was decided that it goes on");
        known.learn(&frozen(0, Some(3)));
        assert_eq!(known.counted(journal, 9, 0), 9);
        known.learn(&frozen(1, Some(5)));
        assert_eq!(known.counted(journal, 9, 0), 5);
        assert_eq!(
            known.counted(journal, 9, 2),
            9,
            "who knows that it went on again waits for no word of that"
        );
        let ended = BTreeMap::from([(journal, Freeze::ended(6))]);
        known.learn(&Frozen { all: true, epoch: MemberEpoch(1), journals: ended });
        assert_eq!(known.counted(journal, 9, 0), 6);
        known.learn(&Frozen { epoch: MemberEpoch(2), ..frozen(1, Some(0)) });
        assert_eq!(known.counted(journal, 9, 0), 0, "in another epoch it reports anew");
        known.learn(&frozen(1, Some(5)));
        assert_eq!(known.counted(journal, 9, 0), 0);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = Message::decode(bytes.into());
        }
    }
}
