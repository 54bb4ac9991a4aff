//! Certificates and the authority are exchanged while records flow.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use admin::client::{Address, renew_certificates};
use client::{Client, Options};
use peer::cert::{Pair, authority, site_certificate};

use crate::cluster::{Cluster, read, topic, write};

const NAMES: [&str; 3] = ["eu-west", "us-east", "ap-southeast"];

/// Has every site read its certificates anew.
async fn renew_all(cluster: &Cluster) {
    for own in 0..NAMES.len() {
        let now = renew_certificates(&Address::Socket(cluster.data(own).join("admin.sock"))).await.unwrap();
        assert!(now.ended.is_empty(), "{:?}", now.ended);
    }
}

fn put(cluster: &Cluster, name: &str, text: &str) {
    std::fs::write(cluster.folder.path().join(name), text).unwrap();
}

fn put_certificate(cluster: &Cluster, own: usize, authority: &Pair) {
    let (name, id) = (NAMES[own], u16::try_from(own + 1).unwrap());
    let pair = site_certificate(authority, id, name, &[cluster.host(own).to_string()]).unwrap();
    put(cluster, &format!("{name}.pem"), &pair.certificate_pem);
    put(cluster, &format!("{name}.key"), &pair.key_pem);
}

/// Writes at a site until told to stop; gives what was acknowledged.
async fn keep_writing(own: usize, client: Client, stop: Arc<AtomicBool>) -> Vec<String> {
    let mut written = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let value = format!("{} {}", NAMES[own], written.len());
        write(&client, value.clone()).await;
        written.push(value);
    }
    written
}

#[tokio::test]
async fn an_authority_takes_the_place_of_another_while_records_flow_and_none_is_lost() {
    // Connections are renewed all the time, too.
    let settings = ["topics.min_insync_sites=2", "peers.connection_age_ms=2000"];
    let cluster = Cluster::found(&NAMES, &settings);
    let running = cluster.start_all().await;
    let mut clients = Vec::new();
    for own in 0..NAMES.len() {
        clients.push(cluster.client(own, Options::default()).await);
    }
    clients[0].create_topic(&topic("orders", &[])).await.unwrap();
    for client in &clients {
        assert_eq!(client.partitions("orders").await.unwrap(), 1);
    }
    let stop = Arc::new(AtomicBool::new(false));
    let writers = clients.iter().enumerate();
    let writers =
        writers.map(|(own, client)| tokio::spawn(keep_writing(own, client.clone(), Arc::clone(&stop))));
    let writers: Vec<_> = writers.collect();
    read(&clients[2], 20).await;

    let old = std::fs::read_to_string(cluster.folder.path().join("ca.pem")).unwrap();
    let new = authority("new").unwrap();
    put(&cluster, "ca.pem", &[&*old, &new.certificate_pem].concat());
    renew_all(&cluster).await;
    (0..NAMES.len()).for_each(|own| put_certificate(&cluster, own, &new));
    renew_all(&cluster).await;
    // By the time of the last step no connection shows an old certificate any more.
    let metrics = cluster.get(0, "/metrics").await.unwrap();
    assert!(metrics.contains("meridian_certificate_due_timestamp_seconds{"), "{metrics}");
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    put(&cluster, "ca.pem", &new.certificate_pem);
    put(&cluster, "former.pem", &old);
    renew_all(&cluster).await;
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;

    stop.store(true, Ordering::Relaxed);
    let mut written = Vec::new();
    for writer in writers {
        written.extend(writer.await.unwrap());
    }
    written.sort();
    let first = read(&clients[0], written.len()).await;
    let mut values: Vec<String> =
        first.iter().map(|(_, value)| String::from_utf8(value.to_vec()).unwrap()).collect();
    values.sort();
    assert_eq!(values, written, "all that was acknowledged, each once");
    for client in &clients[1..] {
        assert_eq!(read(client, written.len()).await, first);
    }
    for site in running {
        site.stop().await;
    }
}

#[tokio::test]
async fn files_that_cannot_be_used_are_refused_and_change_nothing() {
    let cluster = Cluster::found(&["eu-west"], &["tls.kafka=on"]);
    let running = cluster.start(0).await;
    let socket = Address::Socket(cluster.data(0).join("admin.sock"));
    let (ours, theirs) = (cluster.authority(), authority("another").unwrap());
    let refused = async |part: &str| {
        let said = renew_certificates(&socket).await.unwrap_err().to_string();
        assert!(said.contains(part), "{said}");
    };
    let kept = std::fs::read_to_string(cluster.folder.path().join("eu-west.key")).unwrap();
    put(&cluster, "eu-west.key", &theirs.key_pem);
    refused("eu-west.key do not go together").await;
    put(&cluster, "eu-west.key", "nothing");
    refused("eu-west.key").await;
    put(&cluster, "eu-west.key", &kept);
    put_certificate(&cluster, 0, &theirs);
    refused("other sites would refuse").await;
    let other = site_certificate(&ours, 2, "us-east", &[]).unwrap();
    put(&cluster, "eu-west.pem", &other.certificate_pem);
    refused("it names us-east").await;

    // Clients are still shown the one before, and after the next reload another.
    let asks = async |trusted: &Pair| {
        // A client of its own each time: one that has been here before resumes its session.
        let trusting = client::tls(trusted.certificate_pem.as_bytes(), None).unwrap();
        let options = Options { tls: Some(trusting), ..Options::default() };
        Client::connect(&[cluster.kafka(0).to_string()], options).await.is_ok()
    };
    assert!(asks(&ours).await && !asks(&theirs).await);
    put(&cluster, "ca.pem", &theirs.certificate_pem);
    put_certificate(&cluster, 0, &theirs);
    renew_certificates(&socket).await.unwrap();
    assert!(asks(&theirs).await && !asks(&ours).await);
    running.stop().await;
}
