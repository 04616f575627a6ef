//! An answer as JSON, by the schema table: without what is as by default, and with words for what differs from run to run.

use std::collections::BTreeSet;

use dohle::error::ErrorCode;
use dohle::protocol::schema::{Field, Kind, Message, Struct};
use dohle::protocol::varint;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::batches;
use super::names::Names;

/// Before the number of a tagged field that the schema does not know.
pub const UNKNOWN_TAG: &str = "tag ";

type Outcome<T> = Result<T, String>;

/// The body of an answer; an error says where it is not one.
pub fn body(message: &Message, version: i16, bytes: &[u8], names: &mut Names) -> Outcome<Value> {
    let mut reader = Reader {
        bytes,
        version,
        flexible: message.is_flexible(version),
        names,
    };
    let value = reader.structure(&message.body)?;
    match reader.bytes.len() {
        0 => Ok(value),
        more => Err(format!("{more} bytes too many")),
    }
}

/// A field's value where nothing is said.
pub fn default_of(field: &Field) -> Value {
    if field.default == Some("null") {
        return Value::Null;
    }
    let said = field.default.unwrap_or_default();
    match &field.kind {
        Kind::Bool => json!(said == "true"),
        Kind::Float64 => json!(said.parse().unwrap_or(0.0)),
        Kind::Uuid => json!(Uuid::nil().to_string()),
        Kind::Bytes | Kind::Records | Kind::String => json!(said),
        Kind::GroupId | Kind::TopicName | Kind::TransactionalId => json!(said),
        Kind::Array(_) => json!([]),
        Kind::Struct(_) => json!({}),
        _ => json!(said.parse().unwrap_or(0i64)),
    }
}

/// Printable text as it is, else `0x…`.
pub fn bytes_word(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.starts_with("0x") && !text.contains(char::is_control) => text.to_owned(),
        _ => bytes
            .iter()
            .fold("0x".to_owned(), |word, byte| format!("{word}{byte:02x}")),
    }
}

/// Options that only dohle has.
const OWN_OPTIONS: [&str; 2] = ["durable.acks", "log.durable.acks"];

fn is_own_option(element: &Value) -> bool {
    let name = element.get("name").and_then(Value::as_str);
    name.is_some_and(|name| OWN_OPTIONS.contains(&name))
}

/// Leaves out the fields of these names and dohle's own options, and sorts arrays of structs unless they are to stay in their order.
pub fn tidied(value: Value, hidden: &BTreeSet<String>, ordered: bool) -> Value {
    match value {
        Value::Object(fields) => fields
            .into_iter()
            .filter(|(name, _)| !hidden.contains(name))
            .map(|(name, value)| (name, tidied(value, hidden, ordered)))
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(elements) => {
            let mut elements: Vec<Value> = elements
                .into_iter()
                .filter(|element| !is_own_option(element))
                .map(|element| tidied(element, hidden, ordered))
                .collect();
            if !ordered && elements.iter().all(Value::is_object) {
                elements.sort_by_cached_key(Value::to_string);
            }
            elements.into()
        }
        plain => plain,
    }
}

struct Reader<'a, 'n> {
    bytes: &'a [u8],
    version: i16,
    flexible: bool,
    names: &'n mut Names,
}

