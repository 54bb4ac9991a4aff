//! A WAL with one bit flipped, or one file cut short, in every place there is.
//!
//! What recovery must then do: give back every record of every commit that a later commit (or a checkpoint) proves, or
//! refuse and change nothing. Only the very last commit has nothing behind it that proves it was ever whole; should it
//! be lost, recovery must say that something was cut off. A flipped bit in the filling between frames may cost nothing.
//!
//! What stands in segments before a checkpoint is read behind the start. That must find whatever hurts a commit, cry no
//! wolf, and no entry may ever be given out that is not as it was written.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::{Bytes, BytesMut};
use clock::Stamp;
use disk::{Disk, DiskError, FileName, MemoryDisk};
use entry::{BatchBody, Body, ChainHash, Encoded, Entry, JournalId, MemberEpoch, SiteId, TopicId};
use journal::{OpenError, Record, Recovered, Wal, WalOptions, WalPosition};
use uuid::Uuid;

use super::shared_out;
use crate::checkers::truth;
use crate::host::{Flight, folder};

/// How much there is to do.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// Bytes of the WAL, about.
    pub bytes: usize,
    /// Length of its segments.
    pub segment_bytes: u64,
    /// On how many threads.
    pub threads: usize,
    /// Which of how many shares of the cases: what takes too long for one night can be spread over several.
    pub share: Share,
}

/// A share of the cases: every so many-th, from one on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// The first.
    pub first: u64,
    /// Of how many shares.
    pub of: u64,
}

impl Share {
    /// All cases.
    pub const WHOLE: Share = Share { first: 0, of: 1 };
}

/// How it went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Bytes of the WAL's files.
    pub bytes: u64,
    /// Its commits.
    pub commits: u64,
    /// WALs that were hurt and opened.
    pub tried: u64,
    /// All records came back.
    pub whole: u64,
    /// The end was lost, and recovery said so.
    pub reported: u64,
    /// The end was lost in silence: nothing on this disk tells that it ever was.
    pub unprovable: u64,
    /// Recovery refused.
    pub refused: u64,
    /// What was hurt lies before the checkpoint, and was found behind the start.
    pub found: u64,
}

/// One way to hurt a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hurt {
    /// A bit is flipped.
    Flip {
        /// Which byte.
        at: usize,
        /// Which bit of it.
        bit: u8,
    },
    /// The file ends early.
    Cut {
        /// After so many bytes.
        len: usize,
    },
}

/// A WAL as it was written, and what it holds.
struct Whole {
    files: Vec<(FileName, Bytes)>,
    commits: Vec<Commit>,
    records: Vec<Record>,
    /// The bytes of the entries among them.
    entries: Vec<Bytes>,
    options: WalOptions,
    /// After the last commit.
    end: WalPosition,
}

/// Where a commit stands, and how many records there are in all after it.
struct Commit {
    file: FileName,
    from: usize,
    to: usize,
    upto: usize,
}

/// A copy of a file to hurt, which is as it was written between two cases.
struct Spare {
    file: usize,
    bytes: BytesMut,
}

impl Hurt {
    /// The hurt file. A cut needs no copy, and a flip only the first of a file.
    fn done_to(&self, file: usize, bytes: &Bytes, spare: Option<Spare>) -> Bytes {
        match self {
            Hurt::Cut { len } => bytes.slice(..*len),
            Hurt::Flip { at, bit } => {
                let spare = spare.filter(|spare| spare.file == file);
                let mut copy = spare.map_or_else(|| BytesMut::from(&bytes[..]), |spare| spare.bytes);
                copy[*at] ^= 1 << bit;
                copy.freeze()
            }
        }
    }

    /// The copy for the next case, if nobody has kept any of it.
    fn undone_to(&self, file: usize, damaged: Bytes) -> Option<Spare> {
        let Hurt::Flip { at, bit } = self else { return None };
        let mut bytes = damaged.try_into_mut().ok()?;
        bytes[*at] ^= 1 << bit;
        Some(Spare { file, bytes })
    }
}

