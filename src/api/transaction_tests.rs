//! What the APIs say of transactions, in every version.

use kafka_protocol::messages::delete_records_request as delete;
use kafka_protocol::messages::describe_producers_request as describe;
use kafka_protocol::messages::describe_producers_response::ProducerState;
use kafka_protocol::messages::fetch_request as asked;
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::produce_request as produced;
use kafka_protocol::messages::{
    CreateTopicsRequest, DeleteRecordsRequest, DescribeProducersRequest, FetchRequest,
    FetchResponse, ProduceRequest, ProduceResponse, TopicName, TransactionalId,
};
use kafka_protocol::protocol::{Decodable, StrBytes};

use super::testing::{check_encodes, context, node};
use super::*;
use crate::config::BrokerConfig;
use crate::error::ErrorCode;
use crate::log::AppendOrigin;
use crate::log::storage::read_exact_at;
use crate::log::test_log::{batch, flush};
use crate::log::test_txn::{txn_batch, txn_marker};
use crate::protocol::messages::ListOffsetsRequest;
use crate::protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use crate::runtime::Node;
use crate::runtime::partition::Partition;
use crate::types::{LeaderEpoch, NodeId, PartitionId, TimestampMs, TopicId};

fn name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

async fn topic(node: &Arc<Node>, topic: &str, durable: bool) -> Arc<Partition> {
    use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
    let value = StrBytes::from_static_str(if durable { "true" } else { "false" });
    let created = CreatableTopic::default()
        .with_name(name(topic))
        .with_num_partitions(1)
        .with_replication_factor(1)
        .with_configs(vec![
            CreatableTopicConfig::default()
                .with_name(StrBytes::from_static_str("durable.acks"))
                .with_value(Some(value)),
        ]);
    let request = CreateTopicsRequest::default()
        .with_topics(vec![created])
        .with_timeout_ms(30_000);
    let response = create_topics::handle(context(node, 7), request).await;
    assert_eq!(response.topics[0].error_code, 0, "{response:?}");
    node.partition_by_name(topic, PartitionId(0)).unwrap()
}

fn append(partition: &Arc<Partition>, records: &[u8]) {
    partition
        .append(records, AppendOrigin::Coordinator, false, TimestampMs(0))
        .unwrap();
}

/// 0 plain, 1 and 2 in an aborted transaction (3), 4 in one that is open, 5 plain.
async fn with_transactions(node: &Arc<Node>) -> Arc<Partition> {
    let partition = topic(node, "t", false).await;
    append(&partition, &batch(10, 1, 1));
    append(&partition, &txn_batch(7, 0, 20));
    append(&partition, &txn_batch(7, 1, 30));
    append(&partition, &txn_marker(7, false, 40));
    append(&partition, &txn_batch(8, 5, 50));
    append(&partition, &batch(60, 1, 1));
    partition
}

/// What a fetch of one partition is answered, and the bytes of its records.
async fn fetched(node: &Arc<Node>, version: i16, isolation: i8, offset: i64) -> PartitionData {
    fetched_of(node, version, isolation, (0, offset)).await
}

