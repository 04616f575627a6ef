//! The words the whole broker is written in: newtypes for offsets, epochs, ids and zxids.
//!
//! A newtype is a plain number in a coat: its field is public, arithmetic is written out where it
//! means something, and nothing here knows about bytes, files or clocks.

use std::fmt;
use std::sync::Arc;

use uuid::Uuid;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl From<$inner> for $name {
            fn from(value: $inner) -> Self {
                Self(value)
            }
        }

        impl<C> minicbor::Encode<C> for $name {
            fn encode<W: minicbor::encode::Write>(
                &self,
                e: &mut minicbor::Encoder<W>,
                ctx: &mut C,
            ) -> Result<(), minicbor::encode::Error<W::Error>> {
                self.0.encode(e, ctx)
            }
        }

        impl<'b, C> minicbor::Decode<'b, C> for $name {
            fn decode(
                d: &mut minicbor::Decoder<'b>,
                ctx: &mut C,
            ) -> Result<Self, minicbor::decode::Error> {
                <$inner>::decode(d, ctx).map(Self)
            }
        }
    };
}

number! {
    /// The position of a record in a partition.
    Offset(i64)
}
number! {
    /// The number of one leader's reign over a partition (KIP-101); -1 is unknown.
    LeaderEpoch(i32)
}
number! {
    /// `node.id`: a server of the ensemble, and the broker on it.
    NodeId(i32)
}
number! {
    /// A partition's index in its topic.
    PartitionId(i32)
}
number! {
    /// An idempotent producer (KIP-98); -1 is none.
    ProducerId(i64)
}
number! {
    /// The incarnation of a producer id; -1 is none.
    ProducerEpoch(i16)
}
number! {
    /// Milliseconds since 1970, as records and requests carry them; -1 is none.
    TimestampMs(i64)
}
number! {
    /// A ZAB transaction id: the epoch in the high 32 bits, the counter in the low 32.
    Zxid(u64)
}

impl Offset {
    pub const ZERO: Offset = Offset(0);

    pub fn plus(self, count: i64) -> Offset {
        Offset(self.0 + count)
    }
}

impl LeaderEpoch {
    pub const UNKNOWN: LeaderEpoch = LeaderEpoch(-1);
}

impl NodeId {
    /// On the wire: nobody.
    pub const NONE: NodeId = NodeId(-1);
}

impl ProducerId {
    pub const NONE: ProducerId = ProducerId(-1);
}

impl ProducerEpoch {
    pub const NONE: ProducerEpoch = ProducerEpoch(-1);
}

impl TimestampMs {
    pub const NONE: TimestampMs = TimestampMs(-1);
}

impl Zxid {
    pub const ZERO: Zxid = Zxid(0);

    pub fn new(epoch: u32, counter: u32) -> Zxid {
        Zxid(u64::from(epoch) << 32 | u64::from(counter))
    }

    pub fn epoch(self) -> u32 {
        (self.0 >> 32) as u32
    }

    pub fn counter(self) -> u32 {
        self.0 as u32
    }
}

/// As ZAB's logs and tools write it.
impl fmt::LowerHex for Zxid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::LowerHex::fmt(&self.0, f)
    }
}

/// A topic's unique id (KIP-516). The zero id means «none» on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TopicId(pub Uuid);

impl TopicId {
    pub const ZERO: TopicId = TopicId(Uuid::nil());

    pub fn is_zero(self) -> bool {
        self.0.is_nil()
    }
}

/// As Kafka prints its ids: URL-safe base64 without padding.
impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let bits = self.0.as_u128();
        // 22 digits of 6 bits carry 132: the last digit holds two bits and four zeroes.
        for digit in 0..22u32 {
            let sextet = if digit < 21 {
                (bits >> (122 - 6 * digit)) as usize & 63
            } else {
                (bits << 4) as usize & 63
            };
            let letter = DIGITS.get(sextet).copied().unwrap_or(b'A');
            write!(f, "{}", char::from(letter))?;
        }
        Ok(())
    }
}

impl std::str::FromStr for TopicId {
    type Err = InvalidTopicId;

    fn from_str(text: &str) -> Result<Self, InvalidTopicId> {
        if text.len() != 22 {
            return Err(InvalidTopicId);
        }
        let mut bits: u128 = 0;
        for (digit, letter) in text.bytes().enumerate() {
            let sextet = match letter {
                b'A'..=b'Z' => letter - b'A',
                b'a'..=b'z' => letter - b'a' + 26,
                b'0'..=b'9' => letter - b'0' + 52,
                b'-' => 62,
                b'_' => 63,
                _ => return Err(InvalidTopicId),
            };
            bits = if digit < 21 {
                bits << 6 | u128::from(sextet)
            } else {
                bits << 2 | u128::from(sextet >> 4)
            };
        }
        Ok(TopicId(Uuid::from_u128(bits)))
    }
}

/// The text was not 22 digits of URL-safe base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a topic id: expected 22 characters of URL-safe base64")]
pub struct InvalidTopicId;

impl<C> minicbor::Encode<C> for TopicId {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.bytes(self.0.as_bytes())?.ok()
    }
}

impl<'b, C> minicbor::Decode<'b, C> for TopicId {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let bytes = d.bytes()?;
        Uuid::from_slice(bytes)
            .map(TopicId)
            .map_err(|_| minicbor::decode::Error::message("a topic id has 16 bytes"))
    }
}

/// A partition by the name of its topic: also the name of its directory, `topic-partition`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    pub topic: Arc<str>,
    pub partition: PartitionId,
}

impl TopicPartition {
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> Self {
        Self {
            topic: topic.into(),
            partition: PartitionId(partition),
        }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zxid_is_an_epoch_and_a_counter() {
        let zxid = Zxid::new(7, 42);
        assert_eq!((zxid.epoch(), zxid.counter()), (7, 42));
        assert!(Zxid::new(8, 0) > Zxid::new(7, u32::MAX));
    }

    #[test]
    fn topic_ids_are_written_as_kafka_writes_them() {
        // Kafka's own `Uuid.METADATA_TOPIC_ID` prints so.
        let metadata = TopicId(Uuid::from_u128(1));
        assert_eq!(metadata.to_string(), "AAAAAAAAAAAAAAAAAAAAAQ");
        for bits in [
            0u128,
            1,
            u128::MAX,
            0x0123_4567_89ab_cdef_fedc_ba98_7654_3210,
        ] {
            let id = TopicId(Uuid::from_u128(bits));
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        assert_eq!("short".parse::<TopicId>(), Err(InvalidTopicId));
    }
}
