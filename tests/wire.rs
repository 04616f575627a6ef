//! A whole node, spoken to in bytes: the order of replies, what a connection survives, what ends it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use dohle::broker::{self, Broker};
use dohle::config::{BrokerConfig, Origin};
use dohle::logging::LogLevels;
use dohle::protocol::compression::Compression;
use dohle::protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, FetchRequest, FetchResponse, MetadataRequest,
    MetadataResponse, ProduceRequest, ProduceResponse, StrBytes, TopicName, fetch_request,
    metadata_request, produce_request,
};
use dohle::protocol::record_batch::BatchBuilder;
use dohle::types::{Offset, TimestampMs};
use kafka_protocol::messages::{
    DescribeConfigsRequest, DescribeConfigsResponse, FindCoordinatorRequest,
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse, OffsetCommitRequest,
    OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse, describe_configs_request,
    incremental_alter_configs_request, offset_commit_request, offset_fetch_request,
};
use kafka_protocol::protocol::{Decodable, Encodable};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longer than anything here takes; a test that waits so long has failed.
const DEADLINE: Duration = Duration::from_secs(20);

struct TestNode {
    broker: Broker,
    address: String,
    _dir: tempfile::TempDir,
}

async fn start(options: &[(&str, &str)]) -> TestNode {
    let dir = tempfile::tempdir().unwrap();
    let mut config = BrokerConfig::default();
    let data = dir.path().join("data").display().to_string();
    let mut set = |name: &str, value: &str| {
        config.set_static(name, value, Origin::CommandLine).unwrap();
    };
    set("log.dirs", &data);
    set("listeners", "PLAINTEXT://127.0.0.1:0");
    set("http.listen", "");
    for (name, value) in options {
        set(name, value);
    }
    let levels = Arc::new(LogLevels::detached("error").unwrap());
    let broker = broker::start(config, levels).await.unwrap();
    let address = broker.listeners[0].address.to_string();
    TestNode {
        broker,
        address,
        _dir: dir,
    }
}

impl TestNode {
    async fn connect(&self) -> Client {
        Client(TcpStream::connect(&self.address).await.unwrap())
    }
}

struct Client(TcpStream);

/// A request frame, its length in front.
fn frame<R: Encodable>(key: i16, version: i16, correlation_id: i32, request: &R) -> BytesMut {
    let mut body = BytesMut::new();
    request.encode(&mut body, version).unwrap();
    let flexible = match key {
        0 => version >= 9,
        1 => version >= 12,
        3 => version >= 9,
        8 => version >= 8,
        9 => version >= 6,
        10 => version >= 3,
        18 => version >= 3,
        32 => version >= 4,
        44 => version >= 1,
        _ => unreachable!(),
    };
    let mut frame = BytesMut::new();
    let head = 8 + 2 + usize::from(flexible);
    frame.extend(((head + body.len()) as i32).to_be_bytes());
    frame.extend(key.to_be_bytes());
    frame.extend(version.to_be_bytes());
    frame.extend(correlation_id.to_be_bytes());
    frame.extend((-1i16).to_be_bytes());
    if flexible {
        frame.extend([0]);
    }
    frame.extend(body);
    frame
}

impl Client {
    async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    /// The next reply: its correlation id and what follows it.
    async fn reply(&mut self) -> (i32, Bytes) {
        let read = async {
            let len = self.0.read_i32().await.unwrap();
            let mut bytes = BytesMut::zeroed(len as usize);
            self.0.read_exact(&mut bytes).await.unwrap();
            bytes.freeze()
        };
        let mut bytes = tokio::time::timeout(DEADLINE, read)
            .await
            .expect("no reply");
        let head = bytes.split_to(4);
        (i32::from_be_bytes(head[..].try_into().unwrap()), bytes)
    }

    /// Whether the broker ends the connection, having said nothing more.
    async fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        let end = tokio::time::timeout(DEADLINE, self.0.read_to_end(&mut rest));
        // A reset is a close, too: the client's bytes were not all read.
        end.await
            .expect("still open")
            .map_or(true, |_| rest.is_empty())
    }
}

