//! Signing with the key that TLS uses, and checking what other sites signed with theirs.
//!
//! A signature travels with nothing but the name of its certificate, so certificates are bytes here: those of a chain in
//! DER, the site's own first, one behind the other. One that is shown counts for what was signed while it was in force:
//! the path to the authority is checked for that time, so that a certificate which has expired since takes nothing back,
//! and a stolen one that has expired can sign nothing new.
//!
//! That holds for authorities as well: one that links trust no more may be kept for what was signed under it, which has to
//! be proved to whoever comes later. A key that was denied keeps its owner out; what it signed before stands.
//!
//! A signature is the TLS number of its scheme, then the signature itself. What is signed must not begin like anything
//! that TLS signs (64 spaces).

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use rustls::SignatureScheme;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs};
use rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm, UnixTime};
use rustls::sign::Signer;
use webpki::EndEntityCert;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::trust::stands_behind;
use crate::{Identity, SiteName, StartError};

/// How a key may sign; the first that it can is taken.
const SCHEMES: [SignatureScheme; 7] = [
    SignatureScheme::ED25519,
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::ECDSA_NISTP521_SHA512,
    SignatureScheme::RSA_PSS_SHA256,
    SignatureScheme::RSA_PSS_SHA384,
    SignatureScheme::RSA_PSS_SHA512,
];
/// Certificates whose paths are remembered; a cluster has few in use at a time.
const REMEMBERED_MAX: usize = 256;
/// For how long ahead a path is looked at, so that it need not be looked at for every signature.
const AHEAD_MS: u64 = 60_000;
/// Certificates in one chain: a site's own, and some between it and the authority.
const CHAIN_MAX: usize = 8;

/// Signs as one site, and checks what any site has signed.
#[derive(Debug)]
pub struct Notary {
    keys: RwLock<Arc<Keys>>,
    algorithms: WebPkiSupportedAlgorithms,
}

/// What the files said when they were last read.
#[derive(Debug)]
struct Keys {
    certificate: Bytes,
    signer: Box<dyn Signer>,
    authority: Vec<CertificateDer<'static>>,
    /// Certificates that the authority stands behind: for whom, and for which time that was looked at, in milliseconds.
    accepted: Mutex<BTreeMap<Bytes, (SiteName, RangeInclusive<u64>)>>,
}

/// Why something is not taken for signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotSigned {
    /// The certificate does not speak for that site at that time.
    #[error("{0}")]
    Certificate(String),
    /// The signature is of something else, or of somebody else.
    #[error("the signature does not fit")]
    Signature,
}

/// What is said to be signed.
#[derive(Debug, Clone, Copy)]
pub struct Said<'a> {
    /// By whom.
    pub by: &'a SiteName,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// What.
    pub statement: &'a [u8],
    /// By which certificate.
    pub certificate: &'a [u8],
    /// The signature.
    pub signature: &'a [u8],
}

impl Notary {
    /// Signs with this identity's key.
    ///
    /// # Errors
    /// [`StartError::Tls`] if the key is of no kind that can sign.
    pub fn new(identity: &Identity) -> Result<Notary, StartError> {
        let provider = aws_lc_rs::default_provider();
        let keys = RwLock::new(Arc::new(Keys::of(identity, &provider)?));
        Ok(Notary { keys, algorithms: provider.signature_verification_algorithms })
    }

    /// Signs with another key from here on, and believes another authority.
    ///
    /// # Errors
    /// As [`Notary::new`]; the old key then stays.
    pub fn renew(&self, identity: &Identity) -> Result<(), StartError> {
        let keys = Arc::new(Keys::of(identity, &aws_lc_rs::default_provider())?);
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
        Ok(())
    }

    /// The certificate, and the signature that can be checked by it.
    ///
    /// # Panics
    /// If the system gives no random numbers.
    #[must_use]
    pub fn sign(&self, statement: &[u8]) -> (Bytes, Bytes) {
        let keys = self.keys();
        let made = keys.signer.sign(statement).expect("a key signs as long as there are random numbers");
        let mut signature = BytesMut::with_capacity(2 + made.len());
        signature.put_u16(keys.signer.scheme().into());
        signature.put_slice(&made);
        (keys.certificate.clone(), signature.freeze())
    }

