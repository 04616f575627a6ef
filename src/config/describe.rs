//! Options as DescribeConfigs shows them: value, source, and every place a value could come from.

use super::broker_options::BROKER_OPTIONS;
use super::options::{OptionSpec, UpdateMode};
use super::overrides::ConfigOverrides;
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
pub fn topic(broker: &BrokerConfig, overrides: &ConfigOverrides) -> Vec<ConfigEntry> {
    let resolved = topic::resolve(broker, overrides);
    TOPIC_OPTIONS
        .iter()
        .filter(|spec| !spec.is_internal() || overrides.contains_key(spec.name))
        .map(|spec| {
            let own = overrides.get(spec.name).map(|set| ConfigSynonym {
                name: spec.name.to_owned(),
                value: as_set(spec, set).or_else(|| resolved.get(spec.name)),
                source: ConfigSource::DynamicTopic,
            });
            let inherited = places(broker, spec.synonyms);
            let synonyms: Vec<ConfigSynonym> = own.into_iter().chain(inherited).collect();
            entry(spec, resolved.get(spec.name), synonyms, false)
        })
        .collect()
}

/// Every option of this broker.
pub fn broker(config: &BrokerConfig) -> Vec<ConfigEntry> {
    let is_set = |name| {
        config.origin(name).is_some()
            || config.cluster.contains_key(name)
            || config.node.contains_key(name)
    };
    BROKER_OPTIONS
        .iter()
        .filter(|spec| !spec.is_internal() || is_set(spec.name))
        .map(|spec| {
            let read_only = spec.update == UpdateMode::ReadOnly;
            let synonyms = places(config, alternatives(&spec.name));
            entry(spec, config.get(spec.name), synonyms, read_only)
        })
        .collect()
}

/// What was set for every broker.
pub fn cluster_defaults(overrides: &ConfigOverrides) -> Vec<ConfigEntry> {
    overrides
        .iter()
        .filter_map(|(name, value)| {
            let synonym = ConfigSynonym {
                name: name.to_string(),
                value: Some(value.to_string()),
                source: ConfigSource::DynamicDefaultBroker,
            };
            let spec = super::broker::spec(name)?;
            Some(entry(spec, Some(value.to_string()), vec![synonym], false))
        })
        .collect()
}

fn entry(
    spec: &OptionSpec,
    value: Option<String>,
    mut synonyms: Vec<ConfigSynonym>,
    read_only: bool,
) -> ConfigEntry {
    let is_sensitive = spec.config_type == ConfigType::Password;
    if is_sensitive {
        synonyms.iter_mut().for_each(|synonym| synonym.value = None);
    }
    let set = synonyms.first().and_then(|first| first.value.as_deref());
    ConfigEntry {
        name: spec.name.to_owned(),
        value: set
            .and_then(|text| as_set(spec, text))
            .or(value.filter(|_| !is_sensitive)),
        source: synonyms
            .first()
            .map_or(ConfigSource::Default, |synonym| synonym.source),
        is_sensitive,
        read_only,
        config_type: spec.config_type,
        documentation: spec.doc,
        synonyms,
    }
}

/// A list is shown in the order in which it was set, what comes again left out.
fn as_set(spec: &OptionSpec, text: &str) -> Option<String> {
    let is_list = spec.config_type == ConfigType::List;
    let items = super::value::distinct(text).ok().filter(|_| is_list)?;
    Some(items.join(","))
}

/// The names under which an option may be set, the strongest first.
fn alternatives<'a>(name: &'a &'static str) -> &'a [&'static str] {
    const GROUPS: [&[&str]; 3] = [
        &[
            "log.retention.ms",
            "log.retention.minutes",
            "log.retention.hours",
        ],
        &["log.roll.ms", "log.roll.hours"],
        &["log.roll.jitter.ms", "log.roll.jitter.hours"],
    ];
    let mut groups = GROUPS.into_iter();
    groups
        .find(|group| group.contains(name))
        .and_then(|group| group.split_at_checked(group.iter().position(|known| known == name)?))
        .map_or(std::slice::from_ref(name), |(_, from_here)| from_here)
}

