//! The admin APIs against a whole node, in every version.

use kafka_protocol::messages::alter_configs_request as alter;
use kafka_protocol::messages::create_partitions_request as partitions;
use kafka_protocol::messages::create_topics_request as create;
use kafka_protocol::messages::delete_topics_request as delete;
use kafka_protocol::messages::describe_configs_request as describe;
use kafka_protocol::messages::describe_configs_response::DescribeConfigsResult;
use kafka_protocol::messages::incremental_alter_configs_request as incremental;
use kafka_protocol::messages::update_features_request as features;
use kafka_protocol::messages::{
    AlterConfigsRequest, CreatePartitionsRequest, CreateTopicsRequest, CreateTopicsResponse,
    DeleteTopicsRequest, DescribeClusterRequest, DescribeConfigsRequest,
    IncrementalAlterConfigsRequest, InitProducerIdRequest, ListConfigResourcesRequest, TopicName,
    TransactionalId, UpdateFeaturesRequest,
};
use kafka_protocol::protocol::StrBytes;

use super::testing::{check_encodes, context, node};
use super::*;
use crate::config::BrokerConfig;
use crate::error::ErrorCode;
use crate::protocol::messages::ApiVersionsRequest;
use crate::types::PartitionId;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const BROKER_LOGGER: i8 = 8;
const CLIENT_METRICS: i8 = 16;
const GROUP: i8 = 32;

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn topic(name: &str, partitions: i32) -> create::CreatableTopic {
    create::CreatableTopic::default()
        .with_name(TopicName(text(name)))
        .with_num_partitions(partitions)
        .with_replication_factor(1)
}

fn topics(topics: Vec<create::CreatableTopic>) -> CreateTopicsRequest {
    CreateTopicsRequest::default()
        .with_topics(topics)
        .with_timeout_ms(30_000)
}

async fn create(ctx: RequestContext, request: CreateTopicsRequest) -> CreateTopicsResponse {
    let version = ctx.version;
    let response = create_topics::handle(ctx, request).await;
    check_encodes(&response, version);
    response
}

/// Name, code and message of each.
fn outcomes<'a>(
    outcomes: impl Iterator<Item = (&'a str, i16, Option<&'a StrBytes>)>,
) -> Vec<String> {
    let outcomes = outcomes.map(|(name, code, message)| {
        let code = ErrorCode::from_code(code).unwrap();
        match message {
            Some(message) => format!("{name} {code}: {message}"),
            None => format!("{name} {code}"),
        }
    });
    outcomes.collect()
}

#[tokio::test]
async fn topics_are_created_in_every_version() {
    let node = node(BrokerConfig::default()).await;
    for version in 2..=7 {
        let name = format!("t{version}");
        let mut with_config = topic(&name, 2);
        let config = create::CreatableTopicConfig::default()
            .with_name(text("retention.ms"))
            .with_value(Some(text("1234")));
        with_config.configs.push(config);
        let again = topic("twice", 1);
        let request = topics(vec![
            with_config,
            again.clone(),
            topic("a b", 1),
            again,
            topic("__cluster_metadata", 1),
        ]);
        let response = create(context(&node, version), request).await;
        let told = response.topics.iter();
        let told = told.map(|t| (t.name.as_str(), t.error_code, t.error_message.as_ref()));
        assert_eq!(
            outcomes(told),
            [
                format!("{name} NONE"),
                "twice INVALID_REQUEST: Duplicate topic name.".into(),
                "a b INVALID_TOPIC_EXCEPTION: Topic name is invalid: 'a b' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'".into(),
                "__cluster_metadata INVALID_REQUEST: Creation of internal topic __cluster_metadata is prohibited.".into(),
            ]
        );
        let made = &response.topics[0];
        assert_eq!(
            Some(made.topic_id),
            node.metadata().topic_id(&name).map(|id| id.0)
        );
        if version >= 5 {
            assert_eq!((made.num_partitions, made.replication_factor), (2, 1));
            let configs = made.configs.as_ref().unwrap();
            assert!(configs.is_sorted_by(|a, b| a.name.as_str() <= b.name.as_str()));
            let retention = configs
                .iter()
                .find(|c| c.name.as_str() == "retention.ms")
                .unwrap();
            assert_eq!(retention.value.as_deref(), Some("1234"));
            assert_eq!(retention.config_source, 1);
        }
        // The reply came after the partitions.
        assert!(node.partition_by_name(&name, PartitionId(1)).is_ok());
    }
}

