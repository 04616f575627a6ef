use super::*;

/// Key, name and versions, as a Kafka 4.4.0 broker advertises them. Of Produce it advertises 0 to 2 as
/// well, for an old librdkafka, and refuses them: they have no schema.
const ADVERTISED: &str = "
0 Produce 3-13; 1 Fetch 4-18; 2 ListOffsets 1-11; 3 Metadata 0-13; 8 OffsetCommit 2-10; 9 OffsetFetch 1-10;
10 FindCoordinator 0-6; 11 JoinGroup 0-9; 12 Heartbeat 0-4; 13 LeaveGroup 0-5; 14 SyncGroup 0-5;
15 DescribeGroups 0-6; 16 ListGroups 0-5; 17 SaslHandshake 0-1; 18 ApiVersions 0-5; 19 CreateTopics 2-7;
20 DeleteTopics 1-6; 21 DeleteRecords 0-2; 22 InitProducerId 0-5; 23 OffsetForLeaderEpoch 2-4;
24 AddPartitionsToTxn 0-5; 25 AddOffsetsToTxn 0-4; 26 EndTxn 0-5; 27 WriteTxnMarkers 1-2;
28 TxnOffsetCommit 0-6; 29 DescribeAcls 1-3; 30 CreateAcls 1-3; 31 DeleteAcls 1-3; 32 DescribeConfigs 1-4;
33 AlterConfigs 0-2; 34 AlterReplicaLogDirs 1-2; 35 DescribeLogDirs 1-5; 36 SaslAuthenticate 0-2;
37 CreatePartitions 0-3; 38 CreateDelegationToken 1-3; 39 RenewDelegationToken 1-2;
40 ExpireDelegationToken 1-2; 41 DescribeDelegationToken 1-3; 42 DeleteGroups 0-3; 43 ElectLeaders 0-2;
44 IncrementalAlterConfigs 0-1; 45 AlterPartitionReassignments 0-1; 46 ListPartitionReassignments 0-0;
47 OffsetDelete 0-0; 48 DescribeClientQuotas 0-1; 49 AlterClientQuotas 0-1;
50 DescribeUserScramCredentials 0-0; 51 AlterUserScramCredentials 0-0; 55 DescribeQuorum 0-2;
57 UpdateFeatures 0-2; 60 DescribeCluster 0-2; 61 DescribeProducers 0-0; 64 UnregisterBroker 0-0;
65 DescribeTransactions 0-0; 66 ListTransactions 0-2; 68 ConsumerGroupHeartbeat 0-1;
69 ConsumerGroupDescribe 0-1; 74 ListConfigResources 0-1; 75 DescribeTopicPartitions 0-0;
76 ShareGroupHeartbeat 1-1; 77 ShareGroupDescribe 1-1; 78 ShareFetch 1-2; 79 ShareAcknowledge 1-2;
80 AddRaftVoter 0-1; 81 RemoveRaftVoter 0-0; 83 InitializeShareGroupState 0-0;
84 ReadShareGroupState 0-0; 85 WriteShareGroupState 0-1; 86 DeleteShareGroupState 0-0;
87 ReadShareGroupStateSummary 0-1; 88 StreamsGroupHeartbeat 0-1; 89 StreamsGroupDescribe 0-1;
90 DescribeShareGroupOffsets 0-1; 91 AlterShareGroupOffsets 0-0; 92 DeleteShareGroupOffsets 0-0;
93 StreamsGroupTopologyDescriptionUpdate 0-0; 94 UnregisterController 0-0";

#[test]
fn the_table_holds_what_kafka_advertises() {
    let advertised: Vec<&str> = ADVERTISED.split(';').map(str::trim).collect();
    assert_eq!(advertised.len(), 77);
    let ours: Vec<String> = apis()
        .iter()
        .map(|api| {
            let Versions { min, max } = api.request.versions;
            assert_eq!(api.request.versions, api.response.versions, "{}", api.name);
            format!("{} {} {min}-{max}", api.key, api.name)
        })
        .collect();
    assert_eq!(ours, advertised);
    assert!(apis().is_sorted_by_key(|api| api.key));
}