impl<'a> Reader<'a, '_> {
    fn take(&mut self, count: usize) -> Outcome<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(count).ok_or("it ends early")?;
        self.bytes = rest;
        Ok(taken)
    }

    fn number(&mut self, size: usize, signed: bool) -> Outcome<i64> {
        let bytes = self.take(size)?;
        let negative = signed && bytes.first().is_some_and(|byte| *byte >= 0x80);
        let start = if negative { -1 } else { 0 };
        Ok(bytes
            .iter()
            .fold(start, |value: i64, byte| value << 8 | i64::from(*byte)))
    }

    fn unsigned(&mut self) -> Outcome<u32> {
        let (value, size) = varint::read_u32(self.bytes).ok_or("a varint ends early")?;
        self.take(size)?;
        Ok(value)
    }

    fn length(&mut self, wide: bool) -> Outcome<Option<usize>> {
        let length = match (self.flexible, wide) {
            (true, _) => i64::from(self.unsigned()?) - 1,
            (false, true) => self.number(4, true)?,
            (false, false) => self.number(2, true)?,
        };
        Ok(usize::try_from(length).ok())
    }

    fn structure(&mut self, found: &Struct) -> Outcome<Value> {
        let version = self.version;
        let mut out = Map::new();
        let of_version = || {
            found
                .fields
                .iter()
                .filter(|field| field.versions.contains(version))
        };
        for field in of_version().filter(|field| field.tag.is_none()) {
            self.field(field, &mut out)?;
        }
        if self.flexible {
            for _ in 0..self.unsigned()? {
                let tag = self.unsigned()?;
                let size = self.unsigned()? as usize;
                let bytes = self.take(size)?;
                let Some(field) = of_version().find(|field| field.tag == Some(tag)) else {
                    out.insert(format!("{UNKNOWN_TAG}{tag}"), bytes_word(bytes).into());
                    continue;
                };
                let rest = std::mem::replace(&mut self.bytes, bytes);
                self.field(field, &mut out)?;
                if !self.bytes.is_empty() {
                    return Err(format!("{} is longer than it is", field.name));
                }
                self.bytes = rest;
            }
        }
        Ok(out.into())
    }

    fn field(&mut self, field: &Field, out: &mut Map<String, Value>) -> Outcome<()> {
        let nullable = field.nullable.contains(self.version);
        let value = self
            .value(&field.kind, nullable, field)
            .map_err(|error| format!("{}: {error}", field.name))?;
        if value != default_of(field) || field.name.ends_with("error_code") {
            out.insert(field.name.to_owned(), value);
        }
        Ok(())
    }

    fn value(&mut self, kind: &Kind, nullable: bool, field: &Field) -> Outcome<Value> {
        Ok(match kind {
            Kind::Struct(inner) => {
                if nullable && self.number(1, true)? < 0 {
                    return Ok(Value::Null);
                }
                self.structure(inner)?
            }
            Kind::Array(element) => match self.length(true)? {
                None => Value::Null,
                Some(count) => {
                    let elements: Outcome<Vec<Value>> = (0..count)
                        .map(|_| self.value(element, false, field))
                        .collect();
                    elements?.into()
                }
            },
            Kind::String | Kind::GroupId | Kind::TopicName | Kind::TransactionalId => {
                match self.length(false)? {
                    None => Value::Null,
                    Some(length) => {
                        let text = String::from_utf8_lossy(self.take(length)?).into_owned();
                        self.text(text, field).into()
                    }
                }
            }
            Kind::Bytes | Kind::Records => match self.length(true)? {
                None => Value::Null,
                Some(0) => json!(""),
                Some(length) => {
                    let bytes = self.take(length)?;
                    match kind {
                        Kind::Records => batches::decode(bytes, self.names),
                        _ => bytes_word(bytes).into(),
                    }
                }
            },
            Kind::Bool => json!(self.number(1, false)? != 0),
            Kind::Float64 => {
                let bits = self.number(8, true)?;
                json!(f64::from_bits(bits.cast_unsigned()))
            }
            Kind::Uuid => {
                let id = Uuid::from_slice(self.take(16)?).map_err(|error| error.to_string())?;
                // The first hundred are Kafka's own, for nobody and for its metadata.
                match id.as_u128() < 100 {
                    true => json!(id.to_string()),
                    false => json!(self.names.uuid(id)),
                }
            }
            _ => {
                let number = self.number(
                    kind.min_bytes(self.version, self.flexible),
                    !matches!(kind, Kind::Uint16),
                )?;
                self.word(number, kind, field)
            }
        })
    }

    fn text(&mut self, text: String, field: &Field) -> String {
        if field.name == "cluster_id" && !text.is_empty() {
            self.names.cluster = Some(text);
            return "cluster".to_owned();
        }
        self.names.text(&text)
    }

    fn word(&mut self, number: i64, kind: &Kind, field: &Field) -> Value {
        let port = i64::from(self.names.port);
        match (kind, field.name) {
            (Kind::Int16, name) if name.ends_with("error_code") => {
                let known = i16::try_from(number).ok().and_then(ErrorCode::from_code);
                known.map_or(json!(number), |code| json!(code.name()))
            }
            (Kind::ProducerId, _) | (_, "producer_id") if number >= 0 => {
                json!(self.names.producer(number))
            }
            (Kind::Int32, "session_id") if number > 0 => json!(self.names.session(number)),
            (_, "port") if number == port => json!("port"),
            (Kind::Int64, _) if Names::is_now(number) => json!("now"),
            _ => json!(number),
        }
    }
}
