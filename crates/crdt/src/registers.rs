//! Registers: the newest value wins; between values of one stamp the larger one does, so that the choice is the same
//! everywhere.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde::{Deserialize, Serialize};

use crate::Join;

/// A value with the stamp it was set at.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Newest<T> {
    // The order of these fields is the rule: compared by stamp first.
    stamp: u64,
    value: T,
}

impl<T: Ord> Newest<T> {
    /// A register that was set once.
    #[must_use]
    pub fn new(stamp: u64, value: T) -> Newest<T> {
        Newest { stamp, value }
    }

    /// Sets it, unless it holds something newer; says whether it changed.
    pub fn set(&mut self, stamp: u64, value: T) -> bool {
        let new = Newest { stamp, value };
        let newer = new > *self;
        if newer {
            *self = new;
        }
        newer
    }

    /// When it was set.
    #[must_use]
    pub fn stamp(&self) -> u64 {
        self.stamp
    }

    /// What it holds.
    #[must_use]
    pub fn value(&self) -> &T {
        &self.value
    }
}

impl<T: Ord + Clone> Join for Newest<T> {
    fn join(&mut self, other: &Self) -> bool {
        let newer = other > self;
        if newer {
            self.clone_from(other);
        }
        newer
    }
}

/// One register per key, each written by one site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent, bound(serialize = "K: Serialize + Ord, T: Serialize"))]
#[serde(bound(deserialize = "K: Deserialize<'de> + Ord, T: Deserialize<'de>"))]
pub struct PerSite<K: Ord, T> {
    registers: BTreeMap<K, Newest<T>>,
}

impl<K: Ord, T> Default for PerSite<K, T> {
    fn default() -> Self {
        PerSite { registers: BTreeMap::new() }
    }
}

impl<K: Ord + Copy, T: Ord> PerSite<K, T> {
    /// No registers.
    #[must_use]
    pub fn new() -> PerSite<K, T> {
        PerSite::default()
    }

    /// Sets one key's register, unless it holds something newer; says whether it changed.
    pub fn set(&mut self, key: K, stamp: u64, value: T) -> bool {
        match self.registers.entry(key) {
            Entry::Occupied(mut register) => register.get_mut().set(stamp, value),
            Entry::Vacant(place) => {
                place.insert(Newest::new(stamp, value));
                true
            }
        }
    }

    /// One key's register.
    #[must_use]
    pub fn get(&self, key: K) -> Option<&Newest<T>> {
        self.registers.get(&key)
    }

    /// All registers, in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (K, &Newest<T>)> + '_ {
        self.registers.iter().map(|(key, register)| (*key, register))
    }

    /// How many keys were set.
    #[must_use]
    pub fn len(&self) -> usize {
        self.registers.len()
    }

    /// Whether none was.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.registers.is_empty()
    }
}

impl<K: Ord + Copy, T: Ord + Clone> Join for PerSite<K, T> {
    fn join(&mut self, other: &Self) -> bool {
        let mut changed = false;
        for (key, register) in other.iter() {
            changed |= self.set(key, register.stamp, register.value.clone());
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::{Newest, PerSite};
    use crate::laws::check_join_laws;
    use proptest::collection::vec;
    use proptest::strategy::Strategy;

    #[test]
    fn keeps_the_laws() {
        check_join_laws((0u64..4, 0u8..4).prop_map(|(stamp, value)| Newest::new(stamp, value)));
        check_join_laws(vec((0u16..3, 0u64..3, 0u8..3), 0..5).prop_map(|sets| {
            let mut registers = PerSite::new();
            for (site, stamp, value) in sets {
                registers.set(site, stamp, value);
            }
            registers
        }));
    }

    #[test]
    fn an_older_value_never_returns() {
        let mut register = Newest::new(5, 'b');
        assert!(!register.set(4, 'z'));
        assert!(!register.set(5, 'a'), "one stamp: the larger value stays");
        assert!(register.set(5, 'c'));
        assert!(register.set(6, 'a'));
        assert_eq!((register.stamp(), *register.value()), (6, 'a'));
    }
}
