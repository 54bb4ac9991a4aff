//! The format against bytes derived by hand, round trips over all codecs, and what hostile bytes may not do.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use proptest::strategy::Strategy;

use crate::{
    BatchError, Builder, Compression, DecompressLimits, HEADER_BYTES, Limits, NewRecord, Record, RecordError,
    TimestampType, parse, placed, records, set_append_time, set_base_offset, set_leader_epoch, validate,
};

const LIMITS: Limits = Limits { batch_bytes_max: 1 << 20 };
const CODECS: [Compression; 5] =
    [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

/// Two records, written down from the format's description; the checksum was computed bit by bit elsewhere.
#[rustfmt::skip]
const GOLDEN: [u8; 81] = [
    0, 0, 0, 0, 0, 0, 0, 0,               // base offset
    0, 0, 0, 69,                          // length: 81 − 12
    0xff, 0xff, 0xff, 0xff,               // leader epoch −1
    2,                                    // magic
    0x57, 0xe6, 0x5f, 0x27,               // CRC-32C of all that follows
    0, 0,                                 // attributes
    0, 0, 0, 1,                           // last offset delta
    0, 0, 1, 0x8b, 0xcf, 0xe5, 0x68, 0,   // first timestamp: 1 700 000 000 000
    0, 0, 1, 0x8b, 0xcf, 0xe5, 0x68, 5,   // max timestamp: 5 ms later
    0, 0, 0, 0, 0, 0, 0, 7,               // producer id
    0, 3,                                 // producer epoch
    0, 0, 0, 9,                           // base sequence
    0, 0, 0, 2,                           // two records
    // 11 bytes, attributes, +0 ms, offset +0, key "k", value "v", one header: "h" without a value
    22, 0, 0, 0, 2, b'k', 2, b'v', 2, 2, b'h', 1,
    // 7 bytes, attributes, +5 ms, offset +1, no key, value "w", no headers
    14, 0, 10, 2, 1, 2, b'w', 0,
];

fn golden() -> Bytes {
    Bytes::from_static(&GOLDEN)
}

fn read(batch: &Bytes) -> Result<Vec<Record>, RecordError> {
    records(batch, DecompressLimits::default())?.collect()
}

fn resealed(mut bytes: Vec<u8>) -> Bytes {
    crate::patch::seal(&mut bytes);
    Bytes::from(bytes)
}

/// The golden batch with some bytes overwritten, and a checksum that agrees.
fn altered(at: usize, field: &[u8]) -> Bytes {
    let mut bytes = GOLDEN.to_vec();
    bytes[at..at + field.len()].copy_from_slice(field);
    resealed(bytes)
}

fn refusal(bytes: &Bytes) -> BatchError {
    validate(bytes, &LIMITS).unwrap_err()
}

#[test]
fn the_golden_batch_is_built_and_read() {
    let mut first = NewRecord::keyed(1_700_000_000_000, "k", "v");
    first.headers.push((Bytes::from_static(b"h"), None));
    let second = NewRecord::value(1_700_000_000_005, "w");
    let built = Builder::new().producer(7, 3, 9).record(&first).record(&second).build();
    assert_eq!(built, golden());

    let info = validate(&golden(), &LIMITS).unwrap()[0];
    assert_eq!(
        (info.size, info.crc, info.base_offset, info.records, info.last_offset_delta),
        (81, 0x57e6_5f27, 0, 2, 1)
    );
    assert_eq!((info.producer_id, info.producer_epoch, info.base_sequence), (7, 3, 9));
    assert_eq!((info.first_timestamp, info.max_timestamp), (1_700_000_000_000, 1_700_000_000_005));
    assert_eq!((info.attributes.compression(), info.attributes.bits()), (Compression::None, 0));

    let read = read(&golden()).unwrap();
    assert_eq!((read[0].key.as_deref(), read[0].value.as_deref()), (Some(&b"k"[..]), Some(&b"v"[..])));
    assert_eq!((&read[0].headers[0].name[..], &read[0].headers[0].value), (&b"h"[..], &None));
    assert_eq!((read[1].offset_delta, read[1].timestamp, &read[1].key), (1, 1_700_000_000_005, &None));
}

#[test]
fn every_flipped_bit_is_refused_where_the_checksum_counts() {
    for bit in 0..GOLDEN.len() * 8 {
        let mut bytes = GOLDEN.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let outside = bit < 8 * 8 || (12 * 8..16 * 8).contains(&bit);
        assert_eq!(validate(&Bytes::from(bytes), &LIMITS).is_ok(), outside, "bit {bit}");
    }
}

#[test]
fn every_truncation_is_refused() {
    for length in 0..GOLDEN.len() {
        let cut = golden().slice(..length);
        assert!(refusal(&cut).is_corrupt(), "{length} bytes");
        assert!(read(&cut).is_err());
    }
}

#[test]
fn batches_follow_one_another() {
    let twice = Bytes::from([&GOLDEN[..], &GOLDEN[..]].concat());
    assert_eq!(validate(&twice, &LIMITS).unwrap().len(), 2);
    assert!(matches!(refusal(&twice.slice(..GOLDEN.len() + 5)), BatchError::Truncated { have: 5, .. }));
    assert_eq!(refusal(&Bytes::new()), BatchError::Empty);
}

#[test]
fn what_does_not_go_together_is_refused() {
    assert_eq!(refusal(&altered(16, &[1])), BatchError::Magic { magic: 1 });
    assert_eq!(refusal(&Bytes::from_static(&[0; 26])), BatchError::Magic { magic: 0 });
    assert_eq!(refusal(&altered(8, &[0; 4])), BatchError::BadLength { length: 0 });
    assert_eq!(refusal(&altered(8, &[0xff; 4])), BatchError::BadLength { length: -1 });
    assert!(matches!(refusal(&altered(8, &i32::MAX.to_be_bytes())), BatchError::TooLarge { .. }));
    assert_eq!(refusal(&altered(21, &[0, 5])), BatchError::Attributes { attributes: 5 });
    assert_eq!(refusal(&altered(21, &[1, 0])), BatchError::Attributes { attributes: 256 });
    assert_eq!(refusal(&altered(21, &[0, 0x40])), BatchError::Attributes { attributes: 64 });
    assert_eq!(refusal(&altered(21, &[0, 0x20])), BatchError::Control);
    assert!(matches!(refusal(&altered(57, &[0; 4])), BatchError::RecordCount { records: 0, .. }));
    assert!(matches!(refusal(&altered(57, &[0xff; 4])), BatchError::RecordCount { records: -1, .. }));
    assert!(matches!(refusal(&altered(23, &[0, 0, 0, 2])), BatchError::RecordCount { .. }));
    assert!(matches!(refusal(&altered(51, &[0xff, 0xff])), BatchError::Producer { epoch: -1, .. }));
    assert!(matches!(refusal(&altered(53, &[0xff; 4])), BatchError::Producer { sequence: -1, .. }));
    let small = Limits { batch_bytes_max: 80 };
    assert_eq!(validate(&golden(), &small), Err(BatchError::TooLarge { bytes: 81, limit: 80 }));
}

#[test]
fn a_few_bytes_cannot_claim_many_offsets() {
    let mut bytes = GOLDEN.to_vec();
    bytes[23..27].copy_from_slice(&999_999i32.to_be_bytes());
    bytes[57..61].copy_from_slice(&1_000_000i32.to_be_bytes());
    assert!(matches!(refusal(&resealed(bytes)), BatchError::RecordCount { records: 1_000_000, .. }));
}

#[test]
fn a_producer_without_an_id_may_say_anything_but_a_transaction() {
    let plain = |builder: Builder| builder.record(&NewRecord::value(0, "v")).build();
    assert!(validate(&plain(Builder::new().producer(-1, 0, 5)), &LIMITS).is_ok());
    assert!(validate(&plain(Builder::new().producer(1, 0, 0).transactional()), &LIMITS).is_ok());
    assert!(matches!(refusal(&plain(Builder::new().transactional())), BatchError::Producer { id: -1, .. }));
    assert!(matches!(
        refusal(&plain(Builder::new().producer(-2, 0, 0))),
        BatchError::Producer { id: -2, .. }
    ));
}

#[test]
fn a_place_lies_outside_the_checksum() {
    let (head, rest) = placed(&golden(), 1 << 40, 3);
    let whole = Bytes::from([&head[..], &rest[..]].concat());
    assert_eq!(rest.as_ptr(), GOLDEN[16..].as_ptr(), "nothing is copied");
    assert_eq!(validate(&whole, &LIMITS).unwrap()[0].base_offset, 1 << 40);
    assert_eq!(parse(&whole).unwrap().leader_epoch, 3);

    let mut patched = GOLDEN.to_vec();
    set_base_offset(&mut patched, 1 << 40);
    set_leader_epoch(&mut patched, 3);
    assert_eq!(whole, patched);
}

#[test]
fn an_append_time_holds_for_all_records() {
    let stamped = set_append_time(golden(), 42);
    let info = validate(&stamped, &LIMITS).unwrap()[0];
    assert_eq!((info.attributes.timestamp_type(), info.max_timestamp), (TimestampType::Append, 42));
    assert!(read(&stamped).unwrap().iter().all(|record| record.timestamp == 42));
    assert_eq!(set_append_time(Bytes::from(GOLDEN.to_vec()), 42), stamped, "owned or shared");
}

#[test]
fn what_unpacks_to_too_much_is_refused() {
    for codec in &CODECS[1..] {
        let zeros = NewRecord::value(0, vec![0; 8 << 20]);
        let bomb = Builder::new().compression(*codec).record(&zeros).build();
        let tight = DecompressLimits { bytes_max: 1 << 20, ratio_max: 1_000_000 };
        let refused = records(&bomb, tight).unwrap_err();
        assert_eq!(refused, RecordError::UnpackedTooLarge { limit: 1 << 20 }, "{codec:?}");
        let steep = DecompressLimits { bytes_max: 64 << 20, ratio_max: 5 };
        assert!(matches!(records(&bomb, steep), Err(RecordError::UnpackedTooLarge { .. })), "{codec:?}");
        assert_eq!(records(&bomb, DecompressLimits { ratio_max: 1_000_000, ..steep }).unwrap().count(), 1);
    }
}

#[test]
fn a_zstd_window_that_costs_much_memory_is_refused() {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(27).unwrap();
    std::io::Write::write_all(&mut encoder, &[7; 100]).unwrap();
    let packed = encoder.finish().unwrap();
    let refused =
        crate::compress::decompress(Compression::Zstd, &Bytes::from(packed), DecompressLimits::default());
    assert_eq!(refused, Err(RecordError::Unpack));
}

#[test]
fn a_snappy_block_may_stand_bare() {
    let plain = &GOLDEN[HEADER_BYTES..];
    let mut bytes = GOLDEN[..HEADER_BYTES].to_vec();
    bytes[22] = 2;
    bytes.extend(snap::raw::Encoder::new().compress_vec(plain).unwrap());
    let length = i32::try_from(bytes.len() - 12).unwrap();
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    assert_eq!(read(&resealed(bytes)).unwrap(), read(&golden()).unwrap());
}

#[test]
fn records_that_do_not_add_up_are_refused() {
    let wrong = |at: usize, byte: u8| read(&altered(at, &[byte])).unwrap_err();
    assert!(matches!(wrong(61, 200), RecordError::Malformed { index: 0, .. }), "length beyond the end");
    assert!(matches!(wrong(61, 1), RecordError::Malformed { index: 0, .. }), "negative length");
    assert!(matches!(wrong(64, 2), RecordError::Malformed { index: 0, .. }), "offset delta out of turn");
    assert!(matches!(wrong(65, 60), RecordError::Malformed { index: 0, .. }), "key beyond the record");
    assert!(matches!(wrong(69, 100), RecordError::Malformed { index: 0, .. }), "too many headers");
    assert!(matches!(wrong(70, 1), RecordError::Malformed { index: 0, .. }), "nameless header");
    let mut fewer = GOLDEN.to_vec();
    (fewer[26], fewer[60]) = (0, 1);
    assert_eq!(read(&resealed(fewer)), Err(RecordError::Trailing { bytes: 8 }));
}

fn new_records() -> impl Strategy<Value = Vec<NewRecord>> {
    let blob = || vec(any::<u8>(), 0..40).prop_map(Bytes::from);
    let headers = vec((blob(), option::of(blob())), 0..3);
    let record = (0i64..4_000_000_000_000, option::of(blob()), option::of(blob()), headers)
        .prop_map(|(timestamp, key, value, headers)| NewRecord { timestamp, key, value, headers });
    vec(record, 1..20)
}

fn build(codec: Compression, new: &[NewRecord]) -> Bytes {
    let mut builder = Builder::new().compression(codec);
    for record in new {
        builder.push(record);
    }
    builder.build()
}

proptest! {
    #[test]
    fn there_and_back_in_every_codec(new in new_records()) {
        for codec in CODECS {
            let batch = build(codec, &new);
            let info = validate(&batch, &LIMITS).unwrap()[0];
            prop_assert_eq!((info.records as usize, info.attributes.compression()), (new.len(), codec));
            let read = read(&batch).unwrap();
            prop_assert_eq!(read.len(), new.len());
            for (read, new) in read.iter().zip(&new) {
                let headers = read.headers.iter().map(|header| (header.name.clone(), header.value.clone()));
                prop_assert_eq!(headers.collect::<Vec<_>>(), new.headers.clone());
                prop_assert_eq!((read.timestamp, &read.key, &read.value), (new.timestamp, &new.key, &new.value));
            }
        }
    }

    #[test]
    fn damaged_records_never_panic(new in new_records(), at in any::<usize>(), byte in any::<u8>(), codec in 0usize..5) {
        let mut bytes = build(CODECS[codec], &new).to_vec();
        let body_bytes = bytes.len() - HEADER_BYTES;
        bytes[HEADER_BYTES + at % body_bytes] = byte;
        let read = read(&resealed(bytes));
        prop_assert!(read.is_err() || read.is_ok_and(|read| read.len() == new.len()));
    }

    #[test]
    fn any_bytes_never_panic(bytes in vec(any::<u8>(), 0..200)) {
        let bytes = Bytes::from(bytes);
        prop_assert!(validate(&bytes, &LIMITS).is_err());
        prop_assert!(read(&bytes).is_err());
    }
}
