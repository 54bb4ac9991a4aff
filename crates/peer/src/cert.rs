//! A development authority and site certificates, so that mutual TLS costs one command and nobody turns it off.
//!
//! Keys are ECDSA P-256: every client library of the Kafka side reads them. A site certificate serves between sites (client and
//! server) and on the Kafka port, so it also carries the host names that clients use.
//! Refuses names that are not a DNS label and never overwrites a key that is already there.

use std::fs::OpenOptions;
use std::io::Write;
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
};
use rcgen::{KeyPair, KeyUsagePurpose, SanType};

use crate::SiteName;
use crate::identity::is_site_name;

/// How long an authority lasts.
const AUTHORITY_LIFE: Duration = Duration::from_hours(10 * 365 * 24);
/// How long a development site certificate lasts.
const SITE_LIFE: Duration = Duration::from_hours(825 * 24);
/// Certificates count from a day ago, so that a clock somewhat behind accepts them.
const BACKDATE: Duration = Duration::from_hours(24);

/// Why a certificate could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertError {
    /// The name cannot be used.
    #[error("{0:?} cannot name a site: use lower-case letters, digits and hyphens, at most 63")]
    Name(String),
    /// The authority's files do not parse, or signing failed.
    #[error("cannot make the certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// A file could not be written or read.
    #[error("{path}: {cause}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
}

/// A certificate and its private key, as PEM text.
#[derive(Clone)]
pub struct Pair {
    /// The certificate.
    pub certificate_pem: String,
    /// The private key.
    pub key_pem: String,
}

impl std::fmt::Debug for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pair").finish_non_exhaustive()
    }
}

impl Pair {
    /// Writes `<stem>.pem` and `<stem>.key` (mode 0600) into `folder`. Existing files stay and are an error.
    pub fn write(&self, folder: &Path, stem: &str) -> Result<(), CertError> {
        write_new(&folder.join(format!("{stem}.key")), &self.key_pem, 0o600)?;
        write_new(&folder.join(format!("{stem}.pem")), &self.certificate_pem, 0o644)
    }

    /// Reads what [`Pair::write`] wrote.
    pub fn read(folder: &Path, stem: &str) -> Result<Self, CertError> {
        let read = |ending: &str| {
            let path = folder.join(format!("{stem}.{ending}"));
            std::fs::read_to_string(&path).map_err(|cause| CertError::File { path, cause })
        };
        Ok(Self { certificate_pem: read("pem")?, key_pem: read("key")? })
    }
}

/// Makes a new authority, to which sites can belong.
pub fn authority(name: &str) -> Result<Pair, CertError> {
    let mut params = params(name, lasting(AUTHORITY_LIFE))?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    Ok(Pair { certificate_pem: certificate.pem(), key_pem: key.serialize_pem() })
}

/// Makes the certificate of one site. `hosts` are names or addresses under which Kafka clients reach it.
pub fn site_certificate(
    authority: &Pair,
    site: u16,
    name: &str,
    hosts: &[String],
) -> Result<Pair, CertError> {
    site_certificate_for(authority, &SiteName { site, name: name.to_owned() }, hosts, lasting(SITE_LIFE))
}

/// The same, for that time.
pub(crate) fn site_certificate_for(
    authority: &Pair,
    own: &SiteName,
    hosts: &[String],
    in_force: Range<SystemTime>,
) -> Result<Pair, CertError> {
    let name = &*own.name;
    if !is_site_name(name) {
        return Err(CertError::Name(name.to_owned()));
    }
    let mut params = params(name, in_force)?;
    params.subject_alt_names =
        CertificateParams::new([vec![own.dns()], hosts.to_vec()].concat())?.subject_alt_names;
    params.subject_alt_names.push(SanType::URI(Ia5String::try_from(own.uri())?));
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    let issuer =
        Issuer::from_ca_cert_pem(&authority.certificate_pem, KeyPair::from_pem(&authority.key_pem)?)?;
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, &issuer)?;
    Ok(Pair { certificate_pem: certificate.pem(), key_pem: key.serialize_pem() })
}

/// The hosts a development site answers to: the loopback names and the loopback addresses 127.0.0.1 to 127.0.0.9.
pub fn loopback_hosts() -> Vec<String> {
    let addresses = (1..=9).map(|last| format!("127.0.0.{last}"));
    ["localhost".to_owned(), "::1".to_owned()].into_iter().chain(addresses).collect()
}

/// From a little ago, for so long from now on.
pub(crate) fn lasting(life: Duration) -> Range<SystemTime> {
    let now = SystemTime::now();
    now - BACKDATE..now + life
}

fn params(name: &str, in_force: Range<SystemTime>) -> Result<CertificateParams, CertError> {
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    let mut subject = DistinguishedName::new();
    subject.push(DnType::OrganizationName, "Meridian");
    subject.push(DnType::CommonName, name);
    params.distinguished_name = subject;
    params.not_before = in_force.start.into();
    params.not_after = in_force.end.into();
    Ok(params)
}

fn write_new(path: &Path, text: &str, mode: u32) -> Result<(), CertError> {
    let written = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    written
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|cause| CertError::File { path: path.to_owned(), cause })
}
