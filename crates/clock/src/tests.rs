//! The clock's promises under any wall clock, any peers, and any number of restarts.

use proptest::collection::vec;
use proptest::prelude::{prop_assert, prop_assert_eq, proptest};
use proptest::prop_oneof;
use proptest::strategy::Strategy;

use crate::stamp::COUNTER_MAX;
use crate::{HybridClock, MintError, Now, ObserveError, Stamp};

const BOUND_MS: u64 = 500;
const START_MS: u64 = 1_800_000_000_000;

fn at(elapsed_ms: u64) -> Now {
    Now { mono_us: elapsed_ms * 1_000, wall_ms: START_MS + elapsed_ms }
}

/// A clock that has started and has a ceiling far away.
fn started(floor: Stamp) -> HybridClock {
    let mut clock = HybridClock::new(BOUND_MS, floor);
    clock.ceiling_durable(Stamp::from_unix_ms(START_MS + 1_000_000));
    clock
}

fn full(unix_ms: u64) -> Stamp {
    Stamp::from_raw(Stamp::from_unix_ms(unix_ms).raw() + COUNTER_MAX)
}

#[test]
fn nothing_is_given_before_a_ceiling_is_durable() {
    let mut clock = HybridClock::new(BOUND_MS, Stamp::ZERO);
    assert_eq!(clock.mint(at(0)), Err(MintError::CeilingReached { ceiling: Stamp::ZERO }));
    let wanted = clock.wanted_ceiling(at(0)).unwrap();
    assert_eq!(wanted, Stamp::from_unix_ms(START_MS + 3_000));
    assert_eq!(clock.wanted_ceiling(at(0)), None, "each is asked for once");
    assert!(clock.mint(at(0)).is_err(), "asking is not having");
    clock.ceiling_durable(wanted);
    assert_eq!(clock.mint(at(0)), Ok(Stamp::from_unix_ms(START_MS)));
    assert_eq!(clock.wanted_ceiling(at(900)), None);
    assert_eq!(clock.wanted_ceiling(at(1_001)), Some(Stamp::from_unix_ms(START_MS + 4_001)));
    assert!(
        matches!(clock.mint(at(3_001)), Err(why @ MintError::CeilingReached { .. }) if why.passes_by_itself())
    );
}

#[test]
fn a_start_waits_until_the_floor_is_near() {
    let floor = Stamp::from_unix_ms(START_MS + 3_000);
    let mut clock = started(floor);
    assert!(matches!(clock.mint(at(0)), Err(why @ MintError::AheadOfWall { .. }) if why.passes_by_itself()));
    assert!(clock.mint(at(2_500)).unwrap() > floor);
    assert_eq!(clock.mint(at(4_000)), Ok(Stamp::from_unix_ms(START_MS + 4_000)));
}

#[test]
fn a_start_that_waits_does_not_hold_the_others_back() {
    let floor = Stamp::from_unix_ms(START_MS + 3_000);
    let mut clock = started(floor);
    assert_eq!(clock.promise(at(0)), Ok(Stamp::from_unix_ms(START_MS + BOUND_MS)));
    assert!(clock.promise(at(0)).is_err(), "nothing beyond the last one");
    assert_eq!(clock.promise(at(1)), Ok(Stamp::from_unix_ms(START_MS + BOUND_MS + 1)));
}

#[test]
fn a_full_counter_is_carried() {
    let mut clock = started(full(START_MS + 5));
    assert_eq!(clock.last(), Stamp::from_unix_ms(START_MS + 6));
    clock.observe(Stamp::from_raw(full(START_MS + 7).raw() - 2), at(0)).unwrap();
    assert_eq!(clock.mint(at(0)), Ok(full(START_MS + 7)));
    assert_eq!(clock.mint(at(0)), Ok(Stamp::from_unix_ms(START_MS + 8)));
    clock.observe(full(START_MS + 9), at(0)).unwrap();
    assert!(clock.mint(at(0)).unwrap() > full(START_MS + 9));
}

#[test]
fn a_carry_over_the_bound_waits() {
    let mut clock = started(Stamp::ZERO);
    clock.observe(full(START_MS + BOUND_MS), at(0)).unwrap();
    let waits = MintError::AheadOfWall { ahead_ms: BOUND_MS + 1, bound_ms: BOUND_MS };
    assert_eq!(clock.mint(at(0)), Err(waits));
    assert!(clock.mint(at(1)).unwrap() > full(START_MS + BOUND_MS));
}

#[test]
fn nobody_drags_the_clock() {
    let mut clock = started(Stamp::ZERO);
    let before = clock.mint(at(0)).unwrap();
    let far = Stamp::from_unix_ms(START_MS + BOUND_MS + 1);
    let refused = ObserveError::AheadOfWall { remote: far, ahead_ms: BOUND_MS + 1, bound_ms: BOUND_MS };
    assert_eq!(clock.observe(far, at(0)), Err(refused));
    assert!(clock.observe(Stamp::MAX, at(0)).is_err());
    assert_eq!(clock.last(), before);
}

#[test]
fn an_own_jump_stops_minting_until_it_is_settled() {
    let mut clock = started(Stamp::ZERO);
    let before = clock.mint(at(0)).unwrap();
    let jumped = |elapsed_ms| Now { wall_ms: START_MS + 60_000, ..at(elapsed_ms) };
    assert_eq!(clock.mint(jumped(10)), Err(MintError::WallJumped { jump_ms: 59_990, bound_ms: BOUND_MS }));
    assert_eq!((clock.last(), clock.jump_ms(jumped(10))), (before, Some(59_990)));
    assert!(!clock.mint(jumped(10)).unwrap_err().passes_by_itself());
    assert!(
        clock.observe(Stamp::from_unix_ms(START_MS + 2_000), jumped(10)).is_err(),
        "judged by the time it was"
    );
    assert!(clock.observe(Stamp::from_unix_ms(START_MS + 400), jumped(10)).is_ok());
    assert!(clock.mint(at(20)).is_ok(), "taken back");
    clock.accept_jump(jumped(30));
    assert_eq!(clock.mint(jumped(30)), Ok(Stamp::from_unix_ms(START_MS + 60_000)), "or accepted");
}

