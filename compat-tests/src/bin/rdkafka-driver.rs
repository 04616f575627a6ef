//! Answers the operations of compat-tests/README.md with librdkafka through the `rdkafka` crate:
//! one JSON request a line in, one JSON answer a line out.

use std::collections::BTreeMap;
use std::io::{BufRead as _, Write as _};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use compat_tests::wire::{Blob, Incoming, Outgoing, PartitionOffset};
use futures_executor::block_on;
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier,
    TopicReplication,
};
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::config::{ClientConfig, FromClientConfig as _};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::message::{
    BorrowedMessage, DeliveryResult, Header, Headers as _, Message as _, OwnedHeaders,
};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};
use rdkafka::{Offset, TopicPartitionList};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

const TIMEOUT: Duration = Duration::from_secs(30);

fn main() -> Result<()> {
    let bootstrap = std::env::args()
        .nth(1)
        .context("usage: rdkafka-driver HOST:PORT")?;
    let mut driver = Driver::new(bootstrap)?;
    for line in std::io::stdin().lock().lines() {
        let answer = match driver.perform(&line?) {
            Ok(result) => json!({"ok": true, "result": result}),
            Err(error) => json!({"ok": false, "error": format!("{error:#}")}),
        };
        let mut out = std::io::stdout().lock();
        serde_json::to_writer(&mut out, &answer)?;
        out.write_all(b"\n")?;
        out.flush()?;
    }
    Ok(())
}

struct Driver {
    bootstrap: String,
    admin: AdminClient<DefaultClientContext>,
    members: BTreeMap<String, BaseConsumer>,
}

#[derive(Deserialize)]
struct Produce {
    topic: String,
    #[serde(default)]
    compression: Option<String>,
    #[serde(default)]
    idempotent: bool,
    #[serde(default)]
    acks: Option<String>,
    records: Vec<Outgoing>,
}

/// The partition and offset of a record, or why it has none.
type Placement = Result<(i32, i64), String>;

/// Keeps where each record of one `produce` went.
#[derive(Clone, Default)]
struct Placed(Arc<Mutex<BTreeMap<usize, Placement>>>);

impl ClientContext for Placed {}

impl ProducerContext for Placed {
    type DeliveryOpaque = Box<usize>;

    fn delivery(&self, result: &DeliveryResult<'_>, index: Box<usize>) {
        let placed = match result {
            Ok(message) => Ok((message.partition(), message.offset())),
            Err((error, _)) => Err(error.to_string()),
        };
        if let Ok(mut all) = self.0.lock() {
            all.insert(*index, placed);
        }
    }
}

fn field<T: DeserializeOwned>(request: &Value, name: &str) -> Result<T> {
    serde_json::from_value(request.get(name).cloned().unwrap_or(Value::Null))
        .with_context(|| format!("field {name}"))
}

fn text(request: &Value, name: &str) -> Result<String> {
    field(request, name)
}

fn describe(message: &BorrowedMessage<'_>) -> Incoming {
    let headers = message.headers().map(|headers| {
        headers
            .iter()
            .map(|header| {
                (
                    header.key.to_owned(),
                    header.value.map(|v| Blob(v.to_vec())),
                )
            })
            .collect()
    });
    Incoming {
        partition: message.partition(),
        offset: message.offset(),
        timestamp: message.timestamp().to_millis().unwrap_or(-1),
        key: message.key().map(|key| Blob(key.to_vec())),
        value: message.payload().map(|value| Blob(value.to_vec())),
        headers: headers.unwrap_or_default(),
    }
}

impl Driver {
    fn new(bootstrap: String) -> Result<Self> {
        let admin =
            AdminClient::from_config(ClientConfig::new().set("bootstrap.servers", &bootstrap))?;
        Ok(Self {
            bootstrap,
            admin,
            members: BTreeMap::new(),
        })
    }

    fn perform(&mut self, line: &str) -> Result<Value> {
        let request: Value = serde_json::from_str(line)?;
        let op = text(&request, "op")?;
        match op.as_str() {
            "info" => Ok(
                json!({"version": format!("librdkafka {}", rdkafka::util::get_rdkafka_version().1)}),
            ),
            "produce" => self.produce(serde_json::from_value(request)?),
            "consume" => self.consume(&request),
            "offset_for_time" => self.offset_for_time(&request),
            "member_open" => self.member_open(&request),
            "member_poll" => self.member_poll(&request),
            "member_commit" => self.member_commit(&request),
            "member_close" => {
                self.members
                    .remove(&text(&request, "member")?)
                    .context("no such member")?;
                Ok(json!({}))
            }
            _ => self.administer(&op, &request),
        }
    }

