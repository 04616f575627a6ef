//! The controller (DESIGN §5): what may happen to the cluster's metadata, decided on the leader.
//!
//! `decide` looks at an image and a command and gives back records and a reply; ZAB orders the
//! records; `MetadataImage::replay` applies them on every node. Time, randomness and ids come in
//! from outside. No tokio, no files, no clocks.

pub mod brokers;
pub mod client_metrics;
pub mod command;
pub mod configs;
mod decide;
pub mod delta;
mod directories;
mod elections;
pub mod features;
pub mod image;
pub mod node_list;
pub mod partitions;
pub mod placement;
pub mod producer_ids;
pub mod records;
mod replay;
pub mod schema;
pub mod sessions;
pub mod snapshot;
#[cfg(test)]
pub(crate) mod testing;
pub mod topic_image;
pub mod topics;

pub use command::{Command, Reply};
pub use decide::{ConfigSchema, Decision, Environment, Settings, decide};
pub use delta::{ConfigResource, MetadataDelta, TopicDelta};
pub use image::MetadataImage;
pub use records::Record;
pub use replay::ReplayError;
pub use topic_image::{PartitionState, TopicImage};
