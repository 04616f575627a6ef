//! What a broker says to one Produce request, and what it then stores: asked of Apache Kafka once, of dohle in every test.
//!
//! `golden/produce-4.4.0.tsv.gz` holds each case with Kafka's answer. With a broker of 4.4.0 on an address, it is written by
//!
//! ```text
//! cargo run -p conformance --example record_produce 127.0.0.1:9092 conformance/golden/produce-4.4.0.tsv.gz
//! ```
//!
//! Every case has a topic of its own, which holds one good record before. Times of the broker's clock are replaced
//! by words, so that answers of different days compare.

pub mod cases;
pub mod client;

use std::io::Read;

use bytes::Bytes;

static GOLDEN: &[u8] = include_bytes!("../../golden/produce-4.4.0.tsv.gz");

/// One request: one partition's records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    pub name: String,
    /// Of the topic.
    pub options: Vec<(String, String)>,
    pub version: i16,
    pub records: Option<Bytes>,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub code: i16,
    pub base_offset: i64,
    /// `-1` or `now`.
    pub log_append_time: String,
    pub log_start_offset: i64,
    pub message: Option<String>,
    pub record_errors: Vec<(i32, Option<String>)>,
    /// What a fetch then finds behind the first record.
    pub stored: Bytes,
}

/// What dohle refuses as an invalid record and Kafka does not: by the beginning of the name, and why.
pub const STRICTER: &[(&str, &str)] = &[
    ("null-records", "Kafka fails and never answers"),
    ("deltas-", "records that are not numbered one after another"),
    (
        "payload-flipped-at-47-snappy",
        "records that are not numbered one after another",
    ),
    (
        "payload-flipped-at-35-zstd",
        "records that are not numbered one after another",
    ),
    ("size-0-", "a record that does not fill its size"),
    ("size-1-", "a record that does not fill its size"),
    ("size-one-", "a record that does not fill its size"),
    ("size-beyond-", "a record that does not fill its size"),
];

const NULL: &str = "null";
const BETWEEN_ERRORS: &str = " ;; ";

fn nullable(text: &Option<String>) -> &str {
    text.as_deref().unwrap_or(NULL)
}

fn from_nullable(text: &str) -> Option<String> {
    (text != NULL).then(|| text.to_owned())
}

/// A line of the golden file.
pub fn to_line(case: &Case, answer: &Answer) -> String {
    let options: Vec<String> = case
        .options
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let errors: Vec<String> = answer
        .record_errors
        .iter()
        .map(|(index, message)| format!("{index}={}", nullable(message)))
        .collect();
    [
        case.name.clone(),
        options.join(";"),
        case.version.to_string(),
        case.records.as_ref().map_or(NULL.to_owned(), to_hex),
        answer.code.to_string(),
        answer.base_offset.to_string(),
        answer.log_append_time.clone(),
        answer.log_start_offset.to_string(),
        nullable(&answer.message).to_owned(),
        errors.join(BETWEEN_ERRORS),
        to_hex(&answer.stored),
    ]
    .join("\t")
}

fn from_line(line: &str) -> Option<(Case, Answer)> {
    let columns: Vec<&str> = line.split('\t').collect();
    let &[
        name,
        options,
        version,
        records,
        code,
        base_offset,
        append_time,
        log_start,
        message,
        errors,
        stored,
    ] = columns.as_slice()
    else {
        return None;
    };
    let pair = |text: &str| {
        let (name, value) = text.split_once('=')?;
        Some((name.to_owned(), value.to_owned()))
    };
    let case = Case {
        name: name.to_owned(),
        options: options.split(';').filter_map(pair).collect(),
        version: version.parse().ok()?,
        records: match records {
            NULL => None,
            hex => Some(crate::hex(hex).ok()?),
        },
    };
    let error = |text: &str| {
        let (index, message) = text.split_once('=')?;
        Some((index.parse().ok()?, from_nullable(message)))
    };
    let answer = Answer {
        code: code.parse().ok()?,
        base_offset: base_offset.parse().ok()?,
        log_append_time: append_time.to_owned(),
        log_start_offset: log_start.parse().ok()?,
        message: from_nullable(message),
        record_errors: errors.split(BETWEEN_ERRORS).filter_map(error).collect(),
        stored: crate::hex(stored).ok()?,
    };
    Some((case, answer))
}

/// The cases and Kafka's answers.
pub fn golden() -> Result<Vec<(Case, Answer)>, String> {
    let mut text = String::new();
    let read = flate2::read::GzDecoder::new(GOLDEN).read_to_string(&mut text);
    read.map_err(|error| error.to_string())?;
    text.lines()
        .map(|line| from_line(line).ok_or_else(|| format!("not a golden line: {line}")))
        .collect()
}

fn to_hex(bytes: &Bytes) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
