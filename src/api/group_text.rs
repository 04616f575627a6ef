//! What the group APIs share: strings in and out of requests, and the checks before a coordinator is asked.
//!
//! What a coordinator keeps is copied out of the request, whose strings would pin its whole frame.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::messages::GroupId;
use kafka_protocol::protocol::StrBytes;

use super::RequestContext;
use crate::error::ErrorCode;
use crate::security::{Operation, ResourceType};

pub(super) fn shared(text: &StrBytes) -> Arc<str> {
    text.as_str().into()
}

pub(super) fn shared_option(text: Option<&StrBytes>) -> Option<Arc<str>> {
    text.map(shared)
}

pub(super) fn copied(bytes: &Bytes) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

pub(super) fn wire(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

pub(super) fn wire_option(text: Option<&Arc<str>>) -> Option<StrBytes> {
    text.map(|text| wire(text))
}

pub(super) fn group_id(text: &str) -> GroupId {
    GroupId(wire(text))
}

/// As Java prints the address of a connection, which is what is kept of a member's host.
pub(super) fn client_host(address: IpAddr) -> Arc<str> {
    format!("/{address}").into()
}

/// Whether the group may be asked for at all, and is one.
pub(super) fn check_group(
    ctx: &RequestContext,
    operation: Operation,
    group_id: &str,
) -> Result<(), ErrorCode> {
    if !ctx.authorize(operation, ResourceType::Group, group_id) {
        return Err(ErrorCode::GroupAuthorizationFailed);
    }
    if group_id.is_empty() {
        return Err(ErrorCode::InvalidGroupId);
    }
    Ok(())
}
