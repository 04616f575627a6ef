//! Appends to a file by whole blocks, as a file that is opened past the page cache wants it.
//!
//! The block that the last write ended in is kept, and written again with what comes behind it; what is left of a block is
//! zeroes. Memory, positions and lengths are multiples of a block. Owned by who owns the file: nobody else writes to it.

use std::io::{self, IoSlice};
use std::sync::Arc;

use super::storage::File;

/// What every file system and disk takes.
pub const BLOCK_BYTES: usize = 4096;
/// What a longer write took is given back.
const KEPT_BYTES: usize = 8 << 20;

/// Writes behind what a file has.
#[derive(Debug)]
pub struct BlockWriter {
    file: Arc<dyn File>,
    /// Where in the file the buffer begins.
    base: u64,
    buffer: BlockBuffer,
    /// So much of the buffer the file has already.
    written: usize,
}

impl BlockWriter {
    /// Goes on behind what counts in the file.
    pub fn behind(file: Arc<dyn File>, so_far: &[u8]) -> Self {
        let base = so_far.len() - so_far.len() % BLOCK_BYTES;
        let mut buffer = BlockBuffer::default();
        buffer.extend(so_far.get(base..).unwrap_or_default());
        Self {
            file,
            base: base as u64,
            written: buffer.len(),
            buffer,
        }
    }

    pub fn file(&self) -> &dyn File {
        &*self.file
    }

    /// Behind everything that was written.
    pub fn position(&self) -> u64 {
        self.base + self.written as u64
    }

    /// Adds to the next write.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend(bytes);
    }

    /// Adds zeroes to the next write, to be filled.
    pub fn push_zeroes(&mut self, len: usize) -> &mut [u8] {
        let from = self.buffer.len();
        self.buffer.resize(from + len);
        self.buffer.get_mut(from)
    }

    /// What the next write will bring.
    pub fn pushed(&mut self) -> &mut [u8] {
        self.buffer.get_mut(self.written)
    }

    /// Forgets it.
    pub fn discard(&mut self) {
        self.buffer.resize(self.written);
    }

    /// Writes what was pushed, and at least so many zeroes behind it; gives where they end. What cannot be written is
    /// forgotten. Durable once the file is synced.
    pub fn write(&mut self, zeroes: usize) -> io::Result<u64> {
        let end = self.buffer.len();
        let whole = (end + zeroes).next_multiple_of(BLOCK_BYTES);
        self.buffer.resize(whole);
        let slice = IoSlice::new(self.buffer.get_mut(0));
        let done = self.file.write_at(&mut [slice], self.base);
        if let Err(error) = done {
            self.discard();
            return Err(error);
        }
        let written_to = self.base + whole as u64;
        let block = end - end % BLOCK_BYTES;
        self.buffer.keep(block..end);
        self.base += block as u64;
        self.written = end - block;
        Ok(written_to)
    }
}

/// Bytes that begin at a block of memory.
#[derive(Debug, Default)]
struct BlockBuffer {
    bytes: Vec<u8>,
    /// What lies before the block.
    start: usize,
}

impl BlockBuffer {
    fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    fn get_mut(&mut self, from: usize) -> &mut [u8] {
        self.bytes.get_mut(self.start + from..).unwrap_or_default()
    }

    fn extend(&mut self, more: &[u8]) {
        self.reserve(more.len());
        self.bytes.extend_from_slice(more);
    }

    fn resize(&mut self, len: usize) {
        self.reserve(len.saturating_sub(self.len()));
        self.bytes.resize(self.start + len, 0);
    }

    /// Memory never moves but here.
    fn reserve(&mut self, more: usize) {
        let needed = self.len() + more;
        if self.start + needed > self.bytes.capacity() {
            self.move_to(needed.max(2 * self.len()), 0..self.len());
        }
    }

    /// Less than a block.
    fn keep(&mut self, range: std::ops::Range<usize>) {
        if self.bytes.capacity() > KEPT_BYTES + 2 * BLOCK_BYTES {
            self.move_to(BLOCK_BYTES, range);
            return;
        }
        let (start, len) = (self.start, range.len());
        self.bytes
            .copy_within(start + range.start..start + range.end, start);
        self.bytes.truncate(start + len);
    }

