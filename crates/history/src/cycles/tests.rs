//! Each kind of cycle from the shortest history that has it, and the same history with one thing put right.

use crate::class::{Class, Span};
use crate::report::Promises;
use crate::tale::{Tale, none};

fn has(tale: &Tale, class: Class) -> bool {
    tale.cycles().contains_key(&class)
}

#[test]
fn logs_that_contradict_each_other_are_g0() {
    // Two transactions write two logs, in opposite orders.
    let two = |second: &[(i64, u64)]| {
        let mut tale = Tale::new();
        tale.transaction(1, &[("t", 10), ("u", 20)], &[]).transaction(2, &[("t", 11), ("u", 21)], &[]);
        tale.overlapping();
        tale.poll(3, "t", &[(0, 10), (1, 11)]).poll(4, "u", second);
        tale
    };
    let crossed = two(&[(0, 21), (1, 20)]);
    assert!(has(&crossed, Class::G0(Span::Data)), "{:?}", crossed.cycles());
    assert_eq!(two(&[(0, 20), (1, 21)]).cycles(), none());
}

#[test]
fn a_merged_log_keeps_the_order_of_its_origins() {
    let read = |merged: &[(i64, u64)]| {
        let mut tale = Tale::new();
        tale.send(1, "t", 10).send(2, "t", 11).overlapping();
        tale.poll(3, "t", merged).poll(4, "eu.t", &[(0, 10), (1, 11)]);
        tale
    };
    assert!(has(&read(&[(0, 11), (1, 10)]), Class::G0(Span::Data)));
    assert_eq!(read(&[(0, 10), (1, 11)]).cycles(), none());
}

#[test]
fn a_former_life_of_a_site_may_come_in_after_the_next() {
    let second = |offset: i64| {
        let mut tale = Tale::new();
        tale.send(1, "t", 10).send(2, "t", 11).overlapping();
        tale.poll(3, "t", &[(0, 11), (1, 10)]).poll(4, "eu.t", &[(0, 10), (offset, 11)]);
        has(&tale, Class::G0(Span::Data))
    };
    assert!(second(1), "one life has one order");
    assert!(!second(1 << 40));
}

#[test]
fn a_copy_in_a_second_origin_orders_nothing() {
    let mut tale = Tale::new();
    tale.send(1, "t", 10).send(2, "t", 11).overlapping().poll(3, "t", &[(0, 10), (1, 11)]);
    tale.poll(4, "eu.t", &[(0, 10)]).poll(4, "us.t", &[(0, 11), (1, 10)]);
    assert!(!has(&tale, Class::G0(Span::Data)), "{:?}", tale.cycles());
    let mut again = Tale::new();
    again.send(1, "t", 10).send(2, "t", 11).overlapping().poll(3, "t", &[(0, 10), (1, 11)]);
    again.poll(4, "eu.t", &[(0, 10), (1, 11), (2, 10)]);
    assert!(!has(&again, Class::G0(Span::Data)), "{:?}", again.cycles());
}

#[test]
fn information_that_flows_in_a_circle_is_g1c() {
    let circle = |seen: u64| {
        let mut tale = Tale::new();
        tale.send(9, "u", 19);
        tale.transaction(1, &[("t", 10)], &[("u", 1, seen)]);
        tale.transaction(2, &[("u", 20)], &[("t", 0, 10)]).overlapping();
        tale.poll(3, "u", &[(0, 19), (1, 20)]).poll(3, "t", &[(0, 10)]);
        tale
    };
    let circle_of = circle(20);
    assert!(has(&circle_of, Class::G1c(Span::Data)), "{:?}", circle_of.cycles());
    let mut straight = Tale::new();
    straight.send(9, "u", 19).transaction(1, &[("t", 10)], &[("u", 0, 19)]);
    straight.transaction(2, &[("u", 20)], &[("t", 0, 10)]).poll(3, "u", &[(0, 19), (1, 20)]);
    assert_eq!(straight.cycles(), none());
}

