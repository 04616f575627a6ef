//! Writes the types of `messages/generated` from the table, and fails when the files there have drifted.
//!
//! `DOHLE_BLESS=1 cargo test` rewrites them.

mod expressions;

use std::collections::BTreeMap;
use std::fmt::Write;

use super::{Api, Field, Kind, Message, Struct, Versions, apis};
use expressions::*;

/// The APIs of which the codec crate lacks versions, or knows nothing.
const KEYS: [i16; 18] = [
    2, 8, 9, 18, 27, 28, 35, 42, 78, 79, 80, 85, 87, 88, 89, 90, 93, 94,
];

/// `ListOffsetsRequest` → `list_offsets_request`.
fn module_name(name: &str) -> String {
    let mut out = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(letter.to_ascii_lowercase());
    }
    out
}

struct Generator<'a> {
    message: &'a Message,
    flexible: &'static str,
    out: String,
    /// The structs still to be written, by name.
    pending: BTreeMap<&'static str, &'a Struct>,
    order: Vec<&'static str>,
}

macro_rules! line {
    ($out:expr, $indent:expr, $($arg:tt)*) => {{
        let text = format!($($arg)*);
        writeln!($out, "{:width$}{text}", "", width = 4 * $indent).unwrap();
    }};
}

impl<'a> Generator<'a> {
    fn collect(&mut self, found: &'a Struct) {
        if self.pending.insert(found.name, found).is_some() {
            return;
        }
        self.order.push(found.name);
        for field in &found.fields {
            let mut kind = &field.kind;
            while let Kind::Array(element) = kind {
                kind = element;
            }
            if let Kind::Struct(inner) = kind {
                self.collect(inner);
            }
        }
    }

    fn structure(&mut self, found: &Struct) {
        let name = found.name;
        line!(self.out, 0, "");
        let plain = found
            .fields
            .iter()
            .all(|field| default_value(field) == "Default::default()" || is_null_default(field));
        let derive = if plain { ", Default" } else { "" };
        line!(self.out, 0, "#[derive(Debug, Clone, PartialEq{derive})]");
        line!(self.out, 0, "pub struct {name} {{");
        for field in &found.fields {
            let versions = field.versions;
            let nullable = match (field.nullable == versions, is_optional(field)) {
                (_, false) => String::new(),
                (true, true) => "; may be null".into(),
                (false, true) => format!("; may be null in {}", span(field.nullable)),
            };
            let tag = field
                .tag
                .map_or(String::new(), |tag| format!("; tag {tag}"));
            line!(
                self.out,
                1,
                "/// Versions {}{tag}{nullable}.",
                span(versions)
            );
            line!(
                self.out,
                1,
                "pub {}: {},",
                rust_name(field),
                field_type(field)
            );
        }
        line!(
            self.out,
            1,
            "pub unknown_tagged_fields: BTreeMap<i32, Bytes>,"
        );
        line!(self.out, 0, "}}");
        if !plain {
            self.default_impl(found);
        }
        line!(self.out, 0, "");
        line!(self.out, 0, "impl {name} {{");
        self.writer(found);
        line!(self.out, 0, "");
        self.reader(found);
        line!(self.out, 0, "}}");
    }

    /// The head of a function whose body is written already, with no more names than the body uses.
    fn function(&mut self, signature: &str, body: &str) {
        let flexible = body.contains("flexible");
        let uses_version =
            body.contains("version") || (flexible && self.flexible.contains("version"));
        let version = if uses_version { "version" } else { "_version" };
        line!(self.out, 1, "{}", signature.replace("version", version));
        if flexible {
            line!(self.out, 2, "let flexible = {};", self.flexible);
        }
        self.out += body;
        line!(self.out, 1, "}}");
    }

    fn default_impl(&mut self, found: &Struct) {
        line!(self.out, 0, "");
        line!(self.out, 0, "impl Default for {} {{", found.name);
        line!(self.out, 1, "fn default() -> Self {{");
        line!(self.out, 2, "Self {{");
        for field in &found.fields {
            line!(
                self.out,
                3,
                "{}: {},",
                rust_name(field),
                default_value(field)
            );
        }
        line!(self.out, 3, "unknown_tagged_fields: BTreeMap::new(),");
        line!(self.out, 2, "}}");
        line!(self.out, 1, "}}");
        line!(self.out, 0, "}}");
    }

