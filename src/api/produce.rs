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
use crate::protocol::record_batch::{BatchError, BatchHeader, is_transactional, next_batch, single_batch};
use crate::runtime::partition::{CommitOutcome, Partition, ProduceError};
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
    let acks = request.acks;
    let now = ctx.node.now();
    let topics = request
        .topics
        .into_iter()
        .enumerate()
        .map(|(at, topic)| {
            let name = match &refusal {
                Some(refusal) => Err(refusal.code),
                None => topic_name(ctx, &topic),
            };
            let message = refusal.as_ref().and_then(|refusal| refusal.message.clone());
            let partitions = topic
                .partitions
                .into_iter()
                .enumerate()
                .map(|(partition, produced)| {
                    let index = produced.index;
                    let appended = match &name {
                        Ok(name) => append(ctx, name, produced, acks, now),
                        Err(code) => Err(ProducePartitionResponse {
                            error_message: message.clone().map(StrBytes::from_string),
                            ..ProducePartitionResponse::failed(index, *code)
                        }),
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

/// Why nothing of a request is looked at any further.
struct Refusal {
    code: ErrorCode,
    message: Option<String>,
}

impl From<ErrorCode> for Refusal {
    fn from(code: ErrorCode) -> Self {
        Self {
            code,
            message: None,
        }
    }
}

/// What is wrong with the request as a whole: one batch whose frame cannot be believed spoils all of them, as in Kafka.
fn refuse_whole(ctx: &RequestContext, request: &ProduceRequest) -> Option<Refusal> {
    let partitions = request.topics.iter().flat_map(|topic| &topic.partitions);
    let records = || partitions.clone().filter_map(|partition| partition.records.as_deref());
    for records in records() {
        match next_batch(records) {
            Ok(Some(batch)) if is_transactional(batch) => {
                let id = request.transactional_id.as_ref();
                let may = id.is_some_and(|id| {
                    ctx.authorize(Operation::Write, ResourceType::TransactionalId, id)
                });
                if !may {
                    return Some(ErrorCode::TransactionalIdAuthorizationFailed.into());
                }
                break;
            }
            Ok(_) => {}
            Err(error) => {
                return Some(Refusal {
                    code: error.code(),
                    message: frame_message(&error),
                });
            }
        }
    }
    // The codec is asked for where zstd may not be used.
    let unknown = |records| {
        let found = single_batch(records, ctx.version);
        matches!(found, Err(BatchError::UnknownCompression(_)))
    };
    (ctx.version < 7 && records().any(unknown)).then_some(ErrorCode::UnknownServerError.into())
}

/// Kafka's words for a batch whose end is not known.
fn frame_message(error: &BatchError) -> Option<String> {
    match error {
        BatchError::TooSmall(size) => Some(format!(
            "Record size {size} is less than the minimum record overhead (14)"
        )),
        BatchError::Magic(magic) => Some(format!("Invalid magic found in record: {magic}")),
        _ => None,
    }
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
    acks: i16,
    now: TimestampMs,
) -> Result<AppendedPartition, ProducePartitionResponse> {
    let index = produced.index;
    let failed = |code| ProducePartitionResponse::failed(index, code);
    let partition = ctx.node.partition_by_name(topic, index).map_err(failed)?;
    if !matches!(acks, -1..=1) {
        return Err(failed(ErrorCode::InvalidRequiredAcks));
    }
    let records = produced.records.unwrap_or_default();
    single_batch(&records, ctx.version).map_err(|error| failed(error.code()))?;
    if crate::controller::topics::is_internal(topic) {
        // Only coordinators write there.
        return Err(failed(ErrorCode::InvalidTopicException));
    }
    if is_transactional(&records) && has_producer_id(&records) {
        // KIP-890: a batch may begin a transaction where its coordinator says so. None knows of one here.
        return Err(failed(ErrorCode::InvalidProducerIdMapping));
    }
    match partition.append(&records, AppendOrigin::Client, acks == ACKS_ALL, now) {
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
            Err(refused(index, &partition, &error))
        }
    }
}

fn has_producer_id(batch: &[u8]) -> bool {
    BatchHeader::parse(batch).is_ok_and(|header| header.has_producer_id())
}

fn refused(
    index: crate::types::PartitionId,
    partition: &Partition,
    error: &ProduceError,
) -> ProducePartitionResponse {
    match error {
        ProduceError::Unavailable(code) => ProducePartitionResponse::failed(index, *code),
        ProduceError::DiskFull { .. } => ProducePartitionResponse {
            error_message: Some(StrBytes::from_string(error.to_string())),
            ..ProducePartitionResponse::failed(index, ErrorCode::KafkaStorageError)
        },
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
            log_start_offset: if error.tells_log_start() {
                partition.with_log(|log| log.log_start_offset())
            } else {
                Offset(-1)
            },
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
