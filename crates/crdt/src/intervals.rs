//! A set of `u64` as half-open intervals: sorted, disjoint, not touching, none empty. So equal sets are equal values,
//! and a set grows with its gaps and not with its members.
//!
//! What comes from a disk or a peer is checked when it is decoded; a list that is not in this form is refused rather
//! than repaired, since whoever wrote it did not write what we write.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::Join;

/// A set of numbers, kept as intervals.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<(u64, u64)>", into = "Vec<(u64, u64)>")]
pub struct IntervalSet {
    /// First member → first non-member after it.
    ends: BTreeMap<u64, u64>,
}

/// A list of intervals that this room would not have written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IntervalError {
    /// Where in the list.
    pub index: usize,
}

impl std::fmt::Display for IntervalError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "interval {} is empty, or not beyond the one before it", self.index)
    }
}

impl std::error::Error for IntervalError {}

impl IntervalSet {
    /// The empty set.
    #[must_use]
    pub fn new() -> IntervalSet {
        IntervalSet::default()
    }

    /// Adds a range; says whether anything in it was missing. An empty range adds nothing.
    pub fn insert(&mut self, range: Range<u64>) -> bool {
        if range.is_empty() || self.covers(range.clone()) {
            return false;
        }
        let Range { mut start, mut end } = range;
        if let Some((&before, &before_end)) = self.ends.range(..start).next_back()
            && before_end >= start
        {
            start = before;
            end = end.max(before_end);
        }
        while let Some((&next, &next_end)) = self.ends.range(start..=end).next() {
            self.ends.remove(&next);
            end = end.max(next_end);
        }
        self.ends.insert(start, end);
        true
    }

    /// Whether it is a member.
    #[must_use]
    pub fn contains(&self, member: u64) -> bool {
        self.interval_of(member).is_some()
    }

    /// Whether all of a range are members; all of an empty range are.
    #[must_use]
    pub fn covers(&self, range: Range<u64>) -> bool {
        range.is_empty() || self.interval_of(range.start).is_some_and(|interval| interval.end >= range.end)
    }

    /// The first non-member at or after a number.
    #[must_use]
    pub fn first_gap_from(&self, from: u64) -> u64 {
        self.interval_of(from).map_or(from, |interval| interval.end)
    }

    /// Removes all members below a number.
    pub fn remove_below(&mut self, below: u64) {
        let kept = self.ends.split_off(&below);
        let straddling = self.ends.last_key_value().map(|(_, &end)| end).filter(|end| *end > below);
        self.ends = kept;
        if let Some(end) = straddling {
            self.ends.insert(below, end);
        }
    }

    /// The intervals, in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Range<u64>> + '_ {
        self.ends.iter().map(|(&start, &end)| start..end)
    }

    /// How many intervals it takes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether it has no members.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// How many members it has.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.iter().map(|interval| interval.end - interval.start).sum()
    }

    fn interval_of(&self, member: u64) -> Option<Range<u64>> {
        let (&start, &end) = self.ends.range(..=member).next_back()?;
        (member < end).then_some(start..end)
    }
}

/// Union.
impl Join for IntervalSet {
    fn join(&mut self, other: &Self) -> bool {
        let mut changed = false;
        for interval in other.iter() {
            changed |= self.insert(interval);
        }
        changed
    }
}

impl From<Range<u64>> for IntervalSet {
    fn from(range: Range<u64>) -> Self {
        IntervalSet::from_iter(std::iter::once(range))
    }
}

impl FromIterator<Range<u64>> for IntervalSet {
    fn from_iter<I: IntoIterator<Item = Range<u64>>>(ranges: I) -> Self {
        let mut set = IntervalSet::new();
        for range in ranges {
            set.insert(range);
        }
        set
    }
}

impl From<IntervalSet> for Vec<(u64, u64)> {
    fn from(set: IntervalSet) -> Self {
        set.ends.into_iter().collect()
    }
}

impl TryFrom<Vec<(u64, u64)>> for IntervalSet {
    type Error = IntervalError;

    fn try_from(list: Vec<(u64, u64)>) -> Result<Self, IntervalError> {
        for (index, &(start, end)) in list.iter().enumerate() {
            let beyond = index == 0 || start > list[index - 1].1;
            if start >= end || !beyond {
                return Err(IntervalError { index });
            }
        }
        Ok(IntervalSet { ends: list.into_iter().collect() })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{IntervalError, IntervalSet};
    use crate::Join;
    use crate::laws::check_join_laws;
    use proptest::collection::vec;
    use proptest::prelude::{prop_assert_eq, proptest};
    use proptest::strategy::Strategy;

    fn sets() -> impl Strategy<Value = IntervalSet> {
        vec((0u64..30, 0u64..6), 0..6)
            .prop_map(|ranges| ranges.into_iter().map(|(start, len)| start..start + len).collect())
    }

    fn members(set: &IntervalSet) -> BTreeSet<u64> {
        set.iter().flatten().collect()
    }

    #[test]
    fn keeps_the_laws() {
        check_join_laws(sets());
    }

    #[test]
    fn touching_intervals_become_one() {
        let mut set = IntervalSet::from_iter([0..2, 4..6]);
        assert_eq!(set.len(), 2);
        assert!(set.insert(2..4));
        assert!(!set.insert(1..5));
        assert!(!set.insert(9..9));
        assert_eq!(set, IntervalSet::from(0..6));
        assert!(set.insert(0..u64::MAX));
        assert_eq!((set.count(), set.first_gap_from(7)), (u64::MAX, u64::MAX));
    }

    #[test]
    fn only_the_normal_form_is_decoded() {
        let list = vec![(1, 3), (4, 5)];
        let set = IntervalSet::try_from(list.clone()).unwrap();
        assert_eq!(Vec::from(set), list);
        for wrong in [vec![(1, 3), (3, 5)], vec![(1, 3), (2, 5)], vec![(1, 3), (0, 1)], vec![(9, 10), (4, 4)]]
        {
            assert_eq!(IntervalSet::try_from(wrong), Err(IntervalError { index: 1 }));
        }
        assert_eq!(IntervalSet::try_from(vec![(3, 2)]), Err(IntervalError { index: 0 }));
    }

    proptest! {
        #[test]
        fn is_the_set_it_stands_for(one in sets(), other in sets(), at in 0u64..40, len in 0u64..6) {
            let (ones, others) = (members(&one), members(&other));
            let mut union = one.clone();
            union.join(&other);
            prop_assert_eq!(members(&union), ones.union(&others).copied().collect());
            prop_assert_eq!(one.count(), ones.len() as u64);
            prop_assert_eq!(one.contains(at), ones.contains(&at));
            prop_assert_eq!(one.covers(at..at + len), (at..at + len).all(|member| ones.contains(&member)));
            prop_assert_eq!(Some(one.first_gap_from(at)), (at..).find(|member| !ones.contains(member)));
            let mut above = one;
            above.remove_below(at);
            prop_assert_eq!(members(&above), ones.iter().copied().filter(|member| *member >= at).collect());
            prop_assert_eq!(IntervalSet::try_from(Vec::from(union.clone())), Ok(union));
        }
    }
}
