//! The reference file under `config/`, and what `dohle config` prints: both follow from the tables.

use std::fmt::Write as _;

use super::broker_options::BROKER_OPTIONS;
use super::topic_options::TOPIC_OPTIONS;
use super::{BrokerConfig, Origin};

/// Every option with its default, as comments in a file that can be used as it is.
pub fn reference() -> String {
    let mut text = String::from(
        "# Every option of dohle with its default. Generated from the options table.\n\
         # Sizes take B, KiB, MiB, GiB, durations ms, s, m, h, d; a plain number is in the unit named.\n",
    );
    for spec in BROKER_OPTIONS {
        let mut facts = vec![spec.config_type.name().to_ascii_lowercase()];
        if !spec.unit.name().is_empty() {
            facts.push(spec.unit.name().to_owned());
        }
        if !spec.valid.describe().is_empty() {
            facts.push(spec.valid.describe());
        }
        facts.push(spec.update.name().to_owned());
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "\n# {}\n# {}\n#\"{}\" = \"{}\"\n",
            spec.doc,
            facts.join(", "),
            spec.name,
            spec.default
        );
    }
    text.push_str("\n# Options of a topic, set when it is created or with kafka-configs:\n");
    for spec in TOPIC_OPTIONS {
        let default = match spec.synonyms {
            [] => format!("default {:?}", spec.default),
            names => format!("default from {}", names.join(", ")),
        };
        let _ = writeln!(text, "#   {}: {} ({default})", spec.name, spec.doc);
    }
    text
}

/// One line an option: name, value, default, unit, origin.
pub fn listing(config: &BrokerConfig) -> String {
    let mut text = String::new();
    for spec in BROKER_OPTIONS {
        let value = config.get(spec.name).unwrap_or_default();
        let origin = config.origin(spec.name).map_or("default", Origin::name);
        let _ = write!(text, "{} = {value:?}", spec.name);
        let _ = writeln!(
            text,
            "  # default {:?}{}{}, from {origin}",
            spec.default,
            if spec.unit.name().is_empty() { "" } else { " " },
            spec.unit.name()
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_file_is_the_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config/dohle.reference.toml");
        if std::env::var_os("DOHLE_BLESS").is_some() {
            std::fs::write(path, reference()).unwrap();
        }
        let stored = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            stored == reference(),
            "config/dohle.reference.toml is behind the options table: DOHLE_BLESS=1 cargo test writes it anew"
        );
    }

    #[test]
    fn the_reference_with_its_comments_taken_away_is_the_default() {
        let settings: String = reference()
            .lines()
            .filter_map(|line| line.strip_prefix("#\""))
            .map(|rest| format!("\"{rest}\n"))
            .collect();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("d.toml");
        std::fs::write(&path, settings).unwrap();
        let loaded = super::super::load::load(Some(&path), &[]).unwrap();
        assert_eq!(*loaded, *BrokerConfig::default());
    }

    #[test]
    fn the_listing_names_every_option_and_its_origin() {
        let mut config = BrokerConfig::default();
        config
            .set_static("num.partitions", "3", Origin::File)
            .unwrap();
        let listing = listing(&config);
        assert_eq!(listing.lines().count(), BROKER_OPTIONS.len());
        assert!(listing.contains("num.partitions = \"3\"  # default \"1\", from file"));
    }
}
