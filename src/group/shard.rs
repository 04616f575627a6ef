//! One shard of the group coordinator: every command, deadline and ended append goes through here.
//!
//! Finds the live group, lets `classic` or `offsets` decide, and sees to it that a new group gets its
//! first record and a deleted one its last.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::classic::{self, ClassicGroup, ClassicGroupState as State};
use super::command::{
    Command, DescribeGroups, DescribedGroup, Heartbeat, JoinGroup, JoinGroupReply, LeaveGroup,
    LeaveGroupReply, LeftMember, ListGroups, ListedGroup, OffsetCommit, Reply, Request, SyncGroup,
    SyncGroupReply, append_error_for_clients,
};
use super::records::Record;
use super::{GroupConfig, GroupCoordinatorState, GroupDecision, Pending, TimerKey, Turn, offsets};
use crate::error::ErrorCode;
use crate::state_machine::{Coordinator, Now, Outcome, Release, ReplyToken, Tick, Timers};
use crate::types::{Offset, ProducerId, TopicId};

/// The soft state: groups as they live.
#[derive(Debug, Clone)]
pub struct GroupCoordinatorShard {
    config: Arc<GroupConfig>,
    groups: BTreeMap<Arc<str>, ClassicGroup>,
    timers: Timers<TimerKey>,
}

/// The coordinator of one partition, as a state machine.
#[derive(Debug, Clone, Copy)]
pub struct GroupCoordinator;

impl Coordinator for GroupCoordinator {
    type Hard = GroupCoordinatorState;
    type Soft = GroupCoordinatorShard;
    type Command = Command;
    type Record = Record;
    type Reply = Reply;
    type Pending = Pending;

    fn decide(
        hard: &GroupCoordinatorState,
        soft: &mut GroupCoordinatorShard,
        command: Command,
        now: Now,
    ) -> GroupDecision {
        match command {
            Command::Request { token, request } => soft.request(hard, token, request, now),
            Command::Load => soft.load(hard, now),
            Command::Unload => soft.unload(now),
            Command::DeleteTopics(topics) => soft.delete_topics(hard, &topics, now),
        }
    }

    fn replay(
        hard: &mut GroupCoordinatorState,
        record: &Record,
        offset: Offset,
        producer: ProducerId,
    ) {
        hard.replay(record, offset, producer);
    }

    fn replay_transaction_end(
        hard: &mut GroupCoordinatorState,
        producer: ProducerId,
        committed: bool,
    ) {
        hard.replay_transaction_end(producer, committed);
    }

    fn settle(
        hard: &GroupCoordinatorState,
        soft: &mut GroupCoordinatorShard,
        pending: Pending,
        outcome: Outcome,
        now: Now,
    ) -> GroupDecision {
        soft.settle(hard, pending, outcome, now)
    }

    fn next_deadline(soft: &GroupCoordinatorShard) -> Option<Tick> {
        soft.timers.next()
    }

    fn on_deadline(
        hard: &GroupCoordinatorState,
        soft: &mut GroupCoordinatorShard,
        now: Now,
    ) -> GroupDecision {
        soft.on_deadline(hard, now)
    }
}

impl GroupCoordinatorShard {
    pub fn new(config: Arc<GroupConfig>) -> Self {
        Self {
            config,
            groups: BTreeMap::new(),
            timers: Timers::default(),
        }
    }

    pub fn group(&self, group_id: &str) -> Option<&ClassicGroup> {
        self.groups.get(group_id)
    }

    pub fn groups(&self) -> impl Iterator<Item = &ClassicGroup> {
        self.groups.values()
    }

