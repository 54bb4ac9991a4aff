//! Taking over what others have dropped, and what must never come of it.

use std::collections::BTreeMap;

use disk::{Disk as _, FileName};
use entry::{ChainHash, JournalId, SiteId, TopicId};
use journal::checkpoint;

use super::trio::Trio;
use super::{append, create};
use crate::checkpoint::Checkpoint;
use crate::wire::SignedHead;
use crate::{Limits, NotBelieved, Reading};

/// Short segments, checkpoints often, and a WAL that waits for nobody.
fn impatient() -> Trio {
    impatient_fencing_after(0)
}

fn impatient_fencing_after(fence_timeout_ms: u64) -> Trio {
    Trio::founded_with(
        Limits {
            checkpoint_bytes: 4000,
            wal_segment_bytes: 1 << 14,
            wal_bytes_max: 1 << 14,
            message_bytes: 2000,
            hot_bytes: 2000,
            ..Limits::default()
        },
        fence_timeout_ms,
    )
}

fn fill(trio: &mut Trio, topic: TopicId, sites: &[u16], rounds: usize) {
    for round in 0..rounds {
        for site in sites {
            let text = format!("{round} from {site} {}", "x".repeat(500));
            trio.ask(*site, append(topic, &text)).unwrap();
        }
    }
    trio.run_ms(100);
}

fn logs(trio: &Trio, topic: TopicId) -> Vec<Vec<String>> {
    (1..=3).map(|site| trio.values(site, topic, Reading::Merged)).collect()
}

fn dropped(trio: &Trio, id: u16) -> bool {
    let status = trio.site(id).wal_status();
    let files = trio.site(id).pipeline.wal.oldest();
    files.segment > 1 && status.bytes > 0
}

#[test]
fn a_wiped_site_takes_over_what_the_others_have_dropped_and_goes_on() {
    let mut trio = impatient();
    let topic = create(&mut trio, &[]);
    fill(&mut trio, topic, &[1, 2, 3], 40);
    assert!(dropped(&trio, 1) && dropped(&trio, 2), "the test is about a WAL that was dropped");
    trio.crash(3);
    trio.wipe(3);
    trio.start_joining(3);
    trio.run_ms(4000);
    assert_eq!(trio.restarts, 1);
    let before = logs(&trio, topic);
    assert_eq!(before[0].len(), 120);
    assert_eq!(before[2], before[0]);
    assert_eq!(trio.digest(3, topic), trio.digest(1, topic));
    let origin = Reading::Origin(SiteId(1));
    assert_eq!(trio.values(3, topic, origin), trio.values(1, topic, origin));
    trio.ask(3, append(topic, "in a new life")).unwrap();
    trio.run_ms(300);
    let own = Reading::Origin(SiteId(3));
    assert_eq!(trio.values(1, topic, own), trio.values(3, topic, own));
    assert!(trio.disk(3).list(&FileName::new("copy").unwrap()).unwrap().is_empty(), "nothing is left over");
    assert!(trio.disk(3).list(&FileName::new("taken").unwrap()).unwrap().is_empty());
    // And all of it is there again after a restart.
    trio.crash(3);
    trio.start(3);
    trio.run_ms(2000);
    assert_eq!(logs(&trio, topic)[2][..120], before[0]);
}

#[test]
fn a_site_that_was_long_away_keeps_its_own_tail_and_copies_the_rest() {
    let mut trio = impatient_fencing_after(1000);
    let topic = create(&mut trio, &[]);
    fill(&mut trio, topic, &[1, 2, 3], 10);
    trio.cut(3);
    trio.run_ms(3000);
    fill(&mut trio, topic, &[3], 40);
    fill(&mut trio, topic, &[1, 2], 40);
    let own = Reading::Origin(SiteId(3));
    let tail = trio.values(3, topic, own);
    assert_eq!(tail.len(), 50);
    trio.run_ms(1100);
    assert_eq!(trio.site(1).wal_status().left_behind, [SiteId(3)]);
    assert!(trio.said.contains(&(1, "the WAL goes on without site-3: it has to copy files".into())));
    trio.heal(3);
    trio.run_ms(6000);
    assert_eq!(trio.restarts, 1);
    for site in 1..=3 {
        assert_eq!(trio.values(site, topic, own), tail, "at site {site}");
    }
    let all = logs(&trio, topic);
    assert_eq!(all[0].len(), 30 + 40 + 80);
    assert!(all[1] == all[0] && all[2] == all[0]);
    fill(&mut trio, topic, &[1, 2, 3], 3);
    let all = logs(&trio, topic);
    assert!(all[0].len() == 159 && all[1] == all[0] && all[2] == all[0]);
}

