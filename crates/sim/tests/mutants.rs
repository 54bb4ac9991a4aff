//! Checkers are only as good as the bugs they find: each known bug is put in, and must be found within some seeds, by
//! an invariant that it breaks.

use sim::swarm::Kind;
use sim::{Mutant, Options, run};

/// How many seeds may pass before a bug is found.
const SEEDS: u64 = 60;

fn caught(mutant: Mutant, also: &[Kind], by: &[&str]) {
    let options = Options { mutant: Some(mutant), also: also.to_vec(), ..Options::default() };
    for seed in 0..SEEDS {
        if let Err(failure) = run(seed, &options) {
            let found = failure.violation.invariant;
            assert!(by.contains(&found), "{mutant:?} was found by {found}, not by {by:?}: {failure}");
            return;
        }
    }
    panic!("{mutant:?} was not found in {SEEDS} seeds");
}

#[test]
fn acknowledging_before_the_sync() {
    caught(Mutant::AckBeforeSync, &[], &["I-02", "I-14"]);
}

#[test]
fn a_sync_that_lies() {
    caught(Mutant::SyncLies, &[], &["I-02", "I-14"]);
}

#[test]
fn going_on_after_a_failed_sync() {
    caught(Mutant::SyncErrorIgnored, &[Kind::SyncFails], &["I-02", "I-14"]);
}

#[test]
fn promising_more_than_is_kept() {
    caught(Mutant::PromiseAhead, &[], &["I-22"]);
}

#[test]
fn claiming_more_than_is_held() {
    caught(Mutant::FrontierAhead, &[], &["I-14"]);
}

#[test]
fn truncating_a_durable_commit() {
    caught(Mutant::WalTruncated, &[Kind::Kill], &["I-03", "I-05", "I-20"]);
}

#[test]
fn a_disk_put_back() {
    caught(Mutant::DiskRolledBack, &[Kind::Kill], &["I-03", "I-05", "I-20"]);
}

#[test]
fn an_entry_altered_on_its_way() {
    caught(Mutant::EntryAltered, &[], &["I-01"]);
}

#[test]
fn a_checkpoint_lost() {
    caught(Mutant::CheckpointLost, &[Kind::Kill, Kind::Kill], &["I-05", "I-03"]);
}

#[test]
fn a_checkpoint_of_files_that_were_not_synced() {
    caught(Mutant::CheckpointUnsynced, &[Kind::Power, Kind::PowerAll], &["I-05"]);
}

#[test]
fn a_ceiling_forgotten() {
    caught(Mutant::CeilingForgotten, &[Kind::Kill, Kind::Jump], &["I-22", "I-26"]);
}

#[test]
fn a_release_forgotten() {
    caught(Mutant::ReleaseForgotten, &[Kind::Kill, Kind::Isolate], &["I-20"]);
}

#[test]
fn a_quorum_of_one() {
    caught(Mutant::QuorumOfOne, &[], &["I-21"]);
}

#[test]
fn releasing_without_promises() {
    // The sites notice it themselves (I-12): an entry comes that its owner had promised away.
    caught(Mutant::PromisesIgnored, &[], &["I-12", "I-18", "I-21", "I-23"]);
}

#[test]
fn keeping_duplicates() {
    caught(Mutant::DuplicatesKept, &[Kind::Kill, Kind::Isolate], &["I-19"]);
}

#[test]
fn losing_rewinds() {
    caught(Mutant::RewindsLost, &[], &["I-36"]);
}
