//! What is damaged while no process runs, or one is just beginning to: checkpoints, the WAL, logs.

use disk::{Disk, FileName};
use entry::{Encoded, SiteId, TopicId};
use journal::Seen;

use crate::checkers::{Verdict, truth};
use crate::disk::{SECTOR_BYTES, SimDisk};
use crate::host::{Host, folder};
use crate::swarm::Kind;
use crate::world::World;

/// More than a client sends in a batch.
const BATCH_BYTES_MAX: usize = 8 << 10;

/// Damages the newest of two checkpoints: the one before must do.
fn rot(disk: &mut SimDisk, at: u64) {
    let files = disk.list(&folder("checkpoint")).unwrap_or_default();
    let mut whole: Vec<_> = files.into_iter().filter(|file| file.as_str().ends_with(".checkpoint")).collect();
    if whole.len() < 2 {
        return;
    }
    let newest = whole.pop().expect("there are two");
    let reads = |file| {
        let len = disk.len(file).ok().flatten().unwrap_or(0);
        let bytes = disk.read(file, 0, usize::try_from(len).unwrap_or(0)).unwrap_or_default();
        matches!(journal::checkpoint::decode(file, &bytes), Ok(Ok(_)))
    };
    // With one of two damaged already, nobody could do without the other.
    if !whole.last().is_some_and(reads) {
        return;
    }
    disk.damage(&newest, |bytes| {
        let at = at as usize % bytes.len().max(1);
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= 0x40;
        }
    });
}

/// Flips a bit of a commit that stands in a segment before the older of the two checkpoints, if all entries up to there are
/// held elsewhere.
fn decay(disk: &mut SimDisk, at: u64, is_held: impl Fn(&Encoded) -> bool) {
    let checkpoints = disk.list(&folder("checkpoint")).unwrap_or_default();
    let reads = |file: &FileName| {
        let len = disk.len(file).ok().flatten().unwrap_or(0);
        let bytes = disk.read(file, 0, usize::try_from(len).unwrap_or(0)).ok()?;
        journal::checkpoint::decode(file, &bytes).ok()?.ok()
    };
    let found: Vec<_> = checkpoints.iter().filter_map(reads).collect();
    let Some(needed) = found.iter().map(|found| found.position.segment).min().filter(|_| found.len() == 2)
    else {
        return;
    };
    let mut commits = Vec::new();
    for file in disk.list(&folder("wal")).unwrap_or_default() {
        let number = file.last().strip_suffix(".wal").and_then(|number| number.parse::<u32>().ok());
        let Some(number) = number.filter(|number| *number < needed) else { continue };
        let frames = journal::scan(disk, &file, number).into_iter().flatten().flatten().filter_map(|seen| {
            if let Seen::Frame { offset, frame } = seen { Some((offset as usize, frame)) } else { None }
        });
        let frames: Vec<_> = frames.collect();
        let records = frames.iter().flat_map(|(_, frame)| frame.records().unwrap_or_default());
        if !records.filter_map(|record| truth::entry(&record).cloned()).all(|entry| is_held(&entry)) {
            break;
        }
        commits.extend(frames.iter().map(|(offset, frame)| (file.clone(), *offset, frame.bytes.len())));
    }
    let Some((file, from, len)) = commits.get(at as usize % commits.len().max(1)).cloned() else { return };
    disk.damage(&file, |bytes| bytes[from + (at >> 32) as usize % len] ^= 1 << (at >> 8 & 7));
    disk.decayed.insert(file, false);
}

