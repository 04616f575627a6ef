//! What this node decides as the leader, and what it asks of another that leads.
//!
//! The controller and the peer decide; here is who is asked, in which order, and what becomes of the answer.

use std::time::Instant;

use bytes::Bytes;
use uuid::Uuid;

use super::ZabPeerError;
use super::asked::{AddVoter, Answered, Asked, Quorum, RemoveVoter};
use super::driver::Driver;
use crate::controller::command::{ApiError, Command, FormatCluster, Reply};
use crate::controller::records::{Record, RequestRecord};
use crate::controller::snapshot::encode_records;
use crate::controller::{Environment, MetadataDelta, decide, features};
use crate::error::ErrorCode;
use crate::types::{NodeId, TopicId, Zxid};
use crate::zab::{Change, ReconfigError, Request, Voter, Voters};

impl Driver {
    /// Commands of this node: to the leader, whoever that is. Whether there was anything.
    pub(super) fn decide_own(&mut self) -> Result<bool, ZabPeerError> {
        let me = self.options.node;
        let Some(leader) = self.leader else {
            return Ok(false);
        };
        let mut any = false;
        if leader == me {
            any |= self.format()?;
            for command in self.sessions.due(&self.speculative, self.now()) {
                self.propose(&command, None)?;
                any = true;
            }
        }
        for (seq, asked, payload) in self.requests.take_unsent() {
            any = true;
            if leader == me {
                self.decide(me, self.incarnation, seq, &asked)?;
            } else {
                // A leader that is gone meanwhile is followed by another, who is asked again.
                let _ = self.peer.request(seq, payload);
            }
        }
        Ok(any)
    }

    pub(super) fn on_request(&mut self, request: &Request) -> Result<(), ZabPeerError> {
        let (from, seq) = (request.from, request.seq);
        let Some((incarnation, asked)) = decode_request(&request.payload) else {
            tracing::warn!("what node {from} asks cannot be read: it is of another version");
            return Ok(());
        };
        if self.incarnations.get(&from) == Some(&incarnation) {
            self.decide(from, incarnation, seq, &asked)?;
        }
        Ok(())
    }

    /// Decides and proposes. What changes nothing is answered by itself.
    fn decide(
        &mut self,
        from: NodeId,
        incarnation: Uuid,
        seq: u64,
        asked: &Asked,
    ) -> Result<(), ZabPeerError> {
        if !self.peer.is_leading() || self.speculative.is_applied(from, incarnation, seq) {
            // Its node asks the next leader; or hears of it when it applies what was proposed.
            return Ok(());
        }
        let mut after = self.peer.last_zxid();
        let answer = match asked {
            Asked::Command(command) => {
                let by = (from, incarnation, seq);
                match self.propose(command, Some(by))? {
                    Some(reply) => Answered::Reply(reply),
                    None => return Ok(()),
                }
            }
            Asked::DescribeQuorum => Answered::Quorum(Quorum::of(&self.peer.status(), self.now())),
            Asked::AddVoter(AddVoter {
                node,
                directory,
                host,
                port,
            }) => {
                let voter = Voter::at(host, *port).with_directory(*directory);
                Answered::VotersChanged(self.change_voters(&mut after, Change::Add(*node, voter)))
            }
            Asked::RemoveVoter(RemoveVoter { node, directory }) => {
                let checked = check_removed(self.peer.voters(), *node, *directory);
                Answered::VotersChanged(
                    checked.and_then(|()| self.change_voters(&mut after, Change::Remove(*node))),
                )
            }
        };
        if from == self.options.node {
            self.requests.on_answer(seq, after, answer);
        } else {
            let payload = minicbor::to_vec(&answer).unwrap_or_default();
            self.peer.answer(from, seq, after, payload.into());
        }
        Ok(())
    }

    /// The answer counts when the change is committed: `after`.
    fn change_voters(&mut self, after: &mut Zxid, change: Change) -> Result<(), ApiError> {
        *after = self.peer.reconfigure(change).map_err(|error| {
            let code = match error {
                ReconfigError::NotLeading => ErrorCode::NotController,
                ReconfigError::AlreadyAVoter(_) => ErrorCode::DuplicateVoter,
                ReconfigError::NotAVoter(_) => ErrorCode::VoterNotFound,
                // As Kafka says it of a change that may go through when it is tried again.
                ReconfigError::Pending | ReconfigError::NotUpToDate(_) => {
                    ErrorCode::RequestTimedOut
                }
                _ => ErrorCode::InvalidRequest,
            };
            ApiError::new(code, error.to_string())
        })?;
        Ok(())
    }

