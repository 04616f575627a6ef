//! Groups left to chance: clients that join, die, come back, commit and are removed at any time, over a
//! log that fails now and then and a partition that moves.
//!
//! The clients follow the protocol as real ones do, so that groups do get Stable. Checked on every step: see
//! the harness. At the end, everybody stops and time passes: no request may be left waiting.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use uuid::Uuid;

use super::harness::{Event, Harness, config};
use crate::error::ErrorCode;
use crate::group::classic::ClassicGroupState;
use crate::group::command::*;
use crate::group::consumer_protocol::subscription;
use crate::group::records::Record;
use crate::state_machine::ReplyToken;
use crate::types::{LeaderEpoch, Offset, TopicId};

#[derive(Debug, Clone, Default)]
struct Client {
    instance_id: Option<Arc<str>>,
    member_id: Arc<str>,
    generation: i32,
    is_leader: bool,
    members: Vec<Arc<str>>,
    waits_for: Option<ReplyToken>,
    is_member: bool,
    is_synced: bool,
}

struct World {
    harness: Harness,
    random: SmallRng,
    clients: Vec<Client>,
    /// The last commit that was acknowledged, and the request number of the last tombstone.
    committed: BTreeMap<(Arc<str>, i32), i64>,
    tombstones: BTreeMap<(Arc<str>, i32), i64>,
    stable_seen: usize,
}

const SESSION_MS: i32 = 6_000;

fn group_of(client: usize) -> Arc<str> {
    format!("g{}", client % 3).into()
}

impl World {
    fn new(seed: u64) -> World {
        let clients = (0..12).map(|number| Client {
            instance_id: (number % 2 == 0).then(|| format!("i{number}").into()),
            ..Client::default()
        });
        World {
            harness: Harness::new(config()),
            random: SmallRng::seed_from_u64(seed),
            clients: clients.collect(),
            committed: BTreeMap::new(),
            tombstones: BTreeMap::new(),
            stable_seen: 0,
        }
    }

    fn step(&mut self) {
        let client = self.random.random_range(0..self.clients.len());
        match self.random.random_range(0..1_000) {
            0..800 => self.act(client),
            800..920 => {
                let delay = self.random.random_range(0..1_000);
                self.harness.advance(delay);
            }
            920..925 => self.crash(client),
            925..930 => self.leave(client),
            930..940 => self.harness.auto_commit = !self.harness.auto_commit,
            940..990 => self.harness.commit(),
            990..993 => self.harness.fail_next_append = Some(ErrorCode::NotEnoughReplicas),
            993..995 => self.harness.reload(),
            995..997 => self.delete_group(client),
            997..998 => self.harness.advance(60_000),
            _ => self.repeat_join(client),
        }
        self.take_events();
        self.harness.check_against_log();
        for ((group, partition), offset) in &self.committed {
            let known = self.harness.hard.offsets().get(group, "t", *partition);
            assert!(known.unwrap().value.offset.0 >= *offset, "a commit is lost");
        }
        for group in self.harness.soft.groups() {
            self.stable_seen += usize::from(group.is(ClassicGroupState::Stable));
        }
    }

    /// What a healthy client does next.
    fn act(&mut self, number: usize) {
        let client = &self.clients[number];
        if client.waits_for.is_some() {
            return;
        }
        let group_id = group_of(number);
        if !client.is_member {
            self.join(number);
        } else if !client.is_synced {
            let assignments = match client.is_leader {
                true => client.members.clone(),
                false => Vec::new(),
            };
            let request = Request::SyncGroup(SyncGroup {
                group_id,
                generation: client.generation,
                member_id: client.member_id.clone(),
                group_instance_id: client.instance_id.clone(),
                protocol_type: None,
                protocol_name: None,
                assignments: assignments
                    .into_iter()
                    .map(|id| (id.clone(), Bytes::copy_from_slice(id.as_bytes())))
                    .collect(),
            });
            self.send(number, request);
        } else if self.random.random_bool(0.6) {
            let request = Request::Heartbeat(Heartbeat {
                group_id,
                generation: client.generation,
                member_id: client.member_id.clone(),
                group_instance_id: client.instance_id.clone(),
            });
            self.send(number, request);
        } else {
            let partition = self.random.random_range(0..3);
            let client = &self.clients[number];
            let request = Request::OffsetCommit(OffsetCommit {
                group_id,
                generation: client.generation,
                member_id: client.member_id.clone(),
                group_instance_id: client.instance_id.clone(),
                retention_time_ms: -1,
                topics: vec![OffsetCommitTopic {
                    name: "t".into(),
                    topic_id: TopicId::ZERO,
                    partitions: vec![OffsetCommitPartition {
                        partition,
                        offset: Offset(self.harness.next_token as i64),
                        leader_epoch: LeaderEpoch(0),
                        metadata: "".into(),
                    }],
                }],
                supports_group_id_not_found: true,
            });
            self.send(number, request);
        }
    }

    fn join(&mut self, number: usize) {
        let fresh = self.random.random();
        let sticky_first = self.random.random_bool(0.1);
        let version_9 = self.random.random_bool(0.5);
        let client = &self.clients[number];
        let names = match sticky_first {
            true => ["sticky", "range"],
            false => ["range", "sticky"],
        };
        let request = Request::JoinGroup(JoinGroup {
            group_id: group_of(number),
            session_timeout_ms: SESSION_MS,
            rebalance_timeout_ms: 9_000,
            member_id: client.member_id.clone(),
            group_instance_id: client.instance_id.clone(),
            protocol_type: "consumer".into(),
            protocols: names
                .map(|name| (name.into(), subscription(&["t"])))
                .to_vec(),
            reason: None,
            client_id: format!("c{number}").into(),
            client_host: "/127.0.0.1".into(),
            requires_known_member_id: version_9,
            supports_skipping_assignment: version_9,
            fresh_id: Uuid::from_u128(fresh),
        });
        self.send(number, request);
    }

