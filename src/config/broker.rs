//! A broker's options: defaults, the file, the command line, and what is changed while running.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::broker_options::{BROKER_OPTIONS, BrokerOptions};
use super::options::{InvalidConfig, OptionSpec, UpdateMode};
use super::overrides::{ConfigOverrides, ConfigText};
use super::value::{ConfigType, without_unit};

/// Kafka's broker options that are not here, and how Kafka lets each be changed.
const KAFKA_ONLY: &str = include_str!("kafka_only_options.txt");

/// Where a static value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    File,
    CommandLine,
}

impl Origin {
    pub fn name(self) -> &'static str {
        match self {
            Origin::File => "file",
            Origin::CommandLine => "command line",
        }
    }
}

/// The options of this node as they apply now. Reads like its fields.
#[derive(Clone, PartialEq, Default)]
pub struct BrokerConfig {
    options: BrokerOptions,
    /// What the file and the command line set, as plain text without units.
    statics: BTreeMap<&'static str, (Origin, String)>,
    /// What was set for every broker, and for this one, while running.
    pub(super) cluster: Arc<ConfigOverrides>,
    pub(super) node: Arc<ConfigOverrides>,
}

/// Without the text that options were set with, which may be a secret.
impl std::fmt::Debug for BrokerConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("BrokerConfig");
        shown
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl std::ops::Deref for BrokerConfig {
    type Target = BrokerOptions;

    fn deref(&self) -> &BrokerOptions {
        &self.options
    }
}

/// How an option that only Kafka has can be changed while running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KafkaOnly {
    Mode(UpdateMode),
    /// Secrets and stores, which only a name that begins with `listener.name.` changes.
    PerListener,
}

/// `None`: Kafka's brokers do not have it either, or it is here.
pub fn kafka_only(name: &str) -> Option<KafkaOnly> {
    let rows = KAFKA_ONLY.lines().filter_map(|line| line.split_once(' '));
    let (_, mode) = rows.into_iter().find(|(known, _)| *known == name)?;
    Some(match mode {
        "cluster-wide" => KafkaOnly::Mode(UpdateMode::ClusterWide),
        "per-broker" => KafkaOnly::Mode(UpdateMode::PerBroker),
        "per-listener" => KafkaOnly::PerListener,
        _ => KafkaOnly::Mode(UpdateMode::ReadOnly),
    })
}

pub fn spec(name: &str) -> Option<&'static OptionSpec> {
    BROKER_OPTIONS.iter().find(|spec| spec.name == name)
}

impl BrokerConfig {
    /// Sets a value before the start, with or without a unit. A later origin wins over an earlier. Nothing for an
    /// option without a default unsets it.
    pub fn set_static(
        &mut self,
        name: &str,
        value: &str,
        origin: Origin,
    ) -> Result<(), InvalidConfig> {
        let unknown = || InvalidConfig::Other(format!("{name}: unknown option"));
        // Kafka's older, singular name.
        let name = if name == "log.dir" { "log.dirs" } else { name };
        let spec = spec(name).ok_or_else(unknown)?;
        if self
            .statics
            .get(spec.name)
            .is_some_and(|(set, _)| *set > origin)
        {
            return Ok(());
        }
        if value.trim().is_empty() && spec.default.is_empty() {
            self.statics.remove(spec.name);
            self.options = self.before_changes().options;
            return Ok(());
        }
        let plain = without_unit(value, spec.unit)
            .map_err(|reason| InvalidConfig::value(spec.name, value, reason))?;
        self.options.set(spec.name, &plain).ok_or_else(unknown)??;
        self.statics.insert(spec.name, (origin, plain));
        Ok(())
    }

    /// As the file and the command line have it.
    fn before_changes(&self) -> BrokerConfig {
        let mut config = BrokerConfig {
            statics: self.statics.clone(),
            ..BrokerConfig::default()
        };
        for (name, (_, value)) in &self.statics {
            // It was taken when it was set.
            let _ = config.options.set(name, value);
        }
        config
    }

    /// The value before anything was changed while running, and where it comes from.
    pub(super) fn static_value(&self, name: &str) -> Option<(Origin, &str)> {
        let (origin, value) = self.statics.get(name)?;
        Some((*origin, value))
    }

    pub fn origin(&self, name: &str) -> Option<Origin> {
        self.statics.get(name).map(|(origin, _)| *origin)
    }

    /// The options with what was changed while running. What does not parse any more is left out.
    pub fn with_dynamic(&self, cluster: &ConfigOverrides, node: &ConfigOverrides) -> BrokerConfig {
        let mut config = self.before_changes();
        for (name, value) in cluster.iter().chain(node) {
            if let Some(Err(error)) = config.options.set(name, value) {
                tracing::warn!(%error, "a dynamic option is ignored");
            }
        }
        config.cluster = Arc::new(cluster.clone());
        config.node = Arc::new(node.clone());
        config
    }
}

