//! Signed heads that are kept, so that this site can pass others' journals on and prove every entry of them.
//!
//! Of each journal the newest one is kept for ever: it vouches for all that is held. For as long as the WAL holds entries
//! before that, some more are kept, close enough together that what lies between two of them fits a message.
//! Certificates are kept once each, for as long as a kept head needs them.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use entry::{JournalId, Seq};
use journal::Chain;
use serde::{Deserialize, Serialize};

use crate::notary::CertificateId;
use crate::wire::SignedHead;

/// Signed heads of the journals held here, and the certificates that they name.
#[derive(Debug, Default)]
pub(crate) struct Heads {
    journals: BTreeMap<JournalId, Kept>,
    certificates: BTreeMap<CertificateId, Bytes>,
}

#[derive(Debug, Default)]
struct Kept {
    /// By the seq up to which each vouches: the head, and how many bytes of entries lie between it and the one before.
    heads: BTreeMap<Seq, (SignedHead, u64)>,
    /// Bytes of entries that became durable since the last head did.
    since_bytes: u64,
    /// The certificate of the latest head that was taken in, durable or not.
    latest: Option<CertificateId>,
}

/// What of this survives a restart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HeadState {
    heads: Vec<(SignedHead, u64)>,
    certificates: Vec<Bytes>,
}

impl Heads {
    pub(crate) fn restore(state: HeadState) -> Heads {
        let mut heads = Heads::default();
        for (head, bytes) in state.heads {
            let kept = heads.journals.entry(head.journal).or_default();
            kept.latest = Some(head.certificate);
            kept.heads.insert(head.next, (head, bytes));
        }
        state.certificates.into_iter().for_each(|certificate| heads.learn(certificate));
        heads
    }

    /// What a checkpoint holds of it; certificates that nothing needs any more are forgotten here too.
    pub(crate) fn snapshot(&mut self) -> HeadState {
        let named = |kept: &Kept| {
            let heads = kept.heads.values().map(|(head, _)| head.certificate);
            heads.chain(kept.latest).collect::<Vec<_>>()
        };
        let needed: BTreeSet<CertificateId> = self.journals.values().flat_map(named).collect();
        self.certificates.retain(|id, _| needed.contains(id));
        HeadState {
            heads: self.journals.values().flat_map(|kept| kept.heads.values().cloned()).collect(),
            certificates: self.certificates.values().cloned().collect(),
        }
    }

    /// A certificate that was proved good, or that a checkpoint or the WAL holds.
    pub(crate) fn learn(&mut self, certificate: Bytes) {
        self.certificates.insert(CertificateId::of(&certificate), certificate);
    }

    pub(crate) fn certificate(&self, id: CertificateId) -> Option<&Bytes> {
        self.certificates.get(&id)
    }

    /// A head was taken in and is on its way to the disk.
    pub(crate) fn taken(&mut self, head: &SignedHead) {
        self.journals.entry(head.journal).or_default().latest = Some(head.certificate);
    }

    /// An entry of another site is durable.
    pub(crate) fn entry_durable(&mut self, journal: JournalId, bytes: u64) {
        self.journals.entry(journal).or_default().since_bytes += bytes;
    }

    /// A head is durable, and all that it vouches for. Those before it go as far as what then lies between two is at
    /// most `spacing_bytes`.
    pub(crate) fn durable(&mut self, head: SignedHead, spacing_bytes: u64) {
        let kept = self.journals.entry(head.journal).or_default();
        let mut bytes = std::mem::take(&mut kept.since_bytes);
        kept.latest = Some(head.certificate);
        if kept.heads.keys().next_back().is_none_or(|last| *last < head.next) {
            let last = kept.heads.last_entry().filter(|last| last.get().1 + bytes <= spacing_bytes);
            bytes += last.map_or(0, |last| last.remove().1);
        }
        kept.heads.insert(head.next, (head, bytes));
    }

    /// The WAL begins with entry `first` of a journal: only the newest head vouches for what is before that.
    pub(crate) fn forget_before(&mut self, journal: JournalId, first: Seq) {
        let Some(kept) = self.journals.get_mut(&journal) else { return };
        while kept.heads.len() > 1 && kept.heads.first_key_value().is_some_and(|(next, _)| *next <= first) {
            kept.heads.pop_first();
        }
    }

