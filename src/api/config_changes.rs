//! What AlterConfigs and IncrementalAlterConfigs have in common: which resources may be changed by
//! whom, what this node checks by itself, and how the controller's outcomes are put back in order.

use std::collections::BTreeSet;

use super::RequestContext;
use super::submit::unexpected;
use crate::config::{BrokerConfig, ConfigOverrides};
use crate::controller::command::ApiError;
use crate::controller::records::ConfigResourceType;
use crate::error::ErrorCode;
use crate::security::authorizer::CLUSTER;
use crate::security::{Operation, ResourceType};
use crate::types::NodeId;

/// A resource after this node has looked at it.
pub(super) enum Prepared<T> {
    /// The controller is not needed.
    Answered(Result<(), ApiError>),
    ForController(T),
}

impl<T> From<Result<T, ApiError>> for Prepared<T> {
    fn from(checked: Result<T, ApiError>) -> Self {
        match checked {
            Ok(change) => Self::ForController(change),
            Err(error) => Self::Answered(Err(error)),
        }
    }
}

/// The changes for the controller, and everything else as far as it is known.
pub(super) fn split<T>(prepared: Vec<Prepared<T>>) -> (Vec<T>, Vec<Option<Result<(), ApiError>>>) {
    let mut changes = Vec::new();
    let known = prepared.into_iter().map(|prepared| match prepared {
        Prepared::Answered(outcome) => Some(outcome),
        Prepared::ForController(change) => {
            changes.push(change);
            None
        }
    });
    let known = known.collect();
    (changes, known)
}

/// Every resource's outcome, in the order of the request.
pub(super) fn join(
    known: Vec<Option<Result<(), ApiError>>>,
    decided: Result<Vec<Result<(), ApiError>>, ApiError>,
) -> Vec<Result<(), ApiError>> {
    let (decided, otherwise) = match decided {
        Ok(decided) => (decided, unexpected()),
        Err(error) => (Vec::new(), error),
    };
    let mut decided = decided.into_iter();
    known
        .into_iter()
        .map(|known| match known {
            Some(outcome) => outcome,
            None => decided.next().unwrap_or_else(|| Err(otherwise.clone())),
        })
        .collect()
}

/// What comes more than once.
pub(super) fn repeated<T: Ord + Copy>(items: impl Iterator<Item = T>) -> BTreeSet<T> {
    let mut seen = BTreeSet::new();
    items.filter(|item| !seen.insert(*item)).collect()
}

/// `nulls` are the keys whose value is missing.
pub(super) fn check_keys<'a>(
    keys: impl Iterator<Item = &'a str>,
    nulls: &[&str],
) -> Result<(), ApiError> {
    let invalid = |why: String| Err(ApiError::new(ErrorCode::InvalidRequest, why));
    if !repeated(keys).is_empty() {
        return invalid("Error due to duplicate config keys".into());
    }
    if !nulls.is_empty() {
        let nulls = nulls.join(", ");
        return invalid(format!("Null value not supported for : {nulls}"));
    }
    Ok(())
}

pub(super) fn repeated_resource() -> ApiError {
    ApiError::new(
        ErrorCode::InvalidRequest,
        "Each resource must appear at most once.",
    )
}

/// The kinds whose configs are metadata.
pub(super) fn kind(code: i8) -> Result<ConfigResourceType, ApiError> {
    ConfigResourceType::from_code(code).ok_or_else(|| {
        ApiError::new(
            ErrorCode::InvalidRequest,
            format!("Unknown resource type {code}"),
        )
    })
}

pub(super) fn check_authorized(
    ctx: &RequestContext,
    kind: ConfigResourceType,
    name: &str,
    operation: Operation,
) -> Result<(), ApiError> {
    let (resource, name, denied, why) = match kind {
        ConfigResourceType::Topic => (
            ResourceType::Topic,
            name,
            ErrorCode::TopicAuthorizationFailed,
            "Topic authorization failed.",
        ),
        ConfigResourceType::Group => (
            ResourceType::Group,
            name,
            ErrorCode::GroupAuthorizationFailed,
            "Group authorization failed.",
        ),
        ConfigResourceType::Broker
        | ConfigResourceType::BrokerLogger
        | ConfigResourceType::ClientMetrics => (
            ResourceType::Cluster,
            CLUSTER,
            ErrorCode::ClusterAuthorizationFailed,
            "Cluster authorization failed.",
        ),
    };
    if ctx.authorize(operation, resource, name) {
        return Ok(());
    }
    Err(ApiError::new(denied, why))
}

/// A broker checks its own configs; the empty name stands for all brokers.
pub(super) fn check_broker(
    me: NodeId,
    config: &BrokerConfig,
    name: &str,
    overrides: &ConfigOverrides,
) -> Result<(), ApiError> {
    if !name.is_empty() {
        let invalid = |why: String| Err(ApiError::new(ErrorCode::InvalidRequest, why));
        match name.parse::<i32>() {
            Err(_) => return invalid(format!("Node id must be an integer, but it is: {name}")),
            Ok(id) if id != me.0 => {
                return invalid(format!(
                    "Unexpected broker id, expected {me}, but received {name}"
                ));
            }
            Ok(_) => {}
        }
    }
    crate::config::broker::validate_overrides(config, overrides, !name.is_empty())
        .map_err(|error| ApiError::new(ErrorCode::InvalidRequest, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_come_back_in_the_order_of_the_request() {
        let error = |why: &str| ApiError::new(ErrorCode::InvalidRequest, why);
        let prepared = || {
            vec![
                Prepared::ForController("a"),
                Prepared::Answered(Err(error("here"))),
                Prepared::ForController("b"),
                Prepared::Answered(Ok(())),
            ]
        };
        let (changes, known) = split(prepared());
        assert_eq!(changes, ["a", "b"]);
        let joined = join(known.clone(), Ok(vec![Ok(()), Err(error("there"))]));
        assert_eq!(
            joined,
            [Ok(()), Err(error("here")), Err(error("there")), Ok(())]
        );
        let joined = join(known.clone(), Err(error("away")));
        assert_eq!(joined[0], Err(error("away")));
        assert_eq!(joined[2], Err(error("away")));
        // The controller gave fewer outcomes than it was asked for.
        assert_eq!(join(known, Ok(vec![Ok(())]))[2], Err(unexpected()));
    }

    #[test]
    fn keys_come_once_and_with_a_value() {
        let told = |keys: &[&str], nulls: &[&str]| {
            check_keys(keys.iter().copied(), nulls)
                .err()
                .map(|e| e.to_string())
        };
        assert_eq!(told(&["a", "b"], &[]), None);
        assert_eq!(
            told(&["a", "a"], &["a"]).unwrap(),
            "INVALID_REQUEST: Error due to duplicate config keys"
        );
        assert_eq!(
            told(&["a", "b"], &["a", "b"]).unwrap(),
            "INVALID_REQUEST: Null value not supported for : a, b"
        );
    }

    #[test]
    fn a_broker_takes_only_its_own_name() {
        let told = |name| {
            let checked = check_broker(
                NodeId(1),
                &BrokerConfig::default(),
                name,
                &ConfigOverrides::new(),
            );
            checked.err().map(|error| error.to_string())
        };
        assert_eq!(told("1"), None);
        assert_eq!(told(""), None);
        assert_eq!(
            told("2").unwrap(),
            "INVALID_REQUEST: Unexpected broker id, expected 1, but received 2"
        );
        assert_eq!(
            told("x").unwrap(),
            "INVALID_REQUEST: Node id must be an integer, but it is: x"
        );
    }
}
