//! The threads that compact: which log each takes next, when it waits, how fast it may go, and what became of it.
//!
//! `log.cleaner.threads` workers under one supervisor, each with its share of the buffers. A partition's lock is held to
//! ask whether it is worth cleaning, to take it, and to swap; never while anything is copied. One that cannot be
//! cleaned is marked, told of and counted, and the others go on. Options that change while running count from the
//! next log on, the throttle at once. What is decided, and every byte, is `log::cleaner`'s.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::{Condvar, Mutex};

use super::maintenance::delete_old_segments_of;
use super::partition::Partition;
use super::partitions::Partitions;
use super::wall_clock;
use crate::config::BrokerConfig;
use crate::log::cleaner::{
    CleanError, Cleanable, CleanedSegment, Cleaner, CleanerStats, CleaningHost, CleaningPlan,
    Throttle, filthiest,
};
use crate::log::{CheckpointKind, is_disk_full, is_process_limit};
use crate::metrics::{Collect, Samples, table};
use crate::types::TimestampMs;

/// Two gigabytes: as much as one of Kafka's cleaners uses.
const MOST_DEDUPE_BYTES: u64 = i32::MAX as u64;

/// Clocks end somewhere; whoever has waited so long looks again.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug, Default)]
struct State {
    stopping: bool,
    /// Counts changes of options: whoever waits looks again.
    changes: u64,
    running: BTreeSet<usize>,
    /// Ended by a panic; not started again before options change.
    dead: BTreeSet<usize>,
}

/// What a worker did last.
#[derive(Debug, Clone, Copy, Default)]
struct LastRun {
    stats: CleanerStats,
    elapsed: Duration,
    compaction_delay_ms: i64,
}

#[derive(Debug, Default)]
struct Totals {
    last_runs: BTreeMap<usize, LastRun>,
    dirtiest_ratio: f64,
    last_look: Option<Instant>,
    cleanings: u64,
    bytes_read: u64,
    bytes_written: u64,
}

#[derive(Debug)]
pub struct LogCleaner {
    partitions: Arc<Partitions>,
    config: Arc<ArcSwap<BrokerConfig>>,
    state: Mutex<State>,
    told: Condvar,
    throttle: Mutex<Throttle>,
    started: Instant,
    /// Held while one worker chooses.
    choosing: Mutex<()>,
    totals: Mutex<Totals>,
}

impl LogCleaner {
    pub fn new(partitions: Arc<Partitions>, config: Arc<ArcSwap<BrokerConfig>>) -> Self {
        Self {
            partitions,
            config,
            state: Mutex::default(),
            told: Condvar::new(),
            throttle: Mutex::default(),
            started: Instant::now(),
            choosing: Mutex::default(),
            totals: Mutex::default(),
        }
    }

    /// Workers end at their next buffer, and `run` after them.
    pub fn stop(&self) {
        self.state.lock().stopping = true;
        self.told.notify_all();
    }

    /// Some of this broker's options were changed.
    pub fn options_changed(&self) {
        let mut state = self.state.lock();
        state.changes += 1;
        state.dead.clear();
        self.told.notify_all();
    }

    fn wanted_workers(&self) -> usize {
        let config = self.config.load();
        if !config.log_cleaner_enable {
            return 0;
        }
        usize::try_from(config.log_cleaner_threads).unwrap_or(0)
    }

    /// The supervisor's life: as many workers as the options ask for.
    pub fn run(self: &Arc<Self>) {
        let mut threads: Vec<JoinHandle<()>> = Vec::new();
        loop {
            let missing: Vec<usize> = {
                let mut state = self.state.lock();
                loop {
                    if state.stopping {
                        break;
                    }
                    let known = |id: &usize| state.running.contains(id) || state.dead.contains(id);
                    if (0..self.wanted_workers()).any(|id| !known(&id)) {
                        break;
                    }
                    self.told.wait(&mut state);
                }
                if state.stopping {
                    break;
                }
                let wanted = 0..self.wanted_workers();
                let missing: Vec<usize> = wanted
                    .filter(|id| !state.running.contains(id) && !state.dead.contains(id))
                    .collect();
                state.running.extend(&missing);
                missing
            };
            threads.retain(|thread| !thread.is_finished());
            threads.extend(missing.into_iter().filter_map(|id| self.start_worker(id)));
        }
        for thread in threads {
            // Counted as dead when it panicked.
            let _ = thread.join();
        }
    }

