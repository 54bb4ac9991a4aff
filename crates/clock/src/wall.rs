//! What time it is, and whether to believe it.
//!
//! The wall clock is compared with the monotonic clock: the wall may not run ahead of "last believed reading plus what
//! has really elapsed" by more than the bound. If it does, someone set it, and stamps taken from it would be refused by
//! every peer and would drag this site into the future for good. So a jump is not believed until it is taken back or
//! an operator says that the new time is right.
//!
//! A step *back* needs no judgement: the stamps stand still and then run ahead of the wall, which the bound stops. The
//! belief does not follow such a step, so that returning from it is no jump. The price: after a clock that was wrong
//! from the first reading has been set back, a forward jump up to that error goes unnoticed here (peers still refuse it).
//!
//! The monotonic clock must go on counting while the machine sleeps (Linux: `CLOCK_BOOTTIME`), or waking looks like a
//! jump.

/// What the caller's clocks say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Microseconds since some fixed moment; never goes back.
    pub mono_us: u64,
    /// Unix milliseconds; may do anything.
    pub wall_ms: u64,
}

/// The wall clock as far as it is believed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wall {
    bound_ms: u64,
    /// The last reading that was believed; none before the first.
    believed: Option<Now>,
}

impl Wall {
    pub(crate) fn new(bound_ms: u64) -> Wall {
        Wall { bound_ms, believed: None }
    }

    /// Takes a reading. `Ok` is the wall time to use; `Err` is how far it has jumped, and nothing changes.
    pub(crate) fn read(&mut self, now: Now) -> Result<u64, u64> {
        let ahead_ms = now.wall_ms.saturating_sub(self.expected_ms(now));
        if ahead_ms > self.bound_ms {
            return Err(ahead_ms);
        }
        if now.wall_ms.saturating_add(self.bound_ms) >= self.expected_ms(now) {
            self.believed = Some(now);
        }
        Ok(now.wall_ms)
    }

    /// The wall time to judge others by: the reading, or while that is a jump, what it should have been.
    pub(crate) fn judge(&self, now: Now) -> u64 {
        let expected_ms = self.expected_ms(now);
        if now.wall_ms.saturating_sub(expected_ms) > self.bound_ms { expected_ms } else { now.wall_ms }
    }

    /// Whether the reading lies further back than it should by more than the bound.
    pub(crate) fn is_set_back(&self, now: Now) -> bool {
        now.wall_ms.saturating_add(self.bound_ms) < self.expected_ms(now)
    }

    /// Believes the reading, whatever it is.
    pub(crate) fn accept(&mut self, now: Now) {
        self.believed = Some(now);
    }

    fn expected_ms(&self, now: Now) -> u64 {
        self.believed.map_or(now.wall_ms, |believed| {
            let elapsed_us = now.mono_us.saturating_sub(believed.mono_us);
            believed.wall_ms.saturating_add(elapsed_us / 1_000)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Now, Wall};

    fn at(mono_ms: u64, wall_ms: u64) -> Now {
        Now { mono_us: mono_ms * 1_000, wall_ms }
    }

    #[test]
    fn a_pause_is_no_jump_but_a_step_is() {
        let mut wall = Wall::new(500);
        assert_eq!(wall.read(at(0, 10_000)), Ok(10_000));
        assert_eq!(wall.read(at(60_000, 70_400)), Ok(70_400));
        assert_eq!(wall.read(at(60_001, 80_000)), Err(9_599));
        assert_eq!(wall.judge(at(60_001, 80_000)), 70_401);
        assert_eq!(wall.read(at(60_101, 70_501)), Ok(70_501));
    }

    #[test]
    fn returning_from_a_step_back_is_no_jump() {
        let mut wall = Wall::new(500);
        assert_eq!(wall.read(at(0, 3_600_000)), Ok(3_600_000));
        assert_eq!(wall.read(at(10, 10)), Ok(10));
        assert!(wall.is_set_back(at(10, 10)) && wall.is_set_back(at(60_000, 3_659_499)));
        assert!(!wall.is_set_back(at(60_000, 3_659_500)));
        assert_eq!(wall.read(at(20, 3_600_020)), Ok(3_600_020));
    }

    #[test]
    fn an_operator_may_say_that_the_new_time_is_right() {
        let mut wall = Wall::new(500);
        assert_eq!(wall.read(at(0, 0)), Ok(0));
        assert!(wall.read(at(1, 9_000)).is_err());
        wall.accept(at(2, 9_001));
        assert_eq!(wall.read(at(3, 9_002)), Ok(9_002));
    }
}
