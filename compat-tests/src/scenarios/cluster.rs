//! Several nodes, as processes of their own: what one is told all know, and no one of them is needed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures_executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::{Offset, TopicPartitionList};

use super::Test;
use super::tools::NEEDS;
use crate::broker::{Broker, free_port};
use crate::ensemble::{Cluster, Nodes as _};
use crate::ensemble_loop::{Options, run};
use crate::{netns, requests, tools, wait};

type Scenario = fn(&str) -> Result<()>;

pub fn listed() -> Vec<Test> {
    let scenarios: [(&str, Scenario); 6] = [
        ("any_node_takes_any_request", any_node),
        ("what_one_node_has_told_every_other_knows", told_anywhere),
        ("a_broker_that_dies_is_fenced_and_comes_back", fenced),
        ("nodes_are_killed_again_and_again", again_and_again),
        ("five_nodes_are_killed_again_and_again", five),
        ("a_node_with_a_wiped_disk_is_refused", wiped),
    ];
    let ours = |(name, scenario)| Test::new(format!("cluster::{name}"), scenario).ours_only();
    let mut tests: Vec<Test> = scenarios.into_iter().map(ours).collect();
    tests.push(
        Test::new(
            "cluster::kafka_metadata_quorum_shows_and_changes_the_voters",
            quorum,
        )
        .needs(NEEDS)
        .ours_only(),
    );
    tests.push(on_a_network(
        "five_nodes_on_a_network_that_fails",
        five_on_a_network,
    ));
    tests
}

fn on_a_network(name: &str, scenario: Scenario) -> Test {
    let test = Test::new(format!("cluster::{name}"), scenario)
        .needs(&["ip"])
        .ours_only();
    let forbidden = test.missing.is_none().then(netns::forbidden).flatten();
    Test { forbidden, ..test }
}

fn consumer(address: &str) -> Result<BaseConsumer> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", address)
        .set("group.id", crate::paths::unique("cluster"));
    Ok(config.create()?)
}

fn create(address: &str, name: &str, partitions: i32) -> Result<()> {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", address)
        .create()?;
    let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
    let created = block_on(admin.create_topics([&topic], &AdminOptions::new()))?;
    let created = created.into_iter().next().context("no answer")?;
    created.map_err(|(name, error)| anyhow::anyhow!("{name}: {error}"))?;
    Ok(())
}

/// The leader of each partition, and the ids of all brokers, as one node has them.
fn seen_by(address: &str, topic: &str) -> Result<(Vec<i32>, BTreeSet<i32>)> {
    let metadata = consumer(address)?.fetch_metadata(Some(topic), wait::SOON)?;
    let brokers = metadata
        .brokers()
        .iter()
        .map(|broker| broker.id())
        .collect();
    let topic = metadata.topics().first().context("no topic")?;
    let leaders = topic
        .partitions()
        .iter()
        .map(|partition| partition.leader());
    Ok((leaders.collect(), brokers))
}

/// What one node has told a client, every other one knows from then on.
fn told_anywhere(_shared: &str) -> Result<()> {
    let cluster = Cluster::start(3, &[])?;
    cluster.wait_until_whole()?;
    let address = |turn: u16| cluster.address(1 + turn % 3);
    for turn in 0..150 {
        let name = format!("told-{turn}");
        let created = requests::create_topic(&address(turn), &name, wait::SOON)?;
        ensure!(created == 0, "{name}: error {created}");
        let (leaders, _) = seen_by(&address(turn + 1), &name)?;
        ensure!(leaders.len() == 1, "{name} is not known");
        let deleted = requests::delete_topic(&address(turn + 2), &name, wait::SOON)?;
        ensure!(deleted == 0, "{name} cannot be deleted: error {deleted}");
    }
    Ok(())
}

