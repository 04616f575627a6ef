//! The codec crate's Produce and Fetch messages as dohle's hand-written ones, to compare the two.
//!
//! Unknown tagged fields are left behind: the hand-written paths pass over them.

use bytes::Bytes;
use dohle::error::ErrorCode;
use dohle::protocol::current_leader::{CurrentLeader, NodeEndpoint};
use dohle::protocol::{fetch, produce};
use dohle::types::{LeaderEpoch, NodeId, Offset, PartitionId, ProducerId, TimestampMs, TopicId};
use kafka_protocol::messages::{
    FetchRequest, FetchResponse, ProduceRequest, ProduceResponse, fetch_response, produce_response,
};

pub fn produce_request(theirs: ProduceRequest) -> produce::ProduceRequest {
    let topics = theirs.topic_data.into_iter().map(|topic| {
        let partitions = topic.partition_data.into_iter();
        produce::ProduceTopic {
            name: topic.name.0,
            topic_id: TopicId(topic.topic_id),
            partitions: partitions
                .map(|partition| produce::ProducePartition {
                    index: PartitionId(partition.index),
                    records: partition.records,
                })
                .collect(),
        }
    });
    produce::ProduceRequest {
        transactional_id: theirs.transactional_id.map(|id| id.0),
        acks: theirs.acks,
        timeout_ms: theirs.timeout_ms,
        topics: topics.collect(),
    }
}

/// `None` when it bears an error code that Kafka does not have.
pub fn produce_response(theirs: ProduceResponse) -> Option<produce::ProduceResponse> {
    let mut topics = Vec::new();
    for topic in theirs.responses {
        let partitions = topic.partition_responses.into_iter().map(produced);
        topics.push(produce::ProduceTopicResponse {
            name: topic.name.0,
            topic_id: TopicId(topic.topic_id),
            partitions: partitions.collect::<Option<_>>()?,
        });
    }
    let endpoints = theirs.node_endpoints.into_iter();
    Some(produce::ProduceResponse {
        topics,
        throttle_time_ms: theirs.throttle_time_ms,
        node_endpoints: endpoints
            .map(|endpoint| NodeEndpoint {
                node_id: NodeId(endpoint.node_id.0),
                host: endpoint.host,
                port: endpoint.port,
                rack: endpoint.rack,
            })
            .collect(),
    })
}

fn produced(
    theirs: produce_response::PartitionProduceResponse,
) -> Option<produce::ProducePartitionResponse> {
    let errors = theirs.record_errors.into_iter();
    let leader = theirs.current_leader;
    Some(produce::ProducePartitionResponse {
        index: PartitionId(theirs.index),
        error: ErrorCode::from_code(theirs.error_code)?,
        base_offset: Offset(theirs.base_offset),
        log_append_time_ms: TimestampMs(theirs.log_append_time_ms),
        log_start_offset: Offset(theirs.log_start_offset),
        record_errors: errors
            .map(|error| produce::RecordError {
                batch_index: error.batch_index,
                message: error.batch_index_error_message,
            })
            .collect(),
        error_message: theirs.error_message,
        current_leader: current_leader(leader.leader_id.0, leader.leader_epoch),
    })
}

fn current_leader(leader_id: i32, leader_epoch: i32) -> Option<CurrentLeader> {
    let leader = CurrentLeader {
        leader_id: NodeId(leader_id),
        leader_epoch: LeaderEpoch(leader_epoch),
    };
    ((leader_id, leader_epoch) != (-1, -1)).then_some(leader)
}

