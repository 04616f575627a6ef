//! Three members share six partitions; they commit, go, come back and go on where they were.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Run;
use super::records::base_ms;
use crate::driver::Driver;
use crate::paths;
use crate::wire::{Blob, Incoming, Outgoing, PartitionOffset, TopicPartition};

/// What one poll of a member gives.
#[derive(Deserialize)]
pub struct Poll {
    pub records: Vec<Incoming>,
    pub assignment: Vec<TopicPartition>,
    /// Partitions that it gave up since the last poll, where the client says so.
    #[serde(default)]
    pub revoked: Vec<TopicPartition>,
}

pub fn poll(driver: &mut Driver, member: &str) -> Result<Poll> {
    let answer = driver.call("member_poll", json!({"member": member, "timeout_ms": 100}))?;
    Ok(serde_json::from_value(answer)?)
}

/// A running group of one topic: its members, and everything that they were given.
pub struct Group {
    pub name: String,
    pub topic: String,
    pub members: Vec<String>,
    /// What each owned at its last poll.
    pub owned: BTreeMap<String, BTreeSet<i32>>,
    /// Everything delivered since the members were opened, with who got it.
    pub delivered: Vec<(String, Incoming)>,
    pub revoked: Vec<(String, i32)>,
}

impl Group {
    pub fn new(topic: &str) -> Self {
        Self {
            name: paths::unique("group"),
            topic: topic.to_owned(),
            members: Vec::new(),
            owned: BTreeMap::new(),
            delivered: Vec::new(),
            revoked: Vec::new(),
        }
    }

    /// Opens one more member, with further settings.
    pub fn open(&mut self, driver: &mut Driver, more: Value) -> Result<String> {
        let member = paths::unique("member");
        let mut request = json!({"member": member, "group": self.name, "topics": [self.topic]});
        if let (Some(request), Value::Object(more)) = (request.as_object_mut(), more) {
            request.extend(more);
        }
        driver.call("member_open", request)?;
        self.members.push(member.clone());
        Ok(member)
    }

    pub fn close(&mut self, driver: &mut Driver, member: &str) -> Result<()> {
        self.members.retain(|other| other != member);
        self.owned.remove(member);
        driver.call("member_close", json!({"member": member}))?;
        Ok(())
    }

    pub fn close_all(&mut self, driver: &mut Driver) -> Result<()> {
        for member in self.members.clone() {
            self.close(driver, &member)?;
        }
        self.delivered.clear();
        Ok(())
    }

    /// Polls every member, round after round, until `done`.
    pub fn poll_until(
        &mut self,
        driver: &mut Driver,
        what: &str,
        done: impl Fn(&Self) -> bool,
    ) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(90);
        while !done(self) {
            if Instant::now() >= deadline {
                bail!(
                    "not in time: {what}; owned: {:?}, delivered: {}",
                    self.owned,
                    self.delivered.len()
                );
            }
            for member in self.members.clone() {
                let Poll {
                    records,
                    assignment,
                    revoked,
                } = poll(driver, &member)?;
                self.delivered
                    .extend(records.into_iter().map(|record| (member.clone(), record)));
                self.revoked.extend(
                    revoked
                        .into_iter()
                        .map(|(_, partition)| (member.clone(), partition)),
                );
                let partitions = assignment
                    .into_iter()
                    .filter(|(topic, _)| *topic == self.topic);
                self.owned
                    .insert(member, partitions.map(|(_, partition)| partition).collect());
            }
        }
        Ok(())
    }

    /// Polls until each member owns as many of `partitions` as the others and none is owned twice.
    pub fn settle(&mut self, driver: &mut Driver, partitions: usize) -> Result<()> {
        self.poll_until(driver, "the partitions are shared evenly", |group| {
            let each = partitions / group.members.len();
            let all: BTreeSet<_> = group.owned.values().flatten().collect();
            group.owned.len() == group.members.len()
                && group.owned.values().all(|owned| owned.len() == each)
                && all.len() == partitions
        })
    }

    pub fn owner(&self, partition: i32) -> Result<&str> {
        let owner = self
            .owned
            .iter()
            .find(|(_, owned)| owned.contains(&partition));
        owner
            .map(|(member, _)| member.as_str())
            .with_context(|| format!("partition {partition} has no owner"))
    }

    /// Every owner commits `offset` for each of its partitions.
    pub fn commit(&self, driver: &mut Driver, offset: i64) -> Result<()> {
        for (member, owned) in &self.owned {
            let offsets: Vec<PartitionOffset> = owned
                .iter()
                .map(|&p| (self.topic.clone(), p, offset))
                .collect();
            driver.call(
                "member_commit",
                json!({"member": member, "offsets": offsets}),
            )?;
        }
        Ok(())
    }

    pub fn committed(&self, driver: &mut Driver) -> Result<BTreeMap<i32, i64>> {
        let request = json!({"group": self.name, "topic": self.topic});
        let offsets: Vec<PartitionOffset> = driver.get("committed", request, "offsets")?;
        Ok(offsets
            .into_iter()
            .map(|(_, partition, offset)| (partition, offset))
            .collect())
    }

    /// The offsets delivered of each partition, from `from` on, in the order in which they came.
    pub fn offsets_from(&self, from: i64) -> BTreeMap<i32, Vec<i64>> {
        let mut offsets: BTreeMap<i32, Vec<i64>> = BTreeMap::new();
        for (_, record) in self
            .delivered
            .iter()
            .filter(|(_, record)| record.offset >= from)
        {
            offsets
                .entry(record.partition)
                .or_default()
                .push(record.offset);
        }
        offsets
    }

    /// Whether each of `partitions` has had the record at `offset` from its present owner.
    pub fn has_reached(&self, partitions: i32, offset: i64) -> bool {
        (0..partitions).all(|partition| {
            self.owner(partition).is_ok_and(|owner| {
                self.delivered
                    .iter()
                    .any(|(to, r)| to == owner && r.partition == partition && r.offset == offset)
            })
        })
    }
}

