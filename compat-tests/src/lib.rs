//! Real Kafka clients against a real broker: the harness behind `tests/compat.rs`.
//!
//! The scenarios are written once, here; a client takes part through a driver in its own language under `clients/`
//! that answers the operations of README.md. What a scenario means is in README.md too.

pub mod binary;
pub mod broker;
pub mod client;
pub mod corpus;
pub mod driver;
pub mod ensemble;
pub mod ensemble_loop;
pub mod hostile_frames;
pub mod kafka_log;
pub mod kcat;
pub mod kill_loop;
pub mod netns;
pub mod our_log;
pub mod paths;
pub mod prepare;
pub mod requests;
pub mod scenarios;
pub mod seen;
pub mod soak;
pub mod switch;
pub mod tools;
pub mod wait;
pub mod wire;
