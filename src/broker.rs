//! What a node is started from, in which order, and how it stops.
//!
//! Start: addresses are bound first (a taken port is known at once), then the log directories are taken, the
//! ZAB peer joins its ensemble (which knows the cluster), the logs are opened, committed metadata is applied to them,
//! the broker registers itself, and clients are let in. Stop is the same backwards: clients get the replies
//! that are due, logs are flushed and marked clean, the peer goes last.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::api::APIS;
use crate::config::broker::absolute;
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
use crate::controller::topics;
use crate::log::storage::{RealStorage, Storage};
use crate::log::{CheckpointKind, LogConfig, LogManager, OpenError, ZAB_DIR};
use crate::logging::LogLevels;
use crate::metrics::{Collect, Metrics};
use crate::net::http::HttpState;
use crate::net::listener::{ConnectionCounts, Listener, bind};
use crate::parallel;
use crate::runtime::collectors::NodeCollector;
use crate::runtime::group_coordinator::GroupCoordinators;
use crate::runtime::log_cleaner::LogCleaner;
use crate::runtime::maintenance::{self, MaintenanceStop};
use crate::runtime::partition::Partition;
use crate::runtime::partitions::{Partitions, TopicConfigs};
use crate::runtime::readiness::{Phase, Readiness};
use crate::runtime::zab_link::LinkOptions;
use crate::runtime::zab_peer::{self, MetadataHandle, ZabPeerError, ZabPeerOptions};
use crate::runtime::zab_settings;
use crate::runtime::{Node, NodeParts, wall_clock};
use crate::runtime::{directory_assignments, log_dirs, space_watch};
use crate::types::{NodeId, TopicId};

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
    cleaner: Arc<LogCleaner>,
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
        // Somebody else is there: not to listen beside them, where only some clients would come.
        if refused.kind() == std::io::ErrorKind::AddrInUse {
            break;
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
    let failed = |error: std::io::Error| BrokerError::Address {
        key: "http.listen",
        address: address.clone(),
        reason: reason(&error),
    };
    let addresses = tokio::net::lookup_host(address).await.map_err(failed)?;
    let mut addresses: Vec<SocketAddr> = addresses.collect();
    addresses.sort_by_key(SocketAddr::is_ipv6);
    let mut refused = std::io::Error::from(std::io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match TcpListener::bind(address).await {
            Ok(socket) => return Ok(Some(socket)),
            Err(error) => refused = error,
        }
        if refused.kind() == std::io::ErrorKind::AddrInUse {
            break;
        }
    }
    Err(failed(refused))
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
        ensemble: Arc::default(),
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
    // As Kafka shows and takes them: absolute.
    let log_dirs = config.log_dirs.iter().map(|dir| absolute(dir));
    let logs = LogManager::open(storage, log_dirs.collect())?;
    logs.limit_open_files(open_segment_files(&config));
    // The directory that a voter votes with has its id before there is a cluster.
    let directories = logs.claim(me, None)?;
    let options = peer_options(&config, me, &logs, &directories, &shown.metrics)?;
    let metadata = zab_peer::start(options).await?;
    // A node has one ensemble for its life.
    let _ = shown.ensemble.set(metadata.clone());
    let image = join(&metadata, shown).await?;
    let directories = logs.claim(me, Some(image.cluster_id()))?;
    let shared_config = Arc::new(ArcSwap::from_pointee(dynamic(&config, &image, me)));
    let broker_config = shared_config.load_full();
    let configs = TopicConfigs::new(&image, &broker_config);
    let config_of = |topic: &str| LogConfig::from(&*configs.of(topic));
    let threads = usize::try_from(config.num_recovery_threads_per_data_dir).unwrap_or(1);
    let found = logs.load(&config_of, threads, &shown.readiness.recovery)?;
    let journal_bytes = u64::try_from(config.log_durable_journal_bytes).unwrap_or(0);
    let partitions = Arc::new(Partitions::new(me, Arc::new(logs), found, journal_bytes));
    shown.readiness.show_log_dirs(&partitions);
    partitions.cordon(&shared_config.load());
    let groups = GroupCoordinators::new(me, Arc::clone(&shared_config), Arc::clone(&partitions));

    let cleaner = Arc::new(LogCleaner::new(
        Arc::clone(&partitions),
        Arc::clone(&shared_config),
    ));
    let apply = {
        let cleaner = Arc::clone(&cleaner);
        let (partitions, groups) = (Arc::clone(&partitions), Arc::clone(&groups));
        let (statics, shared) = (config.clone(), Arc::clone(&shared_config));
        move |image: &Arc<MetadataImage>, delta: &MetadataDelta| {
            if delta
                .configs
                .iter()
                .any(|resource| resource.kind == ConfigResourceType::Broker)
            {
                shared.store(Arc::new(dynamic(&statics, image, me)));
                partitions.cordon(&shared.load());
                cleaner.options_changed();
            }
            partitions.apply(image, delta, &shared.load(), wall_clock());
            groups.apply(image, delta);
        }
    };
    metadata
        .attach(apply)
        .await
        .map_err(|error| BrokerError::Registration(error.to_string()))?;
    partitions.remove_strays(wall_clock());
    let listeners: Vec<BoundListener> = bound.iter().map(|(bound, _)| bound.clone()).collect();
    let directories = directories.iter().map(|id| DirectoryId(id.0)).collect();
    let cordoned = partitions.log_dirs().cordoned();
    let directories = Directories {
        online: directories,
        cordoned,
    };
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
    // Before the first produce, not after it.
    space_watch::look(&node.partitions, &node.config(), Duration::ZERO);
    node.metrics
        .register_collector(Arc::clone(&cleaner) as Arc<dyn Collect>);
    let maintenance = Arc::new(MaintenanceStop::default());
    let mut threads = start_threads(&node, &maintenance)?;
    threads.push(start_cleaner(&cleaner)?);
    tokio::spawn(directory_assignments::run(
        Arc::clone(&node),
        shutdown.subscribe(),
    ));
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
        cleaner,
        threads,
    })
}