    fn move_to(&mut self, capacity: usize, range: std::ops::Range<usize>) {
        let mut bytes: Vec<u8> = Vec::with_capacity(capacity + BLOCK_BYTES);
        let start = bytes.as_ptr().align_offset(BLOCK_BYTES);
        bytes.resize(start, 0);
        let kept = self.start + range.start..self.start + range.end;
        bytes.extend_from_slice(self.bytes.get(kept).unwrap_or_default());
        (self.bytes, self.start) = (bytes, start);
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::BorrowedFd;
    use std::path::Path;

    use parking_lot::Mutex;
    use rustix::fs::{Mode, OFlags};

    use super::super::storage::{OpenMode, RealStorage, Storage, read_exact_at};
    use super::*;

    /// Takes nothing but whole blocks.
    #[derive(Debug, Default)]
    struct Blocks {
        bytes: Mutex<Vec<u8>>,
        fails: Mutex<bool>,
    }

    impl File for Blocks {
        fn len(&self) -> io::Result<u64> {
            Ok(self.bytes.lock().len() as u64)
        }

        fn read_at(&self, _buf: &mut [u8], _position: u64) -> io::Result<usize> {
            Ok(0)
        }

        fn write_at(&self, slices: &mut [IoSlice<'_>], position: u64) -> io::Result<()> {
            assert_eq!(position % BLOCK_BYTES as u64, 0);
            let mut bytes = self.bytes.lock();
            let mut at = position as usize;
            for slice in slices {
                assert_eq!(slice.len() % BLOCK_BYTES, 0);
                assert_eq!(slice.as_ptr().align_offset(BLOCK_BYTES), 0);
                if *self.fails.lock() {
                    return Err(io::ErrorKind::StorageFull.into());
                }
                let end = at + slice.len();
                let len = bytes.len().max(end);
                bytes.resize(len, 0xff);
                bytes[at..end].copy_from_slice(slice);
                at = end;
            }
            Ok(())
        }

        fn truncate(&self, _len: u64) -> io::Result<()> {
            Ok(())
        }

        fn sync_data(&self) -> io::Result<()> {
            Ok(())
        }

        fn fd(&self) -> Option<BorrowedFd<'_>> {
            None
        }
    }

    fn pattern(seed: usize, len: usize) -> Vec<u8> {
        (0..len).map(|at| (seed * 31 + at * 7 + 1) as u8).collect()
    }

    #[test]
    fn appends_of_any_length_are_written_by_whole_blocks() {
        let file = Arc::new(Blocks::default());
        let mut writer = BlockWriter::behind(file.clone(), &[]);
        let mut expected = Vec::new();
        let lens = [
            1,
            4095,
            4096,
            0,
            5000,
            3,
            8192,
            KEPT_BYTES + 70_000,
            12,
            4084,
        ];
        for (seed, len) in lens.into_iter().enumerate() {
            let bytes = pattern(seed, len);
            let (head, tail) = bytes.split_at(len / 2);
            writer.push(head);
            writer.push_zeroes(tail.len()).copy_from_slice(tail);
            assert_eq!(*writer.pushed(), bytes);
            let zeroes = seed * 1000;
            let written_to = writer.write(zeroes).unwrap();
            expected.extend(bytes);
            assert_eq!(writer.position(), expected.len() as u64);
            let file = file.bytes.lock();
            assert_eq!(file[..expected.len()], expected);
            assert!(written_to as usize >= expected.len() + zeroes);
            assert!(
                file[expected.len()..written_to as usize]
                    .iter()
                    .all(|b| *b == 0)
            );
        }
    }

    #[test]
    fn what_is_discarded_or_fails_leaves_the_block_before_it() {
        let file = Arc::new(Blocks::default());
        let before = pattern(1, 3 * BLOCK_BYTES + 100);
        let position = before.len() as u64;
        let mut writer = BlockWriter::behind(file.clone(), &before);
        writer.push(&pattern(2, 9000));
        writer.discard();
        assert!(writer.pushed().is_empty());
        writer.push(&pattern(3, 9000));
        *file.fails.lock() = true;
        assert!(writer.write(0).is_err());
        assert_eq!(writer.position(), position);
        *file.fails.lock() = false;
        writer.push(&pattern(4, 50));
        writer.write(0).unwrap();
        let bytes = file.bytes.lock();
        let block = &bytes[3 * BLOCK_BYTES..];
        assert_eq!(block.len(), BLOCK_BYTES);
        assert_eq!(block[..100], before[3 * BLOCK_BYTES..]);
        assert_eq!(block[100..150], pattern(4, 50));
        assert!(block[150..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn a_long_write_does_not_keep_its_memory() {
        let mut writer = BlockWriter::behind(Arc::new(Blocks::default()), &[]);
        writer.push(&pattern(1, 3 * KEPT_BYTES));
        writer.write(0).unwrap();
        assert!(writer.buffer.bytes.capacity() <= 2 * BLOCK_BYTES);
    }

    #[test]
    fn a_file_past_the_page_cache_is_written_and_read() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("f");
        let unbuffered = |path: &Path| RealStorage.open(path, OpenMode::Unbuffered);
        assert!(unbuffered(&path).is_err(), "it must exist");
        let file = RealStorage.open(&path, OpenMode::Create).unwrap();
        let direct = |file: &dyn File| {
            let flags = rustix::fs::fcntl_getfl(file.fd().unwrap()).unwrap();
            flags.contains(OFlags::DIRECT)
        };
        let can = rustix::fs::open(&path, OFlags::RDWR | OFlags::DIRECT, Mode::empty()).is_ok();
        let mut writer = BlockWriter::behind(unbuffered(&path).unwrap(), &[]);
        for seed in 0..3 {
            writer.push(&pattern(seed, 3000));
            writer.write(0).unwrap();
            writer.file().sync_data().unwrap();
        }
        assert_eq!(direct(writer.file()), can);
        assert!(!direct(&*file));
        let mut read = vec![0; 9000];
        read_exact_at(&*file, &mut read, 0).unwrap();
        assert_eq!(
            read,
            (0..3).flat_map(|s| pattern(s, 3000)).collect::<Vec<_>>()
        );
        // A write that is no whole block is made all the same.
        let odd = unbuffered(&path).unwrap();
        odd.write_at(&mut [IoSlice::new(b"odd")], 8999).unwrap();
        assert_eq!(file.len().unwrap(), 3 * BLOCK_BYTES as u64);
        read_exact_at(&*file, &mut read, 2).unwrap();
        assert_eq!(read[8997..], *b"odd");
        assert!(!direct(&*odd));
    }
}
