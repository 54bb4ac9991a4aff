//! TLS, where it is configured, and plaintext that comes to a TLS port.

use std::sync::Arc;

use kafka::{Door, Front, Limits};
use kafka_protocol::messages::ApiVersionsRequest;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::client::Client;
use crate::memory::Memory;

#[tokio::test]
async fn a_tls_port_speaks_tls_only() {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
    let server = ServerConfig::builder().with_no_client_auth();
    let server = server.with_single_cert(vec![cert.der().clone()], key).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let memory = Memory::new(&[("eu-west", address.port())]);
    let (_stop, stopping) = watch::channel(false);
    let tls = Some(TlsAcceptor::from(Arc::new(server)));
    let door = Door { listener, home: "eu-west".into(), tls };
    tokio::spawn(Front::new(memory, Limits::default()).serve(door, stopping));

    let mut plain = Client::over(TcpStream::connect(address).await.unwrap());
    plain.send(0, &ApiVersionsRequest::default()).await;
    assert!(plain.is_closed().await);

    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = Client::over(connector.connect(name, stream).await.unwrap());
    assert_eq!(client.ask(3, &ApiVersionsRequest::default()).await.error_code, 0);
}
