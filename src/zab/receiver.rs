//! A snapshot on its way in: pieces in order, then the whole checked at once.

use bytes::{Bytes, BytesMut};

use crate::types::Zxid;
use crate::zab::voters::Voters;

#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Receiver {
    zxid: Zxid,
    voters: Voters,
    length: u64,
    checksum: u32,
    /// Grows with what comes, not with what was announced.
    body: BytesMut,
}

impl Receiver {
    pub fn new(zxid: Zxid, voters: Voters, length: u64, checksum: u32) -> Self {
        Self {
            zxid,
            voters,
            length,
            checksum,
            body: BytesMut::new(),
        }
    }

    pub fn received(&self) -> u64 {
        self.body.len() as u64
    }

    pub fn is_complete(&self) -> bool {
        self.received() == self.length
    }

    /// `false`: it is not the next piece.
    pub fn on_chunk(&mut self, position: u64, bytes: &[u8]) -> bool {
        let fits = position == self.received()
            && !bytes.is_empty()
            && bytes.len() as u64 <= self.length - self.received();
        if fits {
            self.body.extend_from_slice(bytes);
        }
        fits
    }

    /// Once; nothing when it is not what was sent.
    pub fn finish(&mut self) -> Option<(Zxid, Voters, Bytes)> {
        let body = std::mem::take(&mut self.body).freeze();
        let voters = std::mem::take(&mut self.voters);
        let is_whole = body.len() as u64 == self.length && crc32c::crc32c(&body) == self.checksum;
        is_whole.then_some((self.zxid, voters, body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receiver(checksum: u32) -> Receiver {
        Receiver::new(Zxid(7), Voters::default(), 6, checksum)
    }

    #[test]
    fn pieces_in_order_make_a_whole() {
        let mut receiver = receiver(crc32c::crc32c(b"abcdef"));
        assert!(!receiver.on_chunk(1, b"bc"), "not at its place");
        assert!(receiver.on_chunk(0, b"abc"));
        assert!(!receiver.on_chunk(0, b"abc"), "twice");
        assert!(!receiver.on_chunk(3, b""), "nothing");
        assert!(!receiver.on_chunk(3, b"defg"), "too much");
        assert!(!receiver.is_complete());
        assert!(receiver.on_chunk(3, b"def"));
        assert!(receiver.is_complete());
        let (zxid, _, body) = receiver.finish().unwrap();
        assert_eq!((zxid, &body[..]), (Zxid(7), &b"abcdef"[..]));
    }

    #[test]
    fn what_was_damaged_on_the_way_is_refused() {
        let mut receiver = receiver(1);
        assert!(receiver.on_chunk(0, b"abcdef"));
        assert_eq!(receiver.finish(), None);
    }
}
