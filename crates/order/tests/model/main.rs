//! The rules of the order, checked exhaustively at a small size, before and beside the code.
//!
//! Three sites say, sync, replicate, promise and crash in every order that there is; every site releases as early as the
//! rules let it. The rules, as the model needs them (each has a mutant below that shows what it is for):
//!
//! 1. A promise (w, head) is made only when every own entry stamped ≤ w is durable; head is the durable end. From then
//!    on, and after any crash, everything is stamped above w: a start goes on above the durable ceiling, not above the
//!    last durable entry.
//! 2. A promise counts only where all below its head is held. A held entry is a promise of its own stamp.
//! 3. An entry is released when every open journal has promised its sort stamp, a majority of the *members* (not of
//!    those that are open or heard) durably holds it, and all before it is released.
//! 4. The next entry is the smallest (sort stamp, site, incarnation, seq) among the first waiting entries of the open
//!    journals. The order is the run of this rule, not a sort by key: an entry behind an opening may share its stamp
//!    and have the smaller site; it still comes after the opening.
//! 5. Parting and opening act at their own place in the order: not when held, not when their stamp is stable. The
//!    promise of a parted journal is not required from that place on, and its later entries wait, however old.
//! 6. An opening names the parting that it answers. It is void unless its journal is closed at exactly that place; so
//!    of two openings the first in the order wins, and one from before the parting does nothing.
//! 7. Behind an opening, entries sort at max(own stamp, the opening's sort stamp). Hence sort stamps never go back, and
//!    "promised ≥ the sort stamp" needs no second case for reopened journals.
//! 8. A parting that would leave too few open journals is void: nobody could ever write a valid opening again. With no
//!    end agreed on, two of three stay; what ends have to do with it is in `tests/leaving`.
//!
//! What the model leaves out without losing a behaviour: messages (a site knows at once what others promised and hold;
//! knowing late only releases later, and releasing is always the earliest possible here), and a ceiling above the
//! last stamp (stamps may be skipped freely, so the ceiling can be taken for the last stamp).
//! What it leaves out: wiped disks, seals, adoption, more than one incarnation.

mod merge;
mod world;

use stateright::{Checker, HasDiscoveries, Model};
use world::{Bounds, Kinds, Mutant, Setting};

/// Threads of one checker: the machine is shared with the other tests.
const THREADS: usize = 2;

/// Checks the rules as they are; every reachable state is looked at.
fn holds(name: &str, bounds: Bounds) {
    let checker = Setting { bounds, mutant: Mutant::None }.checker().threads(THREADS).spawn_bfs().join();
    println!(
        "{name}: {} states ({} with repeats), depth {}",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
    );
    checker.assert_properties();
}

/// Checks broken rules; some safety property has to fail.
fn is_caught(mutant: Mutant, bounds: Bounds) {
    let checker = Setting { bounds, mutant }
        .checker()
        .threads(THREADS)
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    let properties = Setting { bounds, mutant }.properties();
    let failed: Vec<_> = properties
        .into_iter()
        .filter(|property| property.expectation == stateright::Expectation::Always)
        .filter_map(|property| {
            checker.discovery(property.name).map(|path| (property.name, path.into_actions()))
        })
        .collect();
    for (property, actions) in &failed {
        println!("{mutant:?} breaks \"{property}\": {actions:?}");
    }
    assert!(!failed.is_empty(), "{mutant:?} was not caught in {} states", checker.unique_state_count());
}

/// Plain entries and one crash.
const DATA: Bounds = Bounds { stamps: 3, entries: 3, entries_each: [2; 3], crashes: 1, kinds: Kinds::Data };
/// One site leaves and comes back, the two others open it, perhaps both.
const PARTING: Bounds =
    Bounds { stamps: 3, entries: 4, entries_each: [2, 1, 1], crashes: 0, kinds: Kinds::OneParts };
/// Everyone tries to leave.
const LEAVING: Bounds =
    Bounds { stamps: 3, entries: 3, entries_each: [2; 3], crashes: 0, kinds: Kinds::AllPart };

#[test]
fn the_order_of_plain_entries_holds() {
    holds("plain entries, one crash", DATA);
}

#[test]
fn the_order_holds_while_a_journal_parts_and_opens() {
    holds("one journal parts and is opened", PARTING);
}

#[test]
fn the_order_holds_when_everyone_leaves() {
    holds("everyone leaves", LEAVING);
}

#[test]
fn every_broken_rule_is_caught() {
    for mutant in [
        Mutant::PromiseBeforeDurable,
        Mutant::CeilingForgotten,
        Mutant::PromiseBeforeHead,
        Mutant::LocalHold,
        Mutant::IgnoresOneJournal,
        Mutant::PassesTheBlocked,
    ] {
        is_caught(mutant, DATA);
    }
    for mutant in [Mutant::OpensWhenHeld, Mutant::OpensAtOwnStamp] {
        is_caught(mutant, PARTING);
    }
    for mutant in [Mutant::PartsWhenHeld, Mutant::LastMayPart, Mutant::QuorumOfOpen] {
        is_caught(mutant, LEAVING);
    }
}
