//! A partition as Metadata and DescribeTopicPartitions show it: who of its replicas can be reached
//! by the listener that the client came by.

use kafka_protocol::messages::BrokerId;

use crate::controller::image::MetadataImage;
use crate::controller::node_list::NodeList;
use crate::controller::topic_image::PartitionState;
use crate::error::ErrorCode;
use crate::types::NodeId;

/// Whether clients of this listener can reach the broker.
pub(super) fn is_reachable(image: &MetadataImage, id: NodeId, listener: &str) -> bool {
    image
        .broker(id)
        .is_some_and(|broker| !broker.fenced && broker.endpoint(listener).is_some())
}

pub(super) fn broker_ids(nodes: &NodeList) -> Vec<BrokerId> {
    nodes.iter().map(|node| BrokerId(node.0)).collect()
}

pub(super) fn offline_replicas(
    image: &MetadataImage,
    partition: &PartitionState,
    listener: &str,
) -> Vec<BrokerId> {
    partition
        .replicas
        .iter()
        .filter(|node| !is_reachable(image, **node, listener))
        .map(|node| BrokerId(node.0))
        .collect()
}

/// The leader, or why no client can find it.
pub(super) fn leader(
    image: &MetadataImage,
    partition: &PartitionState,
    listener: &str,
) -> Result<NodeId, ErrorCode> {
    match image.broker(partition.leader) {
        Some(broker) if broker.fenced => Err(ErrorCode::LeaderNotAvailable),
        Some(broker) if broker.endpoint(listener).is_none() => Err(ErrorCode::ListenerNotFound),
        Some(broker) => Ok(broker.id),
        None => Err(ErrorCode::LeaderNotAvailable),
    }
}