/// `each` records for every partition; the value says where it is to be.
pub fn fill(run: &mut Run<'_>, topic: &str, partitions: i32, from: i64, each: i64) -> Result<()> {
    let mut records = Vec::new();
    for offset in from..from + each {
        for partition in 0..partitions {
            records.push(Outgoing {
                partition: Some(partition),
                key: Some(Blob(format!("{partition}").into_bytes())),
                value: Some(Blob(format!("{partition}/{offset}").into_bytes())),
                headers: Vec::new(),
                timestamp: Some(base_ms() + offset),
            });
        }
    }
    let placed = run.produce(topic, "gzip", &records)?;
    let fits = placed
        .iter()
        .all(|(_, offset)| (from..from + each).contains(offset));
    ensure!(fits, "records were placed elsewhere: {placed:?}");
    Ok(())
}

const PARTITIONS: i32 = 6;

fn exactly(range: std::ops::Range<i64>) -> BTreeMap<i32, Vec<i64>> {
    (0..PARTITIONS)
        .map(|partition| (partition, range.clone().collect()))
        .collect()
}

pub fn three_members(run: &mut Run<'_>) -> Result<()> {
    let topic = run.create_topic("three-members", PARTITIONS)?;
    let mut group = Group::new(&topic);
    for _ in 0..3 {
        group.open(run.driver, json!({}))?;
    }
    group.settle(run.driver, 6)?;

    // Nothing moves any more: each record comes once, to the owner of its partition, in order.
    fill(run, &topic, PARTITIONS, 0, 60)?;
    group.poll_until(run.driver, "360 records came", |group| {
        group.delivered.len() >= 360
    })?;
    ensure!(
        group.offsets_from(0) == exactly(0..60),
        "came: {:?}",
        group.offsets_from(0)
    );
    for (member, record) in &group.delivered {
        ensure!(
            group.owner(record.partition)? == member,
            "{member} got {record:?}"
        );
        let wanted = Blob(format!("{}/{}", record.partition, record.offset).into_bytes());
        ensure!(record.value == Some(wanted), "{record:?}");
    }

    // They commit half and go; those who come back go on there.
    group.commit(run.driver, 30)?;
    group.close_all(run.driver)?;
    let committed = group.committed(run.driver)?;
    ensure!(
        committed == (0..PARTITIONS).map(|partition| (partition, 30)).collect(),
        "committed: {committed:?}"
    );
    for _ in 0..3 {
        group.open(run.driver, json!({}))?;
    }
    group.settle(run.driver, 6)?;
    group.poll_until(run.driver, "every partition reached its end", |group| {
        group.has_reached(PARTITIONS, 59)
    })?;
    let repeated: Vec<_> = group
        .delivered
        .iter()
        .filter(|(_, record)| record.offset < 30)
        .collect();
    ensure!(
        repeated.is_empty(),
        "came again although committed: {repeated:?}"
    );
    for (partition, offsets) in group.offsets_from(30) {
        let distinct: BTreeSet<_> = offsets.iter().copied().collect();
        ensure!(
            distinct == (30..60).collect(),
            "partition {partition}: lost, came: {offsets:?}"
        );
    }

    // Committed to the end, then new records: exactly those, exactly once.
    group.commit(run.driver, 60)?;
    fill(run, &topic, PARTITIONS, 60, 10)?;
    group.poll_until(run.driver, "the new records came", |group| {
        group.has_reached(PARTITIONS, 69)
    })?;
    ensure!(
        group.offsets_from(60) == exactly(60..70),
        "came: {:?}",
        group.offsets_from(60)
    );
    group.commit(run.driver, 70)?;

    // One goes: the two that are left have three each, and read on where it was.
    let leaver = group.members.first().context("no member")?.clone();
    group.close(run.driver, &leaver)?;
    group.settle(run.driver, 6)?;
    fill(run, &topic, PARTITIONS, 70, 5)?;
    group.poll_until(run.driver, "the last records came", |group| {
        group.has_reached(PARTITIONS, 74)
    })?;
    ensure!(
        group.offsets_from(70) == exactly(70..75),
        "came: {:?}",
        group.offsets_from(70)
    );
    group.close_all(run.driver)
}