#[tokio::test]
async fn topics_are_deleted_by_name_and_by_id_in_every_version() {
    let node = node(BrokerConfig::default()).await;
    for version in 1..=6 {
        let request = topics(vec![topic("by-name", 1), topic("by-id", 1)]);
        let created = create(context(&node, 7), request).await;
        let mut request = DeleteTopicsRequest::default().with_timeout_ms(30_000);
        let named = delete::DeleteTopicState::default();
        if version >= 6 {
            request.topics = vec![
                named.clone().with_name(Some(TopicName(text("by-name")))),
                named
                    .clone()
                    .with_name(None)
                    .with_topic_id(created.topics[1].topic_id),
            ];
        } else {
            request.topic_names = ["by-name", "by-id"].map(|n| TopicName(text(n))).to_vec();
        }
        let response = delete_topics::handle(context(&node, version), request.clone()).await;
        check_encodes(&response, version);
        assert!(response.responses.iter().all(|topic| topic.error_code == 0));
        assert_eq!(node.metadata().topic_count(), 0);
        assert!(node.partition_by_name("by-name", PartitionId(0)).is_err());

        let again = delete_topics::handle(context(&node, version), request).await;
        check_encodes(&again, version);
        assert_eq!(
            again.responses[0].error_code,
            ErrorCode::UnknownTopicOrPartition.code()
        );
    }
}

#[tokio::test]
async fn partitions_are_added_in_every_version() {
    let node = node(BrokerConfig::default()).await;
    create(context(&node, 7), topics(vec![topic("t", 1)])).await;
    for version in 0..=3 {
        let more = |name: &str, count: i32| {
            partitions::CreatePartitionsTopic::default()
                .with_name(TopicName(text(name)))
                .with_count(count)
                .with_assignments(None)
        };
        let count = i32::from(version) + 2;
        let request = CreatePartitionsRequest::default()
            .with_topics(vec![
                more("t", count),
                more("u", 2),
                more("t2", 3),
                more("t2", 4),
            ])
            .with_timeout_ms(30_000);
        let response = create_partitions::handle(context(&node, version), request).await;
        check_encodes(&response, version);
        let told = response.results.iter();
        let told = told.map(|t| (t.name.as_str(), t.error_code, t.error_message.as_ref()));
        assert_eq!(
            outcomes(told),
            [
                "t NONE",
                "u UNKNOWN_TOPIC_OR_PARTITION",
                "t2 INVALID_REQUEST: Duplicate topic name.",
            ]
        );
        assert!(node.partition_by_name("t", PartitionId(count - 1)).is_ok());
    }
}

async fn configs(ctx: RequestContext, kind: i8, name: &str) -> DescribeConfigsResult {
    let version = ctx.version;
    let resource = describe::DescribeConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(name))
        .with_configuration_keys(None);
    let request = DescribeConfigsRequest::default()
        .with_resources(vec![resource])
        .with_include_synonyms(true)
        .with_include_documentation(version >= 3);
    let mut response = describe_configs::handle(ctx, request).await;
    check_encodes(&response, version);
    response.results.remove(0)
}

/// Value and source of one key.
async fn config(ctx: RequestContext, kind: i8, name: &str, key: &str) -> Option<(String, i8)> {
    let result = configs(ctx, kind, name).await;
    assert_eq!(result.error_code, 0, "{:?}", result.error_message);
    let found = result
        .configs
        .into_iter()
        .find(|c| c.name.as_str() == key)?;
    Some((found.value?.to_string(), found.config_source))
}

