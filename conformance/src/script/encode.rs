//! A request of a script as bytes, by the schema table.

use dohle::error::ErrorCode;
use dohle::protocol::schema::{Field, Kind, Message, Struct};
use dohle::protocol::varint;
use serde_json::{Map, Value};

use super::ScriptError;
use super::batches;
use super::decode::{UNKNOWN_TAG, default_of};
use super::names::Names;

/// The version and whether lengths are varints.
type Form = (i16, bool);

/// The body of a request: fields that are left out have their defaults, fields that the version does not have are
/// left out.
pub fn body(
    message: &Message,
    version: i16,
    value: &Value,
    names: &mut Names,
) -> Result<Vec<u8>, ScriptError> {
    let mut out = Vec::new();
    let fields = object(value)?;
    structure(
        &message.body,
        (version, message.is_flexible(version)),
        fields,
        names,
        &mut out,
    )?;
    Ok(out)
}

/// `0x00ff` is bytes; any other text, its own.
pub fn bytes_of(word: &str) -> Result<Vec<u8>, ScriptError> {
    match word.strip_prefix("0x") {
        Some(hex) => Ok(crate::hex(hex).map_err(ScriptError::Syntax)?.into()),
        None => Ok(word.as_bytes().to_vec()),
    }
}

fn code_of(name: &str) -> Option<i64> {
    let known = ErrorCode::ALL.iter().find(|code| code.name() == name);
    known.map(|code| code.code().into())
}

fn object(value: &Value) -> Result<&Map<String, Value>, ScriptError> {
    value
        .as_object()
        .ok_or_else(|| ScriptError::syntax(format!("not a struct: {value}")))
}

fn structure(
    found: &Struct,
    form: Form,
    values: &Map<String, Value>,
    names: &mut Names,
    out: &mut Vec<u8>,
) -> Result<(), ScriptError> {
    let (version, flexible) = form;
    let mut tagged: Vec<(u32, Vec<u8>)> = Vec::new();
    for (name, value) in values {
        if let Some(tag) = name
            .strip_prefix(UNKNOWN_TAG)
            .and_then(|tag| tag.parse().ok())
        {
            tagged.push((tag, bytes_of(value.as_str().unwrap_or_default())?));
        } else if !found.fields.iter().any(|field| field.name == name) {
            return Err(ScriptError::syntax(format!("{} has no {name}", found.name)));
        }
    }
    for field in found
        .fields
        .iter()
        .filter(|field| field.versions.contains(version))
    {
        let default = default_of(field);
        let value = values.get(field.name).unwrap_or(&default);
        let kind = (&field.kind, field.nullable.contains(version));
        match field.tag {
            None => self::value(kind, field, form, value, names, out)?,
            Some(tag) if *value != default => {
                let mut bytes = Vec::new();
                self::value(kind, field, form, value, names, &mut bytes)?;
                tagged.push((tag, bytes));
            }
            Some(_) => {}
        }
    }
    if flexible {
        tagged.sort();
        varint::write_u32(out, tagged.len() as u32);
        for (tag, bytes) in tagged {
            varint::write_u32(out, tag);
            varint::write_u32(out, bytes.len() as u32);
            out.extend(bytes);
        }
    }
    Ok(())
}

fn length(length: Option<usize>, wide: bool, flexible: bool, out: &mut Vec<u8>) {
    match (flexible, wide, length.map_or(-1, |length| length as i32)) {
        (true, _, length) => varint::write_u32(out, (length + 1) as u32),
        (false, true, length) => out.extend(length.to_be_bytes()),
        (false, false, length) => out.extend((length as i16).to_be_bytes()),
    }
}

