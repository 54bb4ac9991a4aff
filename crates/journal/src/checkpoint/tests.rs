//! Checkpoints against crashes between any two operations, and against damage.

use disk::{Disk, DiskError, FileName, MemoryDisk};

use super::{Checkpoint, CheckpointError, Damage, Draft, Found, encode_head, read};
use crate::WalPosition;

fn folder() -> FileName {
    FileName::new("checkpoint").unwrap()
}

fn file(number: u64) -> FileName {
    folder().join(format!("{number:010}.checkpoint"))
}

fn position(lsn: u64) -> WalPosition {
    WalPosition { lsn, segment: 2, offset: 4096 }
}

fn save(disk: &mut dyn Disk, lsn: u64, state: &[u8]) -> Result<WalPosition, DiskError> {
    let draft = Draft::write(disk, &folder(), position(lsn), state)?;
    disk.sync(&draft.file())?;
    draft.commit(disk)
}

fn found(number: u64, lsn: u64, state: &'static [u8]) -> Found {
    let checkpoint = Checkpoint { number, position: position(lsn), state: state.into() };
    Found { checkpoint, damaged: None }
}

#[test]
fn the_last_two_stay_and_the_wal_reaches_back_to_the_older() {
    let mut disk = MemoryDisk::new();
    assert_eq!(read(&disk, &folder()), Ok(None));
    assert_eq!(save(&mut disk, 5, b"one"), Ok(WalPosition::START));
    assert_eq!(save(&mut disk, 9, b"two"), Ok(position(5)));
    assert_eq!(save(&mut disk, 12, b""), Ok(position(9)));
    assert_eq!(read(&disk, &folder()), Ok(Some(found(3, 12, b""))));
    assert_eq!(disk.list(&folder()).unwrap(), [file(2), file(3)]);
}

#[test]
fn golden_bytes_of_a_head() {
    let hex: String =
        encode_head(3, position(9), b"state").iter().map(|byte| format!("{byte:02x}")).collect();
    let head = "4d434b50000100000000000000000003000000000000000900000002000010000000000000000005";
    assert_eq!(hex[..80], *head);
    assert_eq!(hex[80..], *"b36dc7c3795b96c5c87f24ce5d066390c9b91bfbe0a55886dd3a4ae4000ea8f4");
}

#[test]
fn any_flipped_bit_falls_back_to_the_older_one_and_says_so() {
    let mut disk = MemoryDisk::new();
    save(&mut disk, 5, b"one").unwrap();
    save(&mut disk, 9, b"two").unwrap();
    let bits = disk.len(&file(2)).unwrap().unwrap() * 8;
    for bit in 0..bits as usize {
        let mut copy = disk.clone();
        copy.file_mut(&file(2)).unwrap()[bit / 8] ^= 1 << (bit % 8);
        let got = read(&copy, &folder()).unwrap().unwrap();
        assert_eq!(got.checkpoint, found(1, 5, b"one").checkpoint, "bit {bit}");
        assert_eq!(got.damaged.unwrap().0, file(2));
        assert_eq!(save(&mut copy, 11, b"three"), Ok(position(5)), "the whole one stays");
        assert_eq!(copy.list(&folder()).unwrap(), [file(1), file(3)]);
    }
}

/// A power cut may take back the removal of a damaged one that stood between the two that were kept.
#[test]
fn a_damaged_one_that_comes_back_does_not_hide_the_whole_one_before_it() {
    let mut disk = MemoryDisk::new();
    save(&mut disk, 5, b"one").unwrap();
    save(&mut disk, 9, b"two").unwrap();
    disk.file_mut(&file(2)).unwrap()[74] ^= 1;
    let damaged = disk.read(&file(2), 0, 75).unwrap();
    assert_eq!(save(&mut disk, 12, b"three"), Ok(position(5)));
    disk.write(&file(2), 0, &damaged).unwrap();
    disk.file_mut(&file(3)).unwrap()[73] ^= 1;
    let got = read(&disk, &folder()).unwrap().unwrap();
    assert_eq!(got.checkpoint, found(1, 5, b"one").checkpoint);
    assert_eq!(got.damaged, Some((file(3), Damage::Sum)));
}

#[test]
fn two_damaged_ones_are_an_error_that_changes_nothing() {
    let mut disk = MemoryDisk::new();
    save(&mut disk, 5, b"one").unwrap();
    save(&mut disk, 9, b"two").unwrap();
    disk.set_len(&file(1), 10).unwrap();
    disk.file_mut(&file(2)).unwrap()[80 - 8] ^= 1;
    let error = CheckpointError::AllDamaged { file: file(2), damage: Damage::Sum };
    assert_eq!(read(&disk, &folder()), Err(error));
}

/// A disk on which only so many changes happen before the power goes.
struct Dying {
    disk: MemoryDisk,
    left: usize,
}

impl Dying {
    fn change<T>(
        &mut self,
        go: impl FnOnce(&mut MemoryDisk) -> Result<T, DiskError>,
    ) -> Result<T, DiskError> {
        let dead = || DiskError::Failed { file: folder(), reason: "no power".into() };
        self.left = self.left.checked_sub(1).ok_or_else(dead)?;
        go(&mut self.disk)
    }
}

impl Disk for Dying {
    fn list(&self, folder: &FileName) -> Result<Vec<FileName>, DiskError> {
        self.disk.list(folder)
    }
    fn len(&self, file: &FileName) -> Result<Option<u64>, DiskError> {
        self.disk.len(file)
    }
    fn read(&self, file: &FileName, offset: u64, len: usize) -> Result<bytes::Bytes, DiskError> {
        self.disk.read(file, offset, len)
    }
    fn write(&mut self, file: &FileName, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        self.change(|disk| disk.write(file, offset, bytes))
    }
    fn set_len(&mut self, file: &FileName, len: u64) -> Result<(), DiskError> {
        self.change(|disk| disk.set_len(file, len))
    }
    fn sync(&mut self, file: &FileName) -> Result<(), DiskError> {
        self.change(|disk| disk.sync(file))
    }
    fn rename(&mut self, from: &FileName, to: &FileName) -> Result<(), DiskError> {
        self.change(|disk| disk.rename(from, to))
    }
    fn remove(&mut self, file: &FileName) -> Result<(), DiskError> {
        self.change(|disk| disk.remove(file))
    }
}

#[test]
fn a_crash_between_any_two_operations_leaves_the_old_or_the_new() {
    let mut before = MemoryDisk::new();
    save(&mut before, 5, b"one").unwrap();
    save(&mut before, 9, b"two").unwrap();
    let mut news = 0;
    for left in 0..100 {
        let mut dying = Dying { disk: before.clone(), left };
        let done = save(&mut dying, 12, b"three");
        let got = read(&dying.disk, &folder()).unwrap().unwrap();
        assert!(
            got == found(2, 9, b"two") || got == found(3, 12, b"three"),
            "after {left} operations: {got:?}"
        );
        news += usize::from(got.checkpoint.number == 3);
        save(&mut dying.disk, 14, b"four").unwrap();
        assert_eq!(read(&dying.disk, &folder()).unwrap().unwrap().checkpoint.position, position(14));
        if done.is_ok() {
            assert!(news >= 2, "the new one counts from the renaming on, before the old one is removed");
            return;
        }
    }
    panic!("saving takes more than a hundred operations");
}