impl World {
    /// What happens to a disk that no process uses, or one that is just beginning to.
    pub(crate) fn strike_dead(&mut self, kind: Kind, site: SiteId) -> Verdict {
        self.kill(site, "killed, and its disk is not let alone")?;
        let (operations, at) = (self.dice.faults.below(12), self.dice.faults.draw());
        let others: Vec<SiteId> = self.hosts.keys().copied().filter(|other| *other != site).collect();
        let is_first = others.iter().all(|other| self.hosts[other].disk.decayed.is_empty());
        let truth = &self.checkers.truth;
        let is_held = |entry: &Encoded| {
            others.iter().any(|other| truth.held(*other, entry.head.journal) > entry.head.seq)
        };
        let Some(host) = self.hosts.get_mut(&site) else { return Ok(()) };
        match kind {
            Kind::Rot => rot(&mut host.disk, at),
            Kind::Decay if is_first => decay(&mut host.disk, at, is_held),
            Kind::Decay => {}
            _ => {
                host.disk.cut_power(&mut self.dice.disk);
                host.disk.dies_after = Some(operations);
            }
        }
        Ok(())
    }

    /// Damages a file of the logs of a site that does not run, one at a time there, if what is hurt is whole elsewhere.
    pub(crate) fn scratch(&mut self, site: SiteId) -> Verdict {
        self.see_what_is_mended();
        self.kill(site, "killed, and its logs are scratched")?;
        let (at, how) = (self.dice.faults.draw(), self.dice.faults.below(4));
        let Some(host) = self.hosts.get_mut(&site) else { return Ok(()) };
        let files = host.disk.list(&folder("logs")).unwrap_or_default();
        let Some(file) =
            files.get(at as usize % files.len().max(1)).filter(|_| host.disk.scratched.is_empty())
        else {
            return Ok(());
        };
        // Of a segment and its index one is left: what was built again need not be on the platter yet.
        let partner = match file.as_str().rsplit_once('.') {
            Some((name, "log")) => FileName::new(format!("{name}.index")),
            Some((name, _)) => FileName::new(format!("{name}.log")),
            None => return Ok(()),
        };
        if partner.is_ok_and(|partner| !host.disk.is_sound(&partner)) {
            return Ok(());
        }
        let len = host.disk.len(file).ok().flatten().unwrap_or(0) as usize;
        let from = (at >> 20) as usize % len.max(1);
        let (from, to) = match how {
            0 => (from, from + 1),
            1 => (from, len.min(from + SECTOR_BYTES)),
            2 => (from, len),
            _ => (0, len),
        };
        // The batches that are hurt, and more: parts of one do not make a whole.
        let (first, last) = (from.saturating_sub(BATCH_BYTES_MAX), len.min(to + BATCH_BYTES_MAX));
        let Ok(good) = host.disk.read(file, first as u64, last - first) else { return Ok(()) };
        let is_whole = |other: &Host| other.disk.is_durable(file, first as u64, &good);
        if len == 0 || !self.hosts.iter().any(|(other, host)| *other != site && is_whole(host)) {
            return Ok(());
        }
        let file = file.clone();
        let Some(host) = self.hosts.get_mut(&site) else { return Ok(()) };
        match how {
            0 => host.disk.damage(&file, |bytes| bytes[from] ^= 1 << (at >> 8 & 7)),
            1 => host.disk.damage(&file, |bytes| bytes[from..to].fill(0)),
            2 => host.disk.damage(&file, |bytes| bytes.truncate(from)),
            _ => host.disk.lose(&file),
        }
        self.trace.line(self.now_us, Some(site), || format!("{file} is hurt at {from}..{to}"));
        host.disk.scratched.insert(file);
        self.checkers.hurt(site);
        Ok(())
    }

    /// Which sites have logs without a scratch again. (One that does not run has yet to see how long its files should be.)
    pub(crate) fn see_what_is_mended(&mut self) {
        for (site, host) in self.hosts.iter_mut().filter(|(_, host)| !host.disk.scratched.is_empty()) {
            let Some(process) = &host.process else { continue };
            let topic = |file: &FileName| Some(TopicId(file.as_str().split('/').nth(1)?.parse().ok()?));
            host.disk.forget_mended(|file| !topic(file).is_some_and(|topic| process.site.was_deleted(topic)));
            if host.disk.scratched.is_empty() {
                self.checkers.is_whole(*site);
            }
        }
    }
}
