//! Client metrics subscriptions (KIP-714): what their configs may be. Nobody receives metrics yet,
//! but subscriptions are kept and shown.
//!
//! A pattern of `match` is checked for its form and its parameter, not as a regular expression.

use crate::config::{ConfigOverrides, ConfigText};
use crate::controller::command::ApiError;
use crate::error::ErrorCode;

pub const INTERVAL_MS: &str = "interval.ms";
pub const MATCH: &str = "match";
pub const METRICS: &str = "metrics";

/// What a subscription can say: key, default, whether it is a list, and what it means.
pub const CONFIGS: [(&str, &str, bool, &str); 3] = [
    (
        INTERVAL_MS,
        "300000",
        false,
        "How often a client pushes its metrics, in milliseconds",
    ),
    (
        MATCH,
        "",
        true,
        "Which clients it is for: patterns of what they say of themselves",
    ),
    (
        METRICS,
        "",
        true,
        "Prefixes of the names of the metrics that are wanted",
    ),
];

const MATCH_PARAMETERS: [&str; 6] = [
    "client_instance_id",
    "client_id",
    "client_software_name",
    "client_software_version",
    "client_source_address",
    "client_source_port",
];

/// In Kafka's words when it may not be.
pub fn validate(overrides: &ConfigOverrides) -> Result<(), ApiError> {
    let invalid = |why: String| Err(ApiError::new(ErrorCode::InvalidRequest, why));
    for key in overrides.keys() {
        if !CONFIGS.iter().any(|(known, ..)| *key == **known) {
            return invalid(format!("Unknown client metrics configuration: {key}"));
        }
    }
    if let Some(value) = overrides.get(INTERVAL_MS) {
        let Ok(interval) = value.trim().parse::<i32>() else {
            return Err(ApiError::new(
                ErrorCode::InvalidConfig,
                format!(
                    "Invalid value {value} for configuration {INTERVAL_MS}: Not a number of type INT"
                ),
            ));
        };
        if !(100..=3_600_000).contains(&interval) {
            return invalid(format!(
                "Invalid value {interval} for {INTERVAL_MS}, interval must be between 100 and 3600000 (1 hour)"
            ));
        }
    }
    let patterns = overrides.get(MATCH).map_or("", ConfigText::as_str);
    for pattern in patterns.split(',').map(str::trim).filter(|p| !p.is_empty()) {
        let parts: Vec<&str> = pattern.split('=').collect();
        let well_formed = match parts.as_slice() {
            [parameter, _] => MATCH_PARAMETERS.contains(&parameter.trim()),
            _ => false,
        };
        if !well_formed {
            return Err(ApiError::new(
                ErrorCode::InvalidConfig,
                format!("Illegal client matching pattern: {pattern}"),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subscriptions_are_checked_in_kafkas_words() {
        let table = [
            (INTERVAL_MS, "100", "ok"),
            (METRICS, "org.apache.kafka.", "ok"),
            (MATCH, "client_id=app.*, client_source_port=1[0-9]+", "ok"),
            (
                INTERVAL_MS,
                "99",
                "INVALID_REQUEST: Invalid value 99 for interval.ms, interval must be between 100 and 3600000 (1 hour)",
            ),
            (
                INTERVAL_MS,
                "x",
                "INVALID_CONFIG: Invalid value x for configuration interval.ms: Not a number of type INT",
            ),
            (
                "other",
                "1",
                "INVALID_REQUEST: Unknown client metrics configuration: other",
            ),
            (
                MATCH,
                "client_id",
                "INVALID_CONFIG: Illegal client matching pattern: client_id",
            ),
            (
                MATCH,
                "who=me",
                "INVALID_CONFIG: Illegal client matching pattern: who=me",
            ),
        ];
        for (key, value, expected) in table {
            let overrides = [(key.to_owned(), value.to_owned())].into();
            let told = match validate(&overrides) {
                Ok(()) => "ok".to_owned(),
                Err(error) => error.to_string(),
            };
            assert_eq!(told, expected, "{key}={value}");
        }
    }
}
