//! How two servers find out who the other is, before either believes anything. Pure: frames in, frames out.
//!
//! ```text
//! dialer                                  acceptor
//!   OPENING who I am, whom I look for  ->
//!                                      <-  ANSWER who I am, proof
//!   PROOF proof, link                  ->
//!                                      <-  WELCOME link
//! ```
//!
//! A proof is an HMAC-SHA256 under the ensemble's secret over everything said so far, with a word for the side that
//! makes it: both openings have a nonce of 32 random bytes, so none can be used again. Without a secret the proofs
//! are empty. Instead of its next frame either side may send REFUSAL with the reason, and close.
//!
//! The server with the higher id decides which of two connections stays (`pairs`), so it alone gives a link its
//! number: in PROOF when it is the dialer, and then there is no WELCOME, or in WELCOME.

use bytes::{Buf, BufMut};
use ring::hmac;
use uuid::Uuid;

use crate::types::NodeId;
use crate::zab::Voters;
use crate::zab::admission::{self, Hello, PROTOCOL_VERSION};

const MAGIC: &[u8; 8] = b"dohleens";
pub const NONCE_LEN: usize = 32;
const PROOF_LEN: usize = 32;
/// A reason that came is cut off here.
const MAX_REASON_LEN: usize = 1024;

const OPENING: u8 = 1;
const ANSWER: u8 = 2;
const PROOF: u8 = 3;
const WELCOME: u8 = 4;
const REFUSAL: u8 = 5;

/// What all servers of an ensemble know, and nobody else.
#[derive(Clone)]
pub struct Secret(hmac::Key);

impl Secret {
    pub fn new(text: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, text))
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

/// Numbers a link between two servers; 0 is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LinkId(pub u64);

/// The first word of each side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    pub hello: Hello,
    /// Whom a dialer wants to reach.
    pub to: NodeId,
    /// The last link with the other that ended here.
    pub ended: LinkId,
    pub nonce: [u8; NONCE_LEN],
}

/// Why there is no link.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error(transparent)]
    NotAdmitted(#[from] admission::Refusal),
    #[error("it is node {found}, and node {wanted} was looked for")]
    WrongNode { wanted: NodeId, found: NodeId },
    #[error("ensemble.secret is set {}", if *.ours { "here and not there" } else { "there and not here" })]
    SecretOnOneSide { ours: bool },
    #[error("it does not know the secret (ensemble.secret)")]
    Secret,
    #[error("there is a link already")]
    Duplicate,
    #[error("what it says is not understood: {0}")]
    Malformed(&'static str),
    /// The other side's reason.
    #[error("it refused: {reason}")]
    ByOther { code: u8, reason: String },
}

impl Refusal {
    /// A word for metrics, the same for the same reason.
    pub fn label(&self) -> &'static str {
        match self {
            Refusal::NotAdmitted(admission::Refusal::Version { .. }) => "version",
            Refusal::NotAdmitted(admission::Refusal::Cluster { .. }) => "cluster id",
            Refusal::NotAdmitted(admission::Refusal::SameNode(_)) => "own id",
            Refusal::NotAdmitted(admission::Refusal::Directory { .. }) => "directory",
            Refusal::WrongNode { .. } => "wrong node",
            Refusal::SecretOnOneSide { .. } | Refusal::Secret => "secret",
            Refusal::Duplicate => "duplicate",
            Refusal::Malformed(_) => "malformed",
            Refusal::ByOther { code, .. } if *code == Refusal::Duplicate.code() => "duplicate",
            Refusal::ByOther { .. } => "by the other",
        }
    }

    /// Two connections crossed, and that is all.
    pub fn is_duplicate(&self) -> bool {
        self.label() == "duplicate"
    }

    fn code(&self) -> u8 {
        match self {
            Refusal::NotAdmitted(_) => 1,
            Refusal::WrongNode { .. } => 2,
            Refusal::SecretOnOneSide { .. } => 3,
            Refusal::Secret => 4,
            Refusal::Duplicate => 5,
            Refusal::Malformed(_) => 6,
            Refusal::ByOther { code, .. } => *code,
        }
    }

    /// What the other side is told. It knows nothing of «it» and «this server» turned around, so both are named.
    pub fn frame(&self, own: NodeId) -> Vec<u8> {
        let mut frame = vec![REFUSAL, self.code()];
        frame.put_slice(format!("node {}: {self}", own.0).as_bytes());
        frame
    }
}

/// What each side holds the other to.
#[derive(Debug, Clone)]
pub struct Terms {
    pub own: Opening,
    /// A voter comes with the directory that it voted with before.
    pub voters: Voters,
    pub secret: Option<Secret>,
}

