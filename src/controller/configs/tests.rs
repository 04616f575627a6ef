use super::*;
use crate::controller::command::{Command, ConfigEntry, Reply};
use crate::controller::testing::*;

const TOPIC: ConfigResourceType = ConfigResourceType::Topic;
const BROKER: ConfigResourceType = ConfigResourceType::Broker;

fn incremental(
    image: &mut MetadataImage,
    kind: ConfigResourceType,
    name: &str,
    ops: &[(OpType, &str, Option<&str>)],
) -> String {
    let ops = ops.iter().map(|(op, name, value)| AlterConfigOp {
        name: (*name).into(),
        op: *op,
        value: value.map(Into::into),
    });
    let command = Command::IncrementalAlterConfigs(IncrementalAlterConfigs {
        resources: vec![AlterResourceConfigs {
            resource: ConfigResource::new(kind, name),
            ops: ops.collect(),
        }],
        validate_only: false,
    });
    outcome(image, command, kind, name)
}

fn replaced(
    image: &mut MetadataImage,
    name: &str,
    configs: &[(&str, &str)],
    validate_only: bool,
) -> String {
    let configs = configs.iter().map(|(name, value)| ConfigEntry {
        name: (*name).into(),
        value: Some((*value).into()),
    });
    let command = Command::ReplaceConfigs(ReplaceConfigs {
        resources: vec![ReplaceResourceConfigs {
            resource: ConfigResource::new(TOPIC, name),
            configs: configs.collect(),
        }],
        validate_only,
    });
    outcome(image, command, TOPIC, name)
}

fn outcome(
    image: &mut MetadataImage,
    command: Command,
    kind: ConfigResourceType,
    name: &str,
) -> String {
    match run(image, command) {
        Reply::AlterConfigs(results) => match &results[0] {
            Ok(()) => {
                let overrides = image.configs(kind, name).iter();
                let overrides = overrides.map(|(key, value)| format!("{key}={value}"));
                overrides.collect::<Vec<_>>().join(" ")
            }
            Err(error) => error.to_string(),
        },
        other => panic!("{other:?}"),
    }
}

#[test]
fn operations_build_on_what_is_there() {
    use OpType::{Append, Delete, Set, Subtract};
    let mut image = cluster_of(&[(1, None)]);
    make(&mut image, vec![topic("t", 1, 1)]);
    let mut ask = |op, key, value| incremental(&mut image, TOPIC, "t", &[(op, key, value)]);
    // A list starts from its default.
    let table = [
        (
            Append,
            "cleanup.policy",
            Some("compact"),
            "cleanup.policy=delete,compact",
        ),
        (
            Append,
            "cleanup.policy",
            Some("delete,x,"),
            "cleanup.policy=delete,compact,x",
        ),
        (
            Subtract,
            "cleanup.policy",
            Some("x,delete"),
            "cleanup.policy=compact",
        ),
        (
            Subtract,
            "cleanup.policy",
            Some("none"),
            "cleanup.policy=compact",
        ),
        (
            Set,
            "retention.ms",
            Some("7"),
            "cleanup.policy=compact retention.ms=7",
        ),
        (Delete, "cleanup.policy", None, "retention.ms=7"),
        (Delete, "never.set", None, "retention.ms=7"),
        (
            Append,
            "retention.ms",
            Some("1"),
            "INVALID_CONFIG: Can't APPEND to key retention.ms because its type is not LIST.",
        ),
        (
            Subtract,
            "unknown",
            Some("1"),
            "INVALID_CONFIG: Can't SUBTRACT to key unknown because its type is not LIST.",
        ),
        (
            Set,
            "retention.ms",
            Some("x"),
            "INVALID_CONFIG: Invalid retention.ms",
        ),
        (
            Set,
            "retention.ms",
            None,
            "INVALID_REQUEST: Null value not supported for : retention.ms",
        ),
        (Delete, "retention.ms", None, ""),
    ];
    for (op, key, value, expected) in table {
        assert_eq!(ask(op, key, value), expected, "{op:?} {key} {value:?}");
    }
    let long = "x".repeat(32768);
    assert_eq!(
        ask(Set, "retention.ms", Some(&long)),
        "INVALID_CONFIG: The configuration value cannot be added because it exceeds the maximum value size of 32767 bytes."
    );
    assert!(
        !image.configs.contains_key(&TOPIC),
        "nothing is left of what was deleted"
    );
}

