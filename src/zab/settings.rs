//! The times and limits of a peer. Defaults are those of the options.

/// Milliseconds unless named otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How long a vote that a quorum wants waits for a better one.
    pub election_settle_ms: u64,
    /// How often a server that looks for a leader says so again.
    pub election_repeat_ms: u64,
    /// How often a leader pings.
    pub ping_interval_ms: u64,
    /// Silence that ends a following, and a leader's patience without a quorum.
    pub timeout_ms: u64,
    /// A new leader's patience until a quorum has its history.
    pub sync_timeout_ms: u64,
    /// `broker.session.timeout.ms`: silence after which a learner's session ends.
    pub session_timeout_ms: u64,
    /// Committed proposals kept in memory, in bytes: who is further behind gets a snapshot.
    pub history_bytes: usize,
    /// What a snapshot is cut into.
    pub snapshot_chunk_bytes: usize,
    /// Chunks on their way at a time.
    pub snapshot_window: usize,
    /// A larger snapshot is refused.
    pub max_snapshot_bytes: u64,
    /// The last counter of an epoch; behind it there is an election. Less than `u32::MAX` only in tests.
    pub last_counter: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            election_settle_ms: 20,
            election_repeat_ms: 200,
            ping_interval_ms: 500,
            timeout_ms: 2_000,
            sync_timeout_ms: 30_000,
            session_timeout_ms: 2_000,
            history_bytes: 16 << 20,
            snapshot_chunk_bytes: 256 << 10,
            snapshot_window: 4,
            max_snapshot_bytes: 4 << 30,
            last_counter: u32::MAX,
        }
    }
}