/// The process takes all the files it may have; segments get half of them, where no option says otherwise.
fn open_segment_files(config: &BrokerConfig) -> usize {
    let mut files = getrlimit(Resource::Nofile);
    if files.current != files.maximum {
        let raised = Rlimit {
            current: files.maximum,
            ..files
        };
        match setrlimit(Resource::Nofile, raised) {
            Ok(()) => files = raised,
            Err(error) => tracing::warn!(%error, "the limit of open files cannot be raised"),
        }
    }
    match usize::try_from(config.log_max_open_files) {
        Ok(limit) if limit > 0 => limit,
        // `None` is no limit.
        _ => files.current.map_or(usize::MAX, |limit| {
            usize::try_from(limit / 2).unwrap_or(usize::MAX)
        }),
    }
}

fn start_cleaner(cleaner: &Arc<LogCleaner>) -> Result<JoinHandle<()>, BrokerError> {
    let cleaner = Arc::clone(cleaner);
    let thread = std::thread::Builder::new().name("log-cleaner".into());
    thread
        .spawn(move || cleaner.run())
        .map_err(BrokerError::Thread)
}

/// Waits for a leader, and says every now and then that it does.
async fn join(
    metadata: &MetadataHandle,
    shown: &HttpState,
) -> Result<Arc<MetadataImage>, BrokerError> {
    const SAY_EVERY: Duration = Duration::from_secs(5);
    let joined = metadata.joined();
    tokio::pin!(joined);
    loop {
        match tokio::time::timeout(SAY_EVERY, &mut joined).await {
            Ok(joined) => {
                shown.readiness.enter(Phase::Starting);
                return joined.map_err(|error| BrokerError::Registration(error.to_string()));
            }
            Err(_) => {
                shown.readiness.enter(Phase::Joining);
                tracing::info!(
                    "waiting for a quorum of the ensemble's voters: {}",
                    match metadata.leader() {
                        Some(leader) => format!("node {leader} leads and does not answer yet"),
                        None => "nobody leads".to_owned(),
                    }
                );
            }
        }
    }
}

fn peer_options(
    config: &BrokerConfig,
    me: NodeId,
    logs: &LogManager,
    directories: &[TopicId],
    metrics: &Arc<Metrics>,
) -> Result<ZabPeerOptions, BrokerError> {
    let first = logs.dirs().first();
    let dir = first.map(|dir| dir.path()).unwrap_or(Path::new(""));
    let links = LinkOptions::of(config).map_err(ZabPeerError::from)?;
    let alone = config.ensemble_voters.is_empty();
    Ok(ZabPeerOptions {
        node: me,
        voters: zab_settings::voters(config),
        directory: directories.first().map(|id| id.0),
        dir: dir.join(ZAB_DIR),
        storage: Arc::clone(logs.storage()),
        zab: zab_settings::settings(config),
        links: (!alone || links.listener.is_some()).then_some(links),
        schema: Arc::new(OptionsTables),
        settings: Settings {
            num_partitions: config.num_partitions,
            default_replication_factor: i16::try_from(config.default_replication_factor)
                .unwrap_or(i16::MAX),
            max_replication_factor: topics::MAX_REPLICATION_FACTOR,
            min_insync_replicas: config.min_insync_replicas,
            node: me,
        },
        open: zab_settings::open_limits(config),
        snapshot_after_bytes: u64::try_from(config.metadata_log_max_record_bytes_between_snapshots)
            .unwrap_or(u64::MAX),
        metrics: Arc::clone(metrics),
    })
}

/// The options with what metadata says was changed while running.
fn dynamic(config: &BrokerConfig, image: &MetadataImage, me: NodeId) -> BrokerConfig {
    config.with_dynamic(
        image.configs(ConfigResourceType::Broker, ""),
        image.configs(ConfigResourceType::Broker, &me.to_string()),
    )
}