    /// A client whose connection broke asks again while its first join still waits.
    fn repeat_join(&mut self, number: usize) {
        let client = &mut self.clients[number];
        if client.waits_for.is_some() && !client.is_member {
            client.waits_for = None;
            self.join(number);
        }
    }

    fn crash(&mut self, number: usize) {
        let instance_id = self.clients[number].instance_id.clone();
        self.clients[number] = Client {
            instance_id,
            ..Client::default()
        };
    }

    fn leave(&mut self, number: usize) {
        let client = &self.clients[number];
        let by_instance = client.instance_id.is_some() && self.random.random_bool(0.5);
        let request = Request::LeaveGroup(LeaveGroup {
            group_id: group_of(number),
            members: vec![LeavingMember {
                member_id: match by_instance {
                    true => "".into(),
                    false => client.member_id.clone(),
                },
                group_instance_id: client.instance_id.clone(),
                reason: None,
            }],
        });
        self.harness.request(request);
    }

    fn delete_group(&mut self, number: usize) {
        let request = Request::DeleteGroups(vec![group_of(number)]);
        self.harness.request(request);
    }

    fn send(&mut self, number: usize, request: Request) {
        // The answer may come before the token is known here.
        let token = ReplyToken(self.harness.next_token);
        self.clients[number].waits_for = Some(token);
        assert_eq!(self.harness.request(request), token);
    }

    fn take_events(&mut self) {
        for event in self.harness.take_events() {
            let (token, reply) = match event {
                Event::Replied(token, reply) => (token, reply),
                Event::Logged(Record::OffsetCommit {
                    group,
                    partition,
                    value: None,
                    ..
                }) => {
                    let partition = (group, partition);
                    self.committed.remove(&partition);
                    let request = self.harness.next_token as i64;
                    self.tombstones.insert(partition, request);
                    continue;
                }
                Event::Logged(_) => continue,
            };
            let waits = |client: &Client| client.waits_for == Some(token);
            if let Some(number) = self.clients.iter().position(waits) {
                self.clients[number].waits_for = None;
                self.take_reply(number, token.0 as i64, reply);
            }
        }
    }

    /// An offset is the number of the request that committed it.
    fn take_reply(&mut self, number: usize, offset: i64, reply: Reply) {
        let client = &mut self.clients[number];
        let error = match &reply {
            Reply::JoinGroup(join) => join.error,
            Reply::SyncGroup(sync) => sync.error,
            Reply::Heartbeat(error) => *error,
            Reply::OffsetCommit(topics) => topics[0].partitions[0].1,
            other => panic!("no client waits for {other:?}"),
        };
        match error {
            ErrorCode::UnknownMemberId | ErrorCode::FencedInstanceId => {
                client.member_id = "".into();
                client.is_member = false;
            }
            ErrorCode::MemberIdRequired => {}
            ErrorCode::None => {}
            _ => client.is_member = false,
        }
        match reply {
            Reply::JoinGroup(join) if !join.member_id.is_empty() => {
                if matches!(error, ErrorCode::MemberIdRequired | ErrorCode::None) {
                    client.member_id = join.member_id.clone();
                }
                if error == ErrorCode::None {
                    client.is_member = true;
                    client.is_synced = false;
                    client.generation = join.generation;
                    client.is_leader = *join.leader == *join.member_id && !join.skip_assignment;
                    client.members = join.members.into_iter().map(|m| m.member_id).collect();
                    assert!(!client.is_leader || !client.members.is_empty());
                }
            }
            Reply::SyncGroup(sync) if error == ErrorCode::None => {
                client.is_synced = true;
                // An assignment is the member's own, or (it came back under a new id) its former self's.
                if client.instance_id.is_none() {
                    assert_eq!(sync.assignment.as_ref(), client.member_id.as_bytes());
                }
            }
            Reply::SyncGroup(_) => client.is_member = false,
            Reply::OffsetCommit(topics) if error == ErrorCode::None => {
                let partition = (group_of(number), topics[0].partitions[0].0);
                let tombstone = self.tombstones.get(&partition).copied().unwrap_or(0);
                if offset > tombstone {
                    let last = self.committed.entry(partition).or_default();
                    *last = offset.max(*last);
                }
            }
            _ => {}
        }
    }
}

fn run(seed: u64, steps: usize) -> (usize, usize) {
    let mut world = World::new(seed);
    for _ in 0..steps {
        world.step();
    }
    world.harness.auto_commit = true;
    world.harness.fail_next_append = None;
    world.harness.commit();
    world.harness.advance(1_000_000);
    assert_eq!(world.harness.open.len(), 0, "somebody waits for ever");
    for group in world.harness.soft.groups() {
        assert!(group.is(ClassicGroupState::Empty), "{group:?}");
    }
    (world.stable_seen, world.harness.log.len())
}

#[test]
fn random_groups_keep_their_promises() {
    let mut stable = 0;
    for seed in 0..60 {
        println!("seed {seed}");
        stable += run(seed, 600).0;
    }
    assert!(stable > 10_000, "groups hardly ever get Stable: {stable}");
}

#[test]
fn one_seed_is_one_run() {
    assert_eq!(run(7, 400), run(7, 400));
}
