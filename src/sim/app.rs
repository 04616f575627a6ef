//! What the ensemble of a simulated run agrees on: which requests were done, and a digest of everything in its order.
//!
//! A payload is a request's id and some padding. A request that is there already is not proposed again: the leader's
//! driver looks, in what is applied and in what it has proposed, before it proposes.

use std::collections::BTreeMap;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::history::{Content, RequestId, StateDigest, state_after};
use crate::types::Zxid;
use crate::zab::{Proposal, ProposalKind};

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct App {
    pub(crate) zxid: Zxid,
    pub(crate) state: StateDigest,
    requests: BTreeMap<RequestId, Zxid>,
}

pub(crate) fn payload(request: RequestId, padding: usize) -> Bytes {
    let mut bytes = BytesMut::with_capacity(8 + padding);
    bytes.put_u64(request);
    bytes.resize(8 + padding, request as u8);
    bytes.freeze()
}

pub(crate) fn request_of(mut payload: &[u8]) -> Option<RequestId> {
    payload.try_get_u64().ok()
}

pub(crate) fn content_of(proposal: &Proposal) -> Content {
    match proposal.kind {
        ProposalKind::Data => Content::new(&proposal.payload, request_of(&proposal.payload)),
        ProposalKind::Reconfig => Content::new(&proposal.payload, None),
    }
}

impl App {
    pub(crate) fn apply(&mut self, proposal: &Proposal) -> Content {
        let content = content_of(proposal);
        self.state = state_after(self.state, proposal.zxid, content);
        self.zxid = proposal.zxid;
        if let Some(request) = content.request {
            self.requests.insert(request, proposal.zxid);
        }
        content
    }

    pub(crate) fn done(&self, request: RequestId) -> Option<Zxid> {
        self.requests.get(&request).copied()
    }

    pub(crate) fn to_snapshot(&self) -> Bytes {
        let mut bytes = BytesMut::new();
        bytes.put_u64(self.state);
        for (request, zxid) in &self.requests {
            bytes.put_u64(*request);
            bytes.put_u64(zxid.0);
        }
        bytes.freeze()
    }

    pub(crate) fn from_snapshot(zxid: Zxid, mut body: &[u8]) -> Option<Self> {
        let state = body.try_get_u64().ok()?;
        let mut requests = BTreeMap::new();
        while !body.is_empty() {
            requests.insert(body.try_get_u64().ok()?, Zxid(body.try_get_u64().ok()?));
        }
        Some(Self {
            zxid,
            state,
            requests,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_has_all_of_it() {
        let mut app = App::default();
        for counter in 1..4 {
            let proposal = Proposal::data(Zxid::new(1, counter), payload(counter.into(), 3));
            assert_eq!(app.apply(&proposal).request, Some(counter.into()));
        }
        assert_eq!(app.done(2), Some(Zxid::new(1, 2)));
        let body = app.to_snapshot();
        assert_eq!(App::from_snapshot(app.zxid, &body), Some(app));
        assert_eq!(
            App::from_snapshot(Zxid::ZERO, &body[..body.len() - 1]),
            None
        );
    }
}