fn any_node(_shared: &str) -> Result<()> {
    let cluster = Cluster::start(3, &[])?;
    cluster.wait_until_whole()?;
    create(&cluster.address(2), "spread", 9)?;
    for node in 1..=3 {
        let (leaders, brokers) = seen_by(&cluster.address(node), "spread")?;
        ensure!(
            brokers == BTreeSet::from([1, 2, 3]),
            "node {node}: brokers {brokers:?}"
        );
        let mut counts: BTreeMap<i32, usize> = BTreeMap::new();
        for leader in leaders {
            *counts.entry(leader).or_default() += 1;
        }
        ensure!(
            counts == BTreeMap::from([(1, 3), (2, 3), (3, 3)]),
            "node {node}: partitions by leader {counts:?}"
        );
    }
    // Every partition is served by its owner, whomever a client asks first.
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", cluster.address(1))
        .create()?;
    for partition in 0..9 {
        let payload = format!("to {partition}");
        let record = BaseRecord::<(), str>::to("spread")
            .partition(partition)
            .payload(&payload);
        producer.send(record).map_err(|(error, _)| error)?;
    }
    producer.flush(wait::SOON)?;
    let consumer = consumer(&cluster.address(3))?;
    let mut all = TopicPartitionList::new();
    for partition in 0..9 {
        all.add_partition_offset("spread", partition, Offset::Beginning)?;
    }
    consumer.assign(&all)?;
    let mut came = BTreeSet::new();
    wait::until("every record came", wait::SOON, || {
        if let Some(message) = consumer.poll(Duration::from_millis(100)) {
            let message = message?;
            let payload =
                String::from_utf8_lossy(message.payload().unwrap_or_default()).into_owned();
            ensure!(
                payload == format!("to {}", message.partition()),
                "{payload}"
            );
            came.insert(message.partition());
        }
        Ok((came.len() == 9).then_some(()))
    })
}

fn fenced(_shared: &str) -> Result<()> {
    let cluster = Cluster::start(3, &[])?;
    cluster.wait_until_whole()?;
    let leader = cluster.leader()?;
    let follower = if leader == 1 { 2 } else { 1 };
    create(&cluster.address(leader), "owned", 9)?;
    cluster.kill(follower)?;
    let gone = i32::from(follower);
    let others: Vec<u16> = (1..=3).filter(|node| *node != follower).collect();
    for node in &others {
        wait::until("the dead broker is not listed", wait::SOON, || {
            let (leaders, brokers) = seen_by(&cluster.address(*node), "owned")?;
            Ok((!brokers.contains(&gone) && !leaders.contains(&gone)).then_some(()))
        })?;
    }
    // New topics are placed on those who live.
    create(&cluster.address(leader), "meanwhile", 6)?;
    let (leaders, _) = seen_by(&cluster.address(leader), "meanwhile")?;
    ensure!(
        leaders.len() == 6 && !leaders.contains(&gone),
        "{leaders:?}"
    );
    cluster.restart(follower)?;
    cluster.wait_until_whole()?;
    wait::until("its partitions are led again", wait::SOON, || {
        let (leaders, brokers) = seen_by(&cluster.address(follower), "owned")?;
        Ok(
            (brokers.len() == 3 && leaders.iter().filter(|l| **l == gone).count() == 3)
                .then_some(()),
        )
    })
}

fn again_and_again(_shared: &str) -> Result<()> {
    let options = Options {
        faults: 6,
        longest_calm_ms: 800,
        ..Options::default()
    };
    run(&options)?.check()
}

fn five(_shared: &str) -> Result<()> {
    let options = Options {
        nodes: 5,
        faults: 4,
        longest_calm_ms: 800,
        ..Options::default()
    };
    run(&options)?.check()
}

/// By this seed six faults of six kinds, whoever leads: among them a leader is killed, and one reaches nobody but clients.
fn five_on_a_network(_shared: &str) -> Result<()> {
    let options = Options {
        nodes: 5,
        faults: 6,
        seed: 138,
        longest_calm_ms: 500,
        network: true,
        ..Options::default()
    };
    let summary = run(&options)?;
    summary.check()?;
    ensure!(
        summary.faults.len() == 6
            && summary.leaders_lost > 0
            && summary.gaps_ms.contains_key("leader_killed")
            && summary.gaps_ms.contains_key("leader_isolated")
            && summary
                .frames
                .is_some_and(|frames| frames.cut > 0 && frames.lost > 0),
        "what was to happen did not: {summary:?}"
    );
    Ok(())
}

