//! Drives a shard as its runtime does: appends to a log of encoded records, replays, lets replies go.
//!
//! Checked after every step: groups are consistent, a token is answered at most once, and the hard state
//! is what the log rebuilds.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::error::ErrorCode;
use crate::group::classic::ClassicGroupState;
use crate::group::command::{Command, Reply, Request};
use crate::group::records::{Decoded, Record};
use crate::group::{
    GroupConfig, GroupCoordinator, GroupCoordinatorShard, GroupCoordinatorState, GroupDecision,
    Pending,
};
use crate::state_machine::{Coordinator, Now, Outcome, Release, ReplyToken, Tick};
use crate::types::{Offset, ProducerId, TimestampMs};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Logged(Record),
    Replied(ReplyToken, Reply),
}

pub enum Entry {
    Record {
        key: Vec<u8>,
        value: Option<Vec<u8>>,
        producer: ProducerId,
    },
    TransactionEnd {
        producer: ProducerId,
        committed: bool,
    },
}

enum Held {
    Reply(ReplyToken, Reply),
    Pending(Pending),
}

pub struct Harness {
    pub config: Arc<GroupConfig>,
    pub hard: GroupCoordinatorState,
    pub soft: GroupCoordinatorShard,
    pub now: Now,
    pub log: Vec<Entry>,
    /// Whether appends commit at once.
    pub auto_commit: bool,
    pub fail_next_append: Option<ErrorCode>,
    pub open: BTreeSet<ReplyToken>,
    held: VecDeque<Held>,
    uncommitted: bool,
    pub next_token: u64,
    generations: BTreeMap<Arc<str>, i32>,
    events: Vec<Event>,
}

pub fn config() -> GroupConfig {
    GroupConfig {
        initial_rebalance_delay_ms: 3_000,
        max_size: usize::MAX,
        offset_metadata_max_bytes: 8,
        offsets_retention_ms: 100_000,
        offsets_retention_check_interval_ms: 10_000,
    }
}

impl Harness {
    pub fn new(config: GroupConfig) -> Self {
        let config = Arc::new(config);
        let mut harness = Self {
            hard: GroupCoordinatorState::default(),
            soft: GroupCoordinatorShard::new(config.clone()),
            config,
            now: Now {
                wall: TimestampMs(1_000_000),
                tick: Tick(0),
            },
            log: Vec::new(),
            auto_commit: true,
            fail_next_append: None,
            open: BTreeSet::new(),
            held: VecDeque::new(),
            uncommitted: false,
            next_token: 1,
            generations: BTreeMap::new(),
            events: Vec::new(),
        };
        harness.command(Command::Load);
        harness
    }

    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    pub fn request(&mut self, request: Request) -> ReplyToken {
        let token = ReplyToken(self.next_token);
        self.next_token += 1;
        self.open.insert(token);
        self.command(Command::Request { token, request });
        token
    }

    pub fn command(&mut self, command: Command) {
        let decision = GroupCoordinator::decide(&self.hard, &mut self.soft, command, self.now);
        self.run(decision);
        self.check();
    }

    /// Lets time pass, acting on every deadline at its own moment.
    pub fn advance(&mut self, delay_ms: u64) {
        let end = Tick(self.now.tick.0 + delay_ms);
        while let Some(due) = GroupCoordinator::next_deadline(&self.soft).filter(|due| *due <= end)
        {
            self.move_to(due);
            let decision = GroupCoordinator::on_deadline(&self.hard, &mut self.soft, self.now);
            self.run(decision);
            self.check();
        }
        self.move_to(end);
    }

    fn move_to(&mut self, tick: Tick) {
        let passed = tick.0.saturating_sub(self.now.tick.0);
        self.now.wall.0 += passed as i64;
        self.now.tick.0 += passed;
    }

    fn run(&mut self, decision: GroupDecision) {
        let failed = match decision.records.is_empty() {
            true => None,
            false => self.fail_next_append.take(),
        };
        if failed.is_none() && !decision.records.is_empty() {
            self.uncommitted = true;
            for record in &decision.records {
                self.append(record, ProducerId::NONE);
            }
        }
        for out in decision.replies {
            match (out.release, failed) {
                (Release::AtOnce, _) => self.deliver(out.token, out.reply),
                (Release::WhenCommitted, Some(error)) => {
                    self.deliver(out.token, out.reply.failed(error));
                }
                (Release::WhenCommitted, None) if self.uncommitted => {
                    self.held.push_back(Held::Reply(out.token, out.reply));
                }
                (Release::WhenCommitted, None) => self.deliver(out.token, out.reply),
            }
        }
        match (decision.pending, failed) {
            (Some(pending), Some(error)) => self.settle(pending, Outcome::NotAppended(error)),
            (Some(pending), None) => self.held.push_back(Held::Pending(pending)),
            (None, _) => {}
        }
        if self.auto_commit {
            self.commit();
        }
    }

