//! What the options tables say about the configs of resources, for the controller to ask.

use crate::config::{self, ConfigOverrides, InvalidConfig, OptionSpec};
use crate::controller::client_metrics;
use crate::controller::command::ApiError;
use crate::controller::decide::ConfigSchema;
use crate::controller::delta::ConfigResource;
use crate::controller::records::ConfigResourceType;
use crate::error::ErrorCode;

/// The tables of `config`.
#[derive(Debug, Clone, Copy, Default)]
pub struct OptionsTables;

impl ConfigSchema for OptionsTables {
    fn validate(
        &self,
        resource: &ConfigResource,
        overrides: &ConfigOverrides,
    ) -> Result<(), ApiError> {
        let invalid =
            |error: InvalidConfig| ApiError::new(ErrorCode::InvalidConfig, error.to_string());
        match resource.kind {
            ConfigResourceType::Topic => config::topic::validate(overrides).map_err(invalid),
            ConfigResourceType::Group => config::group::validate(overrides).map_err(invalid),
            ConfigResourceType::ClientMetrics => client_metrics::validate(overrides),
            // A broker's were checked by the broker itself.
            ConfigResourceType::Broker | ConfigResourceType::BrokerLogger => Ok(()),
        }
    }

    fn is_list(&self, kind: ConfigResourceType, key: &str) -> bool {
        spec(kind, key).is_some_and(|spec| spec.config_type == config::ConfigType::List)
    }

    fn default_value(&self, kind: ConfigResourceType, key: &str) -> Option<String> {
        spec(kind, key).map(|spec| spec.default.to_owned())
    }
}

fn spec(kind: ConfigResourceType, key: &str) -> Option<&'static OptionSpec> {
    match kind {
        ConfigResourceType::Topic => config::topic::spec(key),
        ConfigResourceType::Broker => config::broker::spec(key),
        ConfigResourceType::Group => config::group::spec(key),
        ConfigResourceType::ClientMetrics | ConfigResourceType::BrokerLogger => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_table() {
        use ConfigResourceType::{Broker, ClientMetrics, Group, Topic};
        let told = |kind, key: &str, value: &str| {
            let overrides = [(key.to_owned(), value.to_owned())].into();
            let resource = ConfigResource::new(kind, "x");
            match OptionsTables.validate(&resource, &overrides) {
                Ok(()) => "ok".to_owned(),
                Err(error) => error.to_string(),
            }
        };
        assert_eq!(told(Topic, "retention.ms", "5"), "ok");
        assert_eq!(
            told(Topic, "nonsense", "5"),
            "INVALID_CONFIG: Unknown topic config name: nonsense"
        );
        assert_eq!(
            told(Group, "nonsense", "5"),
            "INVALID_CONFIG: Unknown group config name: nonsense"
        );
        assert_eq!(told(ClientMetrics, "interval.ms", "500"), "ok");
        assert_eq!(told(Broker, "anything", "5"), "ok");

        let is_list = |kind, key| OptionsTables.is_list(kind, key);
        // Kafka's controller knows nothing of the latter's types.
        assert!(is_list(Topic, "cleanup.policy") && !is_list(ClientMetrics, "match"));
        assert!(is_list(Broker, "log.cleanup.policy") && !is_list(Topic, "retention.ms"));
        let default = OptionsTables.default_value(Topic, "cleanup.policy");
        assert_eq!(default.as_deref(), Some("delete"));
    }
}
