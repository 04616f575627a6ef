//! Spoiled frames at a live broker: what Kafka's own serializer writes of every request in every version, cut and
//! changed at random. Each is answered, or its connection is closed; the broker neither ends, nor panics, nor keeps
//! memory or connections.
//!
//! What is valid all the same is done: topics are made, groups are joined. So that this does not look like a leak, a fresh
//! broker takes over every so many frames.

pub mod mutation;

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use conformance::Message;
use rustix::net::sockopt::set_socket_linger;
use rustix::process::Signal;
use serde::Serialize;

use crate::broker::Broker;
use crate::{seen, wait};
use mutation::{Spoiled, spoil};

/// An answer that has not begun by then is not waited for: the request waits for others, or for bytes that do not come.
const PATIENCE: Duration = Duration::from_millis(20);
/// No answer is longer than this.
const LONGEST_ANSWER: usize = 16 << 20;
/// Of one broker's log: nonsense must not fill a disk.
const LOG_BYTES: usize = 1 << 20;
const BATCH: u64 = 64;

#[derive(Debug, Clone)]
pub struct Options {
    pub frames: u64,
    pub seed: u64,
    /// Frames for one broker.
    pub round: u64,
    pub connections: usize,
    /// What the broker may have of memory at any time.
    pub resident_mb: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            frames: 10_000_000,
            seed: 1,
            round: 250_000,
            connections: 8,
            resident_mb: 256,
        }
    }
}

#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    pub seed: u64,
    pub frames: u64,
    pub answered: u64,
    pub closed: u64,
    /// Neither, within 20 ms.
    pub left_waiting: u64,
    pub brokers: u64,
    /// APIs and versions, and how many frames each has had at least.
    pub versions: usize,
    pub least_of_a_version: u64,
    pub resident_mb_at_most: u64,
    pub log_mb_at_most: u64,
    pub seconds: u64,
    /// What should not have been, and the number of the frame.
    pub found: Vec<String>,
}

impl Summary {
    pub fn check(&self) -> Result<()> {
        ensure!(self.found.is_empty(), "{}", self.found.join("\n"));
        Ok(())
    }
}

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Answered,
    Closed,
    LeftWaiting,
}

#[derive(Default)]
struct Counts {
    answered: AtomicU64,
    closed: AtomicU64,
    left_waiting: AtomicU64,
}

/// Every request that Kafka's serializer wrote.
pub fn corpus() -> Result<Vec<Message>> {
    let golden = conformance::golden().map_err(|error| anyhow!(error))?;
    Ok(golden
        .messages
        .into_iter()
        .filter(|message| message.is_request)
        .collect())
}

/// One frame at a broker of its own: what it is, and what becomes of it.
pub fn show(seed: u64, number: u64) -> Result<String> {
    let corpus = corpus()?;
    let spoiled = spoil(&corpus, seed, number);
    let broker = Broker::start(&[])?;
    let outcome = throw(&broker.address, &mut None, &spoiled);
    let (bytes, of) = (spoiled.bytes(), &corpus[spoiled.of]);
    Ok(format!("{bytes:?} of {of:?}: {outcome:?}"))
}

pub fn run(options: &Options) -> Result<Summary> {
    let corpus = corpus()?;
    let began = Instant::now();
    let mut summary = Summary {
        seed: options.seed,
        ..Summary::default()
    };
    while summary.frames < options.frames && summary.found.is_empty() {
        let frames = summary.frames..(summary.frames + options.round).min(options.frames);
        summary.frames = frames.end;
        summary.brokers += 1;
        round(options, &corpus, frames, &mut summary)?;
        eprintln!("{}", serde_json::to_string(&summary)?);
    }
    let mut versions: BTreeMap<(i16, i16), u64> = BTreeMap::new();
    for (index, message) in corpus.iter().enumerate() {
        let more = summary
            .frames
            .saturating_sub(index as u64)
            .div_ceil(corpus.len() as u64);
        *versions.entry((message.key, message.version)).or_default() += more;
    }
    summary.versions = versions.len();
    summary.least_of_a_version = versions.values().min().copied().unwrap_or_default();
    summary.seconds = began.elapsed().as_secs();
    Ok(summary)
}

