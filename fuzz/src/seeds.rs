//! What the fuzzers begin with: one right input, or a few, for every decoder.

use std::collections::{BTreeMap, BTreeSet};

use agree::{Ballot, Said, Verdict, Vote};
use batch::{Builder, NewRecord};
use bytes::{Bytes, BytesMut};
use catalog::{Actor, Catalog, NewTopic};
use clock::Stamp;
use crdt::Progress;
use entry::{
    BatchBody, Body, ChainHash, ClusterId, Cut, Entry, Incarnation, JournalId, MemberEpoch, Move, OpenBody,
    ProgressBody, SiteId, StorageId, TopicId, TrimBody,
};
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    ApiVersionsRequest, CreateTopicsRequest, DescribeGroupsRequest, FetchRequest, FindCoordinatorRequest,
    HeartbeatRequest, IncrementalAlterConfigsRequest, InitProducerIdRequest, JoinGroupRequest,
    ListOffsetsRequest, MetadataRequest, OffsetCommitRequest, OffsetFetchRequest, ProduceRequest,
    RequestHeader, SyncGroupRequest, TopicName,
};
use kafka_protocol::protocol::{Encodable, Request, StrBytes};
use peer::lone;
use site::wire::{
    AskWitness, Freeze, Frozen, GivenUp, Hello, Message, Need, Pulse, SignedHead, Stand, Votes, Vouched,
};
use site::{CertificateId, Note};
use uuid::Uuid;

use crate::{partitions, sole};

/// The seeds of a target, each with a name.
#[must_use]
pub fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let all: Vec<Vec<u8>> = match target {
        "batch" => vec![batch_of(1).to_vec(), batch_of(20).to_vec()],
        "catalog" => catalogs(),
        "checkpoint" => vec![[&[0][..], &[0; 72], b"state"].concat()],
        "entry" => entries(),
        "identity" => vec![[&[0][..], b"MERIDIAN\x01", &[0x51; 16], &[1, 2, 3, 1, 0, 1]].concat()],
        "index" => vec![
            vec![1, 0, 0, 70, 1, 1, 0, 130, 8, 2, 0, 200, 0xff],
            vec![0, 0, 0, 12, 0x80, 2, 0, 3, 1, 2, 0, 8, 0x80],
            vec![0, 3, 0, 1, 0xff, 7, 0, 30, 1],
        ],
        "kafka_request" => requests(),
        "note" => notes(),
        "peer_frame" => greetings(),
        "peer_message" => messages(),
        "progress" => vec![[delta(3), delta(9)].concat()],
        "segment" => partitions::segments(),
        "state" => vec![sole::state(&batch_of(2)).to_vec()],
        "wal" => vec![
            vec![1, 0, 0, 70, 1, 1, 16, 70, 8, 0, 200, 0, 0xff],
            [&[2, 1, 4, 0][..], &[0; 64], &[2, 3, 0], &[7; 48]].concat(),
        ],
        _ => Vec::new(),
    };
    all.into_iter().enumerate().map(|(number, bytes)| (format!("seed-{number}"), bytes)).collect()
}

fn batch_of(records: u8) -> Bytes {
    let mut builder = Builder::new().producer(5, 0, 9);
    for number in 0..records {
        builder.push(&NewRecord::keyed(1_790_000_000_000, vec![number], vec![b'v'; usize::from(number)]));
    }
    builder.build()
}

fn topic() -> TopicId {
    TopicId(Uuid::from_u128(7))
}

fn journal() -> JournalId {
    JournalId { site: SiteId(2), incarnation: Incarnation(1) }
}

fn delta(floor: u64) -> Vec<u8> {
    let mut progress = Progress::new();
    progress.commit(floor);
    progress.ack(floor + 4..floor + 9);
    let moves = vec![Move { topic: topic(), partition: 1, progress, metadata: "m".into() }];
    postcard::to_stdvec(&ProgressBody { group: "g".into(), moves }).expect("plain data encodes")
}

