//! The types that options have, how they are read from text (with units), and how they are written back.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// How Kafka's DescribeConfigs names types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i8)]
pub enum ConfigType {
    Unknown = 0,
    Boolean = 1,
    String = 2,
    Int = 3,
    Short = 4,
    Long = 5,
    Double = 6,
    List = 7,
    Class = 8,
    Password = 9,
}

impl ConfigType {
    pub fn name(self) -> &'static str {
        match self {
            ConfigType::Unknown => "UNKNOWN",
            ConfigType::Boolean => "BOOLEAN",
            ConfigType::String => "STRING",
            ConfigType::Int => "INT",
            ConfigType::Short => "SHORT",
            ConfigType::Long => "LONG",
            ConfigType::Double => "DOUBLE",
            ConfigType::List => "LIST",
            ConfigType::Class => "CLASS",
            ConfigType::Password => "PASSWORD",
        }
    }
}

/// What a plain number counts; other units may be written behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    None,
    Bytes,
    Ms,
    Seconds,
    Minutes,
    Hours,
}

impl Unit {
    pub fn name(self) -> &'static str {
        match self {
            Unit::None => "",
            Unit::Bytes => "bytes",
            Unit::Ms => "ms",
            Unit::Seconds => "seconds",
            Unit::Minutes => "minutes",
            Unit::Hours => "hours",
        }
    }

    fn ms(self) -> Option<i64> {
        match self {
            Unit::Ms => Some(1),
            Unit::Seconds => Some(1000),
            Unit::Minutes => Some(60_000),
            Unit::Hours => Some(3_600_000),
            Unit::None | Unit::Bytes => None,
        }
    }
}

/// Rewrites `7d` or `1GiB` as the plain number of the option's own unit. Only what people write takes units: a
/// file, a command line; over the wire a number is plain, as in Kafka. Text without a known unit behind a number
/// is left as it is, for the type to judge.
pub(super) fn without_unit(text: &str, unit: Unit) -> Result<String, String> {
    let trimmed = text.trim();
    let split = trimmed.find(|c: char| !c.is_ascii_digit() && c != '-' && c != '.');
    let Some((number, suffix)) = split.map(|at| trimmed.split_at(at)) else {
        return Ok(trimmed.to_owned());
    };
    let factor = match unit {
        Unit::None => return Ok(text.to_owned()),
        Unit::Bytes => bytes_in(suffix.trim()),
        _ => ms_in(suffix.trim()),
    };
    let (Some(factor), Some((digits, scale))) = (factor, decimal(number)) else {
        return Ok(text.to_owned());
    };
    let per_unit = i128::from(unit.ms().unwrap_or(1)) * scale;
    let scaled = digits.checked_mul(i128::from(factor));
    match scaled {
        Some(scaled) if scaled % per_unit == 0 => Ok((scaled / per_unit).to_string()),
        _ => Err(format!("Not a whole number of {}", unit.name())),
    }
}

/// `1.5` is 15 over 10.
fn decimal(text: &str) -> Option<(i128, i128)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let scale = 10i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let is_number = fraction.bytes().all(|b| b.is_ascii_digit());
    let digits = format!("{whole}{fraction}").parse().ok()?;
    is_number.then_some((digits, scale))
}

fn bytes_in(suffix: &str) -> Option<i64> {
    Some(match suffix.to_ascii_lowercase().as_str() {
        "b" => 1,
        "kib" | "k" => 1 << 10,
        "mib" | "m" => 1 << 20,
        "gib" | "g" => 1 << 30,
        "tib" | "t" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return None,
    })
}

fn ms_in(suffix: &str) -> Option<i64> {
    Some(match suffix.to_ascii_lowercase().as_str() {
        "ms" => 1,
        "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "w" => 604_800_000,
        _ => return None,
    })
}

