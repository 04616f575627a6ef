//! `kill -9` in a loop: a real broker on a real disk under idempotent producers that go on through it all, with a
//! consumer and an administrator beside them. At the end everything is read and compared with what was promised.
//!
//! The broker is killed while it serves, while it recovers from the kill before, and halfway through a clean stop;
//! when is drawn from a seed. With `power_cut` the file system loses at each kill what was never synced.

pub mod admin;
pub mod disk;
pub mod judge;
pub mod load;
pub mod observer;
pub mod record;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use rdkafka::consumer::Consumer as _;
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};
use rustix::process::Signal;
use serde::Serialize;

use crate::broker::Broker;
use crate::{paths, wait};
use admin::{Admin, Churn};
use disk::Disk;
use judge::{Facts, Verdict, judge};
use load::{Load, Reports};
use observer::{Observed, Observer, places, topic_of};
use record::{Place, Record};

#[derive(Debug, Clone)]
pub struct Options {
    pub kills: u32,
    pub seed: u64,
    pub producers: u32,
    /// Records a second of each producer.
    pub rate: u32,
    /// Milliseconds that the broker serves between two kills at most.
    pub longest_run_ms: u64,
    /// The file system to make and to cut the power of: `ext4` or `xfs`.
    pub power_cut: Option<String>,
    /// Further options of the broker, `key=value`.
    pub set: Vec<String>,
    /// A line for each kill, on standard error.
    pub verbose: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            kills: 200,
            seed: 1,
            producers: 3,
            rate: 1500,
            longest_run_ms: 2500,
            power_cut: None,
            set: Vec::new(),
            verbose: false,
        }
    }
}

/// A topic of the load.
#[derive(Debug, Clone)]
pub struct Topic {
    pub name: String,
    pub partitions: i32,
    pub configs: &'static [(&'static str, &'static str)],
    /// How much of the load goes here.
    pub weight: u32,
    /// Records at once to one partition, and their filler, at most.
    pub burst: u32,
    pub filler: usize,
    pub compacted: bool,
    /// Its records are deleted as they get old.
    pub shortened: bool,
}

fn topics(power_cut: bool) -> Vec<Topic> {
    let plain = |what: &str, partitions, weight, burst, filler| Topic {
        name: paths::unique(&format!("kill-{what}")),
        partitions,
        configs: &[],
        weight,
        burst,
        filler,
        compacted: false,
        shortened: false,
    };
    let mut topics = vec![
        plain("busy", 1, 4, 60, 300),
        plain("pieces", 50, 12, 3, 60),
        Topic {
            configs: &[
                ("segment.bytes", "1048576"),
                ("file.delete.delay.ms", "200"),
            ],
            shortened: true,
            ..plain("rolled", 3, 4, 30, 6000)
        },
        Topic {
            configs: &[
                ("segment.bytes", "1048576"),
                ("cleanup.policy", "compact"),
                ("min.cleanable.dirty.ratio", "0.01"),
                ("file.delete.delay.ms", "200"),
            ],
            compacted: true,
            ..plain("compacted", 2, 4, 30, 5000)
        },
    ];
    if !power_cut {
        // What is only in the page cache survives the end of a process.
        topics.push(Topic {
            configs: &[("durable.acks", "false")],
            ..plain("cached", 2, 2, 20, 200)
        });
    }
    topics
}

/// Everything that runs from time to time runs often, and the journal's files are small.
const BROKER_OPTIONS: [&str; 9] = [
    "log.durable.journal.bytes=262144",
    "log.flush.offset.checkpoint.interval.ms=300",
    "log.flush.start.offset.checkpoint.interval.ms=300",
    "replica.high.watermark.checkpoint.interval.ms=200",
    "log.retention.check.interval.ms=300",
    "metadata.log.max.record.bytes.between.snapshots=4096",
    "offsets.topic.num.partitions=5",
    "log.cleaner.backoff.ms=200",
    "log.cleaner.dedupe.buffer.size=8388608",
];

