//! Fetch (1), versions 4–18: reads record batches from partitions.
//!
//! v4 isolation; v5 log start offsets; v7 sessions (KIP-227); v9 leader epochs (KIP-320); v11 racks
//! (KIP-392); v12 flexible, diverging epochs; v13 topic ids (KIP-516); v15 the replica's state; v16 leaders'
//! endpoints (KIP-951); v17 replica directories; v18 the follower's high watermark.
//!
//! Records are ranges of files from here to the socket. Followers and other racks' replicas are a later
//! step: every replica here is the leader.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;

use super::{FileRange, RequestContext, RequestError, Response, ResponsePart};
use crate::error::ErrorCode;
use crate::protocol::current_leader::NodeEndpoint;
use crate::protocol::fetch::{
    AbortedTransaction, DivergingEpoch, FetchPartitionResponse, FetchRequest, FetchResponse, FetchTopicResponse,
    HasLength, KEY, Part,
};
use crate::protocol::messages::StrBytes;
use crate::replication::fetch_session::{
    Begun, FetchKey, FetchPartition, FetchSession, FetchTopic, FetchedState, SessionKind,
    SessionRequest,
};
use crate::runtime::fetch::{FetchParams, FetchResult, FetchTarget, fetch};
use crate::runtime::partition::{Isolation, Partition};
use crate::security::{Operation, ResourceType};
use crate::types::{LeaderEpoch, NodeId, PartitionId, TopicId};

const NAME: &str = "Fetch";
const READ_COMMITTED: i8 = 1;
/// Since this version topics are named by id.
const BY_ID_SINCE: i16 = 13;

impl HasLength for FileRange {
    fn length(&self) -> usize {
        self.len
    }
}

/// What the reply will do about a session.
enum Session {
    None,
    /// Make one of what was answered.
    Open,
    Continue(Box<FetchSession>),
}

pub(super) async fn handle(
    ctx: RequestContext,
    body: Bytes,
) -> Result<Option<Response>, RequestError> {
    let request = FetchRequest::parse(body, ctx.version)?;
    let request_replica = request.replica_id;
    let from_follower = request_replica.0 >= 0;
    let params = params(&ctx, &request);
    let begun = ctx
        .node
        .fetch_sessions
        .lock()
        .begin(session_request(&ctx, &request), ctx.node.now());
    let (wanted, session) = match begun {
        Begun::Refused(code) => return encode(&ctx, failed(code)),
        Begun::Sessionless(wanted) => (wanted, Session::None),
        Begun::Full(wanted) => (wanted, Session::Open),
        Begun::Incremental(session) => (
            session
                .partitions()
                .map(|(key, asked)| (key.clone(), asked.clone()))
                .collect(),
            Session::Continue(session),
        ),
    };
    let targets: Vec<FetchTarget> = wanted
        .into_iter()
        .map(|(key, request)| FetchTarget {
            partition: locate(&ctx, &key)
                .and_then(|found| follower_of(&ctx, found, request_replica, &request)),
            key,
            request,
        })
        .collect();
    let session = InSession::new(&ctx, session);
    let results = fetch(&ctx.node.cold_reads, &targets, params).await;
    let kind = SessionKind {
        by_id: ctx.version >= BY_ID_SINCE,
        from_follower,
    };
    let response = session.answer(&targets, results, kind);
    encode(&ctx, response)
}

fn params(ctx: &RequestContext, request: &FetchRequest) -> FetchParams {
    let max_bytes = request.max_bytes.min(ctx.node.config().fetch_max_bytes);
    FetchParams {
        max_wait: Duration::from_millis(request.max_wait_ms.max(0) as u64),
        min_bytes: request.min_bytes.clamp(0, max_bytes.max(0)) as usize,
        max_bytes: max_bytes.max(0) as usize,
        isolation: if request.isolation_level == READ_COMMITTED {
            Isolation::ReadCommitted
        } else {
            Isolation::ReadUncommitted
        },
    }
}

fn topic_key(ctx: &RequestContext, name: &str, id: TopicId) -> FetchTopic {
    if ctx.version >= BY_ID_SINCE {
        FetchTopic::Id(id)
    } else {
        FetchTopic::Name(name.into())
    }
}

/// Any epoch below 0 is none, as in Kafka.
fn known(epoch: LeaderEpoch) -> LeaderEpoch {
    epoch.max(LeaderEpoch::UNKNOWN)
}