/// One broker's frames.
fn round(
    options: &Options,
    corpus: &[Message],
    frames: std::ops::Range<u64>,
    summary: &mut Summary,
) -> Result<()> {
    let mut broker = Broker::start(&[])?;
    let counts = Counts::default();
    let next = AtomicU64::new(frames.start);
    let over = AtomicBool::new(false);
    let found = std::thread::scope(|scope| {
        let watch = scope.spawn(|| most_resident(&broker, &over));
        let throwers: Vec<_> = (0..options.connections)
            .map(|_| {
                scope.spawn(|| {
                    let mut connection = None;
                    take_turns(&next, frames.end, |number| {
                        let spoiled = spoil(corpus, options.seed, number);
                        let outcome = throw(&broker.address, &mut connection, &spoiled);
                        let outcome = outcome.with_context(|| format!("frame {number}"))?;
                        counts.of(outcome).fetch_add(1, Ordering::Relaxed);
                        Ok(())
                    })
                })
            })
            .collect();
        let ended = throwers.into_iter().map(|thrower| thrower.join());
        let found: Vec<String> = ended
            .filter_map(|ended| match ended {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(format!("{error:#}")),
                Err(_) => Some("a thread of this test panicked".to_owned()),
            })
            .collect();
        over.store(true, Ordering::Relaxed);
        let resident = watch.join().unwrap_or(u64::MAX) >> 20;
        summary.resident_mb_at_most = summary.resident_mb_at_most.max(resident);
        found
    });
    summary.found.extend(found);
    summary.answered += counts.answered.into_inner();
    summary.closed += counts.closed.into_inner();
    summary.left_waiting += counts.left_waiting.into_inner();
    if summary.resident_mb_at_most > options.resident_mb {
        let mb = summary.resident_mb_at_most;
        summary
            .found
            .push(format!("{mb} MiB of memory in frames {frames:?}"));
    }
    let sound = is_sound(&mut broker, summary);
    if let Err(error) = sound {
        let log = broker.log();
        summary.found.push(format!(
            "{error:#}, after frames {frames:?}; log: {}",
            log.display()
        ));
        crate::broker::FAILED.store(true, Ordering::Relaxed);
    }
    Ok(())
}

/// Some numbers at a time, until there are none.
fn take_turns(next: &AtomicU64, end: u64, mut with: impl FnMut(u64) -> Result<()>) -> Result<()> {
    loop {
        let first = next.fetch_add(BATCH, Ordering::Relaxed);
        if first >= end {
            return Ok(());
        }
        (first..(first + BATCH).min(end)).try_for_each(&mut with)?;
    }
}

impl Counts {
    fn of(&self, outcome: Outcome) -> &AtomicU64 {
        match outcome {
            Outcome::Answered => &self.answered,
            Outcome::Closed => &self.closed,
            Outcome::LeftWaiting => &self.left_waiting,
        }
    }
}

/// The broker serves, has let go of every connection, has neither panicked nor made a reply that its version cannot carry, and ends and begins as any other.
fn is_sound(broker: &mut Broker, summary: &mut Summary) -> Result<()> {
    ensure!(broker.is_up()?, "the broker is gone");
    wait::until("every connection is let go", wait::SOON, || {
        let metrics = broker.http_get("/metrics")?;
        let open = metrics
            .lines()
            .find_map(|line| line.strip_prefix("dohle_connections "));
        Ok(open.filter(|open| open.trim() == "0").map(drop))
    })?;
    let status = broker.end(Signal::TERM)?;
    ensure!(status.success(), "SIGTERM: {status}");
    let log = fs::read_to_string(broker.log())?;
    summary.log_mb_at_most = summary.log_mb_at_most.max(log.len() as u64 >> 20);
    // Where every request is logged on purpose it is longer.
    let short = log.len() <= LOG_BYTES || seen::file().is_some();
    ensure!(short, "the log has {} bytes", log.len());
    // Neither is the client's doing.
    let faults = ["panicked", "cannot be encoded"];
    let fault = log
        .lines()
        .find(|line| faults.iter().any(|fault| line.contains(fault)));
    ensure!(fault.is_none(), "{}", fault.unwrap_or_default());
    broker.launch()?;
    broker.end(Signal::TERM)?;
    Ok(())
}