async fn fetched_of(
    node: &Arc<Node>,
    version: i16,
    isolation: i8,
    (partition, offset): (i32, i64),
) -> PartitionData {
    let mut topic = asked::FetchTopic::default().with_partitions(vec![
        asked::FetchPartition::default()
            .with_partition(partition)
            .with_fetch_offset(offset)
            .with_partition_max_bytes(1 << 20),
    ]);
    if version >= 13 {
        let id: TopicId = node.metadata().topic("t").unwrap().id;
        topic.topic_id = uuid::Uuid::from_u128(id.0.as_u128());
    } else {
        topic.topic = name("t");
    }
    let request = FetchRequest::default()
        .with_max_wait_ms(0)
        .with_min_bytes(1)
        .with_max_bytes(1 << 20)
        .with_isolation_level(isolation)
        .with_session_epoch(-1)
        .with_topics(vec![topic]);
    let mut body = BytesMut::new();
    request.encode(&mut body, version).unwrap();
    let response = fetch::handle(context(node, version), body.freeze()).await;
    let mut bytes = Vec::new();
    for part in response.unwrap().unwrap().parts {
        match part {
            ResponsePart::Bytes(part) => bytes.extend_from_slice(&part),
            ResponsePart::File(range) => {
                let from = bytes.len();
                bytes.resize(from + range.len, 0);
                read_exact_at(&*range.file, &mut bytes[from..], range.position).unwrap();
            }
        }
    }
    // Length, correlation id and, where the header is flexible, no tagged fields.
    let header = if version >= 12 { 9 } else { 8 };
    let mut body = Bytes::from(bytes).slice(header..);
    let mut response = FetchResponse::decode(&mut body, version).unwrap();
    assert!(body.is_empty());
    response.responses.remove(0).partitions.remove(0)
}

#[tokio::test]
async fn a_fetch_tells_of_aborted_transactions_who_asks_for_what_is_committed() {
    let node = node(BrokerConfig::default()).await;
    with_transactions(&node).await;
    for version in 4..=18 {
        let all = fetched(&node, version, 0, 0).await;
        assert_eq!(all.aborted_transactions, None, "{version}");
        assert_eq!((all.high_watermark, all.last_stable_offset), (6, 4));
        let committed = fetched(&node, version, 1, 0).await;
        let told = committed.aborted_transactions.unwrap();
        assert_eq!(told.len(), 1);
        assert_eq!((told[0].producer_id.0, told[0].first_offset), (7, 1));
        assert_eq!(
            (committed.high_watermark, committed.last_stable_offset),
            (6, 4)
        );
        let (all, committed) = (all.records.unwrap(), committed.records.unwrap());
        assert!(all.starts_with(&committed) && all.len() > committed.len());
        let nothing = fetched(&node, version, 1, 4).await;
        assert_eq!(nothing.aborted_transactions, Some(vec![]));
        assert!(nothing.records.unwrap_or_default().is_empty());
    }
}

/// As Kafka: null where the partition refuses, empty where it was not asked.
#[tokio::test]
async fn a_partition_that_is_not_read_tells_of_no_transactions_in_two_ways() {
    let node = node(BrokerConfig::default()).await;
    with_transactions(&node).await;
    for version in 4..=18 {
        for isolation in [0, 1] {
            let beyond = fetched(&node, version, isolation, 99).await;
            let code = ErrorCode::OffsetOutOfRange.code();
            assert_eq!(
                (beyond.error_code, beyond.aborted_transactions),
                (code, None)
            );
            let unknown = fetched_of(&node, version, isolation, (7, 0)).await;
            let code = ErrorCode::UnknownTopicOrPartition.code();
            assert_eq!(unknown.error_code, code);
            assert_eq!(unknown.aborted_transactions, Some(vec![]), "{version}");
        }
    }
}

#[tokio::test]
async fn a_late_transaction_is_seen_where_it_is_led() {
    let node = node(BrokerConfig::default()).await;
    let partition = with_transactions(&node).await;
    // The open one wrote at 50.
    let late = |now| partition.has_late_transaction(TimestampMs(now), 1000);
    assert!(!late(50 + 1000 + 300_000));
    assert!(late(50 + 1000 + 300_001));
    partition.become_led(NodeId(9), LeaderEpoch(5), NodeId(1));
    assert!(!late(i64::MAX));
}

