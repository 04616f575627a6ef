//! Every option there is: three tables (broker, topic, group), and what follows from them.
//!
//! Adding an option is one row in `broker_options`, `topic_options` or `group_options`. Loading, checking, `dohle config`, the
//! reference file and DescribeConfigs follow from it.

pub mod broker;
mod broker_options;
pub mod describe;
mod ensemble;
pub mod group;
mod group_options;
mod listener;
pub mod load;
mod options;
mod overrides;
pub mod reference;
pub mod topic;
mod topic_options;
mod value;

pub use broker::{BrokerConfig, Origin};
pub use broker_options::BROKER_OPTIONS;
pub use ensemble::{EnsembleVoter, HostPort, Password};
pub use group_options::{GROUP_OPTIONS, GroupConfig};
pub use listener::{Listener, ProtocolMap, SecurityProtocol};
pub use load::{ConfigError, load};
pub use options::{InvalidConfig, OptionSpec, UpdateMode, Valid};
pub use overrides::{ConfigOverrides, ConfigText};
pub use topic_options::{TOPIC_OPTIONS, TopicConfig};
pub use value::{
    CleanupPolicy, CompressionType, ConfigType, LogFormat, ThrottledReplicas, TimestampType, Unit,
};
