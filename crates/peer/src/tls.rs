//! QUIC and TLS as sites use them: mutual, 1.3 only, nothing resumed, nothing early, every buffer bounded.
//!
//! Resumption is off because a resumed session skips the check of the client's certificate. Migration is off because sites
//! do not wander. A new address must first show that it can hear us (a retry, or a token as in [`known`]), so nobody can make
//! a site amplify.

use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, IdleTimeout, ServerConfig, TransportConfig, VarInt};
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{RootCertStore, crypto::aws_lc_rs};

use crate::congestion::WanController;
use crate::{Identity, Tuning, known};

/// The protocol name in the TLS handshake.
const ALPN: &[u8] = b"meridian/1";
/// Handshakes that may be under way at once. A site has a handful of peers.
const INCOMING_MAX: usize = 256;
const INCOMING_BYTES: u64 = 64 << 10;
const INCOMING_BYTES_TOTAL: u64 = 16 << 20;
/// Pulses waiting to be sent or read; of more than this the oldest are dropped, which is what a pulse is for.
const PULSE_BYTES: usize = 256 << 10;
/// Packets that may overtake one before it counts as lost. Long paths reorder; the price is a few packets' time.
const REORDERED_PACKETS_MAX: u32 = 16;
/// The first guess of a round trip, so that a lost first packet is repeated soon.
const RTT_FIRST: Duration = Duration::from_millis(100);

/// Both ends' configuration; `Err` says what in the identity does not fit.
pub(crate) fn configs(
    id: &Identity,
    tuning: &Tuning,
    seed: u64,
) -> Result<(ServerConfig, ClientConfig), String> {
    let transport = Arc::new(transport(tuning, seed)?);
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    for certificate in &id.trust.authority {
        roots.add(certificate.clone()).map_err(|e| format!("the authority's certificate: {e}"))?;
    }
    let roots = Arc::new(roots);
    let server = server(id, &roots, &provider, &transport).map_err(|e| e.to_string())?;
    let client = client(id, roots, provider, transport).map_err(|e| e.to_string())?;
    Ok((server, client))
}

type Failure = Box<dyn std::error::Error>;

fn server(
    id: &Identity,
    roots: &Arc<RootCertStore>,
    provider: &Arc<CryptoProvider>,
    transport: &Arc<TransportConfig>,
) -> Result<ServerConfig, Failure> {
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::clone(roots), Arc::clone(provider)).build()?;
    let mut tls = rustls::ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(id.chain.clone(), id.key.clone_key())?;
    tls.alpn_protocols = vec![ALPN.to_vec()];
    tls.send_tls13_tickets = 0;
    tls.session_storage = Arc::new(NoServerSessionStorage {});
    tls.max_early_data_size = 0;
    let mut config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    config
        .transport_config(Arc::clone(transport))
        .validation_token_config(known::tokens())
        .migration(false)
        .max_incoming(INCOMING_MAX)
        .incoming_buffer_size(INCOMING_BYTES)
        .incoming_buffer_size_total(INCOMING_BYTES_TOTAL);
    Ok(config)
}

fn client(
    id: &Identity,
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
    transport: Arc<TransportConfig>,
) -> Result<ClientConfig, Failure> {
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(roots)
        .with_client_auth_cert(id.chain.clone(), id.key.clone_key())?;
    tls.alpn_protocols = vec![ALPN.to_vec()];
    tls.resumption = Resumption::disabled();
    tls.enable_early_data = false;
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    config.transport_config(transport).token_store(Arc::new(known::Kept::default()));
    Ok(config)
}

/// The windows: each stream may fill its own, and the connection's hold all of them, so that no lane can take another's
/// place.
fn transport(tuning: &Tuning, seed: u64) -> Result<TransportConfig, String> {
    let window = u64::from(tuning.lane_window_bytes);
    let all = VarInt::from_u64(tuning.send_window()).map_err(|e| e.to_string())?;
    let idle = IdleTimeout::try_from(tuning.idle).map_err(|e| format!("idle time: {e}"))?;
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .max_concurrent_uni_streams(VarInt::from_u32(2))
        .stream_receive_window(VarInt::from_u32(tuning.lane_window_bytes))
        .receive_window(all)
        .send_window(tuning.send_window())
        .datagram_receive_buffer_size(Some(PULSE_BYTES))
        .datagram_send_buffer_size(PULSE_BYTES)
        .keep_alive_interval(Some(tuning.keep_alive))
        .max_idle_timeout(Some(idle))
        .packet_threshold(REORDERED_PACKETS_MAX)
        .initial_rtt(RTT_FIRST)
        .congestion_controller_factory(Arc::new(WanController::new(window, seed)));
    Ok(config)
}
