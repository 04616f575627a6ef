//! The ONE table of APIs: what is advertised, who serves it, and how a request reaches its file.
//!
//! `ApiVersions`, dispatch and the labels of metrics all follow from `APIS`. Adding an API is one
//! file beside this one and one row here. A handler is an async function; whatever it does before
//! it first waits is done in the order in which its connection's requests came.

mod broker_logger;
mod config_changes;
mod context;
mod group_text;
mod partition_view;
mod response;
mod submit;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use kafka_protocol::protocol::{Decodable, Encodable};

use crate::error::ErrorCode;
use crate::metrics::Metrics;
use crate::protocol::frame::encode_response;
use crate::protocol::guard::{self, GuardError};
use crate::protocol::schema;

pub use context::RequestContext;
pub use response::{FileRange, Response, ResponsePart};

/// A request being served. `Ok(None)` is a request that wants no reply (`acks=0`).
pub type ServedRequest =
    Pin<Box<dyn Future<Output = Result<Option<Response>, RequestError>> + Send>>;

/// Why a connection is closed instead of answered.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    #[error("{0}")]
    Guard(#[from] GuardError),
    #[error("{api} v{version} cannot be decoded: {reason}")]
    Decode {
        api: &'static str,
        version: i16,
        reason: String,
    },
    /// A bug here: a reply that its version cannot carry.
    #[error("the reply to {api} v{version} cannot be encoded: {reason}")]
    Encode {
        api: &'static str,
        version: i16,
        reason: String,
    },
    /// `acks=0` wants no reply: closing the connection is the only word there is.
    #[error("an append with acks=0 was refused: {0}")]
    UnansweredProduce(ErrorCode),
    #[error("API key {key} is not served")]
    UnknownApi { key: i16 },
    #[error("{api} v{version} is not served")]
    UnsupportedVersion { api: &'static str, version: i16 },
}

/// Which requests of a connection may start while one of this API waits, for replicas and the disk. Kafka lets none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overlap {
    /// What comes next sees what this one did.
    Nothing,
    /// Others of the API: by the time one waits it has its place behind those before it, and it is decided there,
    /// with what they did.
    Alike,
    /// All: its effects are there before it waits.
    Anything,
}

/// A row of the table.
pub struct Api {
    pub key: i16,
    pub name: &'static str,
    pub min_version: i16,
    pub max_version: i16,
    /// What `ApiVersions` says: lower than what is served only for Produce, where an old librdkafka
    /// looks for version 0.
    pub advertised_min_version: i16,
    /// The body passes the guard before it is decoded.
    guarded: bool,
    pub overlap: Overlap,
    serve: fn(RequestContext, Bytes) -> ServedRequest,
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} {}..={}",
            self.name, self.min_version, self.max_version
        )
    }
}

/// A decoded request in, a message out; the frame is made here.
macro_rules! row {
    ($key:literal, $name:ident, $min:literal, $max:literal, $module:ident, message) => {
        row!($key, $name, $min, $max, $module, message, Nothing)
    };
    ($key:literal, $name:ident, $min:literal, $max:literal, $module:ident, alike message) => {
        row!($key, $name, $min, $max, $module, message, Alike)
    };
    ($key:literal, $name:ident, $min:literal, $max:literal, $module:ident, message, $overlap:ident) => {
        Api {
            key: $key,
            name: stringify!($name),
            min_version: $min,
            max_version: $max,
            advertised_min_version: $min,
            guarded: true,
            overlap: Overlap::$overlap,
            serve: |ctx, body| {
                Box::pin(async move {
                    const NAME: &str = stringify!($name);
                    let (version, correlation_id) = (ctx.version, ctx.correlation_id);
                    let metrics = Arc::clone(&ctx.node.metrics);
                    let request = decode(NAME, version, body)?;
                    let response = $module::handle(ctx, request).await;
                    let frame = encode(NAME, $key, version, correlation_id, &response)?;
                    count_errors(&metrics, $key, version, &frame);
                    Ok(Some(frame.into()))
                })
            },
        }
    };
    // The file reads its own bytes and makes its own frame.
    ($key:literal, $name:ident, $min:literal, $max:literal, $module:ident, bytes) => {
        row!($key, $name, $min, $max, $module, bytes, $min, Nothing)
    };
    ($key:literal, $name:ident, $min:literal, $max:literal, $module:ident, overlapping bytes) => {
        row!($key, $name, $min, $max, $module, bytes, 0, Anything)
    };
    ($key:literal, $name:ident, $min:literal, $max:literal, $module:ident, bytes, $advertised:literal, $overlap:ident) => {
        Api {
            key: $key,
            name: stringify!($name),
            min_version: $min,
            max_version: $max,
            advertised_min_version: $advertised,
            guarded: false,
            overlap: Overlap::$overlap,
            serve: |ctx, body| Box::pin($module::handle(ctx, body)),
        }
    };
}

macro_rules! apis {
    ($($key:literal $name:ident $min:literal..=$max:literal $module:ident: $($kind:ident)+;)*) => {
        $(mod $module;)*

        /// Every API served, by key.
        pub static APIS: &[Api] = &[
            $(row!($key, $name, $min, $max, $module, $($kind)+),)*
        ];
    };
}

