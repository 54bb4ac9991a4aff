//! What this site knows of the others: links, what each holds, what each was sent and asked.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use clock::Stamp;
use entry::{Incarnation, JournalId, Seq, SiteId, StorageId};

use crate::action::Lane;
use crate::notary::CertificateId;
use crate::wire::Frozen;

/// All others.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    /// Links that are up, greeted or not.
    pub(crate) links: BTreeMap<SiteId, Peer>,
    /// What every site is known to hold durably, heard from itself or passed on.
    pub(crate) frontiers: BTreeMap<SiteId, (StorageId, BTreeMap<JournalId, Seq>)>,
    /// The protocol that each site spoke when it last said hello.
    pub(crate) protocols: BTreeMap<SiteId, u16>,
    /// What of these does not count for the quorum of a release.
    pub(crate) frozen: BTreeMap<SiteId, Frozen>,
    /// When each journal's promise last rose, in monotonic microseconds.
    pub(crate) moved_us: BTreeMap<JournalId, u64>,
    /// The latest promise known of every journal.
    pub(crate) promises: BTreeMap<JournalId, (Stamp, Seq)>,
    /// From whom each journal comes.
    pub(crate) sources: BTreeMap<JournalId, Source>,
    /// When each site was last heard, in monotonic microseconds.
    pub(crate) heard_us: BTreeMap<SiteId, u64>,
    /// Who said last that no clients are to be sent to it.
    pub(crate) without_clients: BTreeSet<SiteId>,
    /// Who sent what its owner has not signed, or what is too new to read, and until when nothing of that journal is asked of it, in monotonic
    /// microseconds.
    pub(crate) distrusted: BTreeMap<(SiteId, JournalId), u64>,
}

/// The link to one other site.
#[derive(Debug)]
pub(crate) struct Peer {
    /// The data directory that it speaks for, once its hello came and was found good.
    pub(crate) greeted: Option<StorageId>,
    /// What it asked for, and how far it was sent.
    pub(crate) cursors: BTreeMap<JournalId, Cursor>,
    /// Bytes that may still be given to the link; less than none when the last message was larger than what was left.
    pub(crate) credit: i64,
    /// Certificates that it has shown.
    pub(crate) certificates: BTreeMap<CertificateId, Bytes>,
    /// The number that was granted to it over this link, as which data directory.
    pub(crate) granted: Option<(Incarnation, StorageId)>,
}

/// Certificates that are remembered of one link; one that is forgotten comes again with the next need.
const CERTIFICATES_MAX: usize = 64;

/// How far a peer was sent a journal.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor {
    pub(crate) next: Seq,
    pub(crate) lane: Lane,
    /// The certificate that was shown last on this lane.
    pub(crate) shown: Option<CertificateId>,
}

/// From whom a journal comes, and since which request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source {
    pub(crate) site: SiteId,
    /// From which entry on it was last asked, and when, in monotonic microseconds.
    pub(crate) asked: (Seq, u64),
    /// How far the journal had come when that was last seen to grow, and when that was.
    pub(crate) reached: (Seq, u64),
}

impl Peer {
    pub(crate) fn new(credit: i64) -> Peer {
        Peer { greeted: None, cursors: BTreeMap::new(), credit, certificates: BTreeMap::new(), granted: None }
    }

    /// It shows a certificate; whether that is any good is found out when something is to be checked by it.
    pub(crate) fn shows(&mut self, certificate: Bytes) {
        if self.certificates.len() >= CERTIFICATES_MAX {
            self.certificates.pop_first();
        }
        self.certificates.insert(CertificateId::of(&certificate), certificate);
    }
}

impl Peers {
    /// Sites whose link is up and whose hello was good.
    pub(crate) fn greeted(&self) -> impl Iterator<Item = SiteId> + '_ {
        self.links.iter().filter(|(_, peer)| peer.greeted.is_some()).map(|(site, _)| *site)
    }

    pub(crate) fn is_greeted(&self, site: SiteId) -> bool {
        self.links.get(&site).is_some_and(|peer| peer.greeted.is_some())
    }

    /// How much of a journal a site is known to hold.
    pub(crate) fn holds(&self, site: SiteId, journal: JournalId) -> Seq {
        self.frontiers.get(&site).and_then(|(_, held)| held.get(&journal)).copied().unwrap_or(0)
    }

    /// How much of a journal counts as held by a site, where it is known to have gone on from all attempts before this one.
    pub(crate) fn counts(&self, site: SiteId, journal: JournalId, attempt: u32) -> Seq {
        let held = self.holds(site, journal);
        self.frozen.get(&site).map_or(held, |frozen| frozen.counted(journal, held, attempt))
    }

    /// Takes a frontier in: the longer one per journal within one storage; another storage replaces.
    pub(crate) fn learn_frontier(
        &mut self,
        site: SiteId,
        storage: StorageId,
        held: &BTreeMap<JournalId, Seq>,
        frozen: &Frozen,
    ) {
        let known = self.frontiers.entry(site).or_insert_with(|| (storage, BTreeMap::new()));
        if known.0 != storage {
            *known = (storage, BTreeMap::new());
            self.frozen.remove(&site);
        }
        self.frozen.entry(site).or_insert_with(|| frozen.clone()).learn(frozen);
        for (journal, next) in held {
            let slot = known.1.entry(*journal).or_insert(0);
            *slot = (*slot).max(*next);
        }
    }

    /// Takes a promise in, if it says more than the one known. Returns whether it does.
    pub(crate) fn learn_promise(&mut self, journal: JournalId, promise: (Stamp, Seq), mono_us: u64) -> bool {
        let known = self.promises.entry(journal).or_insert((Stamp::ZERO, 0));
        let more = promise.0 > known.0;
        if more {
            *known = promise;
            self.moved_us.insert(journal, mono_us);
        }
        more
    }

    /// Every journal that anybody is known to hold.
    pub(crate) fn journals(&self) -> Vec<JournalId> {
        let mut all: Vec<_> = self.frontiers.values().flat_map(|(_, held)| held.keys().copied()).collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}
