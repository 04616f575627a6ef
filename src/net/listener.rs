//! Accepts clients on one address, within the limits on connections, and hands each to a task.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::connection::{Closed, Connection, Limits};
use super::log_limit::LogLimit;
use super::transport::Transport;
use crate::config::BrokerConfig;
use crate::runtime::Node;

/// How long accepting rests when the process has run out of descriptors or memory.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// How many connections there are, in all and by address; shared by every listener.
#[derive(Debug, Default)]
pub(crate) struct ConnectionCounts {
    total: AtomicUsize,
    by_ip: Mutex<HashMap<IpAddr, usize>>,
    /// Of lines about clients that send what they should not.
    bad_input: LogLimit,
}

/// A place among the connections, given back when dropped.
struct Admission {
    counts: Arc<ConnectionCounts>,
    ip: IpAddr,
}

impl ConnectionCounts {
    fn admit(
        self: &Arc<Self>,
        ip: IpAddr,
        config: &BrokerConfig,
    ) -> Result<Admission, &'static str> {
        let limit = usize::try_from(config.max_connections).unwrap_or(0);
        let per_ip = config
            .max_connections_per_ip_overrides
            .get(&ip.to_string())
            .copied()
            .unwrap_or(config.max_connections_per_ip);
        let mut by_ip = self.by_ip.lock();
        if self.total.load(Ordering::Relaxed) >= limit {
            return Err("max.connections");
        }
        let here = by_ip.entry(ip).or_default();
        if *here >= usize::try_from(per_ip).unwrap_or(0) {
            return Err("max.connections.per.ip");
        }
        *here += 1;
        self.total.fetch_add(1, Ordering::Relaxed);
        Ok(Admission {
            counts: Arc::clone(self),
            ip,
        })
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut by_ip = self.counts.by_ip.lock();
        self.counts.total.fetch_sub(1, Ordering::Relaxed);
        if let Some(here) = by_ip.get_mut(&self.ip) {
            *here -= 1;
            if *here == 0 {
                by_ip.remove(&self.ip);
            }
        }
    }
}

/// Binds an address of `listeners`.
pub(crate) fn bind(address: SocketAddr, config: &BrokerConfig) -> std::io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    // -1 leaves the buffers to the kernel, which grows them as needed.
    if config.socket_receive_buffer_bytes > 0 {
        socket.set_recv_buffer_size(config.socket_receive_buffer_bytes as usize)?;
    }
    if config.socket_send_buffer_bytes > 0 {
        socket.set_send_buffer_size(config.socket_send_buffer_bytes as usize)?;
    }
    socket.bind(&address.into())?;
    socket.listen(config.socket_listen_backlog_size)?;
    TcpListener::from_std(socket.into())
}

/// One listener: accepts until shutdown, then waits for its connections to finish.
pub(crate) struct Listener {
    /// As `listeners` names it.
    pub(crate) name: Arc<str>,
    pub(crate) socket: TcpListener,
    pub(crate) node: Arc<Node>,
    pub(crate) counts: Arc<ConnectionCounts>,
}

impl Listener {
    /// Returns when `shutdown` has turned true and every connection has ended, or been ended
    /// after `drain`.
    pub(crate) async fn run(self, mut shutdown: watch::Receiver<bool>, drain: Duration) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.socket.accept() => match accepted {
                    Ok((stream, peer)) => self.welcome(stream, peer, &shutdown, &mut connections),
                    Err(error) => {
                        tracing::warn!(%error, "a connection could not be accepted");
                        tokio::time::sleep(ACCEPT_BACKOFF).await;
                    }
                },
                Some(_) = connections.join_next(), if !connections.is_empty() => {}
                _ = shutdown.changed() => break,
            }
        }
        drop(self.socket);
        let finish = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(drain, finish).await.is_err() {
            tracing::warn!(
                connections = connections.len(),
                "connections were cut: they did not take their replies in time"
            );
        }
    }

    fn welcome(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        shutdown: &watch::Receiver<bool>,
        connections: &mut JoinSet<()>,
    ) {
        let config = self.node.config();
        let admission = match self.counts.admit(peer.ip(), &config) {
            Ok(admission) => admission,
            Err(limit) => {
                self.node.metrics.connection_refused(limit);
                tracing::warn!(client = %peer, limit, "a connection was refused");
                return;
            }
        };
        // Replies are sent whole: waiting to fill packets only adds latency.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(client = %peer, %error, "TCP_NODELAY could not be set");
        }
        let limits = Limits {
            request_bytes: config.socket_request_max_bytes,
            pipelined_requests: usize::try_from(config.max_pipelined_requests_per_connection)
                .unwrap_or(1)
                .max(1),
            idle: Duration::from_millis(
                u64::try_from(config.connections_max_idle_ms).unwrap_or(u64::MAX / 4000),
            ),
        };
        let node = Arc::clone(&self.node);
        let transport = Transport::new(stream, peer);
        let connection =
            Connection::new(Arc::clone(&node), transport, Arc::clone(&self.name), limits);
        let shutdown = shutdown.clone();
        node.metrics.connection_opened();
        connections.spawn(async move {
            let closed = connection.serve(shutdown).await;
            report(&node, peer, &closed, &admission.counts.bad_input);
            drop(admission);
        });
    }
}

fn report(node: &Node, peer: SocketAddr, closed: &Closed, bad_input: &LogLimit) {
    node.metrics.connection_closed(closed.reason());
    if closed.is_own_fault() {
        tracing::error!(client = %peer, reason = %closed, "a connection was closed");
    } else if closed.is_bad_input() {
        if let Some(unlogged) = bad_input.admit(Instant::now()) {
            tracing::warn!(client = %peer, reason = %closed, unlogged, "a connection was closed");
        }
    } else {
        tracing::debug!(client = %peer, reason = %closed, "a connection was closed");
    }
}
