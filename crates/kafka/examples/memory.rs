//! A Kafka server of one process that forgets everything: for trying client libraries against the front.
//!
//! `cargo run -p kafka --example memory -- 9092 9093` listens for the homes `eu-west` and `us-east`.

#[path = "../tests/memory/mod.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod memory;

use std::sync::Arc;

use kafka::{Door, Front, Limits};
use tokio::net::TcpListener;
use tokio::sync::watch;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).init();
    let ports: Vec<u16> = std::env::args().skip(1).filter_map(|word| word.parse().ok()).collect();
    let ports = if ports.is_empty() { vec![9092, 9093] } else { ports };
    let homes: Vec<(&str, u16)> = ["eu-west", "us-east"].into_iter().zip(ports).collect();
    let front = Front::new(memory::Memory::new(&homes), Limits::default());
    let (stop, stopping) = watch::channel(false);
    let mut doors = tokio::task::JoinSet::new();
    for (home, port) in homes {
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        println!("{home}: 127.0.0.1:{port}");
        let door = Door { listener, home: home.into(), tls: None };
        doors.spawn(Arc::clone(&front).serve(door, stopping.clone()));
    }
    tokio::signal::ctrl_c().await?;
    stop.send_replace(true);
    doors.join_all().await;
    Ok(())
}
