//! How an admin API reaches the controller, and what it says when the controller cannot be reached.

use std::time::Duration;

use kafka_protocol::protocol::StrBytes;

use super::RequestContext;
use crate::controller::command::{ApiError, Command, Reply};
use crate::error::ErrorCode;

/// The controller's reply, for at most the time that the client gave.
pub(super) async fn submit(
    ctx: &RequestContext,
    command: Command,
    timeout_ms: Option<i32>,
) -> Result<Reply, ApiError> {
    let submitted = ctx.node.submit(command);
    let Some(timeout_ms) = timeout_ms.and_then(|ms| u64::try_from(ms).ok()) else {
        return Ok(submitted.await?);
    };
    match tokio::time::timeout(Duration::from_millis(timeout_ms), submitted).await {
        Ok(reply) => Ok(reply?),
        // It may still come to pass.
        Err(_) => Err(ErrorCode::RequestTimedOut.into()),
    }
}

/// A reply of another command's kind: a bug, told as Kafka tells of one.
pub(super) fn unexpected() -> ApiError {
    ErrorCode::UnknownServerError.into()
}

/// A message as the wire takes it.
pub(super) fn message(error: ApiError) -> Option<StrBytes> {
    error.message.map(StrBytes::from_string)
}
