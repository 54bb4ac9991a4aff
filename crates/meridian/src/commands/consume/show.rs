//! Records on standard output: the value alone, or with `--json` everything, a line each.

use std::io::{self, BufWriter, Write as _};

use client::ReadRecord;
use serde_json::{Map, Value, json};

use crate::output::bytes_json;
use crate::progress::Progress;

pub(super) struct Show {
    json: bool,
    /// The site whose origin log is read, if it is one. A record of the merged log does not say where it came from.
    origin: Option<String>,
    left: Option<u64>,
    progress: Progress,
}

impl Show {
    pub(super) fn new(json: bool, origin: Option<String>, max: Option<u64>, progress: Progress) -> Show {
        Show { json, origin, left: max, progress }
    }

    /// Whether as many were shown as are wanted.
    pub(super) fn is_full(&self) -> bool {
        self.left == Some(0)
    }

    /// Shows records while more are wanted; says how many.
    pub(super) fn records(
        &mut self,
        topic: &str,
        partition: i32,
        records: &[ReadRecord],
    ) -> anyhow::Result<usize> {
        let wanted = self
            .left
            .map_or(records.len(), |left| records.len().min(usize::try_from(left).unwrap_or(usize::MAX)));
        let mut out = BufWriter::new(io::stdout().lock());
        for record in &records[..wanted] {
            if self.json {
                writeln!(out, "{}", self.json(topic, partition, record))?;
            } else {
                out.write_all(record.record.value.as_deref().unwrap_or_default())?;
                out.write_all(b"\n")?;
            }
        }
        out.flush()?;
        self.progress.add(wanted as u64);
        self.left = self.left.map(|left| left - wanted as u64);
        Ok(wanted)
    }

    fn json(&self, topic: &str, partition: i32, read: &ReadRecord) -> Value {
        let record = &read.record;
        let headers: Vec<Value> = record
            .headers
            .iter()
            .map(|header| json!({ "name": bytes_json(Some(&header.name)), "value": bytes_json(header.value.as_ref()) }))
            .collect();
        let mut object = Map::new();
        object.insert("topic".to_owned(), json!(topic));
        object.insert("partition".to_owned(), json!(partition));
        object.insert("offset".to_owned(), json!(read.offset));
        object.insert("timestamp".to_owned(), json!(record.timestamp));
        if let Some(origin) = &self.origin {
            object.insert("origin".to_owned(), json!(origin));
        }
        object.insert("key".to_owned(), bytes_json(record.key.as_ref()));
        object.insert("value".to_owned(), bytes_json(record.value.as_ref()));
        object.insert("headers".to_owned(), Value::Array(headers));
        Value::Object(object)
    }
}
