//! A whole node in memory, for the tests of API files.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::BytesMut;
use kafka_protocol::protocol::Encodable;

use super::{APIS, RequestContext};
use crate::config::BrokerConfig;
use crate::controller::schema::OptionsTables;
use crate::controller::testing::registration;
use crate::controller::{Command, MetadataDelta, MetadataImage, Reply, Settings};
use crate::log::memory::MemStorage;
use crate::log::{LogManager, storage::Storage};
use crate::logging::LogLevels;
use crate::metrics::Metrics;
use crate::runtime::group_coordinator::GroupCoordinators;
use crate::runtime::partitions::Partitions;
use crate::runtime::zab_peer::{self, OpenLimits, ZabPeerOptions};
use crate::runtime::{Node, NodeParts};
use crate::security::Principal;
use crate::types::NodeId;
use crate::zab::{self, Voters};

pub(super) const LISTENER: &str = "PLAINTEXT";

/// Node 1, registered, with its partitions following its metadata.
pub(super) async fn node(config: BrokerConfig) -> Arc<Node> {
    let me = NodeId(1);
    let storage: Arc<dyn Storage> = Arc::new(MemStorage::default());
    let dir = PathBuf::from("/data");
    let logs = LogManager::open(storage.clone(), vec![dir.clone()]).unwrap();
    let config = Arc::new(ArcSwap::from_pointee(config));
    let metadata = zab_peer::start(options(me, storage, &dir)).await.unwrap();
    metadata.joined().await.unwrap();
    let partitions = Arc::new(Partitions::new(me, Arc::new(logs), Vec::new(), 0));
    let listener = {
        let (partitions, config) = (partitions.clone(), config.clone());
        move |image: &Arc<MetadataImage>, delta: &MetadataDelta| {
            partitions.apply(image, delta, &config.load(), crate::types::TimestampMs(0));
        }
    };
    metadata.attach(listener).await.unwrap();
    let mut broker = registration(me.0, None);
    broker.incarnation = metadata.incarnation();
    broker.cluster_id = metadata.image().cluster_id().to_owned();
    let reply = metadata.submit(Command::RegisterBroker(broker)).await;
    assert_eq!(reply, Ok(Reply::RegisterBroker(Ok(()))));
    let groups = GroupCoordinators::new(me, config.clone(), partitions.clone());
    Arc::new(Node::new(NodeParts {
        id: me,
        config,
        metadata,
        partitions,
        groups,
        metrics: Arc::new(Metrics::new(APIS.iter().map(|api| (api.key, api.name))).unwrap()),
        log_levels: Arc::new(LogLevels::detached("info").unwrap()),
    }))
}

fn options(me: NodeId, storage: Arc<dyn Storage>, dir: &Path) -> ZabPeerOptions {
    ZabPeerOptions {
        node: me,
        voters: Voters::of([me]),
        directory: None,
        zab: zab::Settings::default(),
        links: None,
        dir: dir.join(crate::log::ZAB_DIR),
        storage,
        schema: Arc::new(OptionsTables),
        settings: Settings {
            num_partitions: 1,
            default_replication_factor: 1,
            max_replication_factor: 1,
            min_insync_replicas: 1,
            node: me,
        },
        open: OpenLimits::default(),
        snapshot_after_bytes: 8 << 20,
        metrics: Arc::new(Metrics::new([]).unwrap()),
    }
}

pub(super) fn context(node: &Arc<Node>, version: i16) -> RequestContext {
    RequestContext {
        node: node.clone(),
        version,
        correlation_id: 1,
        client_id: None,
        client: (Ipv4Addr::LOCALHOST, 50_000).into(),
        principal: Principal::anonymous(),
        listener: LISTENER.into(),
    }
}

/// A reply that its version cannot carry is a bug that only a client would find.
pub(super) fn check_encodes(response: &impl Encodable, version: i16) {
    let mut bytes = BytesMut::new();
    response.encode(&mut bytes, version).unwrap();
}
