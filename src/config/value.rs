//! The types that options have, how they are read from text (with units), and how they are written back.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// How Kafka's DescribeConfigs names types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i8)]
pub enum ConfigType {
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

/// Rewrites `7d` or `1GiB` as the plain number of the option's own unit. Text without a known unit behind a
/// number is left as it is, for the type to judge.
pub(super) fn without_unit(text: &str, unit: Unit) -> Result<String, String> {
    let trimmed = text.trim();
    let split = trimmed.find(|c: char| !c.is_ascii_digit() && c != '-' && c != '.');
    let Some((number, suffix)) = split.map(|at| trimmed.split_at(at)) else {
        return Ok(text.to_owned());
    };
    let factor = match unit {
        Unit::None => return Ok(text.to_owned()),
        Unit::Bytes => bytes_in(suffix.trim()),
        _ => ms_in(suffix.trim()),
    };
    let (Some(factor), Ok(number)) = (factor, number.parse::<f64>()) else {
        return Ok(text.to_owned());
    };
    let exact = number * factor as f64 / unit.ms().unwrap_or(1) as f64;
    if exact.fract() != 0.0 {
        return Err(format!("Not a whole number of {}", unit.name()));
    }
    Ok(format!("{exact:.0}"))
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

/// A type that an option's value can have. Errors are Kafka's words behind «Invalid value … for …: ».
pub(super) trait OptionValue: Sized {
    const TYPE: ConfigType;
    fn parse(text: &str) -> Result<Self, String>;
    fn show(&self) -> Option<String>;
    /// For range checks.
    fn number(&self) -> Option<f64> {
        None
    }
}

macro_rules! number {
    ($rust:ty, $kind:ident) => {
        impl OptionValue for $rust {
            const TYPE: ConfigType = ConfigType::$kind;
            fn parse(text: &str) -> Result<Self, String> {
                text.trim()
                    .parse()
                    .map_err(|_| format!("Not a number of type {}", Self::TYPE.name()))
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
number!(f64, Double);

impl OptionValue for bool {
    const TYPE: ConfigType = ConfigType::Boolean;
    fn parse(text: &str) -> Result<Self, String> {
        match text.trim().to_ascii_lowercase().as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err("Expected value to be either true or false".to_owned()),
        }
    }
    fn show(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl OptionValue for String {
    const TYPE: ConfigType = ConfigType::String;
    fn parse(text: &str) -> Result<Self, String> {
        Ok(text.trim().to_owned())
    }
    fn show(&self) -> Option<String> {
        Some(self.clone())
    }
}

/// Empty text is no value.
impl<T: OptionValue> OptionValue for Option<T> {
    const TYPE: ConfigType = T::TYPE;
    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(None);
        }
        T::parse(text).map(Some)
    }
    fn show(&self) -> Option<String> {
        self.as_ref().and_then(T::show)
    }
    fn number(&self) -> Option<f64> {
        self.as_ref().and_then(T::number)
    }
}

pub(super) fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
}

impl OptionValue for Vec<String> {
    const TYPE: ConfigType = ConfigType::List;
    fn parse(text: &str) -> Result<Self, String> {
        Ok(list(text).map(str::to_owned).collect())
    }
    fn show(&self) -> Option<String> {
        Some(self.join(","))
    }
}

impl OptionValue for Vec<PathBuf> {
    const TYPE: ConfigType = ConfigType::List;
    fn parse(text: &str) -> Result<Self, String> {
        Ok(list(text).map(PathBuf::from).collect())
    }
    fn show(&self) -> Option<String> {
        let paths: Vec<String> = self.iter().map(|p| p.display().to_string()).collect();
        Some(paths.join(","))
    }
}

/// `name:number,…`.
impl OptionValue for BTreeMap<String, i32> {
    const TYPE: ConfigType = ConfigType::String;
    fn parse(text: &str) -> Result<Self, String> {
        list(text)
            .map(|pair| {
                let (name, number) = pair
                    .rsplit_once(':')
                    .ok_or("Expected hostName:number pairs")?;
                let number = number
                    .trim()
                    .parse()
                    .map_err(|_| "Expected hostName:number pairs")?;
                Ok((name.trim().to_owned(), number))
            })
            .collect()
    }
    fn show(&self) -> Option<String> {
        let pairs: Vec<String> = self.iter().map(|(k, v)| format!("{k}:{v}")).collect();
        Some(pairs.join(","))
    }
}

/// An address that clients or this broker use: `PLAINTEXT://host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// In capitals, as Kafka folds it.
    pub name: String,
    /// Empty: every address of the machine.
    pub host: String,
    pub port: u16,
}

impl std::fmt::Display for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Listener { name, host, port } = self;
        if host.contains(':') {
            write!(f, "{name}://[{host}]:{port}")
        } else {
            write!(f, "{name}://{host}:{port}")
        }
    }
}

impl OptionValue for Vec<Listener> {
    const TYPE: ConfigType = ConfigType::List;
    fn parse(text: &str) -> Result<Self, String> {
        let mut listeners: Vec<Listener> = Vec::new();
        for item in list(text) {
            let malformed = || format!("{item} is not of the form NAME://host:port");
            let (name, address) = item.split_once("://").ok_or_else(malformed)?;
            let (host, port) = address.rsplit_once(':').ok_or_else(malformed)?;
            let host = host.trim_start_matches('[').trim_end_matches(']');
            let listener = Listener {
                name: name.to_ascii_uppercase(),
                host: host.to_owned(),
                port: port.parse().map_err(|_| malformed())?,
            };
            if listeners.iter().any(|known| known.name == listener.name) {
                return Err(format!("the listener name {} comes twice", listener.name));
            }
            listeners.push(listener);
        }
        Ok(listeners)
    }
    fn show(&self) -> Option<String> {
        let all: Vec<String> = self.iter().map(Listener::to_string).collect();
        Some(all.join(","))
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
    fn parse(text: &str) -> Result<Self, String> {
        let mut policy = CleanupPolicy::default();
        for item in list(text) {
            match item {
                "compact" => policy.compact = true,
                "delete" => policy.delete = true,
                _ => return Err("String must be one of: compact, delete".to_owned()),
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
            fn parse(text: &str) -> Result<Self, String> {
                match text.trim() {
                    $($text => Ok($name::$variant),)*
                    _ => Err(concat!("String must be one of: ", $all).to_owned()),
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
    fn listeners_are_written_as_they_are_read() {
        let text = "PLAINTEXT://localhost:9092,INSIDE://[::1]:0,ANY://:9093";
        let listeners = Vec::<Listener>::parse(text).unwrap();
        assert_eq!(listeners.show().unwrap(), text);
        assert_eq!(listeners[1].host, "::1");
        for bad in [
            "localhost:9092",
            "A://b",
            "A://b:x",
            "A://b:1,a://c:2",
            "A://b:70000",
        ] {
            assert!(Vec::<Listener>::parse(bad).is_err(), "{bad}");
        }
    }
}