/// Whether an option may be given this value while running.
pub fn validate_dynamic(name: &str, value: &str) -> Result<(), InvalidConfig> {
    let is_list = spec(name).is_some_and(|spec| spec.config_type == ConfigType::List);
    let items = super::value::items(value);
    if is_list && items.iter().collect::<BTreeSet<_>>().len() != items.len() {
        return Err(InvalidConfig::Other(format!(
            "Configuration '{name}' values must not be duplicated."
        )));
    }
    match BrokerOptions::default().set(name, value) {
        Some(set) => set,
        // Kafka keeps what it does not know: a plug-in may.
        None => Ok(()),
    }
}

/// Whether everything set for one broker, or for all, may be set so on a broker that runs with `base`. In Kafka's
/// words.
pub fn validate_overrides(
    base: &BrokerConfig,
    overrides: &ConfigOverrides,
    per_broker: bool,
) -> Result<(), InvalidConfig> {
    // The singular name stands for the plural here.
    let here = |name: &str| spec(if name == "log.dir" { "log.dirs" } else { name });
    let change = |name: &str| match here(name) {
        Some(spec) => Some(KafkaOnly::Mode(spec.update)),
        None => kafka_only(name),
    };
    let refused = |what: &str, applies: &dyn Fn(&str) -> bool| {
        let names: Vec<&str> = overrides
            .keys()
            .map(ConfigText::as_str)
            .filter(|name| applies(name))
            .collect();
        if names.is_empty() {
            return Ok(());
        }
        let names = names.join(", ");
        Err(InvalidConfig::Other(format!("{what}: [{names}]")))
    };
    refused("Cannot update these configs dynamically", &|name| {
        change(name) == Some(KafkaOnly::Mode(UpdateMode::ReadOnly))
    })?;
    refused(
        "These security configs can be dynamically updated only per-listener using the listener prefix",
        &|name| change(name) == Some(KafkaOnly::PerListener),
    )?;
    for (name, value) in overrides {
        validate_dynamic(name, value)?;
    }
    if !per_broker {
        refused(
            "Cannot update these configs at default cluster level, broker id must be specified",
            &|name| {
                change(name) == Some(KafkaOnly::Mode(UpdateMode::PerBroker))
                    || name.starts_with("listener.name.")
            },
        )?;
    }
    let changed = if per_broker {
        base.with_dynamic(&base.cluster, overrides)
    } else {
        base.with_dynamic(overrides, &base.node)
    };
    together(&changed)?;
    cleaner_threads(base.log_cleaner_threads, changed.log_cleaner_threads)
}

/// Kafka lets their number at most double or halve at once.
fn cleaner_threads(now: i32, wanted: i32) -> Result<(), InvalidConfig> {
    let why = if wanted == now {
        return Ok(());
    } else if wanted < 1 {
        "should be at least 1".to_owned()
    } else if wanted < now / 2 {
        format!("cannot be reduced to less than half the current value {now}")
    } else if wanted > now.saturating_mul(2) {
        format!("cannot be increased to more than double the current value {now}")
    } else {
        return Ok(());
    };
    // Kafka's words: the refusal is taken for the value.
    Err(InvalidConfig::Other(format!(
        "Invalid value org.apache.kafka.common.config.ConfigException: Log cleaner threads {why} for configuration Invalid dynamic configuration"
    )))
}

/// What Kafka's broker checks of options that bound each other and can be changed while running.
pub(super) fn together(config: &BrokerConfig) -> Result<(), InvalidConfig> {
    let required = |holds: bool, what: &str| {
        if holds {
            return Ok(());
        }
        Err(InvalidConfig::Other(format!("requirement failed: {what}")))
    };
    required(
        config.log_roll_ms.is_none_or(|ms| ms >= 1),
        "log.roll.ms must be greater than or equal to 1",
    )?;
    required(
        config.log_roll_jitter_ms.is_none_or(|ms| ms >= 0),
        "log.roll.jitter.ms must be greater than or equal to 0",
    )?;
    let retention = super::topic::resolve(config, &ConfigOverrides::new()).retention_ms;
    required(
        retention != 0,
        "log.retention.ms must be unlimited (-1) or, greater than or equal to 1",
    )?;
    required(
        config.max_connections_per_ip > 0 || !config.max_connections_per_ip_overrides.is_empty(),
        "max.connections.per.ip can be set to zero only if max.connections.per.ip.overrides property is set.",
    )?;
    cordoned(config)?;
    let threads = i64::from(config.log_cleaner_threads);
    let per_thread = config.log_cleaner_dedupe_buffer_size.checked_div(threads);
    required(
        per_thread.is_none_or(|bytes| bytes > 1 << 20),
        "log.cleaner.dedupe.buffer.size must be at least 1MB per cleaner thread.",
    )?;
    let (min, max) = (
        config.log_cleaner_min_compaction_lag_ms,
        config.log_cleaner_max_compaction_lag_ms,
    );
    if min > max {
        return Err(InvalidConfig::Other(format!(
            "conflict topic config setting min.compaction.lag.ms ({min}) > max.compaction.lag.ms ({max})"
        )));
    }
    Ok(())
}