/// What it promised went with its disk: it must not vote as if it had not.
fn wiped(_shared: &str) -> Result<()> {
    let cluster = Cluster::start(3, &[])?;
    cluster.wait_until_whole()?;
    let leader = cluster.leader()?;
    let victim = if leader == 1 { 2 } else { 1 };
    // The leader records with which disk each votes.
    create(&cluster.address(leader), "before", 1)?;
    cluster.kill(victim)?;
    fs::remove_dir_all(cluster.node_dir(victim).join("data"))?;
    let told = cluster.restart(victim).unwrap_err().to_string();
    let log = fs::read_to_string(cluster.node_dir(victim).join("log"))?;
    ensure!(
        log.contains("its disk was wiped or replaced"),
        "{told}\n{log}"
    );
    // The others go on.
    create(&cluster.address(leader), "after", 1)
}

fn quorum(_shared: &str) -> Result<()> {
    let cluster = Cluster::start(3, &[])?;
    cluster.wait_until_whole()?;
    let leader = cluster.leader()?;
    let bootstrap = cluster.bootstrap();
    let describe = |what: &str| {
        let args = ["--bootstrap-server", &bootstrap, "describe", what];
        tools::ok(tools::METADATA_QUORUM, &args, "")
    };
    let status = describe("--status")?;
    ensure!(
        status.lines().any(|line| line.starts_with("LeaderId:") && line.trim().ends_with(&leader.to_string())),
        "{status}"
    );
    let replication = describe("--replication")?;
    let count = |text: &str, word: &str| text.lines().filter(|line| line.contains(word)).count();
    ensure!(
        count(&replication, "Leader") == 1 && count(&replication, "Follower") == 2,
        "{replication}"
    );

    // A fourth node observes; then it gets a vote, and loses it again.
    let listener = free_port()?;
    let voters = fs::read_to_string(cluster.node_dir(1).join("dohle.toml"))?;
    let voters = voters
        .lines()
        .find_map(|line| line.strip_prefix("\"ensemble.voters\" = "))
        .context("no ensemble.voters")?
        .trim_matches('"')
        .to_owned();
    let observer = Broker::start(&[
        "node.id=4",
        &format!("ensemble.voters={voters}"),
        &format!("ensemble.listener=localhost:{listener}"),
    ])?;
    let replication = describe("--replication")?;
    ensure!(count(&replication, "Observer") == 1, "{replication}");
    let properties = observer.data_dir().join("controller.properties");
    fs::write(
        &properties,
        format!(
            "process.roles=controller\nnode.id=4\nlog.dirs={}\ncontroller.listener.names=CONTROLLER\nlisteners=CONTROLLER://localhost:{listener}\ncontroller.quorum.bootstrap.servers={bootstrap}\n",
            observer.data_dir().display()
        ),
    )?;
    let config = properties.display().to_string();
    let args = [
        "--bootstrap-server",
        &bootstrap,
        "--command-config",
        &config,
        "add-controller",
    ];
    tools::ok(tools::METADATA_QUORUM, &args, "")?;
    let replication = describe("--replication")?;
    ensure!(count(&replication, "Follower") == 3, "{replication}");
    let meta = fs::read_to_string(observer.data_dir().join("meta.properties"))?;
    let directory = meta
        .lines()
        .find_map(|line| line.strip_prefix("directory.id="))
        .context("no directory.id")?;
    let args = [
        "--bootstrap-server",
        &bootstrap,
        "remove-controller",
        "--controller-id",
        "4",
        "--controller-directory-id",
        directory,
    ];
    tools::ok(tools::METADATA_QUORUM, &args, "")?;
    let replication = describe("--replication")?;
    ensure!(
        count(&replication, "Follower") == 2 && count(&replication, "Observer") == 1,
        "{replication}"
    );
    Ok(())
}