/// Why text is no value of an option: the parts of Kafka's message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// «Invalid value *the text as it came* for configuration …: *this*».
    Text(String),
    /// The same of a value as it was understood.
    Value { value: String, reason: String },
    /// «Invalid value *value* for configuration X: X *form*».
    Form { value: String, form: &'static str },
    /// «Configuration 'X' *this*».
    Of(&'static str),
}

impl Refusal {
    fn text(reason: impl Into<String>) -> Self {
        Refusal::Text(reason.into())
    }
}

/// A type that an option's value can have.
pub(super) trait OptionValue: Sized {
    const TYPE: ConfigType;
    fn parse(text: &str) -> Result<Self, Refusal>;
    fn show(&self) -> Option<String>;
    /// For range checks.
    fn number(&self) -> Option<f64> {
        None
    }
    /// The value of an option that nobody sets and that has no default.
    fn unset() -> Option<Self> {
        None
    }
}

/// As Java's `trim`: control characters go, too.
pub(super) fn trim(text: &str) -> &str {
    text.trim_matches(|c| c <= ' ')
}

macro_rules! number {
    ($rust:ty, $kind:ident) => {
        impl OptionValue for $rust {
            const TYPE: ConfigType = ConfigType::$kind;
            fn parse(text: &str) -> Result<Self, Refusal> {
                trim(text).parse().map_err(|_| {
                    Refusal::text(format!("Not a number of type {}", Self::TYPE.name()))
                })
            }
            fn show(&self) -> Option<String> {
                Some(self.to_string())
            }
            fn number(&self) -> Option<f64> {
                Some(*self as f64)
            }
        }
    };
}

number!(i16, Short);
number!(i32, Int);
number!(i64, Long);

/// As Java reads and writes it.
impl OptionValue for f64 {
    const TYPE: ConfigType = ConfigType::Double;
    fn parse(text: &str) -> Result<Self, Refusal> {
        let refused = || Refusal::text("Not a number of type DOUBLE");
        let text = trim(text);
        let unsigned = text.trim_start_matches(['+', '-']);
        if text.len() - unsigned.len() <= 1 && matches!(unsigned, "NaN" | "Infinity") {
            return text.parse().map_err(|_| refused());
        }
        let digits = text.strip_suffix(['d', 'D', 'f', 'F']).unwrap_or(text);
        if digits.contains(|c: char| c.is_ascii_alphabetic() && c != 'e' && c != 'E') {
            return Err(refused());
        }
        digits.parse().map_err(|_| refused())
    }
    fn show(&self) -> Option<String> {
        let size = self.abs();
        let is_plain = size == 0.0 || (1e-3..1e7).contains(&size);
        Some(if self.is_infinite() {
            if *self < 0.0 { "-Infinity" } else { "Infinity" }.to_owned()
        } else if is_plain || self.is_nan() {
            format!("{self:?}")
        } else {
            let shown = format!("{self:E}");
            match shown.split_once('E') {
                Some((digits, power)) if !digits.contains('.') => format!("{digits}.0E{power}"),
                _ => shown,
            }
        })
    }
    fn number(&self) -> Option<f64> {
        Some(*self)
    }
}

impl OptionValue for bool {
    const TYPE: ConfigType = ConfigType::Boolean;
    fn parse(text: &str) -> Result<Self, Refusal> {
        match trim(text).to_ascii_lowercase().as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(Refusal::text("Expected value to be either true or false")),
        }
    }
    fn show(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl OptionValue for String {
    const TYPE: ConfigType = ConfigType::String;
    fn parse(text: &str) -> Result<Self, Refusal> {
        Ok(trim(text).to_owned())
    }
    fn show(&self) -> Option<String> {
        Some(self.clone())
    }
}

impl<T: OptionValue> OptionValue for Option<T> {
    const TYPE: ConfigType = T::TYPE;
    fn parse(text: &str) -> Result<Self, Refusal> {
        T::parse(text).map(Some)
    }
    fn show(&self) -> Option<String> {
        self.as_ref().and_then(T::show)
    }
    fn number(&self) -> Option<f64> {
        self.as_ref().and_then(T::number)
    }
    fn unset() -> Option<Self> {
        Some(None)
    }
}

/// The items of a list as Kafka splits it: an item may be empty, a list that is empty has none.
pub(super) fn items(text: &str) -> Vec<&str> {
    match trim(text) {
        "" => Vec::new(),
        text => text.split(',').map(str::trim).collect(),
    }
}

const NOT_EMPTY: &str = "values must not be empty.";

/// Lists whose items count once: what comes again is dropped, and none may be empty.
pub(super) fn distinct(text: &str) -> Result<Vec<&str>, Refusal> {
    let mut kept: Vec<&str> = Vec::new();
    for item in items(text) {
        if item.is_empty() {
            return Err(Refusal::Of(NOT_EMPTY));
        }
        if !kept.contains(&item) {
            kept.push(item);
        }
    }
    Ok(kept)
}

impl OptionValue for Vec<String> {
    const TYPE: ConfigType = ConfigType::List;
    fn parse(text: &str) -> Result<Self, Refusal> {
        Ok(distinct(text)?.into_iter().map(str::to_owned).collect())
    }
    fn show(&self) -> Option<String> {
        Some(self.join(","))
    }
}

impl OptionValue for Vec<PathBuf> {
    const TYPE: ConfigType = ConfigType::List;
    fn parse(text: &str) -> Result<Self, Refusal> {
        Ok(distinct(text)?.into_iter().map(PathBuf::from).collect())
    }
    fn show(&self) -> Option<String> {
        let paths: Vec<String> = self.iter().map(|p| p.display().to_string()).collect();
        Some(paths.join(","))
    }
}

/// `name:number,…`.
impl OptionValue for BTreeMap<String, i32> {
    const TYPE: ConfigType = ConfigType::String;
    fn parse(text: &str) -> Result<Self, Refusal> {
        let refused = || Refusal::text("Expected hostName:number pairs");
        let pairs = distinct(text)?.into_iter().map(|pair| {
            let (name, number) = pair.rsplit_once(':').ok_or_else(refused)?;
            let number = trim(number).parse().map_err(|_| refused())?;
            Ok((trim(name).to_owned(), number))
        });
        pairs.collect()
    }
    fn show(&self) -> Option<String> {
        let pairs: Vec<String> = self.iter().map(|(k, v)| format!("{k}:{v}")).collect();
        Some(pairs.join(","))
    }
}

/// `(leader|follower).replication.throttled.replicas`: `partition:broker` pairs, or `*` for all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ThrottledReplicas(pub Vec<String>);

impl OptionValue for ThrottledReplicas {
    const TYPE: ConfigType = ConfigType::List;
    fn parse(text: &str) -> Result<Self, Refusal> {
        let items = items(text);
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let is_replica = |item: &&str| {
            let pair = item.split_once(':');
            item.is_empty() || pair.is_some_and(|(a, b)| is_number(a) && is_number(b))
        };
        if !items.iter().all(is_replica) && items.concat() != "*" {
            return Err(Refusal::Form {
                value: format!("[{}]", items.join(", ")),
                form: "must be the literal '*' or a list of replicas in the following format: [partitionId]:[brokerId],[partitionId]:[brokerId],...",
            });
        }
        Ok(Self(items.into_iter().map(str::to_owned).collect()))
    }
    fn show(&self) -> Option<String> {
        Some(self.0.join(","))
    }
}

/// `cleanup.policy`. Neither: records stay for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CleanupPolicy {
    pub compact: bool,
    pub delete: bool,
}

impl OptionValue for CleanupPolicy {
    const TYPE: ConfigType = ConfigType::List;
    fn parse(text: &str) -> Result<Self, Refusal> {
        let mut policy = CleanupPolicy::default();
        for item in items(text) {
            match item {
                "" => return Err(Refusal::Of(NOT_EMPTY)),
                "compact" => policy.compact = true,
                "delete" => policy.delete = true,
                _ => {
                    return Err(Refusal::Value {
                        value: item.to_owned(),
                        reason: "String must be one of: compact, delete".to_owned(),
                    });
                }
            }
        }
        Ok(policy)
    }
    fn show(&self) -> Option<String> {
        let parts = [(self.compact, "compact"), (self.delete, "delete")];
        let set: Vec<&str> = parts
            .iter()
            .filter(|(on, _)| *on)
            .map(|(_, n)| *n)
            .collect();
        Some(set.join(","))
    }
}

macro_rules! choice {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $text:literal),* $(,)? } $all:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $($variant,)*
        }

        impl OptionValue for $name {
            const TYPE: ConfigType = ConfigType::String;
            fn parse(text: &str) -> Result<Self, Refusal> {
                match trim(text) {
                    $($text => Ok($name::$variant),)*
                    other => Err(Refusal::Value {
                        value: other.to_owned(),
                        reason: concat!("String must be one of: ", $all).to_owned(),
                    }),
                }
            }
            fn show(&self) -> Option<String> {
                Some(match self { $($name::$variant => $text,)* }.to_owned())
            }
        }
    };
}

