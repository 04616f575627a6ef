//! Options as DescribeConfigs shows them: value, source, and every place a value could come from.

use std::collections::BTreeMap;

use super::broker_options::BROKER_OPTIONS;
use super::options::{OptionSpec, UpdateMode};
use super::topic_options::TOPIC_OPTIONS;
use super::value::ConfigType;
use super::{BrokerConfig, topic};

/// With Kafka's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i8)]
pub enum ConfigSource {
    Unknown = 0,
    DynamicTopic = 1,
    DynamicBroker = 2,
    DynamicDefaultBroker = 3,
    StaticBroker = 4,
    Default = 5,
    DynamicBrokerLogger = 6,
    ClientMetrics = 7,
    Group = 8,
}

impl ConfigSource {
    pub fn code(self) -> i8 {
        self as i8
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigSynonym {
    pub name: String,
    pub value: Option<String>,
    pub source: ConfigSource,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigEntry {
    pub name: String,
    pub value: Option<String>,
    pub source: ConfigSource,
    pub is_sensitive: bool,
    pub read_only: bool,
    pub config_type: ConfigType,
    pub documentation: &'static str,
    /// The first is what applies.
    pub synonyms: Vec<ConfigSynonym>,
}

/// Every option of a topic that has set `overrides`.
pub fn topic(broker: &BrokerConfig, overrides: &BTreeMap<String, String>) -> Vec<ConfigEntry> {
    let resolved = topic::resolve(broker, overrides);
    TOPIC_OPTIONS
        .iter()
        .filter(|spec| !spec.name.starts_with("internal."))
        .map(|spec| {
            let own = overrides.get(spec.name).map(|value| ConfigSynonym {
                name: spec.name.to_owned(),
                value: Some(value.clone()),
                source: ConfigSource::DynamicTopic,
            });
            let synonyms: Vec<ConfigSynonym> = own
                .into_iter()
                .chain(spec.synonyms.iter().flat_map(|name| places(broker, name)))
                .collect();
            entry(spec, resolved.get(spec.name), synonyms, false)
        })
        .collect()
}

/// Every option of this broker.
pub fn broker(config: &BrokerConfig) -> Vec<ConfigEntry> {
    BROKER_OPTIONS
        .iter()
        .map(|spec| {
            let read_only = spec.update == UpdateMode::ReadOnly;
            let synonyms = alternatives(spec.name)
                .iter()
                .flat_map(|name| places(config, name))
                .collect();
            entry(spec, config.get(spec.name), synonyms, read_only)
        })
        .collect()
}

/// What was set for every broker.
pub fn cluster_defaults(overrides: &BTreeMap<String, String>) -> Vec<ConfigEntry> {
    overrides
        .iter()
        .filter_map(|(name, value)| {
            let synonym = ConfigSynonym {
                name: name.clone(),
                value: Some(value.clone()),
                source: ConfigSource::DynamicDefaultBroker,
            };
            let spec = super::broker::spec(name)?;
            Some(entry(spec, Some(value.clone()), vec![synonym], false))
        })
        .collect()
}

fn entry(
    spec: &OptionSpec,
    value: Option<String>,
    synonyms: Vec<ConfigSynonym>,
    read_only: bool,
) -> ConfigEntry {
    // A list is shown in the order in which it was set.
    let as_set = synonyms
        .first()
        .and_then(|synonym| synonym.value.as_deref())
        .filter(|_| spec.config_type == ConfigType::List)
        .map(|text| super::value::list(text).collect::<Vec<_>>().join(","));
    ConfigEntry {
        name: spec.name.to_owned(),
        value: as_set.or(value),
        source: synonyms
            .first()
            .map_or(ConfigSource::Default, |synonym| synonym.source),
        is_sensitive: spec.config_type == ConfigType::Password,
        read_only,
        config_type: spec.config_type,
        documentation: spec.doc,
        synonyms,
    }
}

/// The names under which an option may be set, the strongest first.
fn alternatives(name: &str) -> Vec<&str> {
    let all: &[&str] = match name {
        "log.retention.ms" => &[
            "log.retention.ms",
            "log.retention.minutes",
            "log.retention.hours",
        ],
        "log.retention.minutes" => &["log.retention.minutes", "log.retention.hours"],
        "log.roll.ms" => &["log.roll.ms", "log.roll.hours"],
        "log.roll.jitter.ms" => &["log.roll.jitter.ms", "log.roll.jitter.hours"],
        _ => return vec![name],
    };
    all.to_vec()
}

/// Where a broker option has a value, the strongest first.
fn places(config: &BrokerConfig, name: &str) -> Vec<ConfigSynonym> {
    let at = |value: &str, source| ConfigSynonym {
        name: name.to_owned(),
        value: Some(value.to_owned()),
        source,
    };
    let dynamic = config
        .node
        .get(name)
        .map(|v| at(v, ConfigSource::DynamicBroker));
    let for_all = config
        .cluster
        .get(name)
        .map(|v| at(v, ConfigSource::DynamicDefaultBroker));
    let fixed = config
        .static_value(name)
        .map(|(_, value)| at(value, ConfigSource::StaticBroker));
    let default = super::broker::spec(name)
        .filter(|spec| !spec.default.is_empty())
        .map(|spec| at(spec.default, ConfigSource::Default));
    [dynamic, for_all, fixed, default]
        .into_iter()
        .flatten()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Origin;

    fn find(entries: Vec<ConfigEntry>, name: &str) -> ConfigEntry {
        entries
            .into_iter()
            .find(|entry| entry.name == name)
            .unwrap()
    }

    #[test]
    fn a_topic_option_tells_every_place_it_could_come_from() {
        let mut config = BrokerConfig::default();
        config
            .set_static("log.retention.minutes", "5", Origin::File)
            .unwrap();
        let overrides = BTreeMap::from([("retention.ms".to_owned(), "9".to_owned())]);
        let set = find(topic(&config, &overrides), "retention.ms");
        assert_eq!(set.value.as_deref(), Some("9"));
        assert_eq!(set.source, ConfigSource::DynamicTopic);
        let places: Vec<_> = set
            .synonyms
            .iter()
            .map(|s| (s.name.as_str(), s.value.as_deref().unwrap(), s.source))
            .collect();
        assert_eq!(
            places,
            [
                ("retention.ms", "9", ConfigSource::DynamicTopic),
                ("log.retention.minutes", "5", ConfigSource::StaticBroker),
                ("log.retention.hours", "168", ConfigSource::Default),
            ]
        );
        let unset = find(topic(&config, &BTreeMap::new()), "retention.ms");
        assert_eq!(unset.value.as_deref(), Some("300000"));
        assert_eq!(unset.source, ConfigSource::StaticBroker);
    }

    #[test]
    fn a_list_keeps_the_order_in_which_it_was_set() {
        let policy = |text: &str| {
            let overrides = BTreeMap::from([("cleanup.policy".to_owned(), text.to_owned())]);
            let entries = topic(&BrokerConfig::default(), &overrides);
            find(entries, "cleanup.policy").value.unwrap()
        };
        assert_eq!(policy("delete, compact"), "delete,compact");
        assert_eq!(policy("compact,delete"), "compact,delete");
    }

    #[test]
    fn a_broker_option_changed_while_running_says_so() {
        let cluster = BTreeMap::from([("message.max.bytes".to_owned(), "7".to_owned())]);
        let config = BrokerConfig::default().with_dynamic(&cluster, &BTreeMap::new());
        let entry = find(broker(&config), "message.max.bytes");
        assert_eq!(entry.source, ConfigSource::DynamicDefaultBroker);
        assert!(!entry.read_only);
        assert!(find(broker(&config), "node.id").read_only);
        assert_eq!(cluster_defaults(&cluster).len(), 1);
    }
}
