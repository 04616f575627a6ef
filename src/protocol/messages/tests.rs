use super::*;
use crate::protocol::guard;
use crate::protocol::schema::sample::{self, Choices};
use crate::protocol::schema::{self, Api};
use bytes::Bytes;
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Message, Request};
use proptest::prelude::*;
use std::fmt::Debug;

type RoundTrip = fn(&[u8], i16) -> Vec<u8>;

/// Decodes, encodes, and holds that nothing is lost or announced wrongly; the bytes encoded.
fn round_trip<T: Decodable + Encodable + Debug>(body: &[u8], version: i16) -> Vec<u8> {
    let mut input = Bytes::copy_from_slice(body);
    let value = T::decode(&mut input, version).unwrap();
    assert!(input.is_empty(), "{} bytes left", input.len());
    let mut out = Vec::new();
    value.encode(&mut out, version).unwrap();
    assert_eq!(value.compute_size(version).unwrap(), out.len());
    let again = T::decode(&mut Bytes::from(out.clone()), version).unwrap();
    // Not `==`, by which a NaN is not even itself.
    assert_eq!(format!("{again:?}"), format!("{value:?}"));
    out
}

/// What the types say of themselves agrees with the table.
fn agrees<Q: Request + HeaderVersion, P: Message + HeaderVersion>(key: i16, ours: bool) {
    let api = schema::api(key).unwrap();
    assert_eq!(Q::KEY, key);
    for version in api.request.versions.iter() {
        assert_eq!(
            Q::header_version(version),
            api.request_header_version(version)
        );
        assert_eq!(
            P::header_version(version),
            api.response_header_version(version)
        );
        for range in [Q::VERSIONS, P::VERSIONS] {
            assert!(
                range.min <= version && version <= range.max,
                "{} {version}",
                api.name
            );
        }
    }
    if ours {
        assert_eq!(Q::VERSIONS.max, api.request.versions.max, "{}", api.name);
    }
}

macro_rules! messages {
    ($($key:literal $request:ident $response:ident,)*) => {
        fn codec(key: i16) -> (RoundTrip, RoundTrip) {
            match key {
                $($key => (round_trip::<$request>, round_trip::<$response>),)*
                _ => panic!("no codec of API key {key}"),
            }
        }

        #[test]
        fn the_types_agree_with_the_table() {
            $(agrees::<$request, $response>($key, false);)*
            assert_eq!([$($key),*].len(), schema::apis().len());
        }
    };
}

