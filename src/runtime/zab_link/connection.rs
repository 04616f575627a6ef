//! One link while it is up: two loops over one socket, and their end.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, ReadHalf, WriteHalf,
};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::LinkEvent;
use super::frame::{self, FrameError};
use super::outbound::{Closed, Limits, Outbound};
use crate::metrics::Metrics;
use crate::zab::codec;

/// A frame's buffer grows by so much at a time, as its bytes come.
const READ_STEP: usize = 64 << 10;
/// What one system call reads at most when frames are short.
const BUFFER: usize = 32 << 10;

/// Plain, or TLS around it.
pub(super) trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Socket for T {}

/// Buffered in one direction: what is written goes out.
pub(super) type Stream = BufReader<Box<dyn Socket>>;

pub(super) fn stream(socket: impl Socket + 'static) -> Stream {
    BufReader::with_capacity(BUFFER, Box::new(socket))
}

/// A place among what has come and is not worked off; given back when this is dropped.
#[derive(Debug)]
pub struct Room(#[expect(dead_code, reason = "dropping it is its use")] OwnedSemaphorePermit);

/// A dead machine, or a cable that was pulled, is noticed after about `silence`, whether there is something to send
/// or not.
pub(super) fn configure(tcp: &TcpStream, silence: Duration) -> io::Result<()> {
    // Group commit has done the waiting.
    tcp.set_nodelay(true)?;
    let probe = (silence / 3).max(Duration::from_secs(1));
    rustix::net::sockopt::set_socket_keepalive(tcp, true)?;
    rustix::net::sockopt::set_tcp_keepidle(tcp, probe)?;
    rustix::net::sockopt::set_tcp_keepintvl(tcp, probe)?;
    rustix::net::sockopt::set_tcp_keepcnt(tcp, 2)?;
    let silence = u32::try_from(silence.as_millis()).unwrap_or(u32::MAX);
    rustix::net::sockopt::set_tcp_user_timeout(tcp, silence)?;
    Ok(())
}

/// A frame of the handshake.
pub(super) async fn read_short(stream: &mut Stream) -> Result<BytesMut, Closed> {
    let len = read_len(stream, frame::HANDSHAKE_LIMIT).await?;
    read_body(stream, len).await
}

pub(super) async fn write_short(stream: &mut Stream, bytes: &[u8]) -> io::Result<()> {
    let mut frame = BytesMut::new();
    frame::put_bytes(bytes, &mut frame);
    stream.write_all(&frame).await?;
    stream.flush().await
}

async fn read_len(from: &mut (impl AsyncRead + Unpin), limit: usize) -> Result<usize, Closed> {
    let mut length = [0; frame::LENGTH_LEN];
    from.read_exact(&mut length).await.map_err(of_read)?;
    frame::check_len(length, limit)
        .map_err(|error: FrameError| Closed::Malformed(error.to_string()))
}

async fn read_body(from: &mut (impl AsyncRead + Unpin), len: usize) -> Result<BytesMut, Closed> {
    let mut body = BytesMut::new();
    while body.len() < len {
        let missing = len - body.len();
        body.reserve(missing.min(READ_STEP));
        let mut rest = (&mut *from).take(missing as u64);
        if rest.read_buf(&mut body).await.map_err(of_read)? == 0 {
            return Err(Closed::ByOther);
        }
    }
    Ok(body)
}

fn of_read(error: io::Error) -> Closed {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Closed::ByOther,
        _ => Closed::Io(error),
    }
}

/// What a link needs while it is up.
pub(super) struct Connection<E> {
    pub(super) outbound: Outbound,
    pub(super) events: mpsc::Sender<E>,
    pub(super) limits: Limits,
    /// How long the other side may take nothing.
    pub(super) silence: Duration,
    pub(super) metrics: Arc<Metrics>,
}

impl<E: From<LinkEvent>> Connection<E> {
    /// Until one of its ends has enough.
    pub(super) async fn run(&self, stream: Stream) -> Closed {
        let (read, write) = tokio::io::split(stream);
        tokio::select! {
            biased;
            closed = self.outbound.ended() => closed,
            closed = self.write(write) => closed,
            closed = self.read(read) => closed,
        }
    }

    async fn write(&self, mut to: WriteHalf<Stream>) -> Closed {
        let mut frames = BytesMut::new();
        loop {
            frames = self.outbound.next(frames).await;
            let mut rest: &[u8] = &frames;
            while !rest.is_empty() {
                let written = match tokio::time::timeout(self.silence, to.write(rest)).await {
                    Ok(Ok(0)) => return Closed::ByOther,
                    Ok(Ok(written)) => written,
                    Ok(Err(error)) => return Closed::Io(error),
                    Err(_) => return Closed::Stalled(self.silence.as_millis()),
                };
                rest = rest.get(written..).unwrap_or_default();
            }
            match tokio::time::timeout(self.silence, to.flush()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Closed::Io(error),
                Err(_) => return Closed::Stalled(self.silence.as_millis()),
            }
        }
    }

    async fn read(&self, mut from: ReadHalf<Stream>) -> Closed {
        match self.read_messages(&mut from).await {
            Ok(never) => match never {},
            Err(closed) => closed,
        }
    }

    async fn read_messages(
        &self,
        from: &mut ReadHalf<Stream>,
    ) -> Result<std::convert::Infallible, Closed> {
        let total = u32::try_from(self.limits.queue_bytes)
            .unwrap_or(u32::MAX)
            .max(1);
        let room = Arc::new(Semaphore::new(total as usize));
        loop {
            let len = read_len(from, self.limits.message_bytes).await?;
            // Before it is read: what the driver has not taken is not more than this, and one message.
            let needed = u32::try_from(len).unwrap_or(total).min(total);
            let Ok(permit) = Arc::clone(&room).acquire_many_owned(needed).await else {
                return Err(Closed::Stopping);
            };
            let body = read_body(from, len).await?;
            self.metrics.zab_link_received(len + frame::LENGTH_LEN);
            let mut body = body.freeze();
            let message =
                codec::decode(&mut body).map_err(|error| Closed::Malformed(error.to_string()))?;
            let event = LinkEvent::Message {
                from: self.outbound.node(),
                message,
                room: Room(permit),
            };
            if self.events.send(event.into()).await.is_err() {
                return Err(Closed::Stopping);
            }
        }
    }
}
