//! Values that are looked up when they are asked for: of partitions, topics, groups and the process. They are
//! written straight into the exposition text, so that what is gone is gone from there too.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::MetricSpec;

/// Walks some table at a scrape.
pub trait Collect: Send + Sync {
    fn collect(&self, samples: &mut Samples);
}

/// The families of one scrape.
#[derive(Debug, Default)]
pub struct Samples {
    families: BTreeMap<&'static str, (MetricSpec, String)>,
}

impl Samples {
    /// One value; the labels' values in the order of the row.
    pub fn push(&mut self, spec: MetricSpec, labels: &[&str], value: f64) {
        debug_assert_eq!(spec.labels.len(), labels.len(), "{}", spec.name);
        let (_, text) = self
            .families
            .entry(spec.name)
            .or_insert_with(|| (spec, String::new()));
        text.push_str(spec.name);
        if !labels.is_empty() {
            text.push('{');
            for (at, (name, value)) in spec.labels.iter().zip(labels).enumerate() {
                if at > 0 {
                    text.push(',');
                }
                text.push_str(name);
                text.push_str("=\"");
                escape(text, value);
                text.push('"');
            }
            text.push('}');
        }
        // Writing to a string cannot fail.
        let _ = writeln!(text, " {value}");
    }

    pub(super) fn write(self, out: &mut String) {
        for (spec, text) in self.families.into_values() {
            let _ = writeln!(out, "# HELP {} {}", spec.name, spec.help);
            let _ = writeln!(out, "# TYPE {} {}", spec.name, spec.kind.name());
            out.push_str(&text);
            out.push('\n');
        }
    }
}

fn escape(out: &mut String, value: &str) {
    for c in value.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::table;

    #[test]
    fn a_family_has_one_head_and_escaped_labels() {
        let mut samples = Samples::default();
        samples.push(table::TOPIC_BYTES_IN, &["a\"b\\c\nd"], 1.0);
        samples.push(table::TOPIC_BYTES_IN, &["e"], 2.5);
        samples.push(table::TOPICS, &[], 3.0);
        let mut out = String::new();
        samples.write(&mut out);
        assert_eq!(
            out,
            "# HELP dohle_topic_bytes_in_total Bytes of record batches appended\n\
             # TYPE dohle_topic_bytes_in_total counter\n\
             dohle_topic_bytes_in_total{topic=\"a\\\"b\\\\c\\nd\"} 1\n\
             dohle_topic_bytes_in_total{topic=\"e\"} 2.5\n\n\
             # HELP dohle_topics Topics in the cluster\n\
             # TYPE dohle_topics gauge\n\
             dohle_topics 3\n\n"
        );
    }
}
