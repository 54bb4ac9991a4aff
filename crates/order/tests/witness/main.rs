//! The rules by which a witness lets one of two sites go on without the other, checked exhaustively before the code.
//!
//! That one side alone may go on without a half, by the rule that all who remain are the quorum, is checked in
//! `tests/members`; here it is checked that there is one only, whatever is lost meanwhile. The rules (what is left out of
//! one is a mutant below):
//!
//! 1. What is read is held by both sites, or by the one that goes on without the other. The witness holds nothing.
//! 2. Who is let go on is noted by the witness, durably before it tells; it lets nobody go on against whom a decision stands.
//!    A decision stands until its site was added again, as the one that asks sees it.
//! 3. A witness with a fresh disk votes when some site, and all that this one takes for those who remain, have told it what
//!    they know. Who has told a disk takes the word of no former one, though that may be back.
//! 4. Who was given up counts again when it has learned what those who went on know, and takes the word of the same disk.
//!
//! Left out: what a site wrote beyond its journal's end, which comes in as if it were written anew.
//!
//! The witness knows of no members. Who is removed while it is cut off asks in the epoch that it stands in (`removal`):
//!
//! 5. It lets nobody go on who asks in an earlier epoch than it has heard of.
//! 6. A word that leaves fewer than half of the members, as a site knows them by now, counts there no more.

mod removal;
mod world;

use std::fmt::Debug;
use std::hash::Hash;

use removal::Removals;
use stateright::{Checker, HasDiscoveries, Model};
use world::{Mutant, Rules};

const THREADS: usize = 2;

#[test]
fn one_goes_on_at_most() {
    let checker = Rules { mutant: Mutant::None }.checker().threads(THREADS).spawn_bfs().join();
    println!("{} states, depth {}", checker.unique_state_count(), checker.max_depth());
    checker.assert_properties();
}

#[test]
fn every_broken_rule_is_caught() {
    for mutant in [
        Mutant::WitnessHolds,
        Mutant::VotesTwice,
        Mutant::ForgetsWithItsDisk,
        Mutant::OneTells,
        Mutant::FormerWordCounts,
        Mutant::PledgeNotLearned,
    ] {
        is_caught(mutant, &Rules { mutant });
    }
}

#[test]
fn who_is_removed_does_not_go_on_beside_the_others() {
    let checker = Removals { mutant: removal::Mutant::None }.checker().threads(THREADS).spawn_bfs().join();
    println!("{} states, depth {}", checker.unique_state_count(), checker.max_depth());
    checker.assert_properties();
    for mutant in [removal::Mutant::BehindLetGoOn, removal::Mutant::WordOutlivesItsHalf] {
        is_caught(mutant, &Removals { mutant });
    }
}

fn is_caught<M>(mutant: impl Debug, rules: &M)
where
    M: Model + Clone + Send + Sync + 'static,
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync + 'static,
    M::Action: Debug + Clone + PartialEq + Send + 'static,
{
    let checker =
        rules.clone().checker().threads(THREADS).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let failed = rules
        .properties()
        .into_iter()
        .filter(|property| property.expectation == stateright::Expectation::Always)
        .find_map(|property| Some((property.name, checker.discovery(property.name)?.into_actions())));
    let failed = failed.unwrap_or_else(|| panic!("{mutant:?} was not caught"));
    println!("{mutant:?}: {failed:?}");
}