    /// Whether the site has signed it.
    ///
    /// # Errors
    /// [`NotSigned`] says why it counts as not signed.
    pub fn check(&self, said: &Said<'_>) -> Result<(), NotSigned> {
        let site = self.site_of(said.certificate, said.at_ms).map_err(NotSigned::Certificate)?;
        if site != *said.by {
            return Err(NotSigned::Certificate(format!("it is that of site {site}, not of {}", said.by)));
        }
        let chain = split(said.certificate).map_err(NotSigned::Certificate)?;
        let certificate = EndEntityCert::try_from(&chain[0]).map_err(|_| NotSigned::Signature)?;
        let (scheme, signature) = said.signature.split_first_chunk().ok_or(NotSigned::Signature)?;
        let scheme = SignatureScheme::from(u16::from_be_bytes(*scheme));
        let fits = |(known, algorithms): &&(SignatureScheme, &'static [_])| {
            let verify = |algorithm: &&'static dyn SignatureVerificationAlgorithm| {
                certificate.verify_signature(*algorithm, said.statement, signature).is_ok()
            };
            *known == scheme && SCHEMES.contains(known) && algorithms.iter().any(verify)
        };
        self.algorithms.mapping.iter().find(fits).map(|_| ()).ok_or(NotSigned::Signature)
    }

    fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whose certificate this is, if the authority stood behind it at that time.
    fn site_of(&self, certificate: &[u8], at_ms: u64) -> Result<SiteName, String> {
        let keys = self.keys();
        let mut accepted = keys.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((site, times)) = accepted.get(certificate)
            && times.contains(&at_ms)
        {
            return Ok(site.clone());
        }
        let chain = split(certificate)?;
        let site = SiteName::of_certificate(&chain[0])?;
        let time = |at_ms| UnixTime::since_unix_epoch(Duration::from_millis(at_ms));
        stands_behind(&keys.authority, &chain, time(at_ms))?;
        let ahead = stands_behind(&keys.authority, &chain, time(at_ms.saturating_add(AHEAD_MS))).is_ok();
        let times = at_ms..=at_ms.saturating_add(if ahead { AHEAD_MS } else { 0 });
        if accepted.len() >= REMEMBERED_MAX {
            accepted.clear();
        }
        accepted.insert(Bytes::copy_from_slice(certificate), (site.clone(), times));
        Ok(site)
    }
}

impl Keys {
    fn of(identity: &Identity, provider: &CryptoProvider) -> Result<Keys, StartError> {
        let unusable = |e: rustls::Error| StartError::Tls(e.to_string());
        let key = provider.key_provider.load_private_key(identity.key.clone_key()).map_err(unusable)?;
        let signer = key
            .choose_scheme(&SCHEMES)
            .ok_or_else(|| StartError::Tls("the site's key is of a kind that cannot sign".to_owned()))?;
        let certificate = identity.chain.iter().flat_map(|der| der.as_ref().to_vec()).collect();
        let authority = [&*identity.trust.authority, &identity.former].concat();
        Ok(Keys { certificate, signer, authority, accepted: Mutex::default() })
    }
}

