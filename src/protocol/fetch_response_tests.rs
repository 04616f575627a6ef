use super::*;
use crate::protocol::{guard, schema};
use kafka_protocol::messages as theirs;
use kafka_protocol::messages::TopicName;
use kafka_protocol::messages::fetch_response as parts;
use kafka_protocol::protocol::{Decodable, Encodable};
use proptest::prelude::*;
use uuid::Uuid;

fn any_partition() -> impl Strategy<Value = FetchPartitionResponse<Bytes>> {
    let pair = || proptest::option::of((0i32..99, 0i64..99));
    let aborted = (any::<i64>(), any::<i64>()).prop_map(|(id, first)| AbortedTransaction {
        producer_id: ProducerId(id),
        first_offset: Offset(first),
    });
    (
        (any::<i32>(), 0..ErrorCode::ALL.len(), any::<[i64; 3]>()),
        (pair(), pair(), pair()),
        proptest::option::of(proptest::collection::vec(aborted, 0..3)),
        any::<i32>(),
        proptest::option::of(proptest::collection::vec(any::<u8>(), 0..300)),
    )
        .prop_map(
            |(
                (index, error, offsets),
                (diverging, leader, snapshot),
                aborted,
                replica,
                records,
            )| {
                FetchPartitionResponse {
                    index: PartitionId(index),
                    error: ErrorCode::ALL[error],
                    high_watermark: Offset(offsets[0]),
                    last_stable_offset: Offset(offsets[1]),
                    log_start_offset: Offset(offsets[2]),
                    diverging_epoch: diverging.map(|(epoch, end)| DivergingEpoch {
                        epoch: LeaderEpoch(epoch),
                        end_offset: Offset(end),
                    }),
                    current_leader: leader.map(|(epoch, id)| CurrentLeader {
                        leader_id: NodeId(id as i32),
                        leader_epoch: LeaderEpoch(epoch),
                    }),
                    snapshot_id: snapshot.map(|(epoch, end)| SnapshotId {
                        end_offset: Offset(end),
                        epoch: LeaderEpoch(epoch),
                    }),
                    aborted_transactions: aborted,
                    preferred_read_replica: NodeId(replica),
                    records: records.map(Bytes::from),
                }
            },
        )
}

fn any_response() -> impl Strategy<Value = FetchResponse<Bytes>> {
    let topic = (
        "[a-z]{1,5}",
        any::<u128>(),
        proptest::collection::vec(any_partition(), 0..4),
    )
        .prop_map(|(name, id, partitions)| FetchTopicResponse {
            name: StrBytes::from_string(name),
            topic_id: TopicId(Uuid::from_u128(id)),
            partitions,
        });
    let endpoint =
        (any::<i32>(), "[a-z]{0,5}", any::<i32>()).prop_map(|(id, host, port)| NodeEndpoint {
            node_id: NodeId(id),
            host: StrBytes::from_string(host),
            port,
            rack: (port > 0).then(|| StrBytes::from_static_str("r")),
        });
    (
        any::<i32>(),
        0..ErrorCode::ALL.len(),
        any::<i32>(),
        proptest::collection::vec(topic, 0..3),
        proptest::collection::vec(endpoint, 0..3),
    )
        .prop_map(
            |(throttle_time_ms, error, session_id, topics, node_endpoints)| FetchResponse {
                throttle_time_ms,
                error: ErrorCode::ALL[error],
                session_id,
                topics,
                node_endpoints,
            },
        )
}

fn seen_partition(p: &FetchPartitionResponse<Bytes>, version: i16) -> parts::PartitionData {
    let mut out = parts::PartitionData::default()
        .with_partition_index(p.index.0)
        .with_error_code(p.error.code())
        .with_high_watermark(p.high_watermark.0)
        .with_last_stable_offset(p.last_stable_offset.0)
        .with_records(Some(p.records.clone().unwrap_or_default()));
    let aborted = p.aborted_transactions.as_ref().map(|aborted| {
        let each = aborted.iter().map(|aborted| {
            parts::AbortedTransaction::default()
                .with_producer_id(aborted.producer_id.0.into())
                .with_first_offset(aborted.first_offset.0)
        });
        each.collect()
    });
    out = out.with_aborted_transactions(aborted);
    if version >= 5 {
        out = out.with_log_start_offset(p.log_start_offset.0);
    }
    if version >= 11 {
        out = out.with_preferred_read_replica(p.preferred_read_replica.0.into());
    }
    if version < 12 {
        return out;
    }
    if let Some(diverging) = p.diverging_epoch {
        out.diverging_epoch.epoch = diverging.epoch.0;
        out.diverging_epoch.end_offset = diverging.end_offset.0;
    }
    if let Some(leader) = p.current_leader {
        out.current_leader.leader_id = leader.leader_id.0.into();
        out.current_leader.leader_epoch = leader.leader_epoch.0;
    }
    if let Some(snapshot) = p.snapshot_id {
        out.snapshot_id.end_offset = snapshot.end_offset.0;
        out.snapshot_id.epoch = snapshot.epoch.0;
    }
    out
}