#[test]
fn headers_have_the_version_kafka_gives_them() {
    for (key, version, request, response) in [
        (0, 8, 1, 0),
        (0, 9, 2, 1),
        (18, 2, 1, 0),
        (18, 3, 2, 0),
        (18, 99, 2, 0),
        (17, 1, 1, 0),
        (17, 9, 1, 0),
        (76, 1, 2, 1),
    ] {
        let api = api(key).unwrap();
        assert_eq!(
            api.request_header_version(version),
            request,
            "{key} {version}"
        );
        assert_eq!(
            api.response_header_version(version),
            response,
            "{key} {version}"
        );
    }
    assert!(api(4).is_none() && api(-1).is_none());
}

/// Visits every struct with the versions in which it occurs.
fn each_struct(message: &Message, visit: &mut impl FnMut(&Struct, i16)) {
    fn go(found: &Struct, version: i16, visit: &mut impl FnMut(&Struct, i16)) {
        visit(found, version);
        for field in found
            .fields
            .iter()
            .filter(|field| field.versions.contains(version))
        {
            let mut kind = &field.kind;
            while let Kind::Array(element) = kind {
                kind = element;
            }
            if let Kind::Struct(inner) = kind {
                go(inner, version, visit);
            }
        }
    }
    for version in message.versions.iter() {
        go(&message.body, version, visit);
    }
}

/// What the guard relies on to be linear in its input.
#[test]
fn nothing_in_an_array_takes_no_bytes() {
    for api in apis() {
        for message in [&api.request, &api.response] {
            each_struct(message, &mut |found, version| {
                for field in found
                    .fields
                    .iter()
                    .filter(|field| field.versions.contains(version))
                {
                    if let Kind::Array(element) = &field.kind {
                        let bytes = element.min_bytes(version, message.is_flexible(version));
                        assert!(bytes > 0, "{}.{} v{version}", found.name, field.name);
                    }
                }
            });
        }
    }
}

#[test]
fn names_tags_and_ranges_are_sane() {
    for api in apis() {
        for message in [&api.request, &api.response] {
            let mut tags_in_rigid = 0;
            each_struct(message, &mut |found, version| {
                let present: Vec<_> = found
                    .fields
                    .iter()
                    .filter(|f| f.versions.contains(version))
                    .collect();
                for (index, field) in present.iter().enumerate() {
                    assert!(
                        !present[..index]
                            .iter()
                            .any(|other| other.name == field.name),
                        "{}.{} twice",
                        found.name,
                        field.name
                    );
                    if let Some(tag) = field.tag {
                        tags_in_rigid += usize::from(!message.is_flexible(version));
                        assert!(!present[..index].iter().any(|other| other.tag == Some(tag)));
                    }
                }
                for field in &found.fields {
                    assert!(!field.versions.is_empty(), "{}.{}", found.name, field.name);
                }
            });
            assert_eq!(tags_in_rigid, 0, "{}", api.name);
        }
    }
}

#[test]
fn a_mistake_in_the_notation_is_named() {
    for (text, reason) in [
        ("x Fetch", "line 1: no API key"),
        ("1 Fetch\nresponse 0", "line 2: out of place"),
        (
            "1 Fetch\nrequest 0-1\n  a int32 0-x",
            "line 3: not a range of versions",
        ),
        (
            "1 Fetch\nrequest 0-1\n  a int32 sometimes",
            "line 3: an unknown word",
        ),
        ("1 Fetch\nrequest 0-1\n  a Missing", "no struct Missing"),
        (
            "1 Fetch\nrequest 0-1\n  a int32\n    b int32",
            "line 4: indented too far",
        ),
        ("1 Fetch\nrequest 0-1\n  a int32", "a message is missing"),
    ] {
        assert_eq!(parse::parse(text).unwrap_err(), reason, "{text}");
    }
}
