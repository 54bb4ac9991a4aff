//! The order of one log, put together from every offset that anyone was told.
//!
//! Offsets may have gaps; an *index* counts what was seen, without gaps. Should an offset have two values, that is an anomaly
//! of its own, and the lower value stands for the index so that the other checks go on.

/// The order of one log.
#[derive(Debug, Default)]
pub(crate) struct Order {
    /// (offset, value), sorted, each pair once.
    seen: Vec<(u64, u64)>,
    /// Offset of each index.
    offsets: Vec<u64>,
    /// First value of each index.
    values: Vec<u64>,
    /// (value, index), sorted.
    places: Vec<(u64, u32)>,
}

impl Order {
    pub(crate) fn new(mut seen: Vec<(u64, u64)>) -> Self {
        seen.sort_unstable();
        seen.dedup();
        let mut order = Self::default();
        order.places.reserve(seen.len());
        for (offset, value) in &seen {
            if order.offsets.last() != Some(offset) {
                order.offsets.push(*offset);
                order.values.push(*value);
            }
            let index = u32::try_from(order.offsets.len() - 1).expect("a history fits in memory");
            order.places.push((*value, index));
        }
        order.places.sort_unstable();
        order.seen = seen;
        order
    }

    /// Values by index.
    pub(crate) fn values(&self) -> &[u64] {
        &self.values
    }

    pub(crate) fn offset(&self, index: u32) -> u64 {
        self.offsets[index as usize]
    }

    /// The index of an offset that was seen.
    pub(crate) fn index_of_offset(&self, offset: u64) -> Option<u32> {
        self.offsets.binary_search(&offset).ok().and_then(|at| u32::try_from(at).ok())
    }

    /// Every index at which a value stands, in order.
    pub(crate) fn places(&self, value: u64) -> impl Iterator<Item = u32> + '_ {
        let from = self.places.partition_point(|(known, _)| *known < value);
        self.places[from..].iter().take_while(move |(known, _)| *known == value).map(|(_, index)| *index)
    }

    pub(crate) fn first(&self, value: u64) -> Option<u32> {
        self.places(value).next()
    }

    /// Offsets with more than one value.
    pub(crate) fn contested(&self) -> impl Iterator<Item = (u64, Vec<u64>)> + '_ {
        let groups = self.seen.chunk_by(|one, other| one.0 == other.0);
        groups.filter(|group| group.len() > 1).map(|group| {
            let values = group.iter().map(|(_, value)| *value).collect();
            (group[0].0, values)
        })
    }

    /// Values at more than one index.
    pub(crate) fn repeated(&self) -> impl Iterator<Item = (u64, Vec<u32>)> + '_ {
        let groups = self.places.chunk_by(|one, other| one.0 == other.0);
        groups.filter(|group| group.len() > 1).map(|group| {
            let indices = group.iter().map(|(_, index)| *index).collect();
            (group[0].0, indices)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Order;

    #[test]
    fn gaps_count_as_nothing_and_contested_offsets_once() {
        let order = Order::new(vec![(9, 3), (2, 1), (5, 2), (5, 7), (2, 1), (11, 1)]);
        assert_eq!(order.values(), [1, 2, 3, 1]);
        assert_eq!(order.index_of_offset(9), Some(2));
        assert_eq!(order.index_of_offset(8), None);
        assert_eq!(order.offset(3), 11);
        assert_eq!(order.places(1).collect::<Vec<_>>(), [0, 3]);
        assert_eq!(order.first(7), Some(1));
        assert_eq!(order.contested().collect::<Vec<_>>(), [(5, vec![2, 7])]);
        assert_eq!(order.repeated().collect::<Vec<_>>(), [(1, vec![0, 3])]);
    }
}
