//! Whether the node serves, and if not, what it is at: for `/health/ready` and whoever starts it.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use serde_json::{Value, json};

use super::partitions::Partitions;
use crate::log::{RecoveryProgress, Refused};

/// Where a node is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    Starting = 0,
    Ready = 1,
    ShuttingDown = 2,
    /// It waits for a quorum of the ensemble's voters.
    Joining = 3,
}

/// Shared by the broker, which moves it on, and by who asks.
#[derive(Debug, Default)]
pub struct Readiness {
    phase: AtomicU8,
    pub recovery: Arc<RecoveryProgress>,
    partitions: OnceLock<Weak<Partitions>>,
}

impl Readiness {
    pub fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Release);
    }

    /// From here on their state is told, too.
    pub fn show_log_dirs(&self, partitions: &Arc<Partitions>) {
        // A node has one table for its life.
        let _ = self.partitions.set(Arc::downgrade(partitions));
    }

    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Starting,
            1 => Phase::Ready,
            3 => Phase::Joining,
            _ => Phase::ShuttingDown,
        }
    }

    /// What `/health/ready` says.
    pub fn describe(&self) -> Value {
        let status = match self.phase() {
            Phase::Starting => "starting",
            Phase::Joining => "waiting for a quorum",
            Phase::Ready => "ready",
            Phase::ShuttingDown => "shutting down",
        };
        let recovery = self.recovery.state();
        json!({
            "status": status,
            "logs": recovery.logs,
            "logs_opened": recovery.logs_done,
            "bytes_to_recover": recovery.bytes,
            "bytes_recovered": recovery.bytes_done,
            "seconds_left": recovery.left.map(|left| left.as_secs_f64().ceil()),
            "log_dirs": self.log_dirs(),
        })
    }

    /// A node goes on without some of its directories: what is wrong with them is told, and it stays ready.
    fn log_dirs(&self) -> Vec<Value> {
        let Some(partitions) = self.partitions.get().and_then(Weak::upgrade) else {
            return Vec::new();
        };
        let places = partitions.log_dirs().places().iter();
        places
            .map(|place| {
                let dir = place.dir.path().display().to_string();
                match place.dir.failure() {
                    Some(why) => json!({ "dir": dir, "state": "offline", "why": why }),
                    None => json!({
                        "dir": dir,
                        "state": match place.dir.space().refused() {
                            Refused::Nobody => "online",
                            Refused::Producers => "too full for producers",
                            Refused::CoordinatorsToo => "too full",
                        },
                        "free_bytes": place.dir.space().usable(),
                        "floor_bytes": place.dir.space().floor(),
                    }),
                }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_says_where_it_is() {
        let readiness = Readiness::default();
        assert_eq!(readiness.describe()["status"], "starting");
        readiness.enter(Phase::Ready);
        assert_eq!(readiness.describe()["status"], "ready");
        readiness.enter(Phase::ShuttingDown);
        assert_eq!(readiness.phase(), Phase::ShuttingDown);
    }
}