impl Commit {
    /// Whether not one byte of it is hurt.
    fn survives(&self, file: &FileName, hurt: &Hurt) -> bool {
        *file != self.file
            || match hurt {
                Hurt::Flip { at, .. } => !(self.from..self.to).contains(at),
                Hurt::Cut { len } => self.to <= *len,
            }
    }
}

/// Flips every bit of every file. With `covered`, a checkpoint stands at the end, which proves all of it.
///
/// # Errors
/// The first case in which recovery lost something that is proved, or panicked.
pub fn flips(wanted: Wanted, covered: bool) -> Result<Counts, String> {
    let whole = Whole::write(wanted);
    let bytes: u64 = whole.files.iter().map(|(_, bytes)| bytes.len() as u64).sum();
    whole.all(wanted, bytes * 8, covered, |number| {
        let (file, at) = whole.place((number / 8) as usize);
        (file, Hurt::Flip { at, bit: (number % 8) as u8 })
    })
}

/// Cuts every file at every byte.
///
/// # Errors
/// As [`flips`].
pub fn cuts(wanted: Wanted, covered: bool) -> Result<Counts, String> {
    let whole = Whole::write(wanted);
    let bytes: u64 = whole.files.iter().map(|(_, bytes)| bytes.len() as u64).sum();
    whole.all(wanted, bytes, covered, |number| {
        let (file, len) = whole.place(number as usize);
        (file, Hurt::Cut { len })
    })
}

impl Whole {
    fn write(wanted: Wanted) -> Whole {
        let options = WalOptions {
            segment_bytes: wanted.segment_bytes,
            hot_bytes: 0,
            recycle: 0,
            ..WalOptions::new(0x5eed_0001)
        };
        let mut disk = MemoryDisk::new();
        let opened = Wal::open(&mut disk, &folder("wal"), options.clone(), WalPosition::START);
        let mut wal = opened.expect("an empty disk takes a WAL").wal;
        let (mut records, mut commits) = (Vec::new(), Vec::new());
        let mut minter = Minter { next: 0, hash: ChainHash([0; 32]) };
        while disk_bytes(&disk) < wanted.bytes as u64 || commits.len() < 5 {
            records.extend(minter.commit(&mut wal, commits.len()));
            let mut upto = commits.last().map_or(0, |last: &Commit| last.upto);
            while let Some(write) = wal.start_write() {
                write.carry_out(&mut disk).expect("a disk in memory takes everything");
                wal.written(write.id);
                let flight = Flight::of(&write).expect("a WAL writes frames");
                let from = flight.offset as usize;
                upto += flight.records.len();
                commits.push(Commit { file: flight.file, from, to: from + flight.bytes.len(), upto });
            }
        }
        let names = disk.list(&folder("wal")).expect("a folder in memory");
        let file = |name: FileName| {
            let bytes = disk.file_mut(&name).expect("it was listed").clone();
            (name, Bytes::from(bytes))
        };
        let files = names.into_iter().map(file).collect();
        let entries = records.iter().filter_map(truth::entry).map(|entry| entry.bytes.clone()).collect();
        let mut whole = Whole { files, commits, records, entries, options, end: wal.position() };
        whole.hold_what_is_on_disk();
        whole
    }

    /// From here on the records held are those that come back from the unhurt files: the same ones, in the same memory as
    /// in any recovery of these files, so that most of them need no look at their bytes to be found the same.
    fn hold_what_is_on_disk(&mut self) {
        let (name, bytes) = &self.files[0];
        let mut disk = HurtDisk::new(&self.files, name, bytes.clone());
        let found = self.recover(&mut disk, WalPosition::START).expect("nothing is hurt");
        assert!(
            found.records == self.records && found.position == self.end,
            "the WAL holds what was written"
        );
        self.entries = found.records.iter().filter_map(truth::entry).map(|e| e.bytes.clone()).collect();
        self.records = found.records;
    }

    /// The file and the place in it of a byte, counted over all files.
    fn place(&self, mut at: usize) -> (usize, usize) {
        for (number, (_, bytes)) in self.files.iter().enumerate() {
            if at < bytes.len() {
                return (number, at);
            }
            at -= bytes.len();
        }
        (self.files.len() - 1, 0)
    }

