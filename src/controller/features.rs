//! Finalized features (KIP-584): what this version supports, and what a new cluster starts with.

use crate::controller::command::{ApiError, FormatCluster};
use crate::controller::image::MetadataImage;
use crate::controller::records::{
    ClusterRecord, ConfigRecord, ConfigResourceType, FeatureLevelRecord, Record, SupportedFeature,
};
use crate::error::ErrorCode;

pub const METADATA_VERSION: &str = "metadata.version";
pub const KRAFT_VERSION: &str = "kraft.version";
pub const TRANSACTION_VERSION: &str = "transaction.version";
pub const GROUP_VERSION: &str = "group.version";
pub const ELIGIBLE_LEADER_REPLICAS: &str = "eligible.leader.replicas.version";
pub const SHARE_VERSION: &str = "share.version";
pub const STREAMS_VERSION: &str = "streams.version";

/// Name, lowest and highest level; a new cluster gets the highest. As Kafka 4.4.0 has them.
const SUPPORTED: [(&str, i16, i16); 7] = [
    (ELIGIBLE_LEADER_REPLICAS, 0, 1),
    (GROUP_VERSION, 0, 1),
    (KRAFT_VERSION, 0, 1),
    (METADATA_VERSION, 7, 33),
    (SHARE_VERSION, 0, 2),
    (STREAMS_VERSION, 0, 1),
    (TRANSACTION_VERSION, 0, 2),
];

/// By name.
pub fn supported() -> Vec<SupportedFeature> {
    let supported = SUPPORTED.iter().map(|(name, min, max)| SupportedFeature {
        name: (*name).to_owned(),
        min: *min,
        max: *max,
    });
    supported.collect()
}

/// What a new cluster finalizes.
pub fn of_a_new_cluster() -> Vec<FeatureLevelRecord> {
    let levels = SUPPORTED.iter().map(|(name, _, max)| FeatureLevelRecord {
        name: (*name).to_owned(),
        level: *max,
    });
    levels.collect()
}

/// The first records of a cluster. A cluster that has a name keeps it.
pub fn format(image: &MetadataImage, command: &FormatCluster) -> Result<Vec<Record>, ApiError> {
    if !image.cluster_id().is_empty() {
        return Err(ApiError::new(
            ErrorCode::InvalidRequest,
            format!("The cluster has an id already: {}", image.cluster_id()),
        ));
    }
    let mut records = vec![Record::Cluster(ClusterRecord {
        cluster_id: command.cluster_id.clone(),
    })];
    let features = command.features.iter().cloned();
    records.extend(features.map(Record::FeatureLevel));
    let elr = command
        .features
        .iter()
        .any(|feature| feature.name == ELIGIBLE_LEADER_REPLICAS && feature.level > 0);
    if elr {
        records.push(Record::Config(ConfigRecord {
            resource_type: ConfigResourceType::Broker,
            resource_name: String::new(),
            key: "min.insync.replicas".to_owned(),
            value: Some(command.min_insync_replicas.to_string()),
        }));
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::delta::MetadataDelta;
    use crate::types::Zxid;

    #[test]
    fn a_cluster_is_formatted_once() {
        let mut image = MetadataImage::default();
        let command = FormatCluster {
            cluster_id: "MkU3OEVBNTcwNTJENDM2Qg".into(),
            features: of_a_new_cluster(),
            min_insync_replicas: 2,
        };
        let records = format(&image, &command).unwrap();
        image
            .replay_all(Zxid::new(1, 1), &records, &mut MetadataDelta::default())
            .unwrap();
        assert_eq!(image.cluster_id(), "MkU3OEVBNTcwNTJENDM2Qg");
        assert_eq!(image.feature(METADATA_VERSION), 33);
        let cluster = image.configs(ConfigResourceType::Broker, "");
        assert_eq!(cluster.get("min.insync.replicas").unwrap(), "2");
        assert!(image.features().map(|(name, _)| name).is_sorted());
        let again = format(&image, &command).unwrap_err();
        assert_eq!(again.error, ErrorCode::InvalidRequest);
    }
}