    fn start_worker(self: &Arc<Self>, id: usize) -> Option<JoinHandle<()>> {
        let this = Arc::clone(self);
        let thread = std::thread::Builder::new().name(format!("log-cleaner-{id}"));
        let spawned = thread.spawn(move || {
            let _life = Life { cleaner: &this, id };
            this.work(id);
        });
        spawned
            .inspect_err(|error| {
                tracing::error!(%error, "a thread that compacts logs could not be started");
                let mut state = self.state.lock();
                state.running.remove(&id);
                state.dead.insert(id);
            })
            .ok()
    }

    fn work(&self, id: usize) {
        loop {
            let changes = {
                let state = self.state.lock();
                if state.stopping || id >= self.wanted_workers() {
                    return;
                }
                state.changes
            };
            let cleaned = self.clean_filthiest(id);
            self.delete_old_segments();
            if !cleaned {
                let backoff = u64::try_from(self.config.load().log_cleaner_backoff_ms);
                self.wait(Duration::from_millis(backoff.unwrap_or(0)), changes);
            }
        }
    }

    /// Until the time is over, options change or the broker stops.
    fn wait(&self, time: Duration, changes: u64) {
        let deadline = Instant::now() + time.min(LONGEST_WAIT);
        let mut state = self.state.lock();
        while !state.stopping && state.changes == changes {
            if self.told.wait_until(&mut state, deadline).timed_out() {
                return;
            }
        }
    }

    /// True when there was one to clean. For tests also without a thread.
    pub(super) fn clean_filthiest(&self, id: usize) -> bool {
        let now = wall_clock();
        let Some((partition, plan, delay_ms)) = self.take_filthiest(now) else {
            return false;
        };
        let began = Instant::now();
        let run = Run {
            cleaner: self,
            partition: &partition,
            plan: &plan,
            now,
        };
        let result = run.clean();
        let elapsed = began.elapsed();
        match &result {
            Ok(stats) => {
                tell(&partition, &plan, stats, elapsed);
                let mut totals = self.totals.lock();
                totals.cleanings += 1;
                totals.bytes_read += stats.bytes_read + stats.map_bytes_read;
                totals.bytes_written += stats.bytes_written;
                let last = LastRun {
                    stats: *stats,
                    elapsed,
                    compaction_delay_ms: delay_ms,
                };
                totals.last_runs.insert(id, last);
            }
            Err(error) => run.failed(error),
        }
        let cleaned = result.is_ok();
        let cleaned_to = result.ok().map(|stats| stats.cleaned_to);
        partition.with_log(|log| log.end_cleaning(cleaned_to));
        if cleaned {
            let dir = partition.dir();
            let checkpoints = self.partitions.checkpoints();
            checkpoints.write_dir(&self.partitions, CheckpointKind::Cleaner, dir.path());
        }
        cleaned
    }

    /// Takes the dirtiest log that is due; how long something in it has waited beyond its time.
    fn take_filthiest(&self, now: TimestampMs) -> Option<(Arc<Partition>, CleaningPlan, i64)> {
        let _alone = self.choosing.lock();
        let mut candidates: Vec<(Arc<Partition>, Cleanable)> = Vec::new();
        // A log that moves is left alone until it has.
        let staying = self
            .compacted()
            .filter(|partition| partition.future().is_none());
        for partition in staying {
            let high_watermark = partition.offsets().high_watermark;
            match partition.with_log(|log| log.cleanable(high_watermark, now)) {
                Ok(Some(found)) => candidates.push((partition, found)),
                Ok(None) => {}
                Err(error) => set_aside(&partition, &error.into()),
            }
        }
        let ratios = candidates.iter().map(|(_, found)| found.ratio());
        {
            let mut totals = self.totals.lock();
            totals.dirtiest_ratio = ratios.fold(0.0, f64::max);
            totals.last_look = Some(Instant::now());
        }
        let delays = candidates.iter().map(|(_, found)| found.delay_ms);
        let delay_ms = delays.max().unwrap_or(0);
        let at = filthiest(candidates.iter().map(|(_, found)| found))?;
        let (partition, _) = candidates.swap_remove(at);
        let high_watermark = partition.offsets().high_watermark;
        match partition.with_log(|log| log.begin_cleaning(high_watermark, now)) {
            Ok(plan) => plan.map(|plan| (partition, plan, delay_ms)),
            Err(error) => {
                set_aside(&partition, &error.into());
                None
            }
        }
    }