    fn writer(&mut self, found: &Struct) {
        let before = std::mem::take(&mut self.out);
        self.writer_body(found);
        let body = std::mem::replace(&mut self.out, before);
        self.function(
            "fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {",
            &body,
        );
    }

    fn writer_body(&mut self, found: &Struct) {
        for field in found.fields.iter().filter(|field| field.tag.is_none()) {
            let statements = self.written(field);
            match condition(field.versions, self.message.versions) {
                None => self.lines(2, &statements),
                Some(condition) => {
                    line!(self.out, 2, "if {condition} {{");
                    self.lines(3, &statements);
                    self.refused(field);
                    line!(self.out, 2, "}}");
                }
            }
        }
        self.tagged_writer(found);
        line!(self.out, 2, "Ok(())");
    }

    fn lines(&mut self, indent: usize, statements: &[String]) {
        for statement in statements {
            line!(self.out, indent, "{statement}");
        }
    }

    fn refused(&mut self, field: &Field) {
        if !field.ignorable {
            line!(self.out, 2, "}} else if {} {{", is_set(field));
            line!(
                self.out,
                3,
                "return Err(unavailable({:?}, version));",
                field.name
            );
        }
    }

    /// The statements that write `self.field`.
    fn written(&self, field: &Field) -> Vec<String> {
        let name = rust_name(field);
        if !is_optional(field) {
            return vec![write_value(&field.kind, &format!("self.{name}"))];
        }
        let body = match &field.kind {
            Kind::Struct(_) => {
                format!("out.optional(self.{name}.as_ref(), |out, it| it.write(out, version))?;")
            }
            Kind::Array(element) => format!(
                "out.array(self.{name}.as_deref(), flexible, |out, it| {})?;",
                written_element(element)
            ),
            Kind::Bytes | Kind::Records => format!("out.bytes(self.{name}.as_ref(), flexible)?;"),
            Kind::String => format!("out.string(self.{name}.as_ref(), flexible)?;"),
            _ => format!("out.string(self.{name}.as_deref(), flexible)?;"),
        };
        let check = null_check(field);
        check.into_iter().chain([body]).collect()
    }

    fn tagged_writer(&mut self, found: &Struct) {
        let mut tagged: Vec<&Field> = found.fields.iter().filter(|f| f.tag.is_some()).collect();
        tagged.sort_by_key(|field| field.tag);
        if self.message.flexible.is_empty() {
            return;
        }
        line!(self.out, 2, "if flexible {{");
        if tagged.is_empty() {
            line!(
                self.out,
                3,
                "out.varint(self.unknown_tagged_fields.len() as u32);"
            );
        } else {
            line!(
                self.out,
                3,
                "let mut tagged = self.unknown_tagged_fields.clone();"
            );
        }
        for field in &tagged {
            let statements = self.written(field);
            let present = is_set(field);
            match condition(field.versions, self.message.versions) {
                None => line!(self.out, 3, "if {present} {{"),
                Some(condition) => line!(self.out, 3, "if {condition} && {present} {{"),
            }
            line!(self.out, 4, "let mut value = Vec::new();");
            line!(self.out, 4, "let out = &mut value;");
            self.lines(4, &statements);
            line!(
                self.out,
                4,
                "tagged.insert({}, value.into());",
                field.tag.unwrap()
            );
            line!(self.out, 3, "}}");
        }
        let all = if tagged.is_empty() {
            "self.unknown_tagged_fields"
        } else {
            line!(self.out, 3, "out.varint(tagged.len() as u32);");
            "tagged"
        };
        line!(self.out, 3, "for (tag, value) in &{all} {{");
        line!(self.out, 4, "out.tagged(*tag as u32, value)?;");
        line!(self.out, 3, "}}");
        line!(self.out, 2, "}}");
        for field in tagged.iter().filter(|field| !field.ignorable) {
            if let Some(condition) = condition(field.versions, self.message.versions) {
                line!(self.out, 2, "if !({condition}) && {} {{", is_set(field));
                line!(
                    self.out,
                    3,
                    "return Err(unavailable({:?}, version));",
                    field.name
                );
                line!(self.out, 2, "}}");
            }
        }
    }

