//! Who a site is on the wire: the name in its certificate, and the files that prove it.
//!
//! A site certificate carries the DNS name `<name>.site.meridian`, which TLS itself checks when dialing, and the URI
//! `meridian://site/<id>/<name>`, which both ends compare with their configuration once the handshake is done.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::trust::{Trust, stands_behind};
use crate::{Certificate, Fingerprint};

/// A site's id and name: what a certificate speaks for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SiteName {
    /// The site's number.
    pub site: u16,
    /// The site's name.
    pub name: String,
}

impl SiteName {
    /// The name that TLS checks.
    pub fn dns(&self) -> String {
        format!("{}.site.meridian", self.name)
    }

    /// The name that carries both id and name.
    pub fn uri(&self) -> String {
        format!("meridian://site/{}/{}", self.site, self.name)
    }

    /// Reads [`SiteName::uri`] back.
    pub fn from_uri(uri: &str) -> Option<Self> {
        let (site, name) = uri.strip_prefix("meridian://site/")?.split_once('/')?;
        let parsed = Self { site: site.parse().ok()?, name: name.to_owned() };
        (is_site_name(name) && parsed.uri() == uri).then_some(parsed)
    }

    /// The one site that a certificate names; `Err` says why there is none.
    pub(crate) fn of_certificate(certificate: &CertificateDer<'_>) -> Result<Self, String> {
        let (_, parsed) = X509Certificate::from_der(certificate.as_ref()).map_err(|e| e.to_string())?;
        let names = parsed.subject_alternative_name().map_err(|e| e.to_string())?;
        let mut sites =
            names.iter().flat_map(|names| &names.value.general_names).filter_map(|name| match name {
                GeneralName::URI(uri) => Self::from_uri(uri),
                _ => None,
            });
        match (sites.next(), sites.next()) {
            (Some(site), None) => Ok(site),
            (Some(_), Some(_)) => Err("the certificate names several sites".to_owned()),
            _ => Err("the certificate names no site (no meridian://site/… among its names)".to_owned()),
        }
    }
}

impl fmt::Display for SiteName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (id {})", self.name, self.site)
    }
}

/// Whether a site may be called so: a DNS label in lower case, because that is where the name ends up.
pub(crate) fn is_site_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=63).contains(&name.len())
        && name.bytes().all(plain)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

/// A site's own certificate, its key, and whom it trusts.
pub struct Identity {
    pub(crate) own: SiteName,
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
    pub(crate) trust: Trust,
    /// Authorities that links trust no more, and whose sites' signatures still count.
    pub(crate) former: Vec<CertificateDer<'static>>,
}

impl Clone for Identity {
    fn clone(&self) -> Self {
        Self {
            own: self.own.clone(),
            chain: self.chain.clone(),
            key: self.key.clone_key(),
            trust: self.trust.clone(),
            former: self.former.clone(),
        }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("own", &self.own).finish_non_exhaustive()
    }
}

/// Why an identity cannot be used. All of these want the operator; none passes by waiting.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// A file cannot be read or holds no PEM of the expected kind.
    #[error("cannot read {what} from {path}: {cause}")]
    Unreadable {
        /// Which part.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// What reading it said.
        cause: String,
    },
    /// The certificate is for another site, or for none.
    #[error("{path} is not the certificate of site {expected}: {found}; make one with `meridian cert`")]
    OtherSite {
        /// Which file.
        path: PathBuf,
        /// The configured site.
        expected: SiteName,
        /// What the certificate says.
        found: String,
    },
    /// Other sites would refuse it.
    #[error(
        "the other sites would refuse {shown}: {cause}; is it in force, and signed by the authority in the file?"
    )]
    NotAccepted {
        /// The certificate.
        shown: String,
        /// What is wrong with it.
        cause: String,
    },
}

