//! A broker's options: defaults, the file, the command line, and what is changed while running.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::broker_options::{BROKER_OPTIONS, BrokerOptions};
use super::options::{InvalidConfig, OptionSpec, UpdateMode};

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
#[derive(Debug, Clone, PartialEq, Default)]
pub struct BrokerConfig {
    options: BrokerOptions,
    /// What the file and the command line set.
    statics: BTreeMap<&'static str, (Origin, String)>,
    /// What was set for every broker, and for this one, while running.
    pub(super) cluster: Arc<BTreeMap<String, String>>,
    pub(super) node: Arc<BTreeMap<String, String>>,
}

impl std::ops::Deref for BrokerConfig {
    type Target = BrokerOptions;

    fn deref(&self) -> &BrokerOptions {
        &self.options
    }
}

pub fn spec(name: &str) -> Option<&'static OptionSpec> {
    BROKER_OPTIONS.iter().find(|spec| spec.name == name)
}

impl BrokerConfig {
    /// Sets a value before the start. A later origin wins over an earlier.
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
        self.options.set(spec.name, value).ok_or_else(unknown)??;
        self.statics.insert(spec.name, (origin, value.to_owned()));
        Ok(())
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
    pub fn with_dynamic(
        &self,
        cluster: &BTreeMap<String, String>,
        node: &BTreeMap<String, String>,
    ) -> BrokerConfig {
        let mut config = BrokerConfig {
            statics: self.statics.clone(),
            ..BrokerConfig::default()
        };
        for (name, (_, value)) in &self.statics {
            let _ = config.options.set(name, value);
        }
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
    match BrokerOptions::default().set(name, value) {
        Some(set) => set,
        // Kafka keeps what it does not know: a plug-in may.
        None => Ok(()),
    }
}

/// Whether everything set for one broker, or for all, may be set so while running. In Kafka's words.
pub fn validate_overrides(
    overrides: &BTreeMap<String, String>,
    per_broker: bool,
) -> Result<(), InvalidConfig> {
    let named = |mode: fn(UpdateMode) -> bool| -> Vec<&str> {
        overrides
            .keys()
            .filter(|name| spec(name).is_some_and(|spec| mode(spec.update)))
            .map(String::as_str)
            .collect()
    };
    let fixed = named(|mode| mode == UpdateMode::ReadOnly);
    if !fixed.is_empty() {
        return Err(InvalidConfig::Other(format!(
            "Cannot update these configs dynamically: {}",
            kafka_set(&fixed)
        )));
    }
    let single = named(|mode| mode == UpdateMode::PerBroker);
    if !per_broker && !single.is_empty() {
        return Err(InvalidConfig::Other(format!(
            "Cannot update these configs at default cluster level, broker id must be specified: {}",
            kafka_set(&single)
        )));
    }
    for (name, value) in overrides {
        validate_dynamic(name, value)?;
    }
    Ok(())
}

fn kafka_set(names: &[&str]) -> String {
    format!("[{}]", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
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
            validate_overrides(&map(&[(name, value)]), per_broker)
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
    }

    #[test]
    fn every_default_is_one_its_row_takes() {
        let mut options = BrokerOptions::default();
        for spec in BROKER_OPTIONS {
            let set = options.set(spec.name, spec.default).unwrap();
            if !spec.default.is_empty() {
                set.unwrap();
            }
        }
        assert_eq!(options, BrokerOptions::default());
    }
}
