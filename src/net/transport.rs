//! One client's socket: reads into a buffer, sends a reply's parts in order.
//!
//! On a plain socket the ranges of log files go out by `sendfile`; ranges too short to be worth a
//! system call of their own are read and sent together with the bytes around them.

use std::io::{self, IoSlice};
use std::net::SocketAddr;

use bytes::{Buf, Bytes, BytesMut};
use rustix::net::SendFlags;
use tokio::io::{AsyncReadExt, Interest};
use tokio::net::TcpStream;

use crate::api::{FileRange, ResponsePart};
use crate::log::storage::read_exact_at;

/// A file range up to this long is copied into the bytes beside it: one `pread` and one `send`
/// cost less than a `send`, a `sendfile` and another `send`.
const COPIED_RANGE_BYTES: usize = 16 * 1024;

/// At most so much of a file is sent in one call, so that a reader of gigabytes lets others run.
const SENDFILE_BYTES: usize = 1024 * 1024;

/// How many pieces one `sendmsg` takes.
const SLICES: usize = 32;

/// What waits to be sent, in order.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    parts: std::collections::VecDeque<ResponsePart>,
}

impl Outbox {
    pub(crate) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Short file ranges are read here: what fails is the disk, not the socket.
    pub(crate) fn push(&mut self, parts: Vec<ResponsePart>) -> io::Result<()> {
        for part in parts {
            match part {
                part if part.is_empty() => {}
                ResponsePart::File(range)
                    if range.len <= COPIED_RANGE_BYTES || range.file.fd().is_none() =>
                {
                    let mut copy = BytesMut::zeroed(range.len);
                    read_exact_at(&*range.file, &mut copy, range.position)?;
                    self.parts.push_back(ResponsePart::Bytes(copy.freeze()));
                }
                part => self.parts.push_back(part),
            }
        }
        Ok(())
    }
}

/// A plain TCP connection.
#[derive(Debug)]
pub(crate) struct Transport {
    stream: TcpStream,
    pub(crate) peer: SocketAddr,
}

impl Transport {
    pub(crate) fn new(stream: TcpStream, peer: SocketAddr) -> Self {
        Self { stream, peer }
    }

    /// Reads what is there, up to the buffer's spare room; 0 when the client has closed.
    pub(crate) async fn read(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        self.stream.read_buf(buffer).await
    }

    /// Sends everything in the outbox; how many bytes that was.
    pub(crate) async fn send(&mut self, outbox: &mut Outbox) -> io::Result<usize> {
        let mut sent = 0;
        while !outbox.is_empty() {
            let step = self
                .stream
                .async_io(Interest::WRITABLE, || send_some(&self.stream, outbox))
                .await?;
            sent += step;
        }
        Ok(sent)
    }
}

/// One system call's worth: the bytes up to the next file range, or a piece of that range.
fn send_some(stream: &TcpStream, outbox: &mut Outbox) -> io::Result<usize> {
    if let Some(ResponsePart::File(range)) = outbox.parts.front_mut() {
        let sent = send_file(stream, range)?;
        if range.len == 0 {
            outbox.parts.pop_front();
        }
        return Ok(sent);
    }
    let slices: Vec<IoSlice<'_>> = outbox
        .parts
        .iter()
        .take(SLICES)
        .map_while(|part| match part {
            ResponsePart::Bytes(bytes) => Some(IoSlice::new(bytes)),
            ResponsePart::File(_) => None,
        })
        .collect();
    // More follows at once: let the kernel fill the packet.
    let mut flags = SendFlags::NOSIGNAL;
    if slices.len() < outbox.parts.len() {
        flags |= SendFlags::MORE;
    }
    let sent = rustix::net::sendmsg(
        stream,
        &slices,
        &mut rustix::net::SendAncillaryBuffer::default(),
        flags,
    )?;
    drop(slices);
    advance(outbox, sent);
    Ok(sent)
}

fn advance(outbox: &mut Outbox, mut sent: usize) {
    while sent > 0 {
        let Some(ResponsePart::Bytes(bytes)) = outbox.parts.front_mut() else {
            return;
        };
        if bytes.len() > sent {
            Bytes::advance(bytes, sent);
            return;
        }
        sent -= bytes.len();
        outbox.parts.pop_front();
    }
}

fn send_file(stream: &TcpStream, range: &mut FileRange) -> io::Result<usize> {
    let Some(fd) = range.file.fd() else {
        return Err(io::Error::other("a file without a descriptor was queued"));
    };
    let mut position = range.position;
    let sent = rustix::fs::sendfile(
        stream,
        fd,
        Some(&mut position),
        range.len.min(SENDFILE_BYTES),
    )?;
    if sent == 0 {
        // The log was cut below a reply already framed: only closing the connection is honest.
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    range.position = position;
    range.len -= sent;
    Ok(sent)
}