pub fn fetch_request(theirs: FetchRequest, version: i16) -> fetch::FetchRequest {
    let topics = theirs.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.into_iter();
        fetch::FetchTopic {
            name: topic.topic.0,
            topic_id: TopicId(topic.topic_id),
            partitions: partitions
                .map(|partition| fetch::FetchPartition {
                    index: PartitionId(partition.partition),
                    current_leader_epoch: LeaderEpoch(partition.current_leader_epoch),
                    fetch_offset: Offset(partition.fetch_offset),
                    last_fetched_epoch: LeaderEpoch(partition.last_fetched_epoch),
                    log_start_offset: Offset(partition.log_start_offset),
                    max_bytes: partition.partition_max_bytes,
                    replica_directory_id: partition.replica_directory_id,
                    high_watermark: Offset(partition.high_watermark),
                })
                .collect(),
        }
    });
    let forgotten = theirs.forgotten_topics_data.into_iter();
    fetch::FetchRequest {
        cluster_id: theirs.cluster_id,
        replica_id: NodeId(if version >= 15 {
            theirs.replica_state.replica_id.0
        } else {
            theirs.replica_id.0
        }),
        replica_epoch: theirs.replica_state.replica_epoch,
        max_wait_ms: theirs.max_wait_ms,
        min_bytes: theirs.min_bytes,
        max_bytes: theirs.max_bytes,
        isolation_level: theirs.isolation_level,
        session_id: theirs.session_id,
        session_epoch: theirs.session_epoch,
        topics: topics.collect(),
        forgotten_topics: forgotten
            .map(|topic| fetch::ForgottenTopic {
                name: topic.topic.0,
                topic_id: TopicId(topic.topic_id),
                partitions: topic.partitions.into_iter().map(PartitionId).collect(),
            })
            .collect(),
        rack_id: theirs.rack_id,
    }
}

/// `None` when it bears an error code that Kafka does not have.
pub fn fetch_response(theirs: FetchResponse) -> Option<fetch::FetchResponse<Bytes>> {
    let mut topics = Vec::new();
    for topic in theirs.responses {
        let partitions = topic.partitions.into_iter().map(fetched);
        topics.push(fetch::FetchTopicResponse {
            name: topic.topic.0,
            topic_id: TopicId(topic.topic_id),
            partitions: partitions.collect::<Option<_>>()?,
        });
    }
    let endpoints = theirs.node_endpoints.into_iter();
    Some(fetch::FetchResponse {
        throttle_time_ms: theirs.throttle_time_ms,
        error: ErrorCode::from_code(theirs.error_code)?,
        session_id: theirs.session_id,
        topics,
        node_endpoints: endpoints
            .map(|endpoint| NodeEndpoint {
                node_id: NodeId(endpoint.node_id.0),
                host: endpoint.host,
                port: endpoint.port,
                rack: endpoint.rack,
            })
            .collect(),
    })
}

fn fetched(theirs: fetch_response::PartitionData) -> Option<fetch::FetchPartitionResponse<Bytes>> {
    let diverging = theirs.diverging_epoch;
    let snapshot = theirs.snapshot_id;
    let leader = theirs.current_leader;
    let aborted = theirs.aborted_transactions.map(|aborted| {
        let each = aborted
            .into_iter()
            .map(|aborted| fetch::AbortedTransaction {
                producer_id: ProducerId(aborted.producer_id.0),
                first_offset: Offset(aborted.first_offset),
            });
        each.collect()
    });
    Some(fetch::FetchPartitionResponse {
        index: PartitionId(theirs.partition_index),
        error: ErrorCode::from_code(theirs.error_code)?,
        high_watermark: Offset(theirs.high_watermark),
        last_stable_offset: Offset(theirs.last_stable_offset),
        log_start_offset: Offset(theirs.log_start_offset),
        diverging_epoch: ((diverging.epoch, diverging.end_offset) != (-1, -1)).then_some(
            fetch::DivergingEpoch {
                epoch: LeaderEpoch(diverging.epoch),
                end_offset: Offset(diverging.end_offset),
            },
        ),
        current_leader: current_leader(leader.leader_id.0, leader.leader_epoch),
        snapshot_id: ((snapshot.end_offset, snapshot.epoch) != (-1, -1)).then_some(
            fetch::SnapshotId {
                end_offset: Offset(snapshot.end_offset),
                epoch: LeaderEpoch(snapshot.epoch),
            },
        ),
        aborted_transactions: aborted,
        preferred_read_replica: NodeId(theirs.preferred_read_replica.0),
        records: theirs.records,
    })
}
