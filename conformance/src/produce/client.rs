//! As much of a client as sends a case and reads the answer.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use dohle::protocol::compression::Compression;
use dohle::protocol::messages::produce_response::PartitionProduceResponse;
use dohle::protocol::messages::{
    CreateTopicsRequest, CreateTopicsResponse, FetchRequest, FetchResponse, MetadataRequest,
    MetadataResponse, ProduceRequest, ProduceResponse, StrBytes, TopicName, create_topics_request,
    fetch_request, metadata_request, produce_request,
};
use dohle::protocol::record_batch::BatchBuilder;
use dohle::types::{Offset, TimestampMs};
use kafka_protocol::protocol::{Decodable, Encodable};

use super::{Answer, Case};

const TIMEOUT: Duration = Duration::from_secs(10);
/// The code that stands for a request that is never answered, or answered by a close.
pub const UNANSWERED: i16 = i16::MIN;
/// Times no further from the clock than this are `now`.
const NOW_MS: u64 = 600_000;
/// The defaults of the window that a record's time must be in.
const BEFORE_MAX_MS: i64 = i64::MAX;
const AFTER_MAX_MS: i64 = 3_600_000;

const PRODUCE: i16 = 0;
const FETCH: i16 = 1;
const METADATA: i16 = 3;
const CREATE_TOPICS: i16 = 19;

fn other(error: impl ToString) -> io::Error {
    io::Error::other(error.to_string())
}

/// A connection to a broker.
#[derive(Debug)]
pub struct Client {
    address: String,
    stream: TcpStream,
}

fn connect(address: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    Ok(stream)
}

impl Client {
    pub fn connect(address: &str) -> io::Result<Client> {
        Ok(Client {
            address: address.to_owned(),
            stream: connect(address)?,
        })
    }

    /// Makes the case's topic, puts a record in it, sends the case, and reads what is stored.
    pub fn run(&mut self, case: &Case) -> io::Result<Answer> {
        let topic = format!("t-{}", case.name);
        self.create(&topic, &case.options)?;
        let id = self.topic_id(&topic)?;
        let mut first = BatchBuilder::new(Offset::ZERO, Compression::None);
        first.append(TimestampMs(1), Some(b"k"), Some(b"first"), &[]);
        self.produce(&topic, id, 9, Some(first.build().into()))?;
        let partition = match self.produce(&topic, id, case.version, case.records.clone()) {
            Ok(partition) => partition,
            Err(_) => {
                self.stream = connect(&self.address)?;
                PartitionProduceResponse::default()
                    .with_error_code(UNANSWERED)
                    .with_base_offset(-1)
            }
        };
        let now = now_ms();
        let text = |text: &StrBytes| without_times(text, now, &case.options);
        Ok(Answer {
            code: partition.error_code,
            base_offset: partition.base_offset,
            log_append_time: match partition.log_append_time_ms {
                time if is_now(time, now) => "now".to_owned(),
                time => time.to_string(),
            },
            log_start_offset: partition.log_start_offset,
            message: partition.error_message.as_ref().map(text),
            record_errors: partition
                .record_errors
                .iter()
                .map(|error| {
                    let message = error.batch_index_error_message.as_ref();
                    (error.batch_index, message.map(text))
                })
                .collect(),
            stored: self.stored(&topic)?,
        })
    }

    fn create(&mut self, topic: &str, options: &[(String, String)]) -> io::Result<()> {
        let configs = options.iter().map(|(name, value)| {
            create_topics_request::CreatableTopicConfig::default()
                .with_name(StrBytes::from_string(name.clone()))
                .with_value(Some(StrBytes::from_string(value.clone())))
        });
        let creatable = create_topics_request::CreatableTopic::default()
            .with_name(name_of(topic))
            .with_num_partitions(1)
            .with_replication_factor(1)
            .with_configs(configs.collect());
        let request = CreateTopicsRequest::default()
            .with_timeout_ms(30_000)
            .with_topics(vec![creatable]);
        let reply: CreateTopicsResponse = self.call(CREATE_TOPICS, 7, &request)?;
        match reply.topics.first() {
            Some(made) if made.error_code == 0 => Ok(()),
            made => Err(other(format!("{topic} was not made: {made:?}"))),
        }
    }

    /// Asked for until there is a leader.
    fn topic_id(&mut self, topic: &str) -> io::Result<uuid::Uuid> {
        let asked =
            metadata_request::MetadataRequestTopic::default().with_name(Some(name_of(topic)));
        let request = MetadataRequest::default().with_topics(Some(vec![asked]));
        for _ in 0..1000 {
            let reply: MetadataResponse = self.call(METADATA, 12, &request)?;
            let found = reply.topics.first().ok_or_else(|| other("no topic"))?;
            let led = found.partitions.first().is_some_and(|p| p.leader_id.0 >= 0);
            if found.error_code == 0 && led {
                return Ok(found.topic_id);
            }
        }
        Err(other(format!("{topic} has no leader")))
    }

