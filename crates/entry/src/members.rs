//! A change of the members: one site more or one less, from the entry's place in the merged order on.
//!
//! Of two changes that would make the same epoch, the first in merged order counts and the other is void. One site at a
//! time, so that what a majority held before a change is held by more than a minority after it.
//!
//! Body, all numbers big-endian: the epoch it makes (u32), what it is (u8: 0 adds, 1 removes, 2 gives up), site (u16); where it adds,
//! the site's storage (u128).

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use crate::EntryError;
use crate::ids::{MemberEpoch, SiteId, StorageId};

const HEAD_BYTES: usize = 7;
const ADD_BYTES: usize = HEAD_BYTES + 16;
const ADDS: u8 = 0;
const REMOVES: u8 = 1;
const GIVES_UP: u8 = 2;

/// What becomes of the members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// A site becomes one, with this data directory: it has never voted.
    Add {
        /// The site.
        site: SiteId,
        /// The data directory that holds what the members held.
        storage: StorageId,
    },
    /// A site is one no more, for good.
    Remove {
        /// The site.
        site: SiteId,
    },
    /// A site is one no more: an operator gave it up. It may be added again, should it come back.
    GiveUp {
        /// The site.
        site: SiteId,
    },
}

/// A change of the members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MembersBody {
    /// The epoch that it makes: it is void unless it follows the one before it in the merged order.
    pub epoch: MemberEpoch,
    /// What it changes.
    pub change: Change,
}

impl MembersBody {
    pub(crate) fn encode(&self, out: &mut BytesMut) {
        out.put_u32(self.epoch.0);
        match self.change {
            Change::Add { site, storage } => {
                out.put_u8(ADDS);
                out.put_u16(site.0);
                out.put_u128(storage.0);
            }
            Change::Remove { site } => {
                out.put_u8(REMOVES);
                out.put_u16(site.0);
            }
            Change::GiveUp { site } => {
                out.put_u8(GIVES_UP);
                out.put_u16(site.0);
            }
        }
    }

    pub(crate) fn decode(body: &Bytes) -> Result<MembersBody, EntryError> {
        if body.len() < HEAD_BYTES {
            return Err(EntryError::Body("a change of members of another length"));
        }
        let mut rest = body.clone();
        let (epoch, what, site) = (MemberEpoch(rest.get_u32()), rest.get_u8(), SiteId(rest.get_u16()));
        let change = match (what, body.len()) {
            (ADDS, ADD_BYTES) => Change::Add { site, storage: StorageId(rest.get_u128()) },
            (REMOVES, HEAD_BYTES) => Change::Remove { site },
            (GIVES_UP, HEAD_BYTES) => Change::GiveUp { site },
            _ => return Err(EntryError::Body("a change of members that is none of the three")),
        };
        Ok(MembersBody { epoch, change })
    }
}
