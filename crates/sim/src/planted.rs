//! Wrong states, put into a small world by hand, that its own checks must flag, each by its number.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use disk::FileName;
use entry::SiteId;
use journal::WalWrite;
use site::wire::{Message, Pulse};
use site::{Acknowledge, Action, Answer, Append, Event, Lane, Request, Ticket};

use crate::checkers::truth::Truth;
use crate::checkers::{Asked, Verdict, breaks, broken, ensure};
use crate::client::Open;
use crate::disk::SimDisk;
use crate::net::Stream;
use crate::world::{Ticketed, What, World};
use crate::{Options, alone};

const ONE: SiteId = SiteId(1);
const TWO: SiteId = SiteId(2);

/// Three sites without faults and clients, all of which run, take writes and know each other.
pub(crate) fn running() -> World {
    founded(0)
}

/// The same, with this fence timeout; none is fenced at zero.
fn founded(fence_timeout_ms: u64) -> World {
    let without_clients = (0..64).collect();
    let mut world = World::new(0, Options { plain: true, without_clients, ..Options::default() });
    world.hosts.values_mut().for_each(|host| host.config.fence_timeout_ms = fence_timeout_ms);
    world.calm_down().unwrap();
    let is_ready = |world: &World| {
        let writes = |site: &SiteId| {
            world.hosts[site].process.as_ref().is_some_and(|it| it.site.is_writing() && it.links.len() == 2)
        };
        [ONE, TWO, SiteId(3)].iter().all(writes)
    };
    while !is_ready(&world) {
        assert!(world.steps < 20_000, "all come to run");
        world.run_steps(1).unwrap();
    }
    world
}

/// What an action of a site in a fresh world breaks.
fn acts(action: Action) -> &'static str {
    breaks(running().carry_out(ONE, action))
}

fn asked() -> Asked {
    let append = Append {
        topic: entry::TopicId(uuid::Uuid::nil()),
        partition: 0,
        records: Bytes::new(),
        acknowledge: Acknowledge::Local,
        patience_ms: 0,
    };
    Asked { request: Request::Append(append), submission: None, sites: 1, released: false, stood: Vec::new() }
}

#[test]
fn what_no_site_may_do() {
    assert_eq!(acts(Action::Alarm("the disk is slow".into())), "nothing");
    assert_eq!(acts(Action::Alarm("journal 2.0 is halted: two contents".into())), "I-12");
    assert_eq!(acts(Action::Alarm("their history cannot be one with this".into())), "I-16");
    assert_eq!(acts(Action::Write(WalWrite { id: 1, ops: Vec::new() })), "I-05");
    assert_eq!(acts(Action::GiveUpLinks { reason: String::new() }), "I-07");
    assert_eq!(acts(Action::Halt("no space left".into())), "I-08");
    assert_eq!(acts(Action::Halt("a checksum is wrong".into())), "I-06");
}

#[test]
fn an_acknowledgement_after_a_failed_sync() {
    let mut world = running();
    let reply = |world: &mut World| {
        world.tickets.insert(7, Ticketed { client: 0, asked: asked(), at: None });
        breaks(world.carry_out(ONE, Action::Reply { ticket: Ticket(7), answer: Ok(Answer::Committed) }))
    };
    assert_eq!(reply(&mut world), "nothing");
    world.hosts.get_mut(&ONE).unwrap().sync_failed = true;
    assert_eq!(reply(&mut world), "I-07");
}

#[test]
fn more_on_a_link_than_its_window() {
    let mut world = running();
    let pulse = || Message::Pulse(Pulse::default());
    let send = |world: &mut World| {
        breaks(world.carry_out(ONE, Action::Send { to: TWO, lane: Lane::CatchUp, message: pulse() }))
    };
    assert_eq!(send(&mut world), "nothing");
    let host = world.hosts.get_mut(&ONE).unwrap();
    host.process.as_mut().unwrap().handed.insert(TWO, 1 << 40);
    assert_eq!(send(&mut world), "I-48");
}

#[test]
fn a_message_that_does_not_read() {
    let mut world = running();
    let generation = world.knows(TWO, ONE).unwrap();
    let stream = Stream { generation, from: ONE, to: TWO, lane: Lane::Control };
    world.at(0, What::Datagram(stream, Bytes::from_static(b"?")));
    assert_eq!(breaks(world.run_steps(20)), "I-52");
}

