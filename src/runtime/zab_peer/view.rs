//! The ensemble as people and `dohle status` see it: this node's own part, and all of it when the leader answers.

use std::time::Duration;

use serde_json::{Value, json};

use super::{MetadataHandle, Quorum};
use crate::types::Zxid;

/// Somebody looks because the leader does not answer: they are not to wait long for that.
const LEADER_WITHIN: Duration = Duration::from_secs(2);

/// `None` when the metadata has stopped.
pub async fn of(metadata: &MetadataHandle) -> Option<Value> {
    let status = metadata.status().await.ok()?;
    let quorum = tokio::time::timeout(LEADER_WITHIN, metadata.describe_quorum()).await;
    let quorum = quorum.ok().and_then(Result::ok);
    let image = metadata.image();
    let brokers = image.brokers().map(|broker| {
        json!({
            "id": broker.id.0,
            "fenced": broker.fenced,
            "rack": broker.rack,
            "endpoints": broker.endpoints.iter()
                .map(|e| format!("{}://{}:{}", e.name, e.host, e.port))
                .collect::<Vec<_>>(),
        })
    });
    Some(json!({
        "node": status.node.0,
        "cluster_id": image.cluster_id(),
        "role": format!("{:?}", status.role).to_lowercase(),
        "phase": format!("{:?}", status.phase).to_lowercase(),
        "leader": status.leader.map(|node| node.0),
        "epoch": status.current_epoch,
        "elections": status.elections,
        "last_zxid": text(status.last_zxid),
        "committed": text(status.committed),
        "applied": text(image.applied()),
        "brokers": brokers.collect::<Vec<_>>(),
        "quorum": quorum.map(|quorum| of_quorum(&quorum)),
    }))
}

fn of_quorum(quorum: &Quorum) -> Value {
    let members = quorum.members.iter().map(|member| {
        json!({
            "id": member.node.0,
            "voter": member.is_voter,
            "leader": member.node == quorum.leader,
            "address": format!("{}:{}", member.host, member.port),
            "durable": member.durable.map(text),
            "up_to_date": member.is_up_to_date,
            "silent_ms": member.silent_ms,
        })
    });
    json!({
        "leader": quorum.leader.0,
        "epoch": quorum.epoch,
        "committed": text(quorum.committed),
        "members": members.collect::<Vec<_>>(),
    })
}

/// Epoch and counter.
fn text(zxid: Zxid) -> String {
    format!("{}.{}", zxid.epoch(), zxid.counter())
}
