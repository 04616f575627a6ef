//! DescribeCluster (60), versions 0–2 (KIP-700): the cluster's id and its brokers.
//!
//! v1 asks for brokers or for controllers (KIP-919): these listeners are brokers', a question for
//! controllers is refused as by Kafka's brokers. v2 shows fenced brokers when asked to (KIP-1073). As
//! Apache Kafka 4.4.0, except that the controller named is the ZAB leader's broker, not any.

use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::{BrokerId, DescribeClusterRequest, DescribeClusterResponse};
use kafka_protocol::protocol::StrBytes;

use super::RequestContext;
use crate::controller::image::MetadataImage;
use crate::error::ErrorCode;
use crate::security::authorizer::CLUSTER;
use crate::security::{Operation, ResourceType};
use crate::types::NodeId;

const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

pub(super) async fn handle(
    ctx: RequestContext,
    request: DescribeClusterRequest,
) -> DescribeClusterResponse {
    if let Some((code, why)) = refusal(ctx.version, request.endpoint_type) {
        return DescribeClusterResponse::default()
            .with_error_code(code.code())
            .with_error_message(Some(StrBytes::from_string(why)));
    }
    let image = ctx.node.metadata();
    let brokers = brokers(&image, &ctx.listener, request.include_fenced_brokers);
    let mut response = DescribeClusterResponse::default()
        .with_cluster_id(StrBytes::from_string(image.cluster_id().to_owned()))
        .with_controller_id(BrokerId(controller(&brokers, ctx.node.controller_id()).0))
        .with_brokers(brokers);
    if request.include_cluster_authorized_operations {
        response.cluster_authorized_operations =
            if ctx.authorize(Operation::Describe, ResourceType::Cluster, CLUSTER) {
                ctx.authorized_operations(ResourceType::Cluster, CLUSTER)
            } else {
                0
            };
    }
    response
}

fn refusal(version: i16, endpoint_type: i8) -> Option<(ErrorCode, String)> {
    let (code, why) = match endpoint_type {
        BROKERS => return None,
        CONTROLLERS => (
            ErrorCode::MismatchedEndpointType,
            "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER".to_owned(),
        ),
        other => (
            ErrorCode::UnsupportedEndpointType,
            format!("Unsupported endpoint type {other}"),
        ),
    };
    let code = if version == 0 {
        ErrorCode::InvalidRequest
    } else {
        code
    };
    Some((code, why))
}

/// Those that can be reached by the listener of the request.
fn brokers(image: &MetadataImage, listener: &str, fenced: bool) -> Vec<DescribeClusterBroker> {
    let shown = image.brokers().filter(|broker| fenced || !broker.fenced);
    shown
        .filter_map(|broker| {
            let endpoint = broker.endpoint(listener)?;
            let rack = broker.rack.clone();
            Some(
                DescribeClusterBroker::default()
                    .with_broker_id(BrokerId(broker.id.0))
                    .with_host(StrBytes::from_string(endpoint.host.clone()))
                    .with_port(i32::from(endpoint.port))
                    .with_rack(rack.map(StrBytes::from_string))
                    .with_is_fenced(broker.fenced),
            )
        })
        .collect()
}

/// Nobody, rather than somebody the client is not told of.
fn controller(brokers: &[DescribeClusterBroker], leader: NodeId) -> NodeId {
    match brokers.iter().any(|broker| broker.broker_id.0 == leader.0) {
        true => leader,
        false => NodeId::NONE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::testing::{cluster_of, fence};

    #[test]
    fn endpoints_that_are_not_here_are_refused() {
        assert_eq!(refusal(1, BROKERS), None);
        let code = |version, kind| refusal(version, kind).unwrap().0;
        assert_eq!(code(1, CONTROLLERS), ErrorCode::MismatchedEndpointType);
        assert_eq!(code(1, 7), ErrorCode::UnsupportedEndpointType);
        assert_eq!(code(0, 7), ErrorCode::InvalidRequest);
    }

    #[test]
    fn fenced_brokers_are_shown_when_asked_for() {
        let mut image = cluster_of(&[(1, Some("r")), (2, None)]);
        fence(&mut image, 2);
        let ids = |listener, fenced| {
            let shown = brokers(&image, listener, fenced);
            shown
                .iter()
                .map(|b| (b.broker_id.0, b.is_fenced))
                .collect::<Vec<_>>()
        };
        assert_eq!(ids("PLAINTEXT", false), [(1, false)]);
        assert_eq!(ids("PLAINTEXT", true), [(1, false), (2, true)]);
        assert_eq!(ids("SSL", true), []);
        let shown = brokers(&image, "PLAINTEXT", false);
        assert_eq!(shown[0].rack.as_deref(), Some("r"));
        assert_eq!(controller(&shown, NodeId(1)), NodeId(1));
        assert_eq!(controller(&shown, NodeId(2)), NodeId::NONE);
    }
}
