//! A partition as Metadata and DescribeTopicPartitions show it: who of its replicas can be reached
//! by the listener that the client came by, and lies in a log directory that is online.

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
        .filter(|node| {
            !is_reachable(image, **node, listener) || !image.is_in_online_dir(partition, **node)
        })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::records::DirectoryId;
    use crate::controller::testing::{cluster_of, fence, lies_in, partition_of};
    use crate::types::PartitionId;

    #[test]
    fn a_replica_is_offline_with_its_broker_its_listener_or_its_directory() {
        let mut image = cluster_of(&[(1, None), (2, None)]);
        partition_of(&mut image, &[1, 2, 9], &[1, 2], 1);
        let shown = |image: &MetadataImage, listener: &str| -> Vec<i32> {
            let state = image.partition("t", PartitionId(0)).unwrap();
            let offline = offline_replicas(image, state, listener);
            offline.into_iter().map(|id| id.0).collect()
        };
        assert_eq!(shown(&image, "PLAINTEXT"), [9]);
        assert_eq!(shown(&image, "OTHER"), [1, 2, 9]);
        let dir = |n| DirectoryId(uuid::Uuid::from_u128(n));
        for (dir, offline) in [
            (dir(1001), &[9][..]),
            (dir(1), &[9]),
            (dir(0), &[9]),
            (dir(7777), &[1, 9]),
            (DirectoryId::LOST, &[1, 9]),
        ] {
            lies_in(&mut image, 0, dir);
            assert_eq!(shown(&image, "PLAINTEXT"), offline, "{dir:?}");
        }
        fence(&mut image, 2);
        assert_eq!(shown(&image, "PLAINTEXT"), [1, 2, 9]);
    }
}
