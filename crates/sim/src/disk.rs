//! A disk that keeps its word and no more.
//!
//! Every file has two images: what the process sees, and what is on the platter. A sync copies the written sectors from
//! one to the other; a power cut keeps, loses or tears what was not synced, sector by sector and at random. A failed sync leaves
//! its pages looking clean: the next sync does not write them, and a power cut loses them. A kill of the process loses
//! nothing that was written. Names behave as in a journaling file system: a removal may be undone by a power cut, in
//! the order in which the removals were made, until the next sync or rename.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use disk::{Disk, DiskError, FileName};

use crate::rng::Rng;

/// What a device writes as a whole or not at all.
pub const SECTOR_BYTES: usize = 512;

/// What an operation says when the power goes under it.
pub const POWER_GONE: &str = "the power is gone";

/// One file.
#[derive(Debug, Clone, Default)]
struct File {
    /// What the process sees.
    seen: Vec<u8>,
    /// What is on the platter; `None` while not even the name is.
    platter: Option<Vec<u8>>,
    /// Sectors written since the last sync.
    dirty: Sectors,
}

/// A set of sectors, a bit for each: whole segments are written at a time.
#[derive(Debug, Clone, Default)]
struct Sectors(Vec<u64>);

impl Sectors {
    fn insert(&mut self, sector: usize) {
        let word = sector / 64;
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (sector % 64);
    }

    /// All of them, in order; none is left.
    fn take(&mut self) -> impl Iterator<Item = usize> {
        let words = std::mem::take(&mut self.0).into_iter().enumerate().filter(|(_, word)| *word != 0);
        words.flat_map(|(at, word)| {
            (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| at * 64 + bit)
        })
    }
}

/// One site's disk.
#[derive(Debug, Clone)]
pub struct SimDisk {
    files: BTreeMap<FileName, File>,
    /// Removals that a power cut may undo, oldest first.
    removed: Vec<(FileName, File)>,
    /// Bytes there is room for.
    pub capacity_bytes: u64,
    /// How many of the next syncs fail.
    pub failing_syncs: u32,
    /// A mutant: syncs say yes and do nothing.
    pub lies: bool,
    /// How many of the next reads of the WAL give back a flipped bit.
    pub misreads: Cell<u32>,
    /// Whether one did.
    pub misread: Cell<bool>,
    /// After how many changes the power goes.
    pub dies_after: Option<u64>,
    /// Segments of the WAL that are damaged, and whether an alarm has named them.
    pub decayed: BTreeMap<FileName, bool>,
    /// Files of the logs that are damaged.
    pub scratched: BTreeSet<FileName>,
    /// Segments of the WAL that were given up, with what was in them: for a checker.
    pub dropped: Vec<(FileName, Vec<u8>)>,
    /// A mutant: what becomes of writes to logs now and then.
    pub strays: Strays,
    writes: u64,
}

/// What becomes of every twentieth write to a log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Strays {
    /// What should.
    #[default]
    None,
    /// It is lost.
    Lost,
    /// It lands a little before where it should.
    Misdirected,
}

impl Default for SimDisk {
    fn default() -> SimDisk {
        SimDisk {
            files: BTreeMap::new(),
            removed: Vec::new(),
            capacity_bytes: u64::MAX,
            failing_syncs: 0,
            lies: false,
            misreads: Cell::new(0),
            misread: Cell::new(false),
            dies_after: None,
            decayed: BTreeMap::new(),
            scratched: BTreeSet::new(),
            dropped: Vec::new(),
            strays: Strays::None,
            writes: 0,
        }
    }
}

