//! The order, rule by rule; what holds for all histories is in `tests/oracle`.

use clock::Stamp;
use entry::{Change, Incarnation, JournalId, MemberEpoch, SiteId, StorageId};

use super::Order;
use crate::blocker::{Blocker, Why};
use crate::release::{BrokenPromise, Effect, Release, Weight};
use crate::turn::{Turn, What};

const SITES: [SiteId; 3] = [SiteId(1), SiteId(2), SiteId(3)];
const PART: Weight = Weight::Part { epoch: MemberEpoch::GENESIS };

fn of(site: u16) -> JournalId {
    JournalId::genesis(SiteId(site))
}

fn at(stamp: u64) -> Stamp {
    Stamp::from_raw(stamp)
}

fn order() -> Order {
    Order::new(SITES[0], &SITES)
}

/// Sites 1 and 2 hold all of a journal.
fn held_by_two(order: &mut Order, journal: JournalId) {
    for site in 1..=2 {
        order.counted(SiteId(site), StorageId(site.into()), journal, u64::MAX);
    }
}

fn all_promise(order: &mut Order, w: u64) {
    for site in 1..=3 {
        let head = order.journals[&of(site)].held();
        order.promised(of(site), at(w), head);
    }
}

fn places(released: &[Release]) -> Vec<(u16, u64, u64)> {
    released.iter().map(|release| (release.journal.site.0, release.seq, release.at.raw())).collect()
}

#[test]
fn it_tells_what_it_waits_for() {
    let mut order = order();
    assert_eq!(order.blocker(), None);
    order.held(of(1), 0, at(5), Weight::Data);
    order.promised(of(2), at(9), 0);
    let silent = Blocker { journal: of(3), why: Why::NoPromise { since: at(0), needed: at(5) } };
    assert_eq!(order.blocker(), Some(silent));
    order.promised(of(3), at(9), 2);
    let behind = Blocker { journal: of(3), why: Why::HeadNotReached { held: 0, head: 2 } };
    assert_eq!(order.blocker(), Some(behind));
    order.held(of(3), 0, at(6), Weight::Data);
    order.counted(SITES[2], StorageId(3), of(1), 1);
    let why = Why::NoQuorum { seq: 0, holders: vec![SITES[2]], needed: 2 };
    assert_eq!(order.blocker(), Some(Blocker { journal: of(1), why }));
    order.counted(SITES[0], StorageId(1), of(1), 1);
    assert_eq!(order.blocker(), None);
    assert_eq!(places(&order.release(9)), [(1, 0, 5)]);
    assert_eq!(order.stable_point(), at(5), "held entries are promises: 1 has said no more than that");
}

#[test]
fn a_parted_journal_is_not_waited_for_and_comes_back_at_its_opening() {
    let mut order = order();
    [of(1), of(2), of(3)].into_iter().for_each(|journal| held_by_two(&mut order, journal));
    order.held(of(1), 0, at(4), PART);
    order.held(of(1), 1, at(5), Weight::Data);
    order.held(of(1), 2, at(30), Weight::Data);
    order.promised(of(2), at(20), 0);
    order.promised(of(3), at(20), 0);
    assert_eq!(order.release(9)[0].effect, Effect::Parted);
    assert_eq!(order.parted_first(of(1)), Some(1));
    assert_eq!(order.blocker(), Some(Blocker { journal: of(1), why: Why::NotOpened { first: 1 } }));

    order.held(of(2), 0, at(21), Weight::Open { journal: of(1), first: 7 });
    order.held(of(3), 0, at(21), Weight::Open { journal: of(1), first: 1 });
    order.held(of(2), 1, at(22), Weight::Open { journal: of(1), first: 1 });
    order.promised(of(3), at(22), 1);
    let released = order.release(9);
    assert_eq!(places(&released), [(2, 0, 21), (3, 0, 21), (1, 1, 21), (2, 1, 22)]);
    let effects: Vec<_> = released.into_iter().map(|release| release.effect).collect();
    let void = Effect::OpenVoid { journal: of(1) };
    assert_eq!(effects, [void.clone(), Effect::Opened { journal: of(1) }, Effect::None, void]);
    assert_eq!(order.parted_first(of(1)), None);
    all_promise(&mut order, 30);
    assert_eq!(places(&order.release(9)), [(1, 2, 30)]);
}