    /// Appends a record as a transaction would, or as the shard itself does.
    pub fn append(&mut self, record: &Record, producer: ProducerId) {
        let (key, value) = record.encode();
        let decoded = Record::decode(Some(&key), value.as_deref()).unwrap();
        assert_eq!(decoded, Decoded::Record(record.clone()));
        let offset = Offset(self.log.len() as i64);
        self.hard.replay(record, offset, producer);
        self.events.push(Event::Logged(record.clone()));
        self.log.push(Entry::Record {
            key,
            value,
            producer,
        });
    }

    pub fn end_transaction(&mut self, producer: ProducerId, committed: bool) {
        self.hard.replay_transaction_end(producer, committed);
        self.log.push(Entry::TransactionEnd {
            producer,
            committed,
        });
        self.check();
    }

    /// Everything appended is below the high watermark.
    pub fn commit(&mut self) {
        self.uncommitted = false;
        self.end_wait(Outcome::Committed);
    }

    /// What was appended did not commit in time.
    pub fn time_out(&mut self, error: ErrorCode) {
        self.end_wait(Outcome::NotCommitted(error));
    }

    fn end_wait(&mut self, outcome: Outcome) {
        for held in std::mem::take(&mut self.held) {
            match (held, outcome) {
                (Held::Reply(token, reply), Outcome::Committed) => self.deliver(token, reply),
                (
                    Held::Reply(token, reply),
                    Outcome::NotAppended(error) | Outcome::NotCommitted(error),
                ) => {
                    self.deliver(token, reply.failed(error));
                }
                (Held::Pending(pending), outcome) => self.settle(pending, outcome),
            }
        }
    }

    fn settle(&mut self, pending: Pending, outcome: Outcome) {
        let decision =
            GroupCoordinator::settle(&self.hard, &mut self.soft, pending, outcome, self.now);
        self.run(decision);
    }

    fn deliver(&mut self, token: ReplyToken, reply: Reply) {
        assert!(
            self.open.remove(&token),
            "{token} answered twice: {reply:?}"
        );
        self.events.push(Event::Replied(token, reply));
    }

    /// The leadership is lost: what is not in the log is forgotten, and everybody is told.
    pub fn unload(&mut self) {
        for held in std::mem::take(&mut self.held) {
            if let Held::Reply(token, reply) = held {
                self.deliver(token, reply.failed(ErrorCode::NotCoordinator));
            }
        }
        self.uncommitted = false;
        let decision =
            GroupCoordinator::decide(&self.hard, &mut self.soft, Command::Unload, self.now);
        self.run(decision);
        assert_eq!(self.open, BTreeSet::new(), "left waiting after the unload");
    }

    /// Somewhere else, the same partition is loaded.
    pub fn reload(&mut self) {
        self.unload();
        self.hard = self.rebuilt();
        self.generations.clear();
        self.command(Command::Load);
    }

    fn rebuilt(&self) -> GroupCoordinatorState {
        let mut hard = GroupCoordinatorState::default();
        for (offset, entry) in self.log.iter().enumerate() {
            match entry {
                Entry::Record {
                    key,
                    value,
                    producer,
                } => {
                    let Decoded::Record(record) =
                        Record::decode(Some(key), value.as_deref()).unwrap()
                    else {
                        unreachable!("only own records are written");
                    };
                    hard.replay(&record, Offset(offset as i64), *producer);
                }
                Entry::TransactionEnd {
                    producer,
                    committed,
                } => hard.replay_transaction_end(*producer, *committed),
            }
        }
        hard
    }

    pub fn check(&mut self) {
        for group in self.soft.groups() {
            group.check();
            let before = self
                .generations
                .insert(group.group_id.clone(), group.generation);
            assert!(before.is_none_or(|before| before <= group.generation));
        }
        // A group that was deleted may come back from the start.
        let soft = &self.soft;
        self.generations.retain(|id, _| soft.group(id).is_some());
        for id in self
            .hard
            .groups()
            .keys()
            .chain(self.hard.offsets().groups())
        {
            assert!(
                self.soft.group(id).is_some(),
                "{id} has records but no life"
            );
        }
    }

    /// As `check`, and slow: the log says the same as the hard state; what is stored of a Stable group is
    /// what its members were told.
    pub fn check_against_log(&self) {
        assert_eq!(self.hard, self.rebuilt());
        if self.uncommitted {
            return;
        }
        for group in self.soft.groups() {
            if group.is(ClassicGroupState::Stable) {
                let stored = &self.hard.groups()[&group.group_id];
                assert_eq!(stored.generation, group.generation);
                assert!(stored.members.len() >= group.size());
                for member in group.members() {
                    let stored = stored
                        .members
                        .iter()
                        .find(|m| m.member_id == member.member_id);
                    assert_eq!(stored.unwrap().assignment, member.assignment);
                }
            }
        }
    }
}
