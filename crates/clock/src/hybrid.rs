//! The hybrid clock: hlc-gen's generator, with what it leaves out put around it.
//!
//! - **It never repeats itself.** No stamp is given above a ceiling that is durable, and a restart begins above the
//!   recovered ceiling; so every stamp of this life exceeds all of the last one's, without a write per stamp.
//! - **It stays near the wall clock.** A stamp may be ahead of the wall by at most the bound. What would be further
//!   ahead is refused: the write waits, which is always safe, and always ends once the wall clock catches up.
//! - **A full counter is carried** into the next millisecond, where hlc-gen would stop until the clock moves.
//! - **Nobody drags it.** A remote stamp further ahead than the bound is refused and changes nothing. Our own wall
//!   clock is judged alike, by the monotonic clock (see the file `wall.rs`).
//!
//! The decision whether a stamp may be given is made here, before the generator is asked, so that a refusal leaves no
//! trace in it.

use std::fmt;

use hlc_gen::HlcGenerator;
use hlc_gen::source::ManualClock;
use thiserror::Error;

use crate::Stamp;
use crate::stamp::{COUNTER_MAX, EPOCH_UNIX_MS, UNIX_MS_MAX};
use crate::wall::{Now, Wall};

/// How far ahead of the time a ceiling is reserved: one small durable write buys this long.
pub const CEILING_RESERVE_MS: u64 = 3_000;
/// A new ceiling is wanted when less than this is left: longer than any sync that is not a failed disk.
pub const CEILING_SPARE_MS: u64 = 2_000;

/// Why no stamp can be given now. Every one of these is worth a retry: nothing has changed, the write waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum MintError {
    /// The next stamp would be too far in the future.
    #[error(
        "the next stamp lies {ahead_ms} ms ahead of the wall clock, more than the bound of {bound_ms} ms: writes wait until it catches up"
    )]
    AheadOfWall {
        /// How far ahead it would be.
        ahead_ms: u64,
        /// How far it may be.
        bound_ms: u64,
    },
    /// The next stamp would exceed what a restart could know of.
    #[error(
        "the next stamp would pass the durable ceiling {ceiling}: writes wait until a higher one is on disk"
    )]
    CeilingReached {
        /// The ceiling in force.
        ceiling: Stamp,
    },
    /// The wall clock was moved ahead.
    #[error(
        "the wall clock jumped {jump_ms} ms ahead of what has elapsed, more than the bound of {bound_ms} ms: writes wait until it is set right, the other sites show the new time too, or an operator accepts it"
    )]
    WallJumped {
        /// How far it jumped.
        jump_ms: u64,
        /// How far it may be off.
        bound_ms: u64,
    },
    /// The wall clock shows a time that stamps cannot hold.
    #[error("the wall clock is past 2109-05-15, which stamps cannot hold: set it right")]
    OutOfRange,
}

/// Why a remote stamp was not merged. The clock is unchanged; hold that site's entries and raise an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ObserveError {
    /// It lies too far in the future.
    #[error(
        "the remote stamp {remote} lies {ahead_ms} ms ahead of the wall clock, more than the bound of {bound_ms} ms: one of the two clocks is wrong"
    )]
    AheadOfWall {
        /// The stamp.
        remote: Stamp,
        /// How far it is ahead.
        ahead_ms: u64,
        /// How far it may be.
        bound_ms: u64,
    },
}

/// A site's clock: gives stamps that only increase.
pub struct HybridClock {
    generator: HlcGenerator<ManualClock>,
    bound_ms: u64,
    wall: Wall,
    ceiling: Stamp,
    /// The highest ceiling that was asked for and may still be on its way to the disk.
    asked: Stamp,
    promised: Stamp,
}

impl MintError {
    /// Whether waiting is enough; a clock that jumped needs someone to look at it.
    #[must_use]
    pub fn passes_by_itself(&self) -> bool {
        matches!(self, MintError::AheadOfWall { .. } | MintError::CeilingReached { .. })
    }
}

