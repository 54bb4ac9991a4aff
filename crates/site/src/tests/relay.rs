//! Journals that come through a third site: proved to be their owners', or not taken.

use bytes::Bytes;
use clock::Stamp;
use entry::{Body, ChainHash, Encoded, Entry, JournalId, MemberEpoch, SiteId, TopicId, TrimBody};

use super::trio::{Forge, Trio};
use super::{append, create};
use crate::notary::CertificateId;
use crate::wire::{Message, SignedHead, Vouched};
use crate::{Event, Reading};

/// What site 3 has of what site 1 wrote.
fn origin(trio: &Trio, topic: TopicId) -> Vec<String> {
    trio.values(3, topic, Reading::Origin(SiteId(1)))
}

/// Site 1 has written what only site 2 has taken, and is dead; site 3 can only hear of it through site 2.
fn owner_dead() -> (Trio, TopicId) {
    let mut trio = Trio::founded();
    let topic = create(&mut trio, &[]);
    // So that site 2 is known by its certificate.
    assert!(trio.ask(2, append(topic, "something else")).is_ok());
    trio.run_ms(50);
    trio.cut(3);
    for text in ["one", "two", "three"] {
        assert!(trio.ask(1, append(topic, text)).is_ok());
    }
    trio.run_ms(50);
    trio.crash(1);
    (trio, topic)
}

#[test]
fn a_dead_owners_journal_comes_through_another_site_that_can_prove_it() {
    let (mut trio, topic) = owner_dead();
    trio.heal(3);
    trio.run_ms(500);
    assert_eq!(origin(&trio, topic), ["one", "two", "three"]);
    assert_eq!(trio.site(3).status(0).alarms, Vec::<String>::new());
}

#[test]
fn what_proves_it_survives_a_restart_and_a_checkpoint() {
    let mut trio = Trio::founded();
    let topic = create(&mut trio, &[]);
    trio.cut(3);
    let texts: Vec<String> = (0..40).map(|n| format!("{n} {}", "fill ".repeat(60))).collect();
    for text in &texts {
        assert!(trio.ask(1, append(topic, text)).is_ok());
    }
    trio.run_ms(50);
    trio.crash(1);
    assert!(trio.files(2).iter().any(|file| file.starts_with("checkpoint/")));
    trio.crash(2);
    trio.start(2);
    trio.heal(3);
    trio.run_ms(1500);
    assert_eq!(origin(&trio, topic), texts);
}

/// Heals the link to site 3 while site 2 makes of others' entries what `forge` does, and gives back what site 3 then has and
/// says. Once site 2 is honest again, site 3 takes all of it, and is content.
fn forged(forge: Forge) -> (Vec<String>, Vec<String>) {
    let (mut trio, topic) = owner_dead();
    trio.forge = Some((2, forge));
    trio.heal(3);
    trio.run_ms(500);
    let seen = (origin(&trio, topic), trio.site(3).status(0).alarms);
    assert!(trio.site(3).status(0).quarantined.is_empty(), "a forger takes nobody's good name");
    trio.forge = None;
    trio.run_ms(8000);
    assert_eq!(origin(&trio, topic), ["one", "two", "three"]);
    assert_eq!(trio.site(3).status(0).alarms, Vec::<String>::new());
    seen
}

fn refused(forge: Forge, why: &str) {
    let (taken, alarms) = forged(forge);
    assert_eq!(taken, Vec::<String>::new());
    assert!(alarms.iter().any(|text| text.contains("site-2") && text.contains(why)), "{alarms:?}");
}

fn entries(vouched: &Vouched) -> Vec<Encoded> {
    let (mut bytes, mut entries) = (vouched.entries.clone(), Vec::new());
    while !bytes.is_empty() {
        entries.push(Encoded::split_from(&mut bytes).unwrap());
    }
    entries
}

/// The last entry replaced by one that its owner never wrote, and a head that fits it but for its signature.
fn with_another_end(vouched: Vouched) -> Vouched {
    let mut entries = entries(&vouched);
    let last = entries.pop().unwrap().head;
    let body = Body::Trim(TrimBody::MARK);
    let (journal, seq, stamp) = (last.journal, last.seq, last.stamp);
    let (epoch, previous) = (last.epoch, last.previous);
    let invented = Entry { journal, seq, stamp, epoch, previous, body }.encode().unwrap();
    let head = SignedHead { hash: invented.hash(), ..vouched.head };
    entries.push(invented);
    Vouched { head, entries: entries.iter().flat_map(|entry| entry.bytes.to_vec()).collect() }
}

