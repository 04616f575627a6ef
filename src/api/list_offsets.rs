//! ListOffsets (2), versions 1–11: a partition's first, last, or first offset since a time.
//!
//! v2 isolation level; v4 leader epochs (KIP-320); v5 a new leader may have to be asked again (KIP-207); v6 flexible; v7 the offset of the largest timestamp
//! (KIP-734); v8 the earliest local offset (KIP-405); v9 the last tiered one (KIP-1005); v10 a timeout for
//! remote reads; v11 the first offset that waits to be tiered (KIP-1023). Nothing is tiered here: those
//! two are answered as by a broker without remote storage.

use std::collections::BTreeSet;

use super::RequestContext;
use crate::error::ErrorCode;
use crate::protocol::messages::list_offsets_request::ListOffsetsPartition;
use crate::protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use crate::protocol::messages::{ListOffsetsRequest, ListOffsetsResponse};
use crate::runtime::partition::LogView;
use crate::security::{Operation, ResourceType};
use crate::types::{LeaderEpoch, Offset, PartitionId, TimestampMs};

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const EARLIEST_PENDING_UPLOAD: i64 = -6;

/// Who asks, where a consumer does.
const CONSUMER: i32 = -1;
const READ_COMMITTED: i8 = 1;

/// A timestamp of the request's own, the offset found and its leader epoch; all -1 when there is none.
type Found = (TimestampMs, Offset, LeaderEpoch);

const NOT_FOUND: Found = (TimestampMs::NONE, Offset(-1), LeaderEpoch::UNKNOWN);

pub(super) async fn handle(ctx: RequestContext, request: ListOffsetsRequest) -> ListOffsetsResponse {
    let bound = Bound {
        for_consumer: request.replica_id.0 == CONSUMER,
        read_committed: request.isolation_level == READ_COMMITTED,
    };
    let repeated = repeated_partitions(&request);
    let topics = request
        .topics
        .into_iter()
        .map(|topic| {
            let allowed = ctx.authorize(Operation::Describe, ResourceType::Topic, &topic.name);
            let partitions = topic
                .partitions
                .iter()
                .map(|asked| {
                    let found = if !allowed {
                        Err(ErrorCode::TopicAuthorizationFailed)
                    } else if repeated
                        .contains(&(topic.name.to_string(), asked.partition_index))
                    {
                        Err(ErrorCode::InvalidRequest)
                    } else {
                        find(&ctx, &topic.name, asked, bound)
                    };
                    answer(asked, found, ctx.version)
                })
                .collect();
            ListOffsetsTopicResponse {
                name: topic.name,
                partitions,
                ..Default::default()
            }
        })
        .collect();
    ListOffsetsResponse {
        topics,
        ..Default::default()
    }
}

/// How far the asker may see.
#[derive(Debug, Clone, Copy)]
struct Bound {
    for_consumer: bool,
    read_committed: bool,
}

fn repeated_partitions(request: &ListOffsetsRequest) -> BTreeSet<(String, i32)> {
    let mut seen = BTreeSet::new();
    let mut repeated = BTreeSet::new();
    for topic in &request.topics {
        for partition in &topic.partitions {
            let key = (topic.name.to_string(), partition.partition_index);
            if !seen.insert(key.clone()) {
                repeated.insert(key);
            }
        }
    }
    repeated
}

fn answer(
    asked: &ListOffsetsPartition,
    found: Result<Found, ErrorCode>,
    version: i16,
) -> ListOffsetsPartitionResponse {
    let (code, (timestamp, offset, epoch)) = match found {
        Ok(found) => (ErrorCode::None, found),
        // The code came with version 5.
        Err(ErrorCode::OffsetNotAvailable) if version < 5 => {
            (ErrorCode::LeaderNotAvailable, NOT_FOUND)
        }
        Err(code) => (code, NOT_FOUND),
    };
    ListOffsetsPartitionResponse {
        partition_index: asked.partition_index,
        error_code: code.code(),
        timestamp: timestamp.0,
        offset: offset.0,
        // The field came with version 4; the codec refuses to leave out one that is set.
        leader_epoch: if version >= 4 { epoch.0 } else { -1 },
        ..Default::default()
    }
}