async fn alter_one(
    ctx: RequestContext,
    kind: i8,
    name: &str,
    (op, key, value): (i8, &str, Option<&str>),
) -> String {
    let version = ctx.version;
    let op = incremental::AlterableConfig::default()
        .with_name(text(key))
        .with_config_operation(op)
        .with_value(value.map(text));
    let resource = incremental::AlterConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(name))
        .with_configs(vec![op]);
    let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
    let response = incremental_alter_configs::handle(ctx, request).await;
    check_encodes(&response, version);
    let told = response.responses.iter();
    let told = told.map(|r| {
        (
            r.resource_name.as_str(),
            r.error_code,
            r.error_message.as_ref(),
        )
    });
    outcomes(told).remove(0)
}

#[tokio::test]
async fn a_changed_config_is_described_with_its_source() {
    let node = node(BrokerConfig::default()).await;
    create(context(&node, 7), topics(vec![topic("t", 1)])).await;
    let cases = [
        (TOPIC, "t", "retention.ms", "77", 1),
        (BROKER, "", "message.max.bytes", "5000", 3),
        (GROUP, "g", "share.delivery.count.limit", "7", 8),
        (CLIENT_METRICS, "m", "interval.ms", "500", 7),
        (BROKER_LOGGER, "1", "dohle::net", "TRACE", 6),
    ];
    for (kind, name, key, value, source) in cases {
        for version in 0..=1 {
            let set = alter_one(context(&node, version), kind, name, (0, key, Some(value))).await;
            assert_eq!(set, format!("{name} NONE"));
            for version in 1..=4 {
                let shown = config(context(&node, version), kind, name, key).await;
                assert_eq!(shown, Some((value.to_owned(), source)), "{kind} {key}");
            }
            let unset = alter_one(context(&node, version), kind, name, (1, key, None)).await;
            assert_eq!(unset, format!("{name} NONE"));
            let shown = config(context(&node, 4), kind, name, key).await;
            assert!(
                shown.is_none_or(|(shown, _)| shown != value),
                "{kind} {key}"
            );
        }
    }
    assert!(
        node.metadata()
            .configs(crate::controller::records::ConfigResourceType::Topic, "t")
            .is_empty()
    );
}

#[tokio::test]
async fn config_changes_are_refused_in_kafkas_words() {
    let node = node(BrokerConfig::default()).await;
    create(context(&node, 7), topics(vec![topic("t", 1)])).await;
    let table = [
        (
            TOPIC,
            "t",
            (0, "nonsense", Some("1")),
            "t INVALID_CONFIG: Unknown topic config name: nonsense",
        ),
        (
            TOPIC,
            "none",
            (0, "retention.ms", Some("1")),
            "none UNKNOWN_TOPIC_OR_PARTITION: The topic 'none' does not exist.",
        ),
        (
            TOPIC,
            "t",
            (2, "retention.ms", Some("1")),
            "t INVALID_CONFIG: Can't APPEND to key retention.ms because its type is not LIST.",
        ),
        (
            TOPIC,
            "t",
            (0, "retention.ms", None),
            "t INVALID_REQUEST: Null value not supported for : retention.ms",
        ),
        (
            BROKER,
            "2",
            (0, "message.max.bytes", Some("1")),
            "2 INVALID_REQUEST: Unexpected broker id, expected 1, but received 2",
        ),
        (
            BROKER,
            "1",
            (0, "node.id", Some("4")),
            "1 INVALID_REQUEST: Cannot update these configs dynamically: [node.id]",
        ),
        (
            BROKER,
            "1",
            (0, "min.insync.replicas", Some("2")),
            "1 INVALID_CONFIG: Broker-level min.insync.replicas cannot be altered while ELR is enabled.",
        ),
        (
            BROKER_LOGGER,
            "1",
            (0, "root", Some("LOUD")),
            "1 INVALID_CONFIG: Cannot set the log level of root to LOUD as it is not a supported log level. Valid log levels are DEBUG, ERROR, FATAL, INFO, TRACE, WARN",
        ),
        (
            99,
            "x",
            (0, "k", Some("v")),
            "x INVALID_REQUEST: Unknown resource type 99",
        ),
    ];
    for (kind, name, op, expected) in table {
        assert_eq!(alter_one(context(&node, 1), kind, name, op).await, expected);
    }
}

