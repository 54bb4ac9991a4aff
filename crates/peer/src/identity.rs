//! Who a site is on the wire: the name in its certificate, and the files that prove it.
//!
//! A site certificate carries the DNS name `<name>.site.meridian`, which TLS itself checks when dialing, and the URI
//! `meridian://site/<id>/<name>`, which both ends compare with their configuration once the handshake is done.

use std::fmt;
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

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

/// A site's own certificate, its key, and the authority that all sites trust.
pub struct Identity {
    pub(crate) own: SiteName,
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
    pub(crate) authority: Vec<CertificateDer<'static>>,
}

impl Clone for Identity {
    fn clone(&self) -> Self {
        let Self { own, chain, key, authority } = self;
        Self { own: own.clone(), chain: chain.clone(), key: key.clone_key(), authority: authority.clone() }
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
}

impl Identity {
    /// Loads an identity from PEM files and checks that the certificate names the site it is used for.
    pub fn load(own: SiteName, chain: &Path, key: &Path, authority: &Path) -> Result<Self, IdentityError> {
        let loaded = Self {
            own,
            chain: certificates(chain, "the site certificate")?,
            key: PrivateKeyDer::from_pem_file(key).map_err(|e| unreadable("the site key", key, &e))?,
            authority: certificates(authority, "the authority's certificate")?,
        };
        let found = match SiteName::of_certificate(&loaded.chain[0]) {
            Ok(site) if site == loaded.own => return Ok(loaded),
            Ok(site) => format!("it names {site}"),
            Err(reason) => reason,
        };
        Err(IdentityError::OtherSite { path: chain.to_owned(), expected: loaded.own, found })
    }

    /// Which site this is.
    pub fn own(&self) -> &SiteName {
        &self.own
    }
}

fn certificates(path: &Path, what: &'static str) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let found = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match found {
        Ok(list) if list.is_empty() => Err(unreadable(what, path, &"no certificate in the file")),
        Ok(list) => Ok(list),
        Err(cause) => Err(unreadable(what, path, &cause)),
    }
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