fn entries() -> Vec<Vec<u8>> {
    let bodies = [
        Body::Batch(BatchBody { topic: topic(), partition: 3, records: batch_of(2) }),
        Body::Progress(postcard::from_bytes(&delta(4)).expect("it was just made")),
        Body::Part,
        Body::Open(OpenBody { journal: journal(), first: 4 }),
        Body::Trim(TrimBody::MARK),
    ];
    let entry = |(seq, body)| {
        let (stamp, epoch, previous) = (Stamp::from_raw(99), MemberEpoch(1), ChainHash([1; 32]));
        let entry = Entry { journal: journal(), seq, stamp, epoch, previous, body }.encode();
        entry.expect("it is short").bytes.to_vec()
    };
    (0..).zip(bodies).map(entry).collect()
}

fn cut() -> Cut {
    Cut { next: 4, hash: ChainHash([3; 32]) }
}

fn given_up() -> GivenUp {
    GivenUp {
        site: SiteId(2),
        epoch: MemberEpoch(1),
        by: SiteId(1),
        at_ms: 1_790_000_000_000,
        who: "root".to_owned(),
        held: BTreeMap::from([(journal(), 8)]),
        witness: Some(SiteId(3)),
    }
}

fn head() -> SignedHead {
    SignedHead {
        journal: journal(),
        next: 5,
        hash: ChainHash([1; 32]),
        stamp: Stamp::from_raw(99),
        certificate: CertificateId([9; 32]),
        signature: Bytes::from_static(&[0x30; 70]),
    }
}

fn hello(given_up: GivenUp) -> Hello {
    Hello {
        protocol: 1,
        cluster: ClusterId(Uuid::from_u128(0x51)),
        site: SiteId(1),
        storage: StorageId(5),
        founders: vec![SiteId(1), SiteId(2)],
        removed: false,
        sites: BTreeMap::from([(SiteId(1), "eu-west".to_owned())]),
        homes: BTreeMap::from([("eu-west".to_owned(), 9092)]),
        held: BTreeMap::from([(journal(), (8, ChainHash([1; 32])))]),
        frozen: Frozen {
            all: false,
            epoch: MemberEpoch(1),
            journals: BTreeMap::from([(journal(), Freeze::ended(7))]),
        },
        promised: BTreeMap::from([(journal(), Stamp::from_raw(70))]),
        witness: Some(SiteId(3)),
        given_up: vec![given_up],
        stands: BTreeMap::from([(journal(), Stand { sorted: Some(4), cut: Some(cut()) })]),
    }
}

fn messages() -> Vec<Vec<u8>> {
    let mut pulse = Pulse::default();
    pulse.promises.insert(journal(), (Stamp::from_raw(77), 9));
    pulse.frontiers.insert(SiteId(1), (StorageId(5), BTreeMap::from([(journal(), 8)])));
    let (given_up, cut) = (given_up(), cut());
    let hello = hello(given_up.clone());
    let ballot = Ballot { epoch: MemberEpoch(1), round: 2, by: 1 };
    let promised = Said::Promised {
        ballot,
        storage: StorageId(5),
        held: cut,
        accepted: Some((ballot, Verdict::GoesOn)),
        consents: true,
    };
    let votes = Votes {
        storage: StorageId(6),
        enters: Some(MemberEpoch(2)),
        entered: MemberEpoch(1),
        granted: BTreeMap::from([(SiteId(3), (Incarnation(1), StorageId(7)))]),
        votes: BTreeMap::from([(journal(), Vote::default())]),
        held: BTreeMap::from([(journal(), 4)]),
        remain: BTreeSet::from([SiteId(1), SiteId(2)]),
        storages: BTreeMap::from([(SiteId(9), (StorageId(8), BTreeSet::from([StorageId(7)])))]),
    };
    let asked = AskWitness {
        storage: StorageId(8),
        members: BTreeMap::from([(SiteId(1), MemberEpoch(1)), (SiteId(2), MemberEpoch(3))]),
        decisions: vec![given_up.clone()],
    };
    let messages = [
        Message::Hello(hello),
        Message::GivenUp(vec![given_up]),
        Message::AskWitness(asked),
        Message::Pulse(pulse),
        Message::Need(Need { journal: journal(), from: 3 }),
        Message::Enough(journal()),
        Message::Entries(Vouched { head: head(), entries: entries().concat().into() }),
        Message::Certificate(Bytes::from_static(b"a certificate")),
        Message::OpenMe { journal: journal(), first: 4 },
        Message::AskIncarnation(Incarnation(2), StorageId(5)),
        Message::Incarnation {
            asked: Incarnation(2),
            storage: StorageId(5),
            granted: false,
            next: Incarnation(3),
            epoch: MemberEpoch(1),
        },
        Message::Seal(journal(), 1, promised),
        Message::Seal(journal(), 0, Said::Decided(Verdict::Ends(cut))),
        Message::AskVotes(StorageId(6), None),
        Message::Votes(votes),
    ];
    messages.iter().map(|message| message.encode().to_vec()).collect()
}

