//! Small cases, gone through to the last: `sim exhaust` goes through large ones.

use sim::exhaust::{crash, damage};

const SMALL: damage::Wanted =
    damage::Wanted { bytes: 20 << 10, segment_bytes: 8 << 10, threads: 2, share: damage::Share::WHOLE };

/// I-05.
#[test]
fn no_flipped_bit_costs_what_a_later_commit_proves() {
    let counts = damage::flips(SMALL, false).unwrap();
    assert_eq!(counts.tried, counts.bytes * 8);
    assert_eq!(counts.unprovable, 0, "a flipped bit is never silent: {counts}");
    assert!(counts.refused > counts.tried / 4 && counts.reported > 0, "{counts}");
}

/// I-05 and I-06.
#[test]
fn no_flipped_bit_before_a_checkpoint_goes_unseen() {
    let counts = damage::flips(SMALL, true).unwrap();
    assert_eq!((counts.reported, counts.unprovable), (0, 0), "a checkpoint proves everything: {counts}");
    assert!(counts.found > counts.tried / 4 && counts.refused > 0, "{counts}");
}

/// I-05.
#[test]
fn no_cut_costs_what_a_later_commit_or_a_checkpoint_proves() {
    let counts = damage::cuts(SMALL, false).unwrap();
    assert_eq!(counts.tried, counts.bytes);
    let covered = damage::cuts(SMALL, true).unwrap();
    assert_eq!((covered.reported, covered.unprovable), (0, 0), "a checkpoint proves everything: {covered}");
}

/// I-02, I-05, I-14, I-20 and I-22.
#[test]
fn no_power_cut_takes_back_what_was_told() {
    let counts = crash::everywhere(crash::Wanted { rounds: 4, open_max: 4, threads: 2 }).unwrap();
    assert!(counts.operations > 80 && counts.platters > 1_000, "{counts}");
    assert!(counts.recoveries > 200 && counts.torn > 10, "{counts}");
}