#[derive(Debug, Default, Clone, Serialize)]
pub struct Summary {
    pub seed: u64,
    pub kills: u32,
    /// Of these: while it recovered from the one before, and while it was stopping.
    pub kills_in_recovery: u32,
    pub kills_in_stop: u32,
    pub clean_stops: u32,
    pub power_cuts: u32,
    /// Starts at which records came back from the journal, and partitions of these.
    pub recoveries_from_journal: u32,
    pub partitions_from_journal: u32,
    #[serde(flatten)]
    pub verdict: Verdict,
    /// Records whose delivery report said no.
    pub unknown: u64,
    /// Records that the observer read again after a crash.
    pub reread: u64,
    pub offset_commits: u64,
    pub record_deletions: u64,
    pub topics_made: u64,
    pub seconds: f64,
    pub complaints: Vec<String>,
}

impl Summary {
    pub fn check(&self) -> Result<()> {
        ensure!(
            self.verdict.is_good() && self.unknown == 0 && self.complaints.is_empty(),
            "{self:#?}"
        );
        Ok(())
    }
}

/// The broker, and the ways in which it ends.
struct Victim {
    broker: Broker,
    disk: Option<Disk>,
    random: StdRng,
    summary: Summary,
    log_read: usize,
    verbose: bool,
}

impl Victim {
    fn start(options: &Options) -> Result<Self> {
        let disk = options.power_cut.as_deref().map(|kind| {
            let dir = paths::work_dir().join("run").join(paths::unique("power"));
            Disk::new(&dir, kind, 4 << 30)
        });
        let disk = disk.transpose()?;
        let mut broker_options: Vec<String> = BROKER_OPTIONS.map(str::to_owned).to_vec();
        if let Some(disk) = &disk {
            broker_options.push(format!("log.dirs={}", disk.path().join("data").display()));
        }
        broker_options.extend(options.set.iter().cloned());
        let broker_options: Vec<&str> = broker_options.iter().map(String::as_str).collect();
        Ok(Self {
            broker: Broker::start(&broker_options)?,
            disk,
            random: StdRng::seed_from_u64(options.seed),
            summary: Summary {
                seed: options.seed,
                ..Summary::default()
            },
            log_read: 0,
            verbose: options.verbose,
        })
    }

    fn say(&self, what: &str) {
        if self.verbose {
            eprintln!("kill {}: {what}", self.summary.kills);
        }
    }

    /// `kill -9`, and the power with it.
    fn kill(&mut self) -> Result<()> {
        self.summary.kills += 1;
        self.broker.end_anyhow(Signal::KILL)?;
        if let Some(disk) = &mut self.disk {
            disk.lose_power()?;
            self.summary.power_cuts += 1;
        }
        Ok(())
    }

    fn pause(&mut self, most_ms: u64) {
        // Short ones more often than long ones.
        let drawn: f64 = self.random.random_range(0.0..1.0);
        std::thread::sleep(Duration::from_secs_f64(
            drawn * drawn * most_ms as f64 / 1000.0,
        ));
    }

    fn strike(&mut self) -> Result<()> {
        match self.random.random_range(0..20) {
            0..12 => {
                self.say("while it serves");
                self.kill()
            }
            12..16 => {
                self.kill()?;
                self.broker.spawn()?;
                self.pause(250);
                self.say("and again while it recovers");
                self.summary.kills_in_recovery += 1;
                self.kill()
            }
            16..19 => {
                self.broker.signal(Signal::TERM)?;
                self.pause(150);
                if self.broker.has_ended()? {
                    self.say("a clean stop was faster");
                    self.summary.clean_stops += 1;
                    return self.broker.end_anyhow(Signal::KILL);
                }
                self.say("while it stops");
                self.summary.kills_in_stop += 1;
                self.kill()
            }
            _ => {
                self.say("stopped cleanly");
                self.summary.clean_stops += 1;
                let status = self.broker.end(Signal::TERM)?;
                ensure!(status.success(), "SIGTERM: {status}");
                Ok(())
            }
        }
    }

