//! Listening: whoever connects has a few seconds and one small frame at a time to show that it belongs here.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::connection::{self, Stream, read_short, write_short};
use super::dial::{Failure, in_time, refuse};
use super::handshake::{Acceptor, Opening, Refusal, welcome_frame};
use super::links::Claim;
use super::{Address, LinkError, LinkEvent, Shared, pairs};
use crate::types::NodeId;

/// Handshakes under way; who comes beyond is sent away.
const MAX_HANDSHAKES: usize = 64;
/// How long accepting rests when the process has run out of descriptors or memory.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);
const BACKLOG: i32 = 128;

/// Without a secret and without TLS anybody who reaches the port could be a member: then only this machine does.
pub(super) async fn bind(listener: &Address, is_secured: bool) -> Result<TcpListener, LinkError> {
    let failed = |error| LinkError::Listen {
        address: listener.to_string(),
        error,
    };
    let host = match listener.host.as_str() {
        "" => "0.0.0.0",
        host => host,
    };
    let resolved = tokio::net::lookup_host((host, listener.port)).await;
    let mut addresses: Vec<SocketAddr> = resolved.map_err(failed)?.collect();
    addresses.sort_by_key(SocketAddr::is_ipv6);
    if !is_secured && !addresses.iter().all(|address| address.ip().is_loopback()) {
        return Err(LinkError::Open(listener.to_string()));
    }
    let mut error = std::io::ErrorKind::AddrNotAvailable.into();
    for address in addresses {
        match bind_one(address) {
            Ok(socket) => return Ok(socket),
            Err(refused) => error = refused,
        }
        if error.kind() == std::io::ErrorKind::AddrInUse {
            break;
        }
    }
    Err(failed(error))
}

fn bind_one(address: SocketAddr) -> std::io::Result<TcpListener> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Until all stops.
pub(super) async fn run<E: From<LinkEvent> + Send + 'static>(
    shared: Arc<Shared<E>>,
    socket: TcpListener,
) {
    let handshakes = Arc::new(Semaphore::new(MAX_HANDSHAKES));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = socket.accept() => match accepted {
                Ok((tcp, address)) => {
                    let shared = Arc::clone(&shared);
                    let Ok(place) = Arc::clone(&handshakes).try_acquire_owned() else {
                        let reason = format!("{MAX_HANDSHAKES} others are not known yet");
                        shared.refused(None, address.to_string(), "too many", reason);
                        continue;
                    };
                    connections.spawn(async move {
                        let welcomed = tokio::select! {
                            welcomed = welcome(&shared, tcp) => welcomed,
                            () = shared.stopped() => return,
                        };
                        drop(place);
                        match welcomed {
                            Ok((claim, theirs, stream)) => {
                                shared.serve(claim, theirs.hello, stream).await;
                            }
                            Err((node, failure)) => report(&shared, node, address, &failure),
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a server of the ensemble could not be let in");
                    tokio::time::sleep(ACCEPT_BACKOFF).await;
                }
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            () = shared.stopped() => break,
        }
    }
    drop(socket);
    while connections.join_next().await.is_some() {}
}

fn report<E: From<LinkEvent> + Send + 'static>(
    shared: &Shared<E>,
    node: Option<NodeId>,
    address: SocketAddr,
    failure: &Failure,
) {
    if failure.is_duplicate() {
        tracing::debug!(%address, "a second connection of a server was not needed");
    } else {
        tracing::warn!(%address, reason = %failure, "a server was not let into the ensemble");
    }
    shared.refused(
        node,
        address.to_string(),
        failure.label(),
        failure.to_string(),
    );
}

type Welcomed = Result<(Claim, Opening, Stream), (Option<NodeId>, Failure)>;

async fn welcome<E: From<LinkEvent> + Send + 'static>(
    shared: &Shared<E>,
    tcp: TcpStream,
) -> Welcomed {
    let mut node = None;
    let welcomed = in_time(async {
        connection::configure(&tcp, shared.options.silence)?;
        let mut stream = match &shared.options.tls {
            Some(tls) => tls.accept(tcp).await.map_err(Failure::Tls)?,
            None => connection::stream(tcp),
        };
        match handshake(shared, &mut stream, &mut node).await {
            Ok((claim, theirs)) => Ok((claim, theirs, stream)),
            Err(Failure::Refused(refusal)) => Err(refuse(shared, refusal, &mut stream).await),
            Err(failure) => Err(failure),
        }
    });
    let welcomed = welcomed.await;
    welcomed.map_err(|failure| (node, failure))
}

async fn handshake<E: From<LinkEvent> + Send + 'static>(
    shared: &Shared<E>,
    stream: &mut Stream,
    node: &mut Option<NodeId>,
) -> Result<(Claim, Opening), Failure> {
    let frame = read_short(stream).await?;
    let theirs = Acceptor::peek(&frame, &shared.terms(NodeId::NONE))?;
    let other = theirs.hello.node;
    *node = Some(other);
    let (acceptor, answer) = Acceptor::new(&frame, &shared.terms(other));
    write_short(stream, &answer).await?;
    let link = acceptor.on_proof(&read_short(stream).await?)?;
    if shared.is_stopping() {
        return Err(Failure::Closed(super::Closed::Stopping));
    }
    match (pairs::decides(shared.own_id(), other), link) {
        (true, None) => {
            let claim = shared.links.decide(&theirs)?;
            write_short(stream, &welcome_frame(claim.outbound.link())).await?;
            Ok((claim, theirs))
        }
        (false, Some(link)) => Ok((shared.links.obey(link, &theirs), theirs)),
        _ => Err(Refusal::Malformed("the wrong side has numbered the link").into()),
    }
}