    fn reader(&mut self, found: &Struct) {
        let before = std::mem::take(&mut self.out);
        self.reader_body(found);
        let body = std::mem::replace(&mut self.out, before);
        self.function(
            "fn read<B: ByteBuf>(input: &mut B, version: i16) -> Result<Self> {",
            &body,
        );
    }

    fn reader_body(&mut self, found: &Struct) {
        line!(self.out, 2, "let mut this = Self::default();");
        for field in found.fields.iter().filter(|field| field.tag.is_none()) {
            let statements = read_field(field);
            match condition(field.versions, self.message.versions) {
                None => self.lines(2, &statements),
                Some(condition) => {
                    line!(self.out, 2, "if {condition} {{");
                    self.lines(3, &statements);
                    line!(self.out, 2, "}}");
                }
            }
        }
        if !self.message.flexible.is_empty() {
            self.tagged_reader(found);
        }
        line!(self.out, 2, "Ok(this)");
    }

    fn tagged_reader(&mut self, found: &Struct) {
        let tagged: Vec<&Field> = found.fields.iter().filter(|f| f.tag.is_some()).collect();
        line!(self.out, 2, "if flexible {{");
        line!(self.out, 3, "for _ in 0..wire::varint(input)? {{");
        if tagged.is_empty() {
            line!(self.out, 4, "let (tag, value) = wire::tagged(input)?;");
            line!(
                self.out,
                4,
                "this.unknown_tagged_fields.insert(tag as i32, value);"
            );
        } else {
            line!(self.out, 4, "let (tag, mut value) = wire::tagged(input)?;");
            line!(self.out, 4, "let input = &mut value;");
            line!(self.out, 4, "match tag {{");
            for field in &tagged {
                let tag = field.tag.unwrap();
                let guard = condition(field.versions, self.message.versions);
                let guard = guard.map_or(String::new(), |condition| format!(" if {condition}"));
                line!(self.out, 5, "{tag}{guard} => {{");
                self.lines(6, &read_field(field));
                line!(self.out, 6, "wire::finished(input)?;");
                line!(self.out, 5, "}}");
            }
            line!(self.out, 5, "_ => {{");
            line!(
                self.out,
                6,
                "this.unknown_tagged_fields.insert(tag as i32, value);"
            );
            line!(self.out, 5, "}}");
            line!(self.out, 4, "}}");
        }
        line!(self.out, 3, "}}");
        line!(self.out, 2, "}}");
    }
}

