//! DeleteGroups (42), versions 0–3: empty groups go, with their offsets.
//!
//! v2 flexible; v3 an error message, which classic groups never need. As Apache Kafka 4.4.0.

use std::collections::BTreeSet;

use kafka_protocol::messages::GroupId;

use super::RequestContext;
use super::group_text::{group_id, shared};
use crate::error::ErrorCode;
use crate::protocol::messages::delete_groups_response::DeletableGroupResult;
use crate::protocol::messages::{DeleteGroupsRequest, DeleteGroupsResponse};
use crate::security::{Operation, ResourceType};

pub(super) async fn handle(
    ctx: RequestContext,
    request: DeleteGroupsRequest,
) -> DeleteGroupsResponse {
    let mut seen: BTreeSet<&GroupId> = BTreeSet::new();
    let (mut allowed, mut refused) = (Vec::new(), Vec::new());
    for id in request.groups_names.iter().filter(|id| seen.insert(*id)) {
        let id = shared(id);
        if ctx.authorize(Operation::Delete, ResourceType::Group, &id) {
            allowed.push(id);
        } else {
            refused.push((id, ErrorCode::GroupAuthorizationFailed));
        }
    }
    let mut results = ctx.node.groups.delete(allowed).await;
    results.extend(refused);
    let results = results.iter().map(|(id, error)| DeletableGroupResult {
        group_id: group_id(id),
        error_code: error.code(),
        ..DeletableGroupResult::default()
    });
    DeleteGroupsResponse {
        results: results.collect(),
        ..DeleteGroupsResponse::default()
    }
}
