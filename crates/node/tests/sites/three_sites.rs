//! Three sites, written to at each: one log, the same everywhere, while one of them goes and comes back.

use std::collections::BTreeSet;

use batch::{Builder, NewRecord};
use client::{Acks, Client, FoundOffset, Isolation, Options, Position};

use crate::cluster::{Cluster, read, topic, write};

const NAMES: [&str; 3] = ["eu-west", "us-east", "ap-southeast"];
/// Records that each site writes in a round.
const ROUND: usize = 5;

/// A round of writing at these sites at the same time.
async fn write_at(clients: &[(usize, Client)], round: &str) {
    let write_all = |own: usize, client: Client, round: String| async move {
        for number in 0..ROUND {
            write(&client, format!("{} {round} {number}", NAMES[own])).await;
        }
    };
    let writes =
        clients.iter().map(|(own, client)| tokio::spawn(write_all(*own, client.clone(), round.to_owned())));
    for written in writes.collect::<Vec<_>>() {
        written.await.unwrap();
    }
}

/// Reads so many records at each of these sites: the same at the same offsets, none missing, none twice.
async fn all_read(clients: &[(usize, Client)], count: usize) -> Vec<String> {
    let first = read(&clients[0].1, count).await;
    for (own, client) in &clients[1..] {
        assert_eq!(read(client, count).await, first, "{}", NAMES[*own]);
    }
    let offsets: Vec<i64> = first.iter().map(|(offset, _)| *offset).collect();
    assert_eq!(offsets, (0..i64::try_from(count).unwrap()).collect::<Vec<_>>());
    let values: Vec<String> =
        first.iter().map(|(_, value)| String::from_utf8(value.to_vec()).unwrap()).collect();
    assert_eq!(values.iter().collect::<BTreeSet<_>>().len(), count, "{values:?}");
    values
}

/// What one site wrote in one round, in the order of the log.
fn of(values: &[String], own: usize, round: &str) -> Vec<String> {
    let beginning = format!("{} {round} ", NAMES[own]);
    values.iter().filter_map(|value| value.strip_prefix(&beginning)).map(str::to_owned).collect()
}

/// The value of a figure.
fn figure(metrics: &str, name: &str) -> f64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| {
        panic!("{name} is not in\n{metrics}");
    });
    line.trim().parse().unwrap()
}

#[tokio::test]
async fn three_sites_write_one_log_and_one_of_them_may_go_and_come_back() {
    let cluster = Cluster::found(&NAMES, &["topics.auto_create=false", "topics.min_insync_sites=2"]);
    let mut running = cluster.start_all().await;
    let mut clients = Vec::new();
    for own in 0..NAMES.len() {
        clients.push((own, cluster.client(own, Options::default()).await));
    }
    clients[0].1.create_topic(&topic("orders", &[])).await.unwrap();
    for (_, client) in &clients {
        assert_eq!(client.partitions("orders").await.unwrap(), 1);
    }
    write_at(&clients, "first").await;
    let values = all_read(&clients, 3 * ROUND).await;
    let in_order: Vec<String> = (0..ROUND).map(|number| number.to_string()).collect();
    (0..NAMES.len()).for_each(|own| assert_eq!(of(&values, own, "first"), in_order));

    running.remove(1).stop().await;
    let (_, away) = clients.remove(1);
    drop(away);
    write_at(&clients, "second").await;
    all_read(&clients, 5 * ROUND).await;

    running.insert(1, cluster.start(1).await);
    clients.insert(1, (1, cluster.client(1, Options::default()).await));
    all_read(&clients, 5 * ROUND).await;
    write_at(&clients, "third").await;
    let values = all_read(&clients, 8 * ROUND).await;
    (0..NAMES.len()).for_each(|own| assert_eq!(of(&values, own, "third"), in_order));

    let metrics = cluster.get(0, "/metrics").await.unwrap();
    for name in [
        "meridian_kafka_connections{site=\"eu-west\"}",
        "meridian_kafka_requests_total{site=\"eu-west\",api=\"Produce\"}",
        "meridian_kafka_traffic_bytes_total{site=\"eu-west\",direction=\"Out\"}",
        "meridian_wal_written_bytes_total{site=\"eu-west\"}",
    ] {
        assert!(figure(&metrics, name) >= 1.0, "{name} in\n{metrics}");
    }
    for site in running {
        site.stop().await;
    }
}

#[tokio::test]
async fn new_topics_are_what_the_operator_says_unless_their_creator_says_otherwise() {
    let cluster = Cluster::found(&NAMES, &["topics.min_insync_sites=2", "topics.ack_all=released"]);
    let running = cluster.start_all().await;
    let client = cluster.client(0, Options::default()).await;
    client.create_topic(&topic("orders", &[])).await.unwrap();
    client.create_topic(&topic("quick", &[("min.insync.sites", "1")])).await.unwrap();
    for (name, sites) in [("orders", "2"), ("quick", "1")] {
        let settings = client.describe_configs(name).await.unwrap();
        let value = |key: &str| settings.iter().find(|it| it.name == key).unwrap().value.clone().unwrap();
        assert_eq!((value("min.insync.sites").as_str(), value("ack.all").as_str()), (sites, "released"));
    }
    for site in running {
        site.stop().await;
    }
}

#[tokio::test]
async fn a_time_leads_to_the_first_record_that_is_late_enough() {
    let cluster = Cluster::found(&NAMES[..1], &[]);
    let running = cluster.start(0).await;
    let client = cluster.client(0, Options::default()).await;
    client.create_topic(&topic("orders", &[])).await.unwrap();
    for times in [[10, 20, 30], [40, 60, 50]] {
        let mut batch = Builder::new();
        times.iter().for_each(|time| batch.push(&NewRecord::value(*time, "value")));
        client.produce("orders", 0, batch.build(), Acks::All).await.unwrap();
    }
    read(&client, 6).await;
    for (time, offset, timestamp_ms) in [(5, 0, 10), (20, 1, 20), (21, 2, 30), (45, 4, 60), (61, -1, -1)] {
        let found = client.list_offset("orders", 0, Position::Time(time), Isolation::ReadUncommitted).await;
        assert_eq!(found.unwrap(), FoundOffset { offset, timestamp_ms }, "from {time} on");
    }
    running.stop().await;
}