#[tokio::test]
async fn the_old_way_replaces_everything() {
    let node = node(BrokerConfig::default()).await;
    create(context(&node, 7), topics(vec![topic("t", 1)])).await;
    for version in 0..=2 {
        for (key, value) in [("retention.ms", "5"), ("segment.ms", "6")] {
            let config = alter::AlterableConfig::default()
                .with_name(text(key))
                .with_value(Some(text(value)));
            let resource = alter::AlterConfigsResource::default()
                .with_resource_type(TOPIC)
                .with_resource_name(text("t"))
                .with_configs(vec![config]);
            let logger = alter::AlterConfigsResource::default()
                .with_resource_type(BROKER_LOGGER)
                .with_resource_name(text("1"));
            let twice = alter::AlterConfigsResource::default()
                .with_resource_type(GROUP)
                .with_resource_name(text("g"));
            let request = AlterConfigsRequest::default().with_resources(vec![
                twice.clone(),
                resource,
                logger,
                twice,
            ]);
            let response = alter_configs::handle(context(&node, version), request).await;
            check_encodes(&response, version);
            let told = response.responses.iter();
            let told = told.map(|r| {
                (
                    r.resource_name.as_str(),
                    r.error_code,
                    r.error_message.as_ref(),
                )
            });
            assert_eq!(
                outcomes(told),
                [
                    "g INVALID_REQUEST: Each resource must appear at most once.",
                    "t NONE",
                    "1 INVALID_REQUEST: Unknown resource type 8",
                    "g INVALID_REQUEST: Each resource must appear at most once.",
                ]
            );
            let image = node.metadata();
            let kind = crate::controller::records::ConfigResourceType::Topic;
            let overrides: Vec<_> = image.configs(kind, "t").iter().collect();
            assert_eq!(overrides, [(&key.into(), &value.into())]);
        }
    }
}

#[tokio::test]
async fn what_cannot_be_described_is_refused_for_itself() {
    let node = node(BrokerConfig::default()).await;
    let table = [
        (TOPIC, "none", "UNKNOWN_TOPIC_OR_PARTITION: "),
        (
            TOPIC,
            "..",
            "INVALID_TOPIC_EXCEPTION: Topic name is invalid: '..' is not allowed",
        ),
        (
            BROKER,
            "9",
            "INVALID_REQUEST: Unexpected broker id, expected 1 or empty string, but received 9",
        ),
        (
            BROKER,
            "x",
            "INVALID_REQUEST: Broker id must be an integer, but it is: x",
        ),
        (
            BROKER_LOGGER,
            "",
            "INVALID_REQUEST: Broker id must not be empty",
        ),
        (GROUP, "", "INVALID_REQUEST: Group name must not be empty"),
        (
            CLIENT_METRICS,
            "",
            "INVALID_REQUEST: Client metrics subscription name must not be empty",
        ),
        (
            77,
            "x",
            "INVALID_REQUEST: Unexpected resource type UNKNOWN for resource x",
        ),
    ];
    for (kind, name, expected) in table {
        let result = configs(context(&node, 4), kind, name).await;
        let code = ErrorCode::from_code(result.error_code).unwrap();
        let told = match &result.error_message {
            Some(message) => format!("{code}: {message}"),
            None => code.to_string(),
        };
        assert_eq!(told, expected);
    }
    // The broker itself, under its own name, in every version.
    for version in 1..=4 {
        let shown = config(context(&node, version), BROKER, "1", "num.partitions").await;
        assert_eq!(shown, Some(("1".to_owned(), 5)));
    }
}