/// The dialer's side, its opening sent.
#[derive(Debug)]
pub struct Dialer {
    terms: Terms,
    transcript: Vec<u8>,
}

/// What came of a frame: who the other is, and how far this has got.
#[derive(Debug)]
pub struct Introduced<Next> {
    pub theirs: Opening,
    pub next: Next,
}

impl Dialer {
    pub fn new(terms: Terms) -> (Self, Vec<u8>) {
        let opening = opening_frame(OPENING, &terms);
        let transcript = opening.clone();
        (Self { terms, transcript }, opening)
    }

    /// The other is who it says, and it is who was looked for.
    pub fn on_answer(mut self, frame: &[u8]) -> Result<Introduced<Proven>, Refusal> {
        let (theirs, said, proof) = read_opening(ANSWER, frame, &self.terms)?;
        if theirs.hello.node != self.terms.own.to {
            return Err(Refusal::WrongNode {
                wanted: self.terms.own.to,
                found: theirs.hello.node,
            });
        }
        self.transcript.extend_from_slice(said);
        verify(&self.terms.secret, "acceptor", &self.transcript, proof)?;
        self.transcript.extend_from_slice(proof);
        let proof = prove(&self.terms.secret, "dialer", &self.transcript);
        Ok(Introduced {
            theirs,
            next: Proven { proof },
        })
    }
}

/// A dialer that knows who answered, and has not said so.
#[derive(Debug)]
pub struct Proven {
    proof: [u8; PROOF_LEN],
}

impl Proven {
    /// `link` when the dialer decides.
    pub fn frame(&self, link: LinkId) -> Vec<u8> {
        let mut frame = vec![PROOF];
        frame.put_slice(&self.proof);
        frame.put_u64(link.0);
        frame
    }
}

/// The acceptor's side, its answer sent.
#[derive(Debug)]
pub struct Acceptor {
    secret: Option<Secret>,
    transcript: Vec<u8>,
}

impl Acceptor {
    /// Who says that they are there: it is not proven yet.
    pub fn peek(frame: &[u8], terms: &Terms) -> Result<Opening, Refusal> {
        let (theirs, ..) = read_opening(OPENING, frame, terms)?;
        if theirs.to != terms.own.hello.node {
            return Err(Refusal::WrongNode {
                wanted: theirs.to,
                found: terms.own.hello.node,
            });
        }
        Ok(theirs)
    }

    /// The frame that `peek` has seen, and the answer to it.
    pub fn new(frame: &[u8], terms: &Terms) -> (Self, Vec<u8>) {
        let mut transcript = frame.to_vec();
        let mut answer = opening_frame(ANSWER, terms);
        transcript.extend_from_slice(&answer);
        let proof = prove(&terms.secret, "acceptor", &transcript);
        transcript.extend_from_slice(&proof);
        answer.extend_from_slice(&proof);
        let secret = terms.secret.clone();
        (Self { secret, transcript }, answer)
    }

    /// The number of the link when the dialer has decided.
    pub fn on_proof(self, frame: &[u8]) -> Result<Option<LinkId>, Refusal> {
        let mut rest = expect(PROOF, frame)?;
        let proof = take(&mut rest, PROOF_LEN)?;
        verify(&self.secret, "dialer", &self.transcript, proof)?;
        let link = LinkId(rest.try_get_u64().map_err(short)?);
        Ok((link != LinkId::default()).then_some(link))
    }
}

pub fn welcome_frame(link: LinkId) -> Vec<u8> {
    let mut frame = vec![WELCOME];
    frame.put_u64(link.0);
    frame
}

pub fn read_welcome(frame: &[u8]) -> Result<LinkId, Refusal> {
    let mut rest = expect(WELCOME, frame)?;
    match rest.try_get_u64().map_err(short)? {
        0 => Err(Refusal::Malformed("a link without a number")),
        link => Ok(LinkId(link)),
    }
}

fn opening_frame(tag: u8, terms: &Terms) -> Vec<u8> {
    let Opening {
        hello,
        to,
        ended,
        nonce,
    } = &terms.own;
    let mut frame = vec![tag];
    frame.put_slice(MAGIC);
    // Up to here every version says the same.
    frame.put_u16(hello.version);
    frame.put_i32(hello.node.0);
    frame.put_u8(u8::from(terms.secret.is_some()) | u8::from(hello.is_voter) << 1);
    frame.put_i32(to.0);
    frame.put_slice(hello.directory.as_bytes());
    frame.put_slice(hello.incarnation.as_bytes());
    frame.put_u64(ended.0);
    frame.put_slice(nonce);
    // A cluster's id is never empty.
    let cluster_id = hello.cluster_id.as_deref().unwrap_or_default();
    frame.put_u16(cluster_id.len() as u16);
    frame.put_slice(cluster_id.as_bytes());
    frame
}