    /// The reply, when there was nothing to propose.
    fn propose(
        &mut self,
        command: &Command,
        asked: Option<(NodeId, Uuid, u64)>,
    ) -> Result<Option<Reply>, ZabPeerError> {
        let decision = decide(
            &self.speculative,
            command,
            &mut Environment {
                new_id: &mut new_id,
                schema: &*self.options.schema,
                settings: &self.options.settings,
            },
        );
        if decision.records.is_empty() {
            return Ok(Some(decision.reply));
        }
        let mut records = decision.records;
        if let Some((node, incarnation, seq)) = asked {
            records.push(Record::Request(RequestRecord {
                node,
                incarnation,
                seq,
                reply: Some(decision.reply),
            }));
        }
        let payload = self
            .scratch
            .encoded(|bytes| encode_records(&records, bytes));
        let Ok(zxid) = self.peer.propose(payload) else {
            // The epoch's counters are used up. Whoever asked asks again after the election.
            return Ok(None);
        };
        self.options.metrics.metadata_proposed();
        self.speculative
            .replay_all(zxid, &records, &mut MetadataDelta::default())
            .map_err(|error| ZabPeerError::Records(zxid, error.into()))?;
        self.proposed.push_back((zxid, records, Instant::now()));
        Ok(None)
    }

    /// A cluster that is new gets its name from its first leader.
    fn format(&mut self) -> Result<bool, ZabPeerError> {
        if !self.speculative.cluster_id().is_empty() {
            return Ok(false);
        }
        let cluster_id = TopicId(new_id()).to_string();
        tracing::info!("formatted the new cluster {cluster_id}");
        let command = Command::FormatCluster(FormatCluster {
            cluster_id,
            features: features::of_a_new_cluster(),
        });
        self.propose(&command, None)?;
        Ok(true)
    }
}

/// Who is named by another disk is not who votes. The words are those of Kafka's controller.
fn check_removed(voters: &Voters, node: NodeId, directory: Uuid) -> Result<(), ApiError> {
    let recorded = voters.get(node).map(|voter| voter.directory);
    match recorded {
        Some(recorded) if recorded.is_none_or(|known| known == directory) => Ok(()),
        _ => {
            let why = format!(
                "Cannot remove voter {node} with directory id {} because it is not in the set of voters.",
                TopicId(directory)
            );
            Err(ApiError::new(ErrorCode::VoterNotFound, why))
        }
    }
}

/// Where things are encoded whose length is not known before: then each gets memory of its own, and no more.
#[derive(Default)]
pub(super) struct Scratch(Vec<u8>);

impl Scratch {
    /// What is beyond it goes with the long one that needed it.
    const KEPT_BYTES: usize = 64 << 10;

    fn encoded(&mut self, encode: impl FnOnce(&mut Vec<u8>)) -> Bytes {
        encode(&mut self.0);
        let encoded = Bytes::copy_from_slice(&self.0);
        self.0.clear();
        self.0.shrink_to(Self::KEPT_BYTES);
        encoded
    }
}

pub(super) fn encode_request(incarnation: Uuid, asked: &Asked, scratch: &mut Scratch) -> Bytes {
    scratch.encoded(|bytes| {
        bytes.extend_from_slice(incarnation.as_bytes());
        // A `Vec` takes everything.
        let _ = minicbor::encode(asked, bytes);
    })
}

fn decode_request(payload: &[u8]) -> Option<(Uuid, Asked)> {
    let (incarnation, asked) = payload.split_at_checked(16)?;
    let incarnation = Uuid::from_slice(incarnation).ok()?;
    Some((incarnation, minicbor::decode(asked).ok()?))
}

/// Random, and as Kafka's own ids: without a dash, which command lines take for an option.
fn new_id() -> Uuid {
    loop {
        let id = Uuid::new_v4();
        if !TopicId(id).to_string().contains('-') {
            return id;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_command_does_not_keep_its_memory() {
        let mut scratch = Scratch::default();
        let long = scratch.encoded(|bytes| bytes.resize(8 << 20, 1));
        assert_eq!(long.len(), 8 << 20);
        assert!(scratch.0.capacity() <= Scratch::KEPT_BYTES);
        let short = scratch.encoded(|bytes| bytes.extend(b"short"));
        assert_eq!(&short[..], b"short");
    }
}