/// The version from which each special timestamp may be asked for.
fn is_understood(timestamp: i64, version: i16) -> bool {
    let since = match timestamp {
        0.. | LATEST | EARLIEST => 1,
        MAX_TIMESTAMP => 7,
        EARLIEST_LOCAL => 8,
        LATEST_TIERED => 9,
        EARLIEST_PENDING_UPLOAD => 11,
        _ => return false,
    };
    version >= since
}

fn find(
    ctx: &RequestContext,
    topic: &str,
    asked: &ListOffsetsPartition,
    bound: Bound,
) -> Result<Found, ErrorCode> {
    if !is_understood(asked.timestamp, ctx.version) {
        return Err(ErrorCode::UnsupportedVersion);
    }
    let partition = ctx
        .node
        .partition_by_name(topic, PartitionId(asked.partition_index))?;
    partition.with_leader_log(LeaderEpoch(asked.current_leader_epoch), |mut view| {
        look_up(&mut view, asked.timestamp, bound)
    })?
}

fn look_up(view: &mut LogView<'_>, timestamp: i64, bound: Bound) -> Result<Found, ErrorCode> {
    let readable = match bound {
        Bound {
            for_consumer: false,
            ..
        } => view.log.log_end_offset(),
        Bound {
            read_committed: true,
            ..
        } => view.last_stable_offset,
        Bound { .. } => view.high_watermark,
    };
    // KIP-207: the new leader does not know yet how far the last one had told consumers to read.
    let may_go_back = bound.for_consumer && view.leading_from > view.high_watermark;
    let unavailable = || may_go_back.then_some(ErrorCode::OffsetNotAvailable);
    let found = match timestamp {
        LATEST if may_go_back => return Err(ErrorCode::OffsetNotAvailable),
        LATEST => return Ok((TimestampMs::NONE, readable, view.leader_epoch)),
        EARLIEST | EARLIEST_LOCAL => {
            let start = view.log.log_start_offset();
            let epoch = view.log.epoch_of(start).unwrap_or(LeaderEpoch::UNKNOWN);
            return Ok((TimestampMs::NONE, start, epoch));
        }
        LATEST_TIERED | EARLIEST_PENDING_UPLOAD => return Ok(NOT_FOUND),
        MAX_TIMESTAMP => view.log.offset_of_max_timestamp(),
        timestamp => view.log.offset_for_timestamp(TimestampMs(timestamp)),
    };
    match found {
        Ok(Some(found)) if found.offset < readable => {
            Ok((found.timestamp, found.offset, found.leader_epoch))
        }
        Ok(_) => unavailable().map_or(Ok(NOT_FOUND), Err),
        Err(error) => {
            tracing::error!(partition = %view.log.topic_partition(), %error, "the log cannot be searched by time");
            Err(ErrorCode::KafkaStorageError)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_special_timestamp_has_its_first_version() {
        let since = |timestamp| (1..=11).find(|version| is_understood(timestamp, *version));
        assert_eq!(since(1_700_000_000_000), Some(1));
        assert_eq!(since(LATEST), Some(1));
        assert_eq!(since(EARLIEST), Some(1));
        assert_eq!(since(MAX_TIMESTAMP), Some(7));
        assert_eq!(since(EARLIEST_LOCAL), Some(8));
        assert_eq!(since(LATEST_TIERED), Some(9));
        assert_eq!(since(EARLIEST_PENDING_UPLOAD), Some(11));
        assert_eq!(since(-7), None);
    }

    #[test]
    fn the_leader_epoch_is_left_to_the_versions_that_have_it() {
        let found = || Ok((TimestampMs(5), Offset(7), LeaderEpoch(3)));
        let epoch = |version| answer(&ListOffsetsPartition::default(), found(), version).leader_epoch;
        assert_eq!((epoch(3), epoch(4)), (-1, 3));
    }
}
