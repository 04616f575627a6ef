//! Topic options: what a topic sets for itself, over what its brokers have for all.

use super::BrokerConfig;
use super::options::{InvalidConfig, OptionSpec};
use super::overrides::ConfigOverrides;
use super::topic_options::{TOPIC_OPTIONS, TopicConfig};
use super::value::Unit;

pub fn spec(name: &str) -> Option<&'static OptionSpec> {
    TOPIC_OPTIONS.iter().find(|spec| spec.name == name)
}

/// Whether everything that a topic sets is known and valid, each by itself and together. In Kafka's order: a name
/// that nobody knows before a value.
pub fn validate(overrides: &ConfigOverrides) -> Result<(), InvalidConfig> {
    if let Some(unknown) = overrides.keys().find(|name| spec(name).is_none()) {
        return Err(InvalidConfig::UnknownTopicOption(unknown.to_string()));
    }
    let mut config = TopicConfig::default();
    for (name, value) in overrides {
        if let Some(set) = config.set(name, value) {
            set?;
        }
    }
    together(&config)
}

/// What Kafka's `LogConfig` checks of options that bound each other.
fn together(config: &TopicConfig) -> Result<(), InvalidConfig> {
    if config.min_compaction_lag_ms > config.max_compaction_lag_ms {
        return Err(InvalidConfig::Other(format!(
            "conflict topic config setting min.compaction.lag.ms ({}) > max.compaction.lag.ms ({})",
            config.min_compaction_lag_ms, config.max_compaction_lag_ms
        )));
    }
    if config.remote_storage_enable {
        return Err(InvalidConfig::Other(
            "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage."
                .to_owned(),
        ));
    }
    Ok(())
}

/// The options of a topic as they apply: its own, else the broker's, else the default.
pub fn resolve(broker: &BrokerConfig, overrides: &ConfigOverrides) -> TopicConfig {
    let mut config = TopicConfig::default();
    for spec in TOPIC_OPTIONS {
        if let Some((_, value)) = broker_default(broker, spec) {
            // What the broker's own table took may lie outside a topic's range: then the default stays.
            let _ = config.set(spec.name, &value);
        }
    }
    for (name, value) in overrides {
        // Checked when it was set; what an older version let through is left at its default.
        let _ = config.set(name, value);
    }
    config
}

/// The broker option that gives a topic option its default, and the value in the topic option's unit.
pub(super) fn broker_default(
    broker: &BrokerConfig,
    spec: &OptionSpec,
) -> Option<(&'static str, String)> {
    spec.synonyms.iter().find_map(|name| {
        let value = broker.get(name)?;
        let from = super::broker::spec(name).map_or(Unit::None, |spec| spec.unit);
        let value = in_unit(&value, from, spec.unit);
        // To a broker every negative retention is «for ever».
        let is_endless = spec.name == "retention.ms" && value.starts_with('-');
        Some((*name, if is_endless { "-1".to_owned() } else { value }))
    })
}

fn in_unit(value: &str, from: Unit, to: Unit) -> String {
    let factor = match (from, to) {
        (Unit::Minutes, Unit::Ms) => 60_000,
        (Unit::Hours, Unit::Ms) => 3_600_000,
        _ => return value.to_owned(),
    };
    match value.parse::<i64>() {
        Ok(number) => number.saturating_mul(factor).to_string(),
        Err(_) => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overrides(pairs: &[(&str, &str)]) -> ConfigOverrides {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn refusal(name: &str, value: &str) -> String {
        match validate(&overrides(&[(name, value)])) {
            Ok(()) => "taken".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn refusals_are_in_kafkas_words() {
        let table = [
            (
                "retention.ms",
                "-2",
                "Invalid value -2 for configuration retention.ms: Value must be at least -1",
            ),
            (
                "retention.ms",
                "soon",
                "Invalid value soon for configuration retention.ms: Not a number of type LONG",
            ),
            (
                "segment.bytes",
                "13",
                "Invalid value 13 for configuration segment.bytes: Value must be at least 1048576",
            ),
            (
                "cleanup.policy",
                "shred",
                "Invalid value shred for configuration cleanup.policy: String must be one of: compact, delete",
            ),
            (
                "compression.type",
                "zip",
                "Invalid value zip for configuration compression.type: String must be one of: uncompressed, zstd, lz4, snappy, gzip, producer",
            ),
            (
                "preallocate",
                "yes",
                "Invalid value yes for configuration preallocate: Expected value to be either true or false",
            ),
            (
                "min.cleanable.dirty.ratio",
                "1.5",
                "Invalid value 1.5 for configuration min.cleanable.dirty.ratio: Value must be no more than 1",
            ),
            (
                "retention.ms",
                "7d",
                "Invalid value 7d for configuration retention.ms: Not a number of type LONG",
            ),
            (
                "compression.gzip.level",
                "0",
                "Invalid value 0 for configuration compression.gzip.level: Value must be between 1 and 9 or equal to -1",
            ),
            ("compression.gzip.level", "-1", "taken"),
            (
                "no.such.thing",
                "1",
                "Unknown topic config name: no.such.thing",
            ),
            ("leader.replication.throttled.replicas", "0:1,2:3", "taken"),
            ("leader.replication.throttled.replicas", "*", "taken"),
        ];
        for (name, value, expected) in table {
            assert_eq!(refusal(name, value), expected);
        }
        let unknown_first = overrides(&[("cleanup.policy", "shred"), ("no.such.thing", "1")]);
        assert_eq!(
            validate(&unknown_first).unwrap_err().to_string(),
            "Unknown topic config name: no.such.thing"
        );
        let both = overrides(&[
            ("min.compaction.lag.ms", "10"),
            ("max.compaction.lag.ms", "5"),
        ]);
        assert!(validate(&both).is_err());
    }

    #[test]
    fn a_topic_option_comes_from_the_first_synonym_that_is_set() {
        let resolved = |broker: &[(&str, &str)], topic: &[(&str, &str)]| {
            let mut config = BrokerConfig::default();
            for (name, value) in broker {
                config
                    .set_static(name, value, super::super::Origin::File)
                    .unwrap();
            }
            resolve(&config, &overrides(topic))
        };
        assert_eq!(resolved(&[], &[]), TopicConfig::default());
        assert_eq!(
            resolved(&[("log.retention.hours", "1")], &[]).retention_ms,
            3_600_000
        );
        let both = [("log.retention.hours", "1"), ("log.retention.minutes", "2")];
        assert_eq!(resolved(&both, &[]).retention_ms, 120_000);
        assert_eq!(resolved(&both, &[("retention.ms", "5")]).retention_ms, 5);
        for (name, value) in [("log.retention.hours", "-1"), ("log.retention.ms", "-2")] {
            assert_eq!(resolved(&[(name, value)], &[]).retention_ms, -1, "{name}");
        }
        assert!(!resolved(&[("log.durable.acks", "false")], &[]).durable_acks);
        assert_eq!(
            resolved(&[("message.max.bytes", "7")], &[]).max_message_bytes,
            7
        );
    }
}
