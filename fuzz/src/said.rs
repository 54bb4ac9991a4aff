//! What sites say, to others and to themselves: messages, entries, deltas, catalog changes, notes, states.

use batch::DecompressLimits;
use bytes::Bytes;
use catalog::{Actor, Catalog};
use crdt::Join;
use entry::{ClusterId, Encoded, Entry, ProgressBody};
use site::Note;
use site::wire::{Message, Vouched};
use uuid::Uuid;

/// A message between sites.
pub(crate) fn peer_message(bytes: &[u8]) {
    let Ok(message) = Message::decode(Bytes::copy_from_slice(bytes)) else { return };
    assert_eq!(Message::decode(message.encode()).as_ref(), Ok(&message), "a message comes back as it went");
    if let Message::Entries(Vouched { mut entries, .. }) = message {
        while let Ok(entry) = Encoded::split_from(&mut entries) {
            read(&entry);
        }
    }
}

/// Entries, one behind the other.
pub(crate) fn entry(bytes: &[u8]) {
    let mut bytes = Bytes::copy_from_slice(bytes);
    while let Ok(entry) = Encoded::split_from(&mut bytes) {
        read(&entry);
    }
}

fn read(entry: &Encoded) {
    let Ok(body) = entry.body() else { return };
    if let entry::Body::Batch(batch) = &body {
        let _ = batch::records(&batch.records, DecompressLimits { bytes_max: 1 << 16, ratio_max: 100 });
    }
    let head = &entry.head;
    let (journal, seq, stamp, epoch, previous) =
        (head.journal, head.seq, head.stamp, head.epoch, head.previous);
    let again = Entry { journal, seq, stamp, epoch, previous, body: body.clone() }.encode();
    let again = again.expect("what was an entry is short enough for one");
    assert_eq!(again.body().as_ref(), Ok(&body), "a body comes back as it went");
    assert_eq!((again.head.seq, again.head.stamp, again.head.kind), (seq, stamp, head.kind));
}

/// A note of a site to itself.
pub(crate) fn note(bytes: &[u8]) {
    let Some(note) = Note::decode(bytes) else { return };
    assert_eq!(Note::decode(&note.encode()).as_ref(), Some(&note), "a note comes back as it went");
}

/// A site's state, as its checkpoints hold it and as another takes it over.
pub(crate) fn state(bytes: &[u8]) {
    let Some((state, files)) = site::lone::state(bytes) else { return };
    assert_eq!(site::lone::state(&state), Some((state.clone(), files)), "a state comes back as it went");
}

/// Two groups' progress: read, joined both ways.
pub(crate) fn progress(bytes: &[u8]) {
    let Ok((one, rest)) = postcard::take_from_bytes::<ProgressBody>(bytes) else { return };
    let bytes = postcard::to_stdvec(&one).expect("plain data encodes");
    assert_eq!(postcard::from_bytes::<ProgressBody>(&bytes).as_ref(), Ok(&one));
    let Ok(other) = postcard::from_bytes::<ProgressBody>(rest) else { return };
    for (a, b) in one.moves.iter().zip(&other.moves) {
        let (mut ab, mut ba) = (a.progress.clone(), b.progress.clone());
        ab.join(&b.progress);
        ba.join(&a.progress);
        assert_eq!(ab, ba, "joins commute");
        let joined = ab.clone();
        ab.join(&b.progress);
        assert_eq!(ab, joined, "joins are idempotent");
    }
}

/// Catalog changes as they come out of a journal, and a whole catalog as it comes out of a checkpoint. The first byte
/// says which, and whether the checksum is forged.
pub(crate) fn catalog(bytes: &[u8]) {
    let Some((mode, bytes)) = bytes.split_first() else { return };
    let (cluster, actor) = (ClusterId(Uuid::from_u128(0x51)), Actor([3; 16]));
    let mut bytes = bytes.to_vec();
    if mode & 1 == 0 {
        if mode & 2 == 0 {
            forge_changes(&mut bytes);
        }
        let mut catalog = Catalog::genesis(cluster, actor);
        let before = catalog.digest();
        if catalog.apply(&bytes.into()).is_err() {
            assert_eq!(catalog.digest(), before, "what is refused changes nothing");
        }
    } else {
        if mode & 2 == 0 && bytes.len() > 5 {
            bytes[0] = 1;
            let crc = crc32c::crc32c(&bytes[5..]);
            bytes[1..5].copy_from_slice(&crc.to_be_bytes());
        }
        if let Ok(catalog) = Catalog::load(cluster, &bytes, actor) {
            let again = Catalog::load(cluster, &catalog.save(), actor).expect("what was saved loads");
            assert_eq!(again.digest(), catalog.digest());
        }
    }
}

/// Version, length and checksum as they would have to be.
fn forge_changes(bytes: &mut [u8]) {
    if bytes.len() < 13 {
        return;
    }
    let body = bytes.len() - 13;
    bytes[0] = 1;
    bytes[5..9].copy_from_slice(&(body as u32).to_be_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[..9]), &bytes[13..]);
    bytes[9..13].copy_from_slice(&crc.to_be_bytes());
}
