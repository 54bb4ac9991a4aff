//! The order against a naive one, on generated histories: what is released, when, and again after recovery.
//!
//! A history is what the journals of a few sites say in the end; a delivery is an order in which one site learns of it.
//! However it is delivered, releases follow the one sequence of [`naive`], and go exactly as far as the rules allow.

mod history;
mod naive;

use std::cell::Cell;

use clock::Stamp;
use entry::{Seq, StorageId};
use history::{History, JOURNALS, MEMBERS, history};
use naive::Naive;
use order::{Effect, Order, Release};
use proptest::prelude::{ProptestConfig, Strategy, any, proptest};
use proptest::test_runner::TestRunner;

/// One thing that a site learns.
#[derive(Debug, Clone, Copy)]
enum News {
    /// The next entry of a journal.
    Held { journal: usize },
    /// A promise of a journal, the `nth` of those that its owner could truthfully make.
    Promised { journal: usize, nth: u64, late: Seq },
    /// A member's frontier.
    Counted { member: usize, journal: usize, next: Seq },
    /// Time to release.
    Release { max: usize },
    /// A crash, and recovery from a checkpoint made now.
    Restored,
}

fn news() -> impl Strategy<Value = Vec<News>> {
    let one =
        (0..20u8, 0..JOURNALS.len(), any::<u64>(), 0..12u64).prop_map(
            |(kind, journal, nth, small)| match kind {
                0..9 => News::Held { journal },
                9..13 => News::Promised { journal, nth, late: small / 4 },
                13..17 => News::Counted { member: (nth % 3) as usize, journal, next: small },
                17..19 => News::Release { max: small as usize },
                _ => News::Restored,
            },
        );
    proptest::collection::vec(one, 0..120)
}

/// A site under test, and the naive one beside it.
struct Pair<'a> {
    history: &'a History,
    order: Order,
    naive: Naive<'a>,
    released: Vec<Release>,
}