#[test]
fn one_of_three_may_leave_since_another_may_have_ended() {
    let mut order = order();
    [of(1), of(2), of(3)].into_iter().for_each(|journal| held_by_two(&mut order, journal));
    for site in 1..=3 {
        order.held(of(site), 0, at(5), PART);
    }
    let effects: Vec<_> = order.release(9).into_iter().map(|release| release.effect).collect();
    assert_eq!(effects, [Effect::Parted, Effect::PartVoid, Effect::PartVoid]);
    order.held(of(2), 1, at(6), Weight::Open { journal: of(1), first: 1 });
    order.held(of(3), 1, at(6), PART);
    order.promised(of(2), at(9), 2);
    order.promised(of(1), at(9), 1);
    let effects: Vec<_> = order.release(9).into_iter().map(|release| release.effect).collect();
    assert_eq!(effects, [Effect::Opened { journal: of(1) }, Effect::Parted], "rolling restarts go on");
}

#[test]
fn who_is_sealed_cannot_end_again_and_lets_another_leave() {
    let mut order = silent();
    order.ends_at(of(3), 3);
    held_by_two(&mut order, of(3));
    order.held(of(1), 1, at(10), seal(of(3), 3));
    order.held(of(1), 2, at(11), PART);
    order.held(of(1), 3, at(12), Weight::Data);
    assert_eq!(order.release(9).last().map(|it| it.effect.clone()), Some(Effect::Parted));
    assert_eq!(order.open().collect::<Vec<_>>(), [of(2)]);
    order.held(of(2), 0, at(95), PART);
    held_by_two(&mut order, of(2));
    assert_eq!(order.release(9).last().map(|it| it.effect.clone()), Some(Effect::PartVoid));
    // Opened anew, site 3 may end once more: nobody may leave.
    let second = JournalId { site: SiteId(3), incarnation: Incarnation(1) };
    order.held(of(2), 1, at(96), Weight::Open { journal: second, first: 0 });
    order.held(of(2), 2, at(97), PART);
    assert_eq!(order.release(9).last().map(|it| it.effect.clone()), Some(Effect::Opened { journal: second }));
    order.promised(second, at(99), 0);
    assert_eq!(order.release(9).last().map(|it| it.effect.clone()), Some(Effect::PartVoid));
}

/// Three ends of five can be agreed on though each member consents to two.
#[test]
fn of_five_sites_one_may_leave_at_a_time() {
    let sites: Vec<SiteId> = (1..=5).map(SiteId).collect();
    let mut order = Order::new(SITES[0], &sites);
    for site in 1..=5 {
        order.held(of(site), 0, at(5), PART);
        (1..=3).for_each(|holder| order.counted(SiteId(holder), StorageId(holder.into()), of(site), 9));
    }
    let effects: Vec<_> = order.release(9).into_iter().map(|release| release.effect).collect();
    assert_eq!(effects[0], Effect::Parted);
    assert_eq!(effects[1..], [Effect::PartVoid, Effect::PartVoid, Effect::PartVoid, Effect::PartVoid]);
}

#[test]
fn a_new_incarnation_waits_for_its_opening() {
    let mut order = order();
    let second = JournalId { site: SiteId(2), incarnation: Incarnation(1) };
    let stranger = of(7);
    assert_eq!((order.parted_first(second), order.parted_first(stranger)), (Some(0), None));
    [second, of(1)].into_iter().for_each(|journal| held_by_two(&mut order, journal));
    order.held(second, 0, at(2), Weight::Data);
    order.held(of(1), 0, at(8), Weight::Open { journal: stranger, first: 0 });
    order.held(of(1), 1, at(9), Weight::Open { journal: second, first: 0 });
    order.promised(of(2), at(9), 0);
    order.promised(of(3), at(9), 0);
    let released = order.release(9);
    assert_eq!(released[0].effect, Effect::OpenVoid { journal: stranger });
    assert_eq!(places(&released), [(1, 0, 8), (1, 1, 9)]);
    assert_eq!(order.stable_point(), at(2), "the new journal's promise is required");
    order.promised(second, at(9), 1);
    assert_eq!(places(&order.release(9)), [(2, 0, 9)]);
}

