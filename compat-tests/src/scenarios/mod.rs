//! The scenarios. `listed` gives every (client, scenario) pair; what each shows is written in README.md.

pub mod admin;
pub mod cluster;
pub mod compaction;
pub mod cross;
pub mod dohle;
pub mod groups;
pub mod hostile;
pub mod java;
pub mod kcat;
pub mod kill;
pub mod log_code;
pub mod log_dirs;
pub mod records;
pub mod seek;
pub mod tools;
mod tools_configs;
mod tools_groups;

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::client::{CLIENTS, Client, Feature};
use crate::driver::Driver;
use crate::wire::{Incoming, Outgoing};
use crate::{corpus, paths, wait};

/// What a scenario of one client works with.
pub struct Run<'a> {
    pub client: &'static Client,
    pub driver: &'a mut Driver,
    pub address: &'a str,
}

impl Run<'_> {
    pub fn create_topic(&mut self, what: &str, partitions: i32) -> Result<String> {
        let topic = paths::unique(what);
        self.driver.call(
            "create_topic",
            json!({"topic": topic, "partitions": partitions}),
        )?;
        Ok(topic)
    }

    /// Produces, and gives where each record went.
    pub fn produce(
        &mut self,
        topic: &str,
        compression: &str,
        records: &[Outgoing],
    ) -> Result<Vec<(i32, i64)>> {
        let request = json!({"topic": topic, "compression": compression, "records": records});
        let placed: Vec<(i32, i64)> = self.driver.get("produce", request, "placed")?;
        anyhow::ensure!(
            placed.len() == records.len(),
            "{} of {} records were placed",
            placed.len(),
            records.len()
        );
        Ok(placed)
    }

    pub fn consume(
        &mut self,
        topic: &str,
        partition: i32,
        offset: i64,
        count: usize,
    ) -> Result<Vec<Incoming>> {
        let request = json!({"topic": topic, "partition": partition, "offset": offset, "count": count, "timeout_ms": 30_000});
        self.driver.get("consume", request, "records")
    }

    /// The one offset that ListOffsets gives for `earliest`, `latest` or `max_timestamp`.
    pub fn list_offset(&mut self, topic: &str, partition: i32, spec: &str) -> Result<i64> {
        self.driver.get(
            "list_offset",
            json!({"topic": topic, "partition": partition, "spec": spec}),
            "offset",
        )
    }
}

type Scenario = fn(&mut Run<'_>) -> Result<()>;

/// A scenario without a driver: it is told where the broker is.
pub type OnBroker = fn(&str) -> Result<()>;

type Boxed = Box<dyn FnOnce(&str) -> Result<()> + Send>;

/// A test of the list: what it needs on this machine, and what it does against the shared broker.
pub struct Test {
    pub name: String,
    /// What it cannot run without, and lacks.
    pub missing: Option<String>,
    /// What this machine does not let anybody do, and it would have to: nothing that could be installed.
    pub forbidden: Option<String>,
    /// Needs a broker that is ours: its process, its data, its HTTP port.
    pub ours_only: bool,
    pub run: Boxed,
}

impl Test {
    pub fn new(
        name: impl Into<String>,
        run: impl FnOnce(&str) -> Result<()> + Send + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            missing: None,
            forbidden: None,
            ours_only: false,
            run: Box::new(run),
        }
    }

    pub fn needs(mut self, programs: &[&str]) -> Self {
        let missing = programs
            .iter()
            .find(|program| !crate::prepare::installed(program));
        self.missing = self
            .missing
            .or(missing.map(|program| format!("{program} is not installed")));
        self
    }

    pub fn ours_only(mut self) -> Self {
        self.ours_only = true;
        self
    }
}

/// The scenarios that every client takes part in, with the feature that each needs.
const EVERYONE: &[(&str, Option<Feature>, Scenario)] = &[
    ("topics", None, admin::topics),
    ("configs", None, admin::configs),
    ("delete_records", None, admin::delete_records),
    ("list_offsets", None, admin::list_offsets),
    ("groups_admin", None, admin::groups),
    ("groups_three_members", None, groups::three_members),
    (
        "seek_by_offset_and_timestamp",
        None,
        seek::offset_and_timestamp,
    ),
    ("idempotent_producer", None, records::idempotent),
    ("auto_create", None, records::auto_create),
    ("acks_0_and_1", None, records::acks),
    ("large_records", None, records::large),
    ("record_too_large", None, records::too_large),
    (
        "partitioner_keeps_keys_together",
        None,
        records::keys_together,
    ),
    (
        "describe_topic_partitions",
        Some(Feature::Java),
        java::describe_topic_partitions,
    ),
    (
        "cluster_and_features",
        Some(Feature::Java),
        java::cluster_and_features,
    ),
    ("log_dirs", Some(Feature::Java), java::log_dirs),
    (
        "config_resources",
        Some(Feature::Java),
        java::config_resources,
    ),
    ("broker_configs", Some(Feature::Java), java::broker_configs),
    ("group_offsets", Some(Feature::Java), java::group_offsets),
    (
        "static_membership",
        Some(Feature::Java),
        java::static_membership,
    ),
    (
        "cooperative_sticky",
        Some(Feature::Java),
        java::cooperative_sticky,
    ),
];

fn of_client(
    client: &'static Client,
    name: &str,
    scenario: impl FnOnce(&mut Run<'_>) -> Result<()> + Send + 'static,
) -> Test {
    let mut test = Test::new(format!("{}::{name}", client.name), move |address| {
        let mut guard = client.driver(address)?;
        let mut run = Run {
            client,
            driver: guard.get()?,
            address,
        };
        let outcome = scenario(&mut run);
        drop(guard);
        if outcome.is_err() {
            // Members that the scenario left behind must not disturb the next one.
            client.close();
        }
        outcome
    });
    test.missing = client
        .missing()
        .map(|program| format!("{program} is not installed"));
    test
}

/// All tests, in the order in which they are worth reading.
pub fn listed() -> Vec<Test> {
    let mut tests = Vec::new();
    // The longest first: it has the most to gain from what runs beside it.
    tests.push(
        Test::new(
            "corpus::a_million_lines_through_console_producer_and_a_group",
            corpus::scenario,
        )
        .needs(tools::NEEDS),
    );
    for client in &CLIENTS {
        for codec in client.codecs {
            tests.push(of_client(client, &format!("records_{codec}"), move |run| {
                records::round_trip(run, codec)
            }));
        }
        for &(name, feature, scenario) in EVERYONE {
            if feature.is_none_or(|feature| client.has(feature)) {
                tests.push(of_client(client, name, scenario));
            }
        }
    }
    tests.extend(cross::listed());
    tests.extend(kcat::listed());
    tests.extend(tools::listed());
    tests.extend(dohle::listed());
    tests.extend(hostile::listed());
    tests.extend(kill::listed());
    tests.extend(log_code::listed());
    tests.extend(log_dirs::listed());
    tests.extend(compaction::listed());
    tests.extend(cluster::listed());
    tests
}

/// Waits until the partitions of a new topic, as this client sees them, are `count`.
pub fn wait_for_partitions(run: &mut Run<'_>, topic: &str, count: usize) -> Result<()> {
    wait::until("the topic has its partitions", wait::SOON, || {
        let seen: usize =
            run.driver
                .get("describe_topic", json!({"topic": topic}), "partitions")?;
        Ok((seen == count).then_some(()))
    })
    .with_context(|| format!("{topic}: {count} partitions"))
}