async fn offset(
    node: &Arc<Node>,
    version: i16,
    (replica, isolation): (i32, i8),
    timestamp: i64,
) -> Result<(i64, i64), ErrorCode> {
    let request = ListOffsetsRequest {
        replica_id: replica.into(),
        isolation_level: isolation,
        topics: vec![ListOffsetsTopic {
            name: name("t"),
            partitions: vec![ListOffsetsPartition {
                current_leader_epoch: -1,
                timestamp,
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let response = list_offsets::handle(context(node, version), request).await;
    check_encodes(&response, version);
    let found = &response.topics[0].partitions[0];
    match ErrorCode::from_code(found.error_code).unwrap() {
        ErrorCode::None => Ok((found.timestamp, found.offset)),
        code => Err(code),
    }
}

#[tokio::test]
async fn offsets_are_listed_as_far_as_the_asker_may_read() {
    const ALL: (i32, i8) = (-1, 0);
    const COMMITTED: (i32, i8) = (-1, 1);
    const REPLICA: (i32, i8) = (2, 1);
    let node = node(BrokerConfig::default()).await;
    let partition = with_transactions(&node).await;
    let table = [
        // Asker, timestamp, what is found: its timestamp and offset.
        (ALL, -1, (-1, 6)),
        (COMMITTED, -1, (-1, 4)),
        (REPLICA, -1, (-1, 6)),
        (ALL, -2, (-1, 0)),
        (COMMITTED, -2, (-1, 0)),
        (ALL, -3, (60, 5)),
        (COMMITTED, -3, (-1, -1)),
        (REPLICA, -3, (60, 5)),
        (COMMITTED, -4, (-1, 0)),
        (COMMITTED, -5, (-1, -1)),
        (COMMITTED, -6, (-1, -1)),
        (ALL, 45, (50, 4)),
        (COMMITTED, 45, (-1, -1)),
        (COMMITTED, 25, (30, 2)),
        (REPLICA, 55, (60, 5)),
    ];
    for (asker, timestamp, wanted) in table {
        let found = offset(&node, 11, asker, timestamp).await;
        assert_eq!(found, Ok(wanted), "{asker:?} {timestamp}");
    }
    assert_eq!(
        offset(&node, 11, COMMITTED, -7).await,
        Err(ErrorCode::UnsupportedVersion)
    );
    append(&partition, &txn_marker(8, true, 70));
    assert_eq!(offset(&node, 2, COMMITTED, -1).await, Ok((-1, 7)));
}

#[tokio::test]
async fn a_new_leader_does_not_list_what_it_cannot_know_yet() {
    let node = node(BrokerConfig::default()).await;
    let partition = topic(&node, "t", true).await;
    append(&partition, &batch(10, 1, 1));
    assert_eq!(offset(&node, 11, (-1, 0), -1).await, Ok((-1, 0)));
    partition.become_led(NodeId(1), LeaderEpoch(1), NodeId(1));
    for (version, code) in [
        (4, ErrorCode::LeaderNotAvailable),
        (5, ErrorCode::OffsetNotAvailable),
        (11, ErrorCode::OffsetNotAvailable),
    ] {
        for timestamp in [-1, 0] {
            assert_eq!(offset(&node, version, (-1, 1), timestamp).await, Err(code));
        }
        assert_eq!(offset(&node, version, (-1, 1), -2).await, Ok((-1, 0)));
        assert_eq!(offset(&node, version, (2, 0), -1).await, Ok((-1, 1)));
    }
    partition.with_log(flush);
    partition.configure(partition.config());
    assert_eq!(offset(&node, 11, (-1, 0), -1).await, Ok((-1, 1)));
}

async fn described(node: &Arc<Node>, topic: &str, partition: i32) -> (i16, Vec<ProducerState>) {
    let request = DescribeProducersRequest::default().with_topics(vec![
        describe::TopicRequest::default()
            .with_name(name(topic))
            .with_partition_indexes(vec![partition]),
    ]);
    let response = describe_producers::handle(context(node, 0), request).await;
    check_encodes(&response, 0);
    let mut partitions = response.topics[0].partitions.clone();
    let partition = partitions.remove(0);
    (partition.error_code, partition.active_producers)
}

#[tokio::test]
async fn producers_are_described_with_their_open_transactions() {
    let node = node(BrokerConfig::default()).await;
    with_transactions(&node).await;
    let (code, producers) = described(&node, "t", 0).await;
    assert_eq!(code, 0);
    let of = |id: i64, sequence, timestamp, coordinator_epoch, open| {
        ProducerState::default()
            .with_producer_id(id.into())
            .with_producer_epoch(0)
            .with_last_sequence(sequence)
            .with_last_timestamp(timestamp)
            .with_coordinator_epoch(coordinator_epoch)
            .with_current_txn_start_offset(open)
    };
    assert_eq!(producers, [of(7, 1, 40, 0, -1), of(8, 5, 50, -1, 4)]);
    for (topic, partition, wanted) in [
        ("t", 1, ErrorCode::UnknownTopicOrPartition),
        ("u", 0, ErrorCode::UnknownTopicOrPartition),
        ("?", 0, ErrorCode::InvalidTopicException),
    ] {
        let (code, producers) = described(&node, topic, partition).await;
        assert_eq!((code, producers), (wanted.code(), vec![]), "{topic}");
    }
}

#[tokio::test]
async fn records_are_deleted_up_to_the_high_watermark_whatever_is_open() {
    let node = node(BrokerConfig::default()).await;
    with_transactions(&node).await;
    for (before, wanted) in [
        (5, Ok(5)),
        (7, Err(ErrorCode::OffsetOutOfRange)),
        (-2, Err(ErrorCode::OffsetOutOfRange)),
        (-1, Ok(6)),
    ] {
        let request = DeleteRecordsRequest::default().with_topics(vec![
            delete::DeleteRecordsTopic::default()
                .with_name(name("t"))
                .with_partitions(vec![
                    delete::DeleteRecordsPartition::default()
                        .with_partition_index(0)
                        .with_offset(before),
                ]),
        ]);
        let response = delete_records::handle(context(&node, 2), request).await;
        let partition = &response.topics[0].partitions[0];
        let found = match ErrorCode::from_code(partition.error_code).unwrap() {
            ErrorCode::None => Ok(partition.low_watermark),
            code => Err(code),
        };
        assert_eq!(found, wanted, "{before}");
    }
    // What is left of the open transaction begins where the log begins.
    assert_eq!(offset(&node, 11, (-1, 1), -1).await, Ok((-1, 6)));
    let (_, producers) = described(&node, "t", 0).await;
    assert_eq!(producers[1].current_txn_start_offset, 4);
}

#[tokio::test]
async fn a_transaction_that_no_coordinator_knows_is_not_begun() {
    let node = node(BrokerConfig::default()).await;
    let partition = topic(&node, "t", false).await;
    for (id, code) in [
        (None, ErrorCode::TransactionalIdAuthorizationFailed),
        (Some("tx"), ErrorCode::InvalidProducerIdMapping),
    ] {
        let request = ProduceRequest::default()
            .with_acks(1)
            .with_timeout_ms(1000)
            .with_transactional_id(id.map(|id| TransactionalId(StrBytes::from_static_str(id))))
            .with_topic_data(vec![
                produced::TopicProduceData::default()
                    .with_name(name("t"))
                    .with_partition_data(vec![
                        produced::PartitionProduceData::default()
                            .with_records(Some(txn_batch(7, 0, 10).into())),
                    ]),
            ]);
        let mut body = BytesMut::new();
        request.encode(&mut body, 9).unwrap();
        let response = produce::handle(context(&node, 9), body.freeze()).await;
        let parts = response.unwrap().unwrap().parts;
        let ResponsePart::Bytes(bytes) = &parts[0] else {
            panic!("not bytes");
        };
        let response = ProduceResponse::decode(&mut bytes.slice(9..), 9).unwrap();
        let answer = &response.responses[0].partition_responses[0];
        assert_eq!(ErrorCode::from_code(answer.error_code), Some(code));
    }
    assert_eq!(partition.offsets().log_end.0, 0);
}
