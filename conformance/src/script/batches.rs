//! Record batches as JSON: `{"records": ["value", …], …}`, one object for each batch.

use dohle::protocol::compression::Compression;
use dohle::protocol::record_batch::{BatchBuilder, BatchHeader, Batches, Header, Record, Records};
use dohle::types::{Offset, ProducerEpoch, ProducerId, TimestampMs};
use serde_json::{Map, Value, json};

use super::ScriptError;
use super::decode::bytes_word;
use super::encode::bytes_of;
use super::names::Names;

/// Records that a script writes are small.
const MAX_BYTES: usize = 16 << 20;

fn text<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    object.get(name).and_then(Value::as_str)
}

fn number(
    object: &Map<String, Value>,
    name: &str,
    names: &Names,
) -> Result<Option<i64>, ScriptError> {
    let Some(value) = object.get(name) else {
        return Ok(None);
    };
    let number = match value {
        Value::String(word) => names.number_sent(word),
        plain => plain.as_i64(),
    };
    let wrong = || ScriptError::syntax(format!("{name} cannot be {value}"));
    number.map(Some).ok_or_else(wrong)
}

/// A word that nothing reads is a mistake.
fn check_names(object: &Map<String, Value>, known: &[&str]) -> Result<(), ScriptError> {
    match object.keys().find(|name| !known.contains(&name.as_str())) {
        None => Ok(()),
        Some(name) => Err(ScriptError::syntax(format!("no {name} here"))),
    }
}

const OF_A_BATCH: [&str; 8] = [
    "base_offset",
    "compression",
    "producer_id",
    "producer_epoch",
    "base_sequence",
    "transactional",
    "control",
    "records",
];
const OF_A_RECORD: [&str; 4] = ["key", "value", "timestamp", "headers"];

/// The bytes of a batch, or of several in a row.
pub fn encode(value: &Value, names: &mut Names) -> Result<Vec<u8>, ScriptError> {
    match value {
        Value::String(hex) => bytes_of(hex),
        Value::Array(batches) => {
            let batches: Result<Vec<_>, _> =
                batches.iter().map(|batch| encode(batch, names)).collect();
            Ok(batches?.concat())
        }
        Value::Object(batch) => encode_batch(batch, names),
        _ => Err(ScriptError::syntax(format!("not a batch: {value}"))),
    }
}

fn encode_batch(batch: &Map<String, Value>, names: &mut Names) -> Result<Vec<u8>, ScriptError> {
    check_names(batch, &OF_A_BATCH)?;
    let codec = text(batch, "compression").unwrap_or("none");
    let codec = Compression::ALL
        .into_iter()
        .find(|known| known.name() == codec);
    let codec = codec.ok_or_else(|| ScriptError::syntax("no such compression"))?;
    let first = number(batch, "base_offset", names)?.unwrap_or(0);
    let flag = |name: &str| batch.get(name).and_then(Value::as_bool).unwrap_or(false);
    let mut builder = BatchBuilder::new(Offset(first), codec)
        .transactional(flag("transactional"))
        .control(flag("control"));
    if let Some(id) = number(batch, "producer_id", names)? {
        let epoch = number(batch, "producer_epoch", names)?.unwrap_or(0);
        let sequence = number(batch, "base_sequence", names)?.unwrap_or(0);
        builder = builder.producer(ProducerId(id), ProducerEpoch(epoch as i16), sequence as i32);
    }
    let records = batch.get("records").and_then(Value::as_array);
    for record in records.ok_or_else(|| ScriptError::syntax("a batch has records"))? {
        let plain = Map::from_iter([("value".to_owned(), record.clone())]);
        let record = record.as_object().unwrap_or(&plain);
        check_names(record, &OF_A_RECORD)?;
        let bytes = |name: &str| match record.get(name) {
            Some(Value::String(word)) => bytes_of(word).map(Some),
            _ => Ok(None),
        };
        let (key, value) = (bytes("key")?, bytes("value")?);
        let timestamp = TimestampMs(number(record, "timestamp", names)?.unwrap_or(1));
        let headers = record.get("headers").and_then(Value::as_object);
        let mut owned = Vec::new();
        for (name, value) in headers.into_iter().flatten() {
            owned.push((name.as_bytes(), value.as_str().map(bytes_of).transpose()?));
        }
        let headers: Vec<Header<'_>> = owned
            .iter()
            .map(|(key, value)| Header {
                key,
                value: value.as_deref(),
            })
            .collect();
        builder.append(timestamp, key.as_deref(), value.as_deref(), &headers);
    }
    Ok(builder.build())
}

/// What is stored, in words; what is no whole batch by its length.
pub fn decode(bytes: &[u8], names: &mut Names) -> Value {
    let mut batches = Vec::new();
    let mut reader = Batches::new(bytes);
    while let Some(Ok((header, batch))) = reader.next() {
        batches
            .push(decode_batch(&header, batch, names).unwrap_or_else(|| bytes_word(batch).into()));
    }
    match (batches.is_empty(), reader.remaining().len()) {
        (true, _) => bytes_word(bytes).into(),
        (false, 0) => batches.into(),
        (false, rest) => {
            batches.push(format!("{rest} bytes of a batch").into());
            batches.into()
        }
    }
}

fn decode_batch(header: &BatchHeader, batch: &[u8], names: &mut Names) -> Option<Value> {
    let records = Records::new(batch, MAX_BYTES).ok()?;
    let mut out = Map::new();
    out.insert("base_offset".to_owned(), header.base_offset.0.into());
    let codec = header.compression().ok()?;
    if codec != Compression::None {
        out.insert("compression".to_owned(), codec.name().into());
    }
    if header.has_producer_id() {
        out.insert(
            "producer_id".to_owned(),
            names.producer(header.producer_id.0).into(),
        );
        out.insert("producer_epoch".to_owned(), header.producer_epoch.0.into());
        out.insert("base_sequence".to_owned(), header.base_sequence.into());
    }
    for (name, set) in [
        ("transactional", header.is_transactional()),
        ("control", header.is_control()),
    ] {
        if set {
            out.insert(name.to_owned(), true.into());
        }
    }
    let records: Result<Vec<Value>, _> = records
        .iter()
        .map(|record| record.map(|record| decode_record(&record)))
        .collect();
    out.insert("records".to_owned(), records.ok()?.into());
    Some(out.into())
}

fn decode_record(record: &Record<'_>) -> Value {
    let word = |bytes: Option<&[u8]>| bytes.map_or(Value::Null, |bytes| bytes_word(bytes).into());
    let value = word(record.value);
    let timestamp = match record.timestamp.0 {
        time if Names::is_now(time) => json!("now"),
        time => json!(time),
    };
    let headers: Map<String, Value> = record
        .headers
        .map(|header| {
            (
                String::from_utf8_lossy(header.key).into_owned(),
                word(header.value),
            )
        })
        .collect();
    if record.key.is_none() && headers.is_empty() && timestamp == json!(1) && !value.is_null() {
        return value;
    }
    let mut out = Map::new();
    out.insert("key".to_owned(), word(record.key));
    out.insert("value".to_owned(), value);
    out.insert("timestamp".to_owned(), timestamp);
    if !headers.is_empty() {
        out.insert("headers".to_owned(), headers.into());
    }
    out.into()
}