#[test]
fn a_second_copy_may_hold_no_less_than_the_first() {
    let mut trio = impatient_fencing_after(1000);
    let topic = create(&mut trio, &[]);
    fill(&mut trio, topic, &[1, 2, 3], 2);
    trio.cut(3);
    trio.run_ms(3000);
    fill(&mut trio, topic, &[1, 2], 60);
    trio.run_ms(1100);
    trio.heal(3);
    for _ in 0..60_000 {
        if trio.restarts == 0 {
            trio.step_once();
        }
    }
    assert_eq!(trio.restarts, 1);
    // The WAL here holds the first of what site 1 wrote, and nothing of what came with the copy: no later one may hold less.
    let (site, journal) = (trio.site(3), JournalId::genesis(SiteId(1)));
    let mut chains: BTreeMap<_, _> = site
        .journals
        .frontier()
        .into_keys()
        .map(|journal| (journal, site.journals.durable_chain(journal)))
        .collect();
    let next = chains[&journal].next;
    assert!(site.pipeline.wal.first_on_disk(journal).is_some_and(|first| first < next));
    assert!(site.pipeline.wal.next(journal) < Some(next));
    assert!(site.is_of_use(&chains));
    chains.get_mut(&journal).unwrap().next -= 1;
    assert!(!site.is_of_use(&chains));
}

#[test]
fn a_copy_that_is_cut_or_restarted_goes_on_where_it_was() {
    let mut trio = impatient();
    let topic = create(&mut trio, &[]);
    fill(&mut trio, topic, &[1, 2, 3], 60);
    let one = trio.values(1, topic, Reading::Merged).len();
    trio.crash(3);
    trio.wipe(3);
    // The links fall silent in the middle of it.
    trio.cut_after = Some(trio.sent_bytes + 60_000);
    trio.start_joining(3);
    trio.run_ms(1000);
    assert_eq!(trio.restarts, 0);
    let here = trio.disk(3).list(&FileName::new("copy").unwrap()).unwrap();
    assert!(!here.is_empty(), "some of it is here");
    trio.crash(3);
    trio.cut_after = None;
    let before = trio.sent_bytes;
    trio.start(3);
    trio.run_ms(4000);
    assert_eq!(trio.restarts, 1);
    assert_eq!(trio.values(3, topic, Reading::Merged).len(), one);
    assert!(trio.sent_bytes > before);
    assert_eq!(trio.digest(3, topic), trio.digest(1, topic));
}

#[test]
fn a_donor_with_a_damaged_file_is_passed_over() {
    let mut trio = impatient();
    let topic = create(&mut trio, &[]);
    fill(&mut trio, topic, &[1, 2, 3], 40);
    trio.crash(3);
    trio.wipe(3);
    let folder = FileName::new("logs").unwrap();
    let files = trio.disk(1).list(&folder).unwrap();
    let segment = files.iter().find(|file| file.last().ends_with(".log")).unwrap().clone();
    trio.disk(1).file_mut(&segment).unwrap()[700] ^= 1;
    trio.start_joining(3);
    trio.run_ms(8000);
    assert_eq!(trio.restarts, 1);
    assert_eq!(trio.values(3, topic, Reading::Merged), trio.values(2, topic, Reading::Merged));
    let text = "is gone or damaged";
    assert!(trio.said.iter().any(|(id, said)| *id == 3 && said.contains(text)), "{:#?}", trio.said);
}

#[test]
fn a_backup_put_back_takes_its_own_journal_back_as_a_copy() {
    let mut trio = impatient();
    let topic = create(&mut trio, &[]);
    fill(&mut trio, topic, &[1, 2, 3], 5);
    trio.crash(3);
    let backup = trio.disk(3).clone();
    trio.start(3);
    trio.run_ms(2000);
    fill(&mut trio, topic, &[1, 2, 3], 60);
    let own = Reading::Origin(SiteId(3));
    let written = trio.values(3, topic, own);
    trio.crash(3);
    *trio.disk(3) = backup;
    trio.start(3);
    trio.run_ms(8000);
    assert_eq!(trio.restarts, 1, "{:#?}", trio.said);
    assert_eq!(trio.values(3, topic, own), written);
    trio.ask(3, append(topic, "further")).unwrap();
    trio.run_ms(500);
    assert_eq!(trio.values(1, topic, own).len(), written.len() + 1);
    assert_eq!(trio.values(3, topic, Reading::Merged), trio.values(1, topic, Reading::Merged));
}

#[test]
fn a_state_is_taken_over_only_if_the_owners_of_its_journals_vouch_for_it() {
    let mut trio = impatient();
    let topic = create(&mut trio, &[]);
    fill(&mut trio, topic, &[1, 2, 3], 20);
    let state = |trio: &mut Trio| {
        let found = checkpoint::read(trio.disk(1), &FileName::root().join("checkpoint")).unwrap().unwrap();
        Checkpoint::decode(&found.checkpoint.state).unwrap()
    };
    let whole = state(&mut trio);
    assert_eq!(whole.chains.len(), 3);
    assert_eq!(trio.site(3).vouched_for(&whole), Ok(()));
    for journal in whole.chains.keys() {
        let mut longer = state(&mut trio);
        longer.chains.get_mut(journal).unwrap().next += 1;
        assert_eq!(trio.site(3).vouched_for(&longer), Err(NotBelieved::NotShown), "{journal}");
        let mut other = state(&mut trio);
        let chain = other.chains.get_mut(journal).unwrap();
        chain.hash = ChainHash([0xbb; 32]);
        let (head, certificate) = whole.heads.proof(*journal, &whole.chains[journal]).unwrap();
        other.heads.add((SignedHead { hash: chain.hash, ..head.clone() }, certificate.clone()));
        assert_eq!(trio.site(3).vouched_for(&other), Err(NotBelieved::Signature), "{journal}");
    }
}