/// Where the first of these broker options has a value, and the others behind it: the strongest first. As in Kafka
/// nothing is told when the first has none, even where another decides.
fn places(config: &BrokerConfig, names: &[&str]) -> Vec<ConfigSynonym> {
    let at = |name: &str, value: &str, source| ConfigSynonym {
        name: name.to_owned(),
        value: Some(value.to_owned()),
        source,
    };
    let dynamic = names.iter().filter_map(|name| {
        let value = config.node.get(name)?;
        Some(at(name, value, ConfigSource::DynamicBroker))
    });
    let for_all = names.iter().filter_map(|name| {
        let value = config.cluster.get(name)?;
        Some(at(name, value, ConfigSource::DynamicDefaultBroker))
    });
    let fixed = names.iter().filter_map(|name| {
        let (_, value) = config.static_value(name)?;
        Some(at(name, value, ConfigSource::StaticBroker))
    });
    let defaults = names.iter().filter_map(|name| {
        let spec = super::broker::spec(name).filter(|spec| !spec.default.is_empty())?;
        Some(at(name, spec.default, ConfigSource::Default))
    });
    let all = dynamic.chain(for_all).chain(fixed).chain(defaults);
    all.skip_while(|place| names.first().is_none_or(|first| place.name != **first))
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
        let overrides = ConfigOverrides::from([("retention.ms".to_owned(), "9".to_owned())]);
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
            [("retention.ms", "9", ConfigSource::DynamicTopic),],
            "nothing of log.retention.minutes, as in Kafka"
        );
        // What Apache Kafka 4.4.0 answers: the value of the minutes, and no word of them.
        let unset = find(topic(&config, &ConfigOverrides::new()), "retention.ms");
        assert_eq!(unset.value.as_deref(), Some("300000"));
        assert_eq!(unset.source, ConfigSource::Default);
        assert_eq!(unset.synonyms, []);
        let minutes = find(broker(&config), "log.retention.minutes");
        let names: Vec<_> = minutes.synonyms.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(names, ["log.retention.minutes", "log.retention.hours"]);
        assert_eq!(find(broker(&config), "log.retention.ms").value, None);
    }

    #[test]
    fn a_secret_is_not_told() {
        let mut config = BrokerConfig::default();
        config
            .set_static("ensemble.secret", "swordfish", Origin::File)
            .unwrap();
        let told = find(broker(&config), "ensemble.secret");
        assert!(told.is_sensitive);
        assert_eq!((told.value, told.synonyms.len()), (None, 1));
        assert_eq!(told.synonyms[0].value, None);
        assert!(!format!("{config:?}").contains("swordfish"));
        assert!(!crate::config::reference::listing(&config).contains("swordfish"));
    }

    #[test]
    fn values_are_shown_as_they_are_understood() {
        let overrides = [
            ("retention.ms", " 9 "),
            ("min.cleanable.dirty.ratio", "1"),
            ("cleanup.policy", "delete , compact,delete"),
            ("internal.segment.bytes", "1048576"),
        ];
        let overrides: ConfigOverrides = overrides
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        let set = |name| {
            let entry = find(topic(&BrokerConfig::default(), &overrides), name);
            assert_eq!(entry.value, entry.synonyms[0].value);
            entry.value.unwrap()
        };
        assert_eq!(set("retention.ms"), "9");
        assert_eq!(set("min.cleanable.dirty.ratio"), "1.0");
        assert_eq!(set("cleanup.policy"), "delete,compact");
        assert_eq!(set("internal.segment.bytes"), "1048576");
        let plain = topic(&BrokerConfig::default(), &ConfigOverrides::new());
        assert!(
            plain
                .iter()
                .all(|entry| !entry.name.starts_with("internal."))
        );
        let internal = "producer.id.expiration.check.interval.ms";
        let mut config = BrokerConfig::default();
        assert!(broker(&config).iter().all(|entry| entry.name != internal));
        config.set_static(internal, "7s", Origin::File).unwrap();
        let shown = find(broker(&config), internal);
        assert_eq!(shown.value.as_deref(), Some("7000"));
        assert_eq!(shown.synonyms[0].value.as_deref(), Some("7000"));
    }

    #[test]
    fn places_are_told_by_strength_before_name() {
        let dynamic =
            |name: &str, value: &str| ConfigOverrides::from([(name.to_owned(), value.to_owned())]);
        let config = BrokerConfig::default().with_dynamic(
            &dynamic("log.roll.ms", "7000000"),
            &dynamic("message.max.bytes", "3"),
        );
        let places = |name| {
            let entry = find(topic(&config, &ConfigOverrides::new()), name);
            let places = entry.synonyms.into_iter();
            places.map(|s| (s.name, s.source)).collect::<Vec<_>>()
        };
        assert_eq!(
            places("segment.ms"),
            [
                ("log.roll.ms".to_owned(), ConfigSource::DynamicDefaultBroker),
                ("log.roll.hours".to_owned(), ConfigSource::Default),
            ]
        );
        assert_eq!(
            places("max.message.bytes"),
            [
                ("message.max.bytes".to_owned(), ConfigSource::DynamicBroker),
                ("message.max.bytes".to_owned(), ConfigSource::Default),
            ]
        );
    }

    #[test]
    fn a_list_keeps_the_order_in_which_it_was_set() {
        let policy = |text: &str| {
            let overrides = ConfigOverrides::from([("cleanup.policy".to_owned(), text.to_owned())]);
            let entries = topic(&BrokerConfig::default(), &overrides);
            find(entries, "cleanup.policy").value.unwrap()
        };
        assert_eq!(policy("delete, compact"), "delete,compact");
        assert_eq!(policy("compact,delete"), "compact,delete");
    }

    #[test]
    fn a_broker_option_changed_while_running_says_so() {
        let cluster = ConfigOverrides::from([("message.max.bytes".to_owned(), "7".to_owned())]);
        let config = BrokerConfig::default().with_dynamic(&cluster, &ConfigOverrides::new());
        let entry = find(broker(&config), "message.max.bytes");
        assert_eq!(entry.source, ConfigSource::DynamicDefaultBroker);
        assert!(!entry.read_only);
        assert!(find(broker(&config), "node.id").read_only);
        assert_eq!(cluster_defaults(&cluster).len(), 1);
    }
}
