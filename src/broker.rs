//! What a node is started from, in which order, and how it stops.
//!
//! Start: addresses are bound first (a taken port is known at once), then the log directories are taken, the
//! ZAB peer is opened (it knows the cluster), the logs are opened, committed metadata is applied to them, the
//! broker registers itself, and clients are let in. Stop is the same backwards: clients get the replies
//! that are due, logs are flushed and marked clean, the peer goes last.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::sync::watch;
use uuid::Uuid;

use crate::api::APIS;
use crate::config::{BrokerConfig, Listener as ListenerConfig};
use crate::controller::MetadataDelta;
use crate::controller::Settings;
use crate::controller::command::{Command, RegisterBroker, Reply};
use crate::controller::features;
use crate::controller::image::MetadataImage;
use crate::controller::records::{
    BrokerEndpoint, ConfigResourceType, DirectoryId, SecurityProtocol,
};
use crate::controller::schema::OptionsTables;
use crate::log::storage::{RealStorage, Storage};
use crate::log::{CheckpointKind, LogConfig, LogManager, OpenError, ZAB_DIR};
use crate::logging::LogLevels;
use crate::metrics::Metrics;
use crate::net::http::HttpState;
use crate::net::listener::{ConnectionCounts, Listener, bind};
use crate::runtime::collectors::NodeCollector;
use crate::runtime::group_coordinator::GroupCoordinators;
use crate::runtime::maintenance::{self, MaintenanceStop};
use crate::runtime::partitions::Partitions;
use crate::runtime::readiness::{Phase, Readiness};
use crate::runtime::zab_peer::{MetadataHandle, ZabPeer, ZabPeerError, ZabPeerOptions};
use crate::runtime::{Node, NodeParts, wall_clock};
use crate::types::NodeId;

/// Why a node cannot start. One line, naming the option where one is to blame.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    #[error("{key}: {address} {reason}")]
    Address {
        key: &'static str,
        address: String,
        reason: String,
    },
    #[error(transparent)]
    Logs(#[from] OpenError),
    #[error(transparent)]
    Zab(#[from] ZabPeerError),
    #[error("the broker could not join its cluster: {0}")]
    Registration(String),
    #[error("the metrics cannot be set up: {0}")]
    Metrics(String),
    #[error("a thread cannot be started: {0}")]
    Thread(std::io::Error),
}

/// A listener as it came to be: its option, with the port it really has.
#[derive(Debug, Clone)]
pub struct BoundListener {
    pub name: String,
    pub address: SocketAddr,
    pub advertised: ListenerConfig,
}

/// A node that serves.
pub struct Broker {
    pub node: Arc<Node>,
    pub listeners: Vec<BoundListener>,
    /// Where HTTP is served, if it is.
    pub http: Option<SocketAddr>,
    pub readiness: Arc<Readiness>,
    metadata: MetadataHandle,
    shutdown: watch::Sender<bool>,
    accepting: Vec<tokio::task::JoinHandle<()>>,
    maintenance: Arc<MaintenanceStop>,
    threads: Vec<JoinHandle<()>>,
}

/// Sockets that are taken before anything else is touched.
async fn bind_listeners(
    config: &BrokerConfig,
) -> Result<Vec<(BoundListener, TcpListener)>, BrokerError> {
    let mut bound = Vec::new();
    for listener in &config.listeners {
        let socket = bind_one(listener, config).await?;
        let failed = |error: std::io::Error| address_error(listener, &error);
        let address = socket.local_addr().map_err(failed)?;
        bound.push((
            BoundListener {
                name: listener.name.clone(),
                address,
                advertised: advertised(listener, address, config),
            },
            socket,
        ));
    }
    Ok(bound)
}

async fn bind_one(
    listener: &ListenerConfig,
    config: &BrokerConfig,
) -> Result<TcpListener, BrokerError> {
    let host = if listener.host.is_empty() {
        "0.0.0.0"
    } else {
        &listener.host
    };
    let addresses = tokio::net::lookup_host((host, listener.port))
        .await
        .map_err(|error| address_error(listener, &error))?;
    let mut refused = std::io::Error::from(std::io::ErrorKind::AddrNotAvailable);
    // IPv4 first: `localhost` means it to most clients.
    let mut addresses: Vec<SocketAddr> = addresses.collect();
    addresses.sort_by_key(SocketAddr::is_ipv6);
    for address in addresses {
        match bind(address, config) {
            Ok(socket) => return Ok(socket),
            Err(error) => refused = error,
        }
    }
    Err(address_error(listener, &refused))
}

/// The HTTP socket, if there is to be one.
async fn bind_http(config: &BrokerConfig) -> Result<Option<TcpListener>, BrokerError> {
    let address = &config.http_listen;
    if address.is_empty() {
        return Ok(None);
    }
    let bound = TcpListener::bind(address).await;
    bound.map(Some).map_err(|error| BrokerError::Address {
        key: "http.listen",
        address: address.clone(),
        reason: reason(&error),
    })
}

fn address_error(listener: &ListenerConfig, error: &std::io::Error) -> BrokerError {
    BrokerError::Address {
        key: "listeners",
        address: format!("{}:{}", listener.host, listener.port),
        reason: reason(error),
    }
}

/// Why an address cannot be listened on, in words that fit behind it.
pub fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => "is in use".to_owned(),
        std::io::ErrorKind::PermissionDenied => "may not be used by this user".to_owned(),
        _ => format!("cannot be listened on: {error}"),
    }
}