impl Identity {
    /// Loads an identity from PEM files and checks that the certificate names the site it is used for.
    pub fn load(own: SiteName, chain: &Path, key: &Path, authority: &Path) -> Result<Self, IdentityError> {
        let loaded = Self {
            own,
            chain: certificates(chain, "the site certificate")?,
            key: PrivateKeyDer::from_pem_file(key).map_err(|e| unreadable("the site key", key, &e))?,
            trust: Trust {
                authority: certificates(authority, "the authority's certificate")?,
                denied: BTreeSet::new(),
            },
            former: Vec::new(),
        };
        let found = match SiteName::of_certificate(&loaded.chain[0]) {
            Ok(site) if site == loaded.own => return Ok(loaded),
            Ok(site) => format!("it names {site}"),
            Err(reason) => reason,
        };
        Err(IdentityError::OtherSite { path: chain.to_owned(), expected: loaded.own, found })
    }

    /// Believes what sites signed under the authorities in this file, too, and lets nobody in for it. The file may be empty.
    pub fn with_former(mut self, path: &Path) -> Result<Self, IdentityError> {
        let what = "the former authorities' certificates";
        self.former = all_certificates(path).map_err(|e| unreadable(what, path, &e))?;
        Ok(self)
    }

    /// Lets nobody in with a key whose fingerprint is in this file: one a line, behind `#` what one likes.
    pub fn with_denied(mut self, path: &Path) -> Result<Self, IdentityError> {
        let what = "the denied keys";
        let text = std::fs::read_to_string(path).map_err(|e| unreadable(what, path, &e))?;
        for (line, number) in text.lines().zip(1..) {
            let words = line.split('#').next().unwrap_or_default().trim();
            if !words.is_empty() {
                let key: Fingerprint =
                    words.parse().map_err(|e| unreadable(what, path, &format!("line {number}: {e}")))?;
                self.trust.denied.insert(key);
            }
        }
        Ok(self)
    }

    /// Whether other sites that trust the same authority can accept it now.
    pub fn check(&self) -> Result<(), IdentityError> {
        let now = UnixTime::now();
        let judged = stands_behind(&self.trust.authority, &self.chain, now);
        judged.map_err(|cause| {
            let shown = Certificate::of(&self.chain[0]).map(|it| it.to_string()).unwrap_or_default();
            IdentityError::NotAccepted { shown, cause }
        })
    }

    /// This site's certificate.
    pub fn certificate(&self) -> Result<Certificate, String> {
        Certificate::of(&self.chain[0])
    }

    /// The authorities' certificates.
    pub fn authorities(&self) -> Result<Vec<Certificate>, String> {
        self.trust.authority.iter().map(Certificate::of).collect()
    }

    /// How many keys are denied.
    pub fn denied(&self) -> usize {
        self.trust.denied.len()
    }

    /// Which site this is.
    pub fn own(&self) -> &SiteName {
        &self.own
    }
}

pub(crate) fn certificates(
    path: &Path,
    what: &'static str,
) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    match all_certificates(path) {
        Ok(list) if list.is_empty() => Err(unreadable(what, path, &"no certificate in the file")),
        Ok(list) => Ok(list),
        Err(cause) => Err(unreadable(what, path, &cause)),
    }
}

fn all_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, pem::Error> {
    CertificateDer::pem_file_iter(path).and_then(Iterator::collect)
}

fn unreadable(what: &'static str, path: &Path, cause: &dyn fmt::Display) -> IdentityError {
    IdentityError::Unreadable { what, path: path.to_owned(), cause: cause.to_string() }
}

#[cfg(test)]
mod tests {
    use super::SiteName;

    #[test]
    fn the_uri_is_read_back_and_nothing_else_is() {
        let site = SiteName { site: 7, name: "eu-west".to_owned() };
        assert_eq!(SiteName::from_uri(&site.uri()), Some(site));
        for bad in [
            "meridian://site/7",
            "meridian://site/x/eu",
            "meridian://site/07/eu",
            "meridian://site/7/EU",
            "meridian://site/70000/eu",
            "https://site/7/eu",
            "meridian://site/7/eu/x",
        ] {
            assert_eq!(SiteName::from_uri(bad), None, "{bad}");
        }
    }
}
