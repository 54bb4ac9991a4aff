//! What a site writes down for itself: never replicated, never part of a journal.
//!
//! Notes ride in the WAL between entries, so that they become durable in the same sync and are recovered in the same
//! order. Layout: postcard of [`Note`].

use agree::Vote;
use bytes::Bytes;
use clock::Stamp;
use entry::{Cut, Incarnation, JournalId, MemberEpoch, SiteId, StorageId};
use serde::{Deserialize, Serialize};

use crate::wire::{GivenUp, SignedHead};

/// One thing to remember across a restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Note {
    /// No stamp above this one was ever given out or promised.
    Ceiling(Stamp),
    /// So many entries were released in all: what is readable.
    Released(u64),
    /// This incarnation of a site was granted by us to this data directory and will not be granted again.
    Granted(SiteId, Incarnation, StorageId),
    /// How this site has voted on where a journal ends.
    Vote(JournalId, Vote),
    /// Where a journal ends: the members have agreed.
    Ended(JournalId, Cut),
    /// A site that lost its disk was told our votes: its former storages vote no more.
    Renewed(SiteId, StorageId),
    /// A certificate by which signed heads that follow can be checked.
    Certificate(Bytes),
    /// What vouches for the entries before it, which are durable together with it.
    Vouched(SignedHead),
    /// This site votes and counts in this epoch of members: it knows how those before have voted.
    Entered(MemberEpoch),
    /// A site was given up.
    GivenUp(GivenUp),
    /// Origin logs show a site's lives up to this one.
    Shown(JournalId),
}

impl Note {
    /// The note's bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        postcard::to_stdvec(self).expect("plain data always encodes").into()
    }

    /// Reads a note; `None` if the bytes are none.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Note> {
        match postcard::take_from_bytes(bytes) {
            Ok((note, [])) => Some(note),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Note;
    use crate::notary::CertificateId;
    use crate::wire::{GivenUp, SignedHead};
    use agree::{Ballot, Vote};
    use bytes::Bytes;
    use clock::Stamp;
    use entry::{ChainHash, Cut, Incarnation, JournalId, MemberEpoch, SiteId, StorageId};

    #[test]
    fn notes_come_back_as_they_went() {
        let journal = JournalId { site: SiteId(3), incarnation: Incarnation(1) };
        let cut = Cut { next: 5, hash: ChainHash([1; 32]) };
        let ballot = Ballot { epoch: MemberEpoch(1), round: 4, by: 2 };
        let vote = Vote::default().promise(ballot, cut, 0, true).unwrap();
        let hash = "01".repeat(32);
        let (voted, ended) = (format!("0303010001040200010501{}{hash}01", "05"), format!("04030105{hash}"));
        let head = SignedHead {
            journal,
            next: 5,
            hash: ChainHash([1; 32]),
            stamp: Stamp::from_raw(300),
            certificate: CertificateId([9; 32]),
            signature: Bytes::from_static(&[0xee]),
        };
        let vouched = format!("07030105{hash}ac02{}01ee", "09".repeat(32));
        let given_up = GivenUp {
            site: SiteId(2),
            epoch: MemberEpoch(1),
            by: SiteId(1),
            at_ms: 300,
            who: "eve".to_owned(),
            held: [(journal, 5)].into(),
            witness: None,
        };
        let notes = [
            (Note::Ceiling(Stamp::from_raw(300)), "00ac02"),
            (Note::Released(5), "0105"),
            (Note::Granted(SiteId(2), Incarnation(1), StorageId(9)), "02020109"),
            (Note::Vote(journal, vote), &*voted),
            (Note::Ended(journal, cut), &*ended),
            (Note::Renewed(SiteId(2), StorageId(9)), "050209"),
            (Note::Certificate(Bytes::from_static(b"der")), "0603646572"),
            (Note::Vouched(head), &*vouched),
            (Note::Entered(MemberEpoch(3)), "0803"),
            (Note::GivenUp(given_up), "09020101ac02036576650103010500"),
            (Note::Shown(journal), "0a0301"),
        ];
        for (note, golden) in notes {
            let bytes = note.encode();
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!((Note::decode(&bytes), &*hex), (Some(note), golden));
            assert_eq!(Note::decode(&bytes[..bytes.len() - 1]), None);
        }
    }
}