impl HybridClock {
    /// A clock all of whose stamps exceed `floor`: the highest of the recovered ceiling and every recovered stamp.
    /// Until [`HybridClock::ceiling_durable`] was called it gives none.
    ///
    /// # Panics
    /// If the bound is 0: hlc-gen takes that to mean that anything goes.
    #[must_use]
    pub fn new(bound_ms: u64, floor: Stamp) -> HybridClock {
        assert!(bound_ms > 0, "a clock bound of 0 ms would switch the drift check off");
        let generator = HlcGenerator::manual(usize::try_from(bound_ms).unwrap_or(usize::MAX));
        let wall = Wall::new(bound_ms);
        let mut clock =
            HybridClock { generator, bound_ms, wall, ceiling: floor, asked: floor, promised: Stamp::ZERO };
        clock.raise(floor, floor.unix_ms());
        clock
    }

    /// The next stamp: above all that were given or observed, at most the bound ahead of the wall clock, and not above
    /// the durable ceiling.
    pub fn mint(&mut self, now: Now) -> Result<Stamp, MintError> {
        let wall_ms = self
            .wall
            .read(now)
            .map_err(|jump_ms| MintError::WallJumped { jump_ms, bound_ms: self.bound_ms })?;
        let next_ms = self.next_unix_ms(wall_ms);
        let ahead_ms = next_ms.saturating_sub(wall_ms);
        if ahead_ms > self.bound_ms {
            return Err(MintError::AheadOfWall { ahead_ms, bound_ms: self.bound_ms });
        }
        if next_ms > UNIX_MS_MAX {
            return Err(MintError::OutOfRange);
        }
        let last = self.last();
        let next = if next_ms > last.unix_ms() {
            Stamp::from_unix_ms(next_ms)
        } else {
            Stamp::from_raw(last.raw() + 1)
        };
        if next > self.ceiling {
            return Err(MintError::CeilingReached { ceiling: self.ceiling });
        }
        self.set_generator(next_ms);
        let minted = self.generator.next_timestamp().map(|stamp| Stamp::from_raw(stamp.as_u64()));
        assert_eq!(minted, Some(next), "hlc-gen gave another stamp than the one its rules foretell");
        Ok(next)
    }

    /// Merges a stamp received from another site, so that everything stamped here from now on exceeds it.
    pub fn observe(&mut self, remote: Stamp, now: Now) -> Result<(), ObserveError> {
        let wall_ms = self.wall.judge(now);
        let ahead_ms = remote.unix_ms().saturating_sub(wall_ms);
        if ahead_ms > self.bound_ms {
            return Err(ObserveError::AheadOfWall { remote, ahead_ms, bound_ms: self.bound_ms });
        }
        self.raise(remote, wall_ms);
        Ok(())
    }

    /// Everything stamped here from now on exceeds `said`: this site itself has promised so, in a time it has forgotten.
    /// It is believed however far ahead it is; minting waits for the wall clock as after any start.
    pub fn exceed(&mut self, said: Stamp) {
        if said > self.last() {
            self.raise(said, said.unix_ms());
        }
    }

    /// A stamp such that everything minted later, in this life or after a restart, exceeds it; never above the durable
    /// ceiling. It follows the wall clock where that can be had; where minting is refused it is the best that still
    /// holds, so that a site whose writes wait does not hold the others back more than it must. `Err` says why nothing
    /// can be promised beyond the last promise, which stands.
    pub fn promise(&mut self, now: Now) -> Result<Stamp, MintError> {
        let promise = self.mint(now).or_else(|why| {
            let near = Stamp::from_unix_ms(self.wall.judge(now).saturating_add(self.bound_ms));
            let still_holds = self.last().min(self.ceiling).min(near);
            if still_holds > self.promised { Ok(still_holds) } else { Err(why) }
        })?;
        self.promised = promise;
        Ok(promise)
    }

    /// The highest stamp that was given or observed.
    #[must_use]
    pub fn last(&self) -> Stamp {
        Stamp::from_raw(self.generator.timestamp().as_u64())
    }