    /// The live group of that id, if there is one, and what else its decision needs.
    fn parts<'a>(
        &'a mut self,
        group_id: &str,
        out: &'a mut GroupDecision,
        now: Now,
    ) -> (Option<&'a mut ClassicGroup>, Turn<'a>) {
        let turn = Turn {
            now,
            config: &self.config,
            timers: &mut self.timers,
            out,
        };
        (self.groups.get_mut(group_id), turn)
    }

    fn request(
        &mut self,
        hard: &GroupCoordinatorState,
        token: ReplyToken,
        request: Request,
        now: Now,
    ) -> GroupDecision {
        let mut out = GroupDecision::default();
        let (reply, release) = match request {
            // These two answer by themselves: they may have to wait.
            Request::JoinGroup(join) => {
                self.join(token, join, &mut out, now);
                return out;
            }
            Request::SyncGroup(sync) => {
                self.sync(token, sync, &mut out, now);
                return out;
            }
            Request::Heartbeat(heartbeat) => {
                let error = self.heartbeat(&heartbeat, &mut out, now);
                (Reply::Heartbeat(error), Release::AtOnce)
            }
            Request::LeaveGroup(leave) => {
                let reply = self.leave(leave, &mut out, now);
                (Reply::LeaveGroup(reply), Release::WhenCommitted)
            }
            Request::OffsetCommit(commit) => {
                let reply = self.commit(&commit, &mut out, now);
                (reply, Release::WhenCommitted)
            }
            Request::OffsetFetch(fetch) => (
                Reply::OffsetFetch(offsets::fetch(hard, &fetch)),
                Release::WhenCommitted,
            ),
            Request::OffsetDelete(delete) => {
                let (group, mut turn) = self.parts(&delete.group_id, &mut out, now);
                let reply = offsets::delete(hard, group.as_deref(), &mut turn, &delete);
                (Reply::OffsetDelete(reply), Release::WhenCommitted)
            }
            Request::DescribeGroups(describe) => {
                let groups = self.describe(&describe);
                (Reply::DescribeGroups(groups), Release::AtOnce)
            }
            Request::ListGroups(list) => {
                let (error, groups) = (ErrorCode::None, self.list(&list));
                (Reply::ListGroups { error, groups }, Release::AtOnce)
            }
            Request::DeleteGroups(ids) => {
                let deleted = self.delete_groups(hard, ids, &mut out, now);
                (Reply::DeleteGroups(deleted), Release::WhenCommitted)
            }
        };
        out.reply(token, reply, release);
        out
    }

    fn join(&mut self, token: ReplyToken, join: JoinGroup, out: &mut GroupDecision, now: Now) {
        let group_id = join.group_id.clone();
        let is_new_group = !self.groups.contains_key(&group_id);
        if is_new_group {
            if !join.member_id.is_empty() {
                let unknown = JoinGroupReply::failed(join.member_id, ErrorCode::UnknownMemberId);
                out.reply(token, Reply::JoinGroup(unknown), Release::AtOnce);
                return;
            }
            let group = ClassicGroup::new(group_id.clone(), now.wall);
            self.groups.insert(group_id.clone(), group);
        }
        let (Some(group), mut turn) = self.parts(&group_id, out, now) else {
            return;
        };
        classic::join(group, &mut turn, token, join);
        if !is_new_group {
            return;
        }
        if group.is_simple() {
            // Whoever founded it was turned away: nothing is left of the group.
            self.groups.remove(&group_id);
        } else {
            turn.out.records.push(group.empty_record());
            turn.out.pending = Some(Pending::NewGroup(group_id));
        }
    }

    fn sync(&mut self, token: ReplyToken, sync: SyncGroup, out: &mut GroupDecision, now: Now) {
        let group_id = sync.group_id.clone();
        let (group, mut turn) = self.parts(&group_id, out, now);
        match group {
            Some(group) => classic::sync(group, &mut turn, token, sync),
            None => {
                let unknown = SyncGroupReply::failed(ErrorCode::UnknownMemberId);
                turn.out
                    .reply(token, Reply::SyncGroup(unknown), Release::AtOnce);
            }
        }
    }

    fn heartbeat(&mut self, request: &Heartbeat, out: &mut GroupDecision, now: Now) -> ErrorCode {
        let (group, mut turn) = self.parts(&request.group_id, out, now);
        match group {
            Some(group) => classic::heartbeat(group, &mut turn, request),
            None => ErrorCode::UnknownMemberId,
        }
    }

    fn leave(&mut self, request: LeaveGroup, out: &mut GroupDecision, now: Now) -> LeaveGroupReply {
        let (group, mut turn) = self.parts(&request.group_id, out, now);
        let members = match group {
            Some(group) => classic::leave(group, &mut turn, &request),
            None => {
                let unknown = request.members.into_iter().map(|leaving| LeftMember {
                    member_id: leaving.member_id,
                    group_instance_id: leaving.group_instance_id,
                    error: ErrorCode::UnknownMemberId,
                });
                unknown.collect()
            }
        };
        LeaveGroupReply {
            error: ErrorCode::None,
            members,
        }
    }

    fn commit(&mut self, request: &OffsetCommit, out: &mut GroupDecision, now: Now) -> Reply {
        let (group, mut turn) = self.parts(&request.group_id, out, now);
        let is_new_group = group.is_none();
        let allowed = match group {
            Some(group) => offsets::validate_commit(group, &mut turn, request),
            None if request.generation < 0 => Ok(()),
            None if request.supports_group_id_not_found => Err(ErrorCode::GroupIdNotFound),
            None => Err(ErrorCode::IllegalGeneration),
        };
        if let Err(error) = allowed {
            return Reply::OffsetCommit(request.all_partitions(error));
        }
        let replies = offsets::commit(&mut turn, request);
        if is_new_group && !turn.out.records.is_empty() {
            let group_id = request.group_id.clone();
            turn.out.pending = Some(Pending::NewGroup(group_id.clone()));
            let group = ClassicGroup::new(group_id.clone(), now.wall);
            self.groups.insert(group_id, group);
        }
        Reply::OffsetCommit(replies)
    }

    fn describe(&self, request: &DescribeGroups) -> Vec<DescribedGroup> {
        let described = request.group_ids.iter().map(|id| {
            if let Some(group) = self.groups.get(id) {
                return classic::describe(group);
            }
            let mut dead = DescribedGroup::failed(id.clone(), ErrorCode::None);
            dead.state = "Dead";
            if request.supports_group_id_not_found {
                dead.error = ErrorCode::GroupIdNotFound;
                dead.error_message = Some(format!("Group {id} not found."));
            }
            dead
        });
        described.collect()
    }

    fn list(&self, request: &ListGroups) -> Vec<ListedGroup> {
        let asked = |filter: &[Arc<str>], name: &str| {
            filter.is_empty() || filter.iter().any(|one| one.eq_ignore_ascii_case(name))
        };
        self.groups
            .values()
            .map(classic::listed)
            .filter(|group| asked(&request.states, group.state))
            .filter(|group| asked(&request.types, group.group_type))
            .collect()
    }

    fn delete_groups(
        &mut self,
        hard: &GroupCoordinatorState,
        ids: Vec<Arc<str>>,
        out: &mut GroupDecision,
        now: Now,
    ) -> Vec<(Arc<str>, ErrorCode)> {
        let mut results = Vec::with_capacity(ids.len());
        let mut removed = Vec::new();
        for id in ids {
            let error = match self.groups.get(&id) {
                None => ErrorCode::GroupIdNotFound,
                Some(group) if !group.is(State::Empty) => ErrorCode::NonEmptyGroup,
                Some(_) => ErrorCode::None,
            };
            if error == ErrorCode::None {
                let (_, mut turn) = self.parts(&id, out, now);
                offsets::delete_all(hard, &id, &mut turn);
                out.records.push(Record::tombstone_of_group(&id));
                removed.extend(self.groups.remove(&id));
            }
            results.push((id, error));
        }
        out.pending = (!removed.is_empty()).then_some(Pending::Removed(removed));
        results
    }

    fn delete_topics(
        &mut self,
        hard: &GroupCoordinatorState,
        topics: &[(Arc<str>, TopicId)],
        now: Now,
    ) -> GroupDecision {
        let mut out = GroupDecision {
            splittable: true,
            ..GroupDecision::default()
        };
        let (_, mut turn) = self.parts("", &mut out, now);
        offsets::delete_topics(hard, topics, &mut turn);
        out
    }

    /// Calls `action` on every live group.
    fn for_each(
        &mut self,
        now: Now,
        mut action: impl FnMut(&mut ClassicGroup, &mut Turn<'_>),
    ) -> GroupDecision {
        let mut out = GroupDecision::default();
        let mut turn = Turn {
            now,
            config: &self.config,
            timers: &mut self.timers,
            out: &mut out,
        };
        for group in self.groups.values_mut() {
            action(group, &mut turn);
        }
        out
    }

    fn load(&mut self, hard: &GroupCoordinatorState, now: Now) -> GroupDecision {
        *self = Self::new(self.config.clone());
        for (id, stored) in hard.groups() {
            let group = ClassicGroup::load(id.clone(), stored);
            self.groups.insert(id.clone(), group);
        }
        let with_offsets = hard.offsets().groups();
        for id in with_offsets.chain(hard.open_transactions().groups()) {
            self.groups
                .entry(id.clone())
                .or_insert_with(|| ClassicGroup::new(id.clone(), now.wall));
        }
        self.schedule_expiration(now);
        self.for_each(now, |group, turn| {
            for member_id in group.member_ids() {
                classic::schedule_session(group, turn, &member_id);
            }
            if group.size() > turn.config.max_size {
                classic::prepare_rebalance(group, turn);
            }
        })
    }

    fn unload(&mut self, now: Now) -> GroupDecision {
        let out = self.for_each(now, |group, turn| {
            classic::answer_everybody(group, turn, ErrorCode::NotCoordinator);
        });
        *self = Self::new(self.config.clone());
        out
    }

    fn settle(
        &mut self,
        hard: &GroupCoordinatorState,
        pending: Pending,
        outcome: Outcome,
        now: Now,
    ) -> GroupDecision {
        let mut out = GroupDecision::default();
        match (pending, outcome) {
            (Pending::Assignment(awaited), outcome) => {
                let group_id = awaited.group_id.clone();
                if let (Some(group), mut turn) = self.parts(&group_id, &mut out, now) {
                    classic::settle_sync(group, &mut turn, awaited, outcome);
                }
            }
            (Pending::StaticRejoin(rejoin), outcome) => {
                let group_id = rejoin.group_id.clone();
                if let (Some(group), mut turn) = self.parts(&group_id, &mut out, now) {
                    classic::settle_static_rejoin(group, &mut turn, *rejoin, outcome);
                }
            }
            (Pending::NewGroup(group_id), Outcome::NotAppended(error)) => {
                if hard.knows(&group_id) {
                    return out;
                }
                if let (Some(group), mut turn) = self.parts(&group_id, &mut out, now) {
                    let error = append_error_for_clients(error);
                    classic::answer_everybody(group, &mut turn, error);
                }
                self.groups.remove(&group_id);
            }
            (Pending::Removed(groups), Outcome::NotAppended(_)) => {
                for mut group in groups {
                    // Who was about to join has to begin anew.
                    group.forget_pending();
                    self.groups.entry(group.group_id.clone()).or_insert(group);
                }
            }
            (Pending::NewGroup(_) | Pending::Removed(_), _) => {}
        }
        out
    }

    fn on_deadline(&mut self, hard: &GroupCoordinatorState, now: Now) -> GroupDecision {
        let mut out = GroupDecision::default();
        let Some(due) = self.timers.pop_due(now.tick) else {
            return out;
        };
        match due {
            TimerKey::Session(group_id, member_id) => {
                if let (Some(group), mut turn) = self.parts(&group_id, &mut out, now) {
                    classic::expire_session(group, &mut turn, &member_id);
                }
            }
            TimerKey::Join(group_id) => {
                if let (Some(group), mut turn) = self.parts(&group_id, &mut out, now) {
                    classic::expire_join(group, &mut turn);
                }
            }
            TimerKey::Sync(group_id) => {
                if let (Some(group), mut turn) = self.parts(&group_id, &mut out, now) {
                    classic::expire_sync(group, &mut turn);
                }
            }
            TimerKey::Expiration => self.expire(hard, &mut out, now),
        }
        out
    }

    fn schedule_expiration(&mut self, now: Now) {
        let interval_ms = self.config.offsets_retention_check_interval_ms;
        let at = now.tick.plus_ms(interval_ms.max(1));
        self.timers.schedule(TimerKey::Expiration, at);
    }

    /// Lets go of offsets whose time is over, and of Empty groups that have none.
    fn expire(&mut self, hard: &GroupCoordinatorState, out: &mut GroupDecision, now: Now) {
        out.splittable = true;
        let mut turn = Turn {
            now,
            config: &self.config,
            timers: &mut self.timers,
            out,
        };
        let mut over = Vec::new();
        for group in self.groups.values() {
            let no_offsets = offsets::expire(hard, group, &mut turn);
            if no_offsets && group.is(State::Empty) {
                let tombstone = Record::tombstone_of_group(&group.group_id);
                turn.out.records.push(tombstone);
                over.push(group.group_id.clone());
            }
        }
        let removed: Vec<ClassicGroup> = over
            .iter()
            .filter_map(|group_id| self.groups.remove(group_id))
            .collect();
        out.pending = (!removed.is_empty()).then_some(Pending::Removed(removed));
        self.schedule_expiration(now);
    }
}