/// What clients are told: the advertised address, else the one listened on; a port of 0 is the real one.
fn advertised(
    listener: &ListenerConfig,
    bound: SocketAddr,
    config: &BrokerConfig,
) -> ListenerConfig {
    let mut told = config
        .advertised_listeners
        .iter()
        .find(|advertised| advertised.name == listener.name)
        .unwrap_or(listener)
        .clone();
    if told.port == 0 {
        told.port = bound.port();
    }
    if told.host.is_empty() || told.host == "0.0.0.0" || told.host == "::" {
        told.host = hostname();
    }
    told
}

fn hostname() -> String {
    let name = rustix::system::uname();
    let name = name.nodename().to_string_lossy();
    if name.is_empty() {
        "localhost".to_owned()
    } else {
        name.into_owned()
    }
}

/// Starts a node. Blocks on the disk.
pub async fn start(
    config: BrokerConfig,
    log_levels: Arc<LogLevels>,
) -> Result<Broker, BrokerError> {
    let bound = bind_listeners(&config).await?;
    let http = bind_http(&config).await?;
    let metrics = Metrics::new(APIS.iter().map(|api| (api.key, api.name)));
    let shown = HttpState {
        metrics: Arc::new(metrics.map_err(|error| BrokerError::Metrics(error.to_string()))?),
        readiness: Arc::default(),
        log_levels,
    };
    let (shutdown, _) = watch::channel(false);
    let http = http.map(|socket| {
        let address = socket.local_addr().ok();
        tokio::spawn(crate::net::http::serve(
            socket,
            shown.clone(),
            shutdown.subscribe(),
        ));
        address
    });
    let mut broker = start_node(config, bound, &shown, shutdown).await?;
    broker.http = http.flatten();
    shown.readiness.enter(Phase::Ready);
    Ok(broker)
}