fn notes() -> Vec<Vec<u8>> {
    let ballot = Ballot { epoch: MemberEpoch(1), round: 4, by: 2 };
    let notes = [
        Note::Ceiling(Stamp::from_raw(300)),
        Note::Released(5),
        Note::Granted(SiteId(2), Incarnation(1), StorageId(9)),
        Note::Vote(journal(), Vote { accepted: Some((ballot, Verdict::Ends(cut()))), ..Vote::default() }),
        Note::Ended(journal(), cut()),
        Note::Renewed(SiteId(2), StorageId(9)),
        Note::Certificate(Bytes::from_static(b"a certificate")),
        Note::Vouched(head()),
        Note::Entered(MemberEpoch(3)),
        Note::GivenUp(given_up()),
        Note::Shown(journal()),
    ];
    notes.iter().map(|note| note.encode().to_vec()).collect()
}

fn greetings() -> Vec<Vec<u8>> {
    let frames = [&b"one"[..], b"", &[7; 300]].map(Bytes::copy_from_slice);
    let hello = [&[0][..], b"MRDN", &[0, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 9]].concat();
    vec![hello, [&[1][..], &lone::stream(&frames)].concat(), [&[1, b'1'][..], &[0, 255, 0, 0]].concat()]
}

fn catalogs() -> Vec<Vec<u8>> {
    let mut catalog = Catalog::genesis(ClusterId(Uuid::from_u128(0x51)), Actor([4; 16]));
    let new = NewTopic { name: "orders".into(), partitions: 3, settings: BTreeMap::new() };
    let (_, created) = catalog.create(&new, &[]).expect("the name is free");
    let (_, grown) = catalog.grow("orders", 5).expect("it was just created");
    vec![[&[0][..], &created].concat(), [&[0][..], &grown].concat(), [&[1][..], &catalog.save()].concat()]
}

fn requests() -> Vec<Vec<u8>> {
    let name = || TopicName(StrBytes::from_static_str("orders"));
    let data = PartitionProduceData::default().with_records(Some(batch_of(2)));
    let produce = TopicProduceData::default().with_name(name()).with_partition_data(vec![data]);
    let fetch = FetchTopic::default().with_topic(name()).with_partitions(vec![FetchPartition::default()]);
    let asked = MetadataRequestTopic::default().with_name(Some(name()));
    let create = CreatableTopic::default().with_name(name()).with_num_partitions(3);
    vec![
        request(&ProduceRequest::default().with_topic_data(vec![produce]), 9),
        request(&FetchRequest::default().with_topics(vec![fetch]), 12),
        request(&MetadataRequest::default().with_topics(Some(vec![asked])), 9),
        request(&CreateTopicsRequest::default().with_topics(vec![create]), 5),
        request(&ApiVersionsRequest::default(), 3),
        request(&ListOffsetsRequest::default(), 6),
        request(&OffsetCommitRequest::default(), 8),
        request(&OffsetFetchRequest::default(), 7),
        request(&FindCoordinatorRequest::default(), 4),
        request(&JoinGroupRequest::default(), 6),
        request(&SyncGroupRequest::default(), 4),
        request(&HeartbeatRequest::default(), 4),
        request(&DescribeGroupsRequest::default(), 5),
        request(&InitProducerIdRequest::default(), 3),
        request(&IncrementalAlterConfigsRequest::default(), 1),
    ]
}

fn request<R: Request>(body: &R, version: i16) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    let header = RequestHeader::default().with_request_api_key(R::KEY).with_request_api_version(version);
    let header = header.with_correlation_id(5).with_client_id(Some(StrBytes::from_static_str("fuzz")));
    header.encode(&mut bytes, R::header_version(version)).expect("this version has such a header");
    body.encode(&mut bytes, version).expect("this version has these fields");
    bytes.to_vec()
}
