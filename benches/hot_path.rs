//! What a request costs inside the broker: from the frame to the append, from the fetch to the socket, a look-up in the
//! indexes, the guard, and Metadata of 10,000 partitions. The broker runs in this process, with its own threads.
//!
//! ```text
//! cargo bench --bench hot_path                # times
//! python3 benches/instructions.py             # instructions of each, under callgrind: steadier than time
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::print_stdout,
    missing_docs,
    reason = "a benchmark fails by panicking, and criterion's macros have no docs"
)]

use std::hint::black_box;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use criterion::{Criterion, Throughput};
use dohle::api::{self, RequestContext};
use dohle::broker::{self, Broker};
use dohle::config::{BrokerConfig, Origin};
use dohle::logging::LogLevels;
use dohle::protocol::compression::Compression;
use dohle::protocol::header::RequestHeader;
use dohle::protocol::messages::create_topics_request::CreatableTopic;
use dohle::protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use dohle::protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use dohle::protocol::messages::metadata_request::MetadataRequestTopic;
use dohle::protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use dohle::protocol::messages::{
    CreateTopicsRequest, FetchRequest, ListOffsetsRequest, MetadataRequest, ProduceRequest,
    StrBytes, TopicName,
};
use dohle::protocol::record_batch::BatchBuilder;
use dohle::protocol::{guard, schema};
use dohle::security::Principal;
use dohle::types::{Offset, TimestampMs};
use kafka_protocol::protocol::Encodable;
use tempfile::TempDir;
use tokio::runtime::Runtime;

const PRODUCE: (i16, i16) = (0, 11);
const FETCH: (i16, i16) = (1, 12);
const LIST_OFFSETS: (i16, i16) = (2, 8);
const METADATA: (i16, i16) = (3, 12);
const CREATE_TOPICS: (i16, i16) = (19, 7);
/// A batch of the log that is read.
const BATCH_BYTES: usize = 16 << 10;
const BATCHES: i64 = 4_000;
const WIDE_PARTITIONS: i32 = 10_000;

fn topic(name: &str) -> TopicName {
    StrBytes::from_string(name.to_owned()).into()
}

/// A frame without its length.
fn frame((key, version): (i16, i16), request: &impl Encodable) -> Bytes {
    let mut out = BytesMut::new();
    out.put_i16(key);
    out.put_i16(version);
    out.put_i32(1);
    out.put_i16(5);
    out.put_slice(b"bench");
    if schema::api(key).unwrap().request_header_version(version) == 2 {
        out.put_u8(0);
    }
    request.encode(&mut out, version).unwrap();
    out.freeze()
}

fn batch(records: usize, value_bytes: usize, time: i64) -> Bytes {
    let mut builder = BatchBuilder::new(Offset::ZERO, Compression::None);
    for _ in 0..records {
        builder.append(TimestampMs(time), None, Some(&vec![b'x'; value_bytes]), &[]);
    }
    builder.build().into()
}

fn produce(to: &str, records: Bytes) -> Bytes {
    let partition = PartitionProduceData::default()
        .with_index(0)
        .with_records(Some(records));
    let data = TopicProduceData::default()
        .with_name(topic(to))
        .with_partition_data(vec![partition]);
    frame(
        PRODUCE,
        &ProduceRequest::default()
            .with_acks(-1)
            .with_timeout_ms(1000)
            .with_topic_data(vec![data]),
    )
}

fn fetch(from: &str, offset: i64, max_bytes: i32) -> Bytes {
    let partition = FetchPartition::default()
        .with_partition(0)
        .with_fetch_offset(offset)
        .with_partition_max_bytes(max_bytes);
    let asked = FetchTopic::default()
        .with_topic(topic(from))
        .with_partitions(vec![partition]);
    frame(
        FETCH,
        &FetchRequest::default()
            .with_max_bytes(max_bytes)
            .with_topics(vec![asked]),
    )
}

/// A broker with a log to append to, one to read, and a topic of many partitions.
struct Bench {
    runtime: Runtime,
    broker: Broker,
    _dir: TempDir,
}

