//! Whether the node serves, and if not, what it is at: for `/health/ready` and whoever starts it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::log::RecoveryProgress;

/// Where a node is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    Starting = 0,
    Ready = 1,
    ShuttingDown = 2,
}

/// Shared by the broker, which moves it on, and by who asks.
#[derive(Debug, Default)]
pub struct Readiness {
    phase: AtomicU8,
    pub recovery: Arc<RecoveryProgress>,
}

impl Readiness {
    pub fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Release);
    }

    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Starting,
            1 => Phase::Ready,
            _ => Phase::ShuttingDown,
        }
    }

    /// What `/health/ready` says.
    pub fn describe(&self) -> serde_json::Value {
        let status = match self.phase() {
            Phase::Starting => "starting",
            Phase::Ready => "ready",
            Phase::ShuttingDown => "shutting down",
        };
        let recovery = &self.recovery;
        serde_json::json!({
            "status": status,
            "logs": recovery.logs.load(Ordering::Relaxed),
            "logs_opened": recovery.logs_done.load(Ordering::Relaxed),
            "bytes_recovered": recovery.bytes_done.load(Ordering::Relaxed),
        })
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
