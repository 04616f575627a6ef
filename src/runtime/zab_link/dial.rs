//! Dialling: a task for each server that is to be reached, which tries again for ever.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::connection::{self, Stream, read_short, write_short};
use super::handshake::{Dialer, LinkId, Opening, Proven, Refusal, read_welcome};
use super::links::Claim;
use super::outbound::Closed;
use super::{Address, LinkEvent, Shared, pairs};
use crate::types::NodeId;

/// From the first byte to the link.
pub(super) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// A link that lasted so long was a good one: the next attempt need not wait.
const GOOD_LINK: Duration = Duration::from_secs(1);

/// Why there was no link this time.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("it cannot be reached: {0}")]
    Unreachable(io::Error),
    #[error("TLS: {0}")]
    Tls(io::Error),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("{0}")]
    Closed(#[from] Closed),
    #[error("it did not answer in time")]
    TimedOut,
}

impl Failure {
    /// A word for metrics.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Failure::Unreachable(_) => "unreachable",
            Failure::Tls(_) => "tls",
            Failure::Refused(refusal) => refusal.label(),
            Failure::Closed(closed) => closed.label(),
            Failure::TimedOut => "timeout",
        }
    }

    pub(super) fn is_duplicate(&self) -> bool {
        matches!(self, Failure::Refused(refusal) if refusal.is_duplicate())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::Closed(Closed::Io(error))
    }
}

/// How long to wait before the next attempt.
#[derive(Debug)]
struct Backoff(Duration);

impl Backoff {
    fn reset(&mut self) {
        self.0 = FIRST_PAUSE;
    }

    /// Between half of it and all of it, so that two servers do not go on in step.
    fn next(&mut self, random: f64) -> Duration {
        let pause = self.0.mul_f64(0.5 + random / 2.0);
        self.0 = (self.0 * 2).min(LONGEST_PAUSE);
        pause
    }
}

type Targets = watch::Receiver<BTreeMap<NodeId, Address>>;

/// Until all stops.
pub(super) async fn run<E: From<LinkEvent> + Send + 'static>(
    shared: Arc<Shared<E>>,
    mut targets: Targets,
) {
    let mut dialers = JoinSet::new();
    let mut running = BTreeSet::new();
    loop {
        let wanted: Vec<NodeId> = targets.borrow_and_update().keys().copied().collect();
        for node in wanted {
            if node != shared.own_id() && running.insert(node) {
                dialers.spawn(dialer(Arc::clone(&shared), node, targets.clone()));
            }
        }
        tokio::select! {
            changed = targets.changed() => if changed.is_err() { break },
            Some(ended) = dialers.join_next(), if !dialers.is_empty() => {
                if let Ok(node) = ended {
                    running.remove(&node);
                }
            }
            () = shared.stopped() => break,
        }
    }
    while dialers.join_next().await.is_some() {}
}

/// Comes back with its own id when that is not to be dialled any more.
async fn dialer<E: From<LinkEvent> + Send + 'static>(
    shared: Arc<Shared<E>>,
    node: NodeId,
    mut targets: Targets,
) -> NodeId {
    let mut backoff = Backoff(FIRST_PAUSE);
    let mut told = String::new();
    loop {
        let since = Instant::now();
        let was_up = shared.links.is_up(node);
        tokio::select! {
            () = shared.links.wait(node, false) => {}
            () = shared.stopped() => return node,
        }
        let Some(address) = targets.borrow_and_update().get(&node).cloned() else {
            return node;
        };
        if was_up && since.elapsed() >= GOOD_LINK {
            backoff.reset();
        }
        let attempt = tokio::select! {
            attempt = attempt(&shared, node, &address) => attempt,
            () = shared.stopped() => return node,
        };
        match attempt {
            Ok(Some((claim, theirs, stream))) => {
                told.clear();
                let since = Instant::now();
                shared.serve(claim, theirs.hello, stream).await;
                if since.elapsed() >= GOOD_LINK {
                    backoff.reset();
                    continue;
                }
            }
            Ok(None) => told.clear(),
            Err(failure) => report(&shared, (node, &address), &failure, &mut told),
        }
        tokio::select! {
            () = tokio::time::sleep(backoff.next(rand::random())) => {}
            // Another address may be the one that works.
            changed = targets.changed() => if changed.is_err() { return node },
            () = shared.links.wait(node, true) => {}
            () = shared.stopped() => return node,
        }
    }
}

