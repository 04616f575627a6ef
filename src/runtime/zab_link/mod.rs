//! The links between the servers of an ensemble: one ordered connection for each pair.
//!
//! Every server dials those it is told to and listens; whichever connection comes first is the link, and when
//! it ends both dial again. What a driver hears of one server comes in this order: `Connected`, its messages,
//! `Disconnected`; nothing of an ended link comes behind the next one's `Connected`. What is sent goes over the link it
//! was meant for or nowhere.
//!
//! The pure parts are `frame` (limits), `handshake` (who is it, and does it know the secret) and `pairs` (which of two
//! connections stays). Nothing here knows what the messages mean, nor who should be dialled.
//!
//! Every queue is bounded: by bytes what waits to be sent (then the link is dropped, for the driver never waits) and
//! what has come and was not taken (then nothing more is read); by number the handshakes under way.

mod accept;
mod connection;
mod dial;
pub mod frame;
pub mod handshake;
mod links;
pub mod options;
mod outbound;
pub mod pairs;
pub mod tls;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

pub use connection::Room;
use connection::{Connection, Stream};
pub use handshake::{LinkId, Refusal};
use handshake::{Opening, Terms};
use links::{Claim, Links};
pub use options::{LinkError, LinkOptions};
pub use outbound::{Closed, Outbound};

use crate::metrics::{Collect, Metrics, Samples, table};
use crate::types::NodeId;
use crate::zab::{Hello, Message, Voters};

/// What a driver hears.
#[derive(Debug)]
pub enum LinkEvent {
    /// A link is up. What is meant for this server goes to `outbound` from now on.
    Connected {
        hello: Hello,
        outbound: Outbound,
    },
    Disconnected {
        node: NodeId,
    },
    Message {
        from: NodeId,
        message: Message,
        /// To be dropped when the message is dealt with: until then it counts as waiting.
        room: Room,
    },
    /// Somebody was not let in, or has not let this server in. It may be left out when many come.
    Refused {
        /// As far as it was said; not proven.
        node: Option<NodeId>,
        address: String,
        reason: String,
    },
}

/// Where a server is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    pub host: String,
    pub port: u16,
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Address { host, port } = self;
        if host.contains(':') {
            write!(f, "[{host}]:{port}")
        } else {
            write!(f, "{host}:{port}")
        }
    }
}

/// What this server says of itself, and what it holds others to.
#[derive(Debug, Clone)]
pub struct Identity {
    pub hello: Hello,
    /// The newest configuration: a voter whose directory is recorded is let in with that one only.
    pub voters: Voters,
}

/// Everybody's handle.
#[derive(Debug)]
pub struct ZabLink {
    address: Option<SocketAddr>,
    identity: Arc<ArcSwap<Identity>>,
    targets: watch::Sender<BTreeMap<NodeId, Address>>,
    stop: watch::Sender<bool>,
    tasks: parking_lot::Mutex<Vec<JoinHandle<()>>>,
}

/// What every task has.
struct Shared<E> {
    options: LinkOptions,
    identity: Arc<ArcSwap<Identity>>,
    events: mpsc::Sender<E>,
    links: Arc<Links>,
    stop: watch::Receiver<bool>,
    metrics: Arc<Metrics>,
}

impl ZabLink {
    /// Listens, if the options say where; nobody is dialled before `dial`. Tasks run on the runtime of the caller.
    /// `events` is the driver's own queue, a bounded one.
    pub async fn start<E: From<LinkEvent> + Send + 'static>(
        options: LinkOptions,
        identity: Identity,
        events: mpsc::Sender<E>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, LinkError> {
        let socket = match &options.listener {
            Some(listener) => Some(accept::bind(listener, options.is_secured()).await?),
            None => None,
        };
        let address = socket.as_ref().and_then(|socket| socket.local_addr().ok());
        let links = Arc::new(Links::new(options.limits, Arc::clone(&metrics)));
        let identity = Arc::new(ArcSwap::from_pointee(identity));
        let (stop, stopped) = watch::channel(false);
        let (targets, dialled) = watch::channel(BTreeMap::new());
        metrics.register_collector(Arc::clone(&links) as Arc<dyn Collect>);
        let shared = Arc::new(Shared {
            options,
            identity: Arc::clone(&identity),
            events,
            links,
            stop: stopped,
            metrics,
        });
        let mut tasks = vec![tokio::spawn(dial::run(Arc::clone(&shared), dialled))];
        tasks.extend(socket.map(|socket| tokio::spawn(accept::run(shared, socket))));
        Ok(Self {
            address,
            identity,
            targets,
            stop,
            tasks: parking_lot::Mutex::new(tasks),
        })
    }

