//! A disk in memory that never fails, but may be full: for unit tests of the rooms above. (The simulator's disk, which does
//! fail, is in `sim`.)

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::{Disk, DiskError, FileName};

/// Files in memory; every write is at once as durable as it will ever be.
#[derive(Debug, Clone, Default)]
pub struct MemoryDisk {
    files: BTreeMap<FileName, Vec<u8>>,
    /// Bytes there is room for; no end of them if this is not said.
    capacity_bytes: Option<u64>,
}

impl MemoryDisk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> MemoryDisk {
        MemoryDisk::default()
    }

    /// The bytes of one file, for a test to look at or to damage.
    pub fn file_mut(&mut self, file: &FileName) -> Option<&mut Vec<u8>> {
        self.files.get_mut(file)
    }

    /// From now on so much more finds room, or all there may ever be.
    pub fn leave_room(&mut self, bytes: Option<u64>) {
        self.capacity_bytes = bytes.map(|bytes| self.used_bytes() + bytes);
    }

    fn used_bytes(&self) -> u64 {
        self.files.values().map(|bytes| bytes.len() as u64).sum()
    }

    /// Makes sure that a file may become this long.
    fn make_room(&self, file: &FileName, len: usize) -> Result<(), DiskError> {
        let held = self.files.get(file).map_or(0, Vec::len);
        let more = len.saturating_sub(held) as u64;
        match self.capacity_bytes {
            Some(capacity) if more > 0 && self.used_bytes() + more > capacity => {
                Err(DiskError::Full(file.clone()))
            }
            _ => Ok(()),
        }
    }

    fn existing(&mut self, file: &FileName) -> Result<&mut Vec<u8>, DiskError> {
        self.files.get_mut(file).ok_or_else(|| DiskError::Missing(file.clone()))
    }
}

impl Disk for MemoryDisk {
    fn list(&self, folder: &FileName) -> Result<Vec<FileName>, DiskError> {
        Ok(self.files.keys().filter(|name| name.is_below(folder)).cloned().collect())
    }

    fn len(&self, file: &FileName) -> Result<Option<u64>, DiskError> {
        Ok(self.files.get(file).map(|bytes| bytes.len() as u64))
    }

    fn read(&self, file: &FileName, offset: u64, len: usize) -> Result<Bytes, DiskError> {
        let bytes = self.files.get(file).ok_or_else(|| DiskError::Missing(file.clone()))?;
        let end = offset.saturating_add(len as u64);
        let range = usize::try_from(offset).ok().zip(usize::try_from(end).ok());
        range
            .and_then(|(from, to)| bytes.get(from..to))
            .map(Bytes::copy_from_slice)
            .ok_or_else(|| DiskError::Short { file: file.clone(), len: bytes.len() as u64, offset, end })
    }

    fn write(&mut self, file: &FileName, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        let full = || DiskError::Full(file.clone());
        let from = usize::try_from(offset).map_err(|_| full())?;
        let to = from.checked_add(bytes.len()).ok_or_else(full)?;
        self.make_room(file, to)?;
        let held = self.files.entry(file.clone()).or_default();
        if held.len() < to {
            held.resize(to, 0);
        }
        held[from..to].copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&mut self, file: &FileName, len: u64) -> Result<(), DiskError> {
        let len = usize::try_from(len).map_err(|_| DiskError::Full(file.clone()))?;
        self.make_room(file, len)?;
        self.existing(file)?.resize(len, 0);
        Ok(())
    }

    fn sync(&mut self, file: &FileName) -> Result<(), DiskError> {
        self.existing(file).map(|_| ())
    }

    fn rename(&mut self, from: &FileName, to: &FileName) -> Result<(), DiskError> {
        if !self.files.contains_key(to) {
            self.make_room(to, 1)?;
        }
        let bytes = self.files.remove(from).ok_or_else(|| DiskError::Missing(from.clone()))?;
        self.files.insert(to.clone(), bytes);
        Ok(())
    }

    fn remove(&mut self, file: &FileName) -> Result<(), DiskError> {
        self.files.remove(file);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::MemoryDisk;
    use crate::{Disk, DiskError, FileName};

    #[test]
    fn reads_back_what_was_written_and_refuses_what_was_not() {
        let (mut disk, file) = (MemoryDisk::new(), FileName::new("a/b").unwrap());
        assert_eq!(disk.read(&file, 0, 1), Err(DiskError::Missing(file.clone())));
        disk.write(&file, 2, b"xy").unwrap();
        assert_eq!(&disk.read(&file, 0, 4).unwrap()[..], b"\0\0xy");
        assert!(matches!(disk.read(&file, 3, 2), Err(DiskError::Short { len: 4, .. })));
        assert_eq!(disk.list(&FileName::new("a").unwrap()).unwrap(), vec![file]);
    }

    #[test]
    fn a_full_one_refuses_to_grow_but_not_to_overwrite() {
        let (mut disk, file) = (MemoryDisk::new(), FileName::new("a").unwrap());
        disk.leave_room(Some(4));
        disk.write(&file, 0, b"abcd").unwrap();
        disk.write(&file, 0, b"efgh").unwrap();
        assert_eq!(disk.write(&file, 4, b"i"), Err(DiskError::Full(file.clone())));
        let other = FileName::new("b").unwrap();
        assert_eq!(disk.rename(&file, &other), Err(DiskError::Full(other)));
        disk.leave_room(None);
        disk.write(&file, 4, b"i").unwrap();
    }
}
