//! Finalized features (KIP-584): what this version supports, what a new cluster starts with, and what may be made of
//! that. Codes and words of refusals are those of Kafka's controller.

use std::collections::BTreeMap;

use crate::controller::Settings;
use crate::controller::command::{ApiError, FeatureUpdate, FormatCluster, UpdateFeatures};
use crate::controller::delta::ConfigResource;
use crate::controller::image::MetadataImage;
use crate::controller::records::{
    ClusterRecord, ConfigRecord, ConfigResourceType, FeatureLevelRecord, Record, SupportedFeature,
};
use crate::error::ErrorCode;

const MIN_INSYNC_REPLICAS: &str = "min.insync.replicas";

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

/// Levels of `metadata.version` whose records an earlier level cannot have: the way back ends there.
const METADATA_CHANGES: [i16; 12] = [7, 8, 11, 13, 14, 15, 17, 23, 30, 32, 33, 34];

/// What a level of a feature needs: the feature, from which level on, the other one and its level.
const DEPENDENCIES: [(&str, i16, &str, i16); 1] =
    [(ELIGIBLE_LEADER_REPLICAS, 1, METADATA_VERSION, 23)];

const UPGRADE: i8 = 1;
const SAFE_DOWNGRADE: i8 = 2;
const UNSAFE_DOWNGRADE: i8 = 3;

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
pub fn format(
    image: &MetadataImage,
    command: &FormatCluster,
    settings: &Settings,
) -> Result<Vec<Record>, ApiError> {
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
    let mut features = command.features.iter();
    if features.any(|feature| turns_elr_on(&feature.name, feature.level)) {
        records.extend(elr_safety_records(image, settings));
    }
    Ok(records)
}

/// Raises and lowers levels. What is refused of one is refused of all.
pub fn update(
    image: &MetadataImage,
    command: &UpdateFeatures,
    settings: &Settings,
) -> Result<Vec<Record>, ApiError> {
    let mut proposed: BTreeMap<&str, i16> = image.features().collect();
    let updates = command.updates.iter();
    proposed.extend(updates.map(|update| (update.name.as_str(), update.level)));
    let mut levels = Vec::new();
    for update in &command.updates {
        let check = check_update(image, update, &proposed, settings);
        check.map_err(|why| {
            let of_all =
                "The update failed for all features since the following feature had an error: ";
            ApiError::new(ErrorCode::InvalidUpdateVersion, format!("{of_all}{why}"))
        })?;
        // The level it has already is no change, and no record says so.
        if image.feature(&update.name) != update.level {
            levels.push(Record::FeatureLevel(FeatureLevelRecord {
                name: update.name.clone(),
                level: update.level,
            }));
        }
    }
    if command.validate_only {
        return Ok(Vec::new());
    }
    let mut updates = command.updates.iter();
    let mut records = match updates.any(|update| turns_elr_on(&update.name, update.level)) {
        true => elr_safety_records(image, settings),
        false => Vec::new(),
    };
    records.extend(levels);
    Ok(records)
}

fn turns_elr_on(name: &str, level: i16) -> bool {
    name == ELIGIBLE_LEADER_REPLICAS && level > 0
}

/// What is eligible to lead depends on `min.insync.replicas`, so the cluster has one and no broker its own (KIP-966).
fn elr_safety_records(image: &MetadataImage, settings: &Settings) -> Vec<Record> {
    let record = |resource: ConfigResource, value| {
        Record::Config(ConfigRecord {
            resource_type: resource.kind,
            resource_name: resource.name,
            key: MIN_INSYNC_REPLICAS.into(),
            value,
        })
    };
    let has_one = |resource: &ConfigResource| {
        let configs = image.configs(resource.kind, &resource.name);
        configs.contains_key(MIN_INSYNC_REPLICAS)
    };
    let cluster = ConfigResource {
        kind: ConfigResourceType::Broker,
        name: String::new(),
    };
    let mut records = Vec::new();
    if !has_one(&cluster) {
        let value = settings.min_insync_replicas.to_string();
        records.push(record(cluster, Some(value.into())));
    }
    let brokers = image
        .configured_resources()
        .filter(|resource| resource.kind == ConfigResourceType::Broker && !resource.name.is_empty())
        .filter(has_one);
    records.extend(brokers.map(|broker| record(broker, None)));
    records
}