impl Bench {
    fn start() -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let mut config = BrokerConfig::default();
        for (name, value) in [
            ("log.dirs", dir.path().join("data").to_str().unwrap()),
            ("listeners", "PLAINTEXT://127.0.0.1:0"),
            ("http.listen", ""),
            ("log.durable.acks", "false"),
            // What is appended for as long as the benchmark runs does not stay.
            ("log.segment.bytes", "67108864"),
            ("log.retention.bytes", "268435456"),
            // The records are of 1970.
            ("log.retention.ms", "-1"),
            ("log.retention.check.interval.ms", "1000"),
            ("log.segment.delete.delay.ms", "1000"),
        ] {
            config.set_static(name, value, Origin::CommandLine).unwrap();
        }
        let runtime = Runtime::new().unwrap();
        let levels = Arc::new(LogLevels::detached("error").unwrap());
        let broker = runtime.block_on(broker::start(config, levels)).unwrap();
        let bench = Bench {
            runtime,
            broker,
            _dir: dir,
        };
        for (name, partitions) in [("append", 1), ("read", 1), ("wide", WIDE_PARTITIONS)] {
            let made = CreatableTopic::default()
                .with_name(topic(name))
                .with_num_partitions(partitions)
                .with_replication_factor(1);
            bench.serve(frame(
                CREATE_TOPICS,
                &CreateTopicsRequest::default()
                    .with_timeout_ms(60_000)
                    .with_topics(vec![made]),
            ));
        }
        for at in 0..BATCHES {
            bench.serve(produce("read", batch(16, BATCH_BYTES / 16 - 16, at * 1000)));
        }
        bench
    }

    /// Serves a frame as a connection does; how long the reply is.
    fn serve(&self, frame: Bytes) -> usize {
        let (header, body) = RequestHeader::parse(frame).unwrap();
        let ctx = RequestContext {
            node: Arc::clone(&self.broker.node),
            version: header.api_version,
            correlation_id: header.correlation_id,
            client_id: None,
            client: ([127, 0, 0, 1], 50_000).into(),
            principal: Principal::anonymous(),
            listener: "PLAINTEXT".into(),
        };
        let (_, served) = api::start(header.api_key, ctx, body).unwrap();
        let reply = self.runtime.block_on(served).unwrap().unwrap();
        black_box(reply).len()
    }

    fn cases(&self) -> Vec<Case<'_>> {
        let mut next = 0;
        // In an order that no read-ahead foresees, and the same in each run.
        let mut somewhere = move || {
            next = (next + 7_919) % BATCHES;
            next
        };
        let mut elsewhere = somewhere;
        let small = produce("append", batch(1, 100, 0));
        let large = produce("append", batch(16, BATCH_BYTES / 16 - 16, 0));
        let find = |time: i64| {
            let asked = ListOffsetsPartition {
                timestamp: time,
                ..Default::default()
            };
            let asked = ListOffsetsTopic {
                name: topic("read"),
                partitions: vec![asked],
                ..Default::default()
            };
            let request = ListOffsetsRequest {
                replica_id: (-1).into(),
                topics: vec![asked],
                ..Default::default()
            };
            frame(LIST_OFFSETS, &request)
        };
        let wide = MetadataRequestTopic::default().with_name(Some(topic("wide")));
        let wide = frame(
            METADATA,
            &MetadataRequest::default().with_topics(Some(vec![wide])),
        );
        let names: Vec<_> = (0..100)
            .map(|at| {
                MetadataRequestTopic::default().with_name(Some(topic(&format!("topic-{at}"))))
            })
            .collect();
        let (_, guarded) = RequestHeader::parse(frame(
            METADATA,
            &MetadataRequest::default().with_topics(Some(names)),
        ))
        .unwrap();
        let mut socket = TcpStream::connect(self.broker.listeners[0].address).unwrap();
        socket.set_nodelay(true).unwrap();
        let mut into = vec![0; 2 << 20];
        vec![
            (
                "frame to append, 1 record of 100 B",
                0,
                Box::new(move || assert!(self.serve(small.clone()) > 0)),
            ),
            (
                "frame to append, 16 KiB",
                BATCH_BYTES,
                Box::new(move || assert!(self.serve(large.clone()) > 0)),
            ),
            (
                "fetch to reply, somewhere in 64 MB",
                0,
                Box::new(move || {
                    let offset = somewhere() * 16;
                    assert!(self.serve(fetch("read", offset, 1 << 20)) > BATCH_BYTES);
                }),
            ),
            (
                "fetch to socket, 1 MiB",
                1 << 20,
                Box::new(move || {
                    let asked = fetch("read", 0, 1 << 20);
                    socket
                        .write_all(&(asked.len() as u32).to_be_bytes())
                        .unwrap();
                    socket.write_all(&asked).unwrap();
                    let mut length = [0; 4];
                    socket.read_exact(&mut length).unwrap();
                    let length = u32::from_be_bytes(length) as usize;
                    // Whole batches: what is left is less than one.
                    assert!(length > (1 << 20) - 2 * BATCH_BYTES);
                    socket.read_exact(&mut into[..length]).unwrap();
                }),
            ),
            (
                "index look-up by time, somewhere in 64 MB",
                0,
                Box::new(move || assert!(self.serve(find(elsewhere() * 1000)) > 0)),
            ),
            (
                "Metadata of 10,000 partitions",
                0,
                Box::new(move || assert!(self.serve(wide.clone()) > 200_000)),
            ),
            (
                "guard, Metadata of 100 names",
                0,
                Box::new(move || {
                    let metadata = &schema::api(METADATA.0).unwrap().request;
                    assert!(guard::check(metadata, METADATA.1, black_box(&guarded)).is_ok());
                }),
            ),
        ]
    }
}

/// A name, the bytes that it moves, and the work.
type Case<'b> = (&'static str, usize, Box<dyn FnMut() + 'b>);

/// What callgrind counts, by this name.
#[inline(never)]
fn measured(times: usize, work: &mut dyn FnMut()) {
    (0..times).for_each(|_| work());
}

fn main() {
    let bench = Bench::start();
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().position(|word| word == "--times") {
        // For callgrind: one case, so often.
        Some(at) => {
            let times: usize = words[at + 1].parse().unwrap();
            let (_, _, mut work) = bench.cases().swap_remove(words[at + 2].parse().unwrap());
            measured(times, &mut work);
        }
        None if words.iter().any(|word| word == "--names") => {
            bench
                .cases()
                .iter()
                .for_each(|(name, ..)| println!("{name}"));
        }
        None => {
            let mut criterion = Criterion::default()
                .measurement_time(Duration::from_secs(2))
                .configure_from_args();
            let mut group = criterion.benchmark_group("hot path");
            for (name, bytes, mut work) in bench.cases() {
                match bytes {
                    0 => group.throughput(Throughput::Elements(1)),
                    bytes => group.throughput(Throughput::Bytes(bytes as u64)),
                };
                group.bench_function(name, |b| b.iter(&mut work));
            }
            group.finish();
            criterion.final_summary();
        }
    }
    let Bench {
        runtime, broker, ..
    } = bench;
    runtime.block_on(broker.stop());
}
