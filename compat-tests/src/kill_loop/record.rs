//! What a record of the load says of itself, so that whoever finds it knows whether it belongs there.

use anyhow::{Context as _, Result, ensure};
use rdkafka::Message;

/// A topic of the load (by its place in the table) and a partition of it.
pub type Place = (usize, i32);

/// Who sent a record, and its running number among what that producer sent to the partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp {
    pub producer: u32,
    pub number: u64,
}

/// A record, as far as it is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    pub stamp: Stamp,
    /// Of compacted topics only.
    pub key: Option<u32>,
}

/// The bytes behind the head of a value: known to whoever knows the stamp.
fn filler(stamp: Stamp, len: usize) -> impl Iterator<Item = u8> {
    let mut state = (u64::from(stamp.producer) << 48 | stamp.number).wrapping_add(1);
    std::iter::repeat_with(move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        // Few values: compressible, but not to nothing.
        b'a' + (state >> 60) as u8
    })
    .take(len)
}

/// `len` bytes of filler behind the head.
pub fn value(place: Place, record: Record, len: usize) -> Vec<u8> {
    let Stamp { producer, number } = record.stamp;
    let mut value = format!("{producer} {} {} {number} {len}\n", place.0, place.1).into_bytes();
    value.extend(filler(record.stamp, len));
    value
}

pub fn key_text(key: u32) -> String {
    format!("key-{key}")
}

/// Reads a record back; an error is a record that nobody has sent in this form to this place.
pub fn parse(place: Place, message: &impl Message) -> Result<Record> {
    let value = message.payload().context("without a value")?;
    let head = value.split(|byte| *byte == b'\n').next().unwrap_or(value);
    let numbers = std::str::from_utf8(head)?
        .split(' ')
        .map(str::parse::<u64>)
        .collect::<Result<Vec<_>, _>>()?;
    let [producer, topic, partition, number, len] = numbers[..] else {
        anyhow::bail!("the head is {}", String::from_utf8_lossy(head));
    };
    ensure!(
        (topic, partition) == (place.0 as u64, place.1 as u64),
        "sent to partition {partition} of topic {topic}"
    );
    let stamp = Stamp {
        producer: u32::try_from(producer)?,
        number,
    };
    ensure!(
        filler(stamp, len as usize).eq(value[head.len() + 1..].iter().copied()),
        "the bytes behind the head are others"
    );
    let key = message.key().and_then(|key| {
        std::str::from_utf8(key)
            .ok()?
            .strip_prefix("key-")?
            .parse()
            .ok()
    });
    Ok(Record { stamp, key })
}