#[test]
fn a_broken_promise_stops_the_order_for_good() {
    let mut order = order();
    order.promised(of(2), at(7), 0);
    order.promised(of(2), at(9), 1);
    assert!(order.check(of(2), 0, at(8)).is_ok());
    assert!(order.check(of(2), 1, at(9)).is_err(), "a promise binds before its head is reached");
    let broken = BrokenPromise { journal: of(2), seq: 0, stamp: at(7), promised: at(7) };
    assert_eq!(order.check(of(2), 0, at(7)), Err(broken));
    order.held(of(2), 0, at(7), Weight::Data);
    held_by_two(&mut order, of(2));
    all_promise(&mut order, 50);
    assert!(order.release(9).is_empty());
    let why = Why::BrokenPromise { seq: 0, stamp: at(7), promised: at(7) };
    assert_eq!(order.blocker(), Some(Blocker { journal: of(2), why }));
    assert_eq!(order.broken(), Some(broken));
}

#[test]
fn what_sorts_before_the_released_is_refused_even_where_promises_are_forgotten() {
    let mut order = order();
    order.held(of(1), 0, at(5), Weight::Data);
    assert_eq!(order.replay(1).len(), 1);
    assert!(order.check(of(2), 0, at(5)).is_err());
    assert!(order.check(of(2), 0, at(6)).is_ok());
}

#[test]
#[should_panic(expected = "3 entries were released, but only 1 are held")]
fn recovery_refuses_to_come_back_short() {
    let mut order = order();
    order.held(of(1), 0, at(5), Weight::Data);
    order.replay(3);
}

#[test]
fn a_burst_goes_out_in_pieces_and_leaves_nothing_behind() {
    let mut order = order();
    for seq in 0..100_000 {
        for site in 1..=3 {
            order.held(of(site), seq, at(seq + 1), Weight::Data);
        }
    }
    [of(1), of(2), of(3)].into_iter().for_each(|journal| held_by_two(&mut order, journal));
    let mut released = 0;
    while order.position() < 300_000 {
        let piece = order.release(4_096);
        assert!(!piece.is_empty());
        released += piece.len();
    }
    assert_eq!(released, 300_000);
    assert!(order.heads.is_empty());
}

#[test]
fn a_checkpoint_in_other_hands_keeps_the_order_and_forgets_who_counted() {
    let mut order = order();
    order.held(of(1), 0, at(5), Weight::Data);
    held_by_two(&mut order, of(1));
    order.counted(SITES[1], StorageId(22), of(1), 0);
    let kept = postcard::to_stdvec(&order).expect("plain data");
    let restored: Order = postcard::from_bytes(&kept).expect("what was written reads");
    let mut same = restored.clone().handed_to(SITES[0]);
    same.counted(SITES[1], StorageId(2), of(1), 1);
    assert!(same.holders.of(of(1), 0).is_empty(), "the old storage still counts nowhere");
    let mut other = restored.handed_to(SITES[2]);
    other.counted(SITES[1], StorageId(2), of(1), 1);
    assert_eq!(other.holders.of(of(1), 0), [SITES[1]]);
    assert_eq!(other.next_unreleased(of(1)), 0);
}

fn seal(journal: JournalId, cut: u64) -> Weight {
    Weight::Seal { journal, cut }
}

/// Site 3 fell silent after its second entry; all that is held of it is held by sites 1 and 2.
fn silent() -> Order {
    let mut order = order();
    for (seq, stamp) in [(0, 2), (1, 4), (2, 6)] {
        order.held(of(3), seq, at(stamp), Weight::Data);
    }
    order.held(of(1), 0, at(9), Weight::Data);
    held_by_two(&mut order, of(1));
    order.promised(of(2), at(90), 0);
    order
}

