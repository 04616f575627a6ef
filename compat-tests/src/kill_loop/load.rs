//! The producers: idempotent, never giving up, going on while the broker is killed under them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::util::Timeout;

use super::Topic;
use super::judge::Acked;
use super::record::{Place, Record, Stamp, key_text, value};

/// Keys of a compacted topic.
const KEYS: u32 = 150;

/// What the delivery reports said.
#[derive(Clone, Default)]
pub struct Reports(Arc<ReportState>);

#[derive(Default)]
struct ReportState {
    count: AtomicU64,
    acked: Mutex<BTreeMap<Place, Vec<Acked>>>,
    failed: Mutex<Vec<String>>,
    stuck: Mutex<Vec<String>>,
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Reports {
    pub fn count(&self) -> u64 {
        self.0.count.load(Ordering::Relaxed)
    }

    pub fn take_acked(&self) -> BTreeMap<Place, Vec<Acked>> {
        std::mem::take(&mut *locked(&self.0.acked))
    }

    fn stuck(&self, line: String) {
        locked(&self.0.stuck).push(line);
    }

    /// Producers that were not told of everything.
    pub fn stuck_producers(&self) -> Vec<String> {
        locked(&self.0.stuck).clone()
    }

    /// Records of which nobody knows whether they were written.
    pub fn failed(&self) -> Vec<String> {
        locked(&self.0.failed).clone()
    }
}

impl ClientContext for Reports {}

impl ProducerContext for Reports {
    type DeliveryOpaque = Box<(Place, Record)>;

    fn delivery(&self, result: &DeliveryResult<'_>, sent: Box<(Place, Record)>) {
        let (place, record) = *sent;
        match result {
            Ok(message) => {
                let offset = Some(message.offset()).filter(|offset| *offset >= 0);
                locked(&self.0.acked)
                    .entry(place)
                    .or_default()
                    .push(Acked { record, offset });
                self.0.count.fetch_add(1, Ordering::Relaxed);
            }
            Err((error, _)) => locked(&self.0.failed).push(format!("{record:?}: {error}")),
        }
    }
}

/// One producer and what it has sent: by partition, every number below.
pub struct Load {
    pub id: u32,
    pub address: String,
    pub seed: u64,
    /// Records a second, on average.
    pub rate: u32,
}

/// Different batches on their way, by producer.
const SHAPES: [(&str, &str, &str); 3] =
    [("none", "1", "20"), ("lz4", "0", "5"), ("zstd", "5", "200")];

impl Load {
    fn producer(&self, reports: &Reports) -> Result<BaseProducer<Reports>> {
        let (codec, linger, batch) = SHAPES[self.id as usize % SHAPES.len()];
        Ok(ClientConfig::new()
            .set("bootstrap.servers", &self.address)
            .set("client.id", format!("load-{}", self.id))
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("compression.codec", codec)
            .set("linger.ms", linger)
            .set("batch.num.messages", batch)
            .set("queue.buffering.max.messages", "1000")
            // It never gives up: a record without a report at the end is a finding.
            .set("message.timeout.ms", "0")
            .set("reconnect.backoff.ms", "10")
            .set("reconnect.backoff.max.ms", "200")
            .set("retry.backoff.ms", "20")
            .set("log_level", "2")
            .create_with_context(reports.clone())?)
    }

    /// Produces until `stop`, then waits for what is on its way.
    pub fn run(
        &self,
        topics: &[Topic],
        reports: &Reports,
        stop: &AtomicBool,
    ) -> Result<BTreeMap<Place, u64>> {
        let producer = self.producer(reports)?;
        let mut random = StdRng::seed_from_u64(self.seed);
        let mut sent = BTreeMap::new();
        let weights: u32 = topics.iter().map(|topic| topic.weight).sum();
        let mut due = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            let mut drawn = random.random_range(0..weights);
            let (at, topic) = topics
                .iter()
                .enumerate()
                .find(|(_, topic)| {
                    let found = drawn < topic.weight;
                    drawn = drawn.wrapping_sub(topic.weight);
                    found
                })
                .context("no topic")?;
            let burst = random.random_range(1..=topic.burst);
            let place = (at, random.random_range(0..topic.partitions));
            for _ in 0..burst {
                self.send(&producer, topic, place, &mut sent, &mut random)?;
            }
            due += Duration::from_secs(1) * burst / self.rate;
            loop {
                let wait = due.saturating_duration_since(Instant::now());
                producer.poll(wait.min(Duration::from_millis(20)));
                if wait.is_zero() || stop.load(Ordering::Relaxed) {
                    break;
                }
            }
            // What was held up is not caught up with.
            due = due.max(Instant::now() - Duration::from_millis(100));
        }
        if let Err(error) = producer.flush(Timeout::After(Duration::from_secs(60))) {
            let unanswered = producer.in_flight_count();
            reports.stuck(format!(
                "producer {}: {unanswered} records have no report at the end: {error}",
                self.id
            ));
        }
        Ok(sent)
    }

    fn send(
        &self,
        producer: &BaseProducer<Reports>,
        topic: &Topic,
        place: Place,
        sent: &mut BTreeMap<Place, u64>,
        random: &mut StdRng,
    ) -> Result<()> {
        let number = sent.entry(place).or_default();
        let record = Record {
            stamp: Stamp {
                producer: self.id,
                number: *number,
            },
            key: topic.compacted.then(|| random.random_range(0..KEYS)),
        };
        let value = value(place, record, random.random_range(0..=topic.filler));
        let key = record.key.map(key_text);
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            let mut message = BaseRecord::with_opaque_to(&topic.name, Box::new((place, record)))
                .partition(place.1)
                .payload(&value);
            if let Some(key) = &key {
                message = message.key(key);
            }
            match producer.send(message) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                    producer.poll(Duration::from_millis(20));
                }
                Err((error, _)) => {
                    let fatal = producer.client().fatal_error();
                    bail!("producer {}: {error} {fatal:?}", self.id);
                }
            }
            if Instant::now() > deadline {
                bail!("producer {}: nothing gets through", self.id);
            }
        }
        *number += 1;
        Ok(())
    }
}
