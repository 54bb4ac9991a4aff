//! What time alone does to a group: sessions end, barriers close, promised ids lapse.

use crate::output::Removal;
use crate::settings::EMPTY_GROUP_KEPT_MS;
use crate::state::{Group, Phase, Turn};

impl Group {
    /// When something happens next without anybody asking.
    pub(crate) fn deadline(&self) -> Option<u64> {
        let phase = match &self.phase {
            Phase::Empty { since_ms } if self.promised.is_empty() => Some(since_ms + EMPTY_GROUP_KEPT_MS),
            Phase::Preparing(barrier) => Some(barrier.closes_ms),
            _ => None,
        };
        let sessions = self.members.values().filter_map(|member| member.deadline()).min();
        let promised = self.promised.values().copied().min();
        [phase, sessions, promised, self.sync_closes_ms].into_iter().flatten().min()
    }

    /// Nothing is lost by forgetting it.
    pub(crate) fn is_forgettable(&self, now_ms: u64) -> bool {
        let Phase::Empty { since_ms } = self.phase else { return false };
        let never_formed = self.generation == 0;
        self.promised.is_empty() && (never_formed || since_ms + EMPTY_GROUP_KEPT_MS <= now_ms)
    }

    pub(crate) fn tick(&mut self, turn: &mut Turn<'_>) {
        let now_ms = turn.now_ms;
        self.promised.retain(|_, good_until_ms| *good_until_ms > now_ms);
        let lost = self.members.iter().filter(|(_, m)| m.deadline().is_some_and(|at_ms| at_ms <= now_ms));
        let lost: Vec<String> = lost.map(|(id, _)| id.clone()).collect();
        for id in &lost {
            self.remove(turn, id, Removal::SessionExpired);
        }
        let unsynced = self.close_sync_barrier(turn);
        self.settle_removal(turn, lost.len() + unsynced, "members were lost");
        self.close_join_barrier(turn);
    }

    /// A member that never came for its assignment holds partitions that nobody reads: it goes.
    fn close_sync_barrier(&mut self, turn: &mut Turn<'_>) -> usize {
        if self.sync_closes_ms.is_none_or(|closes_ms| closes_ms > turn.now_ms) {
            return 0;
        }
        self.sync_closes_ms = None;
        let late = self.members.iter().filter(|(_, member)| !member.synced);
        let late: Vec<String> = late.map(|(id, _)| id.clone()).collect();
        for id in &late {
            self.remove(turn, id, Removal::MissedSync);
        }
        late.len()
    }

    fn close_join_barrier(&mut self, turn: &mut Turn<'_>) {
        let delay_ms = u64::from(turn.settings.initial_rebalance_delay_ms);
        let Phase::Preparing(barrier) = &mut self.phase else { return };
        if barrier.closes_ms > turn.now_ms {
            return;
        }
        if let Some(gathering) = &mut barrier.gathering
            && std::mem::take(&mut gathering.newcomer)
            && turn.now_ms < gathering.ends_ms_max
        {
            barrier.closes_ms = (turn.now_ms + delay_ms).min(gathering.ends_ms_max);
            return;
        }
        self.close_barrier(turn);
    }
}
