//! Produce (0), versions 3–13: appends record batches to partitions.
//!
//! v7 zstd; v8 record errors (KIP-467); v9 flexible; v10 tells the new leader (KIP-951); v12 lets a
//! transaction's partitions join by producing (KIP-890); v13 names topics by id (KIP-516). Versions 0–2 are
//! advertised, since an old librdkafka looks for them, and never served.
//!
//! The appends are made before the handler first waits. `acks=0` gets no reply: a refused append
//! closes the connection instead, which is what makes such a client look for the leader again.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{RequestContext, RequestError, Response};
use crate::error::ErrorCode;
use crate::log::AppendOrigin;
use crate::protocol::current_leader::{CurrentLeader, NodeEndpoint};
use crate::protocol::frame::encode_response;
use crate::protocol::messages::StrBytes;
use crate::protocol::produce::{
    ProducePartition, ProducePartitionResponse, ProduceRequest, ProduceResponse, ProduceTopic,
    ProduceTopicResponse, RecordError, KEY,
};
use crate::runtime::partition::{CommitOutcome, ProduceError};
use crate::security::{Operation, ResourceType};
use crate::types::{Offset, TimestampMs};

const NAME: &str = "Produce";
const ACKS_ALL: i16 = -1;

/// A partition whose reply waits for its records to be committed.
struct Waiting {
    topic: usize,
    partition: usize,
    commit: oneshot::Receiver<CommitOutcome>,
}

pub(super) async fn handle(
    ctx: RequestContext,
    body: Bytes,
) -> Result<Option<Response>, RequestError> {
    let request = ProduceRequest::parse(body, ctx.version)?;
    let acks = request.acks;
    let deadline = Instant::now() + Duration::from_millis(request.timeout_ms.max(0) as u64);
    let mut waiting = Vec::new();
    let mut response = append_all(&ctx, request, &mut waiting);
    if acks == 0 {
        return match first_error(&response) {
            None => Ok(None),
            Some(code) => Err(RequestError::UnansweredProduce(code)),
        };
    }
    for wait in waiting {
        let outcome = match tokio::time::timeout_at(deadline, wait.commit).await {
            Ok(Ok(outcome)) => outcome,
            // The partition is gone without a word: it was closed.
            Ok(Err(_)) => Err(ErrorCode::NotLeaderOrFollower),
            Err(_) => Err(ErrorCode::RequestTimedOut),
        };
        if let Err(code) = outcome
            && let Some(topic) = response.topics.get_mut(wait.topic)
            && let Some(answer) = topic.partitions.get_mut(wait.partition)
        {
            *answer = ProducePartitionResponse::failed(answer.index, code);
        }
    }
    tell_leaders(&ctx, &mut response);
    for partition in response.topics.iter().flat_map(|topic| &topic.partitions) {
        ctx.node.metrics.replied_error(KEY, partition.error);
    }
    let header_version = i16::from(ctx.version >= 9);
    encode_response(ctx.correlation_id, header_version, &response, ctx.version)
        .map(|frame| Some(frame.freeze().into()))
        .map_err(|error| RequestError::Encode {
            api: NAME,
            version: ctx.version,
            reason: error.to_string(),
        })
}

fn append_all(
    ctx: &RequestContext,
    request: ProduceRequest,
    waiting: &mut Vec<Waiting>,
) -> ProduceResponse {
    let refusal = refuse_whole(ctx, &request);
    let wait = request.acks == ACKS_ALL;
    let now = ctx.node.now();
    let topics = request
        .topics
        .into_iter()
        .enumerate()
        .map(|(at, topic)| {
            let name = match refusal {
                Some(code) => Err(code),
                None => topic_name(ctx, &topic),
            };
            let partitions = topic
                .partitions
                .into_iter()
                .enumerate()
                .map(|(partition, produced)| {
                    let index = produced.index;
                    let appended = match &name {
                        Ok(name) => append(ctx, name, produced, wait, now),
                        Err(code) => Err(ProducePartitionResponse::failed(index, *code)),
                    };
                    match appended {
                        Ok((answer, None)) => answer,
                        Ok((answer, Some(commit))) => {
                            waiting.push(Waiting {
                                topic: at,
                                partition,
                                commit,
                            });
                            answer
                        }
                        Err(answer) => answer,
                    }
                })
                .collect();
            ProduceTopicResponse {
                // A copy: a slice would keep the whole frame while the reply waits for the disk.
                name: StrBytes::from_string(topic.name.to_string()),
                topic_id: topic.topic_id,
                partitions,
            }
        })
        .collect();
    ProduceResponse {
        topics,
        ..Default::default()
    }
}

/// What is wrong with the request as a whole.
fn refuse_whole(ctx: &RequestContext, request: &ProduceRequest) -> Option<ErrorCode> {
    if !matches!(request.acks, -1..=1) {
        return Some(ErrorCode::InvalidRequiredAcks);
    }
    let id = request.transactional_id.as_ref()?;
    if !ctx.authorize(Operation::Write, ResourceType::TransactionalId, id) {
        return Some(ErrorCode::TransactionalIdAuthorizationFailed);
    }
    None
}

