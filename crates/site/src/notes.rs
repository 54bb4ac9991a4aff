//! What a site writes down for itself: never replicated, never part of a journal.
//!
//! Notes ride in the WAL between entries, so that they become durable in the same sync and are recovered in the same
//! order. Layout: postcard of [`Note`].

use bytes::Bytes;
use clock::Stamp;
use entry::{Incarnation, SiteId, StorageId};
use serde::{Deserialize, Serialize};

/// One thing to remember across a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Note {
    /// No stamp above this one was ever given out or promised.
    Ceiling(Stamp),
    /// So many entries were released in all: what is readable.
    Released(u64),
    /// This incarnation of a site was granted by us to this data directory and will not be granted again.
    Granted(SiteId, Incarnation, StorageId),
}

impl Note {
    /// The note's bytes.
    #[must_use]
    pub(crate) fn encode(&self) -> Bytes {
        postcard::to_stdvec(self).expect("plain data always encodes").into()
    }

    /// Reads a note; `None` if the bytes are none.
    #[must_use]
    pub(crate) fn decode(bytes: &[u8]) -> Option<Note> {
        match postcard::take_from_bytes(bytes) {
            Ok((note, [])) => Some(note),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Note;
    use clock::Stamp;
    use entry::{Incarnation, SiteId, StorageId};

    #[test]
    fn notes_come_back_as_they_went() {
        let notes = [
            (Note::Ceiling(Stamp::from_raw(300)), "00ac02"),
            (Note::Released(5), "0105"),
            (Note::Granted(SiteId(2), Incarnation(1), StorageId(9)), "02020109"),
        ];
        for (note, golden) in notes {
            let bytes = note.encode();
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!((Note::decode(&bytes), &*hex), (Some(note), golden));
            assert_eq!(Note::decode(&bytes[..bytes.len() - 1]), None);
        }
    }
}