/// What a client that reads `version` gets to see.
fn seen(response: &FetchResponse<Bytes>, version: i16) -> theirs::FetchResponse {
    let topics = response.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|p| seen_partition(p, version));
        let out = parts::FetchableTopicResponse::default().with_partitions(partitions.collect());
        match version >= 13 {
            true => out.with_topic_id(topic.topic_id.0),
            false => out.with_topic(TopicName(topic.name.clone())),
        }
    });
    let mut out = theirs::FetchResponse::default()
        .with_throttle_time_ms(response.throttle_time_ms)
        .with_responses(topics.collect());
    if version >= 7 {
        out = out
            .with_error_code(response.error.code())
            .with_session_id(response.session_id);
    }
    if version >= 16 {
        let endpoints = response.node_endpoints.iter().map(|endpoint| {
            parts::NodeEndpoint::default()
                .with_node_id(endpoint.node_id.0.into())
                .with_host(endpoint.host.clone())
                .with_port(endpoint.port)
                .with_rack(endpoint.rack.clone())
        });
        out = out.with_node_endpoints(endpoints.collect());
    }
    out
}

#[test]
fn records_are_parts_of_their_own() {
    let records = Bytes::from_static(b"twelve bytes");
    let partition = |index, records| FetchPartitionResponse {
        records,
        ..FetchPartitionResponse::failed(PartitionId(index), ErrorCode::None)
    };
    let response = FetchResponse {
        throttle_time_ms: 0,
        error: ErrorCode::None,
        session_id: 0,
        topics: vec![FetchTopicResponse {
            name: StrBytes::from_static_str("t"),
            topic_id: TopicId::ZERO,
            partitions: vec![
                partition(0, None),
                partition(1, Some(records.clone())),
                partition(2, Some(Bytes::new())),
                partition(3, Some(records.clone())),
            ],
        }],
        node_endpoints: Vec::new(),
    };
    // In version 11 nothing follows the last records, in 12 the tagged fields do.
    for (version, shape) in [(11, "brbr"), (12, "brbrb")] {
        let parts = response.clone().into_parts(5, version).unwrap();
        let found: String = parts
            .iter()
            .map(|part| match part {
                Part::Bytes(_) => 'b',
                Part::Records(found) => {
                    assert_eq!(found.as_ptr(), records.as_ptr());
                    'r'
                }
            })
            .collect();
        assert_eq!(found, shape);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn the_crate_reads_our_responses(version in 4i16..=18, response in any_response()) {
        let length = response.frame_length(version).unwrap();
        let mut frame = Vec::new();
        for part in response.clone().into_parts(0x0a0b0c0d, version).unwrap() {
            match part {
                Part::Bytes(bytes) => frame.extend(bytes),
                Part::Records(records) => {
                    prop_assert!(!records.is_empty());
                    frame.extend(records);
                }
            }
        }
        prop_assert_eq!(frame.len(), length);
        prop_assert_eq!(&frame[..4], &(length as i32 - 4).to_be_bytes()[..]);
        prop_assert_eq!(&frame[4..8], &[0x0a, 0x0b, 0x0c, 0x0d][..]);
        let api = schema::api(1).unwrap();
        let header = 4 + api.response_header_version(version) as usize;
        let body = &frame[4 + header..];
        prop_assert_eq!(guard::check(&api.response, version, body), Ok(body.len()));

        let expected = seen(&response, version);
        let mut theirs_out = Vec::new();
        expected.encode(&mut theirs_out, version).unwrap();
        prop_assert_eq!(body, &theirs_out[..]);
        let mut input = Bytes::copy_from_slice(body);
        prop_assert_eq!(theirs::FetchResponse::decode(&mut input, version).unwrap(), expected);
    }
}
