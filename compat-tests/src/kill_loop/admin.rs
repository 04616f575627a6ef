//! Administration under crashes: records are deleted, topics come and go. What was answered with yes must hold.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use futures_executor::block_on;
use rand::{RngExt as _, rngs::StdRng};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::{ClientConfig, FromClientConfig as _};
use rdkafka::{Offset, TopicPartitionList};

use super::Topic;
use super::observer::{Observed, REWIND};
use crate::paths;

const TIMEOUT: Duration = Duration::from_secs(5);
/// Topics that come and go.
const CHURN: &str = "kill-loop-churn";

pub struct Admin {
    client: AdminClient<DefaultClientContext>,
}

/// What was answered with yes, and what nobody knows.
#[derive(Default)]
pub struct Churn {
    created: BTreeSet<String>,
    deleted: BTreeSet<String>,
    pub records_deleted: u64,
    pub topics_made: u64,
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .operation_timeout(Some(TIMEOUT))
        .request_timeout(Some(TIMEOUT))
}

impl Admin {
    pub fn new(address: &str) -> Result<Self> {
        let client = AdminClient::from_config(
            ClientConfig::new()
                .set("bootstrap.servers", address)
                .set("reconnect.backoff.ms", "10")
                .set("reconnect.backoff.max.ms", "200")
                .set("log_level", "2"),
        )?;
        Ok(Self { client })
    }

    pub fn create(&self, name: &str, partitions: i32, configs: &[(&str, &str)]) -> Result<()> {
        let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        for (name, value) in configs {
            topic = topic.set(name, value);
        }
        let created = block_on(self.client.create_topics([&topic], &options()))?;
        let created = created.into_iter().next().context("no answer")?;
        created.map_err(|(_, error)| anyhow!("{name}: {error}"))?;
        Ok(())
    }

    /// Goes on until `stop`, whatever fails meanwhile.
    pub fn run(
        &self,
        topics: &[Topic],
        observed: &Mutex<Observed>,
        stop: &AtomicBool,
        mut random: StdRng,
    ) -> Result<Churn> {
        let mut churn = Churn::default();
        while !stop.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(random.random_range(20..300)));
            if random.random_ratio(1, 6) {
                self.make_or_delete_topic(&mut churn, &mut random);
                continue;
            }
            let Some((at, topic)) = topics.iter().enumerate().find(|(_, topic)| topic.shortened)
            else {
                continue;
            };
            let partition = random.random_range(0..topic.partitions);
            let end = observed
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .end((at, partition));
            // Never what the observer may read again.
            let before = end - REWIND - random.random_range(1..400);
            if before > 0 {
                let mut list = TopicPartitionList::new();
                list.add_partition_offset(&topic.name, partition, Offset::Offset(before))?;
                if block_on(self.client.delete_records(&list, &options())).is_ok() {
                    churn.records_deleted += 1;
                }
            }
        }
        Ok(churn)
    }

    fn make_or_delete_topic(&self, churn: &mut Churn, random: &mut StdRng) {
        let old = churn.created.iter().next().cloned();
        if let Some(old) = old.filter(|_| churn.created.len() > 3) {
            churn.created.remove(&old);
            let deleted = block_on(self.client.delete_topics(&[&old], &options()));
            if deleted.is_ok_and(|answers| answers.iter().all(Result::is_ok)) {
                churn.deleted.insert(old);
            }
            return;
        }
        let name = paths::unique(CHURN);
        if self.create(&name, random.random_range(1..5), &[]).is_ok() {
            churn.created.insert(name);
            churn.topics_made += 1;
        }
    }

    /// Topics as they are now against what was promised.
    pub fn check(&self, churn: &Churn) -> Result<()> {
        let metadata = self.client.inner().fetch_metadata(None, TIMEOUT)?;
        let there: BTreeSet<&str> = metadata.topics().iter().map(|topic| topic.name()).collect();
        for name in &churn.created {
            ensure!(there.contains(name.as_str()), "{name} was made and is gone");
        }
        for name in &churn.deleted {
            ensure!(
                !there.contains(name.as_str()),
                "{name} was deleted and is back"
            );
        }
        Ok(())
    }
}
