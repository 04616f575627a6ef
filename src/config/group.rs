//! Group options: what a group sets for itself. The bounds between which it may are Kafka's defaults.

use std::collections::BTreeSet;

use super::describe::{ConfigEntry, ConfigSource, ConfigSynonym};
use super::group_options::{GROUP_OPTIONS, GroupConfig};
use super::options::{InvalidConfig, OptionSpec};
use super::overrides::ConfigOverrides;

/// Lowest and highest value of an option, as a broker allows them to groups.
const BOUNDS: [(&str, i64, i64); 15] = [
    ("consumer.assignment.interval.ms", 0, 15_000),
    ("consumer.heartbeat.interval.ms", 5_000, 15_000),
    ("consumer.session.timeout.ms", 45_000, 60_000),
    ("share.assignment.interval.ms", 0, 15_000),
    ("share.delivery.count.limit", 2, 10),
    ("share.heartbeat.interval.ms", 5_000, 15_000),
    ("share.partition.max.record.locks", 100, 4_000),
    ("share.record.lock.duration.ms", 15_000, 60_000),
    ("share.session.timeout.ms", 45_000, 60_000),
    ("streams.assignment.interval.ms", 0, 15_000),
    ("streams.heartbeat.interval.ms", 5_000, 15_000),
    ("streams.session.timeout.ms", 45_000, 60_000),
    ("streams.num.standby.replicas", 0, 2),
    ("streams.num.warmup.replicas", 0, 20),
    ("streams.task.offset.interval.ms", 15_000, i64::MAX),
];
const STREAMS_ASSIGNORS: [&str; 1] = ["sticky"];

pub fn spec(name: &str) -> Option<&'static OptionSpec> {
    GROUP_OPTIONS.iter().find(|spec| spec.name == name)
}

/// The options of a group as they apply.
pub fn resolve(overrides: &ConfigOverrides) -> GroupConfig {
    let mut config = GroupConfig::default();
    for (name, value) in overrides {
        // Checked when it was set.
        let _ = config.set(name, value);
    }
    config
}

/// Whether everything that a group sets is known and valid, each by itself and together.
pub fn validate(overrides: &ConfigOverrides) -> Result<(), InvalidConfig> {
    let other = |why: String| Err(InvalidConfig::Other(why));
    let mut config = GroupConfig::default();
    if let Some(unknown) = overrides.keys().find(|name| spec(name).is_none()) {
        return other(format!("Unknown group config name: {unknown}"));
    }
    let tags = overrides.get("streams.rack.aware.assignment.tags");
    let tags = tags.map_or_else(Vec::new, |text| super::value::items(text));
    if tags.iter().collect::<BTreeSet<_>>().len() != tags.len() {
        return other(
            "streams.rack.aware.assignment.tags must not contain duplicate tag keys.".to_owned(),
        );
    }
    for (name, value) in overrides {
        if let Some(set) = config.set(name, value) {
            set?;
        }
    }
    words(&config)?;
    for (name, min, max) in BOUNDS {
        let Some(value) = overrides.get(name).and_then(|_| config.get(name)) else {
            continue;
        };
        if value
            .parse()
            .is_ok_and(|value: i64| (min..=max).contains(&value))
        {
            continue;
        }
        return other(match name {
            "streams.num.standby.replicas" | "streams.num.warmup.replicas" => {
                format!("{name} must be less than or equal to {max}")
            }
            "streams.task.offset.interval.ms" => {
                format!("{name} must be greater than or equal to {min}")
            }
            _ => format!("{name} must be in the range {min} to {max} inclusive."),
        });
    }
    for (kind, session, heartbeat) in [
        (
            "consumer",
            config.consumer_session_timeout_ms,
            config.consumer_heartbeat_interval_ms,
        ),
        (
            "share",
            config.share_session_timeout_ms,
            config.share_heartbeat_interval_ms,
        ),
        (
            "streams",
            config.streams_session_timeout_ms,
            config.streams_heartbeat_interval_ms,
        ),
    ] {
        if session <= heartbeat {
            return other(format!(
                "{kind}.session.timeout.ms must be greater than {kind}.heartbeat.interval.ms"
            ));
        }
    }
    Ok(())
}

/// Every option of a group that has set `overrides`, as DescribeConfigs shows it.
pub fn describe(overrides: &ConfigOverrides) -> Vec<ConfigEntry> {
    let resolved = resolve(overrides);
    let shown = GROUP_OPTIONS
        .iter()
        .filter(|spec| !spec.is_internal() || overrides.contains_key(spec.name));
    let entries = shown.map(|spec| {
        let own = overrides.get(spec.name).map(|value| ConfigSynonym {
            name: spec.name.to_owned(),
            value: resolved.get(spec.name).or_else(|| Some(value.to_string())),
            source: ConfigSource::Group,
        });
        // The broker options of that name are Kafka's: here nothing can set them.
        let default = ConfigSynonym {
            name: spec.synonyms.first().unwrap_or(&spec.name).to_string(),
            value: Some(spec.default.to_owned()),
            source: ConfigSource::Default,
        };
        let synonyms: Vec<ConfigSynonym> = own.into_iter().chain([default]).collect();
        ConfigEntry {
            name: spec.name.to_owned(),
            value: resolved.get(spec.name),
            source: synonyms
                .first()
                .map_or(ConfigSource::Default, |synonym| synonym.source),
            is_sensitive: false,
            read_only: false,
            config_type: spec.config_type,
            documentation: spec.doc,
            synonyms,
        }
    });
    entries.collect()
}