/// Why the update is refused.
fn check_update(
    image: &MetadataImage,
    update: &FeatureUpdate,
    proposed: &BTreeMap<&str, i16>,
    settings: &Settings,
) -> Result<(), String> {
    let FeatureUpdate {
        name,
        level,
        upgrade_type,
    } = update;
    let (level, current) = (*level, image.feature(name));
    let invalid = |why: &str| {
        Err(format!(
            "Invalid update version {level} for feature {name}. {why}"
        ))
    };
    if ![UPGRADE, SAFE_DOWNGRADE, UNSAFE_DOWNGRADE].contains(upgrade_type) {
        return invalid("The controller does not support the given upgrade type.");
    }
    if level < 0 {
        return invalid("A feature version cannot be less than 0.");
    }
    if let Some(why) = reason_not_supported(image, name, level, settings) {
        return invalid(&why);
    }
    if level < current && *upgrade_type == UPGRADE {
        return invalid(
            "Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe downgrade.",
        );
    }
    if level > current && *upgrade_type != UPGRADE {
        return invalid("Can't downgrade to a newer version.");
    }
    match name.as_str() {
        METADATA_VERSION => check_metadata_version(current, level, *upgrade_type),
        KRAFT_VERSION if level < current => invalid("Can't downgrade the version of this feature."),
        _ => match missing_dependency(name, level, proposed) {
            Some(why) => invalid(&why),
            None => Ok(()),
        },
    }
}

/// Who of the controller's node and the brokers cannot run at that level.
fn reason_not_supported(
    image: &MetadataImage,
    name: &str,
    level: i16,
    settings: &Settings,
) -> Option<String> {
    let refuses = |who: String, features: &[SupportedFeature]| {
        let supported = features.iter().find(|feature| feature.name == name);
        let (min, max) = supported.map_or((0, 0), |feature| (feature.min, feature.max));
        match (min..=max).contains(&level) {
            true => None,
            false if max == 0 => Some(format!("{who} does not support this feature.")),
            false if min == max => Some(format!("{who} only supports versions {min}")),
            false => Some(format!("{who} only supports versions {min}-{max}")),
        }
    };
    refuses(format!("Local controller {}", settings.node), &supported()).or_else(|| {
        let mut brokers = image.brokers();
        brokers.find_map(|broker| refuses(format!("Broker {}", broker.id), &broker.features))
    })
}

fn check_metadata_version(current: i16, level: i16, upgrade_type: i8) -> Result<(), String> {
    let loses = METADATA_CHANGES
        .iter()
        .any(|changed| (level + 1..=current).contains(changed));
    if !loses {
        return Ok(());
    }
    let why = if upgrade_type == UNSAFE_DOWNGRADE {
        "Unsafe metadata downgrade is not supported in this version."
    } else {
        "Refusing to perform the requested downgrade because it might delete metadata information."
    };
    Err(format!(
        "Unsupported metadata.version downgrade from {current} to {level}. {why}"
    ))
}

