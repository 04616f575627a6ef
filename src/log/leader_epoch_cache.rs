//! Which leader wrote which part of a log: the epochs in it and where each began (KIP-101).
//!
//! Invariants: epochs ascend, and so do their starts; an epoch that wrote nothing is not kept once the
//! next one begins at the same offset.

use crate::types::{LeaderEpoch, Offset};

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LeaderEpochCache {
    /// Epoch and the first offset it wrote.
    entries: Vec<(LeaderEpoch, Offset)>,
}

impl LeaderEpochCache {
    /// What does not ascend is dropped: it comes from a damaged file.
    pub fn new(entries: Vec<(LeaderEpoch, Offset)>) -> Self {
        let mut cache = Self::default();
        for (epoch, start) in entries {
            cache.assign(epoch, start);
        }
        cache
    }

    pub fn entries(&self) -> &[(LeaderEpoch, Offset)] {
        &self.entries
    }

    pub fn latest(&self) -> Option<LeaderEpoch> {
        self.entries.last().map(|(epoch, _)| *epoch)
    }

    /// An epoch begins. True when that was news.
    pub fn assign(&mut self, epoch: LeaderEpoch, start: Offset) -> bool {
        if epoch.0 < 0 || self.latest().is_some_and(|latest| latest >= epoch) {
            return false;
        }
        while self
            .entries
            .last()
            .is_some_and(|(_, earlier)| *earlier >= start)
        {
            self.entries.pop();
        }
        self.entries.push((epoch, start));
        true
    }

    /// The epoch that wrote an offset.
    pub fn epoch_of(&self, offset: Offset) -> Option<LeaderEpoch> {
        let after = self.entries.partition_point(|(_, start)| *start <= offset);
        let at = after.checked_sub(1)?;
        self.entries.get(at).map(|(epoch, _)| *epoch)
    }

    /// For OffsetForLeaderEpoch: the largest epoch that is not beyond the one asked for, and where it
    /// ended. `None` when nothing is known that far back, or that far ahead.
    pub fn end_offset_for(
        &self,
        wanted: LeaderEpoch,
        log_end: Offset,
    ) -> Option<(LeaderEpoch, Offset)> {
        if wanted == LeaderEpoch::UNKNOWN || self.latest()? < wanted {
            return None;
        }
        let after = self.entries.partition_point(|(epoch, _)| *epoch <= wanted);
        let end = self
            .entries
            .get(after)
            .map_or(log_end, |(_, next_start)| *next_start);
        match after.checked_sub(1).and_then(|at| self.entries.get(at)) {
            Some((epoch, _)) => Some((*epoch, end)),
            // Older than everything kept: it ended before the first.
            None => Some((wanted, end)),
        }
    }

    /// The log ends here now. True when an epoch went.
    pub fn truncate_from_end(&mut self, end: Offset) -> bool {
        let before = self.entries.len();
        self.entries.retain(|(_, start)| *start < end);
        before != self.entries.len()
    }

    /// The log starts here now: the epoch that covers the start begins there. True when something changed.
    pub fn truncate_from_start(&mut self, start: Offset) -> bool {
        let after = self.entries.partition_point(|(_, begin)| *begin <= start);
        let Some(covering) = after.checked_sub(1) else {
            return false;
        };
        let mut changed = covering > 0;
        self.entries.drain(..covering);
        if let Some((_, begin)) = self.entries.first_mut()
            && *begin < start
        {
            *begin = start;
            changed = true;
        }
        changed
    }

    pub fn clear(&mut self) {
        self.entries.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(entries: &[(i32, i64)]) -> LeaderEpochCache {
        LeaderEpochCache::new(
            entries
                .iter()
                .map(|(epoch, start)| (LeaderEpoch(*epoch), Offset(*start)))
                .collect(),
        )
    }

    fn end(cache: &LeaderEpochCache, epoch: i32) -> Option<(i32, i64)> {
        cache
            .end_offset_for(LeaderEpoch(epoch), Offset(100))
            .map(|(epoch, end)| (epoch.0, end.0))
    }

    #[test]
    fn an_epoch_ends_where_the_next_begins() {
        let epochs = cache(&[(2, 10), (4, 20), (7, 50)]);
        assert_eq!(end(&epochs, 2), Some((2, 20)));
        assert_eq!(end(&epochs, 3), Some((2, 20)));
        assert_eq!(end(&epochs, 4), Some((4, 50)));
        assert_eq!(end(&epochs, 7), Some((7, 100)));
        assert_eq!(end(&epochs, 8), None);
        assert_eq!(end(&epochs, 1), Some((1, 10)));
        assert_eq!(end(&epochs, -1), None);
        assert_eq!(end(&cache(&[]), 0), None);
    }

    #[test]
    fn epochs_ascend_and_empty_ones_give_way() {
        let mut epochs = cache(&[(1, 0), (2, 10)]);
        assert!(!epochs.assign(LeaderEpoch(2), Offset(30)));
        assert!(!epochs.assign(LeaderEpoch(1), Offset(30)));
        assert!(epochs.assign(LeaderEpoch(3), Offset(10)));
        assert_eq!(epochs, cache(&[(1, 0), (3, 10)]));
        assert_eq!(epochs.epoch_of(Offset(9)), Some(LeaderEpoch(1)));
        assert_eq!(epochs.epoch_of(Offset(10)), Some(LeaderEpoch(3)));
    }

    #[test]
    fn truncation_keeps_what_covers_the_rest() {
        let mut epochs = cache(&[(1, 0), (3, 10), (4, 20)]);
        assert!(epochs.truncate_from_end(Offset(20)));
        assert_eq!(epochs, cache(&[(1, 0), (3, 10)]));
        assert!(!epochs.truncate_from_end(Offset(15)));
        assert!(epochs.truncate_from_start(Offset(12)));
        assert_eq!(epochs, cache(&[(3, 12)]));
        assert!(!epochs.truncate_from_start(Offset(12)));
        assert_eq!(epochs.epoch_of(Offset(11)), None);
    }
}
