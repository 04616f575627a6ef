//! What Apache Kafka 4.4.0's own classes write, kept as bytes, and what a broker of it answers, kept as transcripts
//! (`script`); dohle held to both, and `MATRIX.md` made of them (`matrix`).
//!
//! `golden/kafka-4.4.0.tsv.gz` is written by `recorder` (Java, on `kafka-clients` 4.4.0), from the project's root:
//!
//! ```text
//! mvn -q -f conformance/recorder/pom.xml package dependency:copy-dependencies
//! java -cp 'conformance/recorder/target/*:conformance/recorder/target/dependency/*' \
//!     dohle.conformance.Recorder conformance/golden/kafka-4.4.0.tsv.gz
//! ```
//!
//! `golden/configs-4.4.0.tsv.gz`, what Kafka says to a value of an option, by `dohle.conformance.ConfigRecorder` in the
//! same way (`tests/configs.rs` reads it).
//!
//! Each request and response of each API a broker serves, in each version: every field set, null wherever null may be,
//! all defaults, and with tagged fields nobody knows; and record batches in each compression.

pub mod broker;
pub mod cleaner;
pub mod codec;
pub mod hand_written;
pub mod matrix;
pub mod produce;
pub mod script;

use std::io::Read;

use bytes::Bytes;

static GOLDEN: &[u8] = include_bytes!("../golden/kafka-4.4.0.tsv.gz");

/// The correlation id of every recorded frame.
pub const CORRELATION_ID: i32 = 77;

/// A message as Kafka writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub key: i16,
    pub version: i16,
    pub is_request: bool,
    /// `full`, `nulls`, `defaults` or `unknown_tags`.
    pub variant: String,
    /// Header and body.
    pub frame: Bytes,
}

/// A record batch as Kafka writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    pub compression: String,
    /// `plain`, `transactional`, `stamped`, `control` or `large`.
    pub variant: String,
    pub bytes: Bytes,
}

#[derive(Debug, Default)]
pub struct Golden {
    pub messages: Vec<Message>,
    pub batches: Vec<Batch>,
}

/// Reads the recorded bytes.
pub fn golden() -> Result<Golden, String> {
    let mut text = String::new();
    let read = flate2::read::GzDecoder::new(GOLDEN).read_to_string(&mut text);
    read.map_err(|error| error.to_string())?;
    let mut golden = Golden::default();
    for line in text.lines() {
        let columns: Vec<&str> = line.split('\t').collect();
        match columns[..] {
            ["batch", compression, variant, bytes] => golden.batches.push(Batch {
                compression: compression.to_owned(),
                variant: variant.to_owned(),
                bytes: hex(bytes)?,
            }),
            [key, version, kind, variant, frame] => golden.messages.push(Message {
                key: key.parse().map_err(|_| line)?,
                version: version.parse().map_err(|_| line)?,
                is_request: kind == "request",
                variant: variant.to_owned(),
                frame: hex(frame)?,
            }),
            _ => return Err(format!("not a golden line: {line}")),
        }
    }
    Ok(golden)
}

fn hex(text: &str) -> Result<Bytes, String> {
    let digit = |letter: u8| char::from(letter).to_digit(16).map(|digit| digit as u8);
    let (pairs, odd) = text.as_bytes().as_chunks::<2>();
    let bytes: Option<Vec<u8>> = pairs
        .iter()
        .map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?))
        .collect();
    match bytes {
        Some(bytes) if odd.is_empty() => Ok(bytes.into()),
        _ => Err(format!("not hex: {text}")),
    }
}