/// The name of a topic that may be written, whichever way the request names it.
fn topic_name(ctx: &RequestContext, topic: &ProduceTopic) -> Result<std::sync::Arc<str>, ErrorCode> {
    let name = if ctx.version >= 13 {
        let image = ctx.node.metadata();
        let found = image.topic_by_id(topic.topic_id);
        std::sync::Arc::clone(&found.ok_or(ErrorCode::UnknownTopicId)?.name)
    } else {
        topic.name.as_str().into()
    };
    if ctx.authorize(Operation::Write, ResourceType::Topic, &name) {
        Ok(name)
    } else {
        Err(ErrorCode::TopicAuthorizationFailed)
    }
}

type AppendedPartition = (ProducePartitionResponse, Option<oneshot::Receiver<CommitOutcome>>);

fn append(
    ctx: &RequestContext,
    topic: &str,
    produced: ProducePartition,
    wait: bool,
    now: TimestampMs,
) -> Result<AppendedPartition, ProducePartitionResponse> {
    let index = produced.index;
    if crate::controller::topics::is_internal(topic) {
        // Only coordinators write there.
        return Err(ProducePartitionResponse::failed(
            index,
            ErrorCode::InvalidTopicException,
        ));
    }
    let partition = ctx
        .node
        .partition_by_name(topic, index)
        .map_err(|code| ProducePartitionResponse::failed(index, code))?;
    let records = produced.records.unwrap_or_default();
    match partition.append(&records, AppendOrigin::Client, wait, now) {
        Ok(appended) => Ok((
            ProducePartitionResponse {
                base_offset: appended.info.first_offset,
                log_append_time_ms: appended.info.log_append_time.unwrap_or(TimestampMs::NONE),
                log_start_offset: appended.info.log_start_offset,
                ..ProducePartitionResponse::failed(index, ErrorCode::None)
            },
            appended.commit,
        )),
        Err(error) => {
            partition.count_failed_produce();
            Err(refused(index, &error))
        }
    }
}

fn refused(index: crate::types::PartitionId, error: &ProduceError) -> ProducePartitionResponse {
    match error {
        ProduceError::Unavailable(code) => ProducePartitionResponse::failed(index, *code),
        ProduceError::Append(error) => ProducePartitionResponse {
            error_message: error.client_message().map(StrBytes::from_string),
            record_errors: error
                .record_errors()
                .iter()
                .map(|record| RecordError {
                    batch_index: record.batch_index,
                    message: Some(StrBytes::from_string(record.message.clone())),
                })
                .collect(),
            base_offset: Offset(-1),
            ..ProducePartitionResponse::failed(index, error.code())
        },
    }
}

fn first_error(response: &ProduceResponse) -> Option<ErrorCode> {
    response
        .topics
        .iter()
        .flat_map(|topic| &topic.partitions)
        .map(|partition| partition.error)
        .find(|code| code.is_error())
}

/// A client that asked the wrong broker is told the right one (KIP-951).
fn tell_leaders(ctx: &RequestContext, response: &mut ProduceResponse) {
    if ctx.version < 10 {
        return;
    }
    for topic in &mut response.topics {
        for partition in &mut topic.partitions {
            if partition.error != ErrorCode::NotLeaderOrFollower {
                continue;
            }
            let found = ctx.current_leader(&topic.name, topic.topic_id, partition.index);
            if let Some((leader, endpoint)) = found {
                partition.current_leader = Some(leader);
                add_endpoint(&mut response.node_endpoints, endpoint);
            }
        }
    }
}

fn add_endpoint(endpoints: &mut Vec<NodeEndpoint>, endpoint: NodeEndpoint) {
    if endpoints.iter().all(|known| known.node_id != endpoint.node_id) {
        endpoints.push(endpoint);
    }
}

impl RequestContext {
    /// Who leads a partition, and where that broker is reached from this listener.
    pub(super) fn current_leader(
        &self,
        name: &str,
        id: crate::types::TopicId,
        index: crate::types::PartitionId,
    ) -> Option<(CurrentLeader, NodeEndpoint)> {
        let image = self.node.metadata();
        let topic = if id.is_zero() {
            image.topic(name)
        } else {
            image.topic_by_id(id)
        };
        let state = topic?.partition(index)?;
        let broker = image.broker(state.leader)?;
        let endpoint = broker.endpoint(&self.listener)?;
        Some((
            CurrentLeader {
                leader_id: broker.id,
                leader_epoch: state.leader_epoch,
            },
            NodeEndpoint {
                node_id: broker.id,
                host: StrBytes::from_string(endpoint.host.clone()),
                port: i32::from(endpoint.port),
                rack: broker.rack.clone().map(StrBytes::from_string),
            },
        ))
    }
}
