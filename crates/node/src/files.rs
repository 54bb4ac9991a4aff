//! The disk of the core on real files.
//!
//! One data directory, opened files kept open (a site touches the same few again and again). Nothing here decides
//! anything: an error is classified (no room, or the device) and handed up.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use disk::{Disk, DiskError, FileName};
use rustix::buffer::spare_capacity;
use rustix::io::{Errno, pread};

/// Files kept open unless somebody says otherwise: a small part of what a process may open.
const OPEN_FILES: usize = 128;

/// A data directory. Clones share the open files.
#[derive(Debug, Clone)]
pub struct Files {
    root: Arc<Path>,
    open_max: usize,
    open: Arc<Mutex<BTreeMap<FileName, Arc<File>>>>,
}

impl Files {
    /// The files below `root`.
    #[must_use]
    pub fn new(root: PathBuf) -> Files {
        Files::keeping_open(root, OPEN_FILES)
    }

    /// The same, keeping up to so many of them open.
    pub(crate) fn keeping_open(root: PathBuf, open_max: usize) -> Files {
        Files { root: root.into(), open_max, open: Arc::default() }
    }

    /// The data directory.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Where a file is.
    #[must_use]
    pub fn path(&self, file: &FileName) -> PathBuf {
        self.root.join(file.as_str())
    }

    /// The open file, if it exists.
    pub(crate) fn existing(&self, file: &FileName) -> Result<Arc<File>, DiskError> {
        self.handle(file, false)
    }

    /// The open file, made if it does not exist.
    pub(crate) fn made(&self, file: &FileName) -> Result<Arc<File>, DiskError> {
        self.handle(file, true)
    }

    fn handle(&self, file: &FileName, create: bool) -> Result<Arc<File>, DiskError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(handle) = open.get(file) {
            return Ok(Arc::clone(handle));
        }
        let path = self.path(file);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(create);
        let opened = match options.open(&path) {
            Err(error) if create && error.kind() == ErrorKind::NotFound => {
                let folder = path.parent().unwrap_or(&self.root);
                std::fs::create_dir_all(folder).map_err(|error| failed(file, &error))?;
                options.open(&path)
            }
            other => other,
        };
        let handle = Arc::new(opened.map_err(|error| failed(file, &error))?);
        if open.len() >= self.open_max {
            open.pop_first();
        }
        open.insert(file.clone(), Arc::clone(&handle));
        Ok(handle)
    }

    /// What is free on the file system, for those who are no superusers.
    pub(crate) fn free_bytes(&self) -> std::io::Result<u64> {
        let room = rustix::fs::statvfs(&*self.root)?;
        Ok(room.f_bavail.saturating_mul(room.f_frsize))
    }

    fn forget(&self, file: &FileName) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(file);
    }

    /// Folders are no matter of the core's: those that a removed file leaves empty go with it.
    fn remove_empty_folders(&self, file: &FileName) {
        let path = self.path(file);
        let inner = path.ancestors().skip(1).take_while(|folder| folder.starts_with(&self.root));
        // One that is not empty is not removed, and neither is what is above it.
        let _ = inner.filter(|folder| **folder != *self.root).try_for_each(std::fs::remove_dir);
    }

    /// Makes a file's name durable: syncs its folder, and the folders above it up to the root.
    pub(crate) fn sync_name(&self, file: &FileName) -> Result<(), DiskError> {
        let path = self.path(file);
        let below = path.ancestors().skip(1).take_while(|folder| folder.starts_with(&self.root));
        for folder in below {
            let folder = File::open(folder).map_err(|error| failed(file, &error))?;
            folder.sync_all().map_err(|error| unsynced(file, &error))?;
        }
        Ok(())
    }
}

impl Disk for Files {
    fn list(&self, folder: &FileName) -> Result<Vec<FileName>, DiskError> {
        let mut found = Vec::new();
        let mut folders = vec![folder.clone()];
        while let Some(at) = folders.pop() {
            let entries = match std::fs::read_dir(self.path(&at)) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                other => other.map_err(|error| failed(&at, &error))?,
            };
            for entry in entries {
                let entry = entry.map_err(|error| failed(&at, &error))?;
                let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
                let is_folder = entry.file_type().map_err(|error| failed(&at, &error))?.is_dir();
                let child = at.join(&name);
                if is_folder { folders.push(child) } else { found.push(child) }
            }
        }
        found.sort();
        Ok(found)
    }

    fn len(&self, file: &FileName) -> Result<Option<u64>, DiskError> {
        match std::fs::metadata(self.path(file)) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(file, &error)),
        }
    }

    fn read(&self, file: &FileName, offset: u64, len: usize) -> Result<Bytes, DiskError> {
        let handle = self.existing(file)?;
        let short = || {
            let held = handle.metadata().map_or(0, |metadata| metadata.len());
            DiskError::Short { file: file.clone(), len: held, offset, end: offset.saturating_add(len as u64) }
        };
        // What an index names but the file does not hold must not cost memory first.
        if handle.metadata().map_or(0, |metadata| metadata.len()) < offset.saturating_add(len as u64) {
            return Err(short());
        }
        // Memory is not cleared first: recovery and fetches read gigabytes.
        let mut bytes = Vec::with_capacity(len.max(1));
        while bytes.len() < len {
            let at = offset + bytes.len() as u64;
            match pread(&*handle, spare_capacity(&mut bytes), at) {
                Ok(0) => return Err(short()),
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(failed(file, &error.into())),
            }
        }
        bytes.truncate(len);
        Ok(bytes.into())
    }

    fn write(&mut self, file: &FileName, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        self.made(file)?.write_all_at(bytes, offset).map_err(|error| failed(file, &error))
    }

    fn set_len(&mut self, file: &FileName, len: u64) -> Result<(), DiskError> {
        self.existing(file)?.set_len(len).map_err(|error| failed(file, &error))
    }

    fn sync(&mut self, file: &FileName) -> Result<(), DiskError> {
        self.existing(file)?.sync_all().map_err(|error| unsynced(file, &error))?;
        self.sync_name(file)
    }

    fn rename(&mut self, from: &FileName, to: &FileName) -> Result<(), DiskError> {
        let (old, new) = (self.path(from), self.path(to));
        if let Some(folder) = new.parent() {
            std::fs::create_dir_all(folder).map_err(|error| failed(to, &error))?;
        }
        std::fs::rename(old, new).map_err(|error| failed(from, &error))?;
        self.forget(from);
        self.forget(to);
        self.sync_name(from)?;
        self.sync_name(to)
    }

    fn remove(&mut self, file: &FileName) -> Result<(), DiskError> {
        let removed = std::fs::remove_file(self.path(file));
        // Not before: who opened it in between would keep a file without a name, and later writes would go there.
        self.forget(file);
        match removed {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(failed(file, &error)),
            _ => {
                self.remove_empty_folders(file);
                Ok(())
            }
        }
    }
}

