//! Round trips of every kind, golden bytes, and what broken bytes are answered with.

use std::collections::BTreeMap;

use bytes::Bytes;
use clock::Stamp;
use crdt::Progress;
use proptest::prelude::{any, proptest};
use uuid::Uuid;

use super::{Encoded, Entry, EntryError};
use crate::{
    AdoptBody, BatchBody, BeginBody, Body, ChainHash, Change, Cut, HEAD_BYTES, Incarnation, JournalId,
    MemberEpoch, MembersBody, Move, OpenBody, ProgressBody, SealBody, SiteId, StorageId, TopicBody, TopicId,
};

fn entry(body: Body) -> Entry {
    Entry {
        journal: JournalId { site: SiteId(2), incarnation: Incarnation(1) },
        seq: 7,
        stamp: Stamp::from_raw(0x0102_0304_0506_0708),
        epoch: MemberEpoch(1),
        previous: ChainHash([9; 32]),
        body,
    }
}

fn bodies() -> Vec<Body> {
    let topic = TopicId(Uuid::from_u128(5));
    let journal = JournalId { site: SiteId(3), incarnation: Incarnation(4) };
    let moved = Move { topic, partition: 1, progress: Progress::default(), metadata: "m".into() };
    let cut = Cut { next: 12, hash: ChainHash([8; 32]) };
    let settings = BTreeMap::from([("min.insync.sites".to_owned(), "2".to_owned())]);
    vec![
        Body::Batch(BatchBody { topic, partition: 258, records: Bytes::from_static(b"records") }),
        Body::Progress(ProgressBody { group: "billing".into(), moves: vec![moved] }),
        Body::Catalog(Bytes::from_static(b"changes")),
        Body::Topic(TopicBody { id: topic, name: "orders".into(), generation: 0, partitions: 4, settings }),
        Body::Part,
        Body::Begin(BeginBody { former: [(Incarnation(0), 7), (Incarnation(2), 9)].into() }),
        Body::Mark,
        Body::Open(OpenBody { journal, first: 11 }),
        Body::Seal(SealBody { journal, cut }),
        Body::Adopt(AdoptBody { journal, from: 9, upto: cut }),
        Body::Members(MembersBody { epoch: MemberEpoch(2), change: added() }),
        Body::Members(MembersBody { epoch: MemberEpoch(3), change: Change::Remove { site: SiteId(3) } }),
        Body::Members(MembersBody { epoch: MemberEpoch(3), change: Change::GiveUp { site: SiteId(3) } }),
    ]
}

fn added() -> Change {
    Change::Add { site: SiteId(4), storage: StorageId(5) }
}

#[test]
fn every_kind_comes_back_as_it_went() {
    for body in bodies() {
        let encoded = entry(body.clone()).encode().unwrap();
        let read = Encoded::new(encoded.bytes.clone()).unwrap();
        assert_eq!(read.head, encoded.head);
        assert_eq!(read.body().unwrap(), body);
    }
}

#[test]
fn golden_bytes_of_an_opening() {
    let journal = JournalId { site: SiteId(3), incarnation: Incarnation(4) };
    let encoded = entry(Body::Open(OpenBody { journal, first: 11 })).encode().unwrap();
    let head = "010600020000000100000000000000070102030405060708000000010000000e";
    let body = "000300000004000000000000000b";
    let golden = format!("{head}{}{body}", "09".repeat(32));
    let hex: String = encoded.bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, golden);
}

#[test]
fn golden_bytes_of_a_seal_and_an_adoption() {
    let journal = JournalId { site: SiteId(3), incarnation: Incarnation(4) };
    let upto = Cut { next: 12, hash: ChainHash([8; 32]) };
    let body = |body: Body| {
        let bytes = entry(body).encode().unwrap().bytes.slice(HEAD_BYTES..);
        bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let hash = "08".repeat(32);
    assert_eq!(
        body(Body::Seal(SealBody { journal, cut: upto })),
        format!("000300000004000000000000000c{hash}")
    );
    let adopted = format!("0003000000040000000000000009000000000000000c{hash}");
    assert_eq!(body(Body::Adopt(AdoptBody { journal, from: 9, upto })), adopted);
}

#[test]
fn golden_bytes_of_changes_of_members() {
    let body = |change| {
        let body = Body::Members(MembersBody { epoch: MemberEpoch(2), change });
        let bytes = entry(body).encode().unwrap().bytes.slice(HEAD_BYTES..);
        bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    assert_eq!(body(added()), format!("00000002000004{}05", "00".repeat(15)));
    assert_eq!(body(Change::Remove { site: SiteId(3) }), "00000002010003");
    assert_eq!(body(Change::GiveUp { site: SiteId(3) }), "00000002020003");
}

#[test]
fn splitting_takes_one_entry_and_leaves_the_rest() {
    let encoded = entry(Body::Part).encode().unwrap();
    let mut two = Bytes::from([&encoded.bytes[..], &encoded.bytes[..]].concat());
    assert_eq!(Encoded::split_from(&mut two).unwrap(), encoded);
    assert_eq!(two, encoded.bytes);
}

#[test]
fn what_is_cut_or_foreign_is_named() {
    let bytes = entry(Body::Part).encode().unwrap().bytes;
    assert_eq!(Encoded::new(bytes.slice(..10)), Err(EntryError::Cut { bytes: 10 }));
    let mut newer = bytes.to_vec();
    newer[0] = 9;
    assert_eq!(Encoded::new(newer.into()), Err(EntryError::Version(9)));
    let mut longer = bytes.to_vec();
    longer[28] = 0xff;
    assert!(matches!(Encoded::new(longer.into()), Err(EntryError::TooLong { .. })));
    let mut trailing = bytes.to_vec();
    trailing.push(0);
    assert_eq!(Encoded::new(trailing.into()), Err(EntryError::Trailing { extra: 1 }));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(mut bytes: Vec<u8>, kind in 0u8..10, fill in any::<bool>()) {
        if fill && bytes.len() >= HEAD_BYTES {
            let body = (bytes.len() - HEAD_BYTES) as u32;
            bytes[0] = 1;
            bytes[1] = kind;
            bytes[28..32].copy_from_slice(&body.to_be_bytes());
        }
        if let Ok(encoded) = Encoded::new(bytes.into()) {
            let _ = encoded.body();
        }
    }
}
