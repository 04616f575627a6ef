//! What must hold of any bytes that a peer sends: the body of a fuzz target, which fails by panicking.

use bytes::{Bytes, BytesMut};

use crate::zab::codec::{decode, encode};

/// A message has one form, and anything else is an error.
pub fn messages(data: &[u8]) {
    if let Ok(message) = decode(&mut Bytes::copy_from_slice(data)) {
        let mut again = BytesMut::new();
        encode(&message, &mut again);
        assert_eq!(again, data);
    }
}
