//! Who may connect: the same cluster, the same protocol, and the disk that voted before.

use uuid::Uuid;

use crate::types::NodeId;
use crate::zab::voters::Voters;

/// Of the messages and of the handshake.
pub const PROTOCOL_VERSION: u16 = 1;

/// What each end of a connection says first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    pub version: u16,
    /// None of a node that has never been part of a cluster.
    pub cluster_id: Option<String>,
    pub node: NodeId,
    /// Of the node's `zab` directory; a wiped disk has another.
    pub directory: Uuid,
    /// What it takes itself for.
    pub is_voter: bool,
    /// Of the process: a restart has another.
    pub incarnation: Uuid,
}

/// Why a connection is refused. The words go to the log of the one who is refused, too.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error(
        "node {node} speaks version {version} of the ensemble's protocol, this node version {PROTOCOL_VERSION}"
    )]
    Version { node: NodeId, version: u16 },
    #[error(
        "node {node} belongs to the cluster {theirs}, this node to {ours}: one of them has the wrong address or the wrong data directory"
    )]
    Cluster {
        node: NodeId,
        theirs: String,
        ours: String,
    },
    #[error("node {0} is this node's own id: two servers are configured with the same node.id")]
    SameNode(NodeId),
    #[error(
        "voter {node} comes with the data directory {theirs}, but voted with {recorded}: its disk was wiped or replaced, and what it promised with it. Remove the voter (kafka-metadata-quorum remove-controller) and add it again"
    )]
    Directory {
        node: NodeId,
        theirs: Uuid,
        recorded: Uuid,
    },
}

/// Decides on one end's `Hello`, by what the other end is.
pub fn admit(
    hello: &Hello,
    node: NodeId,
    cluster_id: Option<&str>,
    voters: &Voters,
) -> Result<(), Refusal> {
    if hello.version != PROTOCOL_VERSION {
        return Err(Refusal::Version {
            node: hello.node,
            version: hello.version,
        });
    }
    if hello.node == node {
        return Err(Refusal::SameNode(node));
    }
    if let (Some(theirs), Some(ours)) = (&hello.cluster_id, cluster_id)
        && theirs != ours
    {
        return Err(Refusal::Cluster {
            node: hello.node,
            theirs: theirs.clone(),
            ours: ours.to_owned(),
        });
    }
    let recorded = voters.get(hello.node).and_then(|voter| voter.directory);
    match recorded {
        Some(recorded) if recorded != hello.directory => Err(Refusal::Directory {
            node: hello.node,
            theirs: hello.directory,
            recorded,
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zab::voters::Voter;

    #[test]
    fn each_refusal_has_its_reason() {
        let ours = Uuid::from_u128(7);
        let voters = Voters::new([
            (NodeId(1), Voter::at("a", 1)),
            (NodeId(2), Voter::at("b", 2).with_directory(ours)),
        ]);
        let hello = |node: i32, directory: u128, cluster: Option<&str>| Hello {
            version: PROTOCOL_VERSION,
            cluster_id: cluster.map(str::to_owned),
            node: NodeId(node),
            directory: Uuid::from_u128(directory),
            is_voter: true,
            incarnation: Uuid::nil(),
        };
        let ask = |hello: &Hello| admit(hello, NodeId(1), Some("c"), &voters);
        assert_eq!(ask(&hello(2, 7, Some("c"))), Ok(()));
        assert_eq!(ask(&hello(2, 7, None)), Ok(()), "it is new");
        assert_eq!(ask(&hello(9, 1, Some("c"))), Ok(()), "an observer");
        let refusals = [
            (hello(2, 8, Some("c")), "was wiped or replaced"),
            (hello(2, 7, Some("d")), "belongs to the cluster d"),
            (hello(1, 7, Some("c")), "same node.id"),
            (
                Hello {
                    version: 9,
                    ..hello(2, 7, Some("c"))
                },
                "version 9",
            ),
        ];
        for (hello, reason) in refusals {
            let refusal = ask(&hello).unwrap_err().to_string();
            assert!(refusal.contains(reason), "{refusal}");
        }
        assert_eq!(
            admit(&hello(2, 7, Some("d")), NodeId(1), None, &voters),
            Ok(())
        );
    }
}
