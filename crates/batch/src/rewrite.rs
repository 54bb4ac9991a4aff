//! What compaction makes of a batch: the same one with fewer records, at the same offsets.
//!
//! Records that stay are copied as they stand, so that their offsets and times, which are relative to the batch's, mean
//! what they meant. The result is never compressed: it must be the same bytes at every site and in every version.

use bytes::{BufMut as _, Bytes, BytesMut};

use crate::compress::DecompressLimits;
use crate::header::{HEADER_BYTES, TimestampType, UNCOUNTED_BYTES, parse_kept};
use crate::patch::seal;
use crate::records::{Record, records};
use crate::{RecordError, header};

/// What is left of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Left {
    /// Every record.
    All,
    /// No record.
    Nothing,
    /// Some records, as a batch.
    Some(Bytes),
}

/// Asks of every record whether it is to stay.
///
/// # Errors
/// [`RecordError`] if the batch does not unpack within the limits, or a record does not read.
pub fn rewrite(
    batch: &Bytes,
    limits: DecompressLimits,
    mut stays: impl FnMut(&Record) -> bool,
) -> Result<Left, RecordError> {
    let info = parse_kept(batch)?.info();
    let mut all = records(batch, limits)?;
    let (mut body, mut count, mut newest) = (BytesMut::new(), 0u32, i64::MIN);
    loop {
        let begins = all.reached();
        let Some(record) = all.next() else { break };
        let record = record?;
        if stays(&record) {
            body.put_slice(&all.plain()[begins..all.reached()]);
            count += 1;
            newest = newest.max(record.timestamp);
        }
    }
    if count == info.records {
        return Ok(Left::All);
    }
    if count == 0 {
        return Ok(Left::Nothing);
    }
    // A time of appending stands in the header only.
    let newest = match info.attributes.timestamp_type() {
        TimestampType::Create => newest,
        TimestampType::Append => info.max_timestamp,
    };
    Ok(Left::Some(put_together(batch, &body, count, newest)))
}

fn put_together(batch: &Bytes, body: &[u8], count: u32, newest: i64) -> Bytes {
    let mut out = BytesMut::with_capacity(HEADER_BYTES + body.len());
    out.put_slice(&batch[..HEADER_BYTES]);
    out.put_slice(body);
    let length = u32::try_from(out.len() - UNCOUNTED_BYTES).expect("limits are below 2 GiB");
    out[header::LENGTH_AT..][..4].copy_from_slice(&length.to_be_bytes());
    out[header::ATTRIBUTES_AT + 1] &= !header::CODEC;
    out[header::NEWEST_AT..][..8].copy_from_slice(&newest.to_be_bytes());
    out[header::COUNT_AT..][..4].copy_from_slice(&count.to_be_bytes());
    seal(&mut out);
    out.freeze()
}

/// The records of a batch that have no key, by their number in it.
///
/// # Errors
/// [`RecordError`] if the batch does not unpack within the limits, or a record does not read.
pub fn keyless(batch: &Bytes, limits: DecompressLimits) -> Result<Vec<u32>, RecordError> {
    let mut without = Vec::new();
    for (number, record) in (0..).zip(records(batch, limits)?) {
        if record?.key.is_none() {
            without.push(number);
        }
    }
    Ok(without)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{Left, keyless, rewrite};
    use crate::{
        Builder, Compression, DecompressLimits, NewRecord, parse, parse_kept, records, set_append_time,
    };

    const LIMITS: DecompressLimits = DecompressLimits { bytes_max: 1 << 20, ratio_max: 1000 };

    fn batch(compression: Compression) -> Bytes {
        let mut builder = Builder::new().compression(compression).producer(7, 1, 40);
        for n in 0..10i64 {
            let key = (n != 3).then(|| Bytes::from(format!("key {n}")));
            builder.push(&NewRecord { key, ..NewRecord::value(1_000 + 10 * n, format!("value {n}")) });
        }
        builder.build()
    }

    #[test]
    fn what_stays_is_as_it_was_in_every_codec() {
        for codec in
            [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd]
        {
            let whole = batch(codec);
            let wanted: Vec<_> = records(&whole, LIMITS)
                .unwrap()
                .map(Result::unwrap)
                .filter(|it| it.offset_delta % 4 == 1)
                .collect();
            let left = rewrite(&whole, LIMITS, |record| record.offset_delta % 4 == 1).unwrap();
            let Left::Some(some) = left else { panic!("{left:?}") };
            let kept: Vec<_> = records(&some, LIMITS).unwrap().map(Result::unwrap).collect();
            assert_eq!(kept, wanted, "{codec:?}");
            let (before, after) = (parse(&whole).unwrap().info(), parse_kept(&some).unwrap().info());
            assert_eq!((after.records, after.last_offset_delta, after.max_timestamp), (3, 9, 1_090));
            assert_eq!((after.producer_id, after.base_sequence), (before.producer_id, before.base_sequence));
            assert_eq!(after.attributes.compression(), Compression::None);
            assert_eq!(after.crc, crc32c::crc32c(&some[21..]));
            assert!(parse(&some).is_err(), "a client may not send it");
            // Once more, of what is left.
            let Left::Some(one) = rewrite(&some, LIMITS, |record| record.offset_delta == 5).unwrap() else {
                panic!("one is left")
            };
            let kept: Vec<_> = records(&one, LIMITS).unwrap().map(Result::unwrap).collect();
            assert_eq!(kept, wanted[1..2]);
        }
    }

    #[test]
    fn all_and_nothing_need_no_new_batch_and_a_time_of_appending_stays() {
        let whole = batch(Compression::Zstd);
        assert_eq!(rewrite(&whole, LIMITS, |_| true), Ok(Left::All));
        assert_eq!(rewrite(&whole, LIMITS, |_| false), Ok(Left::Nothing));
        let stamped = set_append_time(whole, 77_000);
        let Ok(Left::Some(some)) = rewrite(&stamped, LIMITS, |record| record.offset_delta == 0) else {
            panic!("one is left")
        };
        assert_eq!(records(&some, LIMITS).unwrap().next().unwrap().unwrap().timestamp, 77_000);
    }

    #[test]
    fn records_without_a_key_are_found_by_number() {
        assert_eq!(keyless(&batch(Compression::Lz4), LIMITS), Ok(vec![3]));
        assert!(keyless(&batch(Compression::Gzip).slice(..100), LIMITS).is_err());
    }
}
