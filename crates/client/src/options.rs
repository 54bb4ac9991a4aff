//! What a client is told once: its name, its patience, its limits, and how to encrypt.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

/// Options of one client.
#[derive(Debug, Clone)]
pub struct Options {
    /// What brokers log us as.
    pub client_id: String,
    /// TLS to every broker, if set. See [`tls`].
    pub tls: Option<Arc<ClientConfig>>,
    /// Longest wait for a connection, handshake included.
    pub connect_timeout: Duration,
    /// Longest wait for an answer, beyond what the call itself waits at the broker.
    pub request_timeout: Duration,
    /// How long retriable errors are retried in all.
    pub retry_for: Duration,
    /// Pause between tries.
    pub retry_pause: Duration,
    /// Whether looking up an unknown topic may create it, where the brokers do that.
    pub creates_topics: bool,
    /// Requests without an answer on one connection. The next one waits.
    pub in_flight_max: usize,
    /// Longest answer taken; a longer one ends the connection before anything is allocated for it.
    pub frame_bytes_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            client_id: "meridian".to_owned(),
            tls: None,
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(30),
            retry_for: Duration::from_secs(60),
            retry_pause: Duration::from_millis(200),
            creates_topics: false,
            in_flight_max: 256,
            frame_bytes_max: 128 << 20,
        }
    }
}

/// Why a TLS configuration cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A PEM text holds no readable certificate or key.
    #[error("cannot read the {what}: {reason}")]
    Unreadable {
        /// Which of the texts.
        what: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The pieces do not fit together.
    #[error("unusable TLS material: {0}")]
    Unusable(#[from] rustls::Error),
}

/// A TLS configuration that trusts this CA, and shows this certificate and key if brokers ask for one (all PEM texts).
pub fn tls(ca: &[u8], identity: Option<(&[u8], &[u8])>) -> Result<Arc<ClientConfig>, TlsError> {
    let unreadable = |what| move |reason: String| TlsError::Unreadable { what, reason };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca) {
        roots.add(certificate.map_err(|e| unreadable("CA certificate")(format!("{e:?}")))?)?;
    }
    if roots.is_empty() {
        return Err(unreadable("CA certificate")("no certificate in it".to_owned()));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let builder = builder.with_root_certificates(roots);
    let Some((chain, key)) = identity else { return Ok(Arc::new(builder.with_no_client_auth())) };
    let chain = CertificateDer::pem_slice_iter(chain).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|e| unreadable("client certificate")(format!("{e:?}")))?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|e| unreadable("client key")(format!("{e:?}")))?;
    Ok(Arc::new(builder.with_client_auth_cert(chain, key)?))
}