/// In bytes, until it is over.
fn most_resident(broker: &Broker, over: &AtomicBool) -> u64 {
    let mut most = 0;
    while !over.load(Ordering::Relaxed) {
        most = most.max(broker.resident_bytes().unwrap_or_default());
        std::thread::sleep(Duration::from_millis(100));
    }
    most
}

/// An error is what should not be: bytes that are no answer to this frame, or a broker that nobody reaches.
fn throw(address: &str, connection: &mut Option<TcpStream>, spoiled: &Spoiled) -> Result<Outcome> {
    let mut stream = match connection.take() {
        Some(stream) => stream,
        None => connect(address)?,
    };
    if stream.write_all(&spoiled.bytes()).is_err() {
        return Ok(Outcome::Closed);
    }
    let outcome = answer(&mut stream, spoiled)?;
    // Behind half a frame, or with an answer still to come, nothing else makes sense.
    if outcome == Outcome::Answered && spoiled.is_whole() {
        *connection = Some(stream);
    }
    Ok(outcome)
}

fn connect(address: &str) -> Result<TcpStream> {
    let stream = TcpStream::connect(address).context("the broker is not reached")?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    // Its port is free at once when this side ends it: there are many.
    set_socket_linger(&stream, Some(Duration::ZERO))?;
    Ok(stream)
}

fn answer(stream: &mut TcpStream, spoiled: &Spoiled) -> Result<Outcome> {
    let mut head = [0; 8];
    if let Some(outcome) = read(stream, &mut head)? {
        return Ok(outcome);
    }
    let [a, b, c, d, id @ ..] = head;
    let length = usize::try_from(i32::from_be_bytes([a, b, c, d])).unwrap_or_default();
    ensure!(
        (4..=LONGEST_ANSWER).contains(&length),
        "an answer of {length} bytes"
    );
    ensure!(
        spoiled.correlation_id() == Some(&id[..]),
        "the answer is to {id:?}, asked was {:?}",
        spoiled.correlation_id()
    );
    let mut rest = vec![0; length - id.len()];
    // What has begun comes.
    stream.set_read_timeout(Some(wait::SOON))?;
    let whole = read(stream, &mut rest)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    match whole {
        None => Ok(Outcome::Answered),
        Some(_) => Err(anyhow!("half an answer")),
    }
}

/// `None` when it is filled.
fn read(stream: &mut TcpStream, into: &mut [u8]) -> Result<Option<Outcome>> {
    match stream.read_exact(into) {
        Ok(()) => Ok(None),
        Err(error) => match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Ok(Some(Outcome::LeftWaiting)),
            ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
                Ok(Some(Outcome::Closed))
            }
            _ => Err(error.into()),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_number_names_its_frame_and_each_frame_is_spoiled_in_many_ways() {
        let corpus = corpus().unwrap();
        let versions: BTreeSet<_> = corpus.iter().map(|m| (m.key, m.version)).collect();
        assert!(versions.len() > 250, "{}", versions.len());
        let turn = corpus.len() as u64;
        let of_one: Vec<Spoiled> = (0..50).map(|n| spoil(&corpus, 7, 3 + n * turn)).collect();
        assert_eq!(of_one[20], spoil(&corpus, 7, 3 + 20 * turn));
        assert!(of_one.iter().all(|spoiled| spoiled.of == 3));
        let different: BTreeSet<_> = of_one.iter().map(Spoiled::bytes).collect();
        assert!(different.len() > 45, "{}", different.len());
        let as_written = of_one.iter().filter(|s| s.payload == corpus[3].frame);
        assert!(as_written.count() < 10);
        assert!(of_one.iter().filter(|s| s.is_whole()).count() > 35);
    }
}
