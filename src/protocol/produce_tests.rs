use super::*;
use crate::protocol::schema::sample::{self, Choices};
use crate::types::{LeaderEpoch, NodeId};
use kafka_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint as TheirEndpoint,
    PartitionProduceResponse, TopicProduceResponse,
};
use kafka_protocol::messages::{self as theirs, TopicName};
use kafka_protocol::protocol::Decodable;
use proptest::prelude::*;
use uuid::Uuid;

fn as_theirs(request: &ProduceRequest) -> theirs::ProduceRequest {
    use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            PartitionProduceData::default()
                .with_index(partition.index.0)
                .with_records(partition.records.clone())
        });
        TopicProduceData::default()
            .with_name(TopicName(topic.name.clone()))
            .with_topic_id(topic.topic_id.0)
            .with_partition_data(partitions.collect())
    });
    theirs::ProduceRequest::default()
        .with_transactional_id(request.transactional_id.clone().map(Into::into))
        .with_acks(request.acks)
        .with_timeout_ms(request.timeout_ms)
        .with_topic_data(topics.collect())
}

#[test]
fn records_are_slices_of_the_frame() {
    let request = ProduceRequest {
        transactional_id: None,
        acks: -1,
        timeout_ms: 1500,
        topics: vec![ProduceTopic {
            name: StrBytes::from_static_str("t"),
            topic_id: TopicId::ZERO,
            partitions: vec![ProducePartition {
                index: PartitionId(3),
                records: Some(Bytes::from_static(b"records")),
            }],
        }],
    };
    let mut body = bytes::BytesMut::new();
    as_theirs(&request).encode(&mut body, 9).unwrap();
    let body = body.freeze();
    let parsed = ProduceRequest::parse(body.clone(), 9).unwrap();
    assert_eq!(parsed, request);
    let records = parsed.topics[0].partitions[0].records.as_ref().unwrap();
    assert!(body.as_ptr_range().contains(&records.as_ptr()));
}

#[test]
fn what_is_wrong_is_said_with_the_field() {
    let error = ProduceRequest::parse(Bytes::from_static(b"\xff\xff\0"), 8).unwrap_err();
    assert_eq!(
        error.to_string(),
        "ProduceRequest.acks at byte 2: the body ends early"
    );
    let error = ProduceRequest::parse(Bytes::new(), 2).unwrap_err();
    assert_eq!(
        error.to_string(),
        "ProduceRequest. at byte 0: version 2 is unknown"
    );
}

fn any_response() -> impl Strategy<Value = ProduceResponse> {
    let text =
        || proptest::option::of("[a-z]{0,5}").prop_map(|text| text.map(StrBytes::from_string));
    let error = (any::<i32>(), text()).prop_map(|(batch_index, message)| RecordError {
        batch_index,
        message,
    });
    let leader = (0i32..9, 0i32..9).prop_map(|(id, epoch)| CurrentLeader {
        leader_id: NodeId(id),
        leader_epoch: LeaderEpoch(epoch),
    });
    let partition = (
        any::<i32>(),
        0..ErrorCode::ALL.len(),
        any::<[i64; 3]>(),
        proptest::collection::vec(error, 0..3),
        text(),
        proptest::option::of(leader),
    )
        .prop_map(
            |(
                index,
                error,
                [base, append, start],
                record_errors,
                error_message,
                current_leader,
            )| {
                ProducePartitionResponse {
                    index: PartitionId(index),
                    error: ErrorCode::ALL[error],
                    base_offset: Offset(base),
                    log_append_time_ms: TimestampMs(append),
                    log_start_offset: Offset(start),
                    record_errors,
                    error_message,
                    current_leader,
                }
            },
        );
    let topic = (
        "[a-z]{1,5}",
        any::<u128>(),
        proptest::collection::vec(partition, 0..3),
    )
        .prop_map(|(name, id, partitions)| ProduceTopicResponse {
            name: StrBytes::from_string(name),
            topic_id: TopicId(Uuid::from_u128(id)),
            partitions,
        });
    let endpoint =
        (any::<i32>(), "[a-z]{0,5}", any::<i32>(), text()).prop_map(|(id, host, port, rack)| {
            NodeEndpoint {
                node_id: NodeId(id),
                host: StrBytes::from_string(host),
                port,
                rack,
            }
        });
    (
        proptest::collection::vec(topic, 0..3),
        any::<i32>(),
        proptest::collection::vec(endpoint, 0..3),
    )
        .prop_map(
            |(topics, throttle_time_ms, node_endpoints)| ProduceResponse {
                topics,
                throttle_time_ms,
                node_endpoints,
            },
        )
}

