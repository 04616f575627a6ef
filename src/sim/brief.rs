//! What traces say of messages and writes: all but their payloads.

use super::network::Heard;
use crate::types::Zxid;
use crate::zab::{Message, Proposal, Write};

pub(crate) fn brief(heard: &Heard<Message>) -> String {
    match heard {
        Heard::Connected => "connected".into(),
        Heard::Message(message) => brief_message(message),
        Heard::Disconnected => "disconnected".into(),
    }
}

/// Without payloads.
pub(crate) fn brief_message(message: &Message) -> String {
    match message {
        Message::Propose(proposal) => format!("PROPOSE {:#x}", proposal.zxid),
        Message::Inform(proposal) => format!("INFORM {:#x}", proposal.zxid),
        Message::SnapChunk { position, bytes } => {
            format!("SNAP {} bytes at {position}", bytes.len())
        }
        Message::Request { seq, .. } => format!("REQUEST {seq}"),
        Message::Answer { seq, after, .. } => format!("ANSWER {seq} after {after:#x}"),
        other => format!("{other:?}"),
    }
}

pub(crate) fn brief_writes(writes: &[Write]) -> String {
    let brief = |write: &Write| match write {
        Write::Append(proposals) => {
            let zxid = |p: Option<&Proposal>| p.map_or(Zxid::ZERO, |p| p.zxid);
            let (first, last) = (zxid(proposals.first()), zxid(proposals.last()));
            format!("append {first:#x} to {last:#x}")
        }
        Write::Install(snapshot) => format!("install {:#x}", snapshot.zxid),
        other => format!("{other:?}"),
    };
    writes.iter().map(brief).collect::<Vec<_>>().join(", ")
}