messages! {
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

/// Messages that the crate has too, in fewer versions.
mod theirs {
    use super::RoundTrip;
    use kafka_protocol::protocol::Message;

    macro_rules! messages {
        ($($key:literal $request:ident $response:ident,)*) => {
            pub const KEYS: &[i16] = &[$($key),*];

            pub fn codec(key: i16) -> (RoundTrip, RoundTrip, i16) {
                use kafka_protocol::messages::*;
                match key {
                    $($key => (
                        super::round_trip::<$request>,
                        super::round_trip::<$response>,
                        $request::VERSIONS.max,
                    ),)*
                    _ => panic!("no codec of API key {key}"),
                }
            }
        };
    }

    messages! {
        2 ListOffsetsRequest ListOffsetsResponse,
        8 OffsetCommitRequest OffsetCommitResponse,
        9 OffsetFetchRequest OffsetFetchResponse,
        18 ApiVersionsRequest ApiVersionsResponse,
        27 WriteTxnMarkersRequest WriteTxnMarkersResponse,
        28 TxnOffsetCommitRequest TxnOffsetCommitResponse,
        35 DescribeLogDirsRequest DescribeLogDirsResponse,
        42 DeleteGroupsRequest DeleteGroupsResponse,
        78 ShareFetchRequest ShareFetchResponse,
        79 ShareAcknowledgeRequest ShareAcknowledgeResponse,
        80 AddRaftVoterRequest AddRaftVoterResponse,
        85 WriteShareGroupStateRequest WriteShareGroupStateResponse,
        87 ReadShareGroupStateSummaryRequest ReadShareGroupStateSummaryResponse,
        90 DescribeShareGroupOffsetsRequest DescribeShareGroupOffsetsResponse,
    }
}

#[test]
fn every_version_of_4_4_is_covered() {
    for (key, max) in [
        (2, 11),
        (8, 10),
        (9, 10),
        (18, 5),
        (27, 2),
        (28, 6),
        (35, 5),
        (42, 3),
        (78, 2),
        (79, 2),
    ] {
        assert_eq!(schema::api(key).unwrap().request.versions.max, max);
    }
    agrees::<ListOffsetsRequest, ListOffsetsResponse>(2, true);
    agrees::<OffsetCommitRequest, OffsetCommitResponse>(8, true);
    agrees::<OffsetFetchRequest, OffsetFetchResponse>(9, true);
    agrees::<ApiVersionsRequest, ApiVersionsResponse>(18, true);
    agrees::<DescribeLogDirsRequest, DescribeLogDirsResponse>(35, true);
    agrees::<DeleteGroupsRequest, DeleteGroupsResponse>(42, true);
    agrees::<StreamsGroupHeartbeatRequest, StreamsGroupHeartbeatResponse>(88, true);
}

#[test]
fn a_field_that_the_version_lacks_is_dropped_or_refused() {
    let encode = |request: &OffsetFetchRequest, version| {
        let mut out = Vec::new();
        request.encode(&mut out, version).map(|()| out)
    };
    // `require_stable` must not be lost on the way to a version without it.
    let request = OffsetFetchRequest {
        require_stable: true,
        ..Default::default()
    };
    assert!(encode(&request, 7).is_ok());
    let error = encode(&request, 6).unwrap_err().to_string();
    assert_eq!(error, "require_stable is set, which version 6 cannot carry");
    assert!(request.compute_size(6).is_err());
    // The member epoch may be: Kafka marks it as ignorable.
    let group = offset_fetch_request::OffsetFetchRequestGroup {
        member_epoch: 4,
        member_id: Some("m".to_owned().into()),
        ..Default::default()
    };
    let request = OffsetFetchRequest {
        groups: vec![group],
        ..Default::default()
    };
    assert!(encode(&request, 9).unwrap().len() > encode(&request, 8).unwrap().len());
    // Null topics are for versions 2 to 7.
    let request = OffsetFetchRequest {
        topics: None,
        ..Default::default()
    };
    assert!(encode(&request, 2).is_ok());
    assert_eq!(
        encode(&request, 1).unwrap_err().to_string(),
        "topics may not be null in this version"
    );
    assert!(encode(&request, 8).is_err());
    assert!(encode(&request, 11).is_err());
}

#[test]
fn a_decoder_of_ours_reserves_no_more_than_there_is() {
    let mut body = Bytes::from_static(b"\xff\xff\xff\xff\x0f\0\0\0");
    let error = StreamsGroupDescribeRequest::decode(&mut body, 0).unwrap_err();
    assert!(error.to_string().contains("more than the rest"), "{error}");
}

fn any_version() -> impl Strategy<Value = (&'static Api, i16)> {
    let apis = schema::apis();
    (0..apis.len(), any::<u8>()).prop_map(move |(index, version)| {
        let api = &apis[index];
        let versions = api.request.versions;
        let span = versions.max - versions.min + 1;
        (api, versions.min + i16::from(version) % span)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    /// The table, the guard and the types describe the same bytes.
    #[test]
    fn what_the_table_makes_the_types_read_and_write(
        (api, version) in any_version(),
        choices in proptest::collection::vec(any::<u8>(), 0..150),
    ) {
        let (request, response) = codec(api.key);
        for (message, codec) in [(&api.request, request), (&api.response, response)] {
            let body = sample::body(message, version, &mut Choices::new(&choices));
            let out = codec(&body, version);
            prop_assert_eq!(guard::check(message, version, &out), Ok(out.len()));
            // The same but for tagged fields that hold their default, which are left out.
            prop_assert_eq!(codec(&out, version), out);
        }
    }

    /// Where the crate knows the message too, both write the same bytes.
    #[test]
    fn the_crate_writes_the_same(
        index in 0..theirs::KEYS.len(),
        version: u8,
        choices in proptest::collection::vec(any::<u8>(), 0..150),
    ) {
        let key = theirs::KEYS[index];
        let api = schema::api(key).unwrap();
        let (their_request, their_response, max) = theirs::codec(key);
        let min = api.request.versions.min;
        let version = min + i16::from(version) % (max - min + 1);
        let (request, response) = codec(key);
        for (message, ours, theirs) in [
            (&api.request, request, their_request),
            (&api.response, response, their_response),
        ] {
            let body = sample::body(message, version, &mut Choices::new(&choices));
            prop_assert_eq!(ours(&body, version), theirs(&body, version));
        }
    }

    /// Whatever the guard lets through, decoders read.
    #[test]
    fn what_the_guard_accepts_is_decoded(
        (api, version) in any_version(),
        choices in proptest::collection::vec(any::<u8>(), 0..150),
        damage in proptest::collection::vec((any::<usize>(), any::<u8>()), 0..3),
    ) {
        let (request, response) = codec(api.key);
        for (message, codec) in [(&api.request, request), (&api.response, response)] {
            let mut body = sample::body(message, version, &mut Choices::new(&choices));
            for (at, byte) in &damage {
                if !body.is_empty() {
                    let at = at % body.len();
                    body[at] = *byte;
                }
            }
            if let Ok(size) = guard::check(message, version, &body) {
                codec(&body[..size], version);
            }
        }
    }
}
