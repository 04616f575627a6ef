//! What a run is made of, all of it out of its seed: how many servers, how slow, which faults and how often.
//!
//! Not every run has every fault: a run in which everything fails all the time seldom gets anywhere, and some bugs need
//! long quiet stretches or one kind of trouble only.

use super::chance::Chance;
use crate::zab::Settings;

#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) voters: i32,
    pub(crate) observers: i32,
    pub(crate) clients: usize,
    pub(crate) settings: Settings,
    /// In microseconds, as a rule.
    pub(crate) latency: u64,
    /// Of a write and its flush, the same.
    pub(crate) disk_latency: u64,
    /// Between two requests of a client, in microseconds.
    pub(crate) think_time: u64,
    /// Of payloads, at most.
    pub(crate) padding: u64,
    /// Between two faults, in microseconds.
    pub(crate) fault_interval: u64,
    /// When the faults end.
    pub(crate) faults_until: u64,
    /// Which of the servers `Fault::Swing` is about.
    pub(crate) swinging: usize,
    /// Of a thousand promises and their like, how many meet a fault before they are on the disk.
    pub(crate) ambushes: u64,
    /// How often each kind of fault is chosen; in the order of `Fault::ALL`.
    pub(crate) weights: [u64; Fault::ALL.len()],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Kill,
    PowerCut,
    PowerCutOfAll,
    KillLeader,
    PauseLeader,
    IsolateLeader,
    Pause,
    CutOneWay,
    CutBoth,
    Partition,
    Bridge,
    Swing,
    Isolate,
    SlowLink,
    SlowDisk,
    Reset,
    Duplicate,
    Snapshot,
    Reconfigure,
    Wipe,
}

impl Fault {
    pub(crate) const ALL: [Fault; 20] = [
        Fault::Kill,
        Fault::PowerCut,
        Fault::PowerCutOfAll,
        Fault::KillLeader,
        Fault::PauseLeader,
        Fault::IsolateLeader,
        Fault::Pause,
        Fault::CutOneWay,
        Fault::CutBoth,
        Fault::Partition,
        Fault::Bridge,
        Fault::Swing,
        Fault::Isolate,
        Fault::SlowLink,
        Fault::SlowDisk,
        Fault::Reset,
        Fault::Duplicate,
        Fault::Snapshot,
        Fault::Reconfigure,
        Fault::Wipe,
    ];

    /// What some runs have much of: kinds that bring out the worst in each other.
    const FAVOURITES: [&'static [Fault]; 6] = [
        &[],
        &[
            Fault::PowerCutOfAll,
            Fault::KillLeader,
            Fault::SlowDisk,
            Fault::PowerCut,
        ],
        &[
            Fault::IsolateLeader,
            Fault::PauseLeader,
            Fault::CutOneWay,
            Fault::Partition,
            Fault::Reset,
        ],
        &[Fault::Bridge, Fault::Swing, Fault::Reset, Fault::PowerCut],
        &[Fault::Swing, Fault::PowerCut],
        &[Fault::Reconfigure, Fault::IsolateLeader, Fault::KillLeader],
    ];
}

impl Plan {
    /// `voters`: how many there are at the beginning.
    pub(crate) fn new(voters: i32, chance: &mut Chance) -> Self {
        let timeout_ms = chance.pick(&[60, 150, 400, 2000]).unwrap_or(400);
        let settings = Settings {
            election_settle_ms: chance.pick(&[0, 5, 20]).unwrap_or(5),
            election_repeat_ms: timeout_ms / 4,
            ping_interval_ms: timeout_ms / 4,
            timeout_ms,
            sync_timeout_ms: timeout_ms * chance.pick(&[4, 15]).unwrap_or(4),
            session_timeout_ms: timeout_ms,
            history_bytes: chance.pick(&[0, 2000, 1 << 20, 1 << 20]).unwrap_or(0),
            snapshot_chunk_bytes: chance.between(200, 4000) as usize,
            snapshot_window: chance.between(1, 4) as usize,
            max_snapshot_bytes: 1 << 20,
            last_counter: match chance.below(4) {
                0 => chance.between(5, 60) as u32,
                _ => u32::MAX,
            },
        };
        let favourites = chance.pick(&Fault::FAVOURITES).unwrap_or_default();
        let weights = Fault::ALL.map(|fault| match chance.below(2) {
            _ if favourites.contains(&fault) => 30,
            0 => 0,
            _ => chance.between(1, 10),
        });
        Self {
            voters,
            observers: if voters == 1 {
                0
            } else {
                chance.below(3) as i32
            },
            clients: chance.pick(&[1, 3, 8]).unwrap_or(3),
            settings,
            latency: timeout_ms * 1000 / chance.pick(&[1000, 400, 150]).unwrap_or(400),
            disk_latency: timeout_ms * 1000 / chance.pick(&[1000, 100, 20]).unwrap_or(400),
            think_time: timeout_ms * 1000 / chance.pick(&[1, 4, 16]).unwrap_or(4),
            padding: chance.pick(&[0, 20, 300]).unwrap_or(0),
            fault_interval: timeout_ms * 1000 * chance.between(1, 8) / 4,
            faults_until: timeout_ms * 1000 * chance.between(3, 40),
            swinging: chance.below(9) as usize,
            ambushes: chance.pick(&[0, 20, 100, 300]).unwrap_or(0),
            weights,
        }
    }

    pub(crate) fn pick_fault(&self, chance: &mut Chance) -> Option<Fault> {
        let mut at = chance.below(self.weights.iter().sum());
        for (fault, weight) in Fault::ALL.iter().zip(self.weights) {
            match at.checked_sub(weight) {
                Some(rest) => at = rest,
                None => return Some(*fault),
            }
        }
        None
    }
}
