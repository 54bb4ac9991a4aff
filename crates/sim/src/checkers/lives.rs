//! I-10: an incarnation belongs to one history of one data directory.
//! I-13: a site's incarnation never goes back, and its storage keeps its name unless its disk was put back; if entries of its
//! own were lost with that, which others hold, it takes another name.
//! I-49: no segment of the WAL is given up that a member may still need.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use disk::FileName;
use entry::{Encoded, Incarnation, JournalId, SiteId, StorageId};
use journal::frame::{BLOCK_BYTES, Frame, FrameHead};
use site::Identity;

use super::truth::{Truth, entry};
use super::{Actor, Verdict, ensure};

/// Who every site was so far.
#[derive(Debug, Default)]
pub(super) struct Lives {
    last: BTreeMap<SiteId, (StorageId, Option<Incarnation>)>,
    /// Sites whose disks were put back: their storage may take another name.
    put_back: BTreeSet<SiteId>,
    /// The journals that sites wrote when they lost their disks.
    lost: BTreeSet<JournalId>,
    /// Storages that hold less than they once said.
    outdated: BTreeSet<StorageId>,
}

impl Lives {
    /// A disk is lost, and with it the life that was lived on it.
    pub(super) fn lost(&mut self, site: SiteId) {
        if let Some((_, Some(incarnation))) = self.last.get(&site) {
            self.lost.insert(JournalId { site, incarnation: *incarnation });
        }
        self.put_back(site);
    }

    /// Whether whoever wrote a journal lost the disk.
    pub(super) fn was_lost(&self, journal: JournalId) -> bool {
        self.lost.contains(&journal)
    }

    /// A site's disk was put back and holds less of its own journals than before.
    pub(super) fn holds_less(&mut self, site: SiteId) {
        self.outdated.extend(self.last.get(&site).map(|(storage, _)| *storage));
    }

    /// In the end nobody goes by the name of a storage that holds less than it once said.
    pub(super) fn finish(&self, identity: &Identity) -> Verdict {
        ensure(!self.outdated.contains(&identity.storage), "I-13", || {
            let (site, storage) = (identity.site, identity.storage);
            format!("site {site} is on storage {storage:?}, which was put back and held more before")
        })
    }

    /// A disk was put back: it may be of a former life. That nothing is written in that life again, I-10 sees.
    pub(super) fn put_back(&mut self, site: SiteId) {
        self.put_back.insert(site);
        if let Some((_, incarnation)) = self.last.get_mut(&site) {
            *incarnation = None;
        }
    }

    /// A site has started, or was looked at.
    pub(super) fn looked(&mut self, identity: &Identity) -> Verdict {
        let site = identity.site;
        let now = (identity.storage, identity.incarnation);
        let Some((storage, incarnation)) = self.last.insert(site, now) else { return Ok(()) };
        ensure(incarnation <= now.1, "I-13", || {
            format!("site {site} was in incarnation {incarnation:?} and is in {:?}", now.1)
        })?;
        ensure(storage == now.0 || self.put_back.contains(&site), "I-13", || {
            format!("site {site} was on storage {storage:?} and is on {:?}, though its disk was kept", now.0)
        })
    }
}

/// A site gave up a file of its WAL that held these bytes. What enough members held once is needed from there by nobody: all
/// of them, or a majority or all who remain where WALs are bounded and who is behind takes over a copy.
pub(super) fn gave_up(
    truth: &Truth,
    (sites, is_enough): (&BTreeSet<SiteId>, impl Fn(&BTreeSet<SiteId>) -> bool),
    by: Actor,
    file: &(FileName, Vec<u8>),
) -> Verdict {
    for entry in entries(file) {
        let (journal, seq) = (entry.head.journal, entry.head.seq);
        let holds = |site: &SiteId| truth.ever_held(*site, journal) > seq;
        let holders: BTreeSet<SiteId> = sites.iter().copied().filter(holds).collect();
        ensure(is_enough(&holders), "I-49", || {
            let site = by.site;
            format!("site {site} drops entry {seq} of {journal}, which only {holders:?} of {sites:?} hold")
        })?;
    }
    Ok(())
}

/// The entries in all whole frames that were written for a file; others are left in it from its former use.
fn entries((file, bytes): &(FileName, Vec<u8>)) -> Vec<Encoded> {
    let number = file.last().split('.').next().and_then(|number| number.parse().ok());
    let mut found = Vec::new();
    for block in (0..bytes.len()).step_by(BLOCK_BYTES) {
        let Ok(head) = FrameHead::decode(&bytes[block..]) else { continue };
        if Some(head.segment) != number {
            continue;
        }
        let Some(whole) = bytes.get(block..block + head.total_bytes()) else { continue };
        let frame = Frame::decode(head, Bytes::copy_from_slice(whole));
        let records = frame.ok().and_then(|frame| frame.records().ok()).unwrap_or_default();
        found.extend(records.iter().filter_map(entry).cloned());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{Lives, entries};
    use crate::checkers::Checkers;
    use crate::checkers::histories::{actor, breaks};
    use crate::checkers::shown::shown;
    use crate::host::folder;
    use disk::{Disk, FileName};
    use entry::{ClusterId, Incarnation, SiteId, StorageId};
    use site::Identity;
    use uuid::Uuid;

    fn who(storage: u128, incarnation: u32) -> Identity {
        let (cluster, incarnation) = (ClusterId(Uuid::nil()), Some(Incarnation(incarnation)));
        Identity {
            cluster,
            site: SiteId(1),
            storage: StorageId(storage),
            wal_nonce: 1,
            incarnation,
            synced: true,
            founders: vec![SiteId(1)],
        }
    }

    #[test]
    fn a_life_that_goes_back_is_flagged() {
        let mut lives = Lives::default();
        lives.looked(&who(1, 1)).unwrap();
        assert_eq!(lives.looked(&who(1, 0)).unwrap_err().invariant, "I-13");
        let mut lives = Lives::default();
        lives.looked(&who(1, 1)).unwrap();
        assert_eq!(lives.looked(&who(2, 1)).unwrap_err().invariant, "I-13");
        lives.put_back(SiteId(1));
        lives.looked(&who(3, 1)).unwrap();
        lives.holds_less(SiteId(1));
        lives.finish(&who(4, 1)).unwrap();
        assert_eq!(lives.finish(&who(3, 1)).unwrap_err().invariant, "I-13");
    }

    #[test]
    fn a_file_of_the_wal_that_another_still_needs_is_flagged() {
        let pair = shown(&[]);
        let (site, disk) = (&pair.watched().site, &pair.watched().disk);
        let whole = |name: FileName| {
            let len = disk.len(&name).unwrap().unwrap();
            (name.clone(), disk.read(&name, 0, usize::try_from(len).unwrap()).unwrap().to_vec())
        };
        let files = disk.list(&folder("wal")).unwrap().into_iter().map(whole);
        let file = files.into_iter().find(|file| !entries(file).is_empty()).unwrap();
        let mut checkers = Checkers::new(&[1, 2].map(SiteId), None);
        for (holder, dropped) in [(1, "I-49"), (2, "nothing")] {
            entries(&file).iter().for_each(|entry| {
                checkers.truth.add(SiteId(holder), entry);
            });
            assert_eq!(breaks(checkers.gave_up(actor(1), site, &file, false)), dropped);
        }
    }
}
