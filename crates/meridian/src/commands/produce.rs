//! `produce`: lines from standard input become records.

use std::io::{BufRead, Read as _};
use std::time::Duration;

use bytes::Bytes;
use clap::{Args, ValueEnum};
use client::{Acks, Message, Producer, ProducerOptions, Receipt};
use serde_json::json;
use tokio::sync::mpsc;

use crate::connect::Connect;
use crate::output::{self, Output};
use crate::progress::Progress;

/// Records handed in and not yet acknowledged; reading waits beyond it.
const UNACKNOWLEDGED_MAX: usize = 8_192;
/// The longest line taken.
const LINE_BYTES_MAX: u64 = 16 << 20;
/// Lines read and not yet handed in.
const LINES_WAITING: usize = 1_024;

/// Write lines from standard input to a topic, a record each.
///
/// Says at the end how many were acknowledged; with --json, a line for each. An offset is shown where the topic says it at
/// once (ack.all=released); else a record's place is settled about one round trip between sites later.
#[derive(Debug, Args)]
pub(crate) struct Produce {
    /// The topic's name
    topic: String,
    #[command(flatten)]
    connect: Connect,
    #[command(flatten)]
    output: Output,
    /// What stands between a line's key and its value; lines without it have no key
    #[arg(long, value_name = "TEXT")]
    key_separator: Option<String>,
    /// A header for every record; may be repeated
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = header)]
    headers: Vec<(String, String)>,
    /// Whose word to wait for
    #[arg(long, value_enum, default_value = "all")]
    acks: AcksArgument,
    /// Write to this partition only [default: by key, else in turn]
    #[arg(long, value_name = "N")]
    partition: Option<i32>,
}

/// `--acks`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum AcksArgument {
    /// Nobody's: fast, and nothing is known of it
    #[value(name = "0")]
    None,
    /// The nearest site's disk
    #[value(name = "1")]
    One,
    /// As many sites' disks as the topic asks for
    All,
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("a header has the form name=value")?;
    Ok((name.to_owned(), value.to_owned()))
}

impl Produce {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let client = self.connect.writing_client().await?;
        let acks = match self.acks {
            AcksArgument::None => Acks::None,
            AcksArgument::One => Acks::Leader,
            AcksArgument::All => Acks::All,
        };
        let idempotent = acks == Acks::All;
        let linger = Duration::from_millis(5);
        let producer =
            Producer::new(client, ProducerOptions { acks, idempotent, linger, ..ProducerOptions::default() });
        let (handed_in, receipts) = mpsc::channel(UNACKNOWLEDGED_MAX);
        let counting = tokio::spawn(count(receipts, self.output));
        let read = self.read(&producer, &handed_in).await;
        drop(handed_in);
        let written = counting.await??;
        read?;
        if self.output.json {
            Ok(())
        } else {
            output::line(&format!("{} written to {}", output::count(written, "record"), self.topic))
        }
    }

    async fn read(&self, producer: &Producer, handed_in: &mpsc::Sender<Receipt>) -> anyhow::Result<()> {
        let mut lines = lines();
        while let Some(line) = lines.recv().await {
            let receipt = producer.send(&self.topic, self.partition, self.message(&line?)).await?;
            if handed_in.send(receipt).await.is_err() {
                // A record was refused; the count says why.
                return Ok(());
            }
        }
        Ok(())
    }

    fn message(&self, line: &[u8]) -> Message {
        let separator = self.key_separator.as_deref().map(str::as_bytes).filter(|text| !text.is_empty());
        let split = separator.and_then(|separator| {
            let at = line.windows(separator.len()).position(|window| window == separator)?;
            Some((&line[..at], &line[at + separator.len()..]))
        });
        let (key, value) =
            split.map_or((None, line), |(key, value)| (Some(Bytes::copy_from_slice(key)), value));
        let bytes = |text: &String| Bytes::from(text.clone());
        let headers = self.headers.iter().map(|(name, value)| (bytes(name), Some(bytes(value)))).collect();
        Message { key, value: Some(Bytes::copy_from_slice(value)), headers, timestamp_ms: None }
    }
}

/// Lines of standard input, read by a thread that may wait for them.
fn lines() -> mpsc::Receiver<anyhow::Result<Vec<u8>>> {
    let (out, lines) = mpsc::channel(LINES_WAITING);
    tokio::task::spawn_blocking(move || {
        let mut input = std::io::stdin().lock();
        while let Some(line) = line(&mut input).transpose() {
            if out.blocking_send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// The next line without its end; `None` behind the last.
fn line(input: &mut impl BufRead) -> anyhow::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    if input.take(LINE_BYTES_MAX + 1).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    if line.len() as u64 > LINE_BYTES_MAX {
        anyhow::bail!(
            "a line is longer than {}; it and what follows was not written",
            output::size(LINE_BYTES_MAX)
        );
    }
    Ok(Some(line))
}

/// Waits for the receipts in the order of the records.
async fn count(mut receipts: mpsc::Receiver<Receipt>, output: Output) -> anyhow::Result<u64> {
    let mut written = 0;
    let progress = Progress::of_input("records written");
    while let Some(receipt) = receipts.recv().await {
        let delivery = receipt.delivery().await?;
        written += 1;
        progress.add(1);
        if output.json {
            let offset = (delivery.offset >= 0).then_some(delivery.offset);
            output::line(&json!({ "partition": delivery.partition, "offset": offset }).to_string())?;
        }
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::{LINE_BYTES_MAX, Produce, line};

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        produce: Produce,
    }

    #[test]
    fn a_line_splits_at_the_first_separator() {
        let arguments = ["produce", "orders", "--key-separator", "::", "--header", "a=b=c"];
        let produce = Line::try_parse_from(arguments).unwrap().produce;
        let message = produce.message(b"k::v::w");
        assert_eq!(
            (message.key.unwrap().as_ref(), message.value.unwrap().as_ref()),
            (&b"k"[..], &b"v::w"[..])
        );
        assert_eq!(message.headers[0].1.as_deref(), Some(&b"b=c"[..]));
        let message = produce.message(b"no key");
        assert_eq!((message.key, message.value.unwrap().as_ref()), (None, &b"no key"[..]));
    }

    #[test]
    fn lines_end_at_line_ends_and_at_the_end() {
        let mut input = &b"a\n\nb"[..];
        let mut read = || line(&mut input).unwrap();
        assert_eq!(
            [read(), read(), read(), read()],
            [Some(b"a".to_vec()), Some(vec![]), Some(b"b".to_vec()), None]
        );
        let long = vec![b'x'; usize::try_from(LINE_BYTES_MAX).unwrap() + 1];
        assert!(line(&mut &long[..]).unwrap_err().to_string().starts_with("a line is longer than 16.0 MiB"));
    }

    #[test]
    fn a_header_without_a_value_is_refused() {
        assert!(Line::try_parse_from(["produce", "orders", "--header", "a"]).is_err());
    }
}