fn produce(topic: &str, acks: i16, values: &[&str]) -> ProduceRequest {
    let mut batch = BatchBuilder::new(Offset::ZERO, Compression::None);
    for value in values {
        batch.append(TimestampMs(1), None, Some(value.as_bytes()), &[]);
    }
    ProduceRequest::default()
        .with_acks(acks)
        .with_timeout_ms(10_000)
        .with_topic_data(vec![
            produce_request::TopicProduceData::default()
                .with_name(name(topic))
                .with_partition_data(vec![
                    produce_request::PartitionProduceData::default()
                        .with_index(0)
                        .with_records(Some(batch.build().into())),
                ]),
        ])
}

fn fetch(topic: &str, offset: i64, max_wait_ms: i32) -> FetchRequest {
    FetchRequest::default()
        .with_replica_id((-1).into())
        .with_max_wait_ms(max_wait_ms)
        .with_min_bytes(1)
        .with_max_bytes(1 << 20)
        .with_session_epoch(-1)
        .with_topics(vec![
            fetch_request::FetchTopic::default()
                .with_topic(name(topic))
                .with_partitions(vec![
                    fetch_request::FetchPartition::default()
                        .with_partition(0)
                        .with_fetch_offset(offset)
                        .with_partition_max_bytes(1 << 20),
                ]),
        ])
}

fn metadata(topic: &str) -> MetadataRequest {
    MetadataRequest::default()
        .with_allow_auto_topic_creation(true)
        .with_topics(Some(vec![
            metadata_request::MetadataRequestTopic::default().with_name(Some(name(topic))),
        ]))
}

fn name(topic: &str) -> TopicName {
    TopicName(StrBytes::from_string(topic.to_owned()))
}

async fn create(node: &TestNode, topic: &str) {
    let mut client = node.connect().await;
    client.send(&frame(3, 4, 1, &metadata(topic))).await;
    let (_, mut body) = client.reply().await;
    let response = MetadataResponse::decode(&mut body, 4).unwrap();
    assert_eq!(response.topics[0].error_code, 0);
    assert_eq!(response.topics[0].partitions.len(), 1);
}

fn produced(mut body: Bytes) -> (i16, i64) {
    let response = ProduceResponse::decode(&mut body, 8).unwrap();
    let partition = &response.responses[0].partition_responses[0];
    (partition.error_code, partition.base_offset)
}

