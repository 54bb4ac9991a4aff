//! The first entry of a journal that was granted to a site: how much the site held of its former journals when it began.
//!
//! Its origin logs show nothing of the new journal before as much of the former ones is there, so that who follows them
//! passes nothing over.
//!
//! Body: per former journal of the site, in rising order, its incarnation (u32) and the first seq that the site did not hold
//! (u64), all big-endian.

use std::collections::BTreeMap;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::EntryError;
use crate::ids::{Incarnation, Seq};

const FORMER_BYTES: usize = 12;

/// A site begins a journal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BeginBody {
    /// The first seq that it does not hold of each of its former journals.
    pub former: BTreeMap<Incarnation, Seq>,
}

impl BeginBody {
    pub(crate) fn encode(&self, out: &mut BytesMut) {
        for (incarnation, next) in &self.former {
            out.put_u32(incarnation.0);
            out.put_u64(*next);
        }
    }

    pub(crate) fn decode(body: &Bytes) -> Result<BeginBody, EntryError> {
        let mut former = BTreeMap::new();
        let mut rest = body.clone();
        while rest.len() >= FORMER_BYTES {
            let (incarnation, next) = (Incarnation(rest.get_u32()), rest.get_u64());
            if former.last_key_value().is_some_and(|(last, _)| *last >= incarnation) {
                return Err(EntryError::Body("a beginning whose former journals are out of order"));
            }
            former.insert(incarnation, next);
        }
        if rest.is_empty() {
            return Ok(BeginBody { former });
        }
        Err(EntryError::Body("a beginning of another length"))
    }
}

#[cfg(test)]
mod tests {
    use super::BeginBody;
    use crate::Incarnation;
    use bytes::{Bytes, BytesMut};

    #[test]
    fn a_beginning_is_the_same_bytes_for_ever() {
        let begin = BeginBody { former: [(Incarnation(0), 258), (Incarnation(3), 1)].into() };
        let mut out = BytesMut::new();
        begin.encode(&mut out);
        let hex: String = out.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "000000000000000000000102000000030000000000000001");
        let bytes = out.freeze();
        assert_eq!(BeginBody::decode(&bytes), Ok(begin));
        assert_eq!(BeginBody::decode(&Bytes::new()), Ok(BeginBody::default()));
        assert!(BeginBody::decode(&bytes.slice(..23)).is_err());
        let twice = [&bytes[..12], &bytes[..12]].concat();
        assert!(BeginBody::decode(&twice.into()).is_err(), "one journal twice");
    }
}