/// The certificates of a chain; at least one.
pub(crate) fn split(mut chain: &[u8]) -> Result<Vec<CertificateDer<'_>>, String> {
    let mut certificates = Vec::new();
    while !chain.is_empty() && certificates.len() < CHAIN_MAX {
        let (rest, _) = X509Certificate::from_der(chain).map_err(|_| "it does not read".to_owned())?;
        certificates.push(CertificateDer::from(&chain[..chain.len() - rest.len()]));
        chain = rest;
    }
    if certificates.is_empty() || !chain.is_empty() {
        return Err("it is no chain of certificates".to_owned());
    }
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::{NotSigned, Notary, Said};
    use crate::cert::{self, Pair};
    use crate::tests::identity;
    use crate::{Identity, SiteName};

    const STATEMENT: &[u8] = b"the journal stands here";

    fn now_ms() -> u64 {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as u64
    }

    fn eu() -> SiteName {
        SiteName { site: 1, name: "eu-west".to_owned() }
    }

    fn eu_of(authority: &Pair) -> Identity {
        identity(authority, authority, 1, "eu-west")
    }

    /// What `checker` makes of what `signer` signs, `ago_ms` after it was signed.
    fn judged(checker: &Notary, signer: &Notary, by: &SiteName, at_ms: u64) -> Result<(), NotSigned> {
        let (certificate, signature) = signer.sign(STATEMENT);
        let (certificate, signature) = (&certificate, &signature);
        checker.check(&Said { by, at_ms, statement: STATEMENT, certificate, signature })
    }

    #[test]
    fn what_a_site_signed_is_believed_and_nothing_else_is() {
        let authority = cert::authority("ours").unwrap();
        let signer = Notary::new(&eu_of(&authority)).unwrap();
        let checker = Notary::new(&identity(&authority, &authority, 2, "us-east")).unwrap();
        assert_eq!(judged(&checker, &signer, &eu(), now_ms()), Ok(()));
        assert_eq!(judged(&checker, &signer, &eu(), now_ms()), Ok(()), "remembered or not");

        let (certificate, signature) = signer.sign(STATEMENT);
        let said = Said {
            by: &eu(),
            at_ms: now_ms(),
            statement: STATEMENT,
            certificate: &certificate,
            signature: &signature,
        };
        let other = Said { statement: b"the journal stands elsewhere", ..said };
        assert_eq!(checker.check(&other), Err(NotSigned::Signature));
        for at in 0..signature.len() {
            let mut bent = signature.to_vec();
            bent[at] ^= 1;
            let bent = Said { signature: &bent, ..said };
            assert_eq!(checker.check(&bent), Err(NotSigned::Signature), "byte {at}");
        }
        for cut in 0..signature.len() {
            let cut = Said { signature: &signature[..cut], ..said };
            assert_eq!(checker.check(&cut), Err(NotSigned::Signature));
        }
        for at in 0..certificate.len() {
            let mut bent = certificate.to_vec();
            bent[at] ^= 1;
            assert!(checker.check(&Said { certificate: &bent, ..said }).is_err(), "byte {at}");
        }
    }

    #[test]
    fn another_site_and_another_authority_do_not_speak_for_it() {
        let (ours, theirs) = (cert::authority("ours").unwrap(), cert::authority("theirs").unwrap());
        let checker = Notary::new(&identity(&ours, &ours, 2, "us-east")).unwrap();
        let other_site = judged(&checker, &checker, &eu(), now_ms());
        assert!(matches!(other_site, Err(NotSigned::Certificate(why)) if why.contains("us-east")));
        let foreign = Notary::new(&eu_of(&theirs)).unwrap();
        let foreign = judged(&checker, &foreign, &eu(), now_ms());
        assert!(matches!(foreign, Err(NotSigned::Certificate(why)) if why.contains("authority")));
    }

    #[test]
    fn a_renewed_certificate_and_the_one_before_both_count_for_their_time() {
        let authority = cert::authority("ours").unwrap();
        let signer = Notary::new(&eu_of(&authority)).unwrap();
        let checker = Notary::new(&identity(&authority, &authority, 2, "us-east")).unwrap();
        let (old_certificate, old_signature) = signer.sign(STATEMENT);
        signer.renew(&eu_of(&authority)).unwrap();
        let (new_certificate, new_signature) = signer.sign(STATEMENT);
        assert_ne!(old_certificate, new_certificate);
        let check = |certificate: &[u8], signature: &[u8], at_ms| {
            checker.check(&Said { by: &eu(), at_ms, statement: STATEMENT, certificate, signature })
        };
        assert_eq!(check(&old_certificate, &old_signature, now_ms()), Ok(()));
        assert_eq!(check(&new_certificate, &new_signature, now_ms()), Ok(()));
        assert_eq!(check(&new_certificate, &old_signature, now_ms()), Err(NotSigned::Signature));
    }

    #[test]
    fn a_certificate_counts_for_the_time_in_which_it_was_in_force() {
        let authority = cert::authority("ours").unwrap();
        let life = Duration::from_secs(3600);
        let short = cert::site_certificate_for(&authority, &eu(), &[], cert::lasting(life)).unwrap();
        let signer = Notary::new(&crate::tests::loaded(&short, &authority, eu())).unwrap();
        let checker = Notary::new(&identity(&authority, &authority, 2, "us-east")).unwrap();
        let day_ms = 24 * 3_600_000;
        assert_eq!(judged(&checker, &signer, &eu(), now_ms()), Ok(()));
        assert_eq!(judged(&checker, &signer, &eu(), now_ms() - day_ms / 2), Ok(()), "it is backdated");
        for at_ms in [now_ms() + 3_700_000, now_ms() - 2 * day_ms] {
            let judged = judged(&checker, &signer, &eu(), at_ms);
            assert!(matches!(judged, Err(NotSigned::Certificate(_))), "{judged:?}");
        }
    }

    #[test]
    fn two_authorities_overlap_while_certificates_change_from_one_to_the_other() {
        let (old, new) = (cert::authority("old").unwrap(), cert::authority("new").unwrap());
        let both =
            Pair { certificate_pem: [&*old.certificate_pem, &new.certificate_pem].concat(), ..old.clone() };
        let checker = Notary::new(&identity(&old, &old, 2, "us-east")).unwrap();
        let signer = Notary::new(&eu_of(&new)).unwrap();
        assert!(judged(&checker, &signer, &eu(), now_ms()).is_err());
        checker.renew(&identity(&old, &both, 2, "us-east")).unwrap();
        assert_eq!(judged(&checker, &signer, &eu(), now_ms()), Ok(()));
        let before = Notary::new(&eu_of(&old)).unwrap();
        assert_eq!(judged(&checker, &before, &eu(), now_ms()), Ok(()));
        let given_up = identity(&new, &new, 2, "us-east");
        checker.renew(&given_up).unwrap();
        assert!(judged(&checker, &before, &eu(), now_ms()).is_err(), "the old one is given up");
        let folder = tempfile::tempdir().unwrap();
        old.write(folder.path(), "old").unwrap();
        let remembered = given_up.with_former(&folder.path().join("old.pem")).unwrap();
        checker.renew(&remembered).unwrap();
        assert_eq!(
            judged(&checker, &before, &eu(), now_ms()),
            Ok(()),
            "it still proves what was signed under it"
        );
        assert_eq!(remembered.authorities().unwrap().len(), 1, "and lets nobody in");
    }
}
