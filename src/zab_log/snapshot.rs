//! A snapshot file: everything up to a zxid, in one piece.
//!
//! ```text
//! magic "dohlesnp" | version u32 | body crc32c u32 | zxid u64 | body length u64 | 0 u32 | header crc32c u32
//! body: records, as `controller::snapshot` writes them
//! ```
//!
//! It appears under its name whole or not at all.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::log::storage::{OpenMode, Storage, read_exact_at, write_atomically};
use crate::types::Zxid;
use crate::zab_log::segment::{crc_of, u32_at, u64_at};

const HEADER_LEN: usize = 40;
const MAGIC: &[u8; 8] = b"dohlesnp";
const VERSION: u32 = 1;
const PREFIX: &str = "snapshot.";

/// Writes snapshots, on whatever thread has the time.
#[derive(Debug, Clone)]
pub struct SnapshotWriter {
    storage: Arc<dyn Storage>,
    dir: PathBuf,
}

impl SnapshotWriter {
    pub(super) fn new(storage: Arc<dyn Storage>, dir: PathBuf) -> Self {
        Self { storage, dir }
    }

    /// Durable when it returns.
    pub fn write(&self, zxid: Zxid, body: &[u8]) -> io::Result<()> {
        let path = self.dir.join(file_name(zxid));
        write_atomically(&*self.storage, &path, &encode(zxid, body))
    }
}

pub(super) fn file_name(zxid: Zxid) -> String {
    format!("{PREFIX}{:016x}", zxid.0)
}

pub(super) fn zxid_of_name(name: &str) -> Option<Zxid> {
    super::zxid_of_name(name, PREFIX)
}

pub(super) fn encode(zxid: Zxid, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_LEN + body.len());
    bytes.extend(MAGIC);
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend(crc_of(&[body]).to_le_bytes());
    bytes.extend(zxid.0.to_le_bytes());
    bytes.extend((body.len() as u64).to_le_bytes());
    bytes.extend([0; 4]);
    let crc = crc_of(&[&bytes]);
    bytes.extend(crc.to_le_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// The body, or what is wrong.
pub(super) fn decode(zxid: Zxid, bytes: &[u8]) -> Result<&[u8], String> {
    let header = bytes.get(..HEADER_LEN - 4).ok_or("it is cut short")?;
    if !header.starts_with(MAGIC) || u32_at(bytes, HEADER_LEN - 4) != Some(crc_of(&[header])) {
        return Err("its header is damaged".into());
    }
    match u32_at(header, 8) {
        Some(VERSION) => {}
        other => return Err(format!("version {} is unknown here", other.unwrap_or(0))),
    }
    if u64_at(header, 16) != Some(zxid.0) {
        return Err("its name is not its own".into());
    }
    let body = bytes.get(HEADER_LEN..).unwrap_or_default();
    if u64_at(header, 24) != Some(body.len() as u64) {
        return Err("its length is wrong".into());
    }
    if u32_at(header, 12) != Some(crc_of(&[body])) {
        return Err("its checksum is wrong".into());
    }
    Ok(body)
}

pub(super) fn read_file(storage: &dyn Storage, path: &Path) -> io::Result<Vec<u8>> {
    let file = storage.open(path, OpenMode::Read)?;
    let len = file.len()?;
    let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
    read_exact_at(&*file, &mut bytes, 0)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_whole_or_refused() {
        let zxid = Zxid::new(3, 4);
        let bytes = encode(zxid, b"the body");
        assert_eq!(decode(zxid, &bytes), Ok(&b"the body"[..]));
        assert!(decode(Zxid::new(3, 5), &bytes).is_err());
        for cut in 0..bytes.len() {
            assert!(decode(zxid, &bytes[..cut]).is_err(), "cut at {cut}");
        }
        for position in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[position] ^= 4;
            assert!(decode(zxid, &damaged).is_err(), "byte {position}");
        }
        assert_eq!(zxid_of_name(&file_name(zxid)), Some(zxid));
        assert_eq!(zxid_of_name("snapshot.0000000300000004.tmp"), None);
        assert_eq!(zxid_of_name("log.0000000300000004"), None);
    }
}
