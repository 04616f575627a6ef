//! A consumer that runs along: what it has seen must stay. After each crash it reads its last records
//! again, and now and then it commits its positions, which must stay as well.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rand::{RngExt as _, rngs::StdRng};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};

use super::Topic;
use super::record::{Place, Record, parse};

/// How far it goes back after a crash at most; `DeleteRecords` stays further behind.
pub const REWIND: i64 = 300;
const COMMIT_EVERY: Duration = Duration::from_millis(400);
const GROUP: &str = "kill-loop-observer";

#[derive(Default)]
pub struct Observed {
    pub seen: BTreeMap<Place, BTreeMap<i64, Record>>,
    pub complaints: Vec<String>,
    pub reread: u64,
    pub commits: u64,
}

impl Observed {
    /// Behind the last record seen.
    pub fn end(&self, place: Place) -> i64 {
        let last = self.seen.get(&place).and_then(|seen| seen.last_key_value());
        last.map_or(0, |(offset, _)| offset + 1)
    }

    fn note(&mut self, place: Place, offset: i64, record: Record) {
        match self.seen.entry(place).or_default().insert(offset, record) {
            Some(before) if before != record => self.complaints.push(format!(
                "{place:?}: {before:?} was seen at {offset}, then {record:?}"
            )),
            Some(_) => self.reread += 1,
            None => {}
        }
    }
}

pub struct Observer<'a> {
    pub address: &'a str,
    pub topics: &'a [Topic],
    pub observed: &'a Mutex<Observed>,
    /// Set after each crash, cleared when the last records are read again.
    pub crashed: &'a AtomicBool,
    pub stop: &'a AtomicBool,
}

pub fn consumer(address: &str) -> Result<BaseConsumer> {
    Ok(ClientConfig::new()
        .set("bootstrap.servers", address)
        .set("group.id", GROUP)
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "error")
        .set("check.crcs", "true")
        .set("fetch.wait.max.ms", "50")
        .set("fetch.error.backoff.ms", "20")
        .set("reconnect.backoff.ms", "10")
        .set("reconnect.backoff.max.ms", "200")
        .set("socket.timeout.ms", "10000")
        .set("log_level", "2")
        .create()?)
}

pub fn places(topics: &[Topic]) -> impl Iterator<Item = Place> {
    let partitions = topics.iter().enumerate();
    partitions.flat_map(|(at, topic)| (0..topic.partitions).map(move |p| (at, p)))
}

pub fn topic_of(topics: &[Topic], name: &str) -> Result<usize> {
    let at = topics.iter().position(|topic| topic.name == name);
    at.with_context(|| format!("a record of {name}"))
}

impl Observer<'_> {
    fn observed(&self) -> std::sync::MutexGuard<'_, Observed> {
        self.observed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn run(&self, mut random: StdRng) -> Result<()> {
        let consumer = consumer(self.address)?;
        self.assign(&consumer, |_| 0)?;
        let mut committed = BTreeMap::new();
        let mut next_commit = Instant::now() + COMMIT_EVERY;
        while !self.stop.load(Ordering::Relaxed) {
            if self.crashed.swap(false, Ordering::Relaxed) {
                self.assign(&consumer, |end| {
                    (end - random.random_range(0..REWIND)).max(0)
                })?;
                self.check_committed(&consumer, &committed)?;
            }
            match consumer.poll(Duration::from_millis(50)) {
                Some(Ok(message)) => {
                    let place = (topic_of(self.topics, message.topic())?, message.partition());
                    match parse(place, &message) {
                        Ok(record) => self.observed().note(place, message.offset(), record),
                        Err(error) => self.complain(format!(
                            "{place:?}: at {} is what nobody sent: {error:#}",
                            message.offset()
                        )),
                    }
                }
                Some(Err(error)) => self.judge_error(&error),
                None => {}
            }
            if Instant::now() >= next_commit {
                self.commit(&consumer, &mut committed, &mut random)?;
                next_commit = Instant::now() + COMMIT_EVERY;
            }
        }
        Ok(())
    }

    fn complain(&self, line: String) {
        self.observed().complaints.push(line);
    }

    fn assign(&self, consumer: &BaseConsumer, mut from: impl FnMut(i64) -> i64) -> Result<()> {
        let mut list = TopicPartitionList::new();
        for place in places(self.topics) {
            let at = from(self.observed().end(place));
            let name = &self.topics[place.0].name;
            list.add_partition_offset(name, place.1, Offset::Offset(at))?;
        }
        consumer.assign(&list)?;
        Ok(())
    }

    /// A broker that is gone comes back; a position that is gone does not.
    fn judge_error(&self, error: &KafkaError) {
        if let KafkaError::MessageConsumption(
            RDKafkaErrorCode::AutoOffsetReset
            | RDKafkaErrorCode::OffsetOutOfRange
            | RDKafkaErrorCode::BadMessage
            | RDKafkaErrorCode::InvalidMessage,
        ) = error
        {
            self.complain(format!("the consumer was told: {error}"));
        }
    }

    /// Of a few partitions. What fails may have been committed or not.
    fn commit(
        &self,
        consumer: &BaseConsumer,
        committed: &mut BTreeMap<Place, i64>,
        random: &mut StdRng,
    ) -> Result<()> {
        let mut list = TopicPartitionList::new();
        let mut ends = Vec::new();
        for place in places(self.topics) {
            let end = self.observed().end(place);
            if end > 0 && random.random_ratio(1, 5) {
                let name = &self.topics[place.0].name;
                list.add_partition_offset(name, place.1, Offset::Offset(end))?;
                ends.push((place, end));
            }
        }
        if !ends.is_empty() && consumer.commit(&list, CommitMode::Sync).is_ok() {
            committed.extend(ends);
            self.observed().commits += 1;
        }
        Ok(())
    }

    fn check_committed(
        &self,
        consumer: &BaseConsumer,
        committed: &BTreeMap<Place, i64>,
    ) -> Result<()> {
        let mut list = TopicPartitionList::new();
        for place in committed.keys() {
            list.add_partition(&self.topics[place.0].name, place.1);
        }
        let deadline = Instant::now() + Duration::from_secs(60);
        // It may be killed again meanwhile.
        let kept = loop {
            match consumer.committed_offsets(list.clone(), Duration::from_secs(5)) {
                Ok(kept) => break kept,
                Err(error) if Instant::now() > deadline => {
                    return Err(error).context("committed offsets cannot be asked for");
                }
                Err(_) if self.stop.load(Ordering::Relaxed) => return Ok(()),
                Err(_) => {}
            }
        };
        for (place, offset) in committed {
            let kept = kept
                .find_partition(&self.topics[place.0].name, place.1)
                .and_then(|kept| kept.offset().to_raw());
            if kept.is_none_or(|kept| kept < *offset) {
                self.complain(format!(
                    "{place:?}: {offset} was committed, now it is {kept:?}"
                ));
            }
        }
        Ok(())
    }
}