#[test]
fn the_ends_of_time_are_refused() {
    let mut worn_out = HybridClock::new(BOUND_MS, Stamp::MAX);
    worn_out.ceiling_durable(Stamp::MAX);
    assert!(worn_out.mint(at(0)).is_err());
    for wall_ms in [0, 1 << 42, u64::MAX] {
        let mut clock = HybridClock::new(BOUND_MS, Stamp::ZERO);
        clock.ceiling_durable(Stamp::MAX);
        assert!(clock.mint(Now { mono_us: 0, wall_ms }).is_err(), "{wall_ms}");
        assert!(worn_out.mint(Now { mono_us: 0, wall_ms }).is_err());
    }
}

#[derive(Debug, Clone)]
enum Event {
    /// Time passes, and the wall clock passes this much differently.
    Pass(u64, i64),
    Mint,
    Promise,
    /// A stamp this far from the wall clock, with this counter.
    Observe(i64, u64),
    /// The disk has written the ceiling that was asked for.
    Synced,
    Restart,
    Accept,
}

fn events() -> impl Strategy<Value = Event> {
    let skew_ms = prop_oneof![4 => -20i64..20, 1 => -3_000i64..3_000];
    let counter = prop_oneof![0u64..3, COUNTER_MAX - 2..=COUNTER_MAX];
    prop_oneof![
        4 => (0u64..400, skew_ms).prop_map(|(elapsed_ms, skew_ms)| Event::Pass(elapsed_ms, skew_ms)),
        6 => proptest::strategy::Just(Event::Mint),
        3 => proptest::strategy::Just(Event::Promise),
        3 => (-600i64..600, counter).prop_map(|(ahead_ms, counter)| Event::Observe(ahead_ms, counter)),
        3 => proptest::strategy::Just(Event::Synced),
        1 => proptest::strategy::Just(Event::Restart),
        1 => proptest::strategy::Just(Event::Accept),
    ]
}

/// A clock, the world around it, and what it must never go below.
struct World {
    clock: HybridClock,
    now: Now,
    asked: Option<Stamp>,
    highest: Stamp,
    promised: Stamp,
}

impl World {
    fn take(&mut self, event: &Event) {
        match *event {
            Event::Pass(elapsed_ms, skew_ms) => {
                self.now.mono_us += elapsed_ms * 1_000;
                self.now.wall_ms = (self.now.wall_ms + elapsed_ms).saturating_add_signed(skew_ms);
            }
            Event::Mint => self.mint(),
            Event::Promise => self.promise(),
            Event::Observe(ahead_ms, counter) => self.observe(ahead_ms, counter),
            Event::Synced => self.synced(),
            Event::Restart => self.clock = HybridClock::new(BOUND_MS, self.clock.ceiling()),
            Event::Accept => self.clock.accept_jump(self.now),
        }
        self.asked = self.clock.wanted_ceiling(self.now).or(self.asked);
    }

    fn mint(&mut self) {
        let Ok(stamp) = self.clock.mint(self.now) else { return };
        assert!(stamp > self.highest, "{stamp} after {}", self.highest);
        assert!(stamp > self.promised, "{stamp} was promised away by {}", self.promised);
        assert!(stamp <= self.clock.ceiling());
        assert!(stamp.unix_ms() <= self.now.wall_ms + BOUND_MS);
        self.highest = stamp;
    }

    fn promise(&mut self) {
        let Ok(promise) = self.clock.promise(self.now) else { return };
        assert!(promise <= self.clock.ceiling());
        self.promised = self.promised.max(promise);
    }

    fn observe(&mut self, ahead_ms: i64, counter: u64) {
        let unix_ms = self.now.wall_ms.saturating_add_signed(ahead_ms);
        let remote = Stamp::from_raw(Stamp::from_unix_ms(unix_ms).raw() + counter);
        let before = self.clock.last();
        match self.clock.observe(remote, self.now) {
            Ok(()) => assert!(self.clock.last() >= remote.max(before)),
            Err(_) => assert_eq!(self.clock.last(), before),
        }
    }

    fn synced(&mut self) {
        if let Some(ceiling) = self.asked.take() {
            self.clock.ceiling_durable(ceiling);
        }
    }
}

proptest! {
    #[test]
    fn stamps_only_increase_whatever_happens(events in vec(events(), 1..80)) {
        let mut world = World {
            clock: HybridClock::new(BOUND_MS, Stamp::ZERO),
            now: at(0),
            asked: None,
            highest: Stamp::ZERO,
            promised: Stamp::ZERO,
        };
        for event in &events {
            world.take(event);
        }
        // However it went: once the wall clock is believed and has caught up, writes go on.
        world.now.wall_ms = world.now.wall_ms.max(START_MS) + 1_000_000;
        world.clock.accept_jump(world.now);
        let ceiling = world.clock.wanted_ceiling(world.now);
        prop_assert!(ceiling.is_some());
        world.clock.ceiling_durable(ceiling.unwrap());
        prop_assert_eq!(world.clock.mint(world.now), Ok(Stamp::from_unix_ms(world.now.wall_ms)));
    }
}