/// Every log directory.
pub const ALL_CORDONED: &str = "*";

fn cordoned(config: &BrokerConfig) -> Result<(), InvalidConfig> {
    let required = |holds: bool, what: &dyn std::fmt::Display| {
        if holds {
            return Ok(());
        }
        Err(InvalidConfig::Other(format!("requirement failed: {what}")))
    };
    let cordoned = &config.cordoned_log_dirs;
    if cordoned.iter().any(|dir| dir.as_os_str() == ALL_CORDONED) {
        return required(
            cordoned.len() == 1,
            &"When cordoned.log.dirs is set to *, it must not contain other values",
        );
    }
    let dirs: Vec<PathBuf> = config.log_dirs.iter().map(|dir| absolute(dir)).collect();
    let unknown = cordoned.iter().filter(|dir| !dirs.contains(&absolute(dir)));
    let unknown: Vec<String> = unknown.map(|dir| dir.display().to_string()).collect();
    required(
        unknown.is_empty(),
        &format_args!(
            "All entries in cordoned.log.dirs must be present in log.dirs or log.dir. Missing entries : {}",
            unknown.join(", ")
        ),
    )
}

/// As log directories are shown and compared.
pub fn absolute(dir: &Path) -> PathBuf {
    std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_log_directories_are_cordoned_or_all_of_them() {
        let mut base = BrokerConfig::default();
        base.set_static("log.dirs", "/a,b", Origin::File).unwrap();
        let told = |value: &str| {
            let told = validate_overrides(&base, &map(&[("cordoned.log.dirs", value)]), true);
            told.map_or_else(|error| error.to_string(), |()| "taken".to_owned())
        };
        for taken in ["", "/a", "b", "/a,b", "*"] {
            assert_eq!(told(taken), "taken", "{taken}");
        }
        assert_eq!(
            told("*,/a"),
            "requirement failed: When cordoned.log.dirs is set to *, it must not contain other values"
        );
        assert_eq!(
            told("/a,/c,d"),
            "requirement failed: All entries in cordoned.log.dirs must be present in log.dirs or log.dir. Missing entries : /c, d"
        );
        let for_all = validate_overrides(&base, &map(&[("cordoned.log.dirs", "/a")]), false);
        assert_eq!(
            for_all.unwrap_err().to_string(),
            "Cannot update these configs at default cluster level, broker id must be specified: [cordoned.log.dirs]"
        );
    }

    fn map(pairs: &[(&str, &str)]) -> ConfigOverrides {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn cleaner_threads_at_most_double_or_halve() {
        let told = |now: &str, wanted: &str| {
            let mut base = BrokerConfig::default();
            base.set_static("log.cleaner.threads", now, Origin::File)
                .unwrap();
            let wanted = map(&[("log.cleaner.threads", wanted)]);
            match validate_overrides(&base, &wanted, true) {
                Ok(()) => "taken".to_owned(),
                Err(error) => {
                    let text = error.to_string();
                    let text = text.split("Log cleaner threads ").nth(1).unwrap();
                    text.split(" for configuration").next().unwrap().to_owned()
                }
            }
        };
        let table = [
            ("1", "1", "taken"),
            ("1", "2", "taken"),
            ("4", "2", "taken"),
            ("0", "0", "taken"),
            ("1", "0", "should be at least 1"),
            (
                "1",
                "3",
                "cannot be increased to more than double the current value 1",
            ),
            (
                "5",
                "1",
                "cannot be reduced to less than half the current value 5",
            ),
        ];
        for (now, wanted, expected) in table {
            assert_eq!(told(now, wanted), expected, "{now} {wanted}");
        }
    }

    #[test]
    fn the_command_line_wins_and_dynamic_values_win_over_it() {
        let mut config = BrokerConfig::default();
        config
            .set_static("message.max.bytes", "10", Origin::CommandLine)
            .unwrap();
        config
            .set_static("message.max.bytes", "20", Origin::File)
            .unwrap();
        config
            .set_static("log.retention.bytes", "1KiB", Origin::File)
            .unwrap();
        assert_eq!(config.message_max_bytes, 10);
        assert_eq!(config.log_retention_bytes, 1024);
        let dynamic = config.with_dynamic(
            &map(&[("message.max.bytes", "30"), ("log.retention.bytes", "5")]),
            &map(&[("message.max.bytes", "40")]),
        );
        assert_eq!(dynamic.message_max_bytes, 40);
        assert_eq!(dynamic.log_retention_bytes, 5);
        // Taken back, the static ones are there again.
        assert_eq!(dynamic.with_dynamic(&map(&[]), &map(&[])), config);
    }

    #[test]
    fn only_what_can_change_may_be_changed() {
        let told = |name, value, per_broker| {
            validate_overrides(&BrokerConfig::default(), &map(&[(name, value)]), per_broker)
                .err()
                .map(|error| error.to_string())
        };
        assert_eq!(told("message.max.bytes", "10", false), None);
        assert_eq!(
            told("node.id", "10", true).unwrap(),
            "Cannot update these configs dynamically: [node.id]"
        );
        assert_eq!(
            told("message.max.bytes", "-1", false).unwrap(),
            "Invalid value -1 for configuration message.max.bytes: Value must be at least 0"
        );
        assert_eq!(
            told("message.max.bytes", "1KiB", false).unwrap(),
            "Invalid value 1KiB for configuration message.max.bytes: Not a number of type INT"
        );
        // What only Kafka has follows Kafka's rules; what nobody has is kept.
        assert_eq!(
            told("broker.id", "10", true).unwrap(),
            "Cannot update these configs dynamically: [broker.id]"
        );
        assert_eq!(
            told("ssl.keystore.location", "x", true).unwrap(),
            "These security configs can be dynamically updated only per-listener using the listener prefix: [ssl.keystore.location]"
        );
        let only_one =
            "Cannot update these configs at default cluster level, broker id must be specified: ";
        let listener = "listener.name.internal.ssl.keystore.location";
        for name in ["ssl.protocol", listener] {
            assert_eq!(
                told(name, "x", false).unwrap(),
                format!("{only_one}[{name}]")
            );
            assert_eq!(told(name, "x", true), None);
        }
        assert_eq!(told("background.threads", "4", false), None);
        assert_eq!(told("my.plugin", "4", false), None);
    }

    #[test]
    fn what_is_changed_must_fit_what_is_set_already() {
        let mut base = BrokerConfig::default();
        base.set_static("log.cleaner.max.compaction.lag.ms", "5s", Origin::File)
            .unwrap();
        let lag = map(&[("log.cleaner.min.compaction.lag.ms", "6000")]);
        assert_eq!(
            validate_overrides(&base, &lag, false)
                .unwrap_err()
                .to_string(),
            "conflict topic config setting min.compaction.lag.ms (6000) > max.compaction.lag.ms (5000)"
        );
        let none = map(&[("max.connections.per.ip", "0")]);
        assert!(validate_overrides(&base, &none, true).is_err());
        base.set_static("max.connections.per.ip.overrides", "::1:5", Origin::File)
            .unwrap();
        validate_overrides(&base, &none, true).unwrap();
        let never = map(&[("log.retention.ms", "0")]);
        assert!(validate_overrides(&base, &never, true).is_err());
    }

    #[test]
    fn an_option_without_a_default_can_be_unset() {
        let mut config = BrokerConfig::default();
        config
            .set_static("log.roll.ms", "7d", Origin::File)
            .unwrap();
        assert_eq!(config.log_roll_ms, Some(604_800_000));
        assert_eq!(config.get("log.roll.ms").unwrap(), "604800000");
        config
            .set_static("log.roll.ms", "", Origin::CommandLine)
            .unwrap();
        assert_eq!(
            (config.log_roll_ms, config.origin("log.roll.ms")),
            (None, None)
        );
        assert!(
            config
                .set_static("num.partitions", "", Origin::File)
                .is_err()
        );
    }

    #[test]
    fn no_option_is_both_here_and_only_kafkas() {
        for spec in BROKER_OPTIONS {
            assert_eq!(kafka_only(spec.name), None, "{}", spec.name);
        }
        assert_eq!(
            kafka_only("num.replica.fetchers"),
            Some(KafkaOnly::Mode(UpdateMode::ClusterWide))
        );
    }

    #[test]
    fn every_default_is_one_its_row_takes() {
        let mut options = BrokerOptions::default();
        for spec in BROKER_OPTIONS {
            if !spec.default.is_empty() {
                options.set(spec.name, spec.default).unwrap().unwrap();
            }
        }
        assert_eq!(options, BrokerOptions::default());
    }
}
