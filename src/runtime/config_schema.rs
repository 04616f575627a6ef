//! The options tables as the controller asks them.

use crate::config::{self, BrokerConfig, ConfigType, InvalidConfig};
use crate::controller::command::ApiError;
use crate::controller::image::ConfigOverrides;
use crate::controller::records::ConfigResourceType;
use crate::controller::{ConfigResource, ConfigSchema};
use crate::error::ErrorCode;

/// Of one node: what is unset falls back to its options.
#[derive(Debug)]
pub struct OptionsSchema {
    broker: BrokerConfig,
}

impl OptionsSchema {
    pub fn new(broker: BrokerConfig) -> Self {
        Self { broker }
    }
}

fn invalid(error: &InvalidConfig) -> ApiError {
    ApiError::new(ErrorCode::InvalidConfig, error.to_string())
}

impl ConfigSchema for OptionsSchema {
    fn validate(
        &self,
        resource: &ConfigResource,
        overrides: &ConfigOverrides,
    ) -> Result<(), ApiError> {
        match resource.kind {
            ConfigResourceType::Topic => {
                config::topic::validate(overrides).map_err(|error| invalid(&error))
            }
            ConfigResourceType::Broker => overrides
                .iter()
                .try_for_each(|(name, value)| config::broker::validate_dynamic(name, value))
                .map_err(|error| invalid(&error)),
            ConfigResourceType::Group
            | ConfigResourceType::BrokerLogger
            | ConfigResourceType::ClientMetrics => Ok(()),
        }
    }

    fn is_list(&self, kind: ConfigResourceType, key: &str) -> bool {
        let spec = match kind {
            ConfigResourceType::Topic => config::topic::spec(key),
            ConfigResourceType::Broker => config::broker::spec(key),
            ConfigResourceType::Group
            | ConfigResourceType::BrokerLogger
            | ConfigResourceType::ClientMetrics => None,
        };
        spec.is_some_and(|spec| spec.config_type == ConfigType::List)
    }

    fn default_value(&self, kind: ConfigResourceType, key: &str) -> Option<String> {
        match kind {
            ConfigResourceType::Topic => {
                config::topic::resolve(&self.broker, &ConfigOverrides::new()).get(key)
            }
            ConfigResourceType::Broker => self.broker.get(key),
            ConfigResourceType::Group
            | ConfigResourceType::BrokerLogger
            | ConfigResourceType::ClientMetrics => None,
        }
    }
}
