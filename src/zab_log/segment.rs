//! The bytes of a log segment. Pure: slices in, slices out.
//!
//! ```text
//! header, 32 bytes   magic "dohlezab" | version u32 | salt u32 | first zxid u64 | generation u32 | crc32c u32
//! batch, at 8 bytes  marker u32 | body length u32 | proposals u32 | crc32c u32 | body | zeroes to 8
//! body               for each proposal: zxid u64 | kind in 2 bits, length in 30 | payload
//! ```
//!
//! Version 1 knew no generations and no kinds: it has zeroes for them, which mean the same here.
//! Numbers are little-endian. A batch is what one flush made durable together, and the next is
//! written only after that flush: so of all batches only the last can be torn, and a bad one with a
//! good one behind it is a fault of the disk. What follows the last batch is preallocated zeroes.
//! The salt is in every CRC: no payload can pass for a batch.

use crate::types::Zxid;
use crate::zab::{Proposal, ProposalKind};

pub const HEADER_LEN: usize = 32;
const MAGIC: &[u8; 8] = b"dohlezab";
const VERSION: u32 = 2;
const BATCH_HEADER_LEN: usize = 16;
const MARKER: u32 = 0x4841_5442;
const ALIGNMENT: usize = 8;
/// A batch above this cannot be written: a payload's length has 30 bits.
pub const MAX_BODY_LEN: usize = (1 << KIND_SHIFT) - 1;
const KIND_SHIFT: u32 = 30;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub salt: u32,
    pub first: Zxid,
    /// Which history it is a part of: an installed snapshot begins another.
    pub generation: u32,
}

/// What a segment holds, and where its end is.
#[derive(Debug, PartialEq, Eq)]
pub struct Scanned {
    pub proposals: Vec<Proposal>,
    /// Behind the last good batch.
    pub end: usize,
    pub tail: Tail,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Tail {
    /// Nothing, or preallocated zeroes.
    Clean,
    /// A batch that a crash cut short.
    Torn,
    /// A bad batch with a good one behind it, at this position.
    Damaged { good_again: usize },
}

#[derive(Debug, PartialEq, Eq)]
pub enum HeaderError {
    /// The file was being made when the server stopped.
    Unfinished,
    Damaged,
    Version(u32),
}

impl Header {
    pub fn encode(self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        let fields = [
            &MAGIC[..],
            &VERSION.to_le_bytes(),
            &self.salt.to_le_bytes(),
            &self.first.0.to_le_bytes(),
            &self.generation.to_le_bytes(),
        ];
        let mut position = 0;
        for field in fields {
            put(&mut bytes, &mut position, field);
        }
        let crc = crc_of(&[bytes.get(..position).unwrap_or_default()]);
        put(&mut bytes, &mut position, &crc.to_le_bytes());
        bytes
    }

