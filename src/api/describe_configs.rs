//! DescribeConfigs (32), versions 1–4: the options of topics, brokers, groups, client metrics
//! subscriptions and loggers, with where each value comes from.
//!
//! v1 sources and synonyms (KIP-226); v3 types and documentation (KIP-569); v4 is flexible. As Apache
//! Kafka 4.4.0: a broker describes itself and, under the empty name, what was set for all brokers. A
//! kind that is unknown is refused for itself, not for the whole request.

use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};
use kafka_protocol::protocol::StrBytes;

use super::RequestContext;
use super::broker_logger;
use super::config_changes::check_authorized;
use super::submit::message;
use crate::config::describe::{self, ConfigEntry, ConfigSource, ConfigSynonym};
use crate::config::broker::kafka_only;
use crate::config::{ConfigOverrides, ConfigText, ConfigType, group};
use crate::controller::client_metrics;
use crate::controller::command::ApiError;
use crate::controller::image::MetadataImage;
use crate::controller::records::ConfigResourceType;
use crate::controller::topics::validate_name;
use crate::error::ErrorCode;
use crate::security::Operation;

const UNKNOWN_TYPE: i8 = 0;

pub(super) async fn handle(
    ctx: RequestContext,
    request: DescribeConfigsRequest,
) -> DescribeConfigsResponse {
    let has_all = |image: &MetadataImage| {
        let mut topics = request.resources.iter().filter(|resource| is_topic(resource));
        topics.all(|topic| image.topic_id(&topic.resource_name).is_some())
    };
    let image = ctx.node.metadata_with(has_all).await;
    let results = request.resources.iter().map(|resource| {
        let result = DescribeConfigsResult::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone());
        match describe(&ctx, &image, resource) {
            Ok(entries) => result.with_configs(shown(entries, resource, &request)),
            Err(error) => result
                .with_error_code(error.error.code())
                .with_error_message(message(error)),
        }
    });
    DescribeConfigsResponse::default().with_results(results.collect())
}

fn is_topic(resource: &DescribeConfigsResource) -> bool {
    ConfigResourceType::from_code(resource.resource_type) == Some(ConfigResourceType::Topic)
}

fn describe(
    ctx: &RequestContext,
    image: &MetadataImage,
    resource: &DescribeConfigsResource,
) -> Result<Vec<ConfigEntry>, ApiError> {
    let invalid = |why: String| ApiError::new(ErrorCode::InvalidRequest, why);
    let name = resource.resource_name.as_str();
    let kind = ConfigResourceType::from_code(resource.resource_type).ok_or_else(|| {
        invalid(format!(
            "Unexpected resource type UNKNOWN for resource {name}"
        ))
    })?;
    check_authorized(ctx, kind, name, Operation::DescribeConfigs)?;
    let overrides = image.configs(kind, name);
    match kind {
        ConfigResourceType::Topic => {
            validate_name(name)?;
            if image.topic_id(name).is_none() {
                return Err(ApiError::new(ErrorCode::UnknownTopicOrPartition, ""));
            }
            Ok(describe::topic(&ctx.node.config(), overrides))
        }
        ConfigResourceType::Broker if name.is_empty() => {
            let mut entries = describe::cluster_defaults(overrides);
            add_unknown(&mut entries, overrides, ConfigSource::DynamicDefaultBroker);
            Ok(entries)
        }
        ConfigResourceType::Broker => match name.parse::<i32>() {
            Err(_) => Err(invalid(format!(
                "Broker id must be an integer, but it is: {name}"
            ))),
            Ok(id) if id != ctx.node.id.0 => Err(invalid(format!(
                "Unexpected broker id, expected {} or empty string, but received {name}",
                ctx.node.id
            ))),
            Ok(_) => {
                let mut entries = describe::broker(&ctx.node.config());
                add_unknown(&mut entries, overrides, ConfigSource::DynamicBroker);
                let for_all = image.configs(kind, "");
                add_unknown(&mut entries, for_all, ConfigSource::DynamicDefaultBroker);
                Ok(entries)
            }
        },
        ConfigResourceType::BrokerLogger => {
            let loggers = broker_logger::describe(ctx, name)?;
            Ok(loggers.into_iter().map(logger).collect())
        }
        ConfigResourceType::ClientMetrics if name.is_empty() => Err(invalid(
            "Client metrics subscription name must not be empty".to_owned(),
        )),
        ConfigResourceType::ClientMetrics => Ok(subscription(overrides)),
        ConfigResourceType::Group if name.is_empty() => {
            Err(invalid("Group name must not be empty".to_owned()))
        }
        ConfigResourceType::Group => Ok(group::describe(overrides)),
    }
}

