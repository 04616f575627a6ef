//! FindCoordinator (10), versions 0–6: which broker coordinates a group.
//!
//! v1 kinds of coordinators; v3 flexible; v4 several keys at once (KIP-699); v6 share groups (KIP-932).
//! The first search makes `__consumer_offsets`; other than in Kafka its answer is already the
//! coordinator, where Kafka says COORDINATOR_NOT_AVAILABLE and the client asks again. There is no
//! coordinator of transactions or share groups here yet: INVALID_REQUEST says so at once.

use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::{BrokerId, FindCoordinatorRequest, FindCoordinatorResponse};

use super::RequestContext;
use super::group_text::wire;
use super::partition_view::leader;
use crate::controller::command::{ApiError, Command, CreateTopics};
use crate::controller::topics::CONSUMER_OFFSETS;
use crate::error::ErrorCode;
use crate::runtime::group_coordinator::offsets_topic;
use crate::security::{Operation, ResourceType};

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
const SHARE: i8 = 2;

/// Where a coordinator is: as the client's listener reaches it.
#[derive(Debug, Clone)]
struct Found {
    node_id: i32,
    host: String,
    port: i32,
}

pub(super) async fn handle(
    ctx: RequestContext,
    request: FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    if ctx.version >= 4 {
        let mut coordinators = Vec::with_capacity(request.coordinator_keys.len());
        for key in &request.coordinator_keys {
            let found = find(&ctx, request.key_type, key).await;
            coordinators.push(answer_key(key, found));
        }
        return FindCoordinatorResponse::default().with_coordinators(coordinators);
    }
    let key_type = match ctx.version {
        0 => GROUP,
        _ => request.key_type,
    };
    let found = find(&ctx, key_type, &request.key).await;
    answer_one(found, ctx.version)
}

async fn find(ctx: &RequestContext, key_type: i8, key: &str) -> Result<Found, ApiError> {
    match key_type {
        GROUP if !ctx.authorize(Operation::Describe, ResourceType::Group, key) => {
            Err(ErrorCode::GroupAuthorizationFailed.into())
        }
        TRANSACTION if !ctx.authorize(Operation::Describe, ResourceType::TransactionalId, key) => {
            Err(ErrorCode::TransactionalIdAuthorizationFailed.into())
        }
        GROUP => {
            if ctx.node.metadata().topic(CONSUMER_OFFSETS).is_none() {
                create_offsets_topic(ctx).await?;
            }
            Ok(find_group(ctx, key)?)
        }
        TRANSACTION => Err(absent("of transactions yet")),
        SHARE => Err(absent("of share groups yet")),
        _ => Err(absent(&format!("of kind {key_type}"))),
    }
}

fn absent(which: &str) -> ApiError {
    let why = format!("There are no coordinators {which}.");
    ApiError::new(ErrorCode::InvalidRequest, why)
}

fn find_group(ctx: &RequestContext, group: &str) -> Result<Found, ErrorCode> {
    let image = ctx.node.metadata();
    let index = ctx.node.groups.partition_of(group);
    let away = ErrorCode::CoordinatorNotAvailable;
    let partition = image.partition(CONSUMER_OFFSETS, index).ok_or(away)?;
    let leader = leader(&image, partition, &ctx.listener).map_err(|_| away)?;
    let endpoint = image
        .broker(leader)
        .and_then(|broker| broker.endpoint(&ctx.listener))
        .ok_or(away)?;
    Ok(Found {
        node_id: leader.0,
        host: endpoint.host.clone(),
        port: i32::from(endpoint.port),
    })
}

async fn create_offsets_topic(ctx: &RequestContext) -> Result<(), ErrorCode> {
    let image = ctx.node.metadata();
    let live = image.brokers().filter(|broker| broker.is_active()).count();
    let topic = offsets_topic(&ctx.node.config(), live);
    let command = Command::CreateTopics(CreateTopics {
        topics: vec![topic],
        validate_only: false,
    });
    // Made, or somebody else was faster: the image tells.
    match ctx.node.submit(command).await {
        Ok(_) if ctx.node.metadata().topic(CONSUMER_OFFSETS).is_some() => Ok(()),
        Ok(reply) => {
            tracing::warn!(?reply, "{CONSUMER_OFFSETS} could not be made");
            Err(ErrorCode::CoordinatorNotAvailable)
        }
        Err(error) => {
            tracing::warn!(%error, "{CONSUMER_OFFSETS} could not be made");
            Err(ErrorCode::CoordinatorNotAvailable)
        }
    }
}

fn answer_key(key: &str, found: Result<Found, ApiError>) -> Coordinator {
    let coordinator = Coordinator::default().with_key(wire(key));
    match found {
        Ok(found) => coordinator
            .with_node_id(BrokerId(found.node_id))
            .with_host(wire(&found.host))
            .with_port(found.port),
        Err(error) => coordinator
            .with_node_id(BrokerId(-1))
            .with_port(-1)
            .with_error_code(error.error.code())
            .with_error_message(error.message.as_deref().map(wire)),
    }
}

fn answer_one(found: Result<Found, ApiError>, version: i16) -> FindCoordinatorResponse {
    let (response, message) = match found {
        Ok(found) => (
            FindCoordinatorResponse::default()
                .with_node_id(BrokerId(found.node_id))
                .with_host(wire(&found.host))
                .with_port(found.port),
            ErrorCode::None.name().to_owned(),
        ),
        Err(error) => (
            FindCoordinatorResponse::default()
                .with_node_id(BrokerId(-1))
                .with_port(-1)
                .with_error_code(error.error.code()),
            error.message.unwrap_or_else(|| error.error.name().to_owned()),
        ),
    };
    match version {
        0 => response,
        _ => response.with_error_message(Some(wire(&message))),
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use kafka_protocol::protocol::{Decodable, Encodable};

    use super::*;

    #[test]
    fn every_version_can_carry_every_answer() {
        let found = Found {
            node_id: 1,
            host: "localhost".into(),
            port: 9092,
        };
        for version in 0..=6 {
            for answer in [Ok(found.clone()), Err(ErrorCode::CoordinatorNotAvailable.into())] {
                let response = match version {
                    ..=3 => answer_one(answer, version),
                    _ => FindCoordinatorResponse::default()
                        .with_coordinators(vec![answer_key("g", answer)]),
                };
                let mut bytes = BytesMut::new();
                response.encode(&mut bytes, version).unwrap();
                FindCoordinatorResponse::decode(&mut bytes.freeze(), version).unwrap();
            }
        }
    }
}