    fn produce(&self, request: Produce) -> Result<Value> {
        let placed = Placed::default();
        let producer: BaseProducer<Placed> = ClientConfig::new()
            .set("bootstrap.servers", &self.bootstrap)
            .set(
                "compression.type",
                request.compression.as_deref().unwrap_or("none"),
            )
            .set("enable.idempotence", request.idempotent.to_string())
            .set("acks", request.acks.as_deref().unwrap_or("all"))
            .set("linger.ms", "20")
            .set("message.timeout.ms", "30000")
            .create_with_context(placed.clone())?;
        for (index, record) in request.records.iter().enumerate() {
            let mut headers = OwnedHeaders::new();
            for (key, value) in &record.headers {
                headers = headers.insert(Header {
                    key,
                    value: value.as_ref().map(|v| &v.0),
                });
            }
            let mut out: BaseRecord<'_, Vec<u8>, Vec<u8>, Box<usize>> =
                BaseRecord::with_opaque_to(&request.topic, Box::new(index)).headers(headers);
            out.partition = record.partition;
            out.timestamp = record.timestamp;
            out.key = record.key.as_ref().map(|key| &key.0);
            out.payload = record.value.as_ref().map(|value| &value.0);
            producer.send(out).map_err(|(error, _)| error)?;
            producer.poll(Duration::ZERO);
        }
        producer.flush(TIMEOUT)?;
        let placed = placed
            .0
            .lock()
            .map_err(|_| anyhow!("a delivery report panicked"))?;
        ensure!(
            placed.len() == request.records.len(),
            "{} of {} reported",
            placed.len(),
            request.records.len()
        );
        let placed: Result<Vec<_>, _> = placed.values().cloned().collect();
        Ok(json!({"placed": placed.map_err(|error| anyhow!(error))?}))
    }

