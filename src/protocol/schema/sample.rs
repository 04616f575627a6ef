//! Makes up valid bodies from the table: every field, nulls, empty and tagged ones, for tests.

use super::{Kind, Message, Struct};
use crate::protocol::varint;

/// A stream of choices: the same bytes make the same body.
pub(crate) struct Choices<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Choices<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Choices { bytes, at: 0 }
    }

    fn next(&mut self) -> u8 {
        self.at += 1;
        self.bytes.get(self.at - 1).copied().unwrap_or_default()
    }

    fn below(&mut self, limit: u8) -> usize {
        usize::from(self.next() % limit)
    }
}

/// A body of `message` in `version`.
pub(crate) fn body(message: &Message, version: i16, choices: &mut Choices) -> Vec<u8> {
    let mut out = Vec::new();
    let flexible = message.is_flexible(version);
    structure(&message.body, (version, flexible), choices, &mut out);
    out
}

type Form = (i16, bool);

fn structure(found: &Struct, (version, flexible): Form, choices: &mut Choices, out: &mut Vec<u8>) {
    let mut tagged = Vec::new();
    for field in found.fields.iter().filter(|f| f.versions.contains(version)) {
        let nullable = field.nullable.contains(version);
        match field.tag {
            None => value(&field.kind, nullable, (version, flexible), choices, out),
            Some(tag) => {
                if choices.below(2) == 1 {
                    let mut bytes = Vec::new();
                    value(
                        &field.kind,
                        nullable,
                        (version, flexible),
                        choices,
                        &mut bytes,
                    );
                    tagged.push((tag, bytes));
                }
            }
        }
    }
    if flexible {
        if choices.below(4) == 3 {
            tagged.push((1000 + choices.below(200) as u32, vec![7; choices.below(5)]));
        }
        tagged.sort();
        varint::write_u32(out, tagged.len() as u32);
        for (tag, bytes) in tagged {
            varint::write_u32(out, tag);
            varint::write_u32(out, bytes.len() as u32);
            out.extend(bytes);
        }
    }
}

fn length(length: Option<usize>, flexible: bool, wide: bool, out: &mut Vec<u8>) {
    match (flexible, wide, length.map_or(-1, |length| length as i32)) {
        (true, _, length) => varint::write_u32(out, (length + 1) as u32),
        (false, true, length) => out.extend(length.to_be_bytes()),
        (false, false, length) => out.extend((length as i16).to_be_bytes()),
    }
}

fn value(kind: &Kind, nullable: bool, form: Form, choices: &mut Choices, out: &mut Vec<u8>) {
    let (version, flexible) = form;
    let null = nullable && choices.below(4) == 3;
    let wide = matches!(kind, Kind::Bytes | Kind::Records | Kind::Array(_));
    match kind {
        Kind::Struct(inner) => {
            if nullable {
                out.push(if null { 0xff } else { 1 });
            }
            if !null {
                structure(inner, form, choices, out);
            }
        }
        Kind::Array(element) => {
            let count = (!null).then(|| choices.below(3));
            length(count, flexible, wide, out);
            for _ in 0..count.unwrap_or_default() {
                value(element, false, form, choices, out);
            }
        }
        Kind::String | Kind::GroupId | Kind::TopicName | Kind::TransactionalId => {
            let text = ["", "a", "straße", "many-words"][choices.below(4)];
            length((!null).then_some(text.len()), flexible, wide, out);
            if !null {
                out.extend(text.as_bytes());
            }
        }
        Kind::Bytes | Kind::Records => {
            let size = (!null).then(|| choices.below(9));
            length(size, flexible, wide, out);
            out.extend(vec![9; size.unwrap_or_default()]);
        }
        Kind::Bool => out.push(choices.next() & 1),
        _ => {
            let byte = choices.next();
            out.extend(vec![byte; kind.min_bytes(version, flexible)]);
        }
    }
}