/// The same reason is not told again and again.
fn report<E: From<LinkEvent> + Send + 'static>(
    shared: &Shared<E>,
    (node, address): (NodeId, &Address),
    failure: &Failure,
    told: &mut String,
) {
    let reason = failure.to_string();
    if !failure.is_duplicate() && *told != reason {
        tracing::warn!(node = node.0, %address, reason, "no link to a server of the ensemble");
        told.clone_from(&reason);
    }
    shared.refused(Some(node), address.to_string(), failure.label(), reason);
}

type Attempt = Result<Option<(Claim, Opening, Stream)>, Failure>;

/// `None`: a connection of the other server was quicker.
async fn attempt<E: From<LinkEvent> + Send + 'static>(
    shared: &Shared<E>,
    node: NodeId,
    address: &Address,
) -> Attempt {
    let decides = pairs::decides(shared.own_id(), node);
    let introduced = async {
        let tcp = connect(shared, address).await?;
        introduce(shared, node, address, tcp).await
    };
    let introduced = tokio::select! {
        introduced = introduced => introduced?,
        () = shared.links.wait(node, true) => return Ok(None),
    };
    let (theirs, proven, mut stream) = introduced;
    if decides {
        let claim = match shared.links.decide(&theirs) {
            Ok(claim) => claim,
            Err(refusal) => return Err(refuse(shared, refusal, &mut stream).await),
        };
        // Not to be given up any more: the other may have it.
        let frame = proven.frame(claim.outbound.link());
        in_time(async { Ok(write_short(&mut stream, &frame).await?) }).await?;
        return Ok(Some((claim, theirs, stream)));
    }
    let welcome = in_time(async {
        write_short(&mut stream, &proven.frame(LinkId::default())).await?;
        Ok(read_welcome(&read_short(&mut stream).await?)?)
    });
    let link = tokio::select! {
        link = welcome => link?,
        () = shared.links.wait(node, true) => return Ok(None),
    };
    Ok(Some((shared.links.obey(link, &theirs), theirs, stream)))
}

pub(super) async fn in_time<T>(
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    timeout(HANDSHAKE_TIMEOUT, work)
        .await
        .unwrap_or(Err(Failure::TimedOut))
}

/// Tells the other side why, as far as it listens.
pub(super) async fn refuse<E: From<LinkEvent> + Send + 'static>(
    shared: &Shared<E>,
    refusal: Refusal,
    stream: &mut Stream,
) -> Failure {
    if !matches!(refusal, Refusal::ByOther { .. }) {
        let frame = refusal.frame(shared.own_id());
        let _ = timeout(HANDSHAKE_TIMEOUT, write_short(stream, &frame)).await;
    }
    Failure::Refused(refusal)
}

/// The first address that takes the connection.
async fn connect<E: From<LinkEvent> + Send + 'static>(
    shared: &Shared<E>,
    address: &Address,
) -> Result<TcpStream, Failure> {
    let resolved = tokio::net::lookup_host((address.host.as_str(), address.port));
    let resolved = timeout(CONNECT_TIMEOUT, resolved).await;
    let resolved = resolved.map_err(|_| Failure::TimedOut)?;
    let mut failure = Failure::Unreachable(io::ErrorKind::AddrNotAvailable.into());
    for address in resolved.map_err(Failure::Unreachable)? {
        match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(tcp)) => {
                connection::configure(&tcp, shared.options.silence)?;
                return Ok(tcp);
            }
            Ok(Err(error)) => failure = Failure::Unreachable(error),
            Err(_) => failure = Failure::TimedOut,
        }
    }
    Err(failure)
}

/// Up to where this server knows that the other is who was looked for.
async fn introduce<E: From<LinkEvent> + Send + 'static>(
    shared: &Shared<E>,
    node: NodeId,
    address: &Address,
    tcp: TcpStream,
) -> Result<(Opening, Proven, Stream), Failure> {
    in_time(async {
        let mut stream = match &shared.options.tls {
            Some(tls) => {
                let connected = tls.connect(&address.host, tcp).await;
                connected.map_err(Failure::Tls)?
            }
            None => connection::stream(tcp),
        };
        let (dialer, opening) = Dialer::new(shared.terms(node));
        write_short(&mut stream, &opening).await?;
        let answer = read_short(&mut stream).await?;
        match dialer.on_answer(&answer) {
            Ok(introduced) => Ok((introduced.theirs, introduced.next, stream)),
            Err(refusal) => Err(refuse(shared, refusal, &mut stream).await),
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_second() {
        let mut backoff = Backoff(FIRST_PAUSE);
        let pauses: Vec<u128> = (0..9).map(|_| backoff.next(1.0).as_millis()).collect();
        assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
        backoff.reset();
        assert_eq!(backoff.next(0.0).as_millis(), 5);
    }
}
