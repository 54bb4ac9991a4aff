//! Checkers are only as good as the bugs they find: each known bug is put in, and must be found within some seeds, by
//! an invariant that it breaks.

use std::thread;

use sim::commands::mutants::look_for;
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
    caught(Mutant::SyncErrorIgnored, &[Kind::SyncFails], &["I-02", "I-07", "I-14"]);
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
    // A vote may be what was truncated.
    caught(Mutant::WalTruncated, &[Kind::Kill], &["I-03", "I-05", "I-20", "I-30"]);
}

#[test]
fn a_disk_put_back() {
    // Votes that a disk has forgotten are not seen to be missing elsewhere, but on the platter.
    caught(Mutant::DiskRolledBack, &[Kind::Kill], &["I-03", "I-05", "I-20", "I-34"]);
}

#[test]
fn an_entry_altered_on_its_way() {
    // It is taken in nowhere, so that nothing moves any more.
    caught(Mutant::EntryAltered, &[], &["I-16"]);
}

#[test]
fn a_signature_unchecked() {
    // What was invented breaks its owner's promises too, and then costs the owner its good name.
    let unchecked = Mutant::Inside(site::Mutant::SignatureUnchecked);
    caught(unchecked, &[Kind::Forge, Kind::Ring, Kind::Block], &["I-50", "I-01", "I-12"]);
}

#[test]
fn a_wal_that_is_not_looked_at() {
    let skipped = Mutant::Inside(site::Mutant::LookbackSkipped);
    caught(skipped, &[Kind::Decay, Kind::Kill, Kind::Isolate], &["I-06", "I-16"]);
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
fn ending_for_lack_of_room() {
    caught(Mutant::Inside(site::Mutant::LogsNotAwaited), &[Kind::Crowd], &["I-08"]);
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

/// Some bugs show in one seed of dozens only: they are looked for where they do.
fn first_of(mutant: Mutant) -> u64 {
    match mutant {
        Mutant::Inside(site::Mutant::AdoptedUnheld) => 15,
        Mutant::Inside(site::Mutant::CeilingNotAwaited) => 15,
        Mutant::Inside(site::Mutant::ProducersForgotten) => 15,
        _ => 0,
    }
}

/// All others, as the table of `sim mutants` has them: any invariant may be the one.
#[test]
fn every_bug_is_found() {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let missed: Vec<String> = thread::scope(|scope| {
        let part = |first: usize| {
            let mutants = Mutant::ALL[16..].iter().skip(first).step_by(threads);
            scope.spawn(move || {
                mutants
                    .filter(|it| look_for(**it, first_of(**it)).is_none())
                    .map(ToString::to_string)
                    .collect()
            })
        };
        let parts: Vec<_> = (0..threads).map(part).collect();
        parts.into_iter().flat_map(|part| -> Vec<String> { part.join().unwrap() }).collect()
    });
    assert!(missed.is_empty(), "not found: {missed:?}");
}