    fn compacted(&self) -> impl Iterator<Item = Arc<Partition>> {
        let all = self.partitions.all().into_iter();
        all.filter(|partition| partition.config().cleanup_policy.compact && partition.is_online())
    }

    /// Retention of compacted logs, and what DeleteRecords has let go.
    fn delete_old_segments(&self) {
        for partition in self.compacted() {
            delete_old_segments_of(&self.partitions, &partition, wall_clock());
        }
    }

    /// This worker's share of the buffers.
    fn new_cleaner(&self) -> Cleaner {
        let config = self.config.load();
        let workers = u64::try_from(config.log_cleaner_threads)
            .unwrap_or(1)
            .max(1);
        let dedupe = u64::try_from(config.log_cleaner_dedupe_buffer_size).unwrap_or(0) / workers;
        let io = u64::try_from(config.log_cleaner_io_buffer_size).unwrap_or(0) / workers / 2;
        Cleaner::new(
            dedupe.min(MOST_DEDUPE_BYTES),
            config.log_cleaner_io_buffer_load_factor,
            usize::try_from(io).unwrap_or(0),
        )
    }
}

/// Tells the supervisor when a worker has ended, however it did.
struct Life<'a> {
    cleaner: &'a LogCleaner,
    id: usize,
}

impl Drop for Life<'_> {
    fn drop(&mut self) {
        let mut state = self.cleaner.state.lock();
        state.running.remove(&self.id);
        if std::thread::panicking() {
            state.dead.insert(self.id);
        }
        self.cleaner.told.notify_all();
    }
}

/// A cleaning that nobody ended was ended by a panic: the log is not tried again.
struct Unfinished<'a>(&'a Partition);

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.with_log(|log| {
                log.mark_uncleanable();
                log.end_cleaning(None);
            });
        }
    }
}

/// One cleaning of one partition.
struct Run<'a> {
    cleaner: &'a LogCleaner,
    partition: &'a Partition,
    plan: &'a CleaningPlan,
    now: TimestampMs,
}

impl Run<'_> {
    fn clean(&self) -> Result<CleanerStats, CleanError> {
        let _unfinished = Unfinished(self.partition);
        let dir = self.partition.dir();
        // What is above the recovery point is read again after a crash, where a hole between two segments says that
        // the end of the first was lost: it must not say so of what cleaning has removed.
        let partitions = &self.cleaner.partitions;
        let checkpoints = partitions.checkpoints();
        if !checkpoints.write_dir(partitions, CheckpointKind::RecoveryPoint, dir.path()) {
            return Err(CleanError::Aborted);
        }
        let mut cleaner = self.cleaner.new_cleaner();
        let result = cleaner.clean(self.plan, self.now, self);
        // A log that was deleted or moved takes its files with it.
        match result {
            Err(CleanError::Disk(_)) if !self.may_go_on() => Err(CleanError::Aborted),
            result => result,
        }
    }

    fn may_go_on(&self) -> bool {
        self.partition.with_log(|log| log.may_go_on_cleaning()) && self.partition.is_online()
    }

    fn failed(&self, error: &CleanError) {
        let partition = self.partition;
        match error {
            CleanError::Aborted => {
                tracing::debug!(%partition, "compaction was stopped");
            }
            CleanError::Disk(error) if is_disk_full(error) || is_process_limit(error) => {
                tracing::warn!(%partition, %error, "a log could not be compacted: it is tried again");
            }
            CleanError::Broken(error) => {
                let dir = partition.dir();
                dir.fail("compacted segments could not be swapped in", error);
            }
            error => set_aside(partition, error),
        }
    }
}

fn set_aside(partition: &Partition, error: &CleanError) {
    if !partition.is_online() {
        return;
    }
    tracing::error!(
        %partition,
        %error,
        "a log cannot be compacted and is left as it is until this server is started again; it grows"
    );
    partition.with_log(|log| log.mark_uncleanable());
}

fn tell(partition: &Partition, plan: &CleaningPlan, stats: &CleanerStats, elapsed: Duration) {
    tracing::info!(
        %partition,
        from = %plan.first_dirty(),
        to = %stats.cleaned_to,
        bytes_before = stats.bytes_read,
        bytes_after = stats.bytes_written,
        records_before = stats.records_read,
        records_after = stats.records_written,
        segments_before = stats.segments_before,
        segments_after = stats.segments_after,
        elapsed_ms = elapsed.as_millis(),
        "a log was compacted"
    );
    if stats.oversized_batches > 0 {
        tracing::warn!(
            %partition,
            batches = stats.oversized_batches,
            "batches that become too large when they are decompressed were left as they are, and so are tombstones behind them"
        );
    }
    if stats.keyless_records > 0 {
        tracing::warn!(%partition, records = stats.keyless_records, "records without a key were removed");
    }
}