    fn launch(&mut self) -> Result<()> {
        self.broker.launch()?;
        let log = std::fs::read(self.broker.log())?;
        let new =
            String::from_utf8_lossy(log.get(self.log_read..).unwrap_or_default()).into_owned();
        self.log_read = log.len();
        let restored = new
            .matches("the end of a log comes from the journal")
            .count();
        self.summary.partitions_from_journal += u32::try_from(restored)?;
        self.summary.recoveries_from_journal += u32::from(restored > 0);
        ensure!(
            !new.contains("panicked"),
            "a panic: {}",
            self.broker.log().display()
        );
        Ok(())
    }
}

/// Kills until it is enough. An error says that the run could not be made; what was found is in the summary.
pub fn run(options: &Options) -> Result<Summary> {
    let started = Instant::now();
    let mut victim = Victim::start(options)?;
    let address = victim.broker.address.clone();
    let topics = topics(options.power_cut.is_some());
    let admin = Admin::new(&address)?;
    for topic in &topics {
        admin.create(&topic.name, topic.partitions, topic.configs)?;
    }
    let (reports, observed) = (Reports::default(), Mutex::new(Observed::default()));
    let (stop_load, stop, crashed) = (
        AtomicBool::new(false),
        AtomicBool::new(false),
        AtomicBool::new(false),
    );
    let seed = |what: u64| options.seed.wrapping_mul(1_000_003).wrapping_add(what);
    let observer = Observer {
        address: &address,
        topics: &topics,
        observed: &observed,
        crashed: &crashed,
        stop: &stop,
    };
    let (sent, churn) = std::thread::scope(|scope| {
        let loads: Vec<_> = (0..options.producers)
            .map(|id| {
                let load = Load {
                    id,
                    address: address.clone(),
                    seed: seed(u64::from(id)),
                    rate: options.rate,
                };
                let (topics, reports, stop) = (&topics, &reports, &stop_load);
                scope.spawn(move || {
                    Ok::<_, anyhow::Error>((load.id, load.run(topics, reports, stop)?))
                })
            })
            .collect();
        let observing = scope.spawn(|| observer.run(StdRng::seed_from_u64(seed(1000))));
        let administering =
            scope.spawn(|| admin.run(&topics, &observed, &stop, StdRng::seed_from_u64(seed(2000))));
        let killed = kill_all(options, &mut victim, &reports, &crashed);
        stop_load.store(true, Ordering::Relaxed);
        let mut sent: BTreeMap<Place, BTreeMap<u32, u64>> = BTreeMap::new();
        let mut failed = killed.err();
        for load in loads {
            match load
                .join()
                .map_err(|_| anyhow!("a producer's thread panicked"))
                .flatten()
            {
                Ok((id, numbers)) => {
                    for (place, number) in numbers {
                        sent.entry(place).or_default().insert(id, number);
                    }
                }
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        if !reports.stuck_producers().is_empty() {
            // While it can still be asked.
            victim.broker.keep_state();
        }
        stop.store(true, Ordering::Relaxed);
        let observing = observing
            .join()
            .map_err(|_| anyhow!("the observer panicked"))
            .flatten();
        let churn = administering
            .join()
            .map_err(|_| anyhow!("the administrator panicked"))
            .flatten();
        match failed.or(observing.err()) {
            Some(error) => {
                crate::broker::FAILED.store(true, Ordering::Relaxed);
                Err(error.context(format!("log: {}", victim.broker.log().display())))
            }
            None => Ok((sent, churn?)),
        }
    })?;
    let observed = observed
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    let promised = Promised {
        sent,
        churn,
        reports,
        observed,
    };
    let summary = finish(&mut victim, &topics, &admin, promised)?;
    Ok(Summary {
        seconds: started.elapsed().as_secs_f64(),
        ..summary
    })
}

fn kill_all(
    options: &Options,
    victim: &mut Victim,
    reports: &Reports,
    crashed: &AtomicBool,
) -> Result<()> {
    while victim.summary.kills < options.kills {
        let before = reports.count();
        wait::until("producers get through", wait::SOON, || {
            Ok((reports.count() > before).then_some(()))
        })?;
        victim.pause(options.longest_run_ms);
        victim.strike()?;
        victim.launch()?;
        crashed.store(true, Ordering::Relaxed);
    }
    Ok(())
}

/// What must hold at the end.
struct Promised {
    /// By partition and producer: every number below.
    sent: BTreeMap<Place, BTreeMap<u32, u64>>,
    churn: Churn,
    reports: Reports,
    observed: Observed,
}

/// The last stop is a clean one, so that what is read has been through that as well.
fn finish(
    victim: &mut Victim,
    topics: &[Topic],
    admin: &Admin,
    promised: Promised,
) -> Result<Summary> {
    let Promised {
        mut sent,
        churn,
        reports,
        mut observed,
    } = promised;
    let status = victim.broker.end(Signal::TERM)?;
    ensure!(status.success(), "SIGTERM: {status}");
    victim.launch()?;
    let address = victim.broker.address.clone();
    let mut acked = reports.take_acked();
    let mut all = read_all(&address, topics)?;
    let mut complaints = std::mem::take(&mut observed.complaints);
    if let Err(error) = admin.check(&churn) {
        complaints.push(error.to_string());
    }
    let mut verdict = Verdict::default();
    for place in places(topics) {
        let (log_start, found) = all.remove(&place).unwrap_or_default();
        let facts = Facts {
            compacted: topics[place.0].compacted,
            sent: sent.remove(&place).unwrap_or_default(),
            acked: acked.remove(&place).unwrap_or_default(),
            seen: observed.seen.remove(&place).unwrap_or_default(),
            log_start,
            found,
        };
        let name = &topics[place.0].name;
        verdict.add(&judge(&facts, &mut |line| {
            complaints.push(format!("{name}-{}: {line}", place.1));
        }));
    }
    complaints.extend(reports.stuck_producers());
    let failed = reports.failed();
    complaints.extend(failed.iter().take(3).cloned());
    complaints.truncate(20);
    if !complaints.is_empty() {
        crate::broker::FAILED.store(true, Ordering::Relaxed);
        complaints.push(format!("log: {}", victim.broker.log().display()));
    }
    Ok(Summary {
        verdict,
        unknown: failed.len() as u64,
        reread: observed.reread,
        offset_commits: observed.commits,
        record_deletions: churn.records_deleted,
        topics_made: churn.topics_made,
        complaints,
        ..victim.summary.clone()
    })
}

/// Where a partition begins, and every record in it.
type Contents = (i64, BTreeMap<i64, Record>);

fn read_all(address: &str, topics: &[Topic]) -> Result<BTreeMap<Place, Contents>> {
    const PATIENCE: Duration = Duration::from_secs(60);
    let consumer = observer::consumer(address)?;
    let mut list = TopicPartitionList::new();
    let (mut all, mut ends) = (BTreeMap::new(), BTreeMap::new());
    for place in places(topics) {
        let name = &topics[place.0].name;
        let (start, end) = consumer.fetch_watermarks(name, place.1, PATIENCE)?;
        list.add_partition_offset(name, place.1, Offset::Offset(start))?;
        all.insert(place, (start, BTreeMap::new()));
        if end > start {
            ends.insert(place, end);
        }
    }
    consumer.assign(&list)?;
    let mut deadline = Instant::now() + PATIENCE;
    while !ends.is_empty() {
        match consumer.poll(Duration::from_millis(200)) {
            Some(message) => {
                let message = message.context("reading everything back")?;
                let place = (topic_of(topics, message.topic())?, message.partition());
                let record = record::parse(place, &message)
                    .with_context(|| format!("{place:?} at {}", message.offset()))?;
                if let Some((_, found)) = all.get_mut(&place) {
                    found.insert(message.offset(), record);
                }
                if ends
                    .get(&place)
                    .is_some_and(|end| message.offset() + 1 >= *end)
                {
                    ends.remove(&place);
                }
                deadline = Instant::now() + PATIENCE;
            }
            None if Instant::now() > deadline => bail!("the ends {ends:?} are not reached"),
            None => {}
        }
    }
    Ok(all)
}