/// What was set of options that only Kafka has: kept and shown, without effect. What Kafka does not have either is
/// some plug-in's, and may be a secret.
fn add_unknown(entries: &mut Vec<ConfigEntry>, overrides: &ConfigOverrides, source: ConfigSource) {
    for (name, value) in overrides {
        if entries.iter().any(|entry| entry.name == name.as_str()) {
            continue;
        }
        let is_known = kafka_only(name).is_some();
        // Nothing tells which of them are secrets but their names.
        let has_secret = ["password", "jaas.config", "secret", "certificate", ".key"]
            .iter()
            .any(|secret| name.contains(secret));
        let is_sensitive = has_secret || !is_known;
        entries.push(ConfigEntry {
            name: name.to_string(),
            value: Some(value.to_string()),
            source,
            is_sensitive,
            read_only: !is_known,
            config_type: match (is_known, is_sensitive) {
                (false, _) => ConfigType::Unknown,
                (true, true) => ConfigType::Password,
                (true, false) => ConfigType::String,
            },
            documentation: "",
            synonyms: vec![ConfigSynonym {
                name: name.to_string(),
                value: Some(value.to_string()),
                source,
            }],
        });
    }
}

fn logger((name, level): (String, &'static str)) -> ConfigEntry {
    ConfigEntry {
        name,
        value: Some(level.to_owned()),
        source: ConfigSource::DynamicBrokerLogger,
        is_sensitive: false,
        read_only: false,
        config_type: ConfigType::String,
        documentation: "",
        synonyms: Vec::new(),
    }
}

fn subscription(overrides: &ConfigOverrides) -> Vec<ConfigEntry> {
    let entries = client_metrics::CONFIGS.iter();
    let entries = entries.map(|(name, default, is_list, documentation)| {
        let own = overrides.get(name);
        let synonyms = own.map(|value| ConfigSynonym {
            name: (*name).to_owned(),
            value: Some(value.to_string()),
            source: ConfigSource::ClientMetrics,
        });
        ConfigEntry {
            name: (*name).to_owned(),
            value: Some(own.map_or(*default, ConfigText::as_str).to_owned()),
            source: match own {
                Some(_) => ConfigSource::ClientMetrics,
                None => ConfigSource::Default,
            },
            is_sensitive: false,
            read_only: false,
            config_type: match is_list {
                true => ConfigType::List,
                false => ConfigType::Int,
            },
            documentation,
            synonyms: synonyms.into_iter().collect(),
        }
    });
    entries.collect()
}

/// What was asked for, as far as the version can say it. A secret is told by nobody.
fn shown(
    entries: Vec<ConfigEntry>,
    resource: &DescribeConfigsResource,
    request: &DescribeConfigsRequest,
) -> Vec<DescribeConfigsResourceResult> {
    let is_asked = |name: &str| match resource.configuration_keys.as_deref() {
        None | Some([]) => true,
        Some(keys) => keys.iter().any(|key| key.as_str() == name),
    };
    let text = |text: String| StrBytes::from_string(text);
    let entries = entries.into_iter().filter(|entry| is_asked(&entry.name));
    let entries = entries.map(|entry| {
        let secret = entry.is_sensitive;
        let value = |value: Option<String>| value.filter(|_| !secret).map(text);
        // Kafka tells neither type nor meaning of a logger.
        let is_logger = entry.source == ConfigSource::DynamicBrokerLogger;
        let config_type = if is_logger {
            UNKNOWN_TYPE
        } else {
            entry.config_type as i8
        };
        let mut shown = DescribeConfigsResourceResult::default()
            .with_name(text(entry.name))
            .with_value(value(entry.value))
            .with_read_only(entry.read_only)
            .with_config_source(entry.source as i8)
            .with_is_sensitive(secret)
            .with_config_type(config_type)
            .with_documentation(is_logger.then(StrBytes::default));
        if request.include_synonyms {
            let synonyms = entry.synonyms.into_iter().map(|synonym| {
                DescribeConfigsSynonym::default()
                    .with_name(text(synonym.name))
                    .with_value(value(synonym.value))
                    .with_source(synonym.source as i8)
            });
            shown.synonyms = synonyms.collect();
        }
        if request.include_documentation && !is_logger {
            shown.documentation = Some(StrBytes::from_static_str(entry.documentation));
        }
        shown
    });
    entries.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, is_sensitive: bool) -> ConfigEntry {
        ConfigEntry {
            name: name.to_owned(),
            value: Some("v".to_owned()),
            source: ConfigSource::StaticBroker,
            is_sensitive,
            read_only: true,
            config_type: ConfigType::Password,
            documentation: "what it is",
            synonyms: vec![ConfigSynonym {
                name: name.to_owned(),
                value: Some("v".to_owned()),
                source: ConfigSource::StaticBroker,
            }],
        }
    }

    #[test]
    fn only_what_was_asked_for_is_shown_and_no_secret() {
        let entries = || vec![entry("a", false), entry("secret", true)];
        let all = DescribeConfigsResource::default().with_configuration_keys(None);
        let mut request = DescribeConfigsRequest::default();
        let plain = shown(entries(), &all, &request);
        assert_eq!(plain.len(), 2);
        assert!(plain[0].synonyms.is_empty() && plain[0].documentation.is_none());
        assert_eq!((plain[0].config_source, plain[0].config_type), (4, 9));
        assert_eq!(plain[0].value.as_deref(), Some("v"));
        assert_eq!(plain[1].value, None);

        request.include_synonyms = true;
        request.include_documentation = true;
        let keys = vec![StrBytes::from_static_str("secret")];
        let one = DescribeConfigsResource::default().with_configuration_keys(Some(keys));
        let full = shown(entries(), &one, &request);
        assert_eq!(full.len(), 1);
        assert_eq!(full[0].synonyms[0].value, None);
        assert_eq!(full[0].documentation.as_deref(), Some("what it is"));
    }

    #[test]
    fn what_only_kafka_knows_is_shown_too_but_no_secret() {
        let mut entries = vec![entry("known", false)];
        let overrides = [
            ("known", "1"),
            ("background.threads", "2"),
            ("my.plugin", "4"),
            ("ssl.key.password", "3"),
        ];
        let overrides = overrides.map(|(name, value)| (name.to_owned(), value.to_owned()));
        add_unknown(&mut entries, &overrides.into(), ConfigSource::DynamicBroker);
        let request = DescribeConfigsRequest::default();
        let all = DescribeConfigsResource::default().with_configuration_keys(None);
        let told = shown(entries, &all, &request);
        let told: Vec<_> = told
            .iter()
            .map(|c| (c.name.as_str(), c.value.as_deref()))
            .collect();
        assert_eq!(
            told,
            [
                ("known", Some("v")),
                ("background.threads", Some("2")),
                ("my.plugin", None),
                ("ssl.key.password", None),
            ]
        );
    }

    #[test]
    fn a_subscription_shows_its_defaults() {
        let overrides = [("match".to_owned(), "client_id=a".to_owned())].into();
        let entries = subscription(&overrides);
        let told: Vec<_> = entries
            .iter()
            .map(|entry| {
                (
                    entry.name.as_str(),
                    entry.value.as_deref().unwrap(),
                    entry.source,
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                ("interval.ms", "300000", ConfigSource::Default),
                ("match", "client_id=a", ConfigSource::ClientMetrics),
                ("metrics", "", ConfigSource::Default),
            ]
        );
    }
}
