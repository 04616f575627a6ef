//! The voters, when enough of them agree, and how their changes lie in the log.
//!
//! A configuration takes effect when it is appended and is undone when it is truncated: elections
//! and quorums use the newest in the log, committed or not. As one voter comes or goes at a time,
//! any quorum of one configuration meets any quorum of the next.

use std::collections::BTreeMap;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use uuid::Uuid;

use crate::types::{NodeId, Zxid};

/// More would not be an ensemble any more.
pub const MAX_VOTERS: usize = 64;
pub const MAX_HOST_BYTES: usize = 255;
const VERSION: u8 = 1;

/// Where a voter is, and which disk it votes with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Voter {
    pub host: String,
    pub port: u16,
    /// Unknown until it has followed for the first time.
    pub directory: Option<Uuid>,
}

impl Voter {
    pub fn at(host: impl Into<String>, port: u16) -> Self {
        Self {
            host: host.into(),
            port,
            directory: None,
        }
    }

    pub fn with_directory(self, directory: Uuid) -> Self {
        Self {
            directory: Some(directory),
            ..self
        }
    }
}

/// The servers that vote.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Voters(BTreeMap<NodeId, Voter>);

/// Bytes that are no configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are not a configuration of voters")]
pub struct InvalidVoters;

impl Voters {
    pub fn new(voters: impl IntoIterator<Item = (NodeId, Voter)>) -> Self {
        Self(voters.into_iter().collect())
    }

    /// Voters of whom only the ids matter.
    pub fn of(nodes: impl IntoIterator<Item = NodeId>) -> Self {
        Self::new(nodes.into_iter().map(|node| (node, Voter::default())))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn contains(&self, node: NodeId) -> bool {
        self.0.contains_key(&node)
    }

    pub fn get(&self, node: NodeId) -> Option<&Voter> {
        self.0.get(&node)
    }

    pub fn iter(&self) -> impl Iterator<Item = (NodeId, &Voter)> {
        self.0.iter().map(|(node, voter)| (*node, voter))
    }

    pub fn nodes(&self) -> impl Iterator<Item = NodeId> {
        self.0.keys().copied()
    }

    pub fn with(&self, node: NodeId, voter: Voter) -> Self {
        let mut voters = self.0.clone();
        voters.insert(node, voter);
        Self(voters)
    }

    pub fn without(&self, node: NodeId) -> Self {
        let mut voters = self.0.clone();
        voters.remove(&node);
        Self(voters)
    }

    /// f+1 of 2f+1.
    pub fn majority(&self) -> usize {
        self.0.len() / 2 + 1
    }

    /// Who is not a voter does not count.
    pub fn is_quorum(&self, nodes: impl IntoIterator<Item = NodeId>) -> bool {
        let agreeing: std::collections::BTreeSet<NodeId> =
            nodes.into_iter().filter(|n| self.contains(*n)).collect();
        agreeing.len() >= self.majority()
    }

    /// The greatest value that a quorum has reached, given how far each node has come.
    pub fn reached<T: Ord + Copy + Default>(&self, of: impl Fn(NodeId) -> T) -> T {
        let mut sorted: Vec<T> = self.nodes().map(of).collect();
        sorted.sort_unstable_by(|a, b| b.cmp(a));
        sorted.get(self.majority() - 1).copied().unwrap_or_default()
    }

    /// version u8 | count u16 | for each: id i32 | port u16 | directory flag u8, 16 bytes | host length u16, host
    pub fn encode_into(&self, into: &mut BytesMut) {
        into.put_u8(VERSION);
        into.put_u16(self.0.len() as u16);
        for (node, voter) in &self.0 {
            into.put_i32(node.0);
            into.put_u16(voter.port);
            into.put_u8(u8::from(voter.directory.is_some()));
            if let Some(directory) = voter.directory {
                into.put_slice(directory.as_bytes());
            }
            into.put_u16(voter.host.len() as u16);
            into.put_slice(voter.host.as_bytes());
        }
    }

    pub fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::new();
        self.encode_into(&mut bytes);
        bytes.freeze()
    }