#[test]
fn a_known_end_needs_no_promise_and_nothing_beyond_it_sorts() {
    let mut order = silent();
    order.promised(of(1), at(90), 1);
    order.ends_at(of(3), 2);
    held_by_two(&mut order, of(3));
    assert_eq!(places(&order.release(9)), [(3, 0, 2), (3, 1, 4), (1, 0, 9)]);
    assert!(order.is_open(of(3)), "it takes part until a seal has its place");
    assert_eq!(order.check(of(3), 3, at(7)), Ok(()), "its tail may come late");
    order.held(of(3), 3, at(7), Weight::Data);
    assert_eq!(order.release(9), []);
}

#[test]
fn a_known_end_waits_for_what_lies_below_it() {
    let mut order = silent();
    order.ends_at(of(3), 4);
    held_by_two(&mut order, of(3));
    assert_eq!(places(&order.release(9)), [(3, 0, 2), (3, 1, 4), (3, 2, 6)]);
    order.held(of(3), 3, at(8), Weight::Data);
    order.promised(of(1), at(90), 1);
    assert_eq!(places(&order.release(9)), [(3, 3, 8), (1, 0, 9)]);
}

#[test]
fn a_seal_closes_and_adoptions_follow_one_another() {
    let mut order = silent();
    order.ends_at(of(3), 1);
    held_by_two(&mut order, of(3));
    let epoch = MemberEpoch::GENESIS;
    let adopt = |from, upto| Weight::Adopt { journal: of(3), from, upto, epoch };
    let turns =
        [(1, adopt(1, 2)), (2, seal(of(3), 1)), (3, seal(of(3), 1)), (4, adopt(2, 3)), (5, adopt(1, 4))];
    for (seq, weight) in turns {
        order.held(of(1), seq, at(9 + seq), weight);
    }
    order.promised(of(1), at(90), 6);
    let released = order.release(20);
    let place = |it: &Release| (it.journal.site.0, it.seq, it.at.raw());
    let adopted: Vec<_> = released.iter().map(place).collect();
    assert_eq!(adopted, [(3, 0, 2), (1, 0, 9), (1, 1, 10), (1, 2, 11), (1, 3, 12), (1, 4, 13)]);
    let (journal, effects): (_, Vec<_>) = (of(3), released.into_iter().map(|it| it.effect).collect());
    let void = [Effect::SealVoid { journal }, Effect::AdoptVoid { journal }];
    assert_eq!(
        effects[2..],
        [Effect::AdoptVoid { journal }, Effect::Sealed { journal }, void[0].clone(), void[1].clone()]
    );
    // The next one adopts more than is held here.
    let why = Why::AdoptedNotHeld { held: 3, upto: 4 };
    assert_eq!(order.blocker(), Some(Blocker { journal, why }));
    order.held(of(3), 3, at(7), PART);
    let released = order.release(20);
    assert_eq!(places(&released), [(1, 5, 14), (3, 1, 14), (3, 2, 14), (3, 3, 14)]);
    assert_eq!(released[0].effect, Effect::Adopted { journal, upto: 4 });
    assert_eq!(released[3].effect, Effect::PartVoid, "who takes no part cannot leave");
    assert_eq!(order.parted_first(of(3)), None, "a sealed journal never opens again");
    let turn = |stamp, what| Turn { at: at(stamp), journal, what };
    let turns = [turn(11, What::Sealed { cut: 1 }), turn(14, What::Adopted { from: 1, upto: 4 })];
    assert_eq!(order.turns().copied().collect::<Vec<_>>(), turns, "what was void was nobody's turn");
}