/// What a client that reads `version` gets to see.
fn seen(response: &ProduceResponse, version: i16) -> theirs::ProduceResponse {
    let partition = |p: &ProducePartitionResponse| {
        let mut out = PartitionProduceResponse::default()
            .with_index(p.index.0)
            .with_error_code(p.error.code())
            .with_base_offset(p.base_offset.0)
            .with_log_append_time_ms(p.log_append_time_ms.0);
        if version >= 5 {
            out = out.with_log_start_offset(p.log_start_offset.0);
        }
        if version >= 8 {
            let errors = p.record_errors.iter().map(|error| {
                BatchIndexAndErrorMessage::default()
                    .with_batch_index(error.batch_index)
                    .with_batch_index_error_message(error.message.clone())
            });
            out = out
                .with_record_errors(errors.collect())
                .with_error_message(p.error_message.clone());
        }
        if let (Some(leader), true) = (p.current_leader, version >= 10) {
            out = out.with_current_leader(
                LeaderIdAndEpoch::default()
                    .with_leader_id(leader.leader_id.0.into())
                    .with_leader_epoch(leader.leader_epoch.0),
            );
        }
        out
    };
    let topics = response.topics.iter().map(|topic| {
        let out = TopicProduceResponse::default()
            .with_partition_responses(topic.partitions.iter().map(partition).collect());
        match version >= 13 {
            true => out.with_topic_id(topic.topic_id.0),
            false => out.with_name(TopicName(topic.name.clone())),
        }
    });
    let mut out = theirs::ProduceResponse::default()
        .with_responses(topics.collect())
        .with_throttle_time_ms(response.throttle_time_ms);
    if version >= 10 {
        let endpoints = response.node_endpoints.iter().map(|endpoint| {
            TheirEndpoint::default()
                .with_node_id(endpoint.node_id.0.into())
                .with_host(endpoint.host.clone())
                .with_port(endpoint.port)
                .with_rack(endpoint.rack.clone())
        });
        out = out.with_node_endpoints(endpoints.collect());
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// What is refused is what the guard refuses, and what is read is what the crate reads.
    #[test]
    fn requests_are_read_as_the_guard_and_the_crate_read_them(
        version in 3i16..=13,
        choices in proptest::collection::vec(any::<u8>(), 0..100),
        damage in proptest::option::of((any::<usize>(), any::<u8>())),
    ) {
        let message = &crate::protocol::schema::api(KEY).unwrap().request;
        let mut body = sample::body(message, version, &mut Choices::new(&choices));
        if let Some((at, byte)) = damage {
            let at = at % body.len();
            body[at] = byte;
        }
        let guarded = guard::check(message, version, &body);
        let parsed = ProduceRequest::parse(Bytes::from(body.clone()), version);
        prop_assert_eq!(guarded.err(), parsed.as_ref().err().copied());
        if let Ok(parsed) = parsed {
            let mut input = Bytes::from(body);
            let mut expected = theirs::ProduceRequest::decode(&mut input, version).unwrap();
            expected.unknown_tagged_fields.clear();
            for topic in &mut expected.topic_data {
                topic.unknown_tagged_fields.clear();
                for partition in &mut topic.partition_data {
                    partition.unknown_tagged_fields.clear();
                }
            }
            prop_assert_eq!(as_theirs(&parsed), expected);
        }
    }

    #[test]
    fn the_crate_reads_our_responses(version in 3i16..=13, response in any_response()) {
        let mut out = bytes::BytesMut::new();
        response.encode(&mut out, version).unwrap();
        prop_assert_eq!(response.compute_size(version).unwrap(), out.len());
        let message = &crate::protocol::schema::api(KEY).unwrap().response;
        prop_assert_eq!(guard::check(message, version, &out), Ok(out.len()));
        let expected = seen(&response, version);
        // Byte for byte what the crate would have written.
        let mut theirs_out = bytes::BytesMut::new();
        expected.encode(&mut theirs_out, version).unwrap();
        prop_assert_eq!(&out, &theirs_out);
        let decoded = theirs::ProduceResponse::decode(&mut out.freeze(), version).unwrap();
        prop_assert_eq!(decoded, expected);
    }

    #[test]
    fn any_bytes_are_safe(version in 2i16..15, body: Vec<u8>) {
        let _ = ProduceRequest::parse(body.into(), version);
    }
}
