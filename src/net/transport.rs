//! One client's socket: reads into a buffer, sends what is in the outbox.
//!
//! On a plain socket the ranges of log files go out by `sendfile`.

use std::io::{self, IoSlice};
use std::net::SocketAddr;

use bytes::BytesMut;
use rustix::net::SendFlags;
use tokio::io::{AsyncReadExt, Interest};
use tokio::net::TcpStream;

use super::outbox::{Outbox, Part, Sending};

/// How many pieces one `sendmsg` takes.
const SLICES: usize = 32;

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

    /// Sends what the outbox holds, up to a range of a file that must be prepared; how many bytes that was.
    pub(crate) async fn send(&mut self, outbox: &mut Outbox) -> io::Result<usize> {
        let mut sent = 0;
        while outbox.can_send() {
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
    if let Some(Part::File(sending)) = outbox.parts.front_mut() {
        let sent = send_file(stream, sending)?;
        if sending.range().len == 0 {
            outbox.parts.pop_front();
        }
        return Ok(sent);
    }
    let slices: Vec<IoSlice<'_>> = outbox
        .parts
        .iter()
        .take(SLICES)
        .map_while(|part| match part {
            Part::Bytes(bytes) => Some(IoSlice::new(bytes)),
            Part::File(_) => None,
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
    outbox.advance(sent);
    Ok(sent)
}

fn send_file(stream: &TcpStream, sending: &mut Sending) -> io::Result<usize> {
    let range = sending.range();
    let Some(fd) = range.file.fd() else {
        return Err(io::Error::other("a file without a descriptor was queued"));
    };
    let mut position = range.position;
    let sent = rustix::fs::sendfile(stream, fd, Some(&mut position), sending.ready_len())
        .map_err(io::Error::from)
        .inspect_err(|error| {
            // A socket has other errors.
            if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) {
                range.file.read_failed(error);
            }
        })?;
    if sent == 0 {
        // The log was cut below a reply already framed: only closing the connection is honest.
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    sending.sent_up_to(position);
    Ok(sent)
}
