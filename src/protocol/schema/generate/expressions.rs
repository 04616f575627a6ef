//! A field's type, default, test, write and read, as Rust source.

use super::super::{Field, Kind, Versions};

pub(super) fn rust_name(field: &Field) -> String {
    match field.name {
        "type" | "match" => format!("_{}", field.name),
        name => name.to_owned(),
    }
}

pub(super) fn element_type(kind: &Kind) -> String {
    match kind {
        Kind::Bool => "bool".into(),
        Kind::Int8 => "i8".into(),
        Kind::Int16 => "i16".into(),
        Kind::Uint16 => "u16".into(),
        Kind::Int32 => "i32".into(),
        Kind::Int64 => "i64".into(),
        Kind::Float64 => "f64".into(),
        Kind::Uuid => "Uuid".into(),
        Kind::String => "StrBytes".into(),
        Kind::Bytes | Kind::Records => "Bytes".into(),
        Kind::GroupId => "GroupId".into(),
        Kind::TopicName => "TopicName".into(),
        Kind::TransactionalId => "TransactionalId".into(),
        Kind::BrokerId => "BrokerId".into(),
        Kind::ProducerId => "ProducerId".into(),
        Kind::Struct(inner) => inner.name.into(),
        Kind::Array(element) => format!("Vec<{}>", element_type(element)),
    }
}

pub(super) fn is_optional(field: &Field) -> bool {
    !field.nullable.is_empty()
}

pub(super) fn field_type(field: &Field) -> String {
    let inner = element_type(&field.kind);
    if is_optional(field) {
        format!("Option<{inner}>")
    } else {
        inner
    }
}

/// The default as an expression.
pub(super) fn default_value(field: &Field) -> String {
    let inner = match (&field.kind, field.default) {
        (_, Some("null")) => return "None".into(),
        (Kind::BrokerId, Some(value)) => format!("BrokerId({value})"),
        (Kind::ProducerId, Some(value)) => format!("ProducerId({value})"),
        (Kind::String, Some(value)) => format!("StrBytes::from_static_str({value:?})"),
        (_, Some(value)) => value.to_owned(),
        (_, None) => "Default::default()".into(),
    };
    if is_optional(field) {
        format!("Some({inner})")
    } else {
        inner
    }
}

/// Whether `self.field` holds anything but its default, as an expression.
pub(super) fn is_set(field: &Field) -> String {
    let name = rust_name(field);
    match (field.default, is_optional(field)) {
        (Some("null"), _) => format!("self.{name}.is_some()"),
        (None, true) if has_length(&field.kind) => {
            format!("self.{name}.as_ref().is_none_or(|it| !it.is_empty())")
        }
        (None, false) if has_length(&field.kind) => format!("!self.{name}.is_empty()"),
        (None, false) if matches!(field.kind, Kind::Bool) => format!("self.{name}"),
        (Some("true"), false) => format!("!self.{name}"),
        _ => format!("self.{name} != {}", plain_default(field)),
    }
}

pub(super) fn is_null_default(field: &Field) -> bool {
    field.default == Some("null")
}

pub(super) fn has_length(kind: &Kind) -> bool {
    matches!(
        kind,
        Kind::Array(_)
            | Kind::Bytes
            | Kind::Records
            | Kind::String
            | Kind::GroupId
            | Kind::TopicName
            | Kind::TransactionalId
    )
}

/// [`default_value`] with its type named, so that a comparison needs no inference.
pub(super) fn plain_default(field: &Field) -> String {
    match (&field.kind, field.default) {
        (Kind::Bool, None) => "false".into(),
        (Kind::Uuid, None) => "Uuid::nil()".into(),
        (Kind::BrokerId, None) => "BrokerId(0)".into(),
        (Kind::ProducerId, None) => "ProducerId(0)".into(),
        (Kind::Struct(inner), None) => format!("{}::default()", inner.name),
        (Kind::Float64, None) => "0.0".into(),
        (_, None) => "0".into(),
        _ => default_value(field),
    }
}

/// `version` within `inner`, given that it is within `outer`; `None` when that is always so.
pub(super) fn condition(inner: Versions, outer: Versions) -> Option<String> {
    let from = inner.min > outer.min;
    let to = inner.max < outer.max;
    match (from, to) {
        (false, false) => None,
        (true, false) => Some(format!("version >= {}", inner.min)),
        (false, true) => Some(format!("version <= {}", inner.max)),
        (true, true) => Some(format!(
            "({}..={}).contains(&version)",
            inner.min, inner.max
        )),
    }
}

