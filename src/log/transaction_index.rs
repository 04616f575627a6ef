//! `.txnindex`: the transactions that were aborted by a marker in one segment.
//!
//! Kafka's format: entries of 34 bytes, each a version (0) and four offsets' worth of numbers (see [`AbortedTxn`]);
//! no file where nothing was aborted. Last offsets ascend. An entry goes to
//! the file with its marker and is synced when the segment is no longer active; after a crash the entries
//! of the segments that recovery reads are made anew. The path is the segment's: the index keeps
//! only how much of the file counts.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use super::storage::{File, OpenMode, Storage, read_exact_at};
use crate::types::{Offset, ProducerId};

pub(super) const ENTRY_BYTES: u64 = 34;
const VERSION: i16 = 0;

/// Entries that are read at once.
const CHUNK_ENTRIES: u64 = 120;

/// A transaction of a partition that came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbortedTxn {
    pub producer_id: ProducerId,
    pub first_offset: Offset,
    /// The marker's.
    pub last_offset: Offset,
    /// Everything below was decided once the marker was there.
    pub last_stable_offset: Offset,
}

impl AbortedTxn {
    fn to_bytes(self) -> [u8; ENTRY_BYTES as usize] {
        let mut bytes = [0; ENTRY_BYTES as usize];
        let (version, fields) = bytes.split_at_mut(2);
        version.copy_from_slice(&VERSION.to_be_bytes());
        let (fields, _) = fields.as_chunks_mut::<8>();
        let numbers = [
            self.producer_id.0,
            self.first_offset.0,
            self.last_offset.0,
            self.last_stable_offset.0,
        ];
        for (field, number) in fields.iter_mut().zip(numbers) {
            *field = number.to_be_bytes();
        }
        bytes
    }

    fn from_bytes(mut bytes: &[u8]) -> io::Result<Self> {
        use bytes::Buf;
        let version = bytes.get_i16();
        if version != VERSION {
            return Err(invalid(format!(
                "an aborted transaction has version {version}"
            )));
        }
        Ok(Self {
            producer_id: ProducerId(bytes.get_i64()),
            first_offset: Offset(bytes.get_i64()),
            last_offset: Offset(bytes.get_i64()),
            last_stable_offset: Offset(bytes.get_i64()),
        })
    }
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

/// What a search of one segment found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct TxnIndexSearchResult {
    pub(super) aborted: Vec<AbortedTxn>,
    /// Later segments have nothing to add.
    pub(super) complete: bool,
}

#[derive(Debug, Default)]
pub(super) struct TransactionIndex {
    entries: u64,
    file: Mutex<Option<Arc<dyn File>>>,
}