impl<'a> Pair<'a> {
    fn new(history: &'a History) -> Pair<'a> {
        let order = Order::new(MEMBERS[0], &MEMBERS);
        Pair { history, order, naive: Naive::new(history), released: Vec::new() }
    }

    fn learn(&mut self, news: News) {
        match news {
            News::Held { journal } => self.hold(journal),
            News::Promised { journal, nth, late } => {
                let (w, head) = self.history.promise(journal, nth, late);
                self.order.promised(JOURNALS[journal], w, head);
                if self.is_known(journal) {
                    self.naive.promised(journal, w, head);
                }
            }
            News::Counted { member, journal, next } => {
                let next = next.min(self.history.said[journal].len() as u64);
                self.count(member, journal, next);
            }
            News::Release { max } => self.release(max),
            News::Restored => self.restore(),
        }
    }

    /// Promises of journals that nothing is known of yet are not kept.
    fn is_known(&self, journal: usize) -> bool {
        let opened = Effect::Opened { journal: JOURNALS[journal] };
        journal < MEMBERS.len()
            || self.naive.held[journal] > 0
            || self.released.iter().any(|release| release.effect == opened)
    }

    fn hold(&mut self, journal: usize) {
        let seq = self.naive.held[journal];
        let Some(said) = self.history.said[journal].get(seq) else { return };
        self.order.check(JOURNALS[journal], seq as u64, said.stamp).expect("nobody lies here");
        self.order.held(JOURNALS[journal], seq as u64, said.stamp, said.weight);
        self.naive.held[journal] += 1;
    }

    fn count(&mut self, member: usize, journal: usize, next: Seq) {
        self.order.counted(MEMBERS[member], StorageId(member as u128), JOURNALS[journal], next);
        let counted = &mut self.naive.counted[member][journal];
        *counted = next.max(*counted);
    }

    fn release(&mut self, max: usize) {
        let blocked = self.order.blocker().is_some();
        let released = self.order.release(max);
        assert!(released.len() <= max);
        assert!(!blocked || released.is_empty(), "what is blocked does not move");
        let could_more = released.len() == max;
        self.released.extend(released);
        assert_eq!(self.order.position(), self.released.len() as u64);
        let allowed = self.naive.released();
        assert!(allowed.starts_with(&self.released));
        assert!(could_more || self.released == allowed, "all that may go has gone");
    }

    /// Whatever a checkpoint does not keep is learned again.
    fn restore(&mut self) {
        let kept = postcard::to_stdvec(&self.order).expect("plain data");
        let restored: Order = postcard::from_bytes(&kept).expect("what was written reads");
        self.order = restored;
        for (member, counted) in self.naive.counted.into_iter().enumerate() {
            counted.into_iter().enumerate().for_each(|(journal, next)| self.count(member, journal, next));
        }
    }

    /// In the end everything is heard, promises again and again.
    fn finish(&mut self) {
        for journal in 0..JOURNALS.len() {
            let all = self.history.said[journal].len() as u64;
            (0..all).for_each(|_| self.hold(journal));
            (0..MEMBERS.len()).for_each(|member| self.count(member, journal, all));
        }
        let mut before = None;
        while before != Some(self.order.position()) {
            before = Some(self.order.position());
            for (journal, said) in self.history.said.iter().enumerate() {
                let head = said.len() as u64;
                self.order.promised(JOURNALS[journal], Stamp::MAX, head);
                if self.is_known(journal) {
                    self.naive.promised(journal, Stamp::MAX, head);
                }
            }
            self.release(usize::MAX);
        }
        assert_eq!(self.released, self.naive.everything());
    }

    /// Recovery from nothing but the WAL comes back to the same place.
    fn replayed(&self) -> Vec<Release> {
        let mut order = Order::new(MEMBERS[0], &MEMBERS);
        for (journal, held) in self.naive.held.iter().enumerate() {
            for (seq, said) in self.history.said[journal][..*held].iter().enumerate() {
                order.held(JOURNALS[journal], seq as u64, said.stamp, said.weight);
            }
        }
        let half = order.replay(self.order.position() / 2);
        let rest = order.replay(self.order.position());
        assert!(order.replay(self.order.position()).is_empty());
        half.into_iter().chain(rest).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn releases_follow_one_sequence(history in history(40), here in news(), there in news()) {
        let mut sites = [Pair::new(&history), Pair::new(&history)];
        for (site, news) in sites.iter_mut().zip([&here, &there]) {
            news.iter().for_each(|news| site.learn(*news));
            site.release(usize::MAX);
            assert_eq!(site.replayed(), site.released);
        }
        let [a, b] = &sites;
        assert!(a.released.starts_with(&b.released) || b.released.starts_with(&a.released));
        for site in &mut sites {
            site.finish();
            assert!(site.released.is_sorted_by_key(|release| release.at));
        }
        assert_eq!(&sites[0].released, &sites[1].released);
    }
}

/// Without partings the sequence is a plain sort.
#[test]
fn the_naive_order_is_a_sort_by_key() {
    let mut runner = TestRunner::deterministic();
    let run = runner.run(&history(0), |history| {
        let mut sorted: Vec<_> = (0..MEMBERS.len())
            .flat_map(|journal| {
                let keyed =
                    |(seq, said): (usize, &history::Said)| (said.stamp, JOURNALS[journal], seq as u64);
                history.said[journal].iter().enumerate().map(keyed).collect::<Vec<_>>()
            })
            .collect();
        sorted.sort_unstable();
        let naive = Naive::new(&history).everything();
        assert_eq!(
            naive.iter().map(|release| (release.at, release.journal, release.seq)).collect::<Vec<_>>(),
            sorted
        );
        Ok(())
    });
    run.expect("the naive order sorts");
}

/// The histories are worth something: all that can happen to the order does.
#[test]
fn every_effect_occurs() {
    let seen = Cell::new([0u32; 4]);
    let late = Cell::new(0u32);
    let mut runner = TestRunner::deterministic();
    let run = runner.run(&history(40), |history| {
        for release in Naive::new(&history).everything() {
            let mut counts = seen.get();
            match release.effect {
                Effect::None
                | Effect::Sealed { .. }
                | Effect::SealVoid { .. }
                | Effect::Adopted { .. }
                | Effect::AdoptVoid { .. }
                | Effect::Changed { .. }
                | Effect::ChangeVoid => {}
                Effect::Parted => counts[0] += 1,
                Effect::PartVoid => counts[1] += 1,
                Effect::Opened { .. } => counts[2] += 1,
                Effect::OpenVoid { .. } => counts[3] += 1,
            }
            seen.set(counts);
            let journal = JOURNALS.iter().position(|id| *id == release.journal).expect("it is one of ours");
            late.set(late.get() + u32::from(release.at > history.said[journal][release.seq as usize].stamp));
        }
        Ok(())
    });
    run.expect("nothing is asserted within");
    println!(
        "parted, part void, opened, open void: {:?}; sorted later than stamped: {}",
        seen.get(),
        late.get()
    );
    assert!(seen.get().iter().all(|count| *count > 20) && late.get() > 20);
}
