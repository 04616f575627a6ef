//! The one door to the decisions.

use uuid::Uuid;

use crate::config::ConfigOverrides;
use crate::controller::command::{ApiError, Command, Reply};
use crate::controller::delta::ConfigResource;
use crate::controller::image::MetadataImage;
use crate::controller::records::{ConfigResourceType, Record};
use crate::controller::{
    brokers, configs, directories, features, partitions, producer_ids, topics,
};
use crate::types::NodeId;

/// What a decision may know besides the image.
pub struct Environment<'a> {
    /// Fresh random ids.
    pub new_id: &'a mut dyn FnMut() -> Uuid,
    pub schema: &'a dyn ConfigSchema,
    pub settings: &'a Settings,
}

/// The leader's own options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub node: NodeId,
    pub num_partitions: i32,
    pub default_replication_factor: i16,
    /// How many copies of a partition this version can keep.
    pub max_replication_factor: i16,
    /// Becomes the cluster's own when leaders are elected by what is in sync (KIP-966).
    pub min_insync_replicas: i32,
}

/// What the options table knows about the configs of a resource.
pub trait ConfigSchema {
    /// All overrides a resource would have. Kafka's code and words when they are refused.
    fn validate(
        &self,
        resource: &ConfigResource,
        overrides: &ConfigOverrides,
    ) -> Result<(), ApiError>;

    /// Whether values can be appended and subtracted.
    fn is_list(&self, kind: ConfigResourceType, key: &str) -> bool;

    /// What a list holds before anything was set.
    fn default_value(&self, kind: ConfigResourceType, key: &str) -> Option<String>;
}

/// The records are to be committed together, then the reply may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub records: Vec<Record>,
    pub reply: Reply,
}

pub fn decide(image: &MetadataImage, command: &Command, env: &mut Environment<'_>) -> Decision {
    match command {
        Command::FormatCluster(command) => {
            let records = features::format(image, command, env.settings);
            one(records, Reply::FormatCluster)
        }
        Command::RegisterBroker(command) => {
            one(brokers::register(image, command), Reply::RegisterBroker)
        }
        Command::ChangeBroker(command) => one(brokers::change(image, command), Reply::ChangeBroker),
        Command::UnregisterBroker(id) => {
            one(brokers::unregister(image, *id), Reply::UnregisterBroker)
        }
        Command::CreateTopics(command) => {
            let (records, results) = topics::create(image, command, env);
            Decision {
                records,
                reply: Reply::CreateTopics(results),
            }
        }
        Command::DeleteTopics(ids) => {
            let (records, results) = topics::delete(image, ids);
            Decision {
                records,
                reply: Reply::DeleteTopics(results),
            }
        }
        Command::CreatePartitions(command) => {
            let (records, results) = partitions::create(image, command);
            Decision {
                records,
                reply: Reply::CreatePartitions(results),
            }
        }
        Command::ReplaceConfigs(command) => {
            let (records, results) = configs::replace(image, command, env.schema);
            Decision {
                records,
                reply: Reply::AlterConfigs(results),
            }
        }
        Command::IncrementalAlterConfigs(command) => {
            let (records, results) = configs::alter_incrementally(image, command, env.schema);
            Decision {
                records,
                reply: Reply::AlterConfigs(results),
            }
        }
        Command::AssignReplicasToDirs(command) => one(
            directories::assign(image, command),
            Reply::AssignReplicasToDirs,
        ),
        Command::UpdateFeatures(command) => {
            let records = features::update(image, command, env.settings);
            one(records, Reply::UpdateFeatures)
        }
        Command::AllocateProducerIds(command) => match producer_ids::allocate(image, command) {
            Ok((record, block)) => Decision {
                records: vec![record],
                reply: Reply::ProducerIds(Ok(block)),
            },
            Err(error) => Decision {
                records: Vec::new(),
                reply: Reply::ProducerIds(Err(error)),
            },
        },
    }
}

fn one(
    decided: Result<Vec<Record>, ApiError>,
    reply: impl Fn(Result<(), ApiError>) -> Reply,
) -> Decision {
    match decided {
        Ok(records) => Decision {
            records,
            reply: reply(Ok(())),
        },
        Err(error) => Decision {
            records: Vec::new(),
            reply: reply(Err(error)),
        },
    }
}