fn fetched(mut body: Bytes) -> (i16, Bytes) {
    let response = FetchResponse::decode(&mut body, 11).unwrap();
    let partition = &response.responses[0].partitions[0];
    (partition.error_code, partition.records.clone().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replies_come_in_the_order_of_their_requests() {
    let node = start(&[]).await;
    create(&node, "t").await;
    let mut client = node.connect().await;
    let mut pipeline = BytesMut::new();
    for n in 0..20 {
        // Durable appends wait for the disk; what is asked behind them does not.
        pipeline.extend(frame(0, 8, 2 * n, &produce("t", -1, &["a", "b"])));
        pipeline.extend(frame(18, 0, 2 * n + 1, &ApiVersionsRequest::default()));
    }
    client.send(&pipeline).await;
    for n in 0..20 {
        let (id, body) = client.reply().await;
        assert_eq!((id, produced(body)), (2 * n, (0, 2 * i64::from(n))));
        assert_eq!(client.reply().await.0, 2 * n + 1);
    }
    node.broker.stop().await;
}

/// The topic `t` with another retention time.
fn alter(retention_ms: i32) -> IncrementalAlterConfigsRequest {
    let config = incremental_alter_configs_request::AlterableConfig::default()
        .with_name(StrBytes::from_static_str("retention.ms"))
        .with_value(Some(StrBytes::from_string(retention_ms.to_string())));
    IncrementalAlterConfigsRequest::default().with_resources(vec![
        incremental_alter_configs_request::AlterConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name(StrBytes::from_static_str("t"))
            .with_configs(vec![config]),
    ])
}

fn describe() -> DescribeConfigsRequest {
    DescribeConfigsRequest::default().with_resources(vec![
        describe_configs_request::DescribeConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name(StrBytes::from_static_str("t"))
            .with_configuration_keys(Some(vec![StrBytes::from_static_str("retention.ms")])),
    ])
}

/// The retention time.
fn described(mut body: Bytes) -> String {
    let response = DescribeConfigsResponse::decode(&mut body, 1).unwrap();
    let value = &response.results[0].configs[0].value;
    value.as_ref().unwrap().to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_that_overlap_are_made_in_order_and_seen_by_what_is_asked_behind_them() {
    let node = start(&[]).await;
    create(&node, "t").await;
    let mut client = node.connect().await;
    let mut pipeline = BytesMut::new();
    // More than may overlap at once.
    for n in 0..400 {
        pipeline.extend(match n % 100 {
            99 => frame(32, 1, n, &describe()),
            _ => frame(44, 0, n, &alter(1000 + n)),
        });
    }
    client.send(&pipeline).await;
    for n in 0..400 {
        let (id, mut body) = client.reply().await;
        assert_eq!(id, n);
        if n % 100 == 99 {
            assert_eq!(described(body), (1000 + n - 1).to_string());
        } else {
            let response = IncrementalAlterConfigsResponse::decode(&mut body, 0).unwrap();
            assert_eq!(response.responses[0].error_code, 0);
        }
    }
    node.broker.stop().await;
}

/// The group `g` has read the first partition of `t` so far.
fn commit(offset: i64) -> OffsetCommitRequest {
    let partition = offset_commit_request::OffsetCommitRequestPartition::default()
        .with_committed_offset(offset)
        .with_committed_metadata(None);
    OffsetCommitRequest::default()
        .with_group_id(StrBytes::from_static_str("g").into())
        .with_generation_id_or_member_epoch(-1)
        .with_retention_time_ms(-1)
        .with_topics(vec![
            offset_commit_request::OffsetCommitRequestTopic::default()
                .with_name(name("t"))
                .with_partitions(vec![partition]),
        ])
}

fn committed(mut body: Bytes) -> i16 {
    let response = OffsetCommitResponse::decode(&mut body, 2).unwrap();
    response.topics[0].partitions[0].error_code
}

/// Until the group's coordinator has loaded what there is.
async fn coordinate(client: &mut Client) {
    let find = FindCoordinatorRequest::default().with_key(StrBytes::from_static_str("g"));
    let serves = async {
        loop {
            client.send(&frame(10, 0, 1, &find)).await;
            client.reply().await;
            client.send(&frame(8, 2, 2, &commit(0))).await;
            if committed(client.reply().await.1) == 0 {
                return;
            }
        }
    };
    tokio::time::timeout(DEADLINE, serves)
        .await
        .expect("no coordinator");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_of_offsets_that_overlap_are_made_in_order() {
    let node = start(&[("offsets.topic.replication.factor", "1")]).await;
    create(&node, "t").await;
    let mut client = node.connect().await;
    coordinate(&mut client).await;
    let topic = offset_fetch_request::OffsetFetchRequestTopic::default()
        .with_name(name("t"))
        .with_partition_indexes(vec![0]);
    let fetch = OffsetFetchRequest::default()
        .with_group_id(StrBytes::from_static_str("g").into())
        .with_topics(Some(vec![topic]));
    let mut pipeline = BytesMut::new();
    for n in 0..100 {
        pipeline.extend(frame(8, 2, n, &commit(i64::from(n) + 1)));
    }
    pipeline.extend(frame(9, 1, 100, &fetch));
    client.send(&pipeline).await;
    for n in 0..100 {
        let (id, body) = client.reply().await;
        assert_eq!((id, committed(body)), (n, 0));
    }
    let (id, mut body) = client.reply().await;
    let response = OffsetFetchResponse::decode(&mut body, 1).unwrap();
    let offset = response.topics[0].partitions[0].committed_offset;
    assert_eq!((id, offset), (100, 100));
    node.broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiting_fetch_is_woken_by_an_append_and_holds_up_its_own_connection_only() {
    let node = start(&[]).await;
    create(&node, "t").await;
    let mut reader = node.connect().await;
    let mut both = frame(1, 11, 1, &fetch("t", 0, 60_000));
    both.extend(frame(18, 0, 2, &ApiVersionsRequest::default()));
    reader.send(&both).await;
    let mut writer = node.connect().await;
    writer.send(&frame(0, 8, 7, &produce("t", 1, &["x"]))).await;
    assert_eq!(produced(writer.reply().await.1), (0, 0));
    let (id, body) = reader.reply().await;
    let (code, records) = fetched(body);
    assert_eq!((id, code), (1, 0));
    assert!(!records.is_empty());
    assert_eq!(reader.reply().await.0, 2);
    node.broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_written_comes_back_to_the_byte_across_a_restart() {
    let node = start(&[]).await;
    create(&node, "t").await;
    let mut client = node.connect().await;
    client
        .send(&frame(0, 8, 1, &produce("t", -1, &["one", "two"])))
        .await;
    assert_eq!(produced(client.reply().await.1), (0, 0));
    client.send(&frame(1, 11, 2, &fetch("t", 0, 0))).await;
    let before = fetched(client.reply().await.1).1;
    assert!(!before.is_empty());
    let metrics = node.broker.node.metrics.render();
    for line in [
        "dohle_topic_messages_in_total{topic=\"t\"} 2",
        "dohle_topic_messages_out_total{topic=\"t\"} 2",
        "dohle_high_watermark{topic=\"t\",partition=\"0\"} 2",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
    let TestNode { broker, _dir, .. } = node;
    broker.stop().await;

    let mut config = BrokerConfig::default();
    let data = _dir.path().join("data").display().to_string();
    for (option, value) in [
        ("log.dirs", data.as_str()),
        ("listeners", "PLAINTEXT://127.0.0.1:0"),
        ("http.listen", ""),
    ] {
        config
            .set_static(option, value, Origin::CommandLine)
            .unwrap();
    }
    let levels = Arc::new(LogLevels::detached("error").unwrap());
    let broker = broker::start(config, levels).await.unwrap();
    let address = broker.listeners[0].address;
    let mut client = Client(TcpStream::connect(address).await.unwrap());
    client.send(&frame(1, 11, 2, &fetch("t", 0, 0))).await;
    assert_eq!(fetched(client.reply().await.1).1, before);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn produces_without_a_reply_are_carried_out_after_the_client_has_left() {
    let node = start(&[]).await;
    create(&node, "t").await;
    let mut client = node.connect().await;
    let mut pipeline = BytesMut::new();
    for n in 0..50 {
        pipeline.extend(frame(0, 8, n, &produce("t", 0, &["x"])));
    }
    client.send(&pipeline).await;
    drop(client);
    let mut reader = node.connect().await;
    let mut records = 0;
    while records < 50 {
        reader
            .send(&frame(1, 11, 1, &fetch("t", records, 60_000)))
            .await;
        let (code, bytes) = fetched(reader.reply().await.1);
        assert_eq!(code, 0);
        records += dohle::protocol::record_batch::Batches::new(&bytes).count() as i64;
    }
    assert_eq!(records, 50);
    node.broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_produce_without_a_reply_ends_the_connection_after_the_replies_before_it() {
    let node = start(&[("auto.create.topics.enable", "false")]).await;
    let mut client = node.connect().await;
    let mut pipeline = frame(18, 0, 1, &ApiVersionsRequest::default());
    pipeline.extend(frame(0, 8, 2, &produce("nowhere", 0, &["x"])));
    client.send(&pipeline).await;
    assert_eq!(client.reply().await.0, 1);
    assert!(client.is_closed().await);
    node.broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_from_the_future_is_answered_in_the_oldest_form() {
    let node = start(&[]).await;
    let mut client = node.connect().await;
    let future = [
        0, 0, 0, 14, 0, 18, 0, 99, 0, 0, 0, 5, 0xff, 0xff, 0, 9, 9, 9,
    ];
    client.send(&future).await;
    let (id, mut body) = client.reply().await;
    let response = ApiVersionsResponse::decode(&mut body, 0).unwrap();
    assert_eq!((id, response.error_code), (5, 35));
    assert_eq!(response.api_keys[0].api_key, 18);
    // The connection goes on.
    client.send(&frame(18, 4, 6, &software())).await;
    let (id, mut body) = client.reply().await;
    let response = ApiVersionsResponse::decode(&mut body, 4).unwrap();
    assert_eq!((id, response.error_code), (6, 0));
    assert!(response.api_keys.len() > 25);
    node.broker.stop().await;
}

fn software() -> ApiVersionsRequest {
    ApiVersionsRequest {
        client_software_name: StrBytes::from_static_str("wire"),
        client_software_version: StrBytes::from_static_str("1"),
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_are_no_requests_end_their_connection_and_nothing_else() {
    let node = start(&[("socket.request.max.bytes", "1000000")]).await;
    create(&node, "t").await;
    let mut whole = frame(3, 4, 1, &metadata("t")).to_vec();
    // A count of two thousand million topics.
    whole[14..18].copy_from_slice(&i32::MAX.to_be_bytes());
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("a negative length", (-1i32).to_be_bytes().to_vec()),
        (
            "a length beyond the limit",
            1_000_001i32.to_be_bytes().to_vec(),
        ),
        ("TLS", vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]),
        ("HTTP", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        ("an empty frame", vec![0, 0, 0, 0]),
        ("a short header", vec![0, 0, 0, 3, 0, 3, 0]),
        (
            "an unknown API",
            vec![0, 0, 0, 10, 0x7f, 0, 0, 0, 0, 0, 0, 1, 0xff, 0xff],
        ),
        (
            "a version not served",
            vec![0, 0, 0, 11, 0, 3, 0, 99, 0, 0, 0, 1, 0xff, 0xff, 0],
        ),
        (
            "a body that ends early",
            vec![0, 0, 0, 10, 0, 3, 0, 4, 0, 0, 0, 1, 0xff, 0xff],
        ),
        ("an absurd count", whole),
        (
            "acks=0 to no topic",
            frame(0, 8, 1, &produce("nowhere", 0, &["x"])).to_vec(),
        ),
    ];
    let mut bystander = node.connect().await;
    for (what, bytes) in cases {
        let mut client = node.connect().await;
        client.send(&bytes).await;
        assert!(client.is_closed().await, "{what}");
        bystander
            .send(&frame(18, 0, 9, &ApiVersionsRequest::default()))
            .await;
        assert_eq!(bystander.reply().await.0, 9, "{what}");
    }
    let metrics = node.broker.node.metrics.render();
    for line in [
        "dohle_connections_closed_total{reason=\"frame\"} 4",
        "dohle_connections_closed_total{reason=\"header\"} 3",
        "dohle_connections_closed_total{reason=\"request\"} 4",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
    node.broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_in_pieces_is_one_request() {
    let node = start(&[]).await;
    let mut client = node.connect().await;
    client.0.set_nodelay(true).unwrap();
    for byte in frame(18, 0, 3, &ApiVersionsRequest::default()) {
        client.send(&[byte]).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(client.reply().await.0, 3);
    node.broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_beyond_the_limit_are_refused_and_the_place_is_given_back() {
    let node = start(&[("max.connections.per.ip", "1")]).await;
    let mut first = node.connect().await;
    first
        .send(&frame(18, 0, 1, &ApiVersionsRequest::default()))
        .await;
    first.reply().await;
    assert!(node.connect().await.is_closed().await);
    drop(first);
    // The first one's end is noticed by its own task: the next try may still come too early.
    let served = async {
        loop {
            let mut next = node.connect().await;
            let ask = frame(18, 0, 2, &ApiVersionsRequest::default());
            if next.0.write_all(&ask).await.is_ok() && next.0.read_i32().await.is_ok() {
                return;
            }
        }
    };
    tokio::time::timeout(DEADLINE, served)
        .await
        .expect("no place was given back");
    node.broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_answers_what_is_due_first() {
    let node = start(&[]).await;
    create(&node, "t").await;
    let mut client = node.connect().await;
    client
        .send(&frame(0, 8, 1, &produce("t", -1, &["x"])))
        .await;
    client.send(&frame(1, 11, 2, &fetch("t", 1, 300))).await;
    assert_eq!(client.reply().await.0, 1);
    let stopped = tokio::spawn(node.broker.stop());
    assert_eq!(client.reply().await.0, 2);
    assert!(client.is_closed().await);
    tokio::time::timeout(DEADLINE, stopped)
        .await
        .expect("it does not stop")
        .unwrap();
}
