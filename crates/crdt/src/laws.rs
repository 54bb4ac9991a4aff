//! The laws of [`Join`], checked on generated values. Run it for every CRDT, with a strategy whose values collide
//! often: small ranges find more than large ones.

use std::fmt::Debug;

use proptest::collection::vec;
use proptest::strategy::Strategy;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use crate::Join;

/// Checks associativity, commutativity, idempotence, monotonicity and the honesty of the returned flag, and that a
/// whole history joins to the same state in any order and grouping, with repetitions.
///
/// # Panics
/// With the smallest values found that break a law.
pub fn check_join_laws<S>(values: S)
where
    S: Strategy,
    S::Value: Join + Clone + PartialEq + Debug,
{
    let histories = vec(values, 3..7);
    let broken = runner().run(&histories, |history| {
        let [a, b, c] = &history[..3] else { unreachable!("three values at least") };
        pairs(a, b)?;
        law("associative", &joined(&joined(a, b)?, c)?, &joined(a, &joined(b, c)?)?)?;
        orders(&history)
    });
    if let Err(broken) = broken {
        panic!("{broken}");
    }
}

/// Checks that whatever an owner does to its state moves it up: that joining the state from before changes nothing.
///
/// # Panics
/// With the smallest state and step found that do not.
pub fn check_grows<S, T>(values: S, steps: T, take: impl Fn(&mut S::Value, &T::Value))
where
    S: Strategy,
    T: Strategy,
    S::Value: Join + Clone + PartialEq + Debug,
{
    let broken = runner().run(&(values, steps), |(before, step)| {
        let mut after = before.clone();
        take(&mut after, &step);
        law("growing", &joined(&after, &before)?, &after)
    });
    if let Err(broken) = broken {
        panic!("{broken}");
    }
}

fn runner() -> TestRunner {
    TestRunner::new(Config { cases: 512, failure_persistence: None, ..Config::default() })
}

fn pairs<T: Join + Clone + PartialEq + Debug>(a: &T, b: &T) -> Result<(), TestCaseError> {
    let both = joined(a, b)?;
    law("commutative", &both, &joined(b, a)?)?;
    law("idempotent", &joined(a, a)?, a)?;
    law("monotone", &joined(&both, a)?, &both)?;
    law("monotone", &joined(&both, b)?, &both)
}

/// From the left, from the right, and with everything twice.
fn orders<T: Join + Clone + PartialEq + Debug>(history: &[T]) -> Result<(), TestCaseError> {
    let forth = all(history.iter())?;
    law("independent of the order", &all(history.iter().rev())?, &forth)?;
    law("independent of repetition", &all(history.iter().chain(history))?, &forth)
}

fn all<'a, T: Join + Clone + PartialEq + Debug + 'a>(
    mut values: impl Iterator<Item = &'a T>,
) -> Result<T, TestCaseError> {
    let first = values.next().expect("a history is not empty").clone();
    values.try_fold(first, |joint, value| joined(&joint, value))
}

fn joined<T: Join + Clone + PartialEq + Debug>(a: &T, b: &T) -> Result<T, TestCaseError> {
    let mut joint = a.clone();
    let changed = joint.join(b);
    if changed == (joint == *a) {
        return Err(TestCaseError::fail(format!("join says changed = {changed}: {a:?} ∨ {b:?} = {joint:?}")));
    }
    Ok(joint)
}

fn law<T: PartialEq + Debug>(name: &str, one: &T, other: &T) -> Result<(), TestCaseError> {
    if one == other { Ok(()) } else { Err(TestCaseError::fail(format!("not {name}: {one:?} or {other:?}"))) }
}

#[cfg(test)]
mod tests {
    use super::{check_grows, check_join_laws};
    use crate::Join;
    use proptest::strategy::Strategy;

    /// The last argument wins: what a careless "apply the update" does.
    #[derive(Debug, Clone, PartialEq)]
    struct LastWins(u8);
    impl Join for LastWins {
        fn join(&mut self, other: &Self) -> bool {
            let changed = self != other;
            self.0 = other.0;
            changed
        }
    }

    /// Counts what it is told, so that a repetition counts twice.
    #[derive(Debug, Clone, PartialEq)]
    struct Sum(u64);
    impl Join for Sum {
        fn join(&mut self, other: &Self) -> bool {
            self.0 += other.0;
            other.0 > 0
        }
    }

    /// The newest wins, but nothing decides between two of one stamp.
    #[derive(Debug, Clone, PartialEq)]
    struct NoTieBreak(u8, u8);
    impl Join for NoTieBreak {
        fn join(&mut self, other: &Self) -> bool {
            let newer = other.0 > self.0;
            if newer {
                self.clone_from(other);
            }
            newer
        }
    }

    /// A maximum that always says that it changed.
    #[derive(Debug, Clone, PartialEq)]
    struct Liar(u8);
    impl Join for Liar {
        fn join(&mut self, other: &Self) -> bool {
            self.0 = self.0.max(other.0);
            true
        }
    }

    /// A sound maximum, for what its owner does to it.
    #[derive(Debug, Clone, PartialEq)]
    struct Highest(u8);
    impl Join for Highest {
        fn join(&mut self, other: &Self) -> bool {
            let changed = other.0 > self.0;
            self.0 = self.0.max(other.0);
            changed
        }
    }

    #[test]
    #[should_panic(expected = "Test failed: not ")]
    fn catches_a_join_that_depends_on_its_argument() {
        check_join_laws((0u8..4).prop_map(LastWins));
    }

    #[test]
    #[should_panic(expected = "not idempotent")]
    fn catches_a_join_that_counts_repetitions() {
        check_join_laws((1u64..4).prop_map(Sum));
    }

    #[test]
    #[should_panic(expected = "Test failed: not ")]
    fn catches_a_missing_tie_break() {
        check_join_laws((0u8..3, 0u8..3).prop_map(|(stamp, value)| NoTieBreak(stamp, value)));
    }

    #[test]
    #[should_panic(expected = "join says changed")]
    fn catches_a_dishonest_flag() {
        check_join_laws((0u8..4).prop_map(Liar));
    }

    #[test]
    #[should_panic(expected = "not growing")]
    fn catches_an_owner_who_goes_down() {
        check_grows((1u8..4).prop_map(Highest), 0u8..1, |value, _| value.0 -= 1);
    }
}