fn session_request(ctx: &RequestContext, request: &FetchRequest) -> SessionRequest {
    let mut partitions = Vec::new();
    for topic in &request.topics {
        let key = topic_key(ctx, &topic.name, topic.topic_id);
        for partition in &topic.partitions {
            let asked = FetchPartition {
                fetch_offset: partition.fetch_offset,
                max_bytes: partition.max_bytes,
                current_leader_epoch: known(partition.current_leader_epoch),
                last_fetched_epoch: known(partition.last_fetched_epoch),
                log_start_offset: partition.log_start_offset,
            };
            partitions.push(((key.clone(), partition.index.0), asked));
        }
    }
    let mut forgotten = Vec::new();
    for topic in &request.forgotten_topics {
        let key = topic_key(ctx, &topic.name, topic.topic_id);
        for partition in &topic.partitions {
            forgotten.push((key.clone(), partition.0));
        }
    }
    SessionRequest {
        session_id: request.session_id,
        epoch: request.session_epoch,
        partitions,
        forgotten,
        by_id: ctx.version >= BY_ID_SINCE,
        from_follower: request.replica_id.0 >= 0,
    }
}

/// The partition to read, when this client may.
fn locate(
    ctx: &RequestContext,
    key: &FetchKey,
) -> Result<Arc<Partition>, ErrorCode> {
    let (topic, index) = key;
    let index = PartitionId(*index);
    match topic {
        FetchTopic::Name(name) => {
            if !ctx.authorize(Operation::Read, ResourceType::Topic, name) {
                return Err(ErrorCode::TopicAuthorizationFailed);
            }
            ctx.node.partition_by_name(name, index)
        }
        FetchTopic::Id(id) => {
            let partition = ctx.node.partition_by_id(*id, index)?;
            if !ctx.authorize(Operation::Read, ResourceType::Topic, &partition.topic) {
                return Err(ErrorCode::TopicAuthorizationFailed);
            }
            Ok(partition)
        }
    }
}

/// Who says that it is a replica is one of the partition's, and not this one. That its epoch is another one is said first,
/// by the partition.
fn follower_of(
    ctx: &RequestContext,
    partition: Arc<Partition>,
    replica: NodeId,
    asked: &FetchPartition,
) -> Result<Arc<Partition>, ErrorCode> {
    if replica.0 < 0 {
        return Ok(partition);
    }
    let image = ctx.node.metadata();
    let state = image.partition(&partition.topic, partition.index);
    let epoch = asked.current_leader_epoch;
    let may = state.is_some_and(|state| {
        let other_epoch = epoch != LeaderEpoch::UNKNOWN && epoch != state.leader_epoch;
        other_epoch || (replica != ctx.node.id && state.replicas.contains(&replica))
    });
    if may { Ok(partition) } else { Err(ErrorCode::NotLeaderOrFollower) }
}

/// A session on its way through one fetch: however that ends, the cache gets it back.
struct InSession<'a> {
    ctx: &'a RequestContext,
    session: Session,
}

impl<'a> InSession<'a> {
    fn new(ctx: &'a RequestContext, session: Session) -> Self {
        Self { ctx, session }
    }

    fn answer(
        mut self,
        targets: &[FetchTarget],
        results: Vec<FetchResult>,
        kind: SessionKind,
    ) -> FetchResponse<FileRange> {
        let mut answered = Vec::new();
        let mut response = empty_response();
        for (target, result) in targets.iter().zip(results) {
            count_out(target, &result);
            let mut partition = partition_response(target, result);
            if self.ctx.version <= 5 && partition.error == ErrorCode::KafkaStorageError {
                // What such a client knows of it (KIP-112).
                partition.error = ErrorCode::NotLeaderOrFollower;
            }
            let state = FetchedState {
                high_watermark: partition.high_watermark,
                log_start_offset: partition.log_start_offset,
                has_records: partition.records.is_some(),
                has_error: partition.error.is_error(),
                must_tell: partition.diverging_epoch.is_some(),
            };
            let told = match &mut self.session {
                Session::None => true,
                Session::Open => {
                    answered.push((target.key.clone(), target.request.clone(), state));
                    true
                }
                Session::Continue(session) => session.tell(&target.key, state),
            };
            if told {
                self.tell_leader(&mut response.node_endpoints, target, partition, kind)
                    .add_to(&mut response.topics, &target.key.0);
            }
        }
        response.session_id = match &self.session {
            Session::None => 0,
            Session::Continue(session) => session.id(),
            Session::Open => self.ctx.node.fetch_sessions.lock().open(
                answered,
                kind,
                rand::random(),
                self.ctx.node.now(),
            ),
        };
        response
    }

    fn tell_leader(
        &self,
        endpoints: &mut Vec<NodeEndpoint>,
        target: &FetchTarget,
        mut partition: FetchPartitionResponse<FileRange>,
        kind: SessionKind,
    ) -> FetchPartitionResponse<FileRange> {
        let misdirected = matches!(
            partition.error,
            ErrorCode::NotLeaderOrFollower | ErrorCode::FencedLeaderEpoch
        );
        if self.ctx.version >= 16 && misdirected {
            let (name, id) = match &target.key.0 {
                FetchTopic::Name(name) => (&**name, TopicId::ZERO),
                FetchTopic::Id(id) => ("", *id),
            };
            if let Some((leader, endpoint)) = self.ctx.current_leader(name, id, partition.index) {
                partition.current_leader = Some(leader);
                // A follower knows where its leader is.
                if !kind.from_follower && endpoints.iter().all(|known| known.node_id != endpoint.node_id) {
                    endpoints.push(endpoint);
                }
            }
        }
        partition
    }
}