impl CleaningHost for Run<'_> {
    fn pace(&self, bytes: usize) -> Result<(), CleanError> {
        let cleaner = self.cleaner;
        let changes = {
            let state = cleaner.state.lock();
            if state.stopping {
                return Err(CleanError::Aborted);
            }
            state.changes
        };
        if !self.may_go_on() {
            return Err(CleanError::Aborted);
        }
        let rate = cleaner.config.load().log_cleaner_io_max_bytes_per_second;
        let now = cleaner.started.elapsed();
        let pause = cleaner.throttle.lock().observe(now, bytes, rate);
        if !pause.is_zero() {
            cleaner.wait(pause, changes);
        }
        Ok(())
    }

    fn swap(&self, cleaned: CleanedSegment) -> Result<(), CleanError> {
        let now = self.now;
        let doomed = self
            .partition
            .with_log(|log| log.swap_cleaned(cleaned, now))?;
        // The new names must be there before the old ones go.
        self.plan.storage().sync_dir(self.plan.directory())?;
        self.cleaner.partitions.logs().doom(doomed);
        Ok(())
    }
}

impl Collect for LogCleaner {
    fn collect(&self, samples: &mut Samples) {
        let dead = self.state.lock().dead.len();
        samples.push(table::CLEANER_DEAD_THREADS, &[], dead as f64);
        {
            let totals = self.totals.lock();
            let runs = || totals.last_runs.values();
            let most = |of: fn(&LastRun) -> f64| runs().map(of).fold(0.0, f64::max);
            let sum = |of: fn(&LastRun) -> u64| runs().map(of).sum::<u64>() as f64;
            let read = sum(|run| run.stats.bytes_read).max(1.0);
            let written = sum(|run| run.stats.bytes_written);
            let last_look = totals.last_look.unwrap_or(self.started);
            for (spec, value) in [
                (
                    table::CLEANER_MAX_BUFFER_UTILIZATION,
                    100.0 * most(|run| run.stats.buffer_utilization),
                ),
                (table::CLEANER_RECOPY, 100.0 * written / read),
                (
                    table::CLEANER_MAX_CLEAN_TIME,
                    most(|run| run.elapsed.as_secs_f64()),
                ),
                (
                    table::CLEANER_MAX_COMPACTION_DELAY,
                    most(|run| run.compaction_delay_ms as f64 / 1000.0),
                ),
                (table::CLEANER_MAX_DIRTY, 100.0 * totals.dirtiest_ratio),
                (
                    table::CLEANER_TIME_SINCE_LAST_RUN,
                    last_look.elapsed().as_secs_f64(),
                ),
                (table::CLEANER_CLEANINGS, totals.cleanings as f64),
                (table::CLEANER_BYTES_READ, totals.bytes_read as f64),
                (table::CLEANER_BYTES_WRITTEN, totals.bytes_written as f64),
            ] {
                samples.push(spec, &[], value);
            }
        }
        self.collect_uncleanable(samples);
    }
}

impl LogCleaner {
    fn collect_uncleanable(&self, samples: &mut Samples) {
        let mut by_dir: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        for dir in self.partitions.logs().dirs() {
            by_dir.insert(dir.path().display().to_string(), (0, 0));
        }
        let now = wall_clock();
        for partition in self.compacted() {
            let high_watermark = partition.offsets().high_watermark;
            let left = partition.with_log(|log| {
                let left = log
                    .is_uncleanable()
                    .then(|| log.would_clean(high_watermark, now));
                left.map(|left| left.map_or(0, |left| left.cleanable_bytes))
            });
            let dir = partition.dir().path().display().to_string();
            if let Some((bytes, (count, all))) = left.zip(by_dir.get_mut(&dir)) {
                *count += 1;
                *all += bytes;
            }
        }
        for (dir, (count, bytes)) in by_dir {
            samples.push(table::CLEANER_UNCLEANABLE_PARTITIONS, &[&dir], count as f64);
            samples.push(table::CLEANER_UNCLEANABLE_BYTES, &[&dir], bytes as f64);
        }
    }
}

#[cfg(test)]
#[path = "log_cleaner_tests.rs"]
mod tests;