fn missing_dependency(name: &str, level: i16, proposed: &BTreeMap<&str, i16>) -> Option<String> {
    let dependencies = DEPENDENCIES.iter();
    let mut needed = dependencies.filter(|(of, from, ..)| *of == name && level >= *from);
    let missing = needed.find(|(_, _, on, least)| proposed.get(on).is_none_or(|l| l < least));
    missing.map(|(_, _, on, least)| {
        format!("{name} could not be set to {level} because it depends on {on} level {least}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::command::{Command, Reply};
    use crate::controller::delta::MetadataDelta;
    use crate::controller::testing::{SETTINGS, cluster_of, commit, registration, run};
    use crate::types::Zxid;

    #[test]
    fn a_cluster_is_formatted_once() {
        let mut image = MetadataImage::default();
        let command = FormatCluster {
            cluster_id: "MkU3OEVBNTcwNTJENDM2Qg".into(),
            features: of_a_new_cluster(),
        };
        let settings = Settings {
            min_insync_replicas: 2,
            ..SETTINGS
        };
        let records = format(&image, &command, &settings).unwrap();
        image
            .replay_all(Zxid::new(1, 1), &records, &mut MetadataDelta::default())
            .unwrap();
        assert_eq!(image.cluster_id(), "MkU3OEVBNTcwNTJENDM2Qg");
        assert_eq!(image.feature(METADATA_VERSION), 33);
        let cluster = image.configs(ConfigResourceType::Broker, "");
        assert_eq!(cluster.get("min.insync.replicas").unwrap(), "2");
        assert!(image.features().map(|(name, _)| name).is_sorted());
        let again = format(&image, &command, &settings).unwrap_err();
        assert_eq!(again.error, ErrorCode::InvalidRequest);
    }

    fn updates(updates: &[(&str, i16, i8)]) -> UpdateFeatures {
        let updates = updates.iter().map(|(name, level, upgrade_type)| {
            let (level, upgrade_type) = (*level, *upgrade_type);
            FeatureUpdate {
                name: (*name).to_owned(),
                level,
                upgrade_type,
            }
        });
        UpdateFeatures {
            updates: updates.collect(),
            validate_only: false,
        }
    }

    fn set(image: &mut MetadataImage, levels: &[(&str, i16)]) {
        let records = levels.iter().map(|(name, level)| {
            Record::FeatureLevel(FeatureLevelRecord {
                name: (*name).to_owned(),
                level: *level,
            })
        });
        commit(image, &records.collect::<Vec<_>>());
    }

    #[test]
    fn levels_go_up_and_down_as_far_as_nothing_is_lost() {
        let mut image = cluster_of(&[(1, None)]);
        let mut update = |changes| run(&mut image, Command::UpdateFeatures(updates(changes)));
        let done = Reply::UpdateFeatures(Ok(()));
        assert_eq!(
            update(&[(SHARE_VERSION, 1, 2), (GROUP_VERSION, 0, 3)]),
            done
        );
        assert_eq!(update(&[(SHARE_VERSION, 2, 1)]), done);
        assert_eq!(
            update(&[(KRAFT_VERSION, 1, 1), (METADATA_VERSION, 33, 2)]),
            done
        );
        let levels: BTreeMap<_, _> = image.features().collect();
        assert_eq!(levels.get(SHARE_VERSION), Some(&2));
        assert_eq!(levels.get(GROUP_VERSION), None);
        let only_looked = UpdateFeatures {
            validate_only: true,
            ..updates(&[(SHARE_VERSION, 0, 2)])
        };
        assert_eq!(run(&mut image, Command::UpdateFeatures(only_looked)), done);
        assert_eq!(image.feature(SHARE_VERSION), 2);
    }

    /// Codes and words as Apache Kafka 4.4.0 gives them.
    #[test]
    fn refusals_are_kafkas_and_of_everything_asked() {
        let mut image = cluster_of(&[(1, None)]);
        let mut old = registration(7, None);
        let share = old.features.iter_mut().find(|f| f.name == SHARE_VERSION);
        share.unwrap().max = 1;
        set(&mut image, &[(SHARE_VERSION, 1), (TRANSACTION_VERSION, 1)]);
        run(&mut image, Command::RegisterBroker(old));
        let down = "Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe downgrade.";
        let table = [
            (("nonsense", 1, 1), "Invalid update version 1 for feature nonsense. Local controller 1 does not support this feature.".to_owned()),
            ((SHARE_VERSION, 3, 1), "Invalid update version 3 for feature share.version. Local controller 1 only supports versions 0-2".into()),
            ((SHARE_VERSION, 2, 1), "Invalid update version 2 for feature share.version. Broker 7 only supports versions 0-1".into()),
            ((SHARE_VERSION, -1, 2), "Invalid update version -1 for feature share.version. A feature version cannot be less than 0.".into()),
            ((SHARE_VERSION, 1, 0), "Invalid update version 1 for feature share.version. The controller does not support the given upgrade type.".into()),
            ((SHARE_VERSION, 0, 1), format!("Invalid update version 0 for feature share.version. {down}")),
            ((TRANSACTION_VERSION, 2, 2), "Invalid update version 2 for feature transaction.version. Can't downgrade to a newer version.".into()),
            ((KRAFT_VERSION, 0, 2), "Invalid update version 0 for feature kraft.version. Can't downgrade the version of this feature.".into()),
            ((METADATA_VERSION, 30, 2), "Unsupported metadata.version downgrade from 33 to 30. Refusing to perform the requested downgrade because it might delete metadata information.".into()),
            ((METADATA_VERSION, 30, 3), "Unsupported metadata.version downgrade from 33 to 30. Unsafe metadata downgrade is not supported in this version.".into()),
        ];
        for (refused, why) in table {
            let fine = (GROUP_VERSION, 0, 2);
            let command = updates(&[fine, refused]);
            let error = update(&image, &command, &SETTINGS).unwrap_err();
            assert_eq!(error.error, ErrorCode::InvalidUpdateVersion, "{refused:?}");
            let of_all =
                "The update failed for all features since the following feature had an error: ";
            assert_eq!(error.message.unwrap(), format!("{of_all}{why}"));
        }
        // 31 changed nothing that 30 cannot have.
        set(&mut image, &[(METADATA_VERSION, 31)]);
        assert!(update(&image, &updates(&[(METADATA_VERSION, 30, 2)]), &SETTINGS).is_ok());
    }

    #[test]
    fn elr_needs_its_metadata_and_one_minimum_for_all_brokers() {
        let mut image = cluster_of(&[(1, None), (2, None)]);
        let minimum = |name: &str, value: Option<&str>| {
            Record::Config(ConfigRecord {
                resource_type: ConfigResourceType::Broker,
                resource_name: name.to_owned(),
                key: MIN_INSYNC_REPLICAS.into(),
                value: value.map(Into::into),
            })
        };
        set(
            &mut image,
            &[(ELIGIBLE_LEADER_REPLICAS, 0), (METADATA_VERSION, 22)],
        );
        commit(&mut image, &[minimum("", None), minimum("2", Some("5"))]);
        let on = (ELIGIBLE_LEADER_REPLICAS, 1, 1);
        let why = update(&image, &updates(&[on]), &SETTINGS)
            .unwrap_err()
            .message
            .unwrap();
        assert!(why.ends_with("eligible.leader.replicas.version could not be set to 1 because it depends on metadata.version level 23"), "{why}");
        let both = updates(&[on, (METADATA_VERSION, 33, 1)]);
        let records = update(&image, &both, &SETTINGS).unwrap();
        assert_eq!(records[..2], [minimum("", Some("1")), minimum("2", None)]);
        assert_eq!(records.len(), 4);
    }
}
