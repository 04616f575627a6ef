//! Frames: a length of four bytes and so many bytes after it.

use anyhow::ensure;
use bytes::{BufMut, BytesMut};
use kafka_protocol::protocol::Encodable;

/// The length field itself.
pub const LENGTH_BYTES: usize = 4;

/// Why a frame's length is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("a frame of negative length {0}")]
    Negative(i32),
    #[error("a frame of {size} bytes is larger than {limit} (socket.request.max.bytes)")]
    TooLarge { size: usize, limit: usize },
}

/// The length of a frame from its first four bytes, within `limit`.
pub fn frame_length(prefix: [u8; LENGTH_BYTES], limit: usize) -> Result<usize, FrameError> {
    let length = i32::from_be_bytes(prefix);
    let size = usize::try_from(length).map_err(|_| FrameError::Negative(length))?;
    if size > limit {
        return Err(FrameError::TooLarge { size, limit });
    }
    Ok(size)
}

/// Names what is no Kafka client at all, from the first bytes of a connection.
///
/// A Kafka frame of these first bytes would claim to be far larger than any that is allowed, so nothing is
/// mistaken: call it when the length is refused.
pub fn sniff(first_bytes: &[u8]) -> Option<&'static str> {
    const HTTP: [&[u8]; 9] = [
        b"GET ", b"HEAD", b"POST", b"PUT ", b"DELE", b"OPTI", b"CONN", b"PATC", b"PRI ",
    ];
    // A TLS record: handshake, then the major version 3.
    if first_bytes.starts_with(&[0x16, 0x03]) {
        return Some("TLS");
    }
    let word = first_bytes.get(..4)?;
    HTTP.contains(&word).then_some("HTTP")
}

/// A whole response frame: length, header and body, in one buffer of the right size.
///
/// Header version 1 carries an empty list of tagged fields; 0 the correlation id alone.
pub fn encode_response<T: Encodable>(
    correlation_id: i32,
    response_header_version: i16,
    body: &T,
    version: i16,
) -> anyhow::Result<BytesMut> {
    let header = 4 + usize::from(response_header_version >= 1);
    let size = header + body.compute_size(version)?;
    let length = i32::try_from(size)?;
    let mut out = BytesMut::with_capacity(LENGTH_BYTES + size);
    out.put_i32(length);
    put_response_header(&mut out, correlation_id, response_header_version);
    body.encode(&mut out, version)?;
    ensure!(
        out.len() == LENGTH_BYTES + size,
        "a response of {} bytes was announced as {size}",
        out.len() - LENGTH_BYTES
    );
    Ok(out)
}

pub(crate) fn put_response_header(
    out: &mut BytesMut,
    correlation_id: i32,
    response_header_version: i16,
) {
    out.put_i32(correlation_id);
    if response_header_version >= 1 {
        out.put_u8(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_protocol::messages::HeartbeatResponse;

    #[test]
    fn lengths_within_the_limit_only() {
        assert_eq!(frame_length([0, 0, 1, 0], 256), Ok(256));
        assert_eq!(
            frame_length([0, 0, 1, 1], 256),
            Err(FrameError::TooLarge {
                size: 257,
                limit: 256
            })
        );
        assert_eq!(frame_length([0xff; 4], 256), Err(FrameError::Negative(-1)));
    }

    #[test]
    fn strangers_are_named() {
        assert_eq!(sniff(&[0x16, 0x03, 0x01, 0x02, 0x00]), Some("TLS"));
        assert_eq!(sniff(b"GET /metrics HTTP/1.1"), Some("HTTP"));
        assert_eq!(sniff(b"PRI * HTTP/2.0"), Some("HTTP"));
        assert_eq!(sniff(&[0, 0, 0, 20, 0, 18]), None);
        assert_eq!(sniff(b"GE"), None);
    }

    #[test]
    fn a_response_is_framed_in_both_header_forms() {
        let body = HeartbeatResponse::default().with_error_code(27);
        let old = encode_response(7, 0, &body, 3).unwrap();
        assert_eq!(old[..], [0, 0, 0, 10, 0, 0, 0, 7, 0, 0, 0, 0, 0, 27]);
        let new = encode_response(7, 1, &body, 4).unwrap();
        assert_eq!(new[..], [0, 0, 0, 12, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 27, 0]);
    }
}
