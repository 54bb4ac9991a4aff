//! `dump`: what lies in a site's files.
//!
//! A file is read into memory and looked at there, so a dump changes nothing and needs no lock; of a running site it shows
//! the file as it was at that moment.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use bytes::Bytes;
use clap::{Args, Subcommand};
use disk::{Disk as _, FileName, MemoryDisk};
use entry::Encoded;
use journal::{Record, Seen};
use serde_json::{Value, json};

use crate::output::{self, Output, hex};

/// What kind of file.
#[derive(Debug, Subcommand)]
pub(crate) enum Dump {
    /// A segment of the write-ahead log (wal/*.wal): commits, and the journals' entries in them
    Journal(File),
    /// A segment of an origin log (logs/…/*.log): record batches, or with --records the records in them
    Segment(Segment),
    /// A merged log (logs/…/merged.index): which batch stands where, by which stamp, and whose it is
    Index(File),
    /// A checkpoint (*.checkpoint): its number, and where recovery goes on from it
    Checkpoint(File),
}

/// Which file.
#[derive(Debug, Args)]
pub(crate) struct File {
    /// The file
    path: PathBuf,
    #[command(flatten)]
    output: Output,
}

/// Which segment, and how much of it.
#[derive(Debug, Args)]
pub(crate) struct Segment {
    #[command(flatten)]
    file: File,
    /// Show the records: their values, a line each, or with --json all of them
    #[arg(long)]
    records: bool,
}

impl Dump {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self {
            Dump::Journal(file) => file.journal(),
            Dump::Segment(segment) => segment.file.segment(segment.records),
            Dump::Index(file) => file.index(),
            Dump::Checkpoint(file) => file.checkpoint(),
        }
    }
}

impl File {
    fn bytes(&self) -> anyhow::Result<Vec<u8>> {
        std::fs::read(&self.path).with_context(|| format!("cannot read {}", self.path.display()))
    }

    /// A disk that holds this file and nothing else.
    fn alone(&self) -> anyhow::Result<(MemoryDisk, FileName)> {
        let name = self.path.file_name().and_then(|name| name.to_str());
        let name = name.with_context(|| format!("{} is not the name of a file", self.path.display()))?;
        let file = FileName::root().join(name);
        let mut disk = MemoryDisk::new();
        disk.write(&file, 0, &self.bytes()?)?;
        Ok((disk, file))
    }

    /// A line of the dump.
    fn line(&self, value: &Value, text: &str) -> anyhow::Result<()> {
        output::line(&if self.output.json { value.to_string() } else { text.to_owned() })
    }

    fn journal(&self) -> anyhow::Result<()> {
        let (disk, file) = self.alone()?;
        let segment = segment_number(&self.path)?;
        for seen in journal::scan(&disk, &file, segment)? {
            match seen? {
                Seen::Frame { offset, frame } => {
                    let (lsn, records) = (frame.head.lsn, frame.head.records);
                    let value = json!({ "commit": lsn, "at": offset, "records": records, "bytes": frame.head.payload_bytes });
                    let bytes = frame.head.payload_bytes;
                    self.line(
                        &value,
                        &format!("{offset:>10}  commit {lsn}: {records} records, {bytes} bytes"),
                    )?;
                    frame.records()?.iter().try_for_each(|record| self.record(record))?;
                }
                Seen::Stale { offset, head } => {
                    let value = json!({ "stale": head.lsn, "at": offset });
                    self.line(&value, &format!("{offset:>10}  left from segment {}", head.segment))?;
                }
                Seen::Broken { offset, fault } => {
                    let value = json!({ "broken": fault.to_string(), "at": offset });
                    self.line(&value, &format!("{offset:>10}  BROKEN: {fault}"))?;
                }
            }
        }
        Ok(())
    }

    fn record(&self, record: &Record) -> anyhow::Result<()> {
        let entry = match record {
            Record::Entry(entry) => entry,
            Record::Note(note) => {
                let value = json!({ "note_bytes": note.len() });
                return self.line(&value, &format!("            note of this site, {} bytes", note.len()));
            }
        };
        let (head, hash) = (&entry.head, hex(&entry.hash().0[..8]));
        let (journal, kind) = (head.journal.to_string(), format!("{:?}", head.kind).to_lowercase());
        let value = json!({
            "journal": journal, "seq": head.seq, "stamp": head.stamp.raw(), "time_ms": head.stamp.unix_ms(),
            "epoch": head.epoch.0, "kind": kind, "bytes": entry.bytes.len(), "hash": hash, "body": about(entry),
        });
        let (seq, stamp, bytes) = (head.seq, head.stamp, entry.bytes.len());
        let text = format!(
            "            {journal} seq {seq}  {stamp}  {kind}  {bytes} bytes  {hash}  {}",
            about(entry)
        );
        self.line(&value, text.trim_end())
    }

    fn segment(&self, records: bool) -> anyhow::Result<()> {
        let mut rest = Bytes::from(self.bytes()?);
        let mut at = 0;
        while !rest.is_empty() {
            let whole = match batch::parse_kept(&rest).map(|header| header.info().size as usize) {
                Ok(size) if size <= rest.len() => rest.split_to(size),
                Ok(size) => {
                    anyhow::bail!("the batch at byte {at} is cut: {size} bytes, and {} are left", rest.len())
                }
                Err(error) => anyhow::bail!("no batch at byte {at}: {error}"),
            };
            if records {
                self.records(&whole)?;
            } else {
                self.batch(at, &whole)?;
            }
            at += whole.len() as u64;
        }
        Ok(())
    }

