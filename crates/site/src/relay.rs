//! What this site sends of journals: only what it can prove, its own and others' alike.
//!
//! Every message of entries ends where the owner has signed. Of its own journals this site signs wherever a message ends,
//! once for all who are sent the same. Of others' it passes on what lies before a signed head that it keeps; since the
//! owner's messages became durable together with their heads, that is all that is held here.

use bytes::Bytes;
use disk::Disk;
use entry::{Encoded, JournalId, Seq};
use journal::{Chain, ReadError};

use crate::site::{Fatal, Site};
use crate::wire::{SignedHead, Vouched};

/// Entries for a peer.
pub(crate) enum Provable {
    /// These, and the certificate by which they can be checked.
    Entries(Vouched, Bytes),
    /// Nothing before this is at hand.
    Dropped(Seq),
    /// There is no more.
    Nothing,
}

impl Site {
    /// Entries of a journal from `from` on, about `most` bytes of them, as far as they can be proved.
    pub(crate) fn provable(
        &mut self,
        (journal, from): (JournalId, Seq),
        most: usize,
        disk: &dyn Disk,
    ) -> Result<Provable, Fatal> {
        let mut entries = match self.pipeline.wal.entries(disk, journal, from, most) {
            Err(ReadError::Dropped { first, .. }) => return Ok(Provable::Dropped(first)),
            other => other?,
        };
        let durable = self.journals.durable(journal);
        // What waits for room in the logs is not held yet: nobody may hold more of this site's journal than itself.
        entries.truncate(usize::try_from(durable.saturating_sub(from)).unwrap_or(usize::MAX));
        if entries.is_empty() {
            // What is held and does not stand in the WAL was taken over, or has left it: it can only be taken over again.
            let is_gone = from < durable && self.pipeline.wal.is_read();
            return Ok(if is_gone { Provable::Dropped(durable) } else { Provable::Nothing });
        }
        let proof = if journal.site == self.config.own {
            let upto = self.chain_at(journal, from, &entries)?;
            Some(self.signed(journal, upto))
        } else {
            self.cut_where_signed((journal, from), most, &mut entries, disk)?
        };
        // What cannot be proved is of no use to anybody: it has to be taken over with a copy.
        let Some((head, certificate)) = proof else {
            return Ok(Provable::Dropped(self.journals.durable(journal)));
        };
        Ok(Provable::Entries(Vouched { head, entries: concat(entries) }, certificate))
    }

    /// Where a journal's chain stands behind these entries.
    fn chain_at(&self, journal: JournalId, from: Seq, entries: &[Bytes]) -> Result<Chain, Fatal> {
        let (next, durable) = (from + entries.len() as u64, self.journals.durable_chain(journal));
        if next == durable.next {
            return Ok(durable);
        }
        let last = Encoded::new(entries.last().cloned().unwrap_or_default())?;
        Ok(Chain { next, hash: last.hash(), stamp: last.head.stamp })
    }

    /// Signs where a journal of this site stands; once, whoever is told.
    pub(crate) fn signed(&mut self, journal: JournalId, chain: Chain) -> (SignedHead, Bytes) {
        let known = |(head, _): &&(SignedHead, Bytes)| head.journal == journal && head.hash == chain.hash;
        if let Some(known) = self.state.signed.as_ref().filter(known) {
            return known.clone();
        }
        let signed = SignedHead::sign(&*self.notary, self.config.cluster, journal, chain);
        self.state.signed.insert(signed).clone()
    }

    /// Cuts another's entries where its owner has signed, or reads on to where it has.
    fn cut_where_signed(
        &self,
        (journal, from): (JournalId, Seq),
        most: usize,
        entries: &mut Vec<Bytes>,
        disk: &dyn Disk,
    ) -> Result<Option<(SignedHead, Bytes)>, Fatal> {
        let heads = &self.state.heads;
        let Some(head) = heads.reaching(journal, from, from + entries.len() as u64) else { return Ok(None) };
        let wanted = usize::try_from(head.next - from).unwrap_or(usize::MAX);
        while entries.len() < wanted {
            let more = self.pipeline.wal.entries(disk, journal, from + entries.len() as u64, most)?;
            if more.is_empty() {
                return Ok(None);
            }
            entries.extend(more);
        }
        entries.truncate(wanted);
        Ok(heads.certificate(head.certificate).map(|certificate| (head.clone(), certificate.clone())))
    }
}

fn concat(mut entries: Vec<Bytes>) -> Bytes {
    if entries.len() == 1 { entries.pop().unwrap_or_default() } else { entries.concat().into() }
}