    /// The bound between stamps and the wall clock.
    #[must_use]
    pub fn bound_ms(&self) -> u64 {
        self.bound_ms
    }

    /// The durable ceiling: no stamp of this life exceeds it, every stamp of the next one does.
    #[must_use]
    pub fn ceiling(&self) -> Stamp {
        self.ceiling
    }

    /// The ceiling that should be made durable now, if one should; each is asked for once.
    pub fn wanted_ceiling(&mut self, now: Now) -> Option<Stamp> {
        let wall_ms = self.wall.judge(now);
        // Not above the bound: a clock that may not mint there would only drive its next start into the future.
        let base_ms = self.last().unix_ms().clamp(wall_ms, wall_ms.saturating_add(self.bound_ms));
        let secured = self.asked.max(self.ceiling);
        if secured >= Stamp::from_unix_ms(base_ms.saturating_add(CEILING_SPARE_MS)) {
            return None;
        }
        self.asked = Stamp::from_unix_ms(base_ms.saturating_add(CEILING_RESERVE_MS));
        Some(self.asked)
    }

    /// This ceiling is on disk now. A lower one than before changes nothing.
    pub fn ceiling_durable(&mut self, ceiling: Stamp) {
        self.ceiling = self.ceiling.max(ceiling);
    }

    /// How far the wall clock has jumped, while it is not believed.
    #[must_use]
    pub fn jump_ms(&self, now: Now) -> Option<u64> {
        let jump_ms = now.wall_ms.saturating_sub(self.wall.judge(now));
        (jump_ms > 0).then_some(jump_ms)
    }

    /// Whether the wall clock was set back by more than the bound while this clock went by it.
    #[must_use]
    pub fn was_set_back(&self, now: Now) -> bool {
        self.wall.is_set_back(now)
    }

    /// An operator says that the wall clock is right after all.
    pub fn accept_jump(&mut self, now: Now) {
        self.wall.accept(now);
    }

    /// The millisecond in which the next stamp lies.
    fn next_unix_ms(&self, wall_ms: u64) -> u64 {
        let last = self.last();
        let earliest_ms = if last.counter() == COUNTER_MAX { last.unix_ms() + 1 } else { last.unix_ms() };
        earliest_ms.max(wall_ms)
    }

    /// Moves the generator to or just past a stamp that was judged before.
    fn raise(&mut self, stamp: Stamp, wall_ms: u64) {
        if stamp <= self.last() {
            return;
        }
        // The last stamp but one that hlc-gen knows, since it will count one on: above it nothing is minted anyway.
        let highest = Stamp::from_unix_ms(UNIX_MS_MAX).raw() | (COUNTER_MAX - 1);
        let stamp = stamp.min(Stamp::from_raw(highest));
        // A full counter cannot be counted on by hlc-gen; told that it is the next millisecond, it carries.
        let generator_ms =
            if stamp.counter() == COUNTER_MAX { stamp.unix_ms() + 1 } else { wall_ms.min(stamp.unix_ms()) };
        let generator_ms = generator_ms.max(stamp.unix_ms().saturating_sub(self.bound_ms));
        self.set_generator(generator_ms);
        let stamp =
            hlc_gen::HlcTimestamp::try_from(stamp.raw()).expect("the stamp was brought into range above");
        self.generator.update(&stamp).expect("neither its drift nor its counter can be too large here");
    }

    fn set_generator(&mut self, unix_ms: u64) {
        let unix_ms = i64::try_from(unix_ms.max(EPOCH_UNIX_MS)).unwrap_or(i64::MAX);
        self.generator.set_current_timestamp(unix_ms);
    }
}

impl fmt::Debug for HybridClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HybridClock")
            .field("last", &self.last())
            .field("bound_ms", &self.bound_ms)
            .field("wall", &self.wall)
            .field("ceiling", &self.ceiling)
            .field("asked", &self.asked)
            .field("promised", &self.promised)
            .finish()
    }
}