#[test]
fn a_local_write_that_waits_at_a_site_that_nothing_troubles() {
    let mut world = running();
    let life = world.hosts[&ONE].life;
    world.now_us += 60_000_000;
    let wakes = |world: &mut World, troubled_us| {
        world.hosts.get_mut(&ONE).unwrap().troubled_us = troubled_us;
        world.tickets.insert(7, Ticketed { client: 0, asked: asked(), at: Some((ONE, life)) });
        let open = Open { asked: asked(), ticket: Some(7), until_us: 0 };
        world.clients[0].open = VecDeque::from([open]);
        breaks(world.wake(0))
    };
    let now_us = world.now_us;
    assert_eq!((wakes(&mut world, now_us), wakes(&mut world, 0)), ("nothing", "I-46"));
}

#[test]
fn starts_that_must_not_be() {
    let mut world = running();
    let request = Request::CreateTopic { name: "orders".into(), partitions: 1, settings: BTreeMap::new() };
    world.feed(ONE, Event::Request { ticket: Ticket(7), request }).unwrap();
    world.run_steps(200).unwrap();
    world.kill(ONE, "killed").unwrap();
    assert_eq!(breaks(world.try_clone(ONE, TWO)), "nothing");
    assert_eq!(breaks(world.try_clone(ONE, ONE)), "I-10", "it would start on that");
    world.checkers.truth = Truth::default();
    assert_eq!(breaks(world.restart(ONE)), "I-14", "it has what is on no platter");
    world.kill(TWO, "killed").unwrap();
    world.hosts.get_mut(&TWO).unwrap().disk = SimDisk::default();
    assert_eq!(breaks(world.restart(TWO)), "I-05");
}

#[test]
fn an_end_that_is_none() {
    let mut world = running();
    world.hosts.get_mut(&TWO).unwrap().disk.decayed.insert(FileName::root().join("wal"), false);
    assert_eq!(breaks(world.agree()), "I-06");
    world.kill(ONE, "killed").unwrap();
    assert_eq!(breaks(world.agree()), "I-16");
    let stays = |world: &World, number| breaks(alone(world, broken(number, "")));
    assert_eq!((stays(&world, "I-16"), stays(&world, "I-03")), ("I-16", "I-03"));
    world.options.core_only = true;
    assert_eq!((stays(&world, "I-16"), stays(&world, "I-03")), ("I-47", "I-03"));
    assert_eq!(breaks(alone(&world, Ok(()))), "nothing");
}

/// The fence timeout, and how long an end may take to be agreed on and to be in the order.
const FENCE_TIMEOUT_MS: u64 = 4_000;
const AGREED_WITHIN_US: u64 = 500_000;

/// I-29: what a site has written is released within the fence timeout, by how much ever the clock of another one is wrong, and all
/// others take writes meanwhile.
fn released_beside_a_clock_that_is_off(fence_timeout_ms: u64, off_ms: i64) -> Verdict {
    let mut world = founded(fence_timeout_ms);
    world.hosts.get_mut(&SiteId(3)).unwrap().clock.offset_ms += off_ms;
    let request = Request::CreateTopic { name: "orders".into(), partitions: 1, settings: BTreeMap::new() };
    world.feed(ONE, Event::Request { ticket: Ticket(7), request })?;
    let until_us = world.now_us + FENCE_TIMEOUT_MS * 1000 + AGREED_WITHIN_US;
    loop {
        world.run_steps(1)?;
        let [one, two] = [ONE, TWO].map(|site| &world.hosts[&site].process.as_ref().unwrap().site);
        ensure(one.is_writing() && two.is_writing(), "I-29", || "one of the others takes no writes".into())?;
        let held: u64 = one.frontier().values().sum();
        if held > 0 && one.released() == held {
            return Ok(());
        }
        ensure(world.now_us <= until_us, "I-29", || format!("{} of {held} are released", one.released()))?;
    }
}

#[test]
fn a_clock_that_is_wrong_delays_what_others_write_by_the_fence_timeout_at_most() {
    for off_ms in [-600_000, -60_000, -5_000, -4_000, -400, 0, 400, 3_000, 60_000, 600_000] {
        released_beside_a_clock_that_is_off(FENCE_TIMEOUT_MS, off_ms).unwrap();
    }
    for off_ms in [-60_000, 3_000] {
        assert_eq!(breaks(released_beside_a_clock_that_is_off(0, off_ms)), "I-29", "nobody is fenced");
    }
}