    fn all(
        &self,
        wanted: Wanted,
        end: u64,
        covered: bool,
        hurt: impl Fn(u64) -> (usize, Hurt) + Sync,
    ) -> Result<Counts, String> {
        let Share { first, of } = wanted.share;
        let parts = shared_out(wanted.threads, end.saturating_sub(first).div_ceil(of), |numbers| {
            let mut counts = Counts::default();
            let mut spare = None;
            for number in numbers {
                let (file, hurt) = hurt(first + number * of);
                let from = if covered { self.end } else { WalPosition::START };
                self.one(file, &hurt, from, (&mut spare, &mut counts)).map_err(|seen| {
                    let name = &self.files[file].0;
                    format!("I-05: {name} with {hurt:?}, replayed from commit {}: {seen}", from.lsn)
                })?;
            }
            Ok(counts)
        });
        let mut sum = Counts {
            bytes: self.files.iter().map(|(_, bytes)| bytes.len() as u64).sum(),
            commits: self.commits.len() as u64,
            ..Counts::default()
        };
        parts.into_iter().try_for_each(|part: Result<Counts, String>| {
            sum.add(&part?);
            Ok::<(), String>(())
        })?;
        Ok(sum)
    }

    fn one(
        &self,
        file: usize,
        hurt: &Hurt,
        from: WalPosition,
        (spare, counts): (&mut Option<Spare>, &mut Counts),
    ) -> Result<(), String> {
        let (name, bytes) = &self.files[file];
        let damaged = hurt.done_to(file, bytes, spare.take());
        let mut disk = HurtDisk::new(&self.files, name, damaged.clone());
        let recovered = catch_unwind(AssertUnwindSafe(|| self.recover(&mut disk, from)));
        counts.tried += 1;
        match recovered.map_err(|_| "it panics".to_owned())? {
            Err(_) if disk.changed => return Err("it refuses, but has changed the disk".into()),
            Err(_) => counts.refused += 1,
            Ok(found) => self.weigh(&found, (name, hurt), counts)?,
        }
        drop(disk);
        *spare = hurt.undone_to(file, damaged);
        Ok(())
    }

    fn recover(&self, disk: &mut HurtDisk<'_>, from: WalPosition) -> Result<Found, OpenError> {
        let Recovered { mut wal, truncated } = Wal::open(disk, &folder("wal"), self.options.clone(), from)?;
        let (mut at, mut records) = (from, Vec::new());
        while let Some(more) = wal.replay(disk, &mut at)? {
            records.extend(more);
        }
        // What is given out is judged behind a checkpoint only: before, all of it was replayed.
        let skipped = from == self.end;
        let mut given = if skipped { vec![given(&wal, disk)] } else { Vec::new() };
        while let Some(unread) = wal.unread() {
            if !unread.read(disk).is_ok_and(|contents| wal.found(&unread.file, contents)) {
                wal.lose(&unread.file, &BTreeMap::new());
            }
            given.push(self::given(&wal, disk));
        }
        Ok(Found {
            skipped,
            records,
            truncated: truncated.is_some(),
            position: wal.position(),
            lost: wal.lost().is_some(),
            given,
        })
    }

    /// Whether what lies before the checkpoint was judged as it should be.
    fn weigh_before(&self, found: &Found, hurt: (&FileName, &Hurt)) -> Result<(), String> {
        let is_hurt = self.commits.iter().any(|commit| !commit.survives(hurt.0, hurt.1));
        if found.skipped && found.lost != is_hurt {
            return Err(format!("a commit before the checkpoint is hurt: {is_hurt}; found: {}", found.lost));
        }
        let as_written = |first: usize, entries: &[Bytes]| {
            let written = self.entries.get(first..).filter(|written| written.len() == entries.len());
            written.is_some_and(|written| written.iter().zip(entries).all(|(a, b)| same(a, b)))
        };
        match found.given.iter().find(|(first, entries)| !as_written(*first, entries)) {
            Some((first, entries)) if found.skipped => {
                Err(format!("from {first} on {} entries are given out that were not written", entries.len()))
            }
            _ => Ok(()),
        }
    }

