//! Signing as the simulator has it: cheap, the same every time, and found out when it is wrong.
//!
//! What only a site can make is a digest that names it. Nobody else makes one on purpose but the forger, which signs as
//! itself and under another's name, alters, adds, and puts old signatures to new entries.

use std::sync::Arc;

use bytes::Bytes;
use entry::{Body, Encoded, Entry, SiteId, TrimBody};
use site::wire::{SignedHead, Vouched};
use site::{CertificateId, Claim, NotBelieved, Notary, Signed};

use crate::rng::Rng;

/// A message that shows a certificate: kind, length, site, life.
pub(crate) const SHOWN_BYTES: usize = 12;

/// A site's notary, in one life of its process: each has a certificate of its own.
#[derive(Debug)]
pub struct SimNotary {
    own: SiteId,
    life: u64,
}

impl SimNotary {
    /// The notary of a site.
    #[must_use]
    pub fn of(own: SiteId, life: u64) -> Arc<SimNotary> {
        Arc::new(SimNotary { own, life })
    }

    fn certificate(&self) -> Bytes {
        [&self.own.0.to_be_bytes()[..], &self.life.to_be_bytes()].concat().into()
    }
}

fn seal(certificate: &[u8], statement: &[u8]) -> Bytes {
    let mut hasher = blake3::Hasher::new();
    hasher.update(certificate).update(statement);
    Bytes::copy_from_slice(&hasher.finalize().as_bytes()[..8])
}

impl Notary for SimNotary {
    fn sign(&self, statement: &[u8]) -> Signed {
        let certificate = self.certificate();
        Signed { signature: seal(&certificate, statement), certificate }
    }

    fn check(&self, claim: Claim<'_>) -> Result<(), NotBelieved> {
        if !claim.certificate.starts_with(&claim.by.0.to_be_bytes()) {
            return Err(NotBelieved::Certificate("it is another site's".into()));
        }
        let right = seal(claim.certificate, claim.statement) == claim.signature;
        right.then_some(()).ok_or(NotBelieved::Signature)
    }
}

/// What a forger makes of another's entries that it should pass on as they are.
pub(crate) fn forged(by: SiteId, vouched: &Vouched, dice: &mut Rng) -> Vouched {
    let (head, mut entries, mut bytes) = (&vouched.head, Vec::new(), vouched.entries.clone());
    while let Ok(entry) = Encoded::split_from(&mut bytes) {
        entries.push(entry);
    }
    let Some(last) = entries.pop() else { return vouched.clone() };
    let way = dice.below(4);
    if way == 0 {
        let signature = Bytes::from_static(b"scrawled");
        return Vouched { head: SignedHead { signature, ..head.clone() }, entries: vouched.entries.clone() };
    }
    let invented = match way {
        // In the place of the last one.
        1 | 2 => invented(&last, last.head.seq, last.head.previous),
        // Behind it.
        _ => invented(&last, last.head.seq + 1, last.hash()),
    };
    entries.extend((way == 3).then_some(last));
    let (next, hash, stamp) = (invented.head.seq + 1, invented.hash(), invented.head.stamp);
    let certificate = match way {
        2 => CertificateId::of(&SimNotary { own: by, life: 1 }.certificate()),
        _ => head.certificate,
    };
    entries.push(invented);
    let entries = entries.iter().flat_map(|entry| entry.bytes.to_vec()).collect();
    Vouched { head: SignedHead { next, hash, stamp, certificate, ..head.clone() }, entries }
}

/// An entry that its owner never wrote.
fn invented(like: &Encoded, seq: u64, previous: entry::ChainHash) -> Encoded {
    let (journal, epoch) = (like.head.journal, like.head.epoch);
    // Behind the last one it lies above what was promised meanwhile, and within the clocks' bound.
    let at = like.head.stamp;
    let later = clock::Stamp::from_unix_ms(at.unix_ms() + 200);
    let stamp = if seq == like.head.seq { at } else { later };
    let body = Body::Trim(TrimBody::MARK);
    Entry { journal, seq, stamp, epoch, previous, body }.encode().expect("it is short")
}