/// What an I/O error means to the core.
pub(crate) fn failed(file: &FileName, error: &std::io::Error) -> DiskError {
    let has_no_files = [Errno::MFILE, Errno::NFILE].map(|errno| Some(errno.raw_os_error()));
    match error.kind() {
        ErrorKind::NotFound => DiskError::Missing(file.clone()),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => DiskError::Full(file.clone()),
        _ if has_no_files.contains(&error.raw_os_error()) => DiskError::TooManyOpen(file.clone()),
        _ => unsynced(file, error),
    }
}

/// A sync that failed, whatever for: the kernel takes what it could not write for written, and the next sync would say yes.
pub(crate) fn unsynced(file: &FileName, error: &std::io::Error) -> DiskError {
    DiskError::Failed { file: file.clone(), reason: error.to_string() }
}

/// Random bytes from the operating system.
pub(crate) fn random<const N: usize>() -> std::io::Result<[u8; N]> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::{Files, failed, unsynced};
    use disk::{Disk, DiskError, FileName};
    use rustix::io::Errno;

    #[test]
    fn only_what_may_be_tried_again_is_called_full() {
        let file = FileName::new("a").unwrap();
        let error = std::io::Error::from_raw_os_error;
        let full = failed(&file, &error(Errno::NOSPC.raw_os_error()));
        assert!(full.is_full() && !unsynced(&file, &error(Errno::NOSPC.raw_os_error())).is_full());
        for too_many in [Errno::MFILE, Errno::NFILE] {
            let failed = failed(&file, &error(too_many.raw_os_error()));
            assert!(failed.is_full() && failed.to_string().contains("too many files are open"), "{failed}");
        }
        assert!(!failed(&file, &error(Errno::IO.raw_os_error())).is_full());
    }

    /// Who reads a file while it is removed and made again must not leave the next writes without a name.
    #[test]
    fn what_is_written_after_a_removal_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::new(folder.path().to_owned());
        let file = FileName::new("x/a").unwrap();
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    let _ = files.read(&file, 0, 1);
                }
            });
            let mut writer = files.clone();
            for round in 0..2_000 {
                writer.write(&file, 0, b"a").unwrap();
                let there = writer.len(&file).unwrap();
                if there.is_none() {
                    done.store(true, std::sync::atomic::Ordering::Relaxed);
                }
                assert_eq!(there, Some(1), "round {round}");
                writer.remove(&file).unwrap();
            }
            done.store(true, std::sync::atomic::Ordering::Relaxed);
        });
    }

    #[test]
    fn files_behave_as_the_core_expects() {
        let folder = tempfile::tempdir().unwrap();
        let mut files = Files::new(folder.path().to_owned());
        let (a, b) = (FileName::new("x/y/a").unwrap(), FileName::new("b").unwrap());
        assert_eq!(files.len(&a), Ok(None));
        assert!(matches!(files.read(&a, 0, 1), Err(DiskError::Missing(_))));
        files.write(&a, 3, b"abc").unwrap();
        files.sync(&a).unwrap();
        assert_eq!(&files.read(&a, 2, 4).unwrap()[..], b"\0abc");
        assert!(matches!(files.read(&a, 4, 4), Err(DiskError::Short { len: 6, .. })));
        assert_eq!(files.list(&FileName::root()).unwrap(), vec![a.clone()]);
        files.rename(&a, &b).unwrap();
        assert_eq!((files.len(&a), files.len(&b)), (Ok(None), Ok(Some(6))));
        let deep = FileName::new("not/yet/there").unwrap();
        files.rename(&b, &deep).unwrap();
        files.rename(&deep, &b).unwrap();
        files.remove(&b).unwrap();
        files.remove(&b).unwrap();
        assert_eq!(files.len(&b), Ok(None));
        files.write(&a, 0, b"a").unwrap();
        files.remove(&a).unwrap();
        assert!(!folder.path().join("x").exists() && folder.path().exists());
    }
}