#[test]
fn resources_must_make_sense() {
    let mut image = cluster_of(&[(1, None)]);
    let set = [(OpType::Set, "cleanup.policy", Some("delete"))];
    let table = [
        (
            TOPIC,
            "",
            "INVALID_REQUEST: Default topic resources are not allowed.",
        ),
        (
            TOPIC,
            "t",
            "UNKNOWN_TOPIC_OR_PARTITION: The topic 't' does not exist.",
        ),
        (
            TOPIC,
            "..",
            "INVALID_TOPIC_EXCEPTION: Topic name is invalid: '..' is not allowed",
        ),
        (
            BROKER,
            "x",
            "INVALID_REQUEST: Unable to parse broker name as a base 10 number.",
        ),
        (BROKER, "-1", "INVALID_REQUEST: Invalid negative broker ID."),
        (
            BROKER,
            "7",
            "BROKER_ID_NOT_REGISTERED: No node with id 7 found.",
        ),
        (BROKER, "1", "cleanup.policy=delete"),
        (BROKER, "", "cleanup.policy=delete min.insync.replicas=1"),
        (
            ConfigResourceType::Group,
            "",
            "INVALID_REQUEST: Default group resources are not allowed.",
        ),
        (ConfigResourceType::Group, "g", "cleanup.policy=delete"),
        (
            ConfigResourceType::ClientMetrics,
            "",
            "INVALID_REQUEST: Subscription name can't be empty",
        ),
        (
            ConfigResourceType::BrokerLogger,
            "1",
            "INVALID_REQUEST: Unknown resource type BROKER_LOGGER",
        ),
    ];
    for (kind, name, expected) in table {
        assert_eq!(
            incremental(&mut image, kind, name, &set),
            expected,
            "{kind:?} {name}"
        );
    }
}

#[test]
fn replacing_removes_what_is_not_named() {
    let mut image = cluster_of(&[(1, None)]);
    make(&mut image, vec![topic("t", 1, 1)]);
    let both = [("cleanup.policy", "compact"), ("retention.ms", "1")];
    let shown = "cleanup.policy=compact retention.ms=1";
    assert_eq!(replaced(&mut image, "t", &both, true), "");
    assert_eq!(replaced(&mut image, "t", &both, false), shown);
    assert_eq!(
        replaced(&mut image, "t", &[("retention.ms", "2")], false),
        "retention.ms=2"
    );
    assert_eq!(
        replaced(&mut image, "t", &[("retention.ms", "x")], false),
        "INVALID_CONFIG: Invalid retention.ms"
    );
    assert_eq!(replaced(&mut image, "t", &[], false), "");
}

#[test]
fn min_insync_replicas_belongs_to_the_cluster_while_elr_is_on() {
    let mut image = cluster_of(&[(1, None)]);
    let set = [(OpType::Set, "min.insync.replicas", Some("2"))];
    let delete = [(OpType::Delete, "min.insync.replicas", None)];
    assert_eq!(
        incremental(&mut image, BROKER, "1", &set),
        "INVALID_CONFIG: Broker-level min.insync.replicas cannot be altered while ELR is enabled."
    );
    assert_eq!(
        incremental(&mut image, BROKER, "", &set),
        "min.insync.replicas=2"
    );
    assert_eq!(
        incremental(&mut image, BROKER, "", &delete),
        "INVALID_CONFIG: Cluster-level min.insync.replicas cannot be removed while ELR is enabled."
    );
    image.features.remove(features::ELIGIBLE_LEADER_REPLICAS);
    assert_eq!(
        incremental(&mut image, BROKER, "1", &set),
        "min.insync.replicas=2"
    );
}

#[test]
fn an_unchanged_value_is_no_record_except_a_brokers() {
    let mut image = cluster_of(&[(1, None)]);
    make(&mut image, vec![topic("t", 1, 1)]);
    let set = [(OpType::Set, "retention.ms", Some("7"))];
    for (kind, name, moves) in [(TOPIC, "t", false), (BROKER, "1", true)] {
        incremental(&mut image, kind, name, &set);
        let before = image.applied();
        incremental(&mut image, kind, name, &set);
        assert_eq!(image.applied() != before, moves, "{kind:?}");
    }
}

#[test]
fn operations_can_be_tried() {
    let before = [("retention.ms", "1"), ("cleanup.policy", "compact")];
    let before: ConfigOverrides = before.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    let op = |name: &str, op, value: Option<&str>| AlterConfigOp {
        name: name.into(),
        op,
        value: value.map(Into::into),
    };
    let ops = [
        op("retention.ms", OpType::Delete, None),
        op("cleanup.policy", OpType::Append, Some("delete")),
    ];
    let after = after(&before, TOPIC, &ops, &TwoKeys).unwrap();
    let expected = [("cleanup.policy".to_owned(), "compact,delete".to_owned())];
    assert_eq!(after, expected.into());
    let refused = super::after(
        &before,
        TOPIC,
        &[op("x", OpType::Append, Some("1"))],
        &TwoKeys,
    );
    assert_eq!(refused.unwrap_err().error, ErrorCode::InvalidConfig);
}
