//! Election, a peer's part in it: telling everybody how it votes, deciding, and answering those who
//! look while it does not.

use crate::state_machine::Tick;
use crate::types::{NodeId, Zxid};
use crate::zab::election::{Outcome, Verdict, Vote};
use crate::zab::message::{Message, Notification, Standing};
use crate::zab::peer::{Peer, Role};
use crate::zab::ready::Event;

/// How often it says that it wants a server that it cannot reach, before it gives that up. Longer than it takes
/// those who can reach it to decide.
const PATIENCE: u32 = 4;
const MAX_DOUBLINGS: u32 = 4;

#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Looking {
    /// A quorum is for it; decided at the tick, if nothing better comes.
    deciding: Option<(NodeId, Tick)>,
    /// When to say again how this server votes.
    repeat_at: Tick,
    /// Each time that it gave up it has twice the patience, so that those who need longer have their time.
    doublings: u32,
    /// How often in a row it has said that it wants somebody whom it cannot reach.
    in_vain: u32,
}

impl Looking {
    pub fn next_deadline(&self) -> Tick {
        match self.deciding {
            Some((_, at)) => at.min(self.repeat_at),
            None => self.repeat_at,
        }
    }
}

impl Peer {
    /// Leaves whomever it followed or led, and looks for a leader from the beginning.
    pub(super) fn elect(&mut self) {
        if !matches!(self.role, Role::Looking(_)) || self.elections == 0 {
            self.ready.events.push(Event::Looking);
        }
        let doublings = match &self.role {
            Role::Looking(looking) => looking.doublings,
            _ => 0,
        };
        self.look(doublings);
    }

    fn look(&mut self, doublings: u32) {
        self.attempt += 1;
        self.elections += 1;
        self.role = Role::Looking(Looking {
            deciding: None,
            repeat_at: self.repeat_at(),
            doublings,
            in_vain: 0,
        });
        let own = self.may_lead().then(|| Vote {
            current_epoch: self.epochs.current,
            last_zxid: self.history.last(),
            candidate: self.id,
        });
        self.election.begin(self.id, own);
        self.tell_all();
        self.consider_verdict();
    }

    /// A voter; or one whose removal may not be committed: if nobody else has it in the log, only this
    /// server can lead and see it through. What was in force before the newest change is its
    /// predecessor, for that was committed when the newest was proposed.
    fn may_lead(&self) -> bool {
        let newest = self.configurations.newest_zxid();
        let before = Zxid(newest.0.saturating_sub(1));
        self.is_voter() || newest > self.committed && self.votes_in(self.configurations.at(before))
    }

    /// Where this server stands.
    pub(super) fn notification(&self) -> Notification {
        let round = self.election.round();
        let standing = match &self.role {
            Role::Looking(_) => return self.election.notification(),
            Role::Following(following) => Standing::Following {
                leader: following.leader,
            },
            Role::Leading(leading) => Standing::Leading {
                epoch: leading.established_epoch(),
            },
        };
        Notification { round, standing }
    }

    pub(super) fn tell_all(&mut self) {
        let notification = self.notification();
        let nodes: Vec<NodeId> = self.links.iter().copied().collect();
        for node in nodes {
            self.send(node, Message::Notification(notification));
        }
    }

    pub(super) fn on_notification(&mut self, from: NodeId, notification: Notification) {
        let is_looking = matches!(notification.standing, Standing::Looking(_));
        if is_looking {
            // Whatever it wanted of this server before is over.
            self.early_infos.remove(&from);
        }
        let round = self.election.round();
        match &self.role {
            Role::Looking(_) => {
                let outcome = self.election.on_notification(self.id, from, notification);
                match outcome {
                    Outcome::Nothing => {}
                    Outcome::Reply => self.tell(from),
                    Outcome::Changed => self.tell_all(),
                }
                self.consider_verdict();
            }
            Role::Following(following) if following.leader == from => {
                let has_left = match notification.standing {
                    // What it said before it led is of the round in which it was elected, or before;
                    // and it came before LEADERINFO.
                    Standing::Looking(_) => following.is_accepted() || notification.round > round,
                    Standing::Following { .. } => notification.round >= round,
                    Standing::Leading { .. } => false,
                };
                if has_left {
                    self.elect();
                }
            }
            Role::Following(_) if is_looking => self.tell(from),
            Role::Following(_) => {}
            Role::Leading(leading) => match notification.standing {
                Standing::Leading { epoch } if epoch > leading.epoch => self.elect(),
                Standing::Looking(_) => {
                    // Said after its FOLLOWERINFO, if that has come.
                    self.on_learner_left(from);
                    self.tell(from);
                }
                _ => {}
            },
        }
    }

    fn tell(&mut self, node: NodeId) {
        let notification = self.notification();
        self.send(node, Message::Notification(notification));
    }

    /// Acts on what the votes say by now.
    pub(super) fn consider_verdict(&mut self) {
        if !matches!(self.role, Role::Looking(_)) {
            return;
        }
        let followers = self.early_infos.keys().copied();
        if self.may_lead() && self.is_quorum(followers.chain([self.id])) {
            // They have decided, by their configuration; whom else this server would want, and waits
            // for, they may never hear of.
            self.lead();
            return;
        }
        let Role::Looking(looking) = &mut self.role else {
            return;
        };
        let voters = self.configurations.newest();
        let links = &self.links;
        let verdict = self
            .election
            .verdict(self.id, voters, |node| links.contains(&node));
        match verdict {
            Verdict::Open => looking.deciding = None,
            Verdict::Quorum(candidate) => {
                if looking.deciding.is_none_or(|(other, _)| other != candidate) {
                    let settle_ms = self.settings.election_settle_ms as i64;
                    looking.deciding = Some((candidate, self.now.plus_ms(settle_ms)));
                }
            }
            Verdict::Unanimous(candidate) => self.decide(candidate),
            Verdict::Joined(leader) => {
                self.election.join(leader);
                self.follow(leader);
            }
        }
    }

    fn decide(&mut self, candidate: NodeId) {
        if candidate == self.id {
            self.lead();
        } else {
            self.follow(candidate);
        }
    }

    pub(super) fn on_tick_looking(&mut self) {
        let Role::Looking(looking) = &self.role else {
            return;
        };
        match looking.deciding {
            Some((candidate, at)) if at <= self.now => self.decide(candidate),
            _ if looking.repeat_at <= self.now => self.repeat(),
            _ => {}
        }
    }

    /// Says again how it votes. A vote for a server that nobody who says so can reach would go round for ever,
    /// each having it from another, be that server dead or wiped; so after a while it begins a new round, in which
    /// only the living bring votes.
    fn repeat(&mut self) {
        let repeat_at = self.repeat_at();
        let is_in_vain = self
            .election
            .candidate()
            .is_some_and(|wanted| wanted != self.id && !self.links.contains(&wanted));
        let Role::Looking(looking) = &mut self.role else {
            return;
        };
        looking.repeat_at = repeat_at;
        looking.in_vain = if is_in_vain { looking.in_vain + 1 } else { 0 };
        if looking.in_vain < PATIENCE << looking.doublings {
            self.tell_all();
        } else {
            let doublings = (looking.doublings + 1).min(MAX_DOUBLINGS);
            self.look(doublings);
        }
    }

    /// Not all in step.
    fn repeat_at(&mut self) -> Tick {
        let every_ms = self.settings.election_repeat_ms;
        let chance = self.next_chance(every_ms / 2);
        self.now.plus_ms((every_ms + chance) as i64)
    }
}
