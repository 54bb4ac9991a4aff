//! The rules by which members come and go, checked exhaustively before the code.
//!
//! The members of a cluster have an *epoch*. A change is an entry of the merged order; it adds or removes one site and takes
//! effect at its place. One journal is under vote meanwhile (the rules of that are in `tests/seal`), its owner writes, and
//! the places of its entries and of the changes in the merged order are fixed. The rules (what is left out of one is a
//! mutant below):
//!
//! 1. What lies in front of a change is released when a majority of the members before it report it, what lies behind
//!    it when a majority of the members after it do.
//! 2. A ballot belongs to an epoch; only members of that epoch vote, and only while it is theirs: who has released a change
//!    votes in the epoch before it no more.
//! 3. A site *enters* an epoch, one after the other: it has released the change, and a majority of the members before it,
//!    who have entered the epoch before and vote in it no more, have told it their votes; or one who has entered tells.
//!    They become its own. Before that it does not vote in the new epoch, and nothing it reports counts there.
//! 4. Of a journal that anybody voted on it then reports nothing until the end is known: what it reported before may be
//!    more than what was agreed on.
//! 5. An operator may give sites up, until their removal is in the order. For who knows that, all the others together are
//!    enough, and no fewer, wherever it takes a majority of the members. Who does not know it goes on as ever: a majority
//!    of the members contains one of those who remain, as long as no majority is given up and only one side gives up.
//! 6. A site enters an epoch only when it holds all in front of every end that it has learned somebody has accepted. Each
//!    change takes one holder away at most; two of them in a row could otherwise leave what was agreed on with a minority.
//!
//! Since any decision in an epoch was accepted by one of those who told, everybody who has entered the next knows it; and
//! since everything in front of a change is held by whoever released it, no cut of a later epoch can fall below what an
//! earlier one released. Neighbouring epochs differ by one site, so that what the majority before a change held is held
//! by more than a minority after it.
//!
//! Left out without losing a behaviour: messages (but what was reported in an epoch may be counted in it for ever after),
//! and who holds the changes themselves; but a change is released as those report who have entered the epoch in front of it.

mod world;

use stateright::{Checker, Expectation, HasDiscoveries, Model};
use world::{Mutant, Place, Setting};

const THREADS: usize = 2;

fn holds(name: &str, setting: Setting) {
    let checker = setting.checker().threads(THREADS).spawn_bfs().join();
    println!("{name}: {} states, depth {}", checker.unique_state_count(), checker.max_depth());
    checker.assert_properties();
}

fn is_caught(mutant: Mutant, settings: &[Setting]) {
    for setting in settings {
        let setting = Setting { mutant, ..*setting };
        let checker =
            setting.checker().threads(THREADS).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
        let failed = setting
            .properties()
            .into_iter()
            .filter(|property| property.expectation == stateright::Expectation::Always)
            .find_map(|property| Some((property.name, checker.discovery(property.name)?.into_actions())));
        if let Some(failed) = failed {
            return println!("{mutant:?}: {failed:?}");
        }
    }
    panic!("{mutant:?} was not caught");
}

