//! The doors for Kafka clients: one listener per home, and what they show to prove which site this is.
//!
//! All doors share the site's certificate and key, the ones that the other sites know it by, so there is one thing to
//! renew. Clients are not asked for a certificate: who may come in is settled by who can reach the port.

use std::fmt::Display;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::run::ServeError;

/// Where clients come in.
#[derive(Debug, Clone)]
pub struct Doors {
    /// One address per home, by the home's name.
    pub addresses: Vec<(String, SocketAddr)>,
    /// TLS, or plaintext, which the configuration allows on loopback addresses only.
    pub tls: Option<DoorTls>,
}

/// TLS with a certificate that can be exchanged.
#[derive(Debug, Clone)]
pub struct DoorTls {
    config: Arc<ServerConfig>,
    pub(crate) shown: Arc<Shown>,
}

/// The certificate that clients are shown, and its key.
#[derive(Debug)]
pub struct Shown(ArcSwap<CertifiedKey>);

impl Shown {
    /// Shows another from here on; who is connected stays so.
    pub(crate) fn show(&self, key: CertifiedKey) {
        self.0.store(Arc::new(key));
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

/// Why clients cannot be served with TLS. All of these want the operator.
#[derive(Debug, Error)]
pub enum DoorError {
    /// A file cannot be read or holds no PEM of the expected kind.
    #[error("cannot serve Kafka clients with TLS: reading {what} from {path}: {cause}")]
    Unreadable {
        /// Which part.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// What reading it said.
        cause: String,
    },
    /// They were read and are of no use.
    #[error(
        "cannot serve Kafka clients with TLS: {certificate} and {key} do not go together: {cause}; \
         make both anew with `meridian cert`"
    )]
    Unusable {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What the TLS library said.
        cause: rustls::Error,
    },
}

/// TLS with this certificate (and what it is signed with, if the file holds that too) and its key, both PEM.
///
/// # Errors
/// [`DoorError`], which names the file.
pub(crate) fn tls(certificate: &Path, key: &Path) -> Result<DoorTls, DoorError> {
    let shown = Arc::new(Shown(ArcSwap::from_pointee(certified_key(certificate, key)?)));
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|cause| unusable(certificate, key, cause))?
        .with_no_client_auth()
        .with_cert_resolver(Arc::<Shown>::clone(&shown));
    Ok(DoorTls { config: Arc::new(config), shown })
}

/// A certificate and its key, which must go together.
///
/// # Errors
/// [`DoorError`], which names the file.
pub(crate) fn certified_key(certificate: &Path, key: &Path) -> Result<CertifiedKey, DoorError> {
    let chain = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = chain.map_err(|cause| unreadable("the certificate", certificate, &cause))?;
    if chain.is_empty() {
        return Err(unreadable("the certificate", certificate, &"no certificate in the file"));
    }
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|cause| unreadable("the key", key, &cause))?;
    CertifiedKey::from_der(chain, secret, &aws_lc_rs::default_provider())
        .map_err(|cause| unusable(certificate, key, cause))
}

fn unusable(certificate: &Path, key: &Path, cause: rustls::Error) -> DoorError {
    DoorError::Unusable { certificate: certificate.to_owned(), key: key.to_owned(), cause }
}

fn unreadable(what: &'static str, path: &Path, cause: &dyn Display) -> DoorError {
    DoorError::Unreadable { what, path: path.to_owned(), cause: cause.to_string() }
}

/// Takes all the ports.
pub(crate) async fn open(doors: &Doors) -> Result<Vec<kafka::Door>, ServeError> {
    let mut open = Vec::with_capacity(doors.addresses.len());
    for (home, address) in &doors.addresses {
        let bound = TcpListener::bind(address).await;
        let listener = bound.map_err(|cause| ServeError::Listen { address: *address, cause })?;
        let tls = doors.tls.as_ref().map(|tls| TlsAcceptor::from(Arc::clone(&tls.config)));
        open.push(kafka::Door { listener, home: home.clone(), tls });
    }
    Ok(open)
}

#[cfg(test)]
mod tests {
    use peer::cert::{Pair, authority, site_certificate};

    use super::{DoorError, tls};

    fn pair() -> Pair {
        site_certificate(&authority("test").unwrap(), 1, "eu-west", &[]).unwrap()
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_the_file_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        pair().write(folder.path(), "one").unwrap();
        pair().write(folder.path(), "other").unwrap();
        assert!(tls(&file("one.pem"), &file("one.key")).is_ok());

        let said = |certificate: &str, key: &str| tls(&file(certificate), &file(key)).unwrap_err();
        let (certificate, key) = (file("one.pem"), file("other.key"));
        let mixed = said("one.pem", "other.key");
        assert!(matches!(&mixed, DoorError::Unusable { .. }), "{mixed}");
        let words = mixed.to_string();
        assert!(words.contains(&*certificate.to_string_lossy()), "{words}");
        assert!(words.contains(&*key.to_string_lossy()), "{words}");
        for (certificate, key, named) in [
            ("none.pem", "one.key", "the certificate from"),
            ("one.key", "one.key", "the certificate from"),
            ("one.pem", "none.key", "the key from"),
            ("one.pem", "one.pem", "the key from"),
        ] {
            let words = said(certificate, key).to_string();
            let file = file(if named == "the key from" { key } else { certificate });
            assert!(words.contains(&format!("{named} {}: ", file.display())), "{words}");
        }
    }
}
