//! The shape of a row of the options tables, and the macro that makes a struct of a table.

use super::value::{ConfigType, Unit};

/// What values an option takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Valid {
    Any,
    AtLeast(i64),
    Between(i64, i64),
    BetweenReal(f64, f64),
    /// A level in the range, or the codec's own default.
    LevelOrDefault(i64, i64),
    /// A list or text that must not be empty.
    NonEmpty,
}

impl Valid {
    /// As Kafka's documentation writes it.
    pub fn describe(self) -> String {
        match self {
            Valid::Any => String::new(),
            Valid::AtLeast(min) => format!("[{min},...]"),
            Valid::Between(min, max) => format!("[{min},...,{max}]"),
            Valid::BetweenReal(min, max) => format!("[{min},...,{max}]"),
            Valid::LevelOrDefault(min, max) => format!("[{min},...,{max}] or -1"),
            Valid::NonEmpty => "non-empty".to_owned(),
        }
    }

    /// Kafka's words for what is wrong.
    pub(super) fn check(self, number: Option<f64>, shown: Option<&str>) -> Result<(), String> {
        let range = |min: f64, max: f64| match number {
            Some(n) if n < min => Err(format!("Value must be at least {min}")),
            Some(n) if n > max => Err(format!("Value must be no more than {max}")),
            _ => Ok(()),
        };
        match self {
            Valid::Any => Ok(()),
            Valid::AtLeast(min) => range(min as f64, f64::INFINITY),
            Valid::Between(min, max) => range(min as f64, max as f64),
            Valid::BetweenReal(min, max) => range(min, max),
            Valid::LevelOrDefault(..) if number == Some(-1.0) => Ok(()),
            Valid::LevelOrDefault(min, max) => match range(min as f64, max as f64) {
                Ok(()) => Ok(()),
                Err(_) => Err(format!(
                    "Value must be between {min} and {max} or equal to -1"
                )),
            },
            Valid::NonEmpty if shown.is_none_or(str::is_empty) => {
                Err("Value must not be empty".to_owned())
            }
            Valid::NonEmpty => Ok(()),
        }
    }
}

/// How an option can be changed while running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpdateMode {
    ReadOnly,
    /// For one broker.
    PerBroker,
    /// For all, and for one.
    ClusterWide,
}

impl UpdateMode {
    pub fn name(self) -> &'static str {
        match self {
            UpdateMode::ReadOnly => "read-only",
            UpdateMode::PerBroker => "per-broker",
            UpdateMode::ClusterWide => "cluster-wide",
        }
    }
}

/// A row.
#[derive(Debug, Clone, Copy)]
pub struct OptionSpec {
    pub name: &'static str,
    pub config_type: ConfigType,
    /// Empty where there is none.
    pub default: &'static str,
    pub valid: Valid,
    pub unit: Unit,
    pub update: UpdateMode,
    /// Of a topic option: the broker options that give its default, first found first.
    pub synonyms: &'static [&'static str],
    pub doc: &'static str,
}

/// Options that Kafka keeps to itself: taken, but shown only where they are set.
const INTERNAL: &[&str] = &[
    "consumer.assignor.offload.enable",
    "internal.segment.bytes",
    "producer.id.expiration.check.interval.ms",
    "share.assignor.offload.enable",
    "streams.acceptable.recovery.lag",
    "streams.assignor.offload.enable",
    "streams.num.warmup.replicas",
    "streams.task.offset.interval.ms",
];

impl OptionSpec {
    pub fn is_internal(&self) -> bool {
        INTERNAL.contains(&self.name)
    }
}

/// A value that an option does not take. Displays as Kafka's `ConfigException`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidConfig {
    #[error("Invalid value {value} for configuration {name}: {reason}")]
    Value {
        name: String,
        value: String,
        reason: String,
    },
    #[error("Unknown topic config name: {0}")]
    UnknownTopicOption(String),
    #[error("{0}")]
    Other(String),
}

impl InvalidConfig {
    pub(super) fn value(name: &str, value: &str, reason: impl Into<String>) -> Self {
        InvalidConfig::Value {
            name: name.to_owned(),
            value: value.to_owned(),
            reason: reason.into(),
        }
    }
}

/// Makes of a table: the struct with its typed fields, the list of its rows, and access by name.
macro_rules! option_table {
    (
        $(#[$doc:meta])*
        $vis:vis struct $name:ident as $fields:ident {
            $($field:ident: $ty:ty = $key:literal $default:literal $valid:expr, $unit:ident, $update:ident, [$($synonym:literal),*] $text:literal;)*
        }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq)]
        $vis struct $fields {
            $(#[doc = $text] pub $field: $ty,)*
        }

        $vis const $name: &[$crate::config::options::OptionSpec] = &[
            $($crate::config::options::OptionSpec {
                name: $key,
                config_type: <$ty as $crate::config::value::OptionValue>::TYPE,
                default: $default,
                valid: $valid,
                unit: $crate::config::value::Unit::$unit,
                update: $crate::config::options::UpdateMode::$update,
                synonyms: &[$($synonym),*],
                doc: $text,
            },)*
        ];

        impl $fields {
            /// `None`: no such option.
            #[allow(clippy::too_many_lines, reason = "a match table, one arm a row")]
            pub(super) fn set(
                &mut self,
                name: &str,
                text: &str,
            ) -> Option<Result<(), $crate::config::options::InvalidConfig>> {
                match name {
                    $($key => Some($crate::config::options::parse(
                        $key, text, $valid,
                    ).map(|value| self.$field = value)),)*
                    _ => None,
                }
            }

            /// The value as text; `None` where there is none.
            #[allow(clippy::too_many_lines, reason = "a match table, one arm a row")]
            pub fn get(&self, name: &str) -> Option<String> {
                match name {
                    $($key => $crate::config::value::OptionValue::show(&self.$field),)*
                    _ => None,
                }
            }
        }

        impl Default for $fields {
            #[allow(clippy::too_many_lines, reason = "one line a row")]
            fn default() -> Self {
                Self {
                    $($field: $crate::config::options::default($key, $default),)*
                }
            }
        }
    };
}

pub(super) use option_table;

use super::value::{OptionValue, Refusal};

/// The value that plain text is, in Kafka's steps: first what type it is, then whether it is in its range.
pub(super) fn parse<T: OptionValue>(
    name: &str,
    text: &str,
    valid: Valid,
) -> Result<T, InvalidConfig> {
    let value = T::parse(text).map_err(|refusal| match refusal {
        Refusal::Text(reason) => InvalidConfig::value(name, text, reason),
        Refusal::Value { value, reason } => InvalidConfig::value(name, &value, reason),
        Refusal::Form { value, form } => {
            InvalidConfig::value(name, &value, format!("{name} {form}"))
        }
        Refusal::Of(what) => InvalidConfig::Other(format!("Configuration '{name}' {what}")),
    })?;
    let shown = value.show();
    valid
        .check(value.number(), shown.as_deref())
        .map_err(|reason| InvalidConfig::value(name, shown.as_deref().unwrap_or(text), reason))?;
    Ok(value)
}

/// A row's default. Every one is parsed by a test.
#[expect(
    clippy::panic,
    reason = "a default that its own type refuses is a bug in the table"
)]
pub(super) fn default<T: OptionValue>(name: &str, text: &str) -> T {
    if let Some(unset) = T::unset().filter(|_| text.is_empty()) {
        return unset;
    }
    match parse(name, text, Valid::Any) {
        Ok(value) => value,
        Err(error) => panic!("{error}"),
    }
}
