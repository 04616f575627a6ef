//! The librdkafka side of the benchmark: bulk produce and bulk consume on partition 0 of one topic.
//!
//! `librdkafka-load produce|consume BOOTSTRAP TOPIC RECORDS SIZE` prints one JSON object of numbers on one line. It
//! judges nothing: the runner (`benches/versus`) measures the broker and makes the table. Options are librdkafka's
//! defaults (acks=all, no compression, linger 5 ms) but for what stands below.

use std::error::Error;
use std::ffi::CString;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rdkafka::bindings as c;
use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// How long nothing may happen before a run is given up.
const STUCK: Duration = Duration::from_secs(60);

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let [_, command, bootstrap, topic, records, size] = args.as_slice() else {
        return Err("usage: librdkafka-load produce|consume BOOTSTRAP TOPIC RECORDS SIZE".into());
    };
    let (records, size) = (records.parse()?, size.parse()?);
    let seconds = match command.as_str() {
        "produce" => produce(bootstrap, topic, records, size)?,
        "consume" => consume(bootstrap, topic, records, size)?,
        other => return Err(format!("{other}: neither produce nor consume").into()),
    }
    .as_secs_f64();
    let megabytes = records as f64 * size as f64 / 1e6;
    println!(
        r#"{{"seconds":{seconds},"records_per_s":{},"mb_per_s":{}}}"#,
        records as f64 / seconds,
        megabytes / seconds
    );
    Ok(())
}

#[derive(Default)]
struct Acknowledged {
    records: AtomicU64,
    failed: AtomicU64,
}

impl ClientContext for Acknowledged {}

impl ProducerContext for Acknowledged {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if result.is_ok() { &self.records } else { &self.failed }.fetch_add(1, Ordering::Relaxed);
    }
}

/// From the first record handed over until every one is acknowledged.
fn produce(bootstrap: &str, topic: &str, records: u64, size: usize) -> Result<Duration> {
    let producer: BaseProducer<Acknowledged> = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        // Deep enough that the client never waits for the application between two batches.
        .set("queue.buffering.max.messages", "500000")
        .create_with_context(Acknowledged::default())?;
    producer.client().fetch_metadata(Some(topic), STUCK)?;
    let payload: Vec<u8> = incompressible(size);

    let started = Instant::now();
    for sent in 0..records {
        let mut record = BaseRecord::<(), [u8]>::to(topic).partition(0).payload(&payload);
        while let Err((error, back)) = producer.send(record) {
            let KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) = error else {
                return Err(error.into());
            };
            record = back;
            producer.poll(Duration::from_millis(10));
        }
        if sent % 1000 == 0 {
            producer.poll(Duration::ZERO);
        }
    }
    producer.flush(STUCK)?;
    let taken = started.elapsed();

    let outcome = producer.context();
    let (acknowledged, failed) = (outcome.records.load(Ordering::Relaxed), outcome.failed.load(Ordering::Relaxed));
    if acknowledged != records {
        return Err(format!("{acknowledged} of {records} records acknowledged, {failed} failed").into());
    }
    Ok(taken)
}

/// From the assignment at the log's start until `records` records of `size` bytes have been handed out.
///
/// Takes messages from librdkafka in bulk: one call a message would make the client the bottleneck.
fn consume(bootstrap: &str, topic: &str, records: u64, size: usize) -> Result<Duration> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "bench")
        .set("enable.auto.commit", "false")
        .set("check.crcs", "false")
        .create()?;
    consumer.client().fetch_metadata(Some(topic), STUCK)?;
    let name = CString::new(topic)?;
    let mut batch: Vec<*mut c::rd_kafka_message_t> = vec![std::ptr::null_mut(); 10_000];

    let started = Instant::now();
    // SAFETY: the client outlives the queue and the list, both are freed below, and each message that the call put
    // into `batch` is read before it is destroyed, once.
    unsafe {
        let client = consumer.client().native_ptr();
        let list = c::rd_kafka_topic_partition_list_new(1);
        (*c::rd_kafka_topic_partition_list_add(list, name.as_ptr(), 0)).offset = 0;
        let assigned = c::rd_kafka_assign(client, list);
        c::rd_kafka_topic_partition_list_destroy(list);
        if assigned != c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(format!("assign: {assigned:?}").into());
        }
        let queue = c::rd_kafka_queue_get_consumer(client);
        let (mut seen, mut last) = (0u64, Instant::now());
        while seen < records {
            let got = c::rd_kafka_consume_batch_queue(queue, 100, batch.as_mut_ptr(), batch.len());
            let got = usize::try_from(got).map_err(|_| "consume failed")?;
            for message in &batch[..got] {
                let error = (**message).err;
                if error == c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                    if (**message).len != size {
                        return Err(format!("a record of {} bytes, not {size}", (**message).len).into());
                    }
                    seen += 1;
                }
                c::rd_kafka_message_destroy(*message);
            }
            match got {
                0 if last.elapsed() > STUCK => return Err(format!("{seen} of {records} records seen").into()),
                0 => {}
                _ => last = Instant::now(),
            }
        }
        let taken = started.elapsed();
        c::rd_kafka_queue_destroy(queue);
        Ok(taken)
    }
}

/// Bytes that no compression would shrink, the same every time (xorshift).
fn incompressible(size: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    })
    .take(size)
    .collect()
}