#[test]
fn an_invented_entry_is_refused_though_the_chain_fits() {
    refused(with_another_end, "the signature is not right");
}

#[test]
fn an_invented_entry_under_the_right_head_is_refused() {
    let forge = |vouched: Vouched| Vouched { head: vouched.head.clone(), ..with_another_end(vouched) };
    refused(forge, "not the ones that were signed");
}

#[test]
fn a_scrawled_signature_is_refused() {
    let forge = |vouched: Vouched| {
        let head = SignedHead { signature: Bytes::from_static(b"scrawl"), ..vouched.head };
        Vouched { head, ..vouched }
    };
    refused(forge, "the signature is not right");
}

#[test]
fn the_forgers_own_certificate_does_not_speak_for_the_owner() {
    let forge = |vouched: Vouched| {
        let head = SignedHead { certificate: CertificateId::of(&2u16.to_be_bytes()), ..vouched.head };
        Vouched { head, ..vouched }
    };
    refused(forge, "another site's");
}

#[test]
fn a_certificate_that_nobody_showed_proves_nothing() {
    let forge = |vouched: Vouched| {
        let head = SignedHead { certificate: CertificateId([7; 32]), ..vouched.head };
        Vouched { head, ..vouched }
    };
    refused(forge, "no certificate was shown");
}

fn with_a_byte(vouched: Vouched, at: usize, byte: u8) -> Vouched {
    let mut entries = vouched.entries.to_vec();
    entries[at] = byte;
    Vouched { entries: entries.into(), ..vouched }
}

#[test]
fn what_a_newer_version_wrote_waits() {
    let another_format = |vouched| with_a_byte(vouched, 0, 2);
    refused(another_format, "that a newer version wrote: upgrade this site");
    let another_kind = |vouched| with_a_byte(vouched, 1, 200);
    refused(another_kind, "that a newer version wrote: upgrade this site");
}

#[test]
fn a_head_of_old_proves_nothing_new() {
    let mut trio = Trio::founded();
    let topic = create(&mut trio, &[]);
    assert!(trio.ask(1, append(topic, "one")).is_ok());
    trio.run_ms(50);
    let old = trio.entries_sent(1, 3).last().unwrap().clone();
    assert!(trio.ask(1, append(topic, "two")).is_ok());
    trio.run_ms(50);
    let new = trio.entries_sent(1, 3).last().unwrap().clone();
    let (held, alarms) = (trio.site(3).frontier(), trio.site(3).status(0).alarms);
    // Old entries under their head: known. New ones under an old head: no message at all.
    for replayed in [old.clone(), Vouched { entries: new.entries, ..old }] {
        trio.push(3, Event::Message { from: SiteId(2), message: Message::Entries(replayed) });
        trio.run_ms(10);
    }
    assert_eq!((trio.site(3).frontier(), trio.site(3).status(0).alarms), (held, alarms));
}

#[test]
fn two_histories_that_one_owner_signed_cost_it_its_good_name() {
    let mut trio = Trio::founded();
    let topic = create(&mut trio, &[]);
    assert!(trio.ask(1, append(topic, "one")).is_ok());
    trio.run_ms(50);
    let journal = JournalId::genesis(SiteId(1));
    let next = trio.site(3).frontier()[&journal];
    let stamp = trio.entries_sent(1, 3).last().unwrap().head.stamp;
    let stamp = Stamp::from_raw(stamp.raw() + 1);
    let (epoch, previous) = (MemberEpoch(1), ChainHash([0xbb; 32]));
    let body = Body::Trim(TrimBody::MARK);
    let other = Entry { journal, seq: next, stamp, epoch, previous, body }.encode().unwrap();
    trio.push_signed(3, &other);
    trio.run_ms(10);
    let status = trio.site(3).status(0);
    assert_eq!(status.quarantined, [journal], "{:?}", status.alarms);
}
