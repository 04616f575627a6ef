//! ListConfigResources (74), versions 0–1: what has configs, by kind.
//!
//! v0 is ListClientMetricsResources (KIP-714) and knows nothing else; v1 takes kinds, none meaning
//! all (KIP-1142). As Apache Kafka 4.4.0: topics and brokers are listed whether or not they have
//! overrides, groups and subscriptions when they have.

use kafka_protocol::messages::list_config_resources_response::ConfigResource;
use kafka_protocol::messages::{ListConfigResourcesRequest, ListConfigResourcesResponse};
use kafka_protocol::protocol::StrBytes;

use super::RequestContext;
use crate::controller::image::MetadataImage;
use crate::controller::records::ConfigResourceType;
use crate::error::ErrorCode;
use crate::security::authorizer::CLUSTER;
use crate::security::{Operation, ResourceType};

pub(super) async fn handle(
    ctx: RequestContext,
    request: ListConfigResourcesRequest,
) -> ListConfigResourcesResponse {
    let response = ListConfigResourcesResponse::default();
    if !ctx.authorize(Operation::DescribeConfigs, ResourceType::Cluster, CLUSTER) {
        return response.with_error_code(ErrorCode::ClusterAuthorizationFailed.code());
    }
    match kinds(ctx.version, &request.resource_types) {
        Some(kinds) => {
            let image = ctx.node.metadata();
            response.with_config_resources(list(&image, &ctx.listener, &kinds))
        }
        None => response.with_error_code(ErrorCode::UnsupportedVersion.code()),
    }
}

/// `None` when the version does not know one of them.
fn kinds(version: i16, codes: &[i8]) -> Option<Vec<ConfigResourceType>> {
    let known: &[ConfigResourceType] = match version {
        0 => &[ConfigResourceType::ClientMetrics],
        _ => &ConfigResourceType::ALL,
    };
    if codes.is_empty() {
        return Some(known.to_vec());
    }
    let kinds = codes.iter().map(|code| {
        let kind = ConfigResourceType::from_code(*code)?;
        known.contains(&kind).then_some(kind)
    });
    kinds.collect()
}

fn list(
    image: &MetadataImage,
    listener: &str,
    kinds: &[ConfigResourceType],
) -> Vec<ConfigResource> {
    let mut resources = Vec::new();
    // Kafka's order of kinds; each kind once.
    let order = [
        ConfigResourceType::Group,
        ConfigResourceType::ClientMetrics,
        ConfigResourceType::BrokerLogger,
        ConfigResourceType::Broker,
        ConfigResourceType::Topic,
    ];
    for kind in order.into_iter().filter(|kind| kinds.contains(kind)) {
        let mut add = |name: String| {
            resources.push(
                ConfigResource::default()
                    .with_resource_name(StrBytes::from_string(name))
                    .with_resource_type(kind.code()),
            );
        };
        match kind {
            ConfigResourceType::Topic => {
                image.topics().for_each(|topic| add(topic.name.to_string()));
            }
            ConfigResourceType::Broker | ConfigResourceType::BrokerLogger => {
                let here = image.brokers().filter(|b| b.endpoint(listener).is_some());
                here.for_each(|broker| add(broker.id.to_string()));
            }
            ConfigResourceType::Group | ConfigResourceType::ClientMetrics => {
                let configured = image.configured_resources();
                let of_kind = configured.filter(|resource| resource.kind == kind);
                of_kind.for_each(|resource| add(resource.name));
            }
        }
    }
    resources
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::records::{ConfigRecord, Record};
    use crate::controller::testing::{cluster_of, commit, make, topic};

    #[test]
    fn kinds_depend_on_the_version() {
        use ConfigResourceType::*;
        assert_eq!(kinds(0, &[]), Some(vec![ClientMetrics]));
        assert_eq!(kinds(1, &[]).unwrap().len(), 5);
        assert_eq!(kinds(1, &[2, 32]), Some(vec![Topic, Group]));
        assert_eq!(kinds(1, &[2, 3]), None);
        assert_eq!(kinds(0, &[2]), None);
    }

    #[test]
    fn resources_are_listed_by_kind() {
        let mut image = cluster_of(&[(1, None)]);
        make(&mut image, vec![topic("t", 1, 1)]);
        for (kind, name) in [
            (ConfigResourceType::Group, "g"),
            (ConfigResourceType::ClientMetrics, "m"),
            (ConfigResourceType::Broker, ""),
        ] {
            let record = Record::Config(ConfigRecord {
                resource_type: kind,
                resource_name: name.into(),
                key: "k".into(),
                value: Some("v".into()),
            });
            commit(&mut image, &[record]);
        }
        let listed = list(&image, "PLAINTEXT", &ConfigResourceType::ALL);
        let listed: Vec<(i8, &str)> = listed
            .iter()
            .map(|resource| (resource.resource_type, resource.resource_name.as_str()))
            .collect();
        assert_eq!(listed, [(32, "g"), (16, "m"), (8, "1"), (4, "1"), (2, "t")]);
    }
}
