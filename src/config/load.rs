//! Reads the options: a TOML file, then `key=value` words. Every error is one line that names the key.

use std::path::{Path, PathBuf};

use super::broker_options::BROKER_OPTIONS;
use super::options::InvalidConfig;
use super::{BrokerConfig, Origin, SecurityProtocol};

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{}: {error}", .path.display())]
    Read {
        path: PathBuf,
        error: std::io::Error,
    },
    #[error("{}: {error}", .path.display())]
    Toml { path: PathBuf, error: String },
    #[error("{key}: {reason}")]
    Option { key: String, reason: String },
    #[error("--set {0}: expected key=value")]
    NotAPair(String),
}

/// The options of a file, if there is one, and of the command line.
pub fn load(file: Option<&Path>, set: &[String]) -> Result<BrokerConfig, ConfigError> {
    let mut config = BrokerConfig::default();
    if let Some(path) = file {
        let text = std::fs::read_to_string(path).map_err(|error| ConfigError::Read {
            path: path.to_owned(),
            error,
        })?;
        let table: toml::Table =
            text.parse()
                .map_err(|error: toml::de::Error| ConfigError::Toml {
                    path: path.to_owned(),
                    error: toml_error(&text, &error),
                })?;
        let mut pairs = Vec::new();
        flatten("", &table, &mut pairs)?;
        for (key, value) in pairs {
            apply(&mut config, &key, &value, Origin::File)?;
        }
    }
    for pair in set {
        let (key, value) = pair
            .split_once('=')
            .ok_or_else(|| ConfigError::NotAPair(pair.clone()))?;
        apply(&mut config, key.trim(), value, Origin::CommandLine)?;
    }
    check_together(&config)?;
    Ok(config)
}

/// The line, what is wrong with it, and what TOML cannot know: that a name is also the beginning of another.
fn toml_error(text: &str, error: &toml::de::Error) -> String {
    let at = error.span().map_or(0, |span| span.start);
    let before = text.get(..at).unwrap_or(text);
    let index = before.matches('\n').count();
    let key = text.lines().nth(index).unwrap_or("");
    let key = key.split('=').next().unwrap_or("").trim();
    let begins = |name: &str, other: &str| {
        let rest = other.strip_prefix(name);
        rest.is_some_and(|rest| rest.starts_with('.'))
    };
    let is_both = |name: &str| BROKER_OPTIONS.iter().any(|spec| begins(name, spec.name));
    let mut names = BROKER_OPTIONS.iter().map(|spec| spec.name);
    let hint = names
        .find(|name| is_both(name) && (*name == key || begins(name, key)))
        .map_or(String::new(), |name| {
            format!(" (other options begin with {name}: write \"{name}\", in quotes)")
        });
    format!("line {}: {}{hint}", index + 1, error.message())
}

/// `log.dirs = …` makes tables of a dotted key: back to one key.
fn flatten(
    prefix: &str,
    table: &toml::Table,
    pairs: &mut Vec<(String, String)>,
) -> Result<(), ConfigError> {
    for (name, value) in table {
        let key = if prefix.is_empty() {
            name.clone()
        } else {
            format!("{prefix}.{name}")
        };
        match value {
            toml::Value::Table(inner) => flatten(&key, inner, pairs)?,
            toml::Value::Array(items) => {
                let items = items
                    .iter()
                    .map(|item| scalar(&key, item))
                    .collect::<Result<Vec<_>, _>>()?;
                pairs.push((key, items.join(",")));
            }
            value => pairs.push((key.clone(), scalar(&key, value)?)),
        }
    }
    Ok(())
}

fn scalar(key: &str, value: &toml::Value) -> Result<String, ConfigError> {
    match value {
        toml::Value::String(text) => Ok(text.clone()),
        toml::Value::Integer(number) => Ok(number.to_string()),
        toml::Value::Float(number) => Ok(number.to_string()),
        toml::Value::Boolean(yes) => Ok(yes.to_string()),
        other => Err(ConfigError::Option {
            key: key.to_owned(),
            reason: format!("a {} is no value of an option", other.type_str()),
        }),
    }
}