apis! {
    0 Produce 3..=13 produce: overlapping bytes;
    1 Fetch 4..=18 fetch: bytes;
    2 ListOffsets 1..=11 list_offsets: message;
    3 Metadata 0..=13 metadata: message;
    8 OffsetCommit 2..=10 offset_commit: alike message;
    9 OffsetFetch 1..=10 offset_fetch: message;
    10 FindCoordinator 0..=6 find_coordinator: message;
    11 JoinGroup 0..=9 join_group: message;
    12 Heartbeat 0..=4 heartbeat: message;
    13 LeaveGroup 0..=5 leave_group: message;
    14 SyncGroup 0..=5 sync_group: message;
    15 DescribeGroups 0..=6 describe_groups: message;
    16 ListGroups 0..=5 list_groups: message;
    18 ApiVersions 0..=5 api_versions: message;
    19 CreateTopics 2..=7 create_topics: alike message;
    20 DeleteTopics 1..=6 delete_topics: message;
    21 DeleteRecords 0..=2 delete_records: message;
    22 InitProducerId 0..=5 init_producer_id: message;
    23 OffsetForLeaderEpoch 2..=4 offset_for_leader_epoch: message;
    32 DescribeConfigs 1..=4 describe_configs: message;
    33 AlterConfigs 0..=2 alter_configs: alike message;
    34 AlterReplicaLogDirs 1..=2 alter_replica_log_dirs: message;
    35 DescribeLogDirs 1..=5 describe_log_dirs: message;
    37 CreatePartitions 0..=3 create_partitions: message;
    42 DeleteGroups 0..=3 delete_groups: message;
    44 IncrementalAlterConfigs 0..=1 incremental_alter_configs: alike message;
    47 OffsetDelete 0..=0 offset_delete: message;
    55 DescribeQuorum 0..=2 describe_quorum: message;
    57 UpdateFeatures 0..=2 update_features: message;
    60 DescribeCluster 0..=2 describe_cluster: message;
    61 DescribeProducers 0..=0 describe_producers: message;
    74 ListConfigResources 0..=1 list_config_resources: message;
    75 DescribeTopicPartitions 0..=0 describe_topic_partitions: message;
    80 AddRaftVoter 0..=1 add_raft_voter: message;
    81 RemoveRaftVoter 0..=0 remove_raft_voter: message;
}

/// The row of an API key, or `None` when it is not served.
pub fn find(key: i16) -> Option<&'static Api> {
    APIS.iter().find(|api| api.key == key)
}

/// Starts a request. The key and version are the client's word, the body has not been looked at.
///
/// Kafka, too, closes the connection of a client that asks for what `ApiVersions` does not list;
/// only an `ApiVersions` from the future is answered, in its oldest form (KIP-35).
pub fn start(
    key: i16,
    ctx: RequestContext,
    body: Bytes,
) -> Result<(&'static Api, ServedRequest), RequestError> {
    let (Some(api), Some(schema)) = (find(key), schema::api(key)) else {
        return Err(RequestError::UnknownApi { key });
    };
    let version = ctx.version;
    if !(api.min_version..=api.max_version).contains(&version) {
        if key == api_versions::KEY {
            return Ok((api, Box::pin(api_versions::answer_newer(ctx))));
        }
        return Err(RequestError::UnsupportedVersion {
            api: api.name,
            version,
        });
    }
    // Produce and Fetch are read by hand, with the same care.
    if api.guarded {
        guard::check(&schema.request, version, &body)?;
    }
    Ok((api, (api.serve)(ctx, body)))
}

fn decode<M: Decodable>(
    api: &'static str,
    version: i16,
    mut body: Bytes,
) -> Result<M, RequestError> {
    M::decode(&mut body, version).map_err(|error| RequestError::Decode {
        api,
        version,
        reason: error.to_string(),
    })
}

fn encode<M: Encodable>(
    api: &'static str,
    key: i16,
    version: i16,
    correlation_id: i32,
    response: &M,
) -> Result<Bytes, RequestError> {
    let header_version = schema::api(key).map_or(0, |api| api.response_header_version(version));
    encode_response(correlation_id, header_version, response, version)
        .map(BytesMut::freeze)
        .map_err(|error| RequestError::Encode {
            api,
            version,
            reason: error.to_string(),
        })
}

/// Counts the error codes of a reply, wherever in it they stand: the schema table knows.
fn count_errors(metrics: &Metrics, key: i16, version: i16, frame: &Bytes) {
    let Some(schema) = schema::api(key) else {
        return;
    };
    let header = 4 + if schema.response_header_version(version) == 0 {
        4
    } else {
        5
    };
    let body = frame.get(header..).unwrap_or_default();
    guard::error_codes(&schema.response, version, body, &mut |code| {
        if code != 0 {
            let code = ErrorCode::from_code(code).unwrap_or(ErrorCode::UnknownServerError);
            metrics.replied_error(key, code);
        }
    });
}

#[cfg(test)]
mod admin_tests;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod transaction_tests;
