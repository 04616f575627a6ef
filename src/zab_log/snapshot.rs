//! A snapshot file: everything up to a zxid, in one piece.
//!
//! ```text
//! magic "dohlesnp" | version u32 | crc32c of voters and body u32 | zxid u64 | body length u64
//!   | generation u32 | voters length u32 | header crc32c u32
//! voters: who votes at the zxid, as `zab::Voters::encode` writes them
//! body: records, as `controller::snapshot` writes them
//! ```
//!
//! Numbers are little-endian. Version 1 ends its header behind the generation, which is 0, with the crc: it knew no
//! voters. The file appears under its name whole or not at all.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use crate::log::storage::{OpenMode, Storage, read_exact_at, write_atomically};
use crate::zab::{Snapshot, Voters};
use crate::zab_log::place::Place;
use crate::zab_log::segment::{crc_of, u32_at, u64_at};

const HEADER_LEN: usize = 44;
const HEADER_LEN_V1: usize = 40;
const MAGIC: &[u8; 8] = b"dohlesnp";
const VERSION: u32 = 2;
pub(super) const PREFIX: &str = "snapshot.";

/// Writes snapshots, on whatever thread has the time.
#[derive(Debug, Clone)]
pub struct SnapshotWriter {
    storage: Arc<dyn Storage>,
    dir: PathBuf,
    /// Of the history that was there when the snapshot was begun.
    generation: u32,
}

impl SnapshotWriter {
    pub(super) fn new(storage: Arc<dyn Storage>, dir: PathBuf, generation: u32) -> Self {
        Self {
            storage,
            dir,
            generation,
        }
    }

    /// Durable when it returns.
    pub fn write(&self, snapshot: &Snapshot) -> io::Result<()> {
        let place = Place {
            generation: self.generation,
            zxid: snapshot.zxid,
        };
        let path = self.dir.join(place.name(PREFIX));
        write_atomically(&*self.storage, &path, &encode(self.generation, snapshot))
    }
}

pub(super) fn encode(generation: u32, snapshot: &Snapshot) -> Vec<u8> {
    let voters = snapshot.voters.encode();
    let body = &snapshot.body;
    let mut bytes = Vec::with_capacity(HEADER_LEN + voters.len() + body.len());
    bytes.extend(MAGIC);
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend(crc_of(&[&voters, body]).to_le_bytes());
    bytes.extend(snapshot.zxid.0.to_le_bytes());
    bytes.extend((body.len() as u64).to_le_bytes());
    bytes.extend(generation.to_le_bytes());
    bytes.extend((voters.len() as u32).to_le_bytes());
    let crc = crc_of(&[&bytes]);
    bytes.extend(crc.to_le_bytes());
    bytes.extend_from_slice(&voters);
    bytes.extend_from_slice(body);
    bytes
}

/// Who votes, where it is known, and the body; or what is wrong.
pub(super) fn decode(place: Place, bytes: &[u8]) -> Result<(Option<Voters>, Bytes), String> {
    let version = match (bytes.starts_with(MAGIC), u32_at(bytes, 8)) {
        (true, Some(version)) => version,
        _ => return Err("its header is damaged".into()),
    };
    let header_len = match version {
        1 => HEADER_LEN_V1,
        VERSION => HEADER_LEN,
        other => return Err(format!("version {other} is unknown here")),
    };
    let header = bytes.get(..header_len - 4).ok_or("it is cut short")?;
    if u32_at(bytes, header_len - 4) != Some(crc_of(&[header])) {
        return Err("its header is damaged".into());
    }
    let names_itself = u64_at(header, 16) == Some(place.zxid.0);
    if !names_itself || u32_at(header, 32) != Some(place.generation) {
        return Err("its name is not its own".into());
    }
    let rest = bytes.get(header_len..).unwrap_or_default();
    let voters_len = u32_at(header, 36).unwrap_or(0);
    let body_len = u64_at(header, 24).unwrap_or(0);
    if u64::from(voters_len).checked_add(body_len) != Some(rest.len() as u64) {
        return Err("its length is wrong".into());
    }
    if u32_at(header, 12) != Some(crc_of(&[rest])) {
        return Err("its checksum is wrong".into());
    }
    let (voters, body) = rest
        .split_at_checked(voters_len as usize)
        .ok_or("its length is wrong")?;
    let body = Bytes::copy_from_slice(body);
    if version == 1 {
        return Ok((None, body));
    }
    let voters = Voters::decode(voters).map_err(|error| error.to_string())?;
    Ok((Some(voters), body))
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
    use crate::types::Zxid;
    use crate::zab_log::tests::voters;

    fn place(generation: u32, zxid: Zxid) -> Place {
        Place { generation, zxid }
    }

    #[test]
    fn a_snapshot_is_whole_or_refused() {
        let zxid = Zxid::new(3, 4);
        let snapshot = Snapshot {
            zxid,
            voters: voters(3),
            body: Bytes::from_static(b"the body"),
        };
        let bytes = encode(7, &snapshot);
        let expected = (Some(voters(3)), snapshot.body.clone());
        assert_eq!(decode(place(7, zxid), &bytes), Ok(expected));
        assert!(decode(place(7, Zxid::new(3, 5)), &bytes).is_err());
        assert!(decode(place(6, zxid), &bytes).is_err());
        for cut in 0..bytes.len() {
            assert!(
                decode(place(7, zxid), &bytes[..cut]).is_err(),
                "cut at {cut}"
            );
        }
        for position in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[position] ^= 4;
            assert!(decode(place(7, zxid), &damaged).is_err(), "byte {position}");
        }
    }

    #[test]
    fn one_of_version_1_is_read_and_says_nothing_of_voters() {
        let zxid = Zxid::new(3, 4);
        let mut bytes = MAGIC.to_vec();
        bytes.extend(1u32.to_le_bytes());
        bytes.extend(crc_of(&[b"body"]).to_le_bytes());
        bytes.extend(zxid.0.to_le_bytes());
        bytes.extend(4u64.to_le_bytes());
        bytes.extend([0; 4]);
        bytes.extend(crc_of(&[&bytes]).to_le_bytes());
        bytes.extend(b"body");
        let read = decode(place(0, zxid), &bytes);
        assert_eq!(read, Ok((None, Bytes::from_static(b"body"))));
    }
}
