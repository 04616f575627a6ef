//! dohle takes the option values that Apache Kafka 4.4.0 takes, refuses the others in its words, and shows what it
//! took as Kafka does: of topics, of groups, and of brokers while they run.

#![expect(clippy::unwrap_used, reason = "a test says what is wrong by failing")]

use std::io::Read as _;

use dohle::config::{self, BrokerConfig, ConfigOverrides, OptionSpec, describe};

/// Kafka prints these from a set, in no order.
fn sorted(message: &str) -> String {
    let mut words: Vec<&str> = message.split([' ', ',', '[', ']']).collect();
    words.sort_unstable();
    words.join(" ")
}

/// Options of which dohle says something else on purpose, and why.
const OTHERWISE: &[(&str, &str)] = &[
    ("listeners", "not changed while running"),
    (
        "listener.security.protocol.map",
        "not changed while running",
    ),
    (
        "num.recovery.threads.per.data.dir",
        "not changed while running",
    ),
    (
        "log.cleaner.threads",
        "was asked of Kafka's options alone: its running cleaner bounds how far the number may change, and so does ours",
    ),
    (
        "max.connections.per.ip.overrides",
        "says in its own words what is malformed",
    ),
];

/// Defaults that are not Kafka's, on purpose.
const OTHER_DEFAULTS: &[(&str, &str)] = &[
    (
        "broker.session.timeout.ms",
        "a broker whose process has ended is fenced at once, and silence is noticed over a link, not a poll",
    ),
    (
        "listeners",
        "this machine only, until somebody says otherwise",
    ),
    ("log.dirs", "./data"),
    ("node.id", "needed by nobody who runs one node"),
    (
        "socket.listen.backlog.size",
        "a thousand clients that connect at once",
    ),
    ("socket.receive.buffer.bytes", "left to the system"),
    ("socket.send.buffer.bytes", "left to the system"),
];

/// An option as Kafka defines it.
struct Definition {
    kind: String,
    name: String,
    config_type: String,
    default: String,
    is_internal: bool,
}

/// What Kafka says to a value.
struct Verdict {
    kind: String,
    name: String,
    value: String,
    kafka: Result<String, String>,
}

fn recorded() -> (Vec<Definition>, Vec<Verdict>) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/configs-4.4.0.tsv.gz");
    let mut text = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap())
        .read_to_string(&mut text)
        .unwrap();
    let (mut definitions, mut verdicts) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let fields: Vec<String> = line.split('\t').map(str::to_owned).collect();
        match <[String; 5]>::try_from(fields) {
            Ok([kind, name, value, verdict, told]) => verdicts.push(Verdict {
                kafka: if verdict == "ok" { Ok(told) } else { Err(told) },
                kind,
                name,
                value,
            }),
            Err(fields) => {
                let [kind, name, _, config_type, default, internal] =
                    <[String; 6]>::try_from(fields).unwrap();
                definitions.push(Definition {
                    is_internal: internal == "internal",
                    kind,
                    name,
                    config_type,
                    default,
                });
            }
        }
    }
    (definitions, verdicts)
}

fn spec(kind: &str, name: &str) -> Option<&'static OptionSpec> {
    match kind {
        "topic" => config::topic::spec(name),
        "group" => config::group::spec(name),
        _ => config::broker::spec(name),
    }
}

/// What dohle says to the same value.
fn dohle(verdict: &Verdict) -> Result<String, String> {
    let Verdict {
        kind, name, value, ..
    } = verdict;
    let set = ConfigOverrides::from([(name, value.as_str())]);
    let base = BrokerConfig::default();
    let (checked, entries) = match kind.as_str() {
        "topic" => (config::topic::validate(&set), describe::topic(&base, &set)),
        "group" => (config::group::validate(&set), config::group::describe(&set)),
        _ => {
            let is_one = kind == "broker";
            let changed = base.with_dynamic(&ConfigOverrides::new(), &set);
            let checked = config::broker::validate_overrides(&base, &set, is_one);
            (checked, describe::broker(&changed))
        }
    };
    let shown = entries.into_iter().find(|entry| entry.name == *name);
    match checked {
        Ok(()) => Ok(shown.and_then(|entry| entry.value).unwrap_or_default()),
        Err(error) => Err(error.to_string()),
    }
}

#[test]
fn options_take_and_refuse_what_kafkas_do_in_its_words() {
    let (_, verdicts) = recorded();
    assert!(verdicts.len() > 20_000);
    let mut wrong = Vec::new();
    for verdict in &verdicts {
        if OTHERWISE.iter().any(|(name, _)| *name == verdict.name) {
            continue;
        }
        let told = dohle(verdict);
        let is_here = spec(&verdict.kind, &verdict.name).is_some();
        let agrees = match (&verdict.kafka, &told) {
            (Ok(kafka), Ok(told)) => kafka == told || !is_here,
            // What only Kafka has is kept with any value, since nothing reads it.
            (Err(kafka), Err(told)) => kafka == told || sorted(kafka) == sorted(told) || !is_here,
            (Err(kafka), Ok(_)) => !is_here && !kafka.starts_with("Cannot update"),
            (Ok(_), Err(_)) => false,
        };
        if !agrees {
            wrong.push(format!(
                "{} {}={:?}\n  kafka {:?}\n  dohle {told:?}",
                verdict.kind, verdict.name, verdict.value, verdict.kafka
            ));
        }
    }
    let count = wrong.len();
    assert!(wrong.is_empty(), "{count} differ:\n{}", wrong.join("\n"));
}

#[test]
fn options_have_kafkas_types_and_defaults() {
    let (definitions, _) = recorded();
    let mut wrong = Vec::new();
    for kafka in &definitions {
        let name = kafka.name.as_str();
        let Some(spec) = spec(&kafka.kind, name) else {
            let is_known = kafka.kind.starts_with("broker")
                && (config::broker::kafka_only(name).is_some() || name == "log.dir");
            if !is_known {
                wrong.push(format!("{} {name} is not known", kafka.kind));
            }
            continue;
        };
        let default = if kafka.default == "null" {
            ""
        } else {
            &kafka.default
        };
        let is_other = OTHER_DEFAULTS.iter().any(|(other, _)| *other == name);
        let facts = (spec.config_type.name(), spec.is_internal());
        if facts != (kafka.config_type.as_str(), kafka.is_internal) {
            let kafkas = (&kafka.config_type, kafka.is_internal);
            wrong.push(format!(
                "{} {name}: {facts:?}, Kafka's {kafkas:?}",
                kafka.kind
            ));
        }
        if (spec.default != default) != is_other {
            let ours = spec.default;
            wrong.push(format!(
                "{} {name}: {ours:?}, Kafka's {default:?}",
                kafka.kind
            ));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