/// The opening, its bytes, and the proof behind it if one belongs there.
fn read_opening<'a>(
    tag: u8,
    frame: &'a [u8],
    terms: &Terms,
) -> Result<(Opening, &'a [u8], &'a [u8]), Refusal> {
    let mut rest = expect(tag, frame)?;
    if take(&mut rest, MAGIC.len())? != MAGIC {
        return Err(Refusal::Malformed("it is no server of an ensemble"));
    }
    let version = rest.try_get_u16().map_err(short)?;
    let node = NodeId(rest.try_get_i32().map_err(short)?);
    if version != PROTOCOL_VERSION {
        return Err(admission::Refusal::Version { node, version }.into());
    }
    let flags = rest.try_get_u8().map_err(short)?;
    let to = NodeId(rest.try_get_i32().map_err(short)?);
    let directory = Uuid::from_u128(rest.try_get_u128().map_err(short)?);
    let incarnation = Uuid::from_u128(rest.try_get_u128().map_err(short)?);
    let ended = LinkId(rest.try_get_u64().map_err(short)?);
    let mut nonce = [0; NONCE_LEN];
    rest.try_copy_to_slice(&mut nonce).map_err(short)?;
    let cluster_id_len = rest.try_get_u16().map_err(short)?;
    let cluster_id = take(&mut rest, usize::from(cluster_id_len))?;
    let cluster_id = std::str::from_utf8(cluster_id)
        .map_err(|_| Refusal::Malformed("a cluster id that is no text"))?;
    let theirs = Opening {
        hello: Hello {
            version,
            cluster_id: (!cluster_id.is_empty()).then(|| cluster_id.to_owned()),
            node,
            directory,
            is_voter: flags & 2 != 0,
            incarnation,
        },
        to,
        ended,
        nonce,
    };
    judge(&theirs, flags & 1 != 0, terms)?;
    let (said, proof) = frame
        .split_at_checked(frame.len() - rest.len())
        .unwrap_or_default();
    Ok((theirs, said, proof))
}

/// What neither side has to be asked for.
fn judge(theirs: &Opening, secret: bool, terms: &Terms) -> Result<(), Refusal> {
    let own = &terms.own.hello;
    let cluster_id = own.cluster_id.as_deref();
    admission::admit(&theirs.hello, own.node, cluster_id, &terms.voters)?;
    if secret != terms.secret.is_some() {
        return Err(Refusal::SecretOnOneSide { ours: !secret });
    }
    Ok(())
}

/// What is behind the tag of a frame that should have this one.
fn expect(tag: u8, frame: &[u8]) -> Result<&[u8], Refusal> {
    match frame.split_first() {
        Some((found, rest)) if *found == tag => Ok(rest),
        Some((&REFUSAL, rest)) => {
            let (code, reason) = rest.split_first().unwrap_or((&0, &[]));
            let reason = reason.get(..MAX_REASON_LEN).unwrap_or(reason);
            Err(Refusal::ByOther {
                code: *code,
                // It goes to a log.
                reason: String::from_utf8_lossy(reason).escape_debug().to_string(),
            })
        }
        _ => Err(Refusal::Malformed("another frame was expected")),
    }
}

fn take<'a>(from: &mut &'a [u8], len: usize) -> Result<&'a [u8], Refusal> {
    let (taken, rest) = from
        .split_at_checked(len)
        .ok_or(Refusal::Malformed("a frame that is cut short"))?;
    *from = rest;
    Ok(taken)
}

fn short(_: bytes::TryGetError) -> Refusal {
    Refusal::Malformed("a frame that is cut short")
}

fn prove(secret: &Option<Secret>, side: &str, transcript: &[u8]) -> [u8; PROOF_LEN] {
    let mut proof = [0; PROOF_LEN];
    if let Some(Secret(key)) = secret {
        let mut context = hmac::Context::with_key(key);
        context.update(side.as_bytes());
        context.update(transcript);
        proof.copy_from_slice(context.sign().as_ref());
    }
    proof
}

/// In a time that does not depend on where it differs.
fn verify(
    secret: &Option<Secret>,
    side: &str,
    transcript: &[u8],
    proof: &[u8],
) -> Result<(), Refusal> {
    let Some(Secret(key)) = secret else {
        return Ok(());
    };
    let said = [side.as_bytes(), transcript].concat();
    hmac::verify(key, &said, proof).map_err(|_| Refusal::Secret)
}

#[cfg(test)]
#[path = "handshake_tests.rs"]
mod tests;