async fn start_node(
    config: BrokerConfig,
    bound: Vec<(BoundListener, TcpListener)>,
    shown: &HttpState,
    shutdown: watch::Sender<bool>,
) -> Result<Broker, BrokerError> {
    let me = NodeId(config.node_id);
    let storage: Arc<dyn Storage> = Arc::new(RealStorage);
    let logs = LogManager::open(Arc::clone(&storage), config.log_dirs.clone())?;
    let peer = open_peer(&config, me, storage)?;
    let image = peer.image();
    let directories = logs.claim(me, image.cluster_id())?;
    let shared_config = Arc::new(ArcSwap::from_pointee(dynamic(&config, &image, me)));
    let default_config = LogConfig::from(&crate::config::topic::resolve(
        &shared_config.load(),
        &Default::default(),
    ));
    let threads = usize::try_from(config.num_recovery_threads_per_data_dir).unwrap_or(1);
    let found = logs.load(&default_config, threads, &shown.readiness.recovery)?;
    let partitions = Arc::new(Partitions::new(me, Arc::new(logs), found));
    let groups = GroupCoordinators::new(me, Arc::clone(&shared_config), Arc::clone(&partitions));

    let apply = {
        let (partitions, groups) = (Arc::clone(&partitions), Arc::clone(&groups));
        let (statics, shared) = (config.clone(), Arc::clone(&shared_config));
        move |image: &Arc<MetadataImage>, delta: &MetadataDelta| {
            if delta
                .configs
                .iter()
                .any(|resource| resource.kind == ConfigResourceType::Broker)
            {
                shared.store(Arc::new(dynamic(&statics, image, me)));
            }
            partitions.apply(image, delta, &shared.load(), wall_clock());
            groups.apply(image, delta);
        }
    };
    apply(&image, &MetadataDelta::whole(&image));
    partitions.remove_strays(wall_clock());
    let metadata = peer.start(apply)?;
    let listeners: Vec<BoundListener> = bound.iter().map(|(bound, _)| bound.clone()).collect();
    let directories = directories.iter().map(|id| DirectoryId(id.0)).collect();
    register(&metadata, &config, &listeners, directories).await?;

    let node = Arc::new(Node::new(NodeParts {
        id: me,
        config: shared_config,
        metadata: metadata.clone(),
        partitions,
        groups,
        metrics: Arc::clone(&shown.metrics),
        log_levels: Arc::clone(&shown.log_levels),
    }));
    node.metrics.register_collector(Arc::new(NodeCollector {
        node: Arc::downgrade(&node),
    }));
    let maintenance = Arc::new(MaintenanceStop::default());
    let threads = start_threads(&node, &maintenance)?;
    let accepting = accept(&node, bound, &shutdown);
    Ok(Broker {
        node,
        listeners,
        http: None,
        readiness: Arc::clone(&shown.readiness),
        metadata,
        shutdown,
        accepting,
        maintenance,
        threads,
    })
}

fn open_peer(
    config: &BrokerConfig,
    me: NodeId,
    storage: Arc<dyn Storage>,
) -> Result<ZabPeer, BrokerError> {
    let dir = config.log_dirs.first().cloned().unwrap_or_default();
    Ok(ZabPeer::open(ZabPeerOptions {
        node: me,
        voters: vec![me],
        dir: dir.join(ZAB_DIR),
        storage,
        schema: Arc::new(OptionsTables),
        settings: Settings {
            num_partitions: config.num_partitions,
            default_replication_factor: i16::try_from(config.default_replication_factor)
                .unwrap_or(i16::MAX),
        },
        min_insync_replicas: config.min_insync_replicas,
    })?)
}

/// The options with what metadata says was changed while running.
fn dynamic(config: &BrokerConfig, image: &MetadataImage, me: NodeId) -> BrokerConfig {
    config.with_dynamic(
        image.configs(ConfigResourceType::Broker, ""),
        image.configs(ConfigResourceType::Broker, &me.to_string()),
    )
}

