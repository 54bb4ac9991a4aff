//! The rules of the seal, checked exhaustively at 3 sites and at 5, before the code.
//!
//! One journal is sealed: its owner (site 0) may go on writing, cut off or not. Sites replicate, vote, crash, lose their
//! disks and come back, and read in every order that there is. The rules, each with a mutant below:
//!
//! 1. Per journal, one value is agreed on: the *cut*, the first seq that is not part of it. Ballots are voted on as in
//!    single-decree Paxos, by a majority of the members; votes are durable before they are told.
//! 2. Who promises a ballot *freezes* the journal: for the quorum of a release it reports no more of it than it held
//!    then, ever again, whatever arrives later. So what any site could release is below the frozen frontier of one site in
//!    every majority.
//! 3. The value is the one accepted at the highest ballot that the promisers tell of, else the highest frozen frontier, or
//!    what one of them has released, if that is more.
//! 4. A site accepts only when it durably holds all below the cut: what is agreed on survives any minority.
//! 5. What is decided stays frozen at the cut: a site that has not heard of the decision must not count a quorum for
//!    what lies beyond it. The tail comes back by an adoption, written once a majority *holds* it.
//! 6. A wiped site counts and votes again only when a majority of the others has written down that its old storage is gone and has
//!    told it their votes, which become its own, and when it holds what they held; of a journal that any of them voted on it reports nothing. A ballot that was promised by a storage that is gone is not accepted by
//!    who knows that, and an acceptance by a gone storage does not count beside one by who knows that.
//!
//! Left out without losing a behaviour: messages (a site knows at once what others report; hearing late releases later),
//! other journals (the seal of one is no other's business), and the owner's promises (a site that has not heard of the
//! decision may have any of them).

mod world;

use stateright::{Checker, HasDiscoveries, Model};
use world::{Bounds, Mutant, Setting};

const THREADS: usize = 2;

fn holds(name: &str, bounds: Bounds) {
    let checker = Setting { bounds, mutant: Mutant::None }.checker().threads(THREADS).spawn_bfs().join();
    println!("{name}: {} states, depth {}", checker.unique_state_count(), checker.max_depth());
    checker.assert_properties();
}

fn is_caught(mutant: Mutant, bounds: Bounds) {
    let checker = Setting { bounds, mutant }
        .checker()
        .threads(THREADS)
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    let failed = Setting { bounds, mutant }
        .properties()
        .into_iter()
        .filter(|property| property.expectation == stateright::Expectation::Always)
        .find_map(|property| Some((property.name, checker.discovery(property.name)?.into_actions())));
    println!("{mutant:?}: {failed:?}");
    assert!(failed.is_some(), "{mutant:?} was not caught in {} states", checker.unique_state_count());
}

/// Two ballots that race while the owner writes.
const THREE: Bounds = Bounds { sites: 3, entries: 2, ballots: 2, wipes: 0 };
/// The same with a third ballot.
const BALLOTS: Bounds = Bounds { sites: 3, entries: 1, ballots: 3, wipes: 0 };
/// One site loses its disk and comes back.
const WIPED: Bounds = Bounds { sites: 3, entries: 1, ballots: 2, wipes: 1 };
const FIVE: Bounds = Bounds { sites: 5, entries: 1, ballots: 2, wipes: 0 };

#[test]
fn the_seal_holds_at_three_sites() {
    holds("three sites, two ballots", THREE);
    holds("three sites, three ballots", BALLOTS);
}

#[test]
fn the_seal_holds_when_a_disk_is_lost() {
    holds("three sites, one disk lost", WIPED);
}

#[test]
fn the_seal_holds_at_five_sites() {
    holds("five sites, two ballots", FIVE);
}

#[test]
fn every_broken_rule_of_the_seal_is_caught() {
    for mutant in [
        Mutant::NotFrozen,
        Mutant::LowestFrontier,
        Mutant::AcceptedForgotten,
        Mutant::OlderBallotsAccepted,
        Mutant::AcceptsWithoutHolding,
        Mutant::ThawsAtTheDecision,
        Mutant::MinorityPromises,
        Mutant::AdoptsWhatOneHolds,
    ] {
        is_caught(mutant, THREE);
    }
    for mutant in [
        Mutant::WipedVotesAtOnce,
        Mutant::WipedVotesUnsynced,
        Mutant::GonePromisesCount,
        Mutant::GoneVotesCount,
    ] {
        is_caught(mutant, WIPED);
    }
}