    pub fn decode(segment: &[u8]) -> Result<Self, HeaderError> {
        let checked = segment.get(..HEADER_LEN - 4);
        let crc = u32_at(segment, HEADER_LEN - 4);
        if let (Some(checked), Some(crc)) = (checked, crc)
            && checked.starts_with(MAGIC)
            && crc == crc_of(&[checked])
        {
            return match u32_at(segment, 8) {
                Some(1 | VERSION) => Ok(Self {
                    salt: u32_at(segment, 12).unwrap_or(0),
                    first: Zxid(u64_at(segment, 16).unwrap_or(0)),
                    generation: u32_at(segment, 24).unwrap_or(0),
                }),
                other => Err(HeaderError::Version(other.unwrap_or(0))),
            };
        }
        let behind = segment.get(HEADER_LEN..).unwrap_or_default();
        Err(if is_zero(behind) {
            HeaderError::Unfinished
        } else {
            HeaderError::Damaged
        })
    }
}

/// Appends a batch to `into`, whose end is at an aligned position of the segment.
pub fn encode_batch(salt: u32, proposals: &[Proposal], into: &mut Vec<u8>) {
    let body_len: usize = proposals.iter().map(|p| 12 + p.payload.len()).sum();
    into.reserve(BATCH_HEADER_LEN + body_len + ALIGNMENT);
    let mut body = Vec::with_capacity(body_len);
    for proposal in proposals {
        body.extend(proposal.zxid.0.to_le_bytes());
        let kind = kind_bits(proposal.kind) << KIND_SHIFT;
        body.extend((kind | proposal.payload.len() as u32).to_le_bytes());
        body.extend_from_slice(&proposal.payload);
    }
    let len = (body.len() as u32).to_le_bytes();
    let count = (proposals.len() as u32).to_le_bytes();
    let crc = crc_of(&[&salt.to_le_bytes(), &len, &count, &body]);
    into.extend(MARKER.to_le_bytes());
    into.extend(len);
    into.extend(count);
    into.extend(crc.to_le_bytes());
    into.extend(body);
    into.resize(into.len().next_multiple_of(ALIGNMENT), 0);
}

/// Reads all batches behind the header.
pub fn scan(segment: &[u8], salt: u32) -> Scanned {
    let mut proposals = Vec::new();
    let mut end = HEADER_LEN;
    while let Some(next) = batch_at(segment, end, salt, Some(&mut proposals)) {
        end = next;
    }
    let tail = segment.get(end..).unwrap_or_default();
    let tail = if is_zero(tail) {
        Tail::Clean
    } else {
        let behind = (end + ALIGNMENT..segment.len()).step_by(ALIGNMENT);
        let mut good = behind.filter(|at| batch_at(segment, *at, salt, None).is_some());
        match good.next() {
            Some(good_again) => Tail::Damaged { good_again },
            None => Tail::Torn,
        }
    };
    Scanned {
        proposals,
        end,
        tail,
    }
}

/// The position behind the batch at `position` when it is good; its proposals go into `into`.
fn batch_at(
    segment: &[u8],
    position: usize,
    salt: u32,
    into: Option<&mut Vec<Proposal>>,
) -> Option<usize> {
    if u32_at(segment, position)? != MARKER {
        return None;
    }
    let len = u32_at(segment, position + 4)?;
    let count = u32_at(segment, position + 8)?;
    let crc = u32_at(segment, position + 12)?;
    let start = position + BATCH_HEADER_LEN;
    let end = start.checked_add(len as usize)?;
    let body = segment.get(start..end)?;
    let parts = [
        &salt.to_le_bytes(),
        &len.to_le_bytes(),
        &count.to_le_bytes(),
    ];
    if crc != crc_of(&[parts[0], parts[1], parts[2], body]) {
        return None;
    }
    if let Some(into) = into {
        let already = into.len();
        decode_body(body, into)?;
        debug_assert_eq!(into.len() - already, count as usize);
    }
    Some(end.next_multiple_of(ALIGNMENT).min(segment.len()))
}

fn decode_body(body: &[u8], into: &mut Vec<Proposal>) -> Option<()> {
    let mut position = 0;
    while position < body.len() {
        let zxid = Zxid(u64_at(body, position)?);
        let word = u32_at(body, position + 8)?;
        let len = word as usize & MAX_BODY_LEN;
        let start = position + 12;
        let payload = body.get(start..start + len)?;
        into.push(Proposal {
            zxid,
            kind: kind_of_bits(word >> KIND_SHIFT)?,
            payload: bytes::Bytes::copy_from_slice(payload),
        });
        position = start + len;
    }
    Some(())
}

/// The segment without what is behind `zxid`. Batches that end before stay as they are.
pub fn cut(segment: &[u8], salt: u32, zxid: Zxid) -> Vec<u8> {
    let mut end = HEADER_LEN;
    let mut batch = Vec::new();
    while let Some(next) = batch_at(segment, end, salt, Some(&mut batch))
        && batch.last().is_some_and(|last| last.zxid <= zxid)
    {
        end = next;
        batch.clear();
    }
    let mut cut = segment.get(..end).unwrap_or_default().to_vec();
    batch.retain(|proposal| proposal.zxid <= zxid);
    if !batch.is_empty() {
        encode_batch(salt, &batch, &mut cut);
    }
    cut
}

fn kind_bits(kind: ProposalKind) -> u32 {
    match kind {
        ProposalKind::Data => 0,
        ProposalKind::Reconfig => 1,
    }
}

fn kind_of_bits(bits: u32) -> Option<ProposalKind> {
    match bits {
        0 => Some(ProposalKind::Data),
        1 => Some(ProposalKind::Reconfig),
        _ => None,
    }
}

pub fn crc_of(parts: &[&[u8]]) -> u32 {
    let append = |crc, part: &&[u8]| crc32c::crc32c_append(crc, part);
    parts.iter().fold(0, append)
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

pub fn u32_at(bytes: &[u8], position: usize) -> Option<u32> {
    let bytes = bytes.get(position..position.checked_add(4)?)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

pub fn u64_at(bytes: &[u8], position: usize) -> Option<u64> {
    let bytes = bytes.get(position..position.checked_add(8)?)?;
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

fn put(bytes: &mut [u8], position: &mut usize, field: &[u8]) {
    let end = *position + field.len();
    if let Some(slot) = bytes.get_mut(*position..end) {
        slot.copy_from_slice(field);
    }
    *position = end;
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: u32 = 0x5a17;

    fn proposal(counter: u32, payload: &[u8]) -> Proposal {
        Proposal {
            zxid: Zxid::new(1, counter),
            kind: match counter {
                2 => ProposalKind::Reconfig,
                _ => ProposalKind::Data,
            },
            payload: bytes::Bytes::copy_from_slice(payload),
        }
    }

    /// A header and three batches; the positions behind each.
    fn segment() -> (Vec<u8>, Vec<Proposal>, [usize; 4]) {
        let header = Header {
            salt: SALT,
            first: Zxid::new(1, 1),
            generation: 9,
        };
        let proposals = vec![
            proposal(1, b"first"),
            proposal(2, b""),
            proposal(3, &[0; 100]),
            proposal(4, b"last"),
        ];
        let mut bytes = header.encode().to_vec();
        let mut ends = [bytes.len(); 4];
        for (batch, range) in [0..2, 2..3, 3..4].into_iter().enumerate() {
            encode_batch(SALT, &proposals[range], &mut bytes);
            ends[batch + 1] = bytes.len();
        }
        (bytes, proposals, ends)
    }

    #[test]
    fn what_was_written_is_read() {
        let (mut bytes, proposals, ends) = segment();
        let header = Header::decode(&bytes).unwrap();
        assert_eq!((header.salt, header.first), (SALT, Zxid::new(1, 1)));
        assert_eq!(header.generation, 9);
        for zeroes in [0, 1, 4096] {
            bytes.resize(ends[3] + zeroes, 0);
            let scanned = scan(&bytes, SALT);
            assert_eq!(scanned.proposals, proposals);
            assert_eq!((scanned.end, scanned.tail), (ends[3], Tail::Clean));
        }
    }

    #[test]
    fn a_cut_anywhere_in_the_last_batch_is_a_torn_tail() {
        let (bytes, proposals, ends) = segment();
        for cut in ends[2] + 1..ends[3] {
            // A file that ends early, and one that was preallocated.
            for full_len in [cut, ends[3] + 64] {
                let mut torn = bytes[..cut].to_vec();
                torn.resize(full_len, 0);
                let scanned = scan(&torn, SALT);
                if scanned.end == ends[2] {
                    assert_eq!(scanned.proposals, proposals[..3]);
                    assert_eq!(scanned.tail, Tail::Torn);
                } else {
                    // Only zeroes are missing.
                    assert_eq!(scanned.proposals, proposals);
                }
            }
        }
    }

    #[test]
    fn any_flipped_bit_before_the_last_batch_is_damage() {
        let (bytes, _, ends) = segment();
        for position in ends[0]..ends[2] {
            let mut damaged = bytes.clone();
            damaged[position] ^= 0x10;
            let scanned = scan(&damaged, SALT);
            let padding = scanned.end == ends[3];
            assert!(
                padding || matches!(scanned.tail, Tail::Damaged { .. }),
                "byte {position}: {scanned:?}"
            );
        }
    }

    #[test]
    fn a_payload_cannot_pass_for_a_batch() {
        let mut disguised = Vec::new();
        encode_batch(SALT + 1, &[proposal(9, b"not a batch")], &mut disguised);
        let header = Header {
            salt: SALT,
            first: Zxid::new(1, 1),
            generation: 9,
        };
        let mut bytes = header.encode().to_vec();
        // So that it lies at an aligned position.
        let payload = [&[0; 4][..], &disguised].concat();
        encode_batch(SALT, &[proposal(1, &payload)], &mut bytes);
        bytes[HEADER_LEN + BATCH_HEADER_LEN] ^= 1;
        assert_eq!(scan(&bytes, SALT).tail, Tail::Torn);
        assert!(matches!(scan(&bytes, SALT + 1).tail, Tail::Damaged { .. }));
    }

    #[test]
    fn a_header_is_good_unfinished_or_damaged() {
        let (bytes, ..) = segment();
        let damaged_at = |position: usize, len: usize| {
            let mut bytes = bytes[..len].to_vec();
            bytes[position] ^= 1;
            Header::decode(&bytes)
        };
        for position in 0..HEADER_LEN {
            assert_eq!(damaged_at(position, bytes.len()), Err(HeaderError::Damaged));
            assert_eq!(
                damaged_at(position, HEADER_LEN),
                Err(HeaderError::Unfinished)
            );
        }
        assert_eq!(Header::decode(&[]), Err(HeaderError::Unfinished));
        assert_eq!(Header::decode(&[0; 4096]), Err(HeaderError::Unfinished));
        let mut newer = bytes[..HEADER_LEN].to_vec();
        let mut of_version = |version| {
            newer[8] = version;
            let crc = crc_of(&[&newer[..HEADER_LEN - 4]]);
            newer[HEADER_LEN - 4..].copy_from_slice(&crc.to_le_bytes());
            Header::decode(&newer)
        };
        assert_eq!(of_version(3), Err(HeaderError::Version(3)));
        assert!(of_version(1).is_ok());
    }

    #[test]
    fn what_is_kept_of_a_cut_segment_stays_as_it_was() {
        let (bytes, proposals, ends) = segment();
        for kept in 0..=proposals.len() {
            let cut = cut(&bytes, SALT, Zxid::new(1, kept as u32));
            let scanned = scan(&cut, SALT);
            assert_eq!(scanned.proposals, proposals[..kept]);
            assert_eq!((scanned.end, scanned.tail), (cut.len(), Tail::Clean));
            if let Some(end) = [ends[0], 0, ends[1], ends[2], ends[3]].get(kept)
                && kept != 1
            {
                assert_eq!(cut, bytes[..*end], "{kept}");
            }
        }
    }
}
