//! Every API's types by key, so that bytes can be put through them.

use bytes::{Bytes, BytesMut};
use dohle::protocol::frame::encode_response;
use dohle::protocol::messages::*;
use kafka_protocol::protocol::{Decodable, Encodable};

/// What a message's type makes of a body.
#[derive(Debug, PartialEq, Eq)]
pub struct RoundTrip {
    /// The body encoded again.
    pub body: Bytes,
    /// The same as a response frame.
    pub frame: BytesMut,
    /// What the body left unread.
    pub left: usize,
}

fn round_trip<T: Decodable + Encodable>(
    body: Bytes,
    version: i16,
    (correlation_id, header_version): (i32, i16),
) -> Result<RoundTrip, String> {
    let mut input = body;
    let value = T::decode(&mut input, version).map_err(|error| error.to_string())?;
    let mut out = BytesMut::new();
    let encoded = value.encode(&mut out, version);
    encoded.map_err(|error| error.to_string())?;
    let frame = encode_response(correlation_id, header_version, &value, version);
    Ok(RoundTrip {
        body: out.freeze(),
        frame: frame.map_err(|error| error.to_string())?,
        left: input.len(),
    })
}

/// Decodes a body and encodes it again; `head` is the correlation id and the header version of a response.
pub type Codec = fn(Bytes, i16, (i32, i16)) -> Result<RoundTrip, String>;

macro_rules! codecs {
    ($($key:literal $request:ident $response:ident,)*) => {
        /// The codecs of an API's request and response.
        pub fn codecs(key: i16) -> Option<(Codec, Codec)> {
            match key {
                $($key => Some((round_trip::<$request>, round_trip::<$response>)),)*
                _ => None,
            }
        }
    };
}

codecs! {
    0 ProduceRequest ProduceResponse,
    1 FetchRequest FetchResponse,
    2 ListOffsetsRequest ListOffsetsResponse,
    3 MetadataRequest MetadataResponse,
    8 OffsetCommitRequest OffsetCommitResponse,
    9 OffsetFetchRequest OffsetFetchResponse,
    10 FindCoordinatorRequest FindCoordinatorResponse,
    11 JoinGroupRequest JoinGroupResponse,
    12 HeartbeatRequest HeartbeatResponse,
    13 LeaveGroupRequest LeaveGroupResponse,
    14 SyncGroupRequest SyncGroupResponse,
    15 DescribeGroupsRequest DescribeGroupsResponse,
    16 ListGroupsRequest ListGroupsResponse,
    17 SaslHandshakeRequest SaslHandshakeResponse,
    18 ApiVersionsRequest ApiVersionsResponse,
    19 CreateTopicsRequest CreateTopicsResponse,
    20 DeleteTopicsRequest DeleteTopicsResponse,
    21 DeleteRecordsRequest DeleteRecordsResponse,
    22 InitProducerIdRequest InitProducerIdResponse,
    23 OffsetForLeaderEpochRequest OffsetForLeaderEpochResponse,
    24 AddPartitionsToTxnRequest AddPartitionsToTxnResponse,
    25 AddOffsetsToTxnRequest AddOffsetsToTxnResponse,
    26 EndTxnRequest EndTxnResponse,
    27 WriteTxnMarkersRequest WriteTxnMarkersResponse,
    28 TxnOffsetCommitRequest TxnOffsetCommitResponse,
    29 DescribeAclsRequest DescribeAclsResponse,
    30 CreateAclsRequest CreateAclsResponse,
    31 DeleteAclsRequest DeleteAclsResponse,
    32 DescribeConfigsRequest DescribeConfigsResponse,
    33 AlterConfigsRequest AlterConfigsResponse,
    34 AlterReplicaLogDirsRequest AlterReplicaLogDirsResponse,
    35 DescribeLogDirsRequest DescribeLogDirsResponse,
    36 SaslAuthenticateRequest SaslAuthenticateResponse,
    37 CreatePartitionsRequest CreatePartitionsResponse,
    38 CreateDelegationTokenRequest CreateDelegationTokenResponse,
    39 RenewDelegationTokenRequest RenewDelegationTokenResponse,
    40 ExpireDelegationTokenRequest ExpireDelegationTokenResponse,
    41 DescribeDelegationTokenRequest DescribeDelegationTokenResponse,
    42 DeleteGroupsRequest DeleteGroupsResponse,
    43 ElectLeadersRequest ElectLeadersResponse,
    44 IncrementalAlterConfigsRequest IncrementalAlterConfigsResponse,
    45 AlterPartitionReassignmentsRequest AlterPartitionReassignmentsResponse,
    46 ListPartitionReassignmentsRequest ListPartitionReassignmentsResponse,
    47 OffsetDeleteRequest OffsetDeleteResponse,
    48 DescribeClientQuotasRequest DescribeClientQuotasResponse,
    49 AlterClientQuotasRequest AlterClientQuotasResponse,
    50 DescribeUserScramCredentialsRequest DescribeUserScramCredentialsResponse,
    51 AlterUserScramCredentialsRequest AlterUserScramCredentialsResponse,
    55 DescribeQuorumRequest DescribeQuorumResponse,
    57 UpdateFeaturesRequest UpdateFeaturesResponse,
    60 DescribeClusterRequest DescribeClusterResponse,
    61 DescribeProducersRequest DescribeProducersResponse,
    64 UnregisterBrokerRequest UnregisterBrokerResponse,
    65 DescribeTransactionsRequest DescribeTransactionsResponse,
    66 ListTransactionsRequest ListTransactionsResponse,
    68 ConsumerGroupHeartbeatRequest ConsumerGroupHeartbeatResponse,
    69 ConsumerGroupDescribeRequest ConsumerGroupDescribeResponse,
    74 ListConfigResourcesRequest ListConfigResourcesResponse,
    75 DescribeTopicPartitionsRequest DescribeTopicPartitionsResponse,
    76 ShareGroupHeartbeatRequest ShareGroupHeartbeatResponse,
    77 ShareGroupDescribeRequest ShareGroupDescribeResponse,
    78 ShareFetchRequest ShareFetchResponse,
    79 ShareAcknowledgeRequest ShareAcknowledgeResponse,
    80 AddRaftVoterRequest AddRaftVoterResponse,
    81 RemoveRaftVoterRequest RemoveRaftVoterResponse,
    83 InitializeShareGroupStateRequest InitializeShareGroupStateResponse,
    84 ReadShareGroupStateRequest ReadShareGroupStateResponse,
    85 WriteShareGroupStateRequest WriteShareGroupStateResponse,
    86 DeleteShareGroupStateRequest DeleteShareGroupStateResponse,
    87 ReadShareGroupStateSummaryRequest ReadShareGroupStateSummaryResponse,
    88 StreamsGroupHeartbeatRequest StreamsGroupHeartbeatResponse,
    89 StreamsGroupDescribeRequest StreamsGroupDescribeResponse,
    90 DescribeShareGroupOffsetsRequest DescribeShareGroupOffsetsResponse,
    91 AlterShareGroupOffsetsRequest AlterShareGroupOffsetsResponse,
    92 DeleteShareGroupOffsetsRequest DeleteShareGroupOffsetsResponse,
    93 StreamsGroupTopologyDescriptionUpdateRequest StreamsGroupTopologyDescriptionUpdateResponse,
    94 UnregisterControllerRequest UnregisterControllerResponse,
}
