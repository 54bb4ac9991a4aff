//! Who vouches for what a journal says: its owner, by signing where the chain stands.
//!
//! The chain hash at one place of a journal stands for all of it up to there. So a signature over (cluster, journal, seq,
//! hash, stamp) lets anybody pass a journal on, and nobody change it. How a signature is made, and when a certificate
//! speaks for a site, is none of this machine's business: the shell brings a [`Notary`], the simulator one that only
//! pretends. A certificate is bytes here, and its digest names it.

use std::fmt::Debug;

use bytes::Bytes;
use entry::{ClusterId, SiteId};
use journal::Chain;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::wire::SignedHead;

/// Names a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CertificateId(pub [u8; 32]);

impl CertificateId {
    /// The name of this certificate.
    #[must_use]
    pub fn of(certificate: &[u8]) -> CertificateId {
        CertificateId(*blake3::hash(certificate).as_bytes())
    }
}

/// A signature, and the certificate by which it can be checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// In the notary's own encoding.
    pub certificate: Bytes,
    /// In the notary's own encoding.
    pub signature: Bytes,
}

/// Something to be checked.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// Who is said to have signed.
    pub by: SiteId,
    /// When, in milliseconds since 1970: the certificate must have been in force then. That it has expired since takes
    /// nothing back.
    pub at_ms: u64,
    /// What is said to be signed.
    pub statement: &'a [u8],
    /// By which certificate.
    pub certificate: &'a [u8],
    /// The signature.
    pub signature: &'a [u8],
}

/// Why what is said to be an owner's word is not believed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NotBelieved {
    /// The certificate does not speak for that site at that time.
    #[error("the certificate is not accepted: {0}")]
    Certificate(String),
    /// The signature is not one of this statement.
    #[error("the signature is not right")]
    Signature,
    /// The certificate is not at hand.
    #[error("no certificate was shown for them")]
    NotShown,
    /// Something else was signed.
    #[error("they are not the ones that were signed")]
    Other,
}

/// Signs for this site, and checks what is said to be signed by another.
pub trait Notary: Debug + Send + Sync {
    /// Signs a statement with the key that is in force now.
    fn sign(&self, statement: &[u8]) -> Signed;

    /// Whether a claim is to be believed.
    ///
    /// # Errors
    /// [`NotBelieved`] says why not.
    fn check(&self, claim: Claim<'_>) -> Result<(), NotBelieved>;
}

/// What the owner of a journal signs. Begins unlike anything that TLS ever signs with the same key.
fn statement(cluster: ClusterId, head: &SignedHead) -> Vec<u8> {
    let mut out = b"meridian signed head 1\0".to_vec();
    out.extend(cluster.0.as_bytes());
    out.extend(head.journal.site.0.to_be_bytes());
    out.extend(head.journal.incarnation.0.to_be_bytes());
    out.extend(head.next.to_be_bytes());
    out.extend(head.stamp.raw().to_be_bytes());
    out.extend(head.hash.0);
    out
}

impl SignedHead {
    /// Signs where a journal of this site stands. Gives back the certificate too.
    pub(crate) fn sign(
        notary: &dyn Notary,
        cluster: ClusterId,
        journal: entry::JournalId,
        chain: Chain,
    ) -> (SignedHead, Bytes) {
        let Chain { next, hash, stamp } = chain;
        let (certificate, signature) = (CertificateId([0; 32]), Bytes::new());
        let unsigned = SignedHead { journal, next, hash, stamp, certificate, signature };
        let Signed { certificate, signature } = notary.sign(&statement(cluster, &unsigned));
        let head = SignedHead { certificate: CertificateId::of(&certificate), signature, ..unsigned };
        (head, certificate)
    }

    /// Whether the journal's owner has signed this.
    pub(crate) fn check(
        &self,
        notary: &dyn Notary,
        cluster: ClusterId,
        certificate: &[u8],
    ) -> Result<(), NotBelieved> {
        let (by, at_ms, signature) = (self.journal.site, self.stamp.unix_ms(), &self.signature);
        let statement = statement(cluster, self);
        notary.check(Claim { by, at_ms, statement: &statement, certificate, signature })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use bytes::Bytes;
    use clock::Stamp;
    use entry::{ChainHash, ClusterId, Incarnation, JournalId, SiteId};
    use journal::Chain;
    use uuid::Uuid;

    use super::{Claim, NotBelieved, Notary, Signed, statement};
    use crate::wire::SignedHead;

    /// Signs with a digest that everybody in the test could make, and nobody does.
    #[derive(Debug)]
    pub(crate) struct TestNotary(pub(crate) SiteId);

    fn seal(by: SiteId, statement: &[u8]) -> Bytes {
        let digest = blake3::keyed_hash(&[by.0 as u8; 32], statement);
        Bytes::copy_from_slice(&digest.as_bytes()[..16])
    }

    impl Notary for TestNotary {
        fn sign(&self, statement: &[u8]) -> Signed {
            let certificate = Bytes::copy_from_slice(&self.0.0.to_be_bytes());
            Signed { certificate, signature: seal(self.0, statement) }
        }

        fn check(&self, claim: Claim<'_>) -> Result<(), NotBelieved> {
            if claim.certificate != claim.by.0.to_be_bytes() {
                return Err(NotBelieved::Certificate("it is another site's".into()));
            }
            let right = seal(claim.by, claim.statement) == claim.signature;
            right.then_some(()).ok_or(NotBelieved::Signature)
        }
    }

    fn cluster() -> ClusterId {
        ClusterId(Uuid::from_u128(9))
    }

    #[test]
    fn a_statement_says_all_that_it_is_about() {
        let journal = JournalId { site: SiteId(2), incarnation: Incarnation(1) };
        let chain = Chain { next: 5, hash: ChainHash([7; 32]), stamp: Stamp::from_raw(99) };
        let (head, certificate) = SignedHead::sign(&TestNotary(SiteId(2)), cluster(), journal, chain);
        let said = statement(cluster(), &head);
        let golden = [
            &b"meridian signed head 1\0"[..],
            &[0; 15],
            &[9, 0, 2, 0, 0, 0, 1],
            &[0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 99],
            &[7; 32],
        ];
        assert_eq!(said, golden.concat());
        let check = |head: &SignedHead| head.check(&TestNotary(SiteId(1)), cluster(), &certificate);
        assert_eq!(check(&head), Ok(()));
        for wrong in [
            SignedHead { next: 6, ..head.clone() },
            SignedHead { hash: ChainHash([8; 32]), ..head.clone() },
            SignedHead { stamp: Stamp::from_raw(98), ..head.clone() },
            SignedHead { journal: JournalId::genesis(SiteId(2)), ..head.clone() },
        ] {
            assert_eq!(check(&wrong), Err(NotBelieved::Signature), "{wrong:?}");
        }
        let other = SignedHead { journal: JournalId { site: SiteId(3), ..journal }, ..head };
        assert!(matches!(check(&other), Err(NotBelieved::Certificate(_))));
    }
}
