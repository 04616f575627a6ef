//! The levels of this node's own log as configs of the resource BROKER_LOGGER (KIP-412): what
//! DescribeConfigs shows and IncrementalAlterConfigs changes. Words as Kafka's `RuntimeLoggerManager`.

use std::collections::BTreeMap;

use super::RequestContext;
use crate::controller::command::{AlterConfigOp, ApiError, OpType};
use crate::error::ErrorCode;
use crate::logging::{LogLevels, ROOT};
use crate::types::NodeId;

/// In Kafka's order.
const LEVELS: [&str; 6] = ["DEBUG", "ERROR", "FATAL", "INFO", "TRACE", "WARN"];

/// All of it or, when one operation is refused, nothing.
pub(super) fn alter(
    ctx: &RequestContext,
    name: &str,
    ops: &[AlterConfigOp],
    validate_only: bool,
) -> Result<(), ApiError> {
    check_name(ctx.node.id, name)?;
    let levels = &ctx.node.log_levels;
    for op in ops {
        check(levels, op)?;
    }
    if !validate_only {
        for op in ops {
            apply(levels, op);
        }
    }
    Ok(())
}

fn check_name(me: NodeId, name: &str) -> Result<(), ApiError> {
    let invalid = |why: String| Err(ApiError::new(ErrorCode::InvalidRequest, why));
    match name.parse::<i32>() {
        Err(_) => invalid(format!("Node id must be an integer, but it is: {name}")),
        Ok(id) if id != me.0 => invalid(format!(
            "Unexpected node id. Expected {me}, but received {id}"
        )),
        Ok(_) => Ok(()),
    }
}

fn check(levels: &LogLevels, op: &AlterConfigOp) -> Result<(), ApiError> {
    let logger = op.name.as_str();
    let exists = || match levels.exists(logger) {
        true => Ok(()),
        false => Err(ApiError::new(
            ErrorCode::InvalidConfig,
            format!("Logger {logger} does not exist!"),
        )),
    };
    match op.op {
        OpType::Set => {
            exists()?;
            let level = op.value.as_deref().unwrap_or_default();
            if LEVELS.contains(&level) {
                return Ok(());
            }
            Err(ApiError::new(
                ErrorCode::InvalidConfig,
                format!(
                    "Cannot set the log level of {logger} to {level} as it is not a supported log level. Valid log levels are {}",
                    LEVELS.join(", ")
                ),
            ))
        }
        OpType::Delete => {
            exists()?;
            if logger != ROOT {
                return Ok(());
            }
            Err(ApiError::new(
                ErrorCode::InvalidRequest,
                "Removing the log level of the root logger is not allowed",
            ))
        }
        OpType::Append | OpType::Subtract => Err(ApiError::new(
            ErrorCode::InvalidRequest,
            format!(
                "{} operation is not allowed for the BROKER_LOGGER resource",
                op.op.name()
            ),
        )),
    }
}

fn apply(levels: &LogLevels, op: &AlterConfigOp) {
    let logger = op.name.as_str();
    match (op.op, op.value.as_deref()) {
        (OpType::Set, Some(level)) => {
            levels.set(logger, level);
            tracing::warn!(logger, level, "a log level was changed");
        }
        (OpType::Delete, _) => {
            levels.unset(logger);
            tracing::warn!(logger, "a log level was unset");
        }
        _ => {}
    }
}

/// Logger and level.
pub(super) fn describe(
    ctx: &RequestContext,
    name: &str,
) -> Result<BTreeMap<String, &'static str>, ApiError> {
    let me = ctx.node.id;
    let invalid = |why: String| Err(ApiError::new(ErrorCode::InvalidRequest, why));
    match name.parse::<i32>() {
        _ if name.is_empty() => invalid("Broker id must not be empty".to_owned()),
        Err(_) => invalid(format!("Broker id must be an integer, but it is: {name}")),
        Ok(id) if id != me.0 => invalid(format!(
            "Unexpected broker id, expected {me} but received {name}"
        )),
        Ok(_) => Ok(ctx.node.log_levels.loggers()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_refused_in_kafkas_words() {
        let levels = LogLevels::detached("info").unwrap();
        let told = |op, logger: &str, level: Option<&str>| {
            let op = AlterConfigOp {
                name: logger.into(),
                op,
                value: level.map(Into::into),
            };
            check(&levels, &op).err().map(|error| error.to_string())
        };
        use OpType::{Append, Delete, Set};
        assert_eq!(told(Set, "root", Some("DEBUG")), None);
        assert_eq!(told(Delete, "dohle::net", None), None);
        let table = [
            (
                Set,
                "kafka",
                Some("INFO"),
                "INVALID_CONFIG: Logger kafka does not exist!",
            ),
            (
                Set,
                "root",
                Some("LOUD"),
                "INVALID_CONFIG: Cannot set the log level of root to LOUD as it is not a supported log level. Valid log levels are DEBUG, ERROR, FATAL, INFO, TRACE, WARN",
            ),
            (
                Delete,
                "root",
                None,
                "INVALID_REQUEST: Removing the log level of the root logger is not allowed",
            ),
            (
                Append,
                "root",
                Some("INFO"),
                "INVALID_REQUEST: APPEND operation is not allowed for the BROKER_LOGGER resource",
            ),
        ];
        for (op, logger, level, expected) in table {
            assert_eq!(told(op, logger, level).unwrap(), expected);
        }
        assert_eq!(
            check_name(NodeId(1), "2").unwrap_err().to_string(),
            "INVALID_REQUEST: Unexpected node id. Expected 1, but received 2"
        );
    }
}