impl Drop for InSession<'_> {
    fn drop(&mut self) {
        if let Session::Continue(session) = std::mem::replace(&mut self.session, Session::None) {
            self.ctx.node.fetch_sessions.lock().finish(session);
        }
    }
}

impl FetchPartitionResponse<FileRange> {
    /// Partitions of one topic that follow each other share its entry.
    fn add_to(self, topics: &mut Vec<FetchTopicResponse<FileRange>>, topic: &FetchTopic) {
        let (name, topic_id) = match topic {
            FetchTopic::Name(name) => (&**name, TopicId::ZERO),
            FetchTopic::Id(id) => ("", *id),
        };
        match topics.last_mut() {
            Some(last) if last.topic_id == topic_id && last.name.as_str() == name => {
                last.partitions.push(self);
            }
            _ => topics.push(FetchTopicResponse {
                name: StrBytes::from_string(name.to_owned()),
                topic_id,
                partitions: vec![self],
            }),
        }
    }
}

fn partition_response(
    target: &FetchTarget,
    result: FetchResult,
) -> FetchPartitionResponse<FileRange> {
    let index = PartitionId(target.key.1);
    let outcome = match result {
        Ok(outcome) => outcome,
        Err(code) => {
            let mut failed = FetchPartitionResponse::failed(index, code);
            if target.partition.is_ok() {
                // The partition refused, or went while the fetch waited.
                failed.aborted_transactions = None;
            }
            return failed;
        }
    };
    FetchPartitionResponse {
        index,
        error: ErrorCode::None,
        high_watermark: outcome.high_watermark,
        last_stable_offset: outcome.last_stable_offset,
        log_start_offset: outcome.log_start_offset,
        diverging_epoch: outcome
            .diverging
            .map(|(epoch, end_offset)| DivergingEpoch { epoch, end_offset }),
        current_leader: None,
        snapshot_id: None,
        aborted_transactions: outcome.aborted.map(|aborted| {
            let each = aborted.iter().map(|txn| AbortedTransaction {
                producer_id: txn.producer_id,
                first_offset: txn.first_offset,
            });
            each.collect()
        }),
        preferred_read_replica: NodeId::NONE,
        records: outcome.slice.map(|slice| FileRange {
            file: slice.file,
            position: slice.position,
            len: slice.len as usize,
            maybe_cold: !slice.is_recent,
        }),
    }
}

/// What a slice adds to its topic's counters.
fn count_out(target: &FetchTarget, result: &FetchResult) {
    let (Ok(partition), Ok(outcome)) = (&target.partition, result) else {
        return;
    };
    let Some(slice) = &outcome.slice else {
        return;
    };
    let counters = &partition.counters;
    counters
        .bytes_out
        .fetch_add(u64::from(slice.len), Ordering::Relaxed);
    if let Some(next) = slice.next_offset {
        let first = target.request.fetch_offset.max(slice.first_offset);
        let messages = u64::try_from(next.0 - first.0).unwrap_or(0);
        counters.messages_out.fetch_add(messages, Ordering::Relaxed);
    }
}

fn empty_response() -> FetchResponse<FileRange> {
    FetchResponse {
        throttle_time_ms: 0,
        error: ErrorCode::None,
        session_id: 0,
        topics: Vec::new(),
        node_endpoints: Vec::new(),
    }
}

/// The fetch as a whole is refused.
fn failed(code: ErrorCode) -> FetchResponse<FileRange> {
    FetchResponse {
        error: code,
        ..empty_response()
    }
}

fn encode(
    ctx: &RequestContext,
    response: FetchResponse<FileRange>,
) -> Result<Option<Response>, RequestError> {
    ctx.node.metrics.replied_error(KEY, response.error);
    for partition in response.topics.iter().flat_map(|topic| &topic.partitions) {
        ctx.node.metrics.replied_error(KEY, partition.error);
    }
    let parts = response
        .into_parts(ctx.correlation_id, ctx.version)
        .map_err(|error| RequestError::Encode {
            api: NAME,
            version: ctx.version,
            reason: error.to_string(),
        })?;
    let parts = parts
        .into_iter()
        .map(|part| match part {
            Part::Bytes(bytes) => ResponsePart::Bytes(bytes),
            Part::Records(range) => ResponsePart::File(range),
        })
        .collect();
    Ok(Some(Response::new(parts)))
}