choice! {
    /// `message.timestamp.type`.
    TimestampType { CreateTime = "CreateTime", LogAppendTime = "LogAppendTime" }
    "CreateTime, LogAppendTime"
}
choice! {
    /// `compression.type`.
    CompressionType {
        Uncompressed = "uncompressed",
        Zstd = "zstd",
        Lz4 = "lz4",
        Snappy = "snappy",
        Gzip = "gzip",
        Producer = "producer",
    }
    "uncompressed, zstd, lz4, snappy, gzip, producer"
}
choice! {
    /// `log.format`.
    LogFormat { Text = "text", Json = "json" }
    "text, json"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_turned_into_the_options_own() {
        let table = [
            ("1GiB", Unit::Bytes, "1073741824"),
            ("1.5 KiB", Unit::Bytes, "1536"),
            ("10mb", Unit::Bytes, "10000000"),
            ("7d", Unit::Ms, "604800000"),
            ("7d", Unit::Hours, "168"),
            ("90s", Unit::Ms, "90000"),
            ("-1", Unit::Ms, "-1"),
            ("-1.5s", Unit::Ms, "-1500"),
            ("9007199254740993B", Unit::Bytes, "9007199254740993"),
            ("1.2.3s", Unit::Ms, "1.2.3s"),
            ("12", Unit::Bytes, "12"),
            ("many", Unit::Ms, "many"),
            ("5 apples", Unit::Ms, "5 apples"),
        ];
        for (text, unit, plain) in table {
            assert_eq!(without_unit(text, unit).unwrap(), plain, "{text}");
        }
        assert!(without_unit("90m", Unit::Hours).is_err());
    }

    #[test]
    fn numbers_are_written_as_java_writes_them() {
        let table = [
            (0.5, "0.5"),
            (1.0, "1.0"),
            (-0.0, "-0.0"),
            (1e-3, "0.001"),
            (1e-5, "1.0E-5"),
            (1.5e7, "1.5E7"),
            (f64::MAX, "1.7976931348623157E308"),
            (f64::NEG_INFINITY, "-Infinity"),
        ];
        for (number, text) in table {
            assert_eq!(number.show().unwrap(), text);
            assert_eq!(f64::parse(text).unwrap(), number);
        }
        for bad in ["", "inf", "0x1", "1dd", "--Infinity"] {
            assert!(f64::parse(bad).is_err(), "{bad}");
        }
    }
}
