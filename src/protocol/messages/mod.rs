//! The messages of every API, by name: what handlers take and give.
//!
//! The codec crate's types, except where Kafka 4.4.0 has versions the crate lacks: those come from
//! `generated`, implement the crate's traits, and shadow its types here. Each message has a module of its
//! name with the structs inside it.
//!
//! Do not decode what the guard has not passed: the crate reserves what counts claim. Of both kinds `encode`
//! refuses a field that the version lacks and that Kafka does not mark as ignorable.

#[rustfmt::skip]
#[expect(
    clippy::field_reassign_with_default,
    reason = "which fields are read depends on the version"
)]
mod generated;
pub(crate) mod wire;

pub use kafka_protocol::messages::*;
pub use kafka_protocol::protocol::StrBytes;

pub use generated::{add_raft_voter_request, add_raft_voter_request::AddRaftVoterRequest};
pub use generated::{add_raft_voter_response, add_raft_voter_response::AddRaftVoterResponse};
pub use generated::{api_versions_request, api_versions_request::ApiVersionsRequest};
pub use generated::{api_versions_response, api_versions_response::ApiVersionsResponse};
pub use generated::{delete_groups_request, delete_groups_request::DeleteGroupsRequest};
pub use generated::{delete_groups_response, delete_groups_response::DeleteGroupsResponse};
pub use generated::{describe_log_dirs_request, describe_log_dirs_request::DescribeLogDirsRequest};
pub use generated::{
    describe_log_dirs_response, describe_log_dirs_response::DescribeLogDirsResponse,
};
pub use generated::{
    describe_share_group_offsets_request,
    describe_share_group_offsets_request::DescribeShareGroupOffsetsRequest,
};
pub use generated::{
    describe_share_group_offsets_response,
    describe_share_group_offsets_response::DescribeShareGroupOffsetsResponse,
};
pub use generated::{list_offsets_request, list_offsets_request::ListOffsetsRequest};
pub use generated::{list_offsets_response, list_offsets_response::ListOffsetsResponse};
pub use generated::{offset_commit_request, offset_commit_request::OffsetCommitRequest};
pub use generated::{offset_commit_response, offset_commit_response::OffsetCommitResponse};
pub use generated::{offset_fetch_request, offset_fetch_request::OffsetFetchRequest};
pub use generated::{offset_fetch_response, offset_fetch_response::OffsetFetchResponse};
pub use generated::{
    read_share_group_state_summary_request,
    read_share_group_state_summary_request::ReadShareGroupStateSummaryRequest,
};
pub use generated::{
    read_share_group_state_summary_response,
    read_share_group_state_summary_response::ReadShareGroupStateSummaryResponse,
};
pub use generated::{
    share_acknowledge_request, share_acknowledge_request::ShareAcknowledgeRequest,
};
pub use generated::{
    share_acknowledge_response, share_acknowledge_response::ShareAcknowledgeResponse,
};
pub use generated::{share_fetch_request, share_fetch_request::ShareFetchRequest};
pub use generated::{share_fetch_response, share_fetch_response::ShareFetchResponse};
pub use generated::{
    streams_group_describe_request, streams_group_describe_request::StreamsGroupDescribeRequest,
};
pub use generated::{
    streams_group_describe_response, streams_group_describe_response::StreamsGroupDescribeResponse,
};
pub use generated::{
    streams_group_heartbeat_request, streams_group_heartbeat_request::StreamsGroupHeartbeatRequest,
};
pub use generated::{
    streams_group_heartbeat_response,
    streams_group_heartbeat_response::StreamsGroupHeartbeatResponse,
};
pub use generated::{
    streams_group_topology_description_update_request,
    streams_group_topology_description_update_request::StreamsGroupTopologyDescriptionUpdateRequest,
};
pub use generated::{
    streams_group_topology_description_update_response,
    streams_group_topology_description_update_response::StreamsGroupTopologyDescriptionUpdateResponse,
};
pub use generated::{txn_offset_commit_request, txn_offset_commit_request::TxnOffsetCommitRequest};
pub use generated::{
    txn_offset_commit_response, txn_offset_commit_response::TxnOffsetCommitResponse,
};
pub use generated::{
    unregister_controller_request, unregister_controller_request::UnregisterControllerRequest,
};
pub use generated::{
    unregister_controller_response, unregister_controller_response::UnregisterControllerResponse,
};
pub use generated::{
    write_share_group_state_request, write_share_group_state_request::WriteShareGroupStateRequest,
};
pub use generated::{
    write_share_group_state_response,
    write_share_group_state_response::WriteShareGroupStateResponse,
};
pub use generated::{write_txn_markers_request, write_txn_markers_request::WriteTxnMarkersRequest};
pub use generated::{
    write_txn_markers_response, write_txn_markers_response::WriteTxnMarkersResponse,
};

#[cfg(test)]
mod tests;
