//! Records out of what a fetch brought, for who prints or checks them.

use batch::{DecompressLimits, Record, records};
use bytes::Bytes;

use crate::ClientError;

/// One record at its offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadRecord {
    /// Its offset.
    pub offset: i64,
    /// The batch's time of appending or the record's own, as [`batch::records`] says.
    pub record: Record,
}

/// The records from this offset on. Control batches are left out, as is a batch that is cut at the end.
pub fn read_records(batches: &Bytes, from: i64) -> Result<Vec<ReadRecord>, ClientError> {
    let mut rest = batches.clone();
    let mut read = Vec::new();
    while rest.len() >= batch::HEADER_BYTES {
        let info = batch::parse_kept(&rest).map_err(unreadable)?.info();
        let size = info.size as usize;
        if size > rest.len() {
            break;
        }
        let whole = rest.split_to(size);
        if info.attributes.is_control() {
            continue;
        }
        for record in records(&whole, DecompressLimits::default()).map_err(unreadable)? {
            let record = record.map_err(unreadable)?;
            let offset = info.base_offset.saturating_add(i64::from(record.offset_delta));
            if offset >= from {
                read.push(ReadRecord { offset, record });
            }
        }
    }
    Ok(read)
}

fn unreadable(reason: impl std::fmt::Display) -> ClientError {
    ClientError::Malformed { call: "Fetch", reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use batch::{Builder, NewRecord};
    use bytes::{Bytes, BytesMut};

    use super::read_records;

    fn batch_at(base_offset: i64, values: &[&'static str]) -> BytesMut {
        let mut builder = Builder::new();
        for value in values {
            builder.push(&NewRecord::value(1, *value));
        }
        let mut batch = BytesMut::from(&builder.build()[..]);
        batch::set_base_offset(&mut batch, base_offset);
        batch
    }

    #[test]
    fn records_before_the_offset_asked_for_and_cut_batches_are_left_out() {
        let mut batches = batch_at(10, &["a", "b", "c"]);
        batches.extend_from_slice(&batch_at(13, &["d"]));
        let cut = batch_at(14, &["e"]);
        batches.extend_from_slice(&cut[..cut.len() - 1]);
        let read = read_records(&batches.freeze(), 11).unwrap();
        let seen: Vec<_> = read.iter().map(|r| (r.offset, r.record.value.clone().unwrap())).collect();
        assert_eq!(seen, [(11, Bytes::from("b")), (12, Bytes::from("c")), (13, Bytes::from("d"))]);
        assert!(read_records(&Bytes::from(vec![0; 100]), 0).is_err(), "no batch at all");
    }
}
