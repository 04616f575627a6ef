//! Scripts of requests, with what Apache Kafka answered: transcripts that are recorded once and that dohle is held to.
//!
//! A script (`conformance/scripts/*.txt`) reads like a conversation. Messages are JSON by the names of the schema table; in
//! answers, fields that have their default are left out, except error codes.
//!
//! ```text
//! # Says why.
//! broker num.partitions=2                 an option of the broker it is for; each script has one of its own
//! hide throttle_time_ms                   fields that are left out of all answers
//! ordered                                 arrays of structs are kept in their order; else they are sorted
//!
//! > Metadata v1..3 {"topics": null}       a request, in one version, in several, or in all: `v*`
//! < v1: {"brokers": …}                    what Kafka answered
//! < v2..3: closed                         it closed the connection; `nothing`: no answer
//! ~ Why dohle differs here.
//! ~< v1..3: {"brokers": …}                what dohle answers instead
//!
//! a> later JoinGroup v4 {…}               on another connection; the answer is read further down,
//! a<                                      here
//! > until NOT_COORDINATOR Heartbeat v4 {…}   asked again until the word is in its answer
//! > settled Fetch v4 {…}                  asked again while its answer has an error that passes by itself
//! > silent Produce v3 {…}                 no answer is read
//! > Metadata v4 0x00ff                    a body as it is
//! > bytes 0x0000                          sent as it is, without length and header
//! > close                                 the client goes
//! ```
//!
//! What differs from run to run is replaced by words, which requests may say, too: `uuid#1` (the first seen, in member ids
//! as well), `producer#1`, `session#1` (of Fetch), `cluster`, `port`, `now`. `$v` in a request's text is its version.
//! Records are batches: `{"records": ["value", {"key": "k", "value": null, "timestamp": 5}], "producer_id": 3, …}`.

mod batches;
mod decode;
mod encode;
mod file;
mod names;
mod print;
mod run;

pub use file::{Action, Answer, Answers, Item, Script, Step, difference};
pub use run::{Ran, run};

/// Why a script cannot be read, or run.
#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    #[error("{0}")]
    Syntax(String),
    #[error("{0}")]
    Broker(#[from] std::io::Error),
}

impl ScriptError {
    fn syntax(text: impl Into<String>) -> ScriptError {
        ScriptError::Syntax(text.into())
    }
}