    fn records(&self, whole: &Bytes) -> anyhow::Result<()> {
        let first = batch::parse_kept(whole)?.info().base_offset;
        for record in batch::records(whole, batch::DecompressLimits::default())? {
            let record = record?;
            let (key, value) = (record.key.as_ref(), record.value.as_ref());
            let offset = first + i64::from(record.offset_delta);
            let shown = json!({
                "offset": offset, "time_ms": record.timestamp, "key": output::bytes_json(key), "value": output::bytes_json(value),
            });
            let text = String::from_utf8_lossy(value.map(Bytes::as_ref).unwrap_or_default());
            self.line(&shown, &text)?;
        }
        Ok(())
    }

    fn batch(&self, at: u64, whole: &Bytes) -> anyhow::Result<()> {
        let info = batch::parse_kept(whole)?.info();
        let fault = batch::validate(whole, &batch::Limits { batch_bytes_max: usize::MAX }).err();
        let last = info.base_offset + i64::from(info.last_offset_delta);
        let compression = format!("{:?}", info.attributes.compression()).to_lowercase();
        let value = json!({
            "at": at, "first_offset": info.base_offset, "last_offset": last, "records": info.records, "bytes": info.size,
            "first_time_ms": info.first_timestamp, "max_time_ms": info.max_timestamp, "compression": compression,
            "producer": info.producer_id, "epoch": info.producer_epoch, "sequence": info.base_sequence,
            "fault": fault.as_ref().map(ToString::to_string),
        });
        let verdict = fault.map_or(String::new(), |fault| format!("  BROKEN: {fault}"));
        let (first, records, size, time) = (info.base_offset, info.records, info.size, info.max_timestamp);
        let text = format!(
            "{at:>10}  offsets {first} to {last}  {records} records  {size} bytes  time {time}  {compression}{verdict}"
        );
        self.line(&value, &text)
    }

    fn index(&self) -> anyhow::Result<()> {
        for place in partition::places(&self.bytes()?) {
            let Some(place) = place else {
                self.line(&json!({ "broken": true }), "BROKEN: no record of a merged log")?;
                continue;
            };
            let (journal, sorted) = (place.journal.to_string(), place.sorted);
            let value = json!({
                "offset": place.offset, "records": place.records, "journal": journal, "origin_offset": place.origin_offset,
                "stamp": sorted.raw(), "sorted_ms": sorted.unix_ms(), "time_ms": place.max_timestamp,
            });
            let last = place.offset + u64::from(place.records).saturating_sub(1);
            let text = format!(
                "offsets {} to {last}  {sorted}  time {}  {journal} from offset {}",
                place.offset, place.max_timestamp, place.origin_offset
            );
            self.line(&value, &text)?;
        }
        Ok(())
    }

    fn checkpoint(&self) -> anyhow::Result<()> {
        let (disk, _) = self.alone()?;
        let found = journal::checkpoint::read(&disk, &FileName::root())?;
        let found =
            found.with_context(|| format!("{} is not named like a checkpoint", self.path.display()))?;
        let (checkpoint, position) = (&found.checkpoint, found.checkpoint.position);
        let value = json!({
            "number": checkpoint.number, "state_bytes": checkpoint.state.len(),
            "commit": position.lsn, "segment": position.segment, "offset": position.offset,
        });
        let text = format!(
            "checkpoint {}: {} bytes of state; recovery goes on at commit {} (segment {}, byte {})",
            checkpoint.number,
            checkpoint.state.len(),
            position.lsn,
            position.segment,
            position.offset
        );
        self.line(&value, &text)
    }
}

/// What an entry says, in a few words.
fn about(entry: &Encoded) -> String {
    match entry.body() {
        Ok(entry::Body::Batch(batch)) => format!("to {}/{}", batch.topic, batch.partition),
        Ok(entry::Body::Topic(topic)) => format!("topic {} with {} partitions", topic.name, topic.partitions),
        Ok(entry::Body::Progress(progress)) => format!("group {}", progress.group),
        Ok(entry::Body::Open(open)) => format!("opens {}", open.journal),
        Ok(entry::Body::Seal(seal)) => format!("{} ends before entry {}", seal.journal, seal.cut.next),
        Ok(entry::Body::Adopt(adopt)) => {
            format!("adopts entries {} to {} of {}", adopt.from, adopt.upto.next - 1, adopt.journal)
        }
        Ok(entry::Body::Members(members)) => match members.change {
            entry::Change::Add { site, .. } => format!("adds site {site}: members {}", members.epoch.0),
            entry::Change::Remove { site } => format!("removes site {site}: members {}", members.epoch.0),
            entry::Change::GiveUp { site } => format!("gives site {site} up: members {}", members.epoch.0),
        },
        Ok(entry::Body::Begin(begin)) => format!("begins, after {} former journals", begin.former.len()),
        Ok(entry::Body::Mark) => "marks the time".to_owned(),
        Ok(entry::Body::Trim(trim)) if trim == entry::TrimBody::MARK => "marks the time".to_owned(),
        Ok(entry::Body::Trim(trim)) => {
            format!("lets topic {} partition {} begin at {}", trim.topic, trim.partition, trim.before)
        }
        Ok(entry::Body::Catalog(_) | entry::Body::Part) => String::new(),
        Err(error) => format!("UNREADABLE: {error}"),
    }
}

/// Segments are numbered by their names: a file's frames of another number are of its former life.
fn segment_number(path: &Path) -> anyhow::Result<u32> {
    let stem = path.file_stem().and_then(|stem| stem.to_str());
    let number = stem.and_then(|stem| stem.parse().ok());
    number.with_context(|| {
        format!("{} is not named like a WAL segment, such as 0000000001.wal", path.display())
    })
}