impl TransactionIndex {
    /// A file of so many bytes; a cut entry at its end does not count.
    pub(super) fn of_len(bytes: u64) -> Self {
        Self {
            entries: bytes / ENTRY_BYTES,
            file: Mutex::default(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries == 0
    }

    pub(super) fn is_open(&self) -> bool {
        self.file.lock().is_some()
    }

    /// Every later use opens the file again.
    pub(super) fn close_file(&self) {
        *self.file.lock() = None;
    }

    /// The file; `None` when there is none and none is needed.
    pub(super) fn file(
        &self,
        storage: &dyn Storage,
        path: &Path,
    ) -> io::Result<Option<Arc<dyn File>>> {
        if self.is_empty() {
            return Ok(None);
        }
        self.open(storage, path).map(Some)
    }

    fn open(&self, storage: &dyn Storage, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut open = self.file.lock();
        if let Some(file) = &*open {
            return Ok(Arc::clone(file));
        }
        let file = storage.open(path, OpenMode::Create)?;
        *open = Some(Arc::clone(&file));
        Ok(file)
    }

    /// Counts only once it is written.
    pub(super) fn append(
        &mut self,
        storage: &dyn Storage,
        path: &Path,
        aborted: AbortedTxn,
    ) -> io::Result<()> {
        let file = self.open(storage, path)?;
        let end = self.entries * ENTRY_BYTES;
        // What lies behind was cut off an index that is gone, or written by an append that failed.
        if file.len()? > end {
            file.truncate(end)?;
        }
        file.write_at(&mut [IoSlice::new(&aborted.to_bytes())], end)?;
        self.entries += 1;
        Ok(())
    }

    /// Nothing is left of it, and nothing comes back after a crash.
    pub(super) fn reset(&mut self, storage: &dyn Storage, path: &Path) -> io::Result<()> {
        self.entries = 0;
        self.close_file();
        match storage.open(path, OpenMode::Write) {
            Ok(file) if file.is_empty()? => Ok(()),
            Ok(file) => {
                file.truncate(0)?;
                file.sync_data()
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Drops the transactions whose marker is at or beyond an offset, for good.
    pub(super) fn truncate(
        &mut self,
        storage: &dyn Storage,
        path: &Path,
        offset: Offset,
    ) -> io::Result<()> {
        let keep = self.first_ending_at(storage, path, offset)?;
        if keep < self.entries {
            let file = self.open(storage, path)?;
            file.truncate(keep * ENTRY_BYTES)?;
            file.sync_data()?;
            self.entries = keep;
        }
        Ok(())
    }

    /// What a reader must know of that reads from `fetch_offset` up to `upper_bound` (exclusive).
    pub(super) fn collect_aborted(
        &self,
        storage: &dyn Storage,
        path: &Path,
        fetch_offset: Offset,
        upper_bound: Offset,
    ) -> io::Result<TxnIndexSearchResult> {
        let mut result = TxnIndexSearchResult::default();
        let from = self.first_ending_at(storage, path, fetch_offset)?;
        self.walk(storage, path, from, |txn| {
            if txn.first_offset < upper_bound {
                result.aborted.push(txn);
            }
            result.complete = txn.last_stable_offset >= upper_bound;
            Ok(!result.complete)
        })?;
        Ok(result)
    }

    pub(super) fn all(&self, storage: &dyn Storage, path: &Path) -> io::Result<Vec<AbortedTxn>> {
        let mut all = Vec::new();
        self.walk(storage, path, 0, |txn| {
            all.push(txn);
            Ok(true)
        })?;
        Ok(all)
    }

    /// An error says that the file is not the index of a segment with these offsets, and must be made anew.
    pub(super) fn sanity_check(
        &self,
        storage: &dyn Storage,
        path: &Path,
        base_offset: Offset,
        end: Offset,
    ) -> io::Result<()> {
        let mut last = base_offset.plus(-1);
        self.walk(storage, path, 0, |txn| {
            let fits = txn.last_offset > last
                && txn.last_offset < end
                && txn.first_offset <= txn.last_offset
                && txn.last_stable_offset <= txn.last_offset.plus(1);
            last = txn.last_offset;
            if fits {
                return Ok(true);
            }
            Err(invalid(format!(
                "{txn:?} has no place in the transaction index of the offsets {base_offset} to {end}"
            )))
        })
    }

    /// The first entry whose marker is not before an offset.
    fn first_ending_at(
        &self,
        storage: &dyn Storage,
        path: &Path,
        offset: Offset,
    ) -> io::Result<u64> {
        let Some(file) = self.file(storage, path)? else {
            return Ok(0);
        };
        let (mut low, mut high) = (0, self.entries);
        while low < high {
            let middle = low + (high - low) / 2;
            let mut bytes = [0; ENTRY_BYTES as usize];
            read_exact_at(&*file, &mut bytes, middle * ENTRY_BYTES)?;
            if AbortedTxn::from_bytes(&bytes)?.last_offset < offset {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    /// From an entry on, until `look` has seen enough.
    fn walk(
        &self,
        storage: &dyn Storage,
        path: &Path,
        from: u64,
        mut look: impl FnMut(AbortedTxn) -> io::Result<bool>,
    ) -> io::Result<()> {
        let Some(file) = self.file(storage, path)? else {
            return Ok(());
        };
        let mut at = from;
        while at < self.entries {
            let count = CHUNK_ENTRIES.min(self.entries - at);
            let mut chunk = vec![0; usize::try_from(count * ENTRY_BYTES).unwrap_or(0)];
            read_exact_at(&*file, &mut chunk, at * ENTRY_BYTES)?;
            let (entries, _) = chunk.as_chunks::<{ ENTRY_BYTES as usize }>();
            for entry in entries {
                if !look(AbortedTxn::from_bytes(entry)?)? {
                    return Ok(());
                }
            }
            at += count;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::memory::MemStorage;

    const PATH: &str = "/i";

    fn storage() -> MemStorage {
        let storage = MemStorage::default();
        storage.create_dir_all(Path::new("/")).unwrap();
        storage
    }

    fn txn(producer: i64, first: i64, last: i64, stable: i64) -> AbortedTxn {
        AbortedTxn {
            producer_id: ProducerId(producer),
            first_offset: Offset(first),
            last_offset: Offset(last),
            last_stable_offset: Offset(stable),
        }
    }

    fn index(storage: &MemStorage, txns: &[AbortedTxn]) -> TransactionIndex {
        let mut index = TransactionIndex::default();
        for txn in txns {
            index.append(storage, Path::new(PATH), *txn).unwrap();
        }
        index
    }

    fn bytes(storage: &MemStorage) -> Vec<u8> {
        let file = storage.open(Path::new(PATH), OpenMode::Read).unwrap();
        let mut bytes = vec![0; file.len().unwrap() as usize];
        read_exact_at(&*file, &mut bytes, 0).unwrap();
        bytes
    }

    #[test]
    fn the_bytes_are_kafkas() {
        let storage = storage();
        let index = index(&storage, &[txn(1, 2, 3, 4), txn(5, 6, 0x0708, 9)]);
        let mut wanted = vec![0; 2];
        for number in [1i64, 2, 3, 4] {
            wanted.extend(number.to_be_bytes());
        }
        wanted.extend([0; 2]);
        for number in [5i64, 6, 0x0708, 9] {
            wanted.extend(number.to_be_bytes());
        }
        assert_eq!(bytes(&storage), wanted);
        let all = index.all(&storage, Path::new(PATH)).unwrap();
        assert_eq!(all, [txn(1, 2, 3, 4), txn(5, 6, 0x0708, 9)]);
    }

    #[test]
    fn no_abort_needs_no_file() {
        let (storage, path) = (storage(), Path::new(PATH));
        let mut index = TransactionIndex::default();
        assert_eq!(index.all(&storage, path).unwrap(), []);
        index.truncate(&storage, path, Offset(0)).unwrap();
        index.reset(&storage, path).unwrap();
        index
            .sanity_check(&storage, path, Offset(0), Offset(0))
            .unwrap();
        let found = index
            .collect_aborted(&storage, path, Offset(0), Offset(9))
            .unwrap();
        assert_eq!(found, TxnIndexSearchResult::default());
        assert!(!storage.exists(path));
    }

    #[test]
    fn a_reader_is_told_of_what_overlaps_its_range() {
        let (storage, path) = (storage(), Path::new(PATH));
        // The second began first and ended last but one; the third was still open then.
        let txns = [
            txn(0, 5, 10, 2),
            txn(1, 2, 20, 17),
            txn(2, 17, 25, 24),
            txn(3, 24, 40, 41),
        ];
        let index = index(&storage, &txns);
        let table: [(i64, i64, &[usize], bool); 9] = [
            (0, 100, &[0, 1, 2, 3], false),
            (0, 41, &[0, 1, 2, 3], true),
            (0, 24, &[0, 1, 2], true),
            (0, 17, &[0, 1], true),
            (0, 4, &[1], true),
            (11, 18, &[1, 2], true),
            (21, 22, &[2], true),
            (26, 41, &[3], true),
            (41, 50, &[], false),
        ];
        for (from, to, wanted, complete) in table {
            let found = index
                .collect_aborted(&storage, path, Offset(from), Offset(to))
                .unwrap();
            let wanted: Vec<_> = wanted.iter().map(|at| txns[*at]).collect();
            assert_eq!(
                (found.aborted, found.complete),
                (wanted, complete),
                "{from} {to}"
            );
        }
    }

    #[test]
    fn long_indexes_are_searched_in_pieces() {
        let (storage, path) = (storage(), Path::new(PATH));
        let txns: Vec<_> = (0..1000)
            .map(|n| txn(n, n * 10, n * 10 + 5, n * 10 + 6))
            .collect();
        let index = index(&storage, &txns);
        assert_eq!(index.all(&storage, path).unwrap(), txns);
        let found = index
            .collect_aborted(&storage, path, Offset(4006), Offset(7000))
            .unwrap();
        assert_eq!(found.aborted, txns[401..700]);
        assert!(found.complete);
    }

    #[test]
    fn what_is_cut_off_is_gone() {
        let (storage, path) = (storage(), Path::new(PATH));
        let txns = [txn(0, 5, 10, 2), txn(1, 2, 20, 17), txn(2, 17, 25, 26)];
        for (offset, left) in [(26, 3), (25, 2), (21, 2), (20, 1), (10, 0), (0, 0)] {
            let mut index = index(&storage, &txns);
            index.truncate(&storage, path, Offset(offset)).unwrap();
            assert_eq!(index.all(&storage, path).unwrap(), txns[..left], "{offset}");
            assert_eq!(bytes(&storage).len(), left * 34);
            index.append(&storage, path, txn(9, 90, 99, 100)).unwrap();
            assert_eq!(index.all(&storage, path).unwrap().len(), left + 1);
            index.reset(&storage, path).unwrap();
            assert!(index.is_empty() && bytes(&storage).is_empty());
        }
    }

    #[test]
    fn a_cut_entry_is_none_and_is_written_over() {
        let (storage, path) = (storage(), Path::new(PATH));
        index(&storage, &[txn(0, 5, 10, 2), txn(1, 2, 20, 17)]);
        storage
            .open(path, OpenMode::Write)
            .unwrap()
            .truncate(50)
            .unwrap();
        let mut index = TransactionIndex::of_len(50);
        assert_eq!(index.all(&storage, path).unwrap(), [txn(0, 5, 10, 2)]);
        index.append(&storage, path, txn(2, 3, 30, 31)).unwrap();
        let all = index.all(&storage, path).unwrap();
        assert_eq!(all, [txn(0, 5, 10, 2), txn(2, 3, 30, 31)]);
        assert_eq!(bytes(&storage).len(), 68);
    }

    #[test]
    fn garbage_is_seen() {
        let fine = [txn(0, 5, 10, 2), txn(1, 2, 20, 17)];
        let check = |txns: &[AbortedTxn], base, end| {
            let storage = storage();
            index(&storage, txns).sanity_check(&storage, Path::new(PATH), Offset(base), Offset(end))
        };
        assert!(check(&fine, 10, 21).is_ok());
        for (what, txns, base, end) in [
            ("a marker before the segment", fine, 11, 21),
            ("a marker behind the segment", fine, 10, 20),
            ("markers that fall", [fine[1], fine[0]], 0, 100),
            ("a marker twice", [fine[0], fine[0]], 0, 100),
            (
                "a stable offset beyond its marker",
                [fine[0], txn(1, 2, 20, 22)],
                0,
                100,
            ),
            (
                "an end before its beginning",
                [txn(0, 11, 10, 2), fine[1]],
                0,
                100,
            ),
        ] {
            assert!(check(&txns, base, end).is_err(), "{what}");
        }
        let (storage, path) = (storage(), Path::new(PATH));
        let index = index(&storage, &fine);
        let file = storage.open(path, OpenMode::Write).unwrap();
        file.write_at(&mut [IoSlice::new(&[1])], 34).unwrap();
        assert!(index.all(&storage, path).is_err(), "another version");
    }
}