#[test]
fn a_transaction_that_misses_half_of_another_is_g_single() {
    let reads = |u: &[(&str, i64, u64)]| {
        let mut tale = Tale::new();
        tale.send(1, "u", 20);
        tale.transaction(2, &[("t", 10), ("u", 21)], &[]);
        tale.transaction(3, &[], u).overlapping();
        tale.poll(4, "u", &[(0, 20), (1, 21)]);
        tale
    };
    let torn = reads(&[("t", 0, 10), ("u", 0, 20)]);
    assert!(has(&torn, Class::GSingle(Span::Data)), "{:?}", torn.cycles());
    assert!(!has(&torn, Class::G2(Span::Data)));
    let whole = reads(&[("t", 0, 10), ("u", 0, 20), ("u", 1, 21)]);
    assert_eq!(whole.cycles(), none());
}

#[test]
fn two_readers_that_each_miss_the_others_news_are_g2() {
    let second = |u: &[(&str, i64, u64)]| {
        let mut tale = Tale::new();
        tale.send(1, "t", 10).send(2, "t", 11).send(3, "u", 20).send(4, "u", 21);
        tale.transaction(5, &[], &[("t", 0, 10), ("t", 1, 11), ("u", 0, 20)]);
        tale.transaction(6, &[], u);
        tale.poll(7, "t", &[(0, 10), (1, 11)]).poll(8, "u", &[(0, 20), (1, 21)]);
        tale
    };
    let fork = second(&[("t", 0, 10), ("u", 0, 20), ("u", 1, 21)]);
    assert!(has(&fork, Class::G2(Span::Data)), "{:?}", fork.cycles());
    let none_behind = second(&[("t", 0, 10), ("t", 1, 11), ("u", 0, 20), ("u", 1, 21)]);
    assert!(!has(&none_behind, Class::G2(Span::Data)));
    let allowed = fork.report();
    assert_eq!(allowed.broken(&Promises::meridian()).count(), 0, "partitions are not of one moment");
}

#[test]
fn what_a_process_has_polled_its_writes_never_precede() {
    let answer = |log: &[(i64, u64)]| {
        let mut tale = Tale::new();
        tale.send(1, "t", 10).poll(2, "t", &[(log.iter().position(|r| r.1 == 10).unwrap() as i64, 10)]);
        tale.send(2, "t", 11).poll(3, "t", log);
        tale
    };
    let before = answer(&[(0, 11), (1, 10)]);
    assert!(has(&before, Class::G1c(Span::Process)), "{:?}", before.cycles());
    assert!(!has(&before, Class::G1c(Span::Data)));
    let report = before.report();
    assert!(report.broken(&Promises::meridian()).any(|(class, _)| class == Class::G1c(Span::Process)));
    assert_eq!(answer(&[(0, 10), (1, 11)]).cycles(), none());
}

#[test]
fn a_write_after_an_acknowledged_one_may_stand_before_it_only_in_real_time() {
    let mut tale = Tale::new();
    tale.send(1, "t", 10).send(2, "t", 11).poll(3, "t", &[(0, 11), (1, 10)]);
    assert!(has(&tale, Class::G0(Span::Realtime)), "{:?}", tale.cycles());
    assert_eq!(tale.report().broken(&Promises::meridian()).count(), 0);
    let mut together = Tale::new();
    together.send(1, "t", 10).send(2, "t", 11).overlapping().poll(3, "t", &[(0, 11), (1, 10)]);
    assert_eq!(together.cycles(), none());
}

#[test]
fn a_read_that_is_behind_shows_in_real_time_and_in_its_process() {
    let mut behind = Tale::new();
    behind.send(1, "t", 10).send(1, "t", 11).poll(2, "t", &[(0, 10), (1, 11)]).poll(3, "t", &[(0, 10)]);
    assert!(has(&behind, Class::GSingle(Span::Realtime)), "{:?}", behind.cycles());
    assert!(!has(&behind, Class::GSingle(Span::Process)));
    behind.assign(2, &["t"]).poll(2, "t", &[(0, 10)]);
    assert!(has(&behind, Class::GSingle(Span::Process)), "{:?}", behind.cycles());
}