/// It had left when its end was agreed on, and had gone on behind its parting: nobody will ask for its opening.
#[test]
fn a_seal_closes_who_has_left_and_what_it_wrote_since_is_adopted() {
    let mut order = order();
    [of(1), of(2), of(3)].into_iter().for_each(|journal| held_by_two(&mut order, journal));
    order.held(of(3), 0, at(2), PART);
    order.held(of(3), 1, at(4), Weight::Data);
    order.held(of(3), 2, at(6), Weight::Data);
    order.ends_at(of(3), 2);
    order.held(of(1), 0, at(9), seal(of(3), 2));
    let adopt = Weight::Adopt { journal: of(3), from: 1, upto: 3, epoch: MemberEpoch::GENESIS };
    order.held(of(1), 1, at(10), adopt);
    order.promised(of(1), at(90), 2);
    order.promised(of(2), at(90), 0);
    assert_eq!(order.unsealed().collect::<Vec<_>>(), [of(1), of(2), of(3)]);
    let released = order.release(9);
    assert_eq!(places(&released), [(3, 0, 2), (1, 0, 9), (1, 1, 10), (3, 1, 10), (3, 2, 10)]);
    let sealed = Effect::Sealed { journal: of(3) };
    assert_eq!((&released[0].effect, &released[1].effect), (&Effect::Parted, &sealed));
    // One that nobody here has heard of is sealed all the same; a stranger's is not.
    let second = JournalId { site: SiteId(3), incarnation: Incarnation(1) };
    assert!(order.may_seal(second, 0) && !order.may_seal(of(7), 0) && !order.may_seal(of(3), 2));
}

#[test]
fn an_order_comes_back_in_the_middle_of_an_adoption() {
    let mut order = silent();
    order.ends_at(of(3), 0);
    order.held(of(1), 1, at(10), seal(of(3), 0));
    let epoch = MemberEpoch::GENESIS;
    order.held(of(1), 2, at(11), Weight::Adopt { journal: of(3), from: 0, upto: 3, epoch });
    order.promised(of(1), at(90), 3);
    let whole = order.clone().release(20);
    let mut live = order.clone();
    assert_eq!(live.release(4), whole[..4]);
    let bytes = postcard::to_stdvec(&live).unwrap();
    let mut back: Order = postcard::from_bytes(&bytes).unwrap();
    assert_eq!(back.replay(6), whole[4..]);
    assert_eq!(order.replay(6), whole);
}

#[test]
fn members_change_at_a_place_of_the_order() {
    let mut order = silent();
    let epoch = MemberEpoch(2);
    let remove = |site| Weight::Members { epoch, change: Change::Remove { site: SiteId(site) } };
    order.ends_at(of(3), 0);
    order.held(of(1), 1, at(10), remove(3));
    order.held(of(1), 2, at(11), seal(of(3), 0));
    order.held(of(1), 3, at(12), remove(3));
    order.held(of(1), 4, at(13), remove(2));
    order.held(of(1), 5, at(14), Weight::Adopt { journal: of(3), from: 0, upto: 1, epoch: MemberEpoch(1) });
    order.promised(of(1), at(90), 6);
    let effects: Vec<_> = order.release(20).into_iter().skip(1).map(|release| release.effect).collect();
    assert_eq!(
        effects,
        [Effect::ChangeVoid, Effect::Sealed { journal: of(3) }, Effect::Changed { epoch }],
        "nobody reports to the new members yet"
    );
    assert_eq!((order.epoch(), order.members().len(), order.removed().len()), (epoch, 2, 1));
    for site in [1, 2, 3] {
        order.entered(SiteId(site), StorageId(site.into()), epoch);
    }
    held_by_two(&mut order, of(1));
    let effects: Vec<_> = order.release(20).into_iter().map(|release| release.effect).collect();
    assert_eq!(effects, [Effect::ChangeVoid, Effect::AdoptVoid { journal: of(3) }]);
    let life = JournalId { site: SiteId(3), incarnation: Incarnation(1) };
    assert_eq!(order.parted_first(life), None, "a removed site's journals never open");
}

