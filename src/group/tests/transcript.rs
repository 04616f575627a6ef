//! Plays the files in `transcripts/`: lines after `>` are commands, the lines below them what came of it.
//!
//! With `UPDATE_TRANSCRIPTS=1` the files are rewritten with what really came; read the difference.
//! `#N` is the N-th request, `log` a record appended; member ids end in `~N` when request N made them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use super::harness::{Event, Harness, config};
use crate::error::ErrorCode;
use crate::group::command::*;
use crate::group::consumer_protocol::subscription;
use crate::group::records::{OffsetCommitValue, Record};
use crate::types::{LeaderEpoch, Offset, ProducerId, TimestampMs, TopicId};

#[test]
fn transcripts() {
    let directory = format!("{}/src/group/tests/transcripts", env!("CARGO_MANIFEST_DIR"));
    let mut paths: Vec<_> = std::fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty());
    let mut wrong = Vec::new();
    for path in paths {
        let expected = std::fs::read_to_string(&path).unwrap();
        let actual = play(&expected);
        if actual == expected {
            continue;
        }
        if std::env::var_os("UPDATE_TRANSCRIPTS").is_some() {
            std::fs::write(&path, actual).unwrap();
        } else {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let line = actual
                .lines()
                .zip(expected.lines())
                .position(|(actual, expected)| actual != expected);
            wrong.push(format!(
                "{name}, line {}:\n{actual}",
                line.map_or(0, |line| line + 1)
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// The script again, with what its commands came to.
fn play(script: &str) -> String {
    let mut player = Player {
        harness: Harness::new(config()),
    };
    let mut out = String::new();
    for line in script.lines() {
        if line.is_empty()
            || line.starts_with('#') && !line.starts_with("#1") && line.starts_with("# ")
        {
            out.push_str(line);
            out.push('\n');
        } else if let Some(command) = line.strip_prefix("> ") {
            writeln!(out, "> {command}").unwrap();
            player.run(command, &mut out);
        }
    }
    player.harness.check_against_log();
    out
}

struct Player {
    harness: Harness,
}

/// `name key=value … bare …`
struct Line {
    words: Vec<String>,
    named: BTreeMap<String, String>,
}

impl Line {
    fn parse(command: &str) -> Line {
        let mut line = Line {
            words: Vec::new(),
            named: BTreeMap::new(),
        };
        for word in command.split_whitespace() {
            match word.split_once('=') {
                Some((key, value)) => {
                    line.named.insert(key.into(), value.into());
                }
                None => line.words.push(word.into()),
            }
        }
        line
    }

    fn text(&self, key: &str) -> Option<Arc<str>> {
        self.named.get(key).map(|value| value.as_str().into())
    }

    fn number(&self, key: &str, default: i64) -> i64 {
        self.named
            .get(key)
            .map_or(default, |value| value.parse().unwrap())
    }

    fn list(&self, key: &str) -> Vec<Arc<str>> {
        let listed = self.named.get(key).map(String::as_str).unwrap_or_default();
        listed
            .split(',')
            .filter(|one| !one.is_empty())
            .map(Into::into)
            .collect()
    }

    fn group(&self) -> Arc<str> {
        self.words[1].as_str().into()
    }

    /// A member id, `c~7` written out.
    fn member(&self) -> Arc<str> {
        long(
            self.named
                .get("member")
                .map(String::as_str)
                .unwrap_or_default(),
        )
    }

    /// Topic ids are `topic:7`, partitions `topic-0`.
    fn partitions(&self) -> Vec<(String, TopicId, i32)> {
        let partitions = self.words[2..].iter().filter_map(|word| partition(word));
        partitions.collect()
    }
}

fn partition(word: &str) -> Option<(String, TopicId, i32)> {
    let (topic, partition) = word.rsplit_once('-')?;
    let (name, id) = topic.split_once(':').unwrap_or((topic, "0"));
    let id = TopicId(Uuid::from_u128(id.parse().ok()?));
    Some((name.into(), id, partition.parse().ok()?))
}

fn long(id: &str) -> Arc<str> {
    match id.split_once('~') {
        Some((prefix, number)) => {
            let id = Uuid::from_u128(number.parse().unwrap());
            format!("{prefix}-{id}").into()
        }
        None => id.into(),
    }
}

fn short(id: &str) -> String {
    if let Some(at) = id.len().checked_sub(37)
        && let Some((prefix, rest)) = id.split_at_checked(at)
        && let Ok(id) = rest[1..].parse::<Uuid>()
    {
        return format!("{prefix}~{}", id.as_u128());
    }
    id.into()
}

fn error(name: &str) -> ErrorCode {
    *ErrorCode::ALL
        .iter()
        .find(|error| error.name() == name)
        .unwrap()
}

impl Player {
    fn run(&mut self, command: &str, out: &mut String) {
        let line = Line::parse(command);
        let harness = &mut self.harness;
        match line.words[0].as_str() {
            "pass" => harness.advance(line.words[1].parse().unwrap()),
            "hold" => harness.auto_commit = false,
            "commit-log" => harness.commit(),
            "release" => {
                harness.auto_commit = true;
                harness.commit();
            }
            "time-out" => harness.time_out(error(&line.words[1])),
            "fail-append" => harness.fail_next_append = Some(error(&line.words[1])),
            "reload" => harness.reload(),
            "max-size" | "retention" => {
                let mut config = (*harness.config).clone();
                match line.words[0].as_str() {
                    "max-size" => config.max_size = line.words[1].parse().unwrap(),
                    _ => config.offsets_retention_ms = line.words[1].parse().unwrap(),
                }
                *harness = Harness::new(config);
            }
            "delete-topics" => {
                let topics = line.words[1..].iter().map(|word| {
                    let (name, id) = word.split_once(':').unwrap_or((word, "0"));
                    (name.into(), TopicId(Uuid::from_u128(id.parse().unwrap())))
                });
                harness.command(Command::DeleteTopics(topics.collect()));
            }
            "transactional-offset" => transactional_offset(harness, &line),
            "end-transaction" => {
                let producer = ProducerId(line.number("producer", 0));
                harness.end_transaction(producer, line.words[1] == "commit");
            }
            "state" => state(harness, &line.group(), out),
            _ => {
                let request = self.request(&line);
                self.harness.request(request);
            }
        }
        for event in self.harness.take_events() {
            show(&event, out);
        }
    }

    fn request(&mut self, line: &Line) -> Request {
        let generation = line.number("generation", -1) as i32;
        match line.words[0].as_str() {
            "join" => Request::JoinGroup(self.join(line)),
            "sync" => Request::SyncGroup(SyncGroup {
                group_id: line.group(),
                generation,
                member_id: line.member(),
                group_instance_id: line.text("instance"),
                protocol_type: line.text("type"),
                protocol_name: line.text("protocol"),
                assignments: line
                    .list("assign")
                    .iter()
                    .map(|one| {
                        let (member, assignment) = one.split_once(':').unwrap();
                        (long(member), Bytes::copy_from_slice(assignment.as_bytes()))
                    })
                    .collect(),
            }),
            "heartbeat" => Request::Heartbeat(Heartbeat {
                group_id: line.group(),
                generation,
                member_id: line.member(),
                group_instance_id: line.text("instance"),
            }),
            "leave" => Request::LeaveGroup(LeaveGroup {
                group_id: line.group(),
                members: line.words[2..]
                    .iter()
                    .map(|word| {
                        let (member, instance) = word.split_once('/').unwrap_or((word, ""));
                        LeavingMember {
                            member_id: long(member),
                            group_instance_id: Some(instance.into())
                                .filter(|instance: &Arc<str>| !instance.is_empty()),
                            reason: None,
                        }
                    })
                    .collect(),
            }),
            "commit" => Request::OffsetCommit(commit(line, generation)),
            "fetch" => Request::OffsetFetch(OffsetFetch {
                group_id: line.group(),
                topics: Some(topics(line, |name, topic_id, partitions| {
                    OffsetFetchTopic {
                        name,
                        topic_id,
                        partitions,
                    }
                }))
                .filter(|topics| !topics.is_empty()),
                require_stable: line.words.contains(&"stable".into()),
            }),
            "delete-offsets" => Request::OffsetDelete(OffsetDelete {
                group_id: line.group(),
                topics: topics(line, |name, _, partitions| (name, partitions)),
            }),
            "describe" => Request::DescribeGroups(DescribeGroups {
                group_ids: line.words[1..]
                    .iter()
                    .map(|id| id.as_str().into())
                    .collect(),
                supports_group_id_not_found: line.number("v", 5) >= 6,
            }),
            "list" => Request::ListGroups(ListGroups {
                states: line.list("states"),
                types: line.list("types"),
            }),
            "delete" => Request::DeleteGroups(
                line.words[1..]
                    .iter()
                    .map(|id| id.as_str().into())
                    .collect(),
            ),
            unknown => panic!("no such command: {unknown}"),
        }
    }

    fn join(&mut self, line: &Line) -> JoinGroup {
        let version = line.number("v", 9);
        let topics = line.text("topics").unwrap_or_else(|| "t".into());
        let topics: Vec<&str> = topics.split(',').collect();
        let protocols = line.text("protocols").unwrap_or_else(|| "range".into());
        JoinGroup {
            group_id: line.group(),
            session_timeout_ms: line.number("session", 10_000) as i32,
            rebalance_timeout_ms: line.number("rebalance", 60_000) as i32,
            member_id: line.member(),
            group_instance_id: line.text("instance"),
            protocol_type: line.text("type").unwrap_or_else(|| "consumer".into()),
            protocols: protocols
                .split(',')
                .filter(|name| !name.is_empty())
                .map(|name| match line.text("metadata") {
                    Some(metadata) => (name.into(), Bytes::copy_from_slice(metadata.as_bytes())),
                    None => (name.into(), subscription(&topics)),
                })
                .collect(),
            reason: None,
            client_id: line.text("client").unwrap_or_else(|| "c".into()),
            client_host: "/127.0.0.1".into(),
            requires_known_member_id: version >= 4,
            supports_skipping_assignment: version >= 9,
            fresh_id: Uuid::from_u128(u128::from(self.harness.next_token)),
        }
    }
}

fn topics<T>(line: &Line, make: impl Fn(Arc<str>, TopicId, Vec<i32>) -> T) -> Vec<T> {
    let partitions = line.partitions().into_iter();
    partitions
        .map(|(name, id, partition)| make(name.as_str().into(), id, vec![partition]))
        .collect()
}

/// Offsets are `topic-0=5` or `topic-0=5/metadata`.
fn commit(line: &Line, generation: i32) -> OffsetCommit {
    let topics = line.named.iter().filter_map(|(key, value)| {
        let (name, topic_id, partition) = partition(key)?;
        let (offset, metadata) = value.split_once('/').unwrap_or((value, ""));
        Some(OffsetCommitTopic {
            name: name.as_str().into(),
            topic_id,
            partitions: vec![OffsetCommitPartition {
                partition,
                offset: Offset(offset.parse().unwrap()),
                leader_epoch: LeaderEpoch::UNKNOWN,
                metadata: metadata.into(),
            }],
        })
    });
    OffsetCommit {
        group_id: line.group(),
        generation,
        member_id: line.member(),
        group_instance_id: line.text("instance"),
        retention_time_ms: line.number("retention", -1),
        topics: topics.collect(),
        supports_group_id_not_found: line.number("v", 8) >= 9,
    }
}

fn transactional_offset(harness: &mut Harness, line: &Line) {
    let producer = ProducerId(line.number("producer", 0));
    let group = line.group();
    if harness.soft.group(&group).is_none() {
        panic!("transactions join an existing group here");
    }
    for topic in commit(line, -1).topics {
        for partition in topic.partitions {
            let record = Record::OffsetCommit {
                group: group.clone(),
                topic: topic.name.clone(),
                partition: partition.partition,
                value: Some(OffsetCommitValue {
                    offset: partition.offset,
                    leader_epoch: partition.leader_epoch,
                    metadata: partition.metadata,
                    commit_timestamp: TimestampMs(1),
                    expire_timestamp: None,
                    topic_id: topic.topic_id,
                }),
            };
            harness.append(&record, producer);
        }
    }
}

fn state(harness: &Harness, group_id: &str, out: &mut String) {
    let Some(group) = harness.soft.group(group_id) else {
        writeln!(out, "{group_id}: none").unwrap();
        return;
    };
    let members: Vec<String> = group
        .members()
        .map(|member| short(&member.member_id))
        .collect();
    let leader = group.leader.as_deref().map(short);
    writeln!(
        out,
        "{group_id}: {} generation={} leader={} members={}",
        group.state.name(),
        group.generation,
        leader.unwrap_or_default(),
        members.join(",")
    )
    .unwrap();
}

fn show(event: &Event, out: &mut String) {
    match event {
        Event::Logged(record) => writeln!(out, "log {}", show_record(record)).unwrap(),
        Event::Replied(token, reply) => {
            write!(out, "{token} ").unwrap();
            show_reply(reply, out);
        }
    }
}

fn show_record(record: &Record) -> String {
    match record {
        Record::OffsetCommit {
            group,
            topic,
            partition,
            value: Some(value),
        } => {
            let mut line = format!("{group} {topic}-{partition}={}", value.offset);
            if !value.metadata.is_empty() {
                write!(line, "/{}", value.metadata).unwrap();
            }
            if !value.topic_id.is_zero() {
                write!(line, " id={}", value.topic_id.0.as_u128()).unwrap();
            }
            if let Some(expire) = value.expire_timestamp {
                write!(line, " until={expire}").unwrap();
            }
            line
        }
        Record::OffsetCommit {
            group,
            topic,
            partition,
            value: None,
        } => format!("{group} {topic}-{partition} gone"),
        Record::GroupMetadata { group, value: None } => format!("{group} gone"),
        Record::GroupMetadata {
            group,
            value: Some(value),
        } => {
            let mut line = format!(
                "{group} type={} generation={} protocol={} leader={}",
                value.protocol_type,
                value.generation,
                value.protocol.as_deref().unwrap_or("null"),
                value.leader.as_deref().map_or("null".into(), short),
            );
            for member in &value.members {
                let assignment = String::from_utf8_lossy(&member.assignment);
                write!(line, " {}:{assignment}", short(&member.member_id)).unwrap();
                if let Some(instance) = &member.group_instance_id {
                    write!(line, "/{instance}").unwrap();
                }
            }
            line
        }
    }
}

fn show_reply(reply: &Reply, out: &mut String) {
    match reply {
        Reply::JoinGroup(join) => {
            write!(out, "join {} member={}", join.error, short(&join.member_id)).unwrap();
            if join.generation >= 0 {
                let protocol = join.protocol_name.as_deref().unwrap_or("null");
                let leader = short(&join.leader);
                write!(
                    out,
                    " generation={} {protocol} leader={leader}",
                    join.generation
                )
                .unwrap();
            }
            if join.skip_assignment {
                out.push_str(" skip-assignment");
            }
            if !join.members.is_empty() {
                let members: Vec<_> = join.members.iter().map(|m| short(&m.member_id)).collect();
                write!(out, " members={}", members.join(",")).unwrap();
            }
            out.push('\n');
        }
        Reply::SyncGroup(sync) => {
            let assignment = String::from_utf8_lossy(&sync.assignment);
            writeln!(out, "sync {} {assignment}", sync.error).unwrap();
        }
        Reply::Heartbeat(error) => writeln!(out, "heartbeat {error}").unwrap(),
        Reply::LeaveGroup(leave) => {
            write!(out, "leave {}", leave.error).unwrap();
            for left in &leave.members {
                write!(out, " {}", short(&left.member_id)).unwrap();
                if let Some(instance) = &left.group_instance_id {
                    write!(out, "/{instance}").unwrap();
                }
                write!(out, ":{}", left.error).unwrap();
            }
            out.push('\n');
        }
        Reply::OffsetCommit(topics) => {
            out.push_str("commit");
            for topic in topics {
                for (partition, error) in &topic.partitions {
                    write!(out, " {}-{partition}:{error}", topic.name).unwrap();
                }
            }
            out.push('\n');
        }
        Reply::OffsetFetch(fetch) => {
            write!(out, "fetch {}", fetch.error).unwrap();
            for topic in &fetch.topics {
                for fetched in &topic.partitions {
                    write!(
                        out,
                        " {}-{}={}",
                        topic.name, fetched.partition, fetched.offset
                    )
                    .unwrap();
                    if !fetched.metadata.is_empty() {
                        write!(out, "/{}", fetched.metadata).unwrap();
                    }
                    if fetched.error.is_error() {
                        write!(out, ":{}", fetched.error).unwrap();
                    }
                }
            }
            out.push('\n');
        }
        Reply::OffsetDelete(delete) => {
            write!(out, "delete-offsets {}", delete.error).unwrap();
            for topic in &delete.topics {
                for (partition, error) in &topic.partitions {
                    write!(out, " {}-{partition}:{error}", topic.name).unwrap();
                }
            }
            out.push('\n');
        }
        Reply::DescribeGroups(groups) => {
            out.push_str("describe\n");
            for group in groups {
                write!(out, "   {} {} {}", group.group_id, group.error, group.state).unwrap();
                write!(
                    out,
                    " type={} protocol={}",
                    group.protocol_type, group.protocol
                )
                .unwrap();
                if let Some(message) = &group.error_message {
                    write!(out, " ({message})").unwrap();
                }
                out.push('\n');
                for member in &group.members {
                    let assignment = String::from_utf8_lossy(&member.assignment);
                    let (client, host) = (&member.client_id, &member.client_host);
                    let metadata = member.metadata.len();
                    let member = short(&member.member_id);
                    writeln!(
                        out,
                        "      {member} {client} {host} metadata={metadata}b {assignment}"
                    )
                    .unwrap();
                }
            }
        }
        Reply::ListGroups { error, groups } => {
            write!(out, "list {error}").unwrap();
            for group in groups {
                let (id, state, kind) = (&group.group_id, group.state, group.group_type);
                write!(out, " {id}/{kind}/{}/{state}", group.protocol_type).unwrap();
            }
            out.push('\n');
        }
        Reply::DeleteGroups(groups) => {
            out.push_str("delete");
            for (id, error) in groups {
                write!(out, " {id}:{error}").unwrap();
            }
            out.push('\n');
        }
    }
}
