//! The sessions of brokers: who lives and who is gone, as the leader hears it from its links (DESIGN §4.6).
//!
//! A closed link is a process that died, and ends the session at once; a silent one ends it when the machine says so,
//! after `broker.session.timeout.ms`. A leader that is new knows nobody: brokers whose link to it was closed before are
//! gone, all others have the timeout to come. Pure: what comes out are commands for the controller, to be asked again
//! until the image shows their effect.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::controller::command::{ChangeBroker, Command};
use crate::controller::image::{BrokerRegistration, MetadataImage};
use crate::state_machine::Tick;
use crate::types::NodeId;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    /// This process is there.
    Lives(Uuid),
    Gone,
}

/// What one node knows of the others.
#[derive(Debug, Default)]
pub struct Sessions {
    heard: BTreeMap<NodeId, Life>,
    /// Since this node leads: until when it waits for those it never heard of.
    patience: Option<Tick>,
}

impl Sessions {
    /// Links come and go whoever leads, so a new leader knows who died with the old one.
    pub fn on_connected(&mut self, node: NodeId, incarnation: Uuid) {
        self.heard.insert(node, Life::Lives(incarnation));
    }

    pub fn on_closed(&mut self, node: NodeId) {
        self.heard.insert(node, Life::Gone);
    }

    /// `timeout_ms` for those who are to find the new leader.
    pub fn on_leading(&mut self, now: Tick, timeout_ms: i64) {
        self.patience = Some(now.plus_ms(timeout_ms));
    }

    pub fn on_led_by_another(&mut self) {
        self.patience = None;
    }

    /// When `due` may say something that it does not say now.
    pub fn next_deadline(&self, now: Tick) -> Option<Tick> {
        self.patience.filter(|until| *until > now)
    }

    /// What is to be changed for the image to say who lives. Nothing unless this node leads.
    pub fn due(&self, image: &MetadataImage, now: Tick) -> Vec<Command> {
        let Some(patience) = self.patience else {
            return Vec::new();
        };
        let change = |broker: &BrokerRegistration| {
            let lives = match self.heard.get(&broker.id) {
                Some(Life::Lives(incarnation)) if *incarnation == broker.incarnation => true,
                // Another process registers itself, and by that ends the session of the one before.
                Some(Life::Lives(_)) => return None,
                Some(Life::Gone) => false,
                None if now >= patience => false,
                None => return None,
            };
            (lives == broker.fenced).then_some(ChangeBroker {
                id: broker.id,
                epoch: broker.epoch,
                fenced: Some(!lives),
                in_controlled_shutdown: None,
                offline_directories: None,
                cordoned_directories: None,
            })
        };
        let changes = image.brokers().filter_map(|broker| change(broker));
        changes.map(Command::ChangeBroker).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::testing::{cluster_of, fence, registration, run};

    fn changes(sessions: &Sessions, image: &MetadataImage, now: u64) -> Vec<(i32, bool)> {
        let of = |command: Command| match command {
            Command::ChangeBroker(change) => (change.id.0, change.fenced.unwrap()),
            other => panic!("{other:?}"),
        };
        sessions.due(image, Tick(now)).into_iter().map(of).collect()
    }

    fn incarnation(id: i32) -> Uuid {
        registration(id, None).incarnation
    }

    #[test]
    fn a_closed_link_ends_a_session_at_once_and_silence_from_the_start_after_a_while() {
        let mut image = cluster_of(&[(1, None), (2, None), (3, None)]);
        let mut sessions = Sessions::default();
        for id in [1, 2] {
            sessions.on_connected(NodeId(id), incarnation(id));
        }
        sessions.on_closed(NodeId(2));
        assert!(
            changes(&sessions, &image, 0).is_empty(),
            "this node does not lead"
        );
        sessions.on_leading(Tick(100), 2000);
        assert_eq!(changes(&sessions, &image, 100), [(2, true)]);
        assert_eq!(sessions.next_deadline(Tick(100)), Some(Tick(2100)));
        assert_eq!(changes(&sessions, &image, 2100), [(2, true), (3, true)]);
        assert_eq!(sessions.next_deadline(Tick(2100)), None);

        fence(&mut image, 2);
        assert!(changes(&sessions, &image, 100).is_empty(), "it is done");
        sessions.on_connected(NodeId(2), incarnation(2));
        assert_eq!(changes(&sessions, &image, 100), [(2, false)]);
        sessions.on_led_by_another();
        assert!(changes(&sessions, &image, 9999).is_empty());
        assert_eq!(sessions.next_deadline(Tick(0)), None);
    }

    #[test]
    fn another_process_of_a_broker_registers_itself() {
        let mut image = cluster_of(&[(1, None)]);
        fence(&mut image, 1);
        let mut sessions = Sessions::default();
        sessions.on_leading(Tick(0), 0);
        sessions.on_connected(NodeId(1), Uuid::from_u128(12345));
        assert!(changes(&sessions, &image, 5).is_empty());
        let mut again = registration(1, None);
        again.incarnation = Uuid::from_u128(12345);
        run(&mut image, Command::RegisterBroker(again));
        assert!(changes(&sessions, &image, 5).is_empty());
        sessions.on_closed(NodeId(1));
        assert_eq!(changes(&sessions, &image, 5), [(1, true)]);
    }
}