fn apply(
    config: &mut BrokerConfig,
    key: &str,
    value: &str,
    origin: Origin,
) -> Result<(), ConfigError> {
    let refused = |reason: String| ConfigError::Option {
        key: key.to_owned(),
        reason,
    };
    if super::broker::spec(key).is_none() && key != "log.dir" {
        return Err(refused(unknown(key)));
    }
    config
        .set_static(key, value, origin)
        .map_err(|error| match error {
            InvalidConfig::Value { reason, .. } => {
                refused(format!("invalid value {value:?}: {reason}"))
            }
            other => refused(other.to_string()),
        })
}

fn unknown(key: &str) -> String {
    if super::broker::kafka_only(key).is_some() || key.starts_with("listener.name.") {
        return "an option of Apache Kafka that dohle does not have".to_owned();
    }
    let nearest = BROKER_OPTIONS
        .iter()
        .map(|spec| (distance(spec.name, key), spec.name))
        .min();
    match nearest {
        Some((distance, name)) if distance <= key.len().div_ceil(2) => {
            format!("unknown option (did you mean {name}?)")
        }
        _ => "unknown option (dohle config lists them)".to_owned(),
    }
}

/// Levenshtein's.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut before = i;
        let mut left = i + 1;
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (to, cell) in b.iter().zip(row.iter_mut().skip(1)) {
            let replaced = before + usize::from(from != *to);
            before = *cell;
            *cell = replaced.min(before + 1).min(left + 1);
            left = *cell;
        }
    }
    row.last().copied().unwrap_or(0)
}

