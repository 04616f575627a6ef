//! Kafka's bytes: frames, headers, messages and record batches, in and out.
//!
//! Everything here is pure: byte slices in, values or bytes out. No sockets, files or clocks. What comes
//! from a peer is never trusted: no count or length from the wire is reserved for, indexed with or looped
//! over before it is held against the bytes that are really there.

pub mod batch_builder;
pub mod compression;
pub mod compressor;
pub mod current_leader;
pub mod decompressor;
pub mod end_txn_marker;
pub mod fetch;
mod fetch_response;
pub mod frame;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
pub mod guard;
pub mod header;
pub mod messages;
pub mod produce;
pub mod rebuilt_batch;
pub mod record;
pub mod record_batch;
pub mod record_walk;
pub mod schema;
pub mod varint;
