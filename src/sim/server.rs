//! One server of a simulated ensemble: the real peer, the real log on a disk of its own, and as small a driver as will do.
//!
//! The driver does what `zab::ready` asks of one: writes in their order, each answered when it is durable; sends at
//! once; applies; parks answers and reads until their zxid is applied here and forgets them when an election begins.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use super::app::App;
use super::chance::Chance;
use super::clients::Wish;
use super::disk::{Luck, SimDisk};
use super::history::RequestId;
use crate::log::storage::Storage;
use crate::state_machine::Tick;
use crate::types::{NodeId, Zxid};
use crate::zab::{Peer, PeerOptions, Persist, Settings, Snapshot, Voters};
use crate::zab_log::{Opened, SnapshotWriter, ZabLog, ZabLogError};

const DIR: &str = "/data/zab";
/// Enough for a few batches: the sixteen-fold of it in production takes time to write and shows nothing more.
const PREALLOCATED_BYTES: usize = 2048;

#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) node: NodeId,
    /// Of its disk; a wiped one has another.
    pub(crate) directory: Uuid,
    pub(crate) disk: SimDisk,
    /// Counts its starts.
    pub(crate) life: u64,
    pub(crate) running: Option<Running>,
    /// Until when it is stopped in the middle of whatever it does.
    pub(crate) paused_until: u64,
    /// Does nothing else while its disk writes.
    pub(crate) blocks_on_disk: bool,
    /// In microseconds, as a rule.
    pub(crate) disk_latency: u64,
    /// Its clock began so many milliseconds before the world's.
    clock_ahead: u64,
}

/// A process.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) peer: Peer,
    pub(crate) log: ZabLog,
    pub(crate) app: App,
    /// Not durable yet; the first is being written.
    pub(crate) writes: VecDeque<Persist>,
    /// By a leader, and not applied yet.
    pub(crate) proposed: BTreeMap<RequestId, Zxid>,
    /// What clients wait for here.
    pub(crate) asked: BTreeMap<u64, Asked>,
    /// Goes out when the zxid is applied.
    pub(crate) parked: Vec<(Zxid, Asked)>,
    pub(crate) taking: Option<Taking>,
    /// When it is to be woken next.
    pub(crate) timer: Option<u64>,
    /// Someone was promised a snapshot.
    pub(crate) snapshot_wanted: bool,
}

/// Who asked, and which of its attempts it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) client: usize,
    pub(crate) attempt: u64,
    pub(crate) wish: Wish,
}

/// A snapshot on its way to the disk.
#[derive(Debug)]
pub(crate) struct Taking {
    pub(crate) writer: SnapshotWriter,
    pub(crate) snapshot: Snapshot,
}

impl Server {
    pub(crate) fn new(node: NodeId, disk_latency: u64, chance: &mut Chance) -> Self {
        Self {
            node,
            directory: Uuid::from_u64_pair(chance.next(), chance.next()),
            disk: SimDisk::default(),
            life: 0,
            running: None,
            paused_until: 0,
            blocks_on_disk: chance.permille(300),
            disk_latency,
            clock_ahead: chance.below(1 << 40),
        }
    }

    pub(crate) fn tick(&self, now: u64) -> Tick {
        Tick(self.clock_ahead + now / 1000)
    }

    /// When its clock shows the tick.
    pub(crate) fn time_of(&self, tick: Tick) -> u64 {
        tick.0.saturating_sub(self.clock_ahead) * 1000
    }

    /// What it hears, or has to do, waits.
    pub(crate) fn is_busy(&self, now: u64) -> bool {
        let blocked = |running: &Running| self.blocks_on_disk && !running.writes.is_empty();
        now < self.paused_until || self.running.as_ref().is_none_or(blocked)
    }

    /// Reads its disk; the peer has not been started yet.
    pub(crate) fn start(
        &mut self,
        voters: &Voters,
        settings: &Settings,
        chance: &mut Chance,
    ) -> Result<&mut Running, String> {
        self.life += 1;
        let storage: Arc<dyn Storage> = Arc::new(self.disk.clone());
        let salt = chance.next() as u32;
        let opened = ZabLog::open(storage, Path::new(DIR), salt).map_err(|e| e.to_string())?;
        let Opened {
            mut log,
            recovered,
            snapshot,
        } = opened;
        log.preallocate(PREALLOCATED_BYTES);
        let app = match snapshot {
            Some(body) => App::from_snapshot(recovered.snapshot, &body)
                .ok_or("the snapshot's body is not what was written")?,
            None => App::default(),
        };
        let options = PeerOptions {
            directory: Some(self.directory),
            cluster_id: None,
            settings: settings.clone(),
            seed: chance.next(),
            ..PeerOptions::new(self.node, voters.clone())
        };
        let peer = Peer::new(options, recovered).map_err(|e| e.to_string())?;
        Ok(self.running.insert(Running {
            peer,
            log,
            app,
            writes: VecDeque::new(),
            proposed: BTreeMap::new(),
            asked: BTreeMap::new(),
            parked: Vec::new(),
            taking: None,
            timer: None,
            snapshot_wanted: false,
        }))
    }

    /// The process ends; what it was writing is written up to somewhere.
    pub(crate) fn crash(&mut self, luck: Luck, chance: &mut Chance) {
        if let Some(mut running) = self.running.take() {
            if chance.permille(500) {
                self.disk.stop_after(chance.below(16) as usize);
                running.write_on();
            }
            self.disk = self.disk.after_crash(luck, chance);
        }
        self.paused_until = 0;
    }

    pub(crate) fn wipe(&mut self, chance: &mut Chance) {
        self.crash(Luck::Nothing, chance);
        self.disk = SimDisk::default();
        self.directory = Uuid::from_u64_pair(chance.next(), chance.next());
    }
}

impl Running {
    /// As far as the disk goes on.
    fn write_on(&mut self) {
        if let Some(taking) = self.taking.take()
            && taking.writer.write(&taking.snapshot).is_err()
        {
            return;
        }
        for persist in &self.writes {
            if self.log.persist(&persist.writes).is_err() {
                return;
            }
        }
    }

    /// What comes now goes to another segment.
    pub(crate) fn begin_snapshot(&mut self) {
        self.log.before_snapshot();
        self.taking = Some(Taking {
            writer: self.log.snapshot_writer(),
            snapshot: Snapshot {
                zxid: self.app.zxid,
                voters: self.peer.voters_at(self.app.zxid).clone(),
                body: self.app.to_snapshot(),
            },
        });
    }

    pub(crate) fn end_snapshot(&mut self) -> Result<(), ZabLogError> {
        let Some(taking) = self.taking.take() else {
            return Ok(());
        };
        let written = taking.writer.write(&taking.snapshot);
        written.expect("the disk works until it crashes");
        self.log.after_snapshot(taking.snapshot.zxid)
    }

    /// What was asked of a leader that is gone.
    pub(crate) fn forget_asked(&mut self) {
        self.proposed.clear();
        self.asked.clear();
        self.parked.clear();
    }

    /// Those whose time has come.
    pub(crate) fn take_parked(&mut self) -> Vec<Asked> {
        let applied = self.app.zxid;
        let due = self.parked.extract_if(.., |(zxid, _)| *zxid <= applied);
        due.map(|(_, asked)| asked).collect()
    }

    pub(crate) fn body(&self) -> (Zxid, Bytes) {
        (self.app.zxid, self.app.to_snapshot())
    }
}