/// Options whose values are words.
fn words(config: &GroupConfig) -> Result<(), InvalidConfig> {
    let isolation = config.share_isolation_level.as_str();
    if !matches!(isolation, "read_committed" | "read_uncommitted") {
        return Err(InvalidConfig::value(
            "share.isolation.level",
            isolation,
            "String must be one of: read_committed, read_uncommitted",
        ));
    }
    let reset = config.share_auto_offset_reset.as_str();
    let is_known = matches!(reset, "earliest" | "latest")
        || reset.strip_prefix("by_duration:").is_some_and(is_duration);
    if !is_known {
        return Err(InvalidConfig::value(
            "share.auto.offset.reset",
            reset,
            format!(
                "Invalid value `{reset}` for configuration share.auto.offset.reset. The value must be either 'earliest', 'latest' or of the format 'by_duration:<PnDTnHnMn.nS>'."
            ),
        ));
    }
    if let Some(assignor) = &config.streams_assignor_name
        && !STREAMS_ASSIGNORS.contains(&assignor.as_str())
    {
        return Err(InvalidConfig::Other(format!(
            "streams.assignor.name '{assignor}' is not a registered task assignor. Registered assignors are: [{}].",
            STREAMS_ASSIGNORS.join(", ")
        )));
    }
    if config.errors_deadletterqueue_topic_name.starts_with("__") {
        return Err(InvalidConfig::Other(
            "errors.deadletterqueue.topic.name: DLQ topic name must not start with '__'".to_owned(),
        ));
    }
    Ok(())
}

/// An ISO 8601 duration of days, hours, minutes and seconds, not negative.
fn is_duration(text: &str) -> bool {
    let text = text.to_ascii_uppercase();
    let Some(rest) = text.strip_prefix('P') else {
        return false;
    };
    let (days, time) = match rest.split_once('T') {
        Some((days, time)) => (days, Some(time)),
        None => (rest, None),
    };
    let takes = |text: &str, units: &str| -> Option<usize> {
        let mut units = units.chars();
        let mut count = 0;
        let mut rest = text;
        while !rest.is_empty() {
            let at = rest.find(|c: char| c.is_ascii_alphabetic())?;
            let (number, behind) = rest.split_at(at);
            let unit = behind.chars().next()?;
            number.parse::<f64>().ok().filter(|n| *n >= 0.0)?;
            units.find(|known| *known == unit)?;
            rest = behind.get(1..)?;
            count += 1;
        }
        Some(count)
    };
    let days = takes(days, "D");
    match (days, time.map(|time| takes(time, "HMS"))) {
        (Some(days), None) => days > 0,
        (Some(_), Some(Some(times))) => times > 0,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_in_kafkas_words() {
        let table = [
            ("consumer.session.timeout.ms", "50000", "taken"),
            ("share.auto.offset.reset", "earliest", "taken"),
            ("share.auto.offset.reset", "by_duration:P1DT2H3.5S", "taken"),
            (
                "share.auto.offset.reset",
                "by_duration:PT-1S",
                "share.auto.offset.reset",
            ),
            (
                "share.auto.offset.reset",
                "by_duration:PT",
                "share.auto.offset.reset",
            ),
            ("no.such", "1", "Unknown group config name: no.such"),
            (
                "consumer.session.timeout.ms",
                "1",
                "consumer.session.timeout.ms must be in the range 45000 to 60000 inclusive.",
            ),
            (
                "streams.num.standby.replicas",
                "3",
                "streams.num.standby.replicas must be less than or equal to 2",
            ),
            (
                "share.delivery.count.limit",
                "1",
                "Invalid value 1 for configuration share.delivery.count.limit: Value must be at least 2",
            ),
            (
                "share.isolation.level",
                "none",
                "String must be one of: read_committed, read_uncommitted",
            ),
            (
                "streams.rack.aware.assignment.tags",
                "a,b,a",
                "must not contain duplicate",
            ),
            (
                "streams.assignor.name",
                "none",
                "is not a registered task assignor",
            ),
            (
                "errors.deadletterqueue.topic.name",
                "__x",
                "must not start with '__'",
            ),
        ];
        for (name, value, expected) in table {
            let overrides = ConfigOverrides::from([(name.to_owned(), value.to_owned())]);
            let told = match validate(&overrides) {
                Ok(()) => "taken".to_owned(),
                Err(error) => error.to_string(),
            };
            assert!(told.contains(expected), "{name}={value}: {told}");
        }
        assert_eq!(resolve(&ConfigOverrides::new()), GroupConfig::default());
    }

    #[test]
    fn a_group_shows_what_it_set_over_the_default() {
        let overrides = [("share.delivery.count.limit".to_owned(), "7".to_owned())];
        let entries = describe(&overrides.into());
        let internal = GROUP_OPTIONS
            .iter()
            .filter(|spec| spec.is_internal())
            .count();
        assert_eq!(
            (entries.len() + internal, internal),
            (GROUP_OPTIONS.len(), 6)
        );
        let find = |name: &str| entries.iter().find(|entry| entry.name == name).unwrap();
        let set = find("share.delivery.count.limit");
        assert_eq!(
            (set.value.as_deref(), set.source),
            (Some("7"), ConfigSource::Group)
        );
        assert_eq!(set.synonyms[1].name, "group.share.delivery.count.limit");
        assert_eq!(set.synonyms[1].value.as_deref(), Some("5"));
        assert_eq!(
            find("share.session.timeout.ms").source,
            ConfigSource::Default
        );
    }
}
