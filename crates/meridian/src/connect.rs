//! How a command reaches Kafka brokers.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use client::{Client, Options};

use crate::output::Output;

// Where to, and how: a part of every command that speaks the Kafka API.
// (Not a doc comment: clap would let it replace the long help of every command that this is a part of.)
#[derive(Debug, Clone, Args)]
pub(crate) struct Connect {
    /// Kafka addresses to begin at, separated by commas; the port decides which region this client belongs to
    #[arg(
        long,
        env = "MERIDIAN_BOOTSTRAP",
        default_value = "127.0.0.1:9092",
        value_delimiter = ',',
        value_name = "HOST:PORT"
    )]
    pub(crate) bootstrap: Vec<String>,
    /// Use TLS, and trust this authority (a PEM file)
    #[arg(long, env = "MERIDIAN_CA", value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Give up after so many seconds of failing
    #[arg(long, default_value_t = 15, value_name = "SECONDS")]
    pub(crate) timeout: u64,
}

// Where to ask, and how the answer is to look.
#[derive(Debug, Clone, Args)]
pub(crate) struct Ask {
    #[command(flatten)]
    pub(crate) connect: Connect,
    #[command(flatten)]
    pub(crate) output: Output,
}

impl Connect {
    /// A connected client that looks and asks.
    pub(crate) async fn client(&self) -> anyhow::Result<Client> {
        self.reach(false).await
    }

    /// A connected client that writes: naming a topic may create it.
    pub(crate) async fn writing_client(&self) -> anyhow::Result<Client> {
        self.reach(true).await
    }

    async fn reach(&self, creates_topics: bool) -> anyhow::Result<Client> {
        let retry_for = Duration::from_secs(self.timeout);
        let mut options = Options { retry_for, creates_topics, ..Options::default() };
        if let Some(ca) = &self.ca {
            let pem = std::fs::read(ca).with_context(|| format!("cannot read {}", ca.display()))?;
            options.tls =
                Some(client::tls(&pem, None).with_context(|| format!("cannot use {}", ca.display()))?);
        }
        let reach = Client::connect(&self.bootstrap, options).await;
        reach.with_context(|| {
            format!(
                "no site answers at {}; is one running, and is --bootstrap right?",
                self.bootstrap.join(", ")
            )
        })
    }
}
