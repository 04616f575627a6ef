//! Who leads a partition now, told to a client that asked the wrong broker (KIP-951).

use anyhow::Result;
use kafka_protocol::protocol::StrBytes;

use crate::protocol::messages::wire::Sink;
use crate::types::{LeaderEpoch, NodeId};

/// The tagged field of a partition in Produce and Fetch responses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CurrentLeader {
    pub leader_id: NodeId,
    pub leader_epoch: LeaderEpoch,
}

/// Where a leader named in a response is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeEndpoint {
    pub node_id: NodeId,
    pub host: StrBytes,
    pub port: i32,
    pub rack: Option<StrBytes>,
}

impl CurrentLeader {
    pub(crate) fn to_bytes(self) -> [u8; 9] {
        let mut out = [0; 9];
        let (id, rest) = out.split_at_mut(4);
        id.copy_from_slice(&self.leader_id.0.to_be_bytes());
        if let Some(epoch) = rest.first_chunk_mut::<4>() {
            *epoch = self.leader_epoch.0.to_be_bytes();
        }
        // The last byte says that there are no tagged fields.
        out
    }
}

/// The tagged fields of a response that has endpoints to tell, or has not.
pub(crate) fn write_endpoints<S: Sink>(out: &mut S, endpoints: &[NodeEndpoint]) -> Result<()> {
    if endpoints.is_empty() {
        out.varint(0);
        return Ok(());
    }
    let mut value = Vec::new();
    value.array(Some(endpoints), true, |out, endpoint| {
        out.put(&endpoint.node_id.0.to_be_bytes());
        out.string(Some(&endpoint.host), true)?;
        out.put(&endpoint.port.to_be_bytes());
        out.string(endpoint.rack.as_ref(), true)?;
        out.varint(0);
        Ok(())
    })?;
    out.varint(1);
    out.tagged(0, &value)
}
