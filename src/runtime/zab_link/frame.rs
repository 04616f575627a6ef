//! Frames between two servers: a length and that many bytes. Pure.
//!
//! Nothing is reserved because a length says so: a reader asks here first whether it may be that long, and then lets
//! its buffer grow with what really comes.

use bytes::{BufMut, BytesMut};

use crate::zab::{Message, codec};

/// The length itself.
pub const LENGTH_LEN: usize = 4;
/// A frame of the handshake is not longer. Who sends it is not known yet.
pub const HANDSHAKE_LIMIT: usize = 4 << 10;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("a frame of {len} bytes, and {limit} are allowed")]
    TooLong { len: usize, limit: usize },
    #[error("an empty frame")]
    Empty,
    #[error("what came is TLS, and ensemble.tls.* is not set here")]
    Tls,
}

/// How many bytes the frame has that this length is the beginning of.
pub fn check_len(length: [u8; LENGTH_LEN], limit: usize) -> Result<usize, FrameError> {
    let len = u32::from_be_bytes(length) as usize;
    match len {
        0 => Err(FrameError::Empty),
        _ if len <= limit => Ok(len),
        // A handshake record, of any version.
        _ if length.starts_with(&[0x16, 0x03]) => Err(FrameError::Tls),
        _ => Err(FrameError::TooLong { len, limit }),
    }
}

/// Puts a message behind what is in `into`; on an error that stays as it was.
pub fn put_message(message: &Message, into: &mut BytesMut, limit: usize) -> Result<(), FrameError> {
    let start = into.len();
    into.put_u32(0);
    codec::encode(message, into);
    let len = into.len() - start - LENGTH_LEN;
    if len > limit {
        into.truncate(start);
        return Err(FrameError::TooLong { len, limit });
    }
    if let Some(length) = into.get_mut(start..start + LENGTH_LEN) {
        length.copy_from_slice(&(len as u32).to_be_bytes());
    }
    Ok(())
}

/// The same of bytes that are short.
pub fn put_bytes(bytes: &[u8], into: &mut BytesMut) {
    into.put_u32(bytes.len() as u32);
    into.put_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Zxid;

    #[test]
    fn a_length_is_believed_up_to_the_limit() {
        let check = |len: u32, limit| check_len(len.to_be_bytes(), limit);
        assert_eq!(check(0, 10), Err(FrameError::Empty));
        assert_eq!(check(1, 10), Ok(1));
        assert_eq!(check(10, 10), Ok(10));
        let too_long = |len| Err(FrameError::TooLong { len, limit: 10 });
        assert_eq!(check(11, 10), too_long(11));
        assert_eq!(check(u32::MAX, 10), too_long(u32::MAX as usize));
        assert_eq!(check(0x1603_0102, 10), Err(FrameError::Tls));
    }

    #[test]
    fn a_message_that_is_too_long_leaves_nothing_behind() {
        let mut frames = BytesMut::new();
        let message = Message::Commit(Zxid::new(1, 2));
        put_message(&message, &mut frames, 1000).unwrap();
        let one = frames.len();
        let len = check_len(frames[..LENGTH_LEN].try_into().unwrap(), 1000).unwrap();
        assert_eq!(len + LENGTH_LEN, one);
        let refused = put_message(&message, &mut frames, len - 1);
        let limit = len - 1;
        assert_eq!(refused, Err(FrameError::TooLong { len, limit }));
        assert_eq!(frames.len(), one);
        let mut body = frames.split_off(LENGTH_LEN).freeze();
        assert_eq!(codec::decode(&mut body).unwrap(), message);
    }
}
