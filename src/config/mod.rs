//! Every option there is: two tables (broker, topic), and what follows from them.
//!
//! Adding an option is one row in `broker_options` or `topic_options`. Loading, checking, `dohle config`, the
//! reference file and DescribeConfigs follow from it.

pub mod broker;
mod broker_options;
pub mod describe;
pub mod group;
mod group_options;
pub mod load;
mod options;
pub mod reference;
pub mod topic;
mod topic_options;
mod value;

pub use broker::{BrokerConfig, Origin};
pub use broker_options::BROKER_OPTIONS;
pub use group_options::{GROUP_OPTIONS, GroupConfig};
pub use load::{ConfigError, load};
pub use options::{InvalidConfig, OptionSpec, UpdateMode, Valid};
pub use topic_options::{TOPIC_OPTIONS, TopicConfig};
pub use value::{
    CleanupPolicy, CompressionType, ConfigType, Listener, LogFormat, TimestampType, Unit,
};