#[tokio::test]
async fn producer_ids_are_given_once() {
    let node = node(BrokerConfig::default()).await;
    let mut given = Vec::new();
    for version in 0..=5 {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(None)
            .with_producer_id((-1).into())
            .with_producer_epoch(-1);
        let response = init_producer_id::handle(context(&node, version), request).await;
        check_encodes(&response, version);
        assert_eq!((response.error_code, response.producer_epoch), (0, 0));
        given.push(response.producer_id.0);
    }
    assert_eq!(given, [0, 1, 2, 3, 4, 5]);
    assert_eq!(node.metadata().next_producer_id().0, 1000);

    let refused = async |id: i64, epoch: i16, transactional: Option<&str>| {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(transactional.map(|id| TransactionalId(text(id))))
            .with_producer_id(id.into())
            .with_producer_epoch(epoch);
        let response = init_producer_id::handle(context(&node, 4), request).await;
        check_encodes(&response, 4);
        ErrorCode::from_code(response.error_code).unwrap()
    };
    assert_eq!(refused(5, -1, None).await, ErrorCode::InvalidRequest);
    assert_eq!(refused(-1, -1, Some("")).await, ErrorCode::InvalidRequest);
    assert_eq!(
        refused(-1, -1, Some("tx")).await,
        ErrorCode::UnsupportedVersion
    );
}

#[tokio::test]
async fn the_cluster_and_its_resources_are_listed_in_every_version() {
    let node = node(BrokerConfig::default()).await;
    for version in 0..=2 {
        let request = DescribeClusterRequest::default().with_endpoint_type(1);
        let response = describe_cluster::handle(context(&node, version), request).await;
        check_encodes(&response, version);
        assert_eq!(response.cluster_id.as_str(), node.metadata().cluster_id());
        assert_eq!(response.controller_id.0, 1);
        assert_eq!(
            (response.brokers.len(), response.brokers[0].port),
            (1, 9092)
        );
        let controllers = DescribeClusterRequest::default().with_endpoint_type(2);
        let response = describe_cluster::handle(context(&node, version), controllers).await;
        check_encodes(&response, version);
        assert_ne!(response.error_code, 0);
    }
    for version in 0..=1 {
        let request = ListConfigResourcesRequest::default();
        let response = list_config_resources::handle(context(&node, version), request).await;
        check_encodes(&response, version);
        assert_eq!(response.error_code, 0);
        assert_eq!(
            response.config_resources.len(),
            if version == 0 { 0 } else { 2 }
        );
    }
}

#[tokio::test]
async fn features_are_changed_in_every_version() {
    let node = node(BrokerConfig::default()).await;
    let ask = async |version, level, upgrade_type| {
        let update = features::FeatureUpdateKey::default()
            .with_feature(text("share.version"))
            .with_max_version_level(level)
            .with_upgrade_type(upgrade_type);
        let request = UpdateFeaturesRequest::default()
            .with_timeout_ms(30_000)
            .with_feature_updates(vec![update]);
        let response = update_features::handle(context(&node, version), request).await;
        check_encodes(&response, version);
        response
    };
    for version in 1..=2 {
        let response = ask(version, 1, 2).await;
        assert_eq!((response.error_code, response.error_message), (0, None));
        assert_eq!(response.results.len(), usize::from(version == 1));
        assert_eq!(node.metadata().feature("share.version"), 1);
        // The upgrade type of version 0 is the only one that it cannot say.
        assert_eq!(ask(0, 2, 1).await.error_code, 0);
        assert_eq!(node.metadata().feature("share.version"), 2);
    }
    let refused = ask(1, 3, 1).await;
    assert_eq!(
        ErrorCode::from_code(refused.error_code),
        Some(ErrorCode::InvalidUpdateVersion)
    );
    assert!(refused.results.is_empty());
    let asked = ApiVersionsRequest {
        client_software_name: text("test"),
        client_software_version: text("1"),
        ..Default::default()
    };
    let versions = api_versions::handle(context(&node, 3), asked).await;
    let share = versions
        .finalized_features
        .iter()
        .find(|f| f.name.as_str() == "share.version");
    assert_eq!(share.map(|feature| feature.max_version_level), Some(2));
}