/// The statement that writes a value that is not null.
pub(super) fn write_value(kind: &Kind, value: &str) -> String {
    let is_local = value == "it";
    let deref = if is_local { "*" } else { "" };
    let borrow = if is_local { "" } else { "&" };
    match kind {
        Kind::Bool => format!("out.bool({deref}{value});"),
        Kind::Uuid => format!("out.put({value}.as_bytes());"),
        Kind::BrokerId | Kind::ProducerId => format!("out.put(&{value}.0.to_be_bytes());"),
        Kind::Struct(_) => format!("{value}.write(out, version)?;"),
        Kind::String | Kind::GroupId | Kind::TopicName | Kind::TransactionalId => {
            format!("out.string(Some({borrow}{value}), flexible)?;")
        }
        Kind::Bytes | Kind::Records => format!("out.bytes(Some({borrow}{value}), flexible)?;"),
        Kind::Array(element) => format!(
            "out.array(Some({borrow}{value}), flexible, |out, it| {})?;",
            written_element(element)
        ),
        _ => format!("out.put(&{value}.to_be_bytes());"),
    }
}

/// The same as the value of a closure.
pub(super) fn written_element(element: &Kind) -> String {
    let statement = write_value(element, "it");
    match statement.strip_suffix("?;") {
        Some(expression) => expression.to_owned(),
        None => format!("{{ {statement} Ok(()) }}"),
    }
}

/// Null where the version has no null: Kafka refuses, so do we.
pub(super) fn null_check(field: &Field) -> Option<String> {
    if !is_optional(field) {
        return None;
    }
    let may = condition(field.nullable, field.versions)?;
    let name = rust_name(field);
    Some(format!(
        "wire::check_null(self.{name}.is_none(), {may}, {:?})?;",
        field.name
    ))
}

pub(super) fn read_field(field: &Field) -> Vec<String> {
    let name = rust_name(field);
    let value = match &field.kind {
        Kind::Struct(inner) if is_optional(field) => {
            let inner = inner.name;
            format!("wire::optional(input, |input| {inner}::read(input, version))?")
        }
        kind => read_value(kind),
    };
    let required = has_length(&field.kind) && !is_optional(field);
    let statement = if required {
        format!("this.{name} = wire::some({value})?;")
    } else {
        format!("this.{name} = {value};")
    };
    let check = null_check(field).map(|check| check.replace("self.", "this."));
    [statement].into_iter().chain(check).collect()
}

/// The expression that reads a value: an `Option` for what has a length.
pub(super) fn read_value(kind: &Kind) -> String {
    match kind {
        Kind::Bool => "wire::boolean(input)?".into(),
        Kind::Int8 => "wire::int8(input)?".into(),
        Kind::Int16 => "wire::int16(input)?".into(),
        Kind::Uint16 => "wire::uint16(input)?".into(),
        Kind::Int32 => "wire::int32(input)?".into(),
        Kind::Int64 => "wire::int64(input)?".into(),
        Kind::Float64 => "wire::float64(input)?".into(),
        Kind::Uuid => "wire::uuid(input)?".into(),
        Kind::BrokerId => "BrokerId(wire::int32(input)?)".into(),
        Kind::ProducerId => "ProducerId(wire::int64(input)?)".into(),
        Kind::String => "wire::string(input, flexible)?".into(),
        Kind::GroupId | Kind::TopicName | Kind::TransactionalId => {
            format!("wire::string(input, flexible)?.map({})", element_type(kind))
        }
        Kind::Bytes | Kind::Records => "wire::bytes(input, flexible)?".into(),
        Kind::Struct(inner) => format!("{}::read(input, version)?", inner.name),
        Kind::Array(element) => {
            let value = read_value(element);
            let wrapped = match **element {
                Kind::String
                | Kind::GroupId
                | Kind::TopicName
                | Kind::TransactionalId
                | Kind::Bytes
                | Kind::Records
                | Kind::Array(_) => format!("wire::some({value})"),
                _ => match value.strip_suffix('?') {
                    Some(call) => call.to_owned(),
                    None => format!("Ok({value})"),
                },
            };
            format!("wire::array(input, flexible, |input| {wrapped})?")
        }
    }
}

pub(super) fn span(versions: Versions) -> String {
    if versions.min == versions.max {
        versions.min.to_string()
    } else {
        format!("{} to {}", versions.min, versions.max)
    }
}
