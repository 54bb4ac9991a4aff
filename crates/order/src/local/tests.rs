//! Retries and refusals, case by case.

use clock::Stamp;
use entry::TopicId;
use uuid::Uuid;

use super::{ANSWERS_MAX, KEYS_MAX, LocalVerdict, LocalWindow};
use crate::producers::ProducerKey;

fn key(id: i64) -> ProducerKey {
    ProducerKey { id, epoch: 0, topic: TopicId(Uuid::from_u128(1)), partition: 0 }
}

fn at(stamp: u64) -> Stamp {
    Stamp::from_raw(stamp)
}

#[test]
fn a_retry_gets_the_answer_it_missed() {
    let mut window = LocalWindow::default();
    assert_eq!(window.admit(key(1), 0, 2), LocalVerdict::Fresh);
    for n in 0..=ANSWERS_MAX as i32 {
        window.appended(key(1), 2 * n, 2, n as u64, at(n as u64 + 10));
    }
    assert_eq!(window.admit(key(1), 2, 2), LocalVerdict::Known { seq: 1, stamp: at(11) });
    assert_eq!(window.admit(key(1), 2, 1), LocalVerdict::Fresh, "another batch: the merged order judges it");
    assert_eq!(window.admit(key(1), 0, 2), LocalVerdict::Fresh, "forgotten: the merged order judges it");
    assert_eq!(window.admit(key(2), 2, 2), LocalVerdict::Fresh);
}

#[test]
fn what_was_sent_behind_a_refused_batch_waits_for_it() {
    let mut window = LocalWindow::default();
    window.appended(key(1), 0, 1, 0, at(1));
    window.refused(key(1), 1);
    assert_eq!(window.admit(key(1), 2, 1), LocalVerdict::AfterRefusal);
    window.refused(key(1), 2);
    assert_eq!(window.admit(key(1), 3, 1), LocalVerdict::AfterRefusal);
    assert_eq!(window.admit(key(1), 0, 1), LocalVerdict::Known { seq: 0, stamp: at(1) });
    assert_eq!(window.admit(key(1), 1, 1), LocalVerdict::Fresh);
    window.appended(key(1), 1, 1, 1, at(2));
    assert_eq!(window.admit(key(1), 2, 1), LocalVerdict::Fresh);
    assert_eq!(window.admit(key(2), 9, 1), LocalVerdict::Fresh, "another producer is not concerned");
}

#[test]
fn nothing_waits_for_a_batch_that_went_elsewhere() {
    let mut window = LocalWindow::default();
    window.refused(key(1), 5);
    // Refused once more, with all that was behind it.
    assert_eq!(window.admit(key(1), 6, 1), LocalVerdict::AfterRefusal);
    window.refused(key(1), 5);
    assert_eq!(window.admit(key(1), 6, 1), LocalVerdict::AfterRefusal, "the refused one came in between");
    // The producer went to another site with 5 to 7, and is back.
    assert_eq!(window.admit(key(1), 8, 1), LocalVerdict::AfterRefusal);
    assert_eq!(window.admit(key(1), 9, 1), LocalVerdict::AfterRefusal);
    assert_eq!(window.admit(key(1), 8, 1), LocalVerdict::Fresh);
    window.appended(key(1), 8, 1, 1, at(1));
    assert_eq!(window.admit(key(1), 9, 1), LocalVerdict::Fresh);
}

#[test]
fn a_refusal_holds_across_the_end_of_the_numbers() {
    let mut window = LocalWindow::default();
    window.refused(key(1), i32::MAX);
    assert_eq!(window.admit(key(1), 0, 1), LocalVerdict::AfterRefusal);
    assert_eq!(window.admit(key(1), i32::MAX - 1, 1), LocalVerdict::Fresh);
}

#[test]
fn keys_are_bounded_and_the_longest_unused_goes_first() {
    let mut window = LocalWindow::default();
    for id in 0..KEYS_MAX as i64 {
        window.appended(key(id), 0, 1, id as u64, at(1));
    }
    window.appended(key(0), 1, 1, 0, at(2));
    window.appended(key(-1), 0, 1, 0, at(3));
    assert_eq!((window.lately.len(), window.by_use.len()), (KEYS_MAX, KEYS_MAX));
    assert_ne!(window.admit(key(0), 0, 1), LocalVerdict::Fresh);
    assert_eq!(window.admit(key(1), 0, 1), LocalVerdict::Fresh);
}
