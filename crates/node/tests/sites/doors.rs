//! Kafka doors with TLS.

use client::{Client, Options, tls};

use crate::cluster::{Cluster, read, topic, write};

#[tokio::test]
async fn with_tls_on_clients_that_know_the_authority_are_served_and_plaintext_is_not() {
    let cluster = Cluster::found(&["eu-west"], &["tls.kafka=on"]);
    let running = cluster.start(0).await;
    let authority = std::fs::read(cluster.folder.path().join("ca.pem")).unwrap();
    let options = Options { tls: Some(tls(&authority, None).unwrap()), ..Options::default() };
    let client = cluster.client(0, options).await;
    client.create_topic(&topic("orders", &[])).await.unwrap();
    write(&client, "in private".to_owned()).await;
    assert_eq!(read(&client, 1).await, [(0, "in private".into())]);

    let plain = Client::connect(&[cluster.kafka(0).to_string()], Options::default()).await;
    assert!(plain.is_err(), "plaintext was answered at a door with TLS");
    let stranger = peer::cert::authority("another").unwrap();
    let unknown = tls(stranger.certificate_pem.as_bytes(), None).unwrap();
    let options = Options { tls: Some(unknown), ..Options::default() };
    let doubtful = Client::connect(&[cluster.kafka(0).to_string()], options).await;
    assert!(doubtful.is_err(), "a certificate of another authority was believed");
    running.stop().await;
}
