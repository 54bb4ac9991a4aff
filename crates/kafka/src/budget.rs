//! Budgets of bytes: what all clients together may make this node hold, and how much of it those of one address.
//!
//! Who wants more than is left waits, in the order of asking. One address has at most half of a budget, and waits for its
//! own share first: however much it asks for, it never stands in line before all others with more than that.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes that one address may take of what all may.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    all: Arc<Semaphore>,
    address: Arc<Semaphore>,
    bytes_max: usize,
    address_bytes_max: usize,
}

/// Bytes that were paid for, until this is dropped.
#[derive(Debug)]
pub(crate) struct Paid {
    _permits: [OwnedSemaphorePermit; 2],
}

impl Budget {
    /// So many bytes in all, and half of them for one address; but what is asked for at a time, at most `once_max`, can
    /// always be had.
    pub(crate) fn new(bytes_max: usize, once_max: usize) -> Budget {
        let bytes_max = bytes_max.clamp(1, Semaphore::MAX_PERMITS);
        let address_bytes_max = (bytes_max / 2).max(once_max).min(bytes_max);
        Budget {
            all: Arc::new(Semaphore::new(bytes_max)),
            address: Arc::new(Semaphore::new(address_bytes_max)),
            bytes_max,
            address_bytes_max,
        }
    }

    /// The same budget for another address.
    pub(crate) fn for_another_address(&self) -> Budget {
        Budget { address: Arc::new(Semaphore::new(self.address_bytes_max)), ..self.clone() }
    }

    /// Pays as soon as there is enough left. More than an address may ever have costs all of that.
    pub(crate) async fn pay(&self, bytes: usize) -> Paid {
        let cost = self.cost(bytes);
        let address = Arc::clone(&self.address).acquire_many_owned(cost).await;
        let all = Arc::clone(&self.all).acquire_many_owned(cost).await;
        let closed = "a budget is never closed";
        Paid { _permits: [address.expect(closed), all.expect(closed)] }
    }

    /// Pays if there is enough left now.
    pub(crate) fn try_pay(&self, bytes: usize) -> Option<Paid> {
        let cost = self.cost(bytes);
        let address = Arc::clone(&self.address).try_acquire_many_owned(cost).ok()?;
        let all = Arc::clone(&self.all).try_acquire_many_owned(cost).ok()?;
        Some(Paid { _permits: [address, all] })
    }

    fn cost(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.min(self.address_bytes_max).min(self.bytes_max)).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::Budget;

    #[test]
    fn one_address_has_half_and_all_together_have_all() {
        let here = Budget::new(100, 10);
        let there = here.for_another_address();
        let first = here.try_pay(50).unwrap();
        assert!(here.try_pay(1).is_none(), "its share is used up");
        let second = there.try_pay(50).unwrap();
        assert!(there.for_another_address().try_pay(1).is_none(), "all is used up");
        drop(first);
        assert!(here.try_pay(50).is_some());
        drop(second);
        assert!(there.try_pay(51).is_some(), "more than there can be costs all that there can be");
    }

    #[test]
    fn what_is_asked_for_at_a_time_can_be_had() {
        assert!(Budget::new(100, 80).try_pay(80).is_some());
        assert!(Budget::new(100, 80).try_pay(1_000).is_some());
    }
}