impl SimDisk {
    /// Bytes in use, as a process would be told.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.files.values().map(|file| file.seen.len() as u64).sum()
    }

    /// Whether the platter holds exactly these bytes there.
    #[must_use]
    pub fn is_durable(&self, file: &FileName, offset: u64, bytes: &[u8]) -> bool {
        let held = self.files.get(file).and_then(|file| file.platter.as_ref());
        let at = usize::try_from(offset).ok();
        held.zip(at).and_then(|(held, at)| held.get(at..at + bytes.len())) == Some(bytes)
    }

    /// The power goes: what was not synced is kept, lost or torn.
    pub fn cut_power(&mut self, rng: &mut Rng) {
        let undone =
            self.removed.len() - usize::try_from(rng.below(self.removed.len() as u64 + 1)).unwrap_or(0);
        for (name, file) in self.removed.drain(..).rev().take(undone) {
            if file.platter.is_some() {
                self.files.entry(name).or_insert(file);
            }
        }
        // All, nothing, or a coin for each sector.
        let keeps = *rng.pick(&[0, 1000, 500, 500, 900, 100]);
        self.files.retain(|_, file| file.platter.is_some() || rng.chance(keeps));
        for file in self.files.values_mut() {
            file.cut_power(keeps, rng);
        }
    }

    /// For mutants and disasters: changes the platter itself.
    pub fn damage(&mut self, file: &FileName, change: impl FnOnce(&mut Vec<u8>)) {
        if let Some(file) = self.files.get_mut(file) {
            let mut bytes = file.seen.clone();
            change(&mut bytes);
            *file = File { platter: Some(bytes.clone()), seen: bytes, ..File::default() };
        }
    }

    /// A file is gone, as if it had never been there.
    pub fn lose(&mut self, file: &FileName) {
        self.files.remove(file);
    }

    /// Whether what would be left of a file of the logs after a power cut is sound, if it is there.
    #[must_use]
    pub fn is_sound(&self, file: &FileName) -> bool {
        let Some(held) = self.files.get(file) else { return true };
        let Some(platter) = held.platter.clone() else { return false };
        let (mut disk, len) = (SimDisk::default(), platter.len() as u64);
        disk.files.insert(file.clone(), File { seen: platter, ..File::default() });
        partition::verify(&disk, file, len).is_ok_and(|proven| proven.damaged.is_empty())
    }

    /// What is whole again, or was written anew behind a cut, or is needed no more, is no scratch.
    pub fn forget_mended(&mut self, is_needed: impl Fn(&FileName) -> bool) {
        let mut scratched = std::mem::take(&mut self.scratched);
        scratched.retain(|file| {
            let held = self.files.get(file).filter(|_| is_needed(file));
            let proven = held.map(|held| partition::verify(self, file, held.seen.len() as u64));
            proven.is_some_and(|proven| proven.is_ok_and(|proven| !proven.damaged.is_empty()))
        });
        self.scratched = scratched;
    }

    /// The power goes in the middle of a recovery.
    fn change(&mut self, file: &FileName) -> Result<(), DiskError> {
        match &mut self.dies_after {
            Some(0) => Err(DiskError::Failed { file: file.clone(), reason: POWER_GONE.into() }),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// A segment of the WAL loses its name.
    fn give_up(&mut self, file: &FileName) {
        if file.as_str().starts_with("wal/")
            && file.as_str().ends_with(".wal")
            && let Some(held) = self.files.get(file)
        {
            self.dropped.push((file.clone(), held.seen.clone()));
            self.decayed.remove(file);
        }
    }

    fn existing(&mut self, file: &FileName) -> Result<&mut File, DiskError> {
        self.files.get_mut(file).ok_or_else(|| DiskError::Missing(file.clone()))
    }

    /// Makes sure that a file may become this long.
    fn make_room(&self, file: &FileName, len: usize) -> Result<(), DiskError> {
        let held = self.files.get(file).map_or(0, |file| file.seen.len());
        let more = (len as u64).saturating_sub(held as u64);
        // Adding up what is in use takes long; most disks have all the room there is.
        let is_bounded = self.capacity_bytes < u64::MAX;
        if more > 0 && is_bounded && self.used_bytes() + more > self.capacity_bytes {
            return Err(DiskError::Full(file.clone()));
        }
        Ok(())
    }
}

impl File {
    fn mark(&mut self, from: usize, to: usize) {
        (from / SECTOR_BYTES..to.div_ceil(SECTOR_BYTES)).for_each(|sector| self.dirty.insert(sector));
    }

    fn resize(&mut self, len: usize) {
        let held = self.seen.len();
        self.seen.resize(len, 0);
        if len > held {
            self.mark(held, len);
        }
    }

    fn sync(&mut self) {
        let platter = self.platter.get_or_insert_with(Vec::new);
        platter.resize(self.seen.len(), 0);
        for sector in self.dirty.take() {
            copy_sector(&self.seen, platter, sector);
        }
    }

    fn cut_power(&mut self, keeps: u64, rng: &mut Rng) {
        let mut platter = self.platter.take().unwrap_or_default();
        let long = rng.chance(keeps) && self.seen.len() != platter.len();
        let len = if long { self.seen.len() } else { platter.len() };
        platter.resize(platter.len().max(self.seen.len()), 0);
        for sector in self.dirty.take() {
            if rng.chance(keeps) {
                copy_sector(&self.seen, &mut platter, sector);
            }
        }
        platter.truncate(len);
        self.seen.clone_from(&platter);
        self.platter = Some(platter);
    }
}

fn copy_sector(from: &[u8], to: &mut [u8], sector: usize) {
    let (start, end) = (sector * SECTOR_BYTES, (sector + 1) * SECTOR_BYTES);
    let end = end.min(from.len()).min(to.len());
    if start < end {
        to[start..end].copy_from_slice(&from[start..end]);
    }
}

impl Disk for SimDisk {
    fn list(&self, folder: &FileName) -> Result<Vec<FileName>, DiskError> {
        Ok(self.files.keys().filter(|name| name.is_below(folder)).cloned().collect())
    }

    fn len(&self, file: &FileName) -> Result<Option<u64>, DiskError> {
        Ok(self.files.get(file).map(|file| file.seen.len() as u64))
    }

    fn read(&self, file: &FileName, offset: u64, len: usize) -> Result<Bytes, DiskError> {
        let held = self.files.get(file).ok_or_else(|| DiskError::Missing(file.clone()))?;
        let end = offset.saturating_add(len as u64);
        let range = usize::try_from(offset).ok().zip(usize::try_from(end).ok());
        let bytes = range.and_then(|(from, to)| held.seen.get(from..to));
        if self.misreads.get() > 0 && file.as_str().starts_with("wal/") {
            self.misreads.set(self.misreads.get() - 1);
            let mut wrong = bytes.unwrap_or_default().to_vec();
            if let Some(last) = wrong.last_mut() {
                *last ^= 0x10;
                self.misread.set(true);
                return Ok(wrong.into());
            }
        }
        bytes.map(Bytes::copy_from_slice).ok_or_else(|| DiskError::Short {
            file: file.clone(),
            len: held.seen.len() as u64,
            offset,
            end,
        })
    }

    fn write(&mut self, file: &FileName, mut offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        self.change(file)?;
        if self.strays != Strays::None && file.as_str().starts_with("logs/") {
            self.writes += 1;
            match self.strays {
                Strays::Lost if self.writes.is_multiple_of(20) => return Ok(()),
                Strays::Misdirected if self.writes.is_multiple_of(20) => offset = offset.saturating_sub(40),
                _ => {}
            }
        }
        let from = usize::try_from(offset).map_err(|_| DiskError::Full(file.clone()))?;
        let to = from + bytes.len();
        self.make_room(file, to)?;
        let held = self.files.entry(file.clone()).or_default();
        if held.seen.len() < to {
            held.resize(to);
        }
        held.seen[from..to].copy_from_slice(bytes);
        held.mark(from, to);
        Ok(())
    }

    fn set_len(&mut self, file: &FileName, len: u64) -> Result<(), DiskError> {
        self.change(file)?;
        let len = usize::try_from(len).map_err(|_| DiskError::Full(file.clone()))?;
        self.make_room(file, len)?;
        self.existing(file)?.resize(len);
        Ok(())
    }

    fn sync(&mut self, file: &FileName) -> Result<(), DiskError> {
        self.change(file)?;
        let (fails, lies) = (self.failing_syncs > 0, self.lies);
        let held = self.existing(file)?;
        if fails {
            // Its pages look clean from now on.
            held.dirty = Sectors::default();
            self.failing_syncs -= 1;
            return Err(DiskError::Failed { file: file.clone(), reason: "EIO".into() });
        }
        if !lies {
            held.sync();
            self.removed.clear();
        }
        Ok(())
    }

    fn rename(&mut self, from: &FileName, to: &FileName) -> Result<(), DiskError> {
        if !self.files.contains_key(to) {
            self.make_room(to, 1)?;
        }
        self.change(from)?;
        self.give_up(from);
        let mut file = self.files.remove(from).ok_or_else(|| DiskError::Missing(from.clone()))?;
        file.platter.get_or_insert_with(Vec::new);
        self.files.insert(to.clone(), file);
        self.removed.clear();
        Ok(())
    }

    fn remove(&mut self, file: &FileName) -> Result<(), DiskError> {
        self.change(file)?;
        self.give_up(file);
        if let Some(held) = self.files.remove(file) {
            self.removed.push((file.clone(), held));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{SECTOR_BYTES, SimDisk};
    use crate::rng::Rng;
    use disk::{Disk, DiskError, FileName};

    fn file() -> FileName {
        FileName::new("a").unwrap()
    }

    #[test]
    fn what_is_synced_survives_and_what_is_not_may_be_torn() {
        let mut torn = 0;
        for seed in 0..200 {
            let (mut disk, mut rng) = (SimDisk::default(), Rng::stream(seed, "disk"));
            disk.write(&file(), 0, &[1; SECTOR_BYTES]).unwrap();
            disk.sync(&file()).unwrap();
            assert!(disk.is_durable(&file(), 0, &[1; SECTOR_BYTES]));
            disk.write(&file(), SECTOR_BYTES as u64, &[2; 4 * SECTOR_BYTES]).unwrap();
            disk.cut_power(&mut rng);
            let len = disk.len(&file()).unwrap().unwrap();
            let bytes = disk.read(&file(), 0, usize::try_from(len).unwrap()).unwrap();
            assert_eq!(&bytes[..SECTOR_BYTES], &[1; SECTOR_BYTES]);
            let kept = bytes[SECTOR_BYTES..].iter().filter(|byte| **byte == 2).count();
            torn += u32::from(kept > 0 && kept < 4 * SECTOR_BYTES);
        }
        assert!(torn > 20, "{torn} of 200 were torn");
    }

    #[test]
    fn pages_of_a_failed_sync_look_clean_and_are_lost() {
        let mut disk = SimDisk::default();
        disk.write(&file(), 0, b"a").unwrap();
        disk.sync(&file()).unwrap();
        disk.write(&file(), 0, b"b").unwrap();
        disk.failing_syncs = 1;
        assert!(matches!(disk.sync(&file()), Err(DiskError::Failed { .. })));
        disk.sync(&file()).unwrap();
        assert_eq!(&disk.read(&file(), 0, 1).unwrap()[..], b"b");
        disk.cut_power(&mut Rng::stream(1, "disk"));
        assert_eq!(&disk.read(&file(), 0, 1).unwrap()[..], b"a");
    }

    #[test]
    fn a_full_disk_refuses_to_grow_but_not_to_overwrite() {
        let mut disk = SimDisk { capacity_bytes: 4, ..SimDisk::default() };
        disk.write(&file(), 0, b"abcd").unwrap();
        disk.write(&file(), 0, b"efgh").unwrap();
        assert_eq!(disk.write(&file(), 4, b"i"), Err(DiskError::Full(file())));
    }
}
