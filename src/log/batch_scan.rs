//! Walks the batch headers of a segment file, reading a few kilobytes at a time.

use std::io;
use std::sync::Arc;

use super::storage::{File, read_exact_at};
use crate::protocol::record_batch::{BatchHeader, HEADER_BYTES};

/// Read at once: several small batches' headers, or one.
const CHUNK_BYTES: usize = 4096;

/// A batch and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ScannedBatch {
    pub(super) header: BatchHeader,
    pub(super) position: u32,
    pub(super) size: u32,
}

impl ScannedBatch {
    pub(super) fn end(&self) -> u32 {
        self.position + self.size
    }

    pub(super) fn read(&self, file: &dyn File) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.size as usize];
        read_exact_at(file, &mut bytes, u64::from(self.position))?;
        Ok(bytes)
    }
}

/// Ends at the end of the segment; what is not a whole batch is an error, and the last item.
#[derive(Debug)]
pub(super) struct BatchScan {
    file: Arc<dyn File>,
    position: u32,
    end: u32,
    chunk: Vec<u8>,
    chunk_at: u32,
    failed: bool,
}

impl BatchScan {
    pub(super) fn new(file: Arc<dyn File>, position: u32, end: u32) -> Self {
        Self {
            file,
            position,
            end,
            chunk: Vec::new(),
            chunk_at: position,
            failed: false,
        }
    }

    fn header(&mut self) -> io::Result<ScannedBatch> {
        let cut = || io::Error::new(io::ErrorKind::InvalidData, "a batch is cut off");
        let room = self.end - self.position;
        if (room as usize) < HEADER_BYTES {
            return Err(cut());
        }
        let start = (self.position - self.chunk_at) as usize;
        if self.chunk.len() < start + HEADER_BYTES {
            self.chunk.resize(CHUNK_BYTES.min(room as usize), 0);
            read_exact_at(&*self.file, &mut self.chunk, u64::from(self.position))?;
            self.chunk_at = self.position;
        }
        let start = (self.position - self.chunk_at) as usize;
        let bytes = self.chunk.get(start..).ok_or_else(cut)?;
        let header = BatchHeader::parse(bytes)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let size = u32::try_from(header.size_in_bytes()).map_err(|_| cut())?;
        if size > room {
            return Err(cut());
        }
        Ok(ScannedBatch {
            header,
            position: self.position,
            size,
        })
    }
}

impl Iterator for BatchScan {
    type Item = io::Result<ScannedBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed || self.position >= self.end {
            return None;
        }
        let found = self.header();
        match &found {
            Ok(batch) => self.position = batch.end(),
            Err(_) => self.failed = true,
        }
        Some(found)
    }
}