/// A third site is added while the journal is under vote and its owner writes on.
const ADDED: Setting = Setting {
    members: &[0b011, 0b111],
    places: &[Place::Change, Place::Entry],
    sites: 3,
    ballots: 2,
    lost: 0,
    agreed: 0,
    mutant: Mutant::None,
};
/// The same with an entry in front of the change.
const BEHIND: Setting = Setting { places: &[Place::Entry, Place::Change, Place::Entry], ..ADDED };
/// One of three is removed: the owner.
const REMOVED: Setting = Setting { members: &[0b111, 0b110], ..ADDED };
/// The only site gets company and leaves: the first epoch and the last have majorities without a common member.
const MOVED: Setting = Setting {
    members: &[0b01, 0b11, 0b10],
    places: &[Place::Change, Place::Entry, Place::Change, Place::Entry],
    sites: 2,
    ..ADDED
};
/// A third is added, and the first leaves.
const TURNED: Setting = Setting {
    members: &[0b011, 0b111, 0b110],
    places: &[Place::Change, Place::Change, Place::Entry],
    sites: 3,
    ballots: 1,
    lost: 0,
    agreed: 0,
    mutant: Mutant::None,
};
/// One of two is given up, and writes on where nobody hears it: its own journal is under vote.
const GIVEN_UP: Setting = Setting {
    members: &[0b11, 0b10],
    places: &[Place::Entry, Place::Change, Place::Entry],
    sites: 2,
    lost: 0b01,
    ..ADDED
};
/// The same, and the journal of the one that remains is under vote.
const REMAINS: Setting = Setting { members: &[0b11, 0b01], lost: 0b10, ..GIVEN_UP };
/// One of three is given up, before the others had agreed without an operator.
const ONE_OF_THREE: Setting = Setting { members: &[0b111, 0b110], sites: 3, ..GIVEN_UP };
/// Two of three are given up.
const TWO_OF_THREE: Setting =
    Setting { members: &[0b111, 0b110, 0b100], sites: 3, ballots: 1, lost: 0b011, ..GIVEN_UP };

#[test]
fn votes_and_releases_hold_across_a_change() {
    holds("a site is added", ADDED);
    holds("a site is added behind an entry", BEHIND);
    holds("a site is removed", REMOVED);
}

#[test]
fn votes_and_releases_hold_across_two_changes() {
    holds("a cluster of one moves", MOVED);
    holds("a third site is added and the first leaves", TURNED);
}

/// Two of five are removed, one after the other, and were two of the three who agreed on an end.
const SHRUNK: Setting = Setting {
    members: &[0b11111, 0b01111, 0b00111],
    places: &[Place::Change, Place::Change, Place::Entry],
    sites: 5,
    ballots: 1,
    lost: 0,
    agreed: 0b11001,
    mutant: Mutant::None,
};

#[test]
fn what_was_agreed_on_outlives_two_removals() {
    let checker = SHRUNK.checker().threads(THREADS).spawn_bfs().join();
    println!(
        "two of five are removed: {} states, depth {}",
        checker.unique_state_count(),
        checker.max_depth()
    );
    let always = SHRUNK.properties().into_iter().filter(|it| it.expectation == Expectation::Always);
    for property in always {
        let found = checker.discovery(property.name).map(|path| path.into_actions());
        assert_eq!(found, None, "{}", property.name);
    }
    is_caught(Mutant::EntersUnheld, &[SHRUNK]);
}

#[test]
fn votes_and_releases_hold_where_a_half_or_less_is_given_up() {
    holds("one of two is given up", GIVEN_UP);
    holds("one of two is given up, and the other wrote", REMAINS);
    holds("one of three is given up", ONE_OF_THREE);
}

/// That is why sites compare what they have released before they link.
#[test]
fn a_majority_that_is_given_up_may_have_released_what_nobody_else_holds() {
    let outlives = "what is released outlives those who are given up";
    let checker =
        TWO_OF_THREE.checker().threads(THREADS).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let found = TWO_OF_THREE.properties().into_iter().find(|property| property.name == outlives);
    assert!(found.and_then(|property| checker.discovery(property.name)).is_some());
}

#[test]
fn every_broken_rule_of_a_forced_decision_is_caught() {
    for mutant in [Mutant::OneOfTheRest, Mutant::LostCount, Mutant::BothHalves] {
        is_caught(mutant, &[GIVEN_UP, REMAINS, ONE_OF_THREE]);
    }
}

#[test]
fn every_broken_rule_of_a_change_is_caught() {
    for mutant in [
        Mutant::OldMajorityBehind,
        Mutant::VotesOn,
        Mutant::EntersUntold,
        Mutant::FewerTell,
        Mutant::TellersVoteOn,
        Mutant::CountsUnentered,
        Mutant::NotFrozen,
    ] {
        is_caught(mutant, &[MOVED, ADDED, BEHIND, REMOVED, TURNED]);
    }
}
