//! What the coordinator may know of a consumer's subscription: the names of its topics.
//!
//! The metadata of protocol type `consumer` is a ConsumerProtocolSubscription (its fields only ever grow
//! at the end, so version 0's prefix is in all of them). Everything else stays opaque.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::record_bytes::{Malformed, Reader};

pub const PROTOCOL_TYPE: &str = "consumer";

/// Adds the topics subscribed to by `metadata`.
pub fn add_topics(metadata: &[u8], topics: &mut BTreeSet<Arc<str>>) -> Result<(), Malformed> {
    let mut reader = Reader::new(metadata);
    if reader.int16()? < 0 {
        return Err(Malformed { at: 0 });
    }
    for _ in 0..reader.array_length()? {
        topics.insert(reader.string()?);
    }
    Ok(())
}

/// The bytes of a subscription of version 0, for tests.
#[cfg(test)]
pub fn subscription(topics: &[&str]) -> bytes::Bytes {
    let mut out = super::record_bytes::Writer::new(0, false);
    out.array_length(topics.len());
    for topic in topics {
        out.string(topic);
    }
    out.int32(-1);
    out.bytes.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_topics_and_refuses_what_is_no_subscription() {
        let mut topics = BTreeSet::new();
        add_topics(&subscription(&["b", "a"]), &mut topics).unwrap();
        add_topics(&subscription(&["a", "c"]), &mut topics).unwrap();
        assert_eq!(topics, BTreeSet::from(["a".into(), "b".into(), "c".into()]));
        for broken in [
            &b""[..],
            b"\0",
            b"\xff\xff\0\0\0\0",
            b"\0\0\0\0\0\x09\0\x01a",
        ] {
            assert!(add_topics(broken, &mut topics).is_err(), "{broken:?}");
        }
    }
}