/// What no single option can tell.
fn check_together(config: &BrokerConfig) -> Result<(), ConfigError> {
    let refused = |key: &str, reason: String| {
        Err(ConfigError::Option {
            key: key.to_owned(),
            reason,
        })
    };
    for listener in &config.listeners {
        let name = &listener.name;
        match config.listener_security_protocol_map.get(name) {
            Some(SecurityProtocol::Plaintext) => {}
            Some(other) => {
                let told = format!("{} is not served yet, only PLAINTEXT", other.name());
                return refused("listeners", told);
            }
            None => {
                let told = format!("{name} is not named in listener.security.protocol.map");
                return refused("listeners", told);
            }
        }
        let is_twin = |other: &&super::Listener| {
            other.name != *name && other.host == listener.host && other.port == listener.port
        };
        if listener.port != 0 && config.listeners.iter().any(|other| is_twin(&other)) {
            let told = format!("{}:{} is named twice", listener.host, listener.port);
            return refused("listeners", told);
        }
    }
    for advertised in &config.advertised_listeners {
        if config.listeners.iter().all(|l| l.name != advertised.name) {
            let told = format!("{} is not among listeners", advertised.name);
            return refused("advertised.listeners", told);
        }
        if ["0.0.0.0", "::"].contains(&advertised.host.as_str()) {
            let told = format!("{} is no address that a client reaches", advertised.host);
            return refused("advertised.listeners", told);
        }
    }
    if config.group_min_session_timeout_ms > config.group_max_session_timeout_ms {
        let max = config.group_max_session_timeout_ms;
        let told = format!("more than group.max.session.timeout.ms ({max})");
        return refused("group.min.session.timeout.ms", told);
    }
    if let Err(error) = crate::logging::LogLevels::detached(&config.log_level) {
        return refused("log.level", error.to_string());
    }
    super::broker::together(config).map_err(|error| {
        // Every one of them begins with the option it is about.
        let told = error.to_string();
        let told = told.trim_start_matches("requirement failed: ");
        let told = told.trim_start_matches("conflict topic config setting ");
        let (key, reason) = told.split_once(' ').unwrap_or((told, ""));
        ConfigError::Option {
            key: key.to_owned(),
            reason: reason.to_owned(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load_text(text: &str, set: &[&str]) -> Result<BrokerConfig, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("d.toml");
        std::fs::write(&path, text).unwrap();
        let set: Vec<String> = set.iter().map(|s| (*s).to_owned()).collect();
        load(Some(&path), &set).map_err(|error| error.to_string())
    }

    #[test]
    fn keys_may_be_quoted_nested_or_dotted() {
        for text in [
            "\"log.segment.bytes\" = \"2MiB\"",
            "log.segment.bytes = 2097152",
            "[log]\nsegment.bytes = \"2MiB\"",
            "[log.segment]\nbytes = \"2 MiB\"",
        ] {
            assert_eq!(
                load_text(text, &[]).unwrap().log_segment_bytes,
                2 << 20,
                "{text}"
            );
        }
        let dirs = load_text("log.dirs = [\"/a\", \"/b\"]", &[])
            .unwrap()
            .log_dirs
            .clone();
        assert_eq!(dirs, [PathBuf::from("/a"), PathBuf::from("/b")]);
        let config = load_text("num.partitions = 3", &["num.partitions=4"]).unwrap();
        assert_eq!(config.num_partitions, 4);
        assert_eq!(config.origin("num.partitions"), Some(Origin::CommandLine));
    }

    #[test]
    fn every_error_is_one_line_that_names_the_key() {
        let table = [
            (
                "num.partition = 3",
                "num.partition: unknown option (did you mean num.partitions?)",
            ),
            (
                "zookeeper.connect = \"x\"",
                "zookeeper.connect: unknown option (dohle config lists them)",
            ),
            (
                "ssl.keystore.location = \"x\"",
                "ssl.keystore.location: an option of Apache Kafka that dohle does not have",
            ),
            (
                "num.partitions = 0",
                "num.partitions: invalid value \"0\": Value must be at least 1",
            ),
            (
                "log.segment.bytes = \"1KiB\"",
                "log.segment.bytes: invalid value \"1KiB\": Value must be at least 1048576",
            ),
            (
                "num.partitions = \"x\"",
                "num.partitions: invalid value \"x\": Not a number of type INT",
            ),
            (
                "listeners = \"SSL://:1\"",
                "listeners: SSL is not served yet, only PLAINTEXT",
            ),
            (
                "listeners = \"INSIDE://a:1\"",
                "listeners: INSIDE is not named in listener.security.protocol.map",
            ),
            (
                "listeners = \"A://h:1,B://h:1\"\nlistener.security.protocol.map = \"A:PLAINTEXT,B:PLAINTEXT\"",
                "listeners: h:1 is named twice",
            ),
            (
                "advertised.listeners = \"PLAINTEXT://0.0.0.0:1\"",
                "advertised.listeners: 0.0.0.0 is no address that a client reaches",
            ),
            (
                "group.min.session.timeout.ms = \"2h\"",
                "group.min.session.timeout.ms: more than group.max.session.timeout.ms (1800000)",
            ),
            (
                "log.level = \"loud\"",
                "log.level: 'loud' is neither a level (trace, debug, info, warn, error) nor target=level",
            ),
            (
                "log.retention.hours = 0",
                "log.retention.ms: must be unlimited (-1) or, greater than or equal to 1",
            ),
            (
                "log.roll.hours = \"90m\"",
                "log.roll.hours: invalid value \"90m\": Not a whole number of hours",
            ),
            (
                "listener.name.a.ssl.keystore.location = \"x\"",
                "listener.name.a.ssl.keystore.location: an option of Apache Kafka that dohle does not have",
            ),
            (
                "advertised.listeners = \"B://a:1\"",
                "advertised.listeners: B is not among listeners",
            ),
            (
                "num.partitions = 1979-05-27",
                "num.partitions: a datetime is no value of an option",
            ),
        ];
        for (text, expected) in table {
            assert_eq!(load_text(text, &[]).unwrap_err(), expected);
        }
        let both = "num.partitions = 1\nmax.connections = 5\nmax.connections.per.ip = 3";
        let error = load_text(both, &[]).unwrap_err();
        let told = "line 3: cannot extend value of type integer with a dotted key (other options begin with max.connections: write \"max.connections\", in quotes)";
        assert!(error.ends_with(told), "{error}");
        let turned = "max.connections.per.ip = 3\nmax.connections = 5";
        let error = load_text(turned, &[]).unwrap_err();
        assert!(
            error.contains("line 2: ") && error.contains("write \"max.conn"),
            "{error}"
        );
        let quoted = "\"max.connections\" = 5\nmax.connections.per.ip = 3";
        assert_eq!(load_text(quoted, &[]).unwrap().max_connections, 5);
        let error = load_text("a = ", &[]).unwrap_err();
        assert!(error.contains("line 1") && !error.contains('\n'), "{error}");
        assert_eq!(
            load_text("", &["x"]).unwrap_err(),
            "--set x: expected key=value"
        );
    }
}
