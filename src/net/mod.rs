//! Sockets: the Kafka listeners and the HTTP endpoint.

mod connection;
pub(crate) mod http;
pub(crate) mod listener;
mod log_limit;
mod outbox;
mod pipeline;
mod transport;
