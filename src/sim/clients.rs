//! Clients: each wants one thing at a time, asks any server for it, and asks again elsewhere when it hears nothing.
//!
//! A write keeps its id however often it is sent. A read behind SYNC is asked anew each time: what it has to see is what
//! anybody had seen when it was asked for.

use super::app::{self, request_of};
use super::history::{Floor, Observation, RequestId, Violation};
use super::server::Asked;
use super::world::{Event, NO_WORDS, World};
use crate::types::NodeId;
use crate::zab::Request;

#[derive(Debug, Clone, Default)]
pub(crate) struct Client {
    wish: Option<Wish>,
    /// Counts its attempts at anything.
    attempt: u64,
    /// When it gives the attempt up.
    deadline: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    Write(RequestId),
    Read(Floor),
}

impl Client {
    pub(crate) fn is_waiting(&self) -> bool {
        self.wish.is_some()
    }
}

impl World {
    /// A client looks up.
    pub(crate) fn client(&mut self, client: usize) -> Result<(), Violation> {
        let now = self.now;
        match self.clients[client].wish {
            Some(_) if now < self.clients[client].deadline => {
                let deadline = self.clients[client].deadline;
                self.schedule(deadline, Event::Client(client));
                return Ok(());
            }
            None if self.faults_over => return Ok(()),
            None => {
                let wish = self.next_wish();
                self.clients[client].wish = Some(wish);
            }
            Some(_) => {}
        }
        let nodes = self.nodes();
        let node = self.chance.pick(&nodes).expect("there are servers");
        self.ask(client, node)
    }

    fn next_wish(&mut self) -> Wish {
        if self.chance.permille(200) {
            return Wish::Read(self.history.floor());
        }
        let request = self.next_request;
        self.next_request += 1;
        Wish::Write(request)
    }

    /// One last write at every server, when all is well again.
    pub(crate) fn ask_everywhere(&mut self) -> Result<(), Violation> {
        for node in self.nodes() {
            let client = self.clients.len();
            let request = self.next_request;
            self.next_request += 1;
            self.clients.push(Client {
                wish: Some(Wish::Write(request)),
                ..Client::default()
            });
            self.ask(client, node)?;
        }
        Ok(())
    }

    fn ask(&mut self, client: usize, node: NodeId) -> Result<(), Violation> {
        let patience = self.plan.settings.timeout_ms * 1000 * self.chance.between(1, 3);
        let floor = self.history.floor();
        let state = &mut self.clients[client];
        state.attempt += 1;
        state.deadline = self.now + patience;
        if let Some(Wish::Read(before)) = state.wish.as_mut() {
            *before = floor;
        }
        let Some(wish) = state.wish else {
            return Ok(());
        };
        let (attempt, deadline) = (state.attempt, state.deadline);
        self.schedule(deadline, Event::Client(client));
        let asked = Asked {
            client,
            attempt,
            wish,
        };
        self.asked(node, asked)
    }

    /// A server that is busy hears of it later, one that is down never.
    pub(crate) fn asked(&mut self, node: NodeId, asked: Asked) -> Result<(), Violation> {
        let server = &self.servers[&node];
        if server.running.is_some() && server.is_busy(self.now) {
            let at = server.paused_until.max(self.now + self.plan.disk_latency);
            self.schedule(at, Event::Ask(node, asked));
            return Ok(());
        }
        let Asked {
            client,
            attempt,
            wish,
        } = asked;
        self.note(|| format!("client {client} asks {node} for {wish:?}"));
        let padding = self.chance.between(0, self.plan.padding) as usize;
        // Names the attempt, of all there are.
        let seq = (client as u64) << 32 | attempt;
        let Some(running) = self.running(node) else {
            return Ok(());
        };
        running.asked.insert(seq, asked);
        let sent = match wish {
            Wish::Write(request) => running.peer.request(seq, app::payload(request, padding)),
            Wish::Read(_) => running.peer.sync(seq),
        };
        if sent.is_err() {
            // It is told so, and asks somebody else in a while.
            running.asked.remove(&seq);
        }
        self.settle(node)
    }

    /// The leader's part: a request that is there is not proposed again.
    pub(crate) fn lead(&mut self, node: NodeId, request: Request) -> Result<(), Violation> {
        let Request { from, seq, payload } = request;
        let (Some(id), Some(running)) = (request_of(&payload), self.running(node)) else {
            return Ok(());
        };
        let before = running.app.done(id);
        let after = match before.or_else(|| running.proposed.get(&id).copied()) {
            Some(zxid) => zxid,
            None => match running.peer.propose(payload.clone()) {
                Ok(zxid) => {
                    running.proposed.insert(id, zxid);
                    zxid
                }
                // It asks again.
                Err(_) => return Ok(()),
            },
        };
        if let Some(running) = self.running(node) {
            running.peer.answer(from, seq, after, NO_WORDS);
        }
        Ok(())
    }

    /// An answer is true even if its client has given the attempt up.
    pub(crate) fn answered(&mut self, node: NodeId, asked: Asked) -> Result<(), Violation> {
        match asked.wish {
            Wish::Write(request) => self.observe(Observation::Acknowledged { request })?,
            Wish::Read(floor) => {
                self.stats.reads += 1;
                self.observe(Observation::Read { node, floor })?;
            }
        }
        let client = &mut self.clients[asked.client];
        if client.attempt == asked.attempt {
            client.wish = None;
            let at = self.now + self.chance.latency(self.plan.think_time);
            self.schedule(at, Event::Client(asked.client));
        }
        Ok(())
    }
}