    /// Where it listens, with the port it really has.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Who is dialled from now on, whenever there is no link. Links to others stay.
    pub fn dial(&self, servers: BTreeMap<NodeId, Address>) {
        self.targets.send_if_modified(|targets| {
            let changed = *targets != servers;
            *targets = servers;
            changed
        });
    }

    /// A new server has learnt its cluster, the voters are others: the next handshakes know it.
    pub fn set_identity(&self, identity: Identity) {
        self.identity.store(Arc::new(identity));
    }

    /// Ends all links and waits for the tasks.
    pub async fn close(&self) {
        self.stop.send_replace(true);
        let tasks = std::mem::take(&mut *self.tasks.lock());
        for task in tasks {
            // One that panicked has said so.
            let _ = task.await;
        }
    }
}

impl Collect for Links {
    fn collect(&self, samples: &mut Samples) {
        for outbound in self.up() {
            let node = outbound.node().to_string();
            samples.push(table::ZAB_LINK_QUEUE, &[&node], outbound.waiting() as f64);
        }
    }
}

impl<E: From<LinkEvent> + Send + 'static> Shared<E> {
    /// For a handshake with a server, or with one that has not said which it is.
    fn terms(&self, other: NodeId) -> Terms {
        let identity = self.identity.load();
        Terms {
            own: Opening {
                hello: identity.hello.clone(),
                to: other,
                ended: self.links.ended(other),
                nonce: rand::random(),
            },
            voters: identity.voters.clone(),
            secret: self.options.secret.clone(),
        }
    }

    fn own_id(&self) -> NodeId {
        self.identity.load().hello.node
    }

    async fn stopped(&self) {
        // An end of the handle without `close` is one, too.
        let _ = self.stop.clone().wait_for(|stop| *stop).await;
    }

    fn is_stopping(&self) -> bool {
        *self.stop.borrow()
    }

    fn refused(&self, node: Option<NodeId>, address: String, label: &'static str, reason: String) {
        self.metrics.zab_link_refused(label);
        let event = LinkEvent::Refused {
            node,
            address,
            reason,
        };
        // A driver that has no time for it has others like it.
        let _ = self.events.try_send(event.into());
    }

    /// From the handshake to the end.
    async fn serve(&self, claim: Claim, hello: Hello, stream: Stream) {
        let node = hello.node;
        let turn = Arc::clone(&claim.turn);
        let _turn = turn.lock().await;
        let outbound = claim.outbound.clone();
        if outbound.is_ended() {
            // Another took its place before it had its turn.
            return;
        }
        let connected = LinkEvent::Connected {
            hello,
            outbound: outbound.clone(),
        };
        if self.tell(connected).await.is_err() {
            return;
        }
        tracing::info!(node = node.0, "the link to a server of the ensemble is up");
        let connection = Connection {
            outbound,
            events: self.events.clone(),
            limits: self.options.limits,
            silence: self.options.silence,
            metrics: Arc::clone(&self.metrics),
        };
        let closed = tokio::select! {
            closed = connection.run(stream) => closed,
            () = self.stopped() => Closed::Stopping,
        };
        claim.take_down();
        self.metrics.zab_link_closed(closed.label());
        tracing::info!(node = node.0, reason = %closed, "the link to a server of the ensemble has ended");
        // When all stops nobody may be there to hear it.
        let _ = self.tell(LinkEvent::Disconnected { node }).await;
    }

    /// Waits for room in the driver's queue, but not when all stops.
    async fn tell(&self, event: LinkEvent) -> Result<(), ()> {
        tokio::select! {
            biased;
            sent = self.events.send(event.into()) => sent.map_err(|_| ()),
            () = self.stopped() => Err(()),
        }
    }
}

#[cfg(test)]
mod tests;