    /// Takes them off the front.
    pub fn decode_from(bytes: &mut impl Buf) -> Result<Self, InvalidVoters> {
        let version = bytes.try_get_u8().map_err(|_| InvalidVoters)?;
        let count = usize::from(bytes.try_get_u16().map_err(|_| InvalidVoters)?);
        if version != VERSION || count > MAX_VOTERS {
            return Err(InvalidVoters);
        }
        let mut voters = BTreeMap::new();
        for _ in 0..count {
            let (node, voter) = decode_voter(bytes).ok_or(InvalidVoters)?;
            if voters
                .last_key_value()
                .is_some_and(|(last, _)| *last >= node)
            {
                return Err(InvalidVoters);
            }
            voters.insert(node, voter);
        }
        Ok(Self(voters))
    }

    pub fn decode(mut bytes: &[u8]) -> Result<Self, InvalidVoters> {
        let voters = Self::decode_from(&mut bytes)?;
        if bytes.is_empty() {
            Ok(voters)
        } else {
            Err(InvalidVoters)
        }
    }
}

fn decode_voter(bytes: &mut impl Buf) -> Option<(NodeId, Voter)> {
    let node = NodeId(bytes.try_get_i32().ok()?);
    let port = bytes.try_get_u16().ok()?;
    let directory = match bytes.try_get_u8().ok()? {
        0 => None,
        1 => Some(Uuid::from_u128(bytes.try_get_u128().ok()?)),
        _ => return None,
    };
    let len = usize::from(bytes.try_get_u16().ok()?);
    if len > MAX_HOST_BYTES {
        return None;
    }
    let mut host = [0; MAX_HOST_BYTES];
    let host = host.get_mut(..len)?;
    bytes.try_copy_to_slice(host).ok()?;
    let host = std::str::from_utf8(host).ok()?.to_owned();
    Some((
        node,
        Voter {
            host,
            port,
            directory,
        },
    ))
}

/// The configurations of a history, by the zxid from which each counts.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Configurations {
    /// Ascending; never empty. The first counts for everything before the second.
    by_zxid: Vec<(Zxid, Voters)>,
}

/// Old ones are kept for snapshots that lag behind.
const KEPT_CONFIGURATIONS: usize = 64;

impl Configurations {
    pub fn new(zxid: Zxid, voters: Voters) -> Self {
        Self {
            by_zxid: vec![(zxid, voters)],
        }
    }

    /// The newest in the log.
    pub fn newest(&self) -> &Voters {
        self.entry_at(Zxid(u64::MAX)).1
    }

    /// Where it was appended.
    pub fn newest_zxid(&self) -> Zxid {
        self.entry_at(Zxid(u64::MAX)).0
    }

    /// As of a place in the log.
    pub fn at(&self, zxid: Zxid) -> &Voters {
        self.entry_at(zxid).1
    }

    fn entry_at(&self, zxid: Zxid) -> (Zxid, &Voters) {
        let from = self.by_zxid.iter().rev().find(|(from, _)| *from <= zxid);
        #[expect(
            clippy::indexing_slicing,
            reason = "there is always one: `new` and `install` put it there, `truncate` leaves it"
        )]
        let (from, voters) = from.unwrap_or(&self.by_zxid[0]);
        (*from, voters)
    }

    pub fn append(&mut self, zxid: Zxid, voters: Voters) {
        self.by_zxid.push((zxid, voters));
        if self.by_zxid.len() > KEPT_CONFIGURATIONS {
            self.by_zxid.remove(0);
        }
    }

    /// A snapshot takes the place of everything.
    pub fn install(&mut self, zxid: Zxid, voters: Voters) {
        *self = Self::new(zxid, voters);
    }

    /// Gives whether the newest is another one now.
    pub fn truncate(&mut self, last: Zxid) -> bool {
        let before = self.by_zxid.len();
        let first = self.by_zxid.iter().take(1).map(|(zxid, _)| *zxid).max();
        self.by_zxid
            .retain(|(zxid, _)| *zxid <= last || Some(*zxid) == first);
        self.by_zxid.len() != before
    }
}

#[cfg(test)]
#[path = "voters_tests.rs"]
mod tests;
