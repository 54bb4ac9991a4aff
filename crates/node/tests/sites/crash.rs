//! A site whose process is killed: what it acknowledged is there after the next start, and nothing it left is in the way.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use admin::SOCKET_NAME;
use client::Options;
use node::config::Config;

use crate::cluster::{Cluster, read, topic, write};

/// Tells this test binary, started again, to be a site with this configuration.
const CONFIG: &str = "SITE_TO_BE_KILLED";

/// No test unless asked: the site that the next one kills.
#[test]
fn site_to_be_killed() {
    let Ok(path) = std::env::var(CONFIG) else { return };
    let config = Config::load(Path::new(&path), [], []).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(Box::pin(node::serve(config, node::WallClock::Real, std::future::pending()))).unwrap();
}

/// A process that does not outlive the test.
struct Doomed(Child);

impl Drop for Doomed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn after_a_kill_the_next_start_finds_what_was_acknowledged() {
    let cluster = Cluster::found(&["eu-west"], &[]);
    let path = cluster.folder.path().join("eu-west.toml");
    std::fs::write(&path, cluster.text(0)).unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "crash::site_to_be_killed"]).env(CONFIG, &path);
    let process = Doomed(command.stdout(Stdio::null()).spawn().unwrap());
    cluster.ready(0).await;
    let client = cluster.client(0, Options::default()).await;
    client.create_topic(&topic("orders", &[])).await.unwrap();
    for number in 0..10 {
        write(&client, number.to_string()).await;
    }
    drop(process);
    assert!(cluster.data(0).join(SOCKET_NAME).exists(), "a killed process cannot tidy up");

    let running = cluster.start(0).await;
    let client = cluster.client(0, Options::default()).await;
    let values = read(&client, 10).await.into_iter().map(|(_, value)| value);
    assert!(values.eq((0..10).map(|number| number.to_string())));
    admin::client::status(&admin::client::Address::Socket(cluster.data(0).join(SOCKET_NAME))).await.unwrap();
    running.stop().await;
}