    fn produce(
        &mut self,
        topic: &str,
        id: uuid::Uuid,
        version: i16,
        records: Option<Bytes>,
    ) -> io::Result<PartitionProduceResponse> {
        let partition = produce_request::PartitionProduceData::default()
            .with_index(0)
            .with_records(records);
        let data =
            produce_request::TopicProduceData::default().with_partition_data(vec![partition]);
        let data = if version >= 13 {
            data.with_topic_id(id)
        } else {
            data.with_name(name_of(topic))
        };
        let request = ProduceRequest::default()
            .with_acks(-1)
            .with_timeout_ms(30_000)
            .with_topic_data(vec![data]);
        for _ in 0..1000 {
            let mut reply: ProduceResponse = self.call(PRODUCE, version, &request)?;
            let mut topic = reply.responses.pop().ok_or_else(|| other("no topic"))?;
            let partition = topic.partition_responses.pop();
            let partition = partition.ok_or_else(|| other("no partition"))?;
            // The leader is known a moment before it knows.
            if !matches!(partition.error_code, 3 | 6 | 100) {
                return Ok(partition);
            }
        }
        Err(other("the partition is not led"))
    }

    fn stored(&mut self, topic: &str) -> io::Result<Bytes> {
        let partition = fetch_request::FetchPartition::default()
            .with_partition(0)
            .with_fetch_offset(1)
            .with_partition_max_bytes(1 << 20);
        let asked = fetch_request::FetchTopic::default()
            .with_topic(name_of(topic))
            .with_partitions(vec![partition]);
        let request = FetchRequest::default()
            .with_replica_id((-1).into())
            .with_max_bytes(1 << 20)
            .with_topics(vec![asked]);
        let reply: FetchResponse = self.call(FETCH, 11, &request)?;
        let topic = reply.responses.first().ok_or_else(|| other("no topic"))?;
        let found = topic.partitions.first();
        Ok(found.and_then(|p| p.records.clone()).unwrap_or_default())
    }

    fn call<Q: Encodable, A: Decodable>(
        &mut self,
        key: i16,
        version: i16,
        request: &Q,
    ) -> io::Result<A> {
        let flexible = match key {
            PRODUCE | METADATA => version >= 9,
            CREATE_TOPICS => version >= 5,
            _ => version >= 12,
        };
        let mut frame = BytesMut::new();
        frame.extend(key.to_be_bytes());
        frame.extend(version.to_be_bytes());
        frame.extend(7i32.to_be_bytes());
        frame.extend((-1i16).to_be_bytes());
        if flexible {
            frame.extend([0]);
        }
        request.encode(&mut frame, version).map_err(other)?;
        let mut sent = BytesMut::from(&(frame.len() as i32).to_be_bytes()[..]);
        sent.extend(frame);
        self.stream.write_all(&sent)?;
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let mut reply = BytesMut::zeroed(u32::from_be_bytes(length) as usize);
        self.stream.read_exact(&mut reply)?;
        let mut body = reply.freeze();
        let _ = body.split_to(if flexible { 5 } else { 4 });
        A::decode(&mut body, version).map_err(other)
    }
}

fn name_of(topic: &str) -> TopicName {
    StrBytes::from_string(topic.to_owned()).into()
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as i64)
}

fn is_now(time: i64, now: i64) -> bool {
    time.abs_diff(now) < NOW_MS
}

/// The window of times that a message quotes, in words.
fn without_times(text: &str, now: i64, options: &[(String, String)]) -> String {
    const BEFORE: &str = "within [";
    let mut parts = text.split(BEFORE);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str(BEFORE);
        let window = part.split_once(']').and_then(|(window, rest)| {
            let (from, to) = window.split_once(", ")?;
            Some((from.parse::<i64>().ok()?, to.parse::<i64>().ok()?, rest))
        });
        let option = |name: &str, default: i64| {
            let found = options.iter().find(|(known, _)| known == name);
            found
                .and_then(|(_, value)| value.parse().ok())
                .unwrap_or(default)
        };
        let before = option("message.timestamp.before.max.ms", BEFORE_MAX_MS);
        let after = option("message.timestamp.after.max.ms", AFTER_MAX_MS);
        match window {
            Some((from, to, rest))
                if is_now(to.wrapping_sub(after), now)
                    && is_now(from.wrapping_add(before), now) =>
            {
                out.push_str("now-before, now+after]");
                out.push_str(rest);
            }
            _ => out.push_str(part),
        }
    }
    out
}
