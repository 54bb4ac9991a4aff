//! A version vector: per key the highest position seen. An absent key and a key at 0 mean the same and are kept the
//! same way (absent), so that equal frontiers are equal values.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Join;

/// Per key the next position, 0 where nothing was seen.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(
    from = "BTreeMap<K, u64>",
    into = "BTreeMap<K, u64>",
    bound(serialize = "K: Serialize + Ord + Clone")
)]
#[serde(bound(deserialize = "K: Deserialize<'de> + Ord"))]
pub struct Frontier<K: Ord> {
    next: BTreeMap<K, u64>,
}

impl<K: Ord> Default for Frontier<K> {
    fn default() -> Self {
        Frontier { next: BTreeMap::new() }
    }
}

impl<K: Ord + Copy> Frontier<K> {
    /// Nothing seen of anyone.
    #[must_use]
    pub fn new() -> Frontier<K> {
        Frontier::default()
    }

    /// How far this key is.
    #[must_use]
    pub fn get(&self, key: K) -> u64 {
        self.next.get(&key).copied().unwrap_or(0)
    }

    /// Moves a key to `next` if that is further; says whether it was.
    pub fn advance(&mut self, key: K, next: u64) -> bool {
        let further = next > self.get(key);
        if further {
            self.next.insert(key, next);
        }
        further
    }

    /// Whether every key is at least as far here as there.
    #[must_use]
    pub fn covers(&self, other: &Frontier<K>) -> bool {
        other.iter().all(|(key, next)| self.get(key) >= next)
    }

    /// The keys that have moved, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (K, u64)> + '_ {
        self.next.iter().map(|(key, next)| (*key, *next))
    }

    /// How many keys have moved.
    #[must_use]
    pub fn len(&self) -> usize {
        self.next.len()
    }

    /// Whether none has.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.next.is_empty()
    }
}

impl<K: Ord + Copy> Join for Frontier<K> {
    fn join(&mut self, other: &Self) -> bool {
        let mut changed = false;
        for (key, next) in other.iter() {
            changed |= self.advance(key, next);
        }
        changed
    }
}

impl<K: Ord> From<BTreeMap<K, u64>> for Frontier<K> {
    fn from(mut next: BTreeMap<K, u64>) -> Self {
        next.retain(|_, next| *next > 0);
        Frontier { next }
    }
}

impl<K: Ord> From<Frontier<K>> for BTreeMap<K, u64> {
    fn from(frontier: Frontier<K>) -> Self {
        frontier.next
    }
}

impl<K: Ord + Copy> FromIterator<(K, u64)> for Frontier<K> {
    fn from_iter<I: IntoIterator<Item = (K, u64)>>(entries: I) -> Self {
        let mut frontier = Frontier::new();
        for (key, next) in entries {
            frontier.advance(key, next);
        }
        frontier
    }
}

#[cfg(test)]
mod tests {
    use super::Frontier;
    use crate::laws::check_join_laws;
    use proptest::collection::vec;
    use proptest::strategy::Strategy;

    #[test]
    fn keeps_the_laws() {
        let frontiers = vec((0u8..4, 0u64..6), 0..6).prop_map(Frontier::from_iter);
        check_join_laws(frontiers);
    }

    #[test]
    fn only_moves_ahead() {
        let mut frontier = Frontier::new();
        assert!(!frontier.advance('a', 0), "0 is where everyone starts");
        assert!(frontier.is_empty());
        assert!(frontier.advance('a', 3));
        assert!(!frontier.advance('a', 3));
        assert!(!frontier.advance('a', 2));
        assert_eq!((frontier.get('a'), frontier.get('b')), (3, 0));
        assert!(frontier.covers(&Frontier::from_iter([('a', 2)])));
        assert!(!frontier.covers(&Frontier::from_iter([('b', 1)])));
    }
}
