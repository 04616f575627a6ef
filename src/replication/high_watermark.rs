//! How far a partition may be read and acknowledged: the rule, and nothing else.
//!
//! The high watermark is the smallest of what the in-sync replicas hold. On a topic with
//! `durable.acks` a replica holds what is on its disk, so that what a consumer has seen, and what
//! an `acks=all` producer was promised, survives the loss of every page cache.

use crate::types::Offset;

/// What one in-sync replica has said of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplicaProgress {
    pub log_end: Offset,
    /// Everything below is on its disk.
    pub durable: Offset,
}

/// The high watermark after the in-sync replicas (the leader among them) have come so far. It never
/// goes back: not when a replica joins behind it, not when `durable` is switched on.
pub fn advance(
    current: Offset,
    in_sync: impl IntoIterator<Item = ReplicaProgress>,
    durable: bool,
) -> Offset {
    in_sync
        .into_iter()
        .map(|replica| {
            if durable {
                replica.durable.min(replica.log_end)
            } else {
                replica.log_end
            }
        })
        .min()
        .map_or(current, |reached| reached.max(current))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(log_end: i64, durable: i64) -> ReplicaProgress {
        ReplicaProgress {
            log_end: Offset(log_end),
            durable: Offset(durable),
        }
    }

    #[test]
    fn the_slowest_in_sync_replica_decides() {
        let table = [
            // current, replicas, durable, expected
            (0, vec![at(10, 0)], false, 10),
            (0, vec![at(10, 0)], true, 0),
            (0, vec![at(10, 7)], true, 7),
            (0, vec![at(10, 10), at(8, 3), at(9, 9)], false, 8),
            (0, vec![at(10, 10), at(8, 3), at(9, 9)], true, 3),
            // A replica that joined behind, or durability switched on, takes nothing back.
            (9, vec![at(10, 10), at(5, 5)], false, 9),
            (9, vec![at(10, 2)], true, 9),
            // Nobody in sync: nothing moves.
            (4, vec![], false, 4),
            // A flush of what was since truncated counts for no more than the log holds.
            (0, vec![at(5, 9)], true, 5),
        ];
        for (current, replicas, durable, expected) in table {
            assert_eq!(
                advance(Offset(current), replicas.clone(), durable),
                Offset(expected),
                "{current} {replicas:?} {durable}"
            );
        }
    }
}
