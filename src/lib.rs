//! dohle: a drop-in Apache Kafka broker. `src/ARCHITECTURE.md` is the map.

pub mod api;
pub mod broker;
pub mod config;
pub mod controller;
pub mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod group;
pub mod log;
pub mod logging;
pub mod metrics;
pub mod net;
pub mod parallel;
pub mod protocol;
pub mod replication;
pub mod runtime;
pub mod security;
#[cfg(test)]
pub mod sim;
pub mod state_machine;
pub mod types;
pub mod zab;
pub mod zab_log;

#[cfg(test)]
mod tidy;

/// The Apache Kafka that this broker behaves like.
pub const KAFKA_VERSION: &str = "4.4.0";