#[test]
fn members_change_and_leave_only_where_enough_stay_to_write_in() {
    let mut order = silent();
    let add = |site: u16, epoch| Weight::Members {
        epoch: MemberEpoch(epoch),
        change: Change::Add { site: SiteId(site), storage: StorageId(site.into()) },
    };
    order.held(of(1), 1, at(10), add(4, 2));
    order.held(of(1), 2, at(11), PART);
    order.held(of(1), 3, at(12), add(5, 3));
    order.held(of(1), 4, at(13), Weight::Part { epoch: MemberEpoch(2) });
    order.promised(of(1), at(90), 5);
    order.promised(of(2), at(90), 0);
    order.promised(of(3), at(90), 3);
    held_by_two(&mut order, of(3));
    let last = |order: &mut Order| order.release(20).last().map(|release| release.effect.clone());
    assert_eq!(last(&mut order), Some(Effect::Changed { epoch: MemberEpoch(2) }));
    let five = Change::Add { site: SiteId(5), storage: StorageId(5) };
    assert!(!order.may_change(five), "of five, three can be ended at once: three open journals are too few");
    for site in 1..=3 {
        order.entered(SiteId(site), StorageId(site.into()), MemberEpoch(2));
        order.counted(SiteId(site), StorageId(site.into()), of(1), 5);
    }
    let effects: Vec<_> = order.release(20).into_iter().map(|release| release.effect).collect();
    assert_eq!(
        effects,
        [Effect::PartVoid, Effect::ChangeVoid, Effect::Parted],
        "it left under other members"
    );
}

#[test]
fn what_a_removed_site_wrote_meanwhile_comes_in_by_adoption() {
    let mut order = silent();
    let epoch = MemberEpoch(2);
    order.promised(of(3), at(3), 1);
    order.held(of(3), 3, at(8), Weight::Data);
    order.held(of(1), 1, at(10), Weight::Members { epoch, change: Change::Remove { site: SiteId(3) } });
    order.ends_at(of(3), 0);
    order.held(of(1), 2, at(11), seal(of(3), 0));
    order.held(of(1), 3, at(12), Weight::Members { epoch, change: Change::Remove { site: SiteId(3) } });
    let life = JournalId { site: SiteId(3), incarnation: Incarnation(1) };
    order.held(of(1), 4, at(13), Weight::Adopt { journal: life, from: 0, upto: 1, epoch });
    order.promised(of(1), at(90), 5);
    assert_eq!(
        order.release(20).last().map(|release| release.effect.clone()),
        Some(Effect::Changed { epoch })
    );
    for site in 1..=2 {
        order.entered(SiteId(site), StorageId(site.into()), epoch);
    }
    held_by_two(&mut order, of(1));
    assert_eq!(order.release(20).len(), 0, "others may hold some of that journal: the adoption waits for it");
    let why = Why::AdoptedNotHeld { held: 0, upto: 1 };
    assert_eq!(order.blocker(), Some(Blocker { journal: life, why }));
    order.held(life, 0, at(9), Weight::Data);
    assert!(order.is_sealed(life), "a removed site's journal never takes part");
    assert_eq!(places(&order.release(20)), [(1, 4, 13), (3, 0, 13)]);
}

#[test]
fn who_remains_alone_opens_its_own_journal_once_all_else_has_ended() {
    let mut order = Order::new(SITES[0], &SITES[..2]);
    order.held(of(1), 0, at(5), PART);
    order.held(of(2), 0, at(8), Weight::Data);
    order.held(of(1), 1, at(6), Weight::Data);
    order.held(of(1), 2, at(9), Weight::Open { journal: of(1), first: 1 });
    for site in 1..=2 {
        held_by_two(&mut order, of(site));
    }
    order.promised(of(1), at(90), 3);
    order.promised(of(2), at(8), 1);
    assert_eq!(places(&order.release(20)), [(1, 0, 5), (2, 0, 8)]);
    order.give_up(SiteId(2), MemberEpoch::GENESIS, true);
    assert_eq!(order.release(20).len(), 0, "the other has not ended: it may go on, and let this one in");
    order.ends_at(of(2), 1);
    let mut again = order.clone();
    let released = order.release(20);
    assert_eq!(places(&released), [(1, 1, 8), (1, 2, 9)], "no earlier than what had its place");
    assert_eq!(released[1].effect, Effect::OpenVoid { journal: of(1) }, "it is open by then");
    assert_eq!(again.replay(4), released);
    assert_eq!(order.turns().last(), Some(&Turn { at: at(8), journal: of(1), what: What::Opened }));
}