    fn consumer(&self, group: &str, more: &[(&str, &str)]) -> Result<BaseConsumer> {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.bootstrap)
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "earliest");
        for (name, value) in more {
            config.set(*name, *value);
        }
        Ok(config.create()?)
    }

    fn consume(&self, request: &Value) -> Result<Value> {
        let count: usize = field(request, "count")?;
        let consumer = self.consumer("rdkafka-assign", &[])?;
        let mut at = TopicPartitionList::new();
        at.add_partition_offset(
            &text(request, "topic")?,
            field(request, "partition")?,
            Offset::Offset(field(request, "offset")?),
        )?;
        consumer.assign(&at)?;
        let deadline = Instant::now() + Duration::from_millis(field(request, "timeout_ms")?);
        let mut records = Vec::new();
        while records.len() < count && Instant::now() < deadline {
            if let Some(message) = consumer.poll(Duration::from_millis(200)) {
                records.push(describe(&message?));
            }
        }
        Ok(json!({"records": records}))
    }

    fn offset_for_time(&self, request: &Value) -> Result<Value> {
        let (topic, partition) = (text(request, "topic")?, field(request, "partition")?);
        let consumer = self.consumer("rdkafka-assign", &[])?;
        let mut at = TopicPartitionList::new();
        at.add_partition_offset(
            &topic,
            partition,
            Offset::Offset(field(request, "timestamp")?),
        )?;
        let found = consumer.offsets_for_times(at, TIMEOUT)?;
        let found = found
            .find_partition(&topic, partition)
            .context("no answer for the partition")?;
        found.error()?;
        Ok(json!({"offset": found.offset().to_raw().filter(|offset| *offset >= 0)}))
    }

    fn member_open(&mut self, request: &Value) -> Result<Value> {
        let instance = request.get("instance_id").and_then(Value::as_str);
        let assignor = request.get("assignor").and_then(Value::as_str);
        let mut more = vec![
            ("session.timeout.ms", "10000"),
            ("heartbeat.interval.ms", "500"),
        ];
        more.extend(instance.map(|id| ("group.instance.id", id)));
        more.extend(assignor.map(|name| ("partition.assignment.strategy", name)));
        let consumer = self.consumer(&text(request, "group")?, &more)?;
        let topics: Vec<String> = field(request, "topics")?;
        consumer.subscribe(&topics.iter().map(String::as_str).collect::<Vec<_>>())?;
        self.members.insert(text(request, "member")?, consumer);
        Ok(json!({}))
    }

    fn member(&self, request: &Value) -> Result<&BaseConsumer> {
        self.members
            .get(&text(request, "member")?)
            .context("no such member")
    }

    fn member_poll(&self, request: &Value) -> Result<Value> {
        let consumer = self.member(request)?;
        let mut records = Vec::new();
        let mut message = consumer.poll(Duration::from_millis(field(request, "timeout_ms")?));
        while let Some(arrived) = message {
            records.push(describe(&arrived?));
            message = if records.len() < 500 {
                consumer.poll(Duration::ZERO)
            } else {
                None
            };
        }
        let assignment = consumer.assignment()?;
        let assignment: Vec<_> = assignment
            .elements()
            .iter()
            .map(|e| (e.topic().to_owned(), e.partition()))
            .collect();
        Ok(json!({"records": records, "assignment": assignment}))
    }

    fn member_commit(&self, request: &Value) -> Result<Value> {
        let mut offsets = TopicPartitionList::new();
        for (topic, partition, offset) in field::<Vec<PartitionOffset>>(request, "offsets")? {
            offsets.add_partition_offset(&topic, partition, Offset::Offset(offset))?;
        }
        self.member(request)?.commit(&offsets, CommitMode::Sync)?;
        Ok(json!({}))
    }

    fn administer(&self, op: &str, request: &Value) -> Result<Value> {
        let options = AdminOptions::new()
            .operation_timeout(Some(TIMEOUT))
            .request_timeout(Some(TIMEOUT));
        match op {
            "create_topic" => self.create_topic(request, &options),
            "delete_topic" => {
                let deleted = block_on(
                    self.admin
                        .delete_topics(&[&text(request, "topic")?], &options),
                )?;
                only(deleted)?.map_err(|(_, error)| anyhow!("{error}"))?;
                Ok(json!({}))
            }
            "list_topics" => {
                let metadata = self
                    .consumer("rdkafka-assign", &[])?
                    .fetch_metadata(None, TIMEOUT)?;
                let topics: Vec<_> = metadata
                    .topics()
                    .iter()
                    .map(|topic| topic.name().to_owned())
                    .collect();
                Ok(json!({"topics": topics}))
            }
            "describe_topic" => {
                let metadata = self
                    .consumer("rdkafka-assign", &[])?
                    .fetch_metadata(Some(&text(request, "topic")?), TIMEOUT)?;
                let topic = metadata.topics().first().context("no topic answered")?;
                ensure!(topic.error().is_none(), "{:?}", topic.error());
                Ok(json!({"partitions": topic.partitions().len()}))
            }
            "create_partitions" => {
                let (topic, total) = (text(request, "topic")?, field(request, "total")?);
                let created = block_on(
                    self.admin
                        .create_partitions(&[NewPartitions::new(&topic, total)], &options),
                )?;
                only(created)?.map_err(|(_, error)| anyhow!("{error}"))?;
                Ok(json!({}))
            }
            "describe_configs" => self.describe_configs(request, &options),
            "replace_configs" => self.replace_configs(request, &options),
            "delete_records" => self.delete_records(request, &options),
            "list_offset" => self.list_offset(request),
            "list_groups" => {
                let groups = self
                    .consumer("rdkafka-assign", &[])?
                    .fetch_group_list(None, TIMEOUT)?;
                let groups: Vec<_> =
                    groups.groups().iter().map(|g| json!({"group": g.name(), "state": g.state(), "protocol": g.protocol_type()})).collect();
                Ok(json!({"groups": groups}))
            }
            "describe_group" => {
                let groups = self
                    .consumer("rdkafka-assign", &[])?
                    .fetch_group_list(Some(&text(request, "group")?), TIMEOUT)?;
                let group = groups.groups().first().context("no group answered")?;
                let members: Vec<_> = group
                    .members()
                    .iter()
                    .map(|m| json!({"member_id": m.id(), "client_id": m.client_id()}))
                    .collect();
                Ok(
                    json!({"state": group.state(), "assignor": group.protocol(), "members": members}),
                )
            }
            "delete_group" => {
                let deleted = block_on(
                    self.admin
                        .delete_groups(&[&text(request, "group")?], &options),
                )?;
                only(deleted)?.map_err(|(_, error)| anyhow!("{error}"))?;
                Ok(json!({}))
            }
            "committed" => self.committed(request),
            _ => bail!("no such operation: {op}"),
        }
    }

    fn create_topic(&self, request: &Value, options: &AdminOptions) -> Result<Value> {
        let name = text(request, "topic")?;
        let configs: BTreeMap<String, String> =
            field::<Option<_>>(request, "configs")?.unwrap_or_default();
        let mut topic = NewTopic::new(
            &name,
            field(request, "partitions")?,
            TopicReplication::Fixed(1),
        );
        for (name, value) in &configs {
            topic = topic.set(name, value);
        }
        only(block_on(self.admin.create_topics([&topic], options))?)?
            .map_err(|(_, error)| anyhow!("{error}"))?;
        Ok(json!({}))
    }

    fn describe_configs(&self, request: &Value, options: &AdminOptions) -> Result<Value> {
        let name = text(request, "name")?;
        let resource = ResourceSpecifier::Topic(&name);
        let described = only(block_on(self.admin.describe_configs([&resource], options))?)??;
        let configs: BTreeMap<_, _> = described
            .entries
            .into_iter()
            .map(|entry| (entry.name, json!({"value": entry.value})))
            .collect();
        Ok(json!({"configs": configs}))
    }

    /// The old AlterConfigs: what is set here is all that is set.
    fn replace_configs(&self, request: &Value, options: &AdminOptions) -> Result<Value> {
        let name = text(request, "name")?;
        let configs: BTreeMap<String, String> = field(request, "configs")?;
        let mut change = AlterConfig::new(ResourceSpecifier::Topic(&name));
        for (name, value) in &configs {
            change = change.set(name, value);
        }
        only(block_on(self.admin.alter_configs([&change], options))?)?
            .map_err(|(_, error)| anyhow!("{error}"))?;
        Ok(json!({}))
    }

    fn delete_records(&self, request: &Value, options: &AdminOptions) -> Result<Value> {
        let (topic, partition) = (text(request, "topic")?, field(request, "partition")?);
        let mut before = TopicPartitionList::new();
        before.add_partition_offset(
            &topic,
            partition,
            Offset::Offset(field(request, "before")?),
        )?;
        let deleted = block_on(self.admin.delete_records(&before, options))?;
        let deleted = deleted
            .find_partition(&topic, partition)
            .context("no answer for the partition")?;
        deleted.error()?;
        Ok(json!({"low_watermark": deleted.offset().to_raw()}))
    }

    fn list_offset(&self, request: &Value) -> Result<Value> {
        let spec = text(request, "spec")?;
        if spec == "timestamp" {
            return self.offset_for_time(request);
        }
        let consumer = self.consumer("rdkafka-assign", &[])?;
        let (low, high) = consumer.fetch_watermarks(
            &text(request, "topic")?,
            field(request, "partition")?,
            TIMEOUT,
        )?;
        match spec.as_str() {
            "earliest" => Ok(json!({"offset": low})),
            "latest" => Ok(json!({"offset": high})),
            _ => bail!("no such offset: {spec}"),
        }
    }

    fn committed(&self, request: &Value) -> Result<Value> {
        let consumer = self.consumer(&text(request, "group")?, &[])?;
        let topic = text(request, "topic")?;
        let metadata = consumer.fetch_metadata(Some(&topic), TIMEOUT)?;
        let mut asked = TopicPartitionList::new();
        for partition in metadata
            .topics()
            .iter()
            .flat_map(|topic| topic.partitions())
        {
            asked.add_partition(&topic, partition.id());
        }
        let committed = consumer.committed_offsets(asked, TIMEOUT)?;
        let offsets: Vec<PartitionOffset> = committed
            .elements()
            .iter()
            .filter_map(|e| {
                Some((
                    e.topic().to_owned(),
                    e.partition(),
                    e.offset().to_raw().filter(|offset| *offset >= 0)?,
                ))
            })
            .collect();
        Ok(json!({"offsets": offsets}))
    }
}

/// The answer to the only thing that was asked.
fn only<T>(answers: Vec<T>) -> Result<T> {
    answers.into_iter().next().context("nothing was answered")
}