    fn weigh(&self, found: &Found, hurt: (&FileName, &Hurt), counts: &mut Counts) -> Result<(), String> {
        self.weigh_before(found, hurt)?;
        let skipped = if found.skipped { self.records.len() } else { 0 };
        let upto = skipped + found.records.len();
        let as_written = self.records.get(skipped..upto).is_some_and(|written| {
            written.iter().zip(&found.records).all(|(a, b)| {
                std::mem::discriminant(a) == std::mem::discriminant(b) && same(a.bytes(), b.bytes())
            })
        });
        if !as_written {
            return Err("records come back that were not written".into());
        }
        if upto == self.records.len() && found.position == self.end {
            *(if found.lost { &mut counts.found } else { &mut counts.whole }) += 1;
            return Ok(());
        }
        if found.skipped {
            return Err(format!(
                "the checkpoint proves more than the {} that it ends at",
                found.position.lsn
            ));
        }
        let kept = self.commits.iter().position(|commit| commit.upto == upto).map_or(0, |last| last + 1);
        if kept == 0 && upto > 0 {
            return Err(format!("{upto} records come back, which is part of a commit"));
        }
        if self.commits[kept..].iter().any(|commit| commit.survives(hurt.0, hurt.1)) {
            return Err(format!(
                "only {kept} commits come back, though a later one is whole and proves them"
            ));
        }
        *(if found.truncated { &mut counts.reported } else { &mut counts.unprovable }) += 1;
        Ok(())
    }
}

/// Whether these are the same bytes; where they lie in the same memory, that is known without a look.
fn same(a: &Bytes, b: &Bytes) -> bool {
    a.len() == b.len() && (a.as_ptr() == b.as_ptr() || a == b)
}

/// What a recovery gave.
struct Found {
    /// Whether it began at the end.
    skipped: bool,
    records: Vec<Record>,
    truncated: bool,
    position: WalPosition,
    /// Whether anything of what lies before the checkpoint was found to be damaged.
    lost: bool,
    /// The first entry that is given out, and all from there on, each time after more was read.
    given: Vec<(usize, Vec<Bytes>)>,
}

/// All entries that a WAL gives out, and the number of the first.
fn given(wal: &Wal, disk: &dyn Disk) -> (usize, Vec<Bytes>) {
    let journal = JournalId::genesis(SiteId(1));
    let Some(first) = wal.first(journal) else { return (0, Vec::new()) };
    let entries = wal.entries(disk, journal, first, usize::MAX);
    (first as usize, entries.unwrap_or_default())
}

impl Counts {
    fn add(&mut self, more: &Counts) {
        self.tried += more.tried;
        self.whole += more.whole;
        self.reported += more.reported;
        self.unprovable += more.unprovable;
        self.refused += more.refused;
        self.found += more.found;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { bytes, commits, tried, whole, reported, unprovable, refused, found } = self;
        write!(
            f,
            "{tried} cases of a WAL of {bytes} bytes in {commits} commits: {whole} came back whole, {reported} without an \
             end that nothing proves and recovery reports, {unprovable} without one that no byte on the disk tells of, \
             {refused} refused, {found} hurt before the checkpoint and found behind the start"
        )
    }
}

/// Makes commits of one journal's entries and of notes, of many sizes.
struct Minter {
    next: u64,
    hash: ChainHash,
}

/// Bytes of record data in the entries of a commit, in turn: from part of a block to many blocks.
const SIZES: [&[usize]; 7] =
    [&[40], &[900, 700], &[5_000], &[1, 2, 3, 4], &[3_900], &[40, 9_000], &[17_000, 300]];

impl Minter {
    fn commit(&mut self, wal: &mut Wal, number: usize) -> Vec<Record> {
        let mut records = Vec::new();
        for size in SIZES[number % SIZES.len()] {
            let entry = self.mint(*size, number as u8);
            wal.push_entry(&entry);
            records.push(Record::Entry(entry));
        }
        let note = Bytes::from(format!("note {number}"));
        wal.push_note(note.clone());
        records.push(Record::Note(note));
        records
    }

