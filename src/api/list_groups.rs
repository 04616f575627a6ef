//! ListGroups (16), versions 0–5: the groups that this broker coordinates.
//!
//! v3 flexible; v4 states, to see and to filter by (KIP-518); v5 types (KIP-848). A client asks every
//! broker. Who may not describe the cluster sees the groups it may describe. As Apache Kafka 4.4.0.

use kafka_protocol::messages::list_groups_response::ListedGroup as WireGroup;
use kafka_protocol::messages::{ListGroupsRequest, ListGroupsResponse};

use super::RequestContext;
use super::group_text::{group_id, shared, wire};
use crate::group::command::{ListGroups, ListedGroup};
use crate::security::authorizer::CLUSTER;
use crate::security::{Operation, ResourceType};

pub(super) async fn handle(ctx: RequestContext, request: ListGroupsRequest) -> ListGroupsResponse {
    let filter = ListGroups {
        // As Kafka: of states the blanks around do not count.
        states: request.states_filter.iter().map(|state| state.trim().into()).collect(),
        types: request.types_filter.iter().map(shared).collect(),
    };
    let groups = match ctx.node.groups.list(filter).await {
        Ok(groups) => groups,
        Err(error) => return ListGroupsResponse::default().with_error_code(error.code()),
    };
    let sees_all = ctx.authorize(Operation::Describe, ResourceType::Cluster, CLUSTER);
    let groups = groups
        .iter()
        .filter(|group| {
            sees_all || ctx.authorize(Operation::Describe, ResourceType::Group, &group.group_id)
        })
        .map(|group| answer(group, ctx.version));
    ListGroupsResponse::default().with_groups(groups.collect())
}

fn answer(group: &ListedGroup, version: i16) -> WireGroup {
    let mut answered = WireGroup::default()
        .with_group_id(group_id(&group.group_id))
        .with_protocol_type(wire(&group.protocol_type));
    if version >= 4 {
        answered.group_state = wire(group.state);
    }
    if version >= 5 {
        // As Kafka writes it; filters take any case.
        answered.group_type = wire(group.group_type);
    }
    answered
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use kafka_protocol::protocol::{Decodable, Encodable};

    use super::*;

    #[test]
    fn every_version_can_carry_a_group() {
        let group = ListedGroup {
            group_id: "g".into(),
            protocol_type: "consumer".into(),
            state: "Stable",
            group_type: "classic",
        };
        for version in 0..=5 {
            let response =
                ListGroupsResponse::default().with_groups(vec![answer(&group, version)]);
            let mut bytes = BytesMut::new();
            response.encode(&mut bytes, version).unwrap();
            let back = ListGroupsResponse::decode(&mut bytes.freeze(), version).unwrap();
            assert_eq!(back, response, "v{version}");
        }
    }
}