/// What the controller is told of log directories at the start.
struct Directories {
    online: Vec<DirectoryId>,
    cordoned: Vec<DirectoryId>,
}

async fn register(
    metadata: &MetadataHandle,
    config: &BrokerConfig,
    listeners: &[BoundListener],
    directories: Directories,
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
        incarnation: metadata.incarnation(),
        cluster_id: metadata.image().cluster_id().to_owned(),
        endpoints,
        rack: config.broker_rack.clone(),
        features: features::supported(),
        directories: directories.online,
        fenced: false,
        cordoned_directories: Some(directories.cordoned),
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

/// The flushers of each directory, and the maintenance of all; the one that acts on failures of directories.
fn start_threads(
    node: &Arc<Node>,
    stop: &Arc<MaintenanceStop>,
) -> Result<Vec<JoinHandle<()>>, BrokerError> {
    let mut threads = Vec::new();
    let mut spawn = |name: &str, life: Box<dyn FnOnce() + Send>| -> Result<(), BrokerError> {
        let thread = std::thread::Builder::new().name(name.into());
        threads.push(thread.spawn(life).map_err(BrokerError::Thread)?);
        Ok(())
    };
    for place in node.partitions.log_dirs().places() {
        let (flusher, metrics) = (Arc::clone(&place.flusher), Arc::clone(&node.metrics));
        spawn("log-flusher", Box::new(move || flusher.run(&metrics)))?;
    }
    let partitions = Arc::clone(&node.partitions);
    spawn("log-maker", Box::new(move || partitions.maker().run()))?;
    let partitions = Arc::clone(&node.partitions);
    spawn(
        "log-dir-failures",
        Box::new(move || log_dirs::handle_failures(&partitions)),
    )?;
    let threads_of_mover = node.config().num_replica_alter_log_dirs_threads;
    let threads_of_mover = threads_of_mover.and_then(|count| usize::try_from(count).ok());
    let runtime = tokio::runtime::Handle::current();
    for _ in 0..threads_of_mover.unwrap_or(node.partitions.log_dirs().places().len()) {
        let (node, runtime) = (Arc::clone(node), runtime.clone());
        spawn(
            "log-mover",
            Box::new(move || node.partitions.mover().run(&node, &runtime)),
        )?;
    }
    let (watched, stopping) = (Arc::clone(node), Arc::clone(stop));
    spawn(
        "log-dir-space",
        Box::new(move || space_watch::run(&watched, &stopping)),
    )?;
    let (node, stop) = (Arc::clone(node), Arc::clone(stop));
    spawn(
        "log-maintenance",
        Box::new(move || maintenance::run(&node, &stop)),
    )?;
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
    /// Resolves when the metadata or the logs cannot go on (their disk failed): the node must stop.
    pub async fn failed(&self) -> String {
        tokio::select! {
            biased;
            why = self.node.partitions.log_dirs().failed() => why,
            stopped = self.metadata.stopped() => match stopped {
                Some(error) => error.to_string(),
                None => "the metadata has been closed".to_owned(),
            },
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
        self.cleaner.stop();
        for place in self.node.partitions.log_dirs().places() {
            place.flusher.stop();
        }
        self.node.partitions.maker().stop();
        self.node.partitions.logs().failures().close();
        self.node.partitions.mover().stop();
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a thread ended by a panic");
            }
        }
        close_logs(&self.node);
        self.metadata.close().await;
    }
}

/// Every log flushed and closed, every checkpoint written, and only then the marks that say so: of each directory
/// on its own.
fn close_logs(node: &Node) {
    let checkpoint = |kind| node.partitions.checkpoints().write(&node.partitions, kind);
    for kind in [
        CheckpointKind::LogStartOffset,
        CheckpointKind::HighWatermark,
        CheckpointKind::Cleaner,
    ] {
        checkpoint(kind);
    }
    let unclean = close_all(node.partitions.all());
    checkpoint(CheckpointKind::RecoveryPoint);
    for dir in node.partitions.logs().dirs() {
        if dir.is_online()
            && !unclean.contains(dir.path())
            && let Err(error) = node.partitions.logs().mark_clean(dir)
        {
            tracing::error!(dir = %dir.path().display(), %error, "the clean shutdown could not be marked");
        }
    }
}

/// Flushes and closes every log, several at a time: one by one, each would wait for the disk alone. The directories
/// of those where it failed.
fn close_all(partitions: Vec<Arc<Partition>>) -> BTreeSet<PathBuf> {
    const THREADS: usize = 8;
    let unclean = Mutex::new(BTreeSet::new());
    parallel::for_each(partitions, THREADS, |partition| {
        let dir = partition.dir();
        if let Err(error) = partition.close_clean()
            && dir.is_online()
        {
            tracing::error!(%partition, %error, "a log could not be closed");
            unclean.lock().insert(dir.path().to_owned());
        }
    });
    unclean.into_inner()
}