fn generate(api: &Api, message: &Message, is_request: bool) -> String {
    let flexible = match condition(message.flexible, message.versions) {
        _ if message.flexible.is_empty() => "false".to_owned(),
        None => "true".to_owned(),
        Some(condition) => condition,
    };
    let mut generator = Generator {
        message,
        flexible: flexible.clone().leak(),
        out: String::new(),
        pending: BTreeMap::new(),
        order: Vec::new(),
    };
    generator.collect(&message.body);
    for name in generator.order.clone() {
        let found = generator.pending[name];
        generator.structure(found);
    }
    let body = generator.out;
    let name = message.body.name;
    let Versions { min, max } = message.versions;
    let mut out = String::new();
    line!(out, 0, "//! {name}, versions {}.", span(message.versions));
    line!(out, 0, "//!");
    line!(
        out,
        0,
        "//! Generated from `schema/messages.txt`: `DOHLE_BLESS=1 cargo test` writes it anew."
    );
    line!(out, 0, "");
    line!(out, 0, "use std::collections::BTreeMap;");
    line!(out, 0, "");
    line!(out, 0, "use anyhow::Result;");
    line!(out, 0, "use bytes::Bytes;");
    line!(
        out,
        0,
        "use kafka_protocol::protocol::buf::{{ByteBuf, ByteBufMut}};"
    );
    let request = if is_request { ", Request" } else { "" };
    let strings = if body.contains("StrBytes") {
        ", StrBytes"
    } else {
        ""
    };
    line!(
        out,
        0,
        "use kafka_protocol::protocol::{{Decodable, Encodable, HeaderVersion, Message{request}{strings}, VersionRange}};"
    );
    let named: Vec<&str> = [
        "BrokerId",
        "GroupId",
        "ProducerId",
        "TopicName",
        "TransactionalId",
    ]
    .into_iter()
    .filter(|word| body.contains(word))
    .collect();
    if !named.is_empty() {
        line!(
            out,
            0,
            "use kafka_protocol::messages::{{{}}};",
            named.join(", ")
        );
    }
    if body.contains("Uuid") {
        line!(out, 0, "use uuid::Uuid;");
    }
    line!(out, 0, "");
    line!(
        out,
        0,
        "use crate::protocol::messages::wire::{{self, Count, Out, Sink}};"
    );
    if body.contains("unavailable(") {
        line!(out, 0, "use crate::protocol::messages::wire::unavailable;");
    }
    out += &body;
    let header = match (is_request, api.key) {
        (false, 18) => "0".to_owned(),
        (true, _) if flexible == "true" => "2".to_owned(),
        (true, _) if flexible == "false" => "1".to_owned(),
        (true, _) => format!("if {flexible} {{ 2 }} else {{ 1 }}"),
        (false, _) => format!("i16::from({flexible})"),
    };
    let argument = if header.contains("version") {
        "version"
    } else {
        "_"
    };
    write!(
        out,
        "
impl Message for {name} {{
    const VERSIONS: VersionRange = VersionRange {{ min: {min}, max: {max} }};
    const DEPRECATED_VERSIONS: Option<VersionRange> = None;
}}

impl Encodable for {name} {{
    fn encode<B: ByteBufMut>(&self, buf: &mut B, version: i16) -> Result<()> {{
        wire::check_version({name:?}, version, {min}, {max})?;
        self.write(&mut Out(buf), version)
    }}

    fn compute_size(&self, version: i16) -> Result<usize> {{
        wire::check_version({name:?}, version, {min}, {max})?;
        let mut count = Count::default();
        self.write(&mut count, version)?;
        Ok(count.0)
    }}
}}

impl Decodable for {name} {{
    fn decode<B: ByteBuf>(buf: &mut B, version: i16) -> Result<Self> {{
        wire::check_version({name:?}, version, {min}, {max})?;
        Self::read(buf, version)
    }}
}}

impl HeaderVersion for {name} {{
    fn header_version({argument}: i16) -> i16 {{
        {header}
    }}
}}
"
    )
    .unwrap();
    if is_request {
        let response = api.response.body.name;
        write!(
            out,
            "
impl Request for {name} {{
    const KEY: i16 = {};
    type Response = super::{}::{response};
}}
",
            api.key,
            module_name(response)
        )
        .unwrap();
    }
    out
}

fn files() -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let mut modules = String::from(
        "//! The messages the codec crate lacks. Generated from `schema/messages.txt`: `DOHLE_BLESS=1 cargo test`\n//! writes this folder anew.\n\n",
    );
    for api in apis().iter().filter(|api| KEYS.contains(&api.key)) {
        for (message, is_request) in [(&api.request, true), (&api.response, false)] {
            let module = module_name(message.body.name);
            writeln!(modules, "pub mod {module};").unwrap();
            files.insert(format!("{module}.rs"), generate(api, message, is_request));
        }
    }
    files.insert("mod.rs".into(), modules);
    files
}

#[test]
fn the_generated_messages_follow_the_table() {
    let folder = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/src/protocol/messages/generated"
    );
    let bless = std::env::var_os("DOHLE_BLESS").is_some();
    let files = files();
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(
            files.contains_key(&name),
            "{name} is not generated any more: remove it"
        );
    }
    for (name, text) in files {
        let path = format!("{folder}/{name}");
        if bless {
            std::fs::write(&path, text).unwrap();
        } else {
            let found = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(
                found == text,
                "{name} has drifted from schema/messages.txt: DOHLE_BLESS=1 cargo test"
            );
        }
    }
}
