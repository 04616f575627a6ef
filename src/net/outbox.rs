//! What a connection has yet to send, in order: bytes, and ranges of log files.
//!
//! A range that may not be in memory is looked at piece by piece before it is sent; a piece that is not is read in
//! on a thread for that, and the next ones ahead, while the connection waits without a thread.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};

use crate::api::{FileRange, ResponsePart};
use crate::log::NotCached;
use crate::log::storage::{is_cached, read_exact_at, read_exact_cached_at};
use crate::runtime::cold_reads::ColdReads;

/// A file range up to this long is copied into the bytes beside it: one `pread` and one `send`
/// cost less than a `send`, a `sendfile` and another `send`.
const COPIED_RANGE_BYTES: usize = 16 * 1024;

/// At most so much of a file is sent in one call, so that a reader of gigabytes lets others run; and read in at
/// once, if it must be.
const PIECE_BYTES: usize = 1024 * 1024;

/// How far ahead of a reader of old records: enough that the disk is busy while the reader is.
const AHEAD_PIECES: u64 = 4;

#[derive(Debug)]
pub(super) enum Part {
    Bytes(Bytes),
    File(Sending),
}

/// A range on its way.
#[derive(Debug)]
pub(super) struct Sending {
    range: FileRange,
    /// Everything before is in memory, as far as that is known.
    ready_to: u64,
}

impl Sending {
    fn new(range: FileRange) -> Self {
        let ready_to = if range.maybe_cold {
            range.position
        } else {
            u64::MAX
        };
        Self { range, ready_to }
    }

    /// How much can be sent now.
    pub(super) fn ready_len(&self) -> usize {
        let ready = self.ready_to.saturating_sub(self.range.position);
        usize::try_from(ready)
            .unwrap_or(usize::MAX)
            .min(self.range.len)
            .min(PIECE_BYTES)
    }

    pub(super) fn range(&self) -> &FileRange {
        &self.range
    }

    pub(super) fn sent_up_to(&mut self, position: u64) {
        let sent = usize::try_from(position - self.range.position).unwrap_or(usize::MAX);
        self.range.len = self.range.len.saturating_sub(sent);
        self.range.position = position;
    }

    fn is_to_be_copied(&self) -> bool {
        self.range.len <= COPIED_RANGE_BYTES || self.range.file.fd().is_none()
    }

    /// Makes the next piece ready.
    async fn prepare(&mut self, cold: &ColdReads) {
        let FileRange { file, position, .. } = &self.range;
        let len = self.range.len.min(PIECE_BYTES) as u64;
        let next = position + len;
        let piece = |from, len| NotCached::range(Arc::clone(file), from, len);
        let missing = !is_cached(&**file, *position, len);
        let reading = missing.then(|| cold.read_in(piece(*position, len)));
        // Whoever reads old records goes on to read the ones behind. Who has come here so finds the nearer pieces
        // read ahead, and has the last one added.
        let nearer = if missing { 0 } else { AHEAD_PIECES - 1 };
        for ahead in nearer..AHEAD_PIECES {
            let from = next + ahead * PIECE_BYTES as u64;
            if !is_cached(&**file, from, 1) {
                cold.read_ahead(piece(from, PIECE_BYTES as u64));
            }
        }
        if let Some(reading) = reading {
            reading.await;
        }
        self.ready_to = next;
    }

    fn copy(&self) -> io::Result<Bytes> {
        let mut copy = BytesMut::zeroed(self.range.len);
        read_exact_at(&*self.range.file, &mut copy, self.range.position)?;
        Ok(copy.freeze())
    }

    /// The bytes, if it is a short range and they are in memory.
    fn copy_at_once(&self) -> io::Result<Option<Bytes>> {
        if !self.is_to_be_copied() {
            return Ok(None);
        }
        if !self.range.maybe_cold {
            return self.copy().map(Some);
        }
        let mut copy = BytesMut::zeroed(self.range.len);
        match read_exact_cached_at(&*self.range.file, &mut copy, self.range.position) {
            Ok(()) => Ok(Some(copy.freeze())),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// What waits to be sent.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    pub(super) parts: VecDeque<Part>,
}

impl Outbox {
    pub(crate) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Short file ranges are read here, if they are in memory: what fails is the disk, not the socket.
    pub(crate) fn push(&mut self, parts: Vec<ResponsePart>) -> io::Result<()> {
        for part in parts {
            let part = match part {
                part if part.is_empty() => continue,
                ResponsePart::Bytes(bytes) => Part::Bytes(bytes),
                ResponsePart::File(range) => {
                    let sending = Sending::new(range);
                    match sending.copy_at_once()? {
                        Some(copy) => Part::Bytes(copy),
                        None => Part::File(sending),
                    }
                }
            };
            self.parts.push_back(part);
        }
        Ok(())
    }

    /// Whether what comes first can be sent as it is.
    pub(super) fn can_send(&self) -> bool {
        match self.parts.front() {
            None => false,
            Some(Part::Bytes(_)) => true,
            Some(Part::File(sending)) => sending.ready_len() > 0,
        }
    }

    /// Waits until something can be sent without waiting for the disk. An error is the disk's.
    pub(crate) async fn prepare(&mut self, cold: &ColdReads) -> io::Result<()> {
        let Some(Part::File(sending)) = self.parts.front_mut() else {
            return Ok(());
        };
        if sending.ready_len() > 0 {
            return Ok(());
        }
        sending.prepare(cold).await;
        if sending.is_to_be_copied() {
            let copy = sending.copy()?;
            if let Some(front) = self.parts.front_mut() {
                *front = Part::Bytes(copy);
            }
        }
        Ok(())
    }

    /// So many bytes of the parts in front have been sent.
    pub(super) fn advance(&mut self, mut sent: usize) {
        while sent > 0 {
            let Some(Part::Bytes(bytes)) = self.parts.front_mut() else {
                return;
            };
            if bytes.len() > sent {
                bytes.advance(sent);
                return;
            }
            sent -= bytes.len();
            self.parts.pop_front();
        }
    }
}

#[cfg(test)]
#[path = "outbox_tests.rs"]
mod tests;