async fn register(
    metadata: &MetadataHandle,
    config: &BrokerConfig,
    listeners: &[BoundListener],
    directories: Vec<DirectoryId>,
) -> Result<(), BrokerError> {
    let endpoints = listeners
        .iter()
        .map(|bound| BrokerEndpoint {
            name: bound.advertised.name.clone(),
            host: bound.advertised.host.clone(),
            port: bound.advertised.port,
            security_protocol: SecurityProtocol::Plaintext,
        })
        .collect();
    let command = Command::RegisterBroker(RegisterBroker {
        id: NodeId(config.node_id),
        incarnation: Uuid::new_v4(),
        cluster_id: metadata.image().cluster_id().to_owned(),
        endpoints,
        rack: config.broker_rack.clone(),
        features: features::supported(),
        directories,
        fenced: false,
    });
    match metadata.submit(command).await {
        Ok(Reply::RegisterBroker(Ok(()))) => Ok(()),
        Ok(Reply::RegisterBroker(Err(error))) => Err(BrokerError::Registration(error.to_string())),
        Ok(_) => Err(BrokerError::Registration(
            "an answer of another kind".into(),
        )),
        Err(error) => Err(BrokerError::Registration(error.to_string())),
    }
}

/// The flushers of each directory, and the maintenance of all.
fn start_threads(
    node: &Arc<Node>,
    stop: &Arc<MaintenanceStop>,
) -> Result<Vec<JoinHandle<()>>, BrokerError> {
    let mut threads = Vec::new();
    for flusher in node.partitions.flushers() {
        let (flusher, metrics) = (Arc::clone(flusher), Arc::clone(&node.metrics));
        let thread = std::thread::Builder::new().name("log-flusher".into());
        threads.push(
            thread
                .spawn(move || flusher.run(&metrics))
                .map_err(BrokerError::Thread)?,
        );
    }
    let (node, stop) = (Arc::clone(node), Arc::clone(stop));
    let thread = std::thread::Builder::new().name("log-maintenance".into());
    threads.push(
        thread
            .spawn(move || maintenance::run(&node, &stop))
            .map_err(BrokerError::Thread)?,
    );
    Ok(threads)
}

fn accept(
    node: &Arc<Node>,
    bound: Vec<(BoundListener, TcpListener)>,
    shutdown: &watch::Sender<bool>,
) -> Vec<tokio::task::JoinHandle<()>> {
    let counts = Arc::new(ConnectionCounts::default());
    let drain = u64::try_from(node.config().request_timeout_ms).unwrap_or(0);
    bound
        .into_iter()
        .map(|(bound, socket)| {
            let listener = Listener {
                name: bound.name.into(),
                socket,
                node: Arc::clone(node),
                counts: Arc::clone(&counts),
            };
            tokio::spawn(listener.run(shutdown.subscribe(), Duration::from_millis(drain)))
        })
        .collect()
}

impl Broker {
    /// Resolves when the metadata cannot go on (its disk failed): the node must stop.
    pub async fn failed(&self) -> String {
        match self.metadata.stopped().await {
            Some(error) => error.to_string(),
            None => "the metadata has been closed".to_owned(),
        }
    }

    /// A clean stop. Blocks on the disk.
    pub async fn stop(self) {
        // Nobody is left to hear it when the listeners have ended already.
        let _ = self.shutdown.send(true);
        for listener in self.accepting {
            if listener.await.is_err() {
                tracing::error!("a listener ended by a panic");
            }
        }
        self.node.groups.stop_all();
        self.maintenance.stop();
        for flusher in self.node.partitions.flushers() {
            flusher.stop();
        }
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a thread ended by a panic");
            }
        }
        close_logs(&self.node);
        self.metadata.close().await;
    }
}

/// Every log flushed and closed, every checkpoint written, and only then the marks that say so.
fn close_logs(node: &Node) {
    let mut clean = true;
    for kind in [
        CheckpointKind::LogStartOffset,
        CheckpointKind::HighWatermark,
    ] {
        maintenance::checkpoint(node, kind);
    }
    for partition in node.partitions.all() {
        if let Err(error) = partition.close_clean() {
            tracing::error!(%partition, %error, "a log could not be closed");
            clean = false;
        }
    }
    maintenance::checkpoint(node, CheckpointKind::RecoveryPoint);
    if clean && let Err(error) = node.partitions.logs().mark_clean() {
        tracing::error!(%error, "the clean shutdown could not be marked");
    }
}
