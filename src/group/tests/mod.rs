//! The shard under test: by transcripts that read like the protocol, and by random groups.

mod harness;
mod random;
mod transcript;