    fn mint(&mut self, bytes: usize, fill: u8) -> Encoded {
        let mut records = BytesMut::zeroed(bytes);
        records.iter_mut().enumerate().for_each(|(at, byte)| *byte = (at as u8).wrapping_mul(31) ^ fill);
        let entry = Entry {
            journal: JournalId::genesis(SiteId(1)),
            seq: self.next,
            stamp: Stamp::from_raw(1_000 + self.next),
            epoch: MemberEpoch(1),
            previous: self.hash,
            body: Body::Batch(BatchBody {
                topic: TopicId(Uuid::nil()),
                partition: 0,
                records: records.freeze(),
            }),
        };
        let entry = entry.encode().expect("it is short");
        self.next += 1;
        self.hash = entry.hash();
        entry
    }
}

fn disk_bytes(disk: &MemoryDisk) -> u64 {
    let files = disk.list(&folder("wal")).unwrap_or_default();
    files.iter().filter_map(|file| disk.len(file).ok().flatten()).sum()
}

/// Files of which one is hurt, seen without copying the others; what is written goes into a copy.
struct HurtDisk<'a> {
    files: BTreeMap<&'a FileName, Bytes>,
    changed: bool,
}

impl<'a> HurtDisk<'a> {
    fn new(files: &'a [(FileName, Bytes)], hurt: &'a FileName, damaged: Bytes) -> HurtDisk<'a> {
        let mut seen: BTreeMap<&FileName, Bytes> =
            files.iter().map(|(name, bytes)| (name, bytes.clone())).collect();
        seen.insert(hurt, damaged);
        HurtDisk { files: seen, changed: false }
    }

    fn change(&mut self, file: &FileName, change: impl FnOnce(&mut Vec<u8>)) -> Result<(), DiskError> {
        self.changed = true;
        let held = self.files.get_mut(file).ok_or_else(|| DiskError::Missing(file.clone()))?;
        let mut bytes = held.to_vec();
        change(&mut bytes);
        *held = bytes.into();
        Ok(())
    }
}

impl Disk for HurtDisk<'_> {
    fn list(&self, _folder: &FileName) -> Result<Vec<FileName>, DiskError> {
        Ok(self.files.keys().map(|name| (*name).clone()).collect())
    }

    fn len(&self, file: &FileName) -> Result<Option<u64>, DiskError> {
        Ok(self.files.get(file).map(|bytes| bytes.len() as u64))
    }

    fn read(&self, file: &FileName, offset: u64, len: usize) -> Result<Bytes, DiskError> {
        let bytes = self.files.get(file).ok_or_else(|| DiskError::Missing(file.clone()))?;
        let (from, end) = (offset as usize, offset as usize + len);
        if end > bytes.len() {
            let len = bytes.len() as u64;
            return Err(DiskError::Short { file: file.clone(), len, offset, end: end as u64 });
        }
        Ok(bytes.slice(from..end))
    }

    fn write(&mut self, file: &FileName, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        let (from, end) = (offset as usize, offset as usize + bytes.len());
        if self.files.get(file).and_then(|held| held.get(from..end)) == Some(bytes) {
            self.changed = true;
            return Ok(());
        }
        self.change(file, |held| {
            held.resize(held.len().max(end), 0);
            held[from..end].copy_from_slice(bytes);
        })
    }

    fn set_len(&mut self, file: &FileName, len: u64) -> Result<(), DiskError> {
        self.change(file, |held| held.resize(len as usize, 0))
    }

    fn sync(&mut self, file: &FileName) -> Result<(), DiskError> {
        if self.files.contains_key(file) { Ok(()) } else { Err(DiskError::Missing(file.clone())) }
    }

    fn rename(&mut self, from: &FileName, _to: &FileName) -> Result<(), DiskError> {
        Err(DiskError::Failed { file: from.clone(), reason: "nothing is renamed by a recovery".into() })
    }

    fn remove(&mut self, file: &FileName) -> Result<(), DiskError> {
        self.changed |= self.files.remove(file).is_some();
        Ok(())
    }
}
