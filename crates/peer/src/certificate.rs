//! What a certificate says of itself: for whom it is, from when to when, and with which key.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{ASN1Time, FromDer, X509Certificate};

use crate::identity::{IdentityError, certificates};

/// The SHA-256 of a public key, in the form in which a certificate carries it (SubjectPublicKeyInfo).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    pub(crate) fn of(certificate: &CertificateDer<'_>) -> Result<Self, String> {
        let (_, parsed) = X509Certificate::from_der(certificate.as_ref()).map_err(|e| e.to_string())?;
        Ok(Self::of_key(parsed.tbs_certificate.subject_pki.raw))
    }

    fn of_key(key: &[u8]) -> Self {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key);
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest.as_ref());
        Self(bytes)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What is not a fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a fingerprint is sha256: and 64 hexadecimal digits, as `meridian cert show` prints it")]
pub struct NoFingerprint;

impl FromStr for Fingerprint {
    type Err = NoFingerprint;

    fn from_str(text: &str) -> Result<Self, NoFingerprint> {
        let digits = text.strip_prefix("sha256:").ok_or(NoFingerprint)?.as_bytes();
        let mut bytes = [0; 32];
        if digits.len() != 2 * bytes.len() {
            return Err(NoFingerprint);
        }
        let digit = |byte: u8| char::from(byte).to_digit(16).ok_or(NoFingerprint);
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = (digit(pair[0])? << 4 | digit(pair[1])?) as u8;
        }
        Ok(Self(bytes))
    }
}

/// A certificate, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// For whom it is.
    pub name: String,
    /// With which key.
    pub key: Fingerprint,
    from: ASN1Time,
    until: ASN1Time,
}

impl Certificate {
    /// All that a PEM file holds; at least one.
    ///
    /// # Errors
    /// [`IdentityError::Unreadable`].
    pub fn read_all(path: &Path) -> Result<Vec<Self>, IdentityError> {
        let what = "a certificate";
        let unusable = |cause| IdentityError::Unreadable { what, path: path.to_owned(), cause };
        let found = certificates(path, what)?;
        found.iter().map(Self::of).collect::<Result<_, _>>().map_err(unusable)
    }

    pub(crate) fn of(certificate: &CertificateDer<'_>) -> Result<Self, String> {
        let (_, parsed) = X509Certificate::from_der(certificate.as_ref()).map_err(|e| e.to_string())?;
        Ok(Self {
            name: parsed.subject().to_string(),
            key: Fingerprint::of_key(parsed.tbs_certificate.subject_pki.raw),
            from: parsed.validity().not_before,
            until: parsed.validity().not_after,
        })
    }

    /// From when on it counts.
    #[must_use]
    pub fn from(&self) -> SystemTime {
        system_time(self.from)
    }

    /// Until when it counts.
    #[must_use]
    pub fn until(&self) -> SystemTime {
        system_time(self.until)
    }

    /// When two thirds of its life are over: the time to put another in its place.
    #[must_use]
    pub fn due(&self) -> SystemTime {
        let life = self.until().duration_since(self.from()).unwrap_or_default();
        self.from() + life / 3 * 2
    }
}

impl fmt::Display for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, in force from {} until {}", self.name, self.from, self.until)
    }
}

/// Times before 1970 are taken for 1970.
fn system_time(time: ASN1Time) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(time.timestamp()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Certificate, Fingerprint, NoFingerprint};
    use crate::cert;

    #[test]
    fn a_fingerprint_is_read_back_and_nothing_else_is() {
        let print = Fingerprint([0xA5; 32]);
        assert_eq!(print.to_string().parse(), Ok(print));
        let text = print.to_string();
        for bad in ["", "sha256:", &text[7..], &text[..70], &format!("{text}0"), &text.replace("a5", "é")] {
            assert_eq!(bad.parse::<Fingerprint>(), Err(NoFingerprint), "{bad}");
        }
    }

    #[test]
    fn a_certificate_tells_its_key_and_its_times() {
        let authority = cert::authority("ours").unwrap();
        let folder = tempfile::tempdir().unwrap();
        cert::site_certificate(&authority, 1, "eu", &[]).unwrap().write(folder.path(), "one").unwrap();
        cert::site_certificate(&authority, 1, "eu", &[]).unwrap().write(folder.path(), "two").unwrap();
        let read = |name: &str| Certificate::read_all(&folder.path().join(name)).unwrap().remove(0);
        let (one, two) = (read("one.pem"), read("two.pem"));
        assert!(one.name.contains("eu") && one.key != two.key);
        let life = one.until().duration_since(one.from()).unwrap();
        let due = one.due().duration_since(one.from()).unwrap();
        assert!(due.abs_diff(life * 2 / 3) < Duration::from_secs(1));
        assert!(Certificate::read_all(&folder.path().join("one.key")).is_err());
    }
}
