//! The journals this site holds: how far each was received, how far it is durable, and which one is ours.
//!
//! Two chains per journal. The *tip* grows when an entry is taken in (checked against the chain, given to the WAL); the
//! *durable* chain follows when the WAL write is done. Only the durable one is ever told to anybody.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use entry::{ChainHash, Encoded, JournalId, Seq};
use journal::{Chain, ChainError};

/// All journals held here.
#[derive(Debug, Default)]
pub(crate) struct Journals {
    held: BTreeMap<JournalId, Held>,
    quarantined: BTreeSet<JournalId>,
}

#[derive(Debug, Clone, Default)]
struct Held {
    tip: Chain,
    durable: Chain,
    /// The chain after each entry between the two.
    between: VecDeque<Chain>,
    /// What an entry of it takes, in bytes, the latest counting most; 0 while none has come in this process's life.
    mean_bytes: u64,
}

impl Journals {
    /// Starts from chains that a checkpoint recorded.
    pub(crate) fn restore(chains: BTreeMap<JournalId, Chain>) -> Journals {
        let held = chains
            .into_iter()
            .map(|(journal, chain)| (journal, Held { tip: chain, durable: chain, ..Held::default() }));
        Journals { held: held.collect(), quarantined: BTreeSet::new() }
    }

    /// The durable chains, for a checkpoint.
    pub(crate) fn durable_chains(&self) -> BTreeMap<JournalId, Chain> {
        self.held.iter().map(|(journal, held)| (*journal, held.durable)).collect()
    }

    /// The chain up to what was taken in last.
    pub(crate) fn tip(&self, journal: JournalId) -> Chain {
        self.held.get(&journal).map(|held| held.tip).unwrap_or_default()
    }

    /// The next seq not yet taken in.
    pub(crate) fn next(&self, journal: JournalId) -> Seq {
        self.held.get(&journal).map_or(0, |held| held.tip.next)
    }

    /// The next seq not yet durable.
    pub(crate) fn durable(&self, journal: JournalId) -> Seq {
        self.held.get(&journal).map_or(0, |held| held.durable.next)
    }

    /// What an entry of a journal takes, in bytes, going by the latest ones; `None` before the first.
    pub(crate) fn mean_bytes(&self, journal: JournalId) -> Option<u64> {
        self.held.get(&journal).map(|held| held.mean_bytes).filter(|bytes| *bytes > 0)
    }

    /// The chain up to what is durable.
    pub(crate) fn durable_chain(&self, journal: JournalId) -> Chain {
        self.held.get(&journal).map(|held| held.durable).unwrap_or_default()
    }

    /// What is durable, per journal: for frontiers.
    pub(crate) fn frontier(&self) -> BTreeMap<JournalId, Seq> {
        self.held.iter().map(|(journal, held)| (*journal, held.durable.next)).collect()
    }

    /// The former lives of a journal's site of which anything is durable.
    pub(crate) fn former(&self, journal: JournalId) -> impl Iterator<Item = JournalId> {
        let former = self.held.range(JournalId::genesis(journal.site)..journal);
        former.filter(|(_, held)| held.durable.next > 0).map(|(former, _)| *former)
    }

    /// What was taken in, per journal: a bug on purpose where a frontier is asked for.
    pub(crate) fn taken_in(&self) -> BTreeMap<JournalId, Seq> {
        self.held.iter().map(|(journal, held)| (*journal, held.tip.next)).collect()
    }

    /// What is durable, with the hash before it: for a hello.
    pub(crate) fn heads(&self) -> BTreeMap<JournalId, (Seq, ChainHash)> {
        self.held.iter().map(|(journal, held)| (*journal, (held.durable.next, held.durable.hash))).collect()
    }

    /// Takes the next entry of a journal in, if it continues the chain.
    pub(crate) fn take(&mut self, entry: &Encoded) -> Result<(), ChainError> {
        let held = self.held.entry(entry.head.journal).or_default();
        held.tip.check(entry)?;
        held.tip.accept(entry);
        held.between.push_back(held.tip);
        Ok(())
    }

    /// Takes entries in that were found to continue the chain: where it stands behind each of them.
    pub(crate) fn take_checked(&mut self, journal: JournalId, chains: &[Chain]) {
        let Some(last) = chains.last() else { return };
        let held = self.held.entry(journal).or_default();
        held.tip = *last;
        held.between.extend(chains);
    }

    /// An entry that was taken in is durable now.
    pub(crate) fn made_durable(&mut self, entry: &Encoded) {
        let held = self.held.entry(entry.head.journal).or_default();
        assert_eq!(
            held.durable.next, entry.head.seq,
            "entries become durable in the order they were taken in"
        );
        held.durable = held.between.pop_front().expect("what becomes durable was taken in");
        let bytes = entry.bytes.len() as u64;
        held.mean_bytes = if held.mean_bytes == 0 { bytes } else { (7 * held.mean_bytes + bytes) / 8 };
    }

    /// Takes nothing more of this journal: it was seen with two histories.
    pub(crate) fn quarantine(&mut self, journal: JournalId) -> bool {
        self.quarantined.insert(journal)
    }

    /// Whether nothing more is taken of this journal.
    pub(crate) fn is_quarantined(&self, journal: JournalId) -> bool {
        self.quarantined.contains(&journal)
    }

    /// The journals that were seen with two histories.
    pub(crate) fn quarantined(&self) -> impl Iterator<Item = JournalId> + '_ {
        self.quarantined.iter().copied()
    }
}