    /// The furthest head at or below `upto` that vouches for entry `from`; else the first one behind it.
    pub(crate) fn reaching(&self, journal: JournalId, from: Seq, upto: Seq) -> Option<&SignedHead> {
        let heads = &self.journals.get(&journal)?.heads;
        let fits = heads.range(..=upto).next_back().filter(|(next, _)| **next > from);
        fits.or_else(|| heads.range(from + 1..).next()).map(|(_, (head, _))| head)
    }
}

impl HeadState {
    /// Adds a head that this site signed for a journal of its own.
    pub(crate) fn add(&mut self, (head, certificate): (SignedHead, Bytes)) {
        self.heads.push((head, 0));
        if !self.certificates.contains(&certificate) {
            self.certificates.push(certificate);
        }
    }

    /// What vouches for exactly this much of a journal, and its certificate.
    pub(crate) fn proof(&self, journal: JournalId, chain: &Chain) -> Option<(&SignedHead, &Bytes)> {
        let stands = |head: &SignedHead| {
            let here = Chain { next: head.next, hash: head.hash, stamp: head.stamp };
            head.journal == journal && here == *chain
        };
        let (head, _) = self.heads.iter().find(|(head, _)| stands(head))?;
        let certificate = self.certificates.iter().find(|it| CertificateId::of(it) == head.certificate)?;
        Some((head, certificate))
    }

    /// What of it another site has a use for: what vouches for where the journals stand.
    pub(crate) fn handed_over(mut self, chains: &BTreeMap<JournalId, Chain>) -> HeadState {
        let stands = |head: &SignedHead| chains.get(&head.journal).is_some_and(|it| it.next == head.next);
        self.heads.retain(|(head, _)| stands(head));
        let needed: BTreeSet<CertificateId> = self.heads.iter().map(|(head, _)| head.certificate).collect();
        self.certificates.retain(|certificate| needed.contains(&CertificateId::of(certificate)));
        self
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use clock::Stamp;
    use entry::{ChainHash, JournalId, SiteId};

    use super::Heads;
    use crate::notary::CertificateId;
    use crate::wire::SignedHead;

    fn head(next: u64, certificate: &[u8]) -> SignedHead {
        SignedHead {
            journal: JournalId::genesis(SiteId(2)),
            next,
            hash: ChainHash([next as u8; 32]),
            stamp: Stamp::from_raw(next),
            certificate: CertificateId::of(certificate),
            signature: Bytes::new(),
        }
    }

    /// Ten heads, an entry of ten bytes apart.
    fn ten(spacing_bytes: u64) -> Heads {
        let mut heads = Heads::default();
        for next in 1..=10 {
            heads.entry_durable(JournalId::genesis(SiteId(2)), 10);
            heads.durable(head(next, b"c"), spacing_bytes);
        }
        heads
    }

    fn kept(heads: &mut Heads) -> Vec<u64> {
        heads.snapshot().heads.iter().map(|(head, _)| head.next).collect()
    }

    #[test]
    fn what_lies_between_two_heads_fits_a_message_and_no_more_are_kept() {
        assert_eq!(kept(&mut ten(0)), (1..=10).collect::<Vec<_>>());
        assert_eq!(kept(&mut ten(30)), [3, 6, 9, 10]);
        assert_eq!(kept(&mut ten(1000)), [10]);
    }

    #[test]
    fn a_message_ends_at_the_furthest_head_that_fits_else_at_the_next() {
        let heads = ten(30);
        let reaching = |from, upto| heads.reaching(JournalId::genesis(SiteId(2)), from, upto);
        let next = |from, upto| reaching(from, upto).map(|head| head.next);
        assert_eq!(next(0, 7), Some(6));
        assert_eq!(next(0, 2), Some(3));
        assert_eq!(next(4, 5), Some(6));
        assert_eq!(next(9, 10), Some(10));
        assert_eq!(next(10, 12), None);
    }

    #[test]
    fn heads_go_with_the_wal_and_certificates_with_their_heads() {
        let mut heads = ten(0);
        for certificate in [&b"c"[..], b"d", b"unused"] {
            heads.learn(Bytes::copy_from_slice(certificate));
        }
        heads.durable(head(11, b"d"), 0);
        let journal = JournalId::genesis(SiteId(2));
        heads.forget_before(journal, 9);
        assert_eq!(kept(&mut heads), [10, 11]);
        assert!(heads.certificate(CertificateId::of(b"unused")).is_none());
        heads.forget_before(journal, 99);
        assert_eq!(kept(&mut heads), [11], "the newest stays");
        let state = heads.snapshot();
        assert_eq!(state.certificates, [Bytes::from_static(b"d")]);
        assert_eq!(Heads::restore(state.clone()).snapshot(), state);
    }
}