fn value(
    (kind, nullable): (&Kind, bool),
    field: &Field,
    form: Form,
    value: &Value,
    names: &mut Names,
    out: &mut Vec<u8>,
) -> Result<(), ScriptError> {
    let (version, flexible) = form;
    let wrong = || ScriptError::syntax(format!("{} cannot be {value}", field.name));
    match kind {
        Kind::Struct(inner) => {
            if nullable {
                out.push(if value.is_null() { 0xff } else { 1 });
            }
            if !value.is_null() {
                structure(inner, form, object(value)?, names, out)?;
            }
        }
        Kind::Array(element) => {
            let elements = match value {
                Value::Null => None,
                _ => Some(value.as_array().ok_or_else(wrong)?),
            };
            length(elements.map(Vec::len), true, flexible, out);
            for value in elements.into_iter().flatten() {
                self::value((element, false), field, form, value, names, out)?;
            }
        }
        Kind::String | Kind::GroupId | Kind::TopicName | Kind::TransactionalId => {
            let text = match value {
                Value::Null => None,
                _ => Some(names.text_sent(value.as_str().ok_or_else(wrong)?, version)),
            };
            length(text.as_ref().map(String::len), false, flexible, out);
            out.extend(text.unwrap_or_default().into_bytes());
        }
        Kind::Bytes | Kind::Records => {
            let bytes = match (kind, value) {
                (_, Value::Null) => None,
                (Kind::Records, _) => Some(batches::encode(value, names)?),
                _ => Some(bytes_of(value.as_str().ok_or_else(wrong)?)?),
            };
            length(bytes.as_ref().map(Vec::len), true, flexible, out);
            out.extend(bytes.unwrap_or_default());
        }
        Kind::Uuid => {
            let id = value.as_str().and_then(|word| names.uuid_sent(word));
            out.extend(id.ok_or_else(wrong)?.as_bytes());
        }
        Kind::Bool => out.push(value.as_bool().ok_or_else(wrong)?.into()),
        Kind::Float64 => out.extend(value.as_f64().ok_or_else(wrong)?.to_be_bytes()),
        _ => {
            let number = match value {
                Value::String(word) => names.number_sent(word).or_else(|| code_of(word)),
                plain => plain.as_i64(),
            };
            let bytes = number.ok_or_else(wrong)?.to_be_bytes();
            let size = kind.min_bytes(version, flexible);
            out.extend(bytes.get(bytes.len() - size..).unwrap_or_default());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use dohle::protocol::header::RequestHeader;
    use dohle::protocol::schema;
    use serde_json::json;

    use super::super::decode;
    use super::*;

    /// What each golden message says, written again from its text, says the same.
    #[test]
    fn every_message_of_kafka_is_read_and_written() {
        let golden = crate::golden().unwrap();
        assert!(golden.messages.len() > 2_000, "{}", golden.messages.len());
        for message in golden.messages {
            // Kafka's serializer has also messages that only controllers exchange.
            let Some(api) = schema::api(message.key) else {
                continue;
            };
            let (schema, bytes) = if message.is_request {
                (&api.request, RequestHeader::parse(message.frame).unwrap().1)
            } else {
                let header = 4 + usize::from(api.response_header_version(message.version) == 1);
                (&api.response, message.frame.slice(header..))
            };
            let mut names = Names::default();
            let read = |bytes: &[u8], names: &mut Names| {
                let text = decode::body(schema, message.version, bytes, names);
                text.unwrap_or_else(|error| panic!("{} v{}: {error}", api.name, message.version))
            };
            let text = read(&bytes, &mut names);
            let again = body(schema, message.version, &text, &mut names);
            let again =
                again.unwrap_or_else(|error| panic!("{} v{}: {error}", api.name, message.version));
            assert_eq!(
                text,
                read(&again, &mut names),
                "{} v{}",
                api.name,
                message.version
            );
        }
    }

    #[test]
    fn what_a_message_does_not_have_is_refused() {
        let api = schema::api(3).unwrap();
        let said = body(
            &api.request,
            1,
            &json!({"topic": []}),
            &mut Names::default(),
        );
        assert_eq!(
            said.unwrap_err().to_string(),
            "MetadataRequest has no topic"
        );
        let said = body(
            &api.request,
            1,
            &json!({"topics": [{"name": 5}]}),
            &mut Names::default(),
        );
        assert!(said.is_err());
    }
}
