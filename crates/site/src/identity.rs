//! Who this data directory is: cluster, site, storage and incarnation.
//!
//! Small, written once per change with a temporary file and a rename, and checked before it is believed. It holds no
//! positions: those are in the WAL.
//!
//! Layout of the file `identity`: the 8 bytes `MERIDIAN`, a version byte, postcard of [`Identity`], then the first 16
//! bytes of BLAKE3 over all before.

use disk::{Disk, DiskError, FileName};
use entry::{ClusterId, Incarnation, JournalId, SiteId, StorageId};
use serde::{Deserialize, Serialize};
use thiserror::Error;

const MAGIC: &[u8; 9] = b"MERIDIAN\x01";
const CHECK_BYTES: usize = 16;
/// An identity is some dozens of bytes; more is not one.
const FILE_BYTES_MAX: u64 = 4096;

/// Who a data directory is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The cluster it belongs to.
    pub cluster: ClusterId,
    /// The site it belongs to.
    pub site: SiteId,
    /// Itself.
    pub storage: StorageId,
    /// Marks the frames of this directory's WAL; random and told to nobody, so that no client's bytes can pass for one.
    pub wal_nonce: u128,
    /// The site's life that it holds, or `None` while no quorum has granted one.
    pub incarnation: Option<Incarnation>,
    /// Whether what it holds counts for quorums, and whether it votes: not before a directory that began empty holds
    /// what the others held.
    pub synced: bool,
    /// The cluster's first members, in id order; none while a directory that joins has not been told.
    pub founders: Vec<SiteId>,
}

/// Why a data directory's identity cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum IdentityError {
    /// It is not as it was written.
    #[error(
        "the file `identity` is damaged: restore it from a copy of this very directory, or start an empty one"
    )]
    Damaged,
    /// It belongs to another cluster or site.
    #[error("this data directory belongs to site {site} of cluster {cluster}, not to the configured one")]
    Foreign {
        /// The site it belongs to.
        site: SiteId,
        /// The cluster it belongs to.
        cluster: ClusterId,
    },
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl Identity {
    /// The journal that this site writes, if it may write one.
    #[must_use]
    pub fn journal(&self) -> Option<JournalId> {
        self.incarnation.map(|incarnation| JournalId { site: self.site, incarnation })
    }

    /// Reads a data directory's identity; `None` if it has none.
    ///
    /// # Errors
    /// [`IdentityError::Damaged`] or [`IdentityError::Disk`].
    pub fn read(disk: &dyn Disk) -> Result<Option<Identity>, IdentityError> {
        let file = file();
        let Some(len) = disk.len(&file)? else { return Ok(None) };
        if len > FILE_BYTES_MAX {
            return Err(IdentityError::Damaged);
        }
        let bytes = disk.read(&file, 0, len as usize)?;
        let (said, check) = bytes.split_last_chunk::<CHECK_BYTES>().ok_or(IdentityError::Damaged)?;
        let body = said.strip_prefix(MAGIC).ok_or(IdentityError::Damaged)?;
        if blake3::hash(said).as_bytes()[..CHECK_BYTES] != check[..] {
            return Err(IdentityError::Damaged);
        }
        postcard::from_bytes(body).map(Some).map_err(|_| IdentityError::Damaged)
    }

    /// Makes this the directory's identity.
    ///
    /// # Errors
    /// [`DiskError`] if it could not be made durable; the old one then stands.
    pub fn write(&self, disk: &mut dyn Disk) -> Result<(), DiskError> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(postcard::to_stdvec(self).expect("plain data always encodes"));
        let check = blake3::hash(&bytes);
        bytes.extend(&check.as_bytes()[..CHECK_BYTES]);
        let fresh = FileName::root().join("identity.new");
        disk.remove(&fresh)?;
        disk.write(&fresh, 0, &bytes)?;
        disk.sync(&fresh)?;
        disk.rename(&fresh, &file())
    }

    /// Checks that this is the identity of `site` in `cluster`.
    ///
    /// # Errors
    /// [`IdentityError::Foreign`] if it is not.
    pub fn expect(&self, cluster: ClusterId, site: SiteId) -> Result<(), IdentityError> {
        if (self.cluster, self.site) == (cluster, site) {
            Ok(())
        } else {
            Err(IdentityError::Foreign { site: self.site, cluster: self.cluster })
        }
    }
}

fn file() -> FileName {
    FileName::root().join("identity")
}

#[cfg(test)]
mod tests {
    use super::{Identity, IdentityError, file};
    use disk::MemoryDisk;
    use entry::{ClusterId, Incarnation, SiteId, StorageId};
    use uuid::Uuid;

    #[test]
    fn an_identity_comes_back_and_a_damaged_one_does_not() {
        let mut disk = MemoryDisk::new();
        assert_eq!(Identity::read(&disk), Ok(None));
        let cluster = ClusterId(Uuid::from_u128(1));
        let written = Identity {
            cluster,
            site: SiteId(2),
            storage: StorageId(3),
            wal_nonce: 4,
            incarnation: Some(Incarnation(0)),
            synced: true,
            founders: vec![SiteId(1), SiteId(2)],
        };
        written.write(&mut disk).unwrap();
        assert_eq!(Identity::read(&disk), Ok(Some(written.clone())));
        assert!(written.expect(cluster, SiteId(1)).is_err());
        let len = disk.file_mut(&file()).unwrap().len();
        for byte in 0..len {
            let mut damaged = disk.clone();
            damaged.file_mut(&file()).unwrap()[byte] ^= 1;
            assert_eq!(Identity::read(&damaged), Err(IdentityError::Damaged), "byte {byte}");
        }
    }
}
