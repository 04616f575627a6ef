//! Records against the bytes of Apache Kafka 4.4.0's own serializers, every version of them.

use super::*;

fn hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

fn offset_value() -> OffsetCommitValue {
    OffsetCommitValue {
        offset: Offset(123_456_789_012),
        leader_epoch: LeaderEpoch(5),
        metadata: "meta".into(),
        commit_timestamp: TimestampMs(1_700_000_000_000),
        expire_timestamp: None,
        topic_id: TopicId::ZERO,
    }
}

fn group_value() -> GroupMetadataValue {
    let member = |id: &str, client: &str| MemberMetadata {
        member_id: id.into(),
        group_instance_id: None,
        client_id: client.into(),
        client_host: "/127.0.0.1".into(),
        rebalance_timeout_ms: 60_000,
        session_timeout_ms: 45_000,
        subscription: Bytes::new(),
        assignment: Bytes::new(),
    };
    GroupMetadataValue {
        protocol_type: "consumer".into(),
        generation: 3,
        protocol: Some("range".into()),
        leader: Some("m-1".into()),
        state_timestamp: Some(TimestampMs(1_700_000_000_000)),
        members: vec![
            MemberMetadata {
                subscription: Bytes::from_static(&[1, 2, 3]),
                assignment: Bytes::from_static(&[4, 5]),
                ..member("m-1", "c1")
            },
            MemberMetadata {
                group_instance_id: Some("i-2".into()),
                ..member("m-2", "c2")
            },
        ],
    }
}

// All hex below comes from Apache Kafka 4.4.0's own serializers.
const OFFSET_KEY: &str = "00010003677270000674c3b870696300000007";
const GROUP_KEY: &str = "00020003677270";

fn offset_record(value: Option<OffsetCommitValue>) -> Record {
    Record::OffsetCommit {
        group: "grp".into(),
        topic: "tøpic".into(),
        partition: 7,
        value,
    }
}

fn group_record(value: Option<GroupMetadataValue>) -> Record {
    Record::GroupMetadata {
        group: "grp".into(),
        value,
    }
}

#[test]
fn writes_the_bytes_that_kafka_writes() {
    let with_id = OffsetCommitValue {
        offset: Offset(1),
        leader_epoch: LeaderEpoch::UNKNOWN,
        metadata: "".into(),
        commit_timestamp: TimestampMs(2),
        expire_timestamp: None,
        topic_id: TopicId(Uuid::from_u128(0x0123_4567_89ab_cdef_fedc_ba98_7654_3210)),
    };
    let with_expiry = OffsetCommitValue {
        expire_timestamp: Some(TimestampMs(1_700_000_060_000)),
        ..offset_value()
    };
    let empty = GroupMetadataValue {
        protocol_type: "".into(),
        generation: 0,
        protocol: None,
        leader: None,
        state_timestamp: Some(TimestampMs(1_700_000_000_000)),
        members: Vec::new(),
    };
    let cases = [
        (
            offset_record(Some(offset_value())),
            OFFSET_KEY,
            "00040000001cbe991a1400000005056d6574610000018bcfe5680000",
        ),
        (
            offset_record(Some(with_id)),
            OFFSET_KEY,
            "00040000000000000001ffffffff0100000000000000020100100123456789abcdeffedcba9876543210",
        ),
        (
            offset_record(Some(with_expiry)),
            OFFSET_KEY,
            "00010000001cbe991a1400046d6574610000018bcfe568000000018bcfe65260",
        ),
        (
            group_record(Some(group_value())),
            GROUP_KEY,
            "00030008636f6e73756d657200000003000572616e676500036d2d310000018bcfe568000000000200036d2d31ffff00026331000a2f3132372e302e302e310000ea600000afc80000000301020300000002040500036d2d320003692d3200026332000a2f3132372e302e302e310000ea600000afc80000000000000000",
        ),
        (
            group_record(Some(empty)),
            GROUP_KEY,
            "0003000000000000ffffffff0000018bcfe5680000000000",
        ),
    ];
    for (record, key, value) in cases {
        assert_eq!(record.encode(), (hex(key), Some(hex(value))), "{record:?}");
    }
    assert_eq!(offset_record(None).encode(), (hex(OFFSET_KEY), None));
    assert_eq!(group_record(None).encode(), (hex(GROUP_KEY), None));
}

#[test]
fn reads_every_version_of_an_offset_commit() {
    let no_epoch = OffsetCommitValue {
        leader_epoch: LeaderEpoch::UNKNOWN,
        ..offset_value()
    };
    let expiring = OffsetCommitValue {
        expire_timestamp: Some(TimestampMs(1_700_000_060_000)),
        ..no_epoch.clone()
    };
    let cases = [
        (
            "00000000001cbe991a1400046d6574610000018bcfe56800",
            no_epoch.clone(),
        ),
        (
            "00010000001cbe991a1400046d6574610000018bcfe568000000018bcfe65260",
            expiring,
        ),
        (
            "00020000001cbe991a1400046d6574610000018bcfe56800",
            no_epoch.clone(),
        ),
        (
            "00030000001cbe991a140000000500046d6574610000018bcfe56800",
            offset_value(),
        ),
        (
            "00040000001cbe991a1400000005056d6574610000018bcfe5680000",
            offset_value(),
        ),
    ];
    for (bytes, value) in cases {
        assert_eq!(
            Record::decode(Some(&hex(OFFSET_KEY)), Some(&hex(bytes))),
            Ok(Decoded::Record(offset_record(Some(value)))),
            "{bytes}"
        );
    }
    // The key version of brokers before 0.9 had the same fields.
    assert_eq!(
        Record::decode(
            Some(&hex("00000003677270000674c3b870696300000007")),
            Some(&hex("00000000001cbe991a1400046d6574610000018bcfe56800"))
        ),
        Ok(Decoded::Record(offset_record(Some(no_epoch))))
    );
}

#[test]
fn reads_every_version_of_a_group() {
    let version = |version: i16| {
        let mut value = group_value();
        if version < 2 {
            value.state_timestamp = None;
        }
        for member in &mut value.members {
            if version < 3 {
                member.group_instance_id = None;
            }
            if version < 1 {
                member.rebalance_timeout_ms = 45_000;
            }
        }
        value
    };
    let cases = [
        "00000008636f6e73756d657200000003000572616e676500036d2d310000000200036d2d3100026331000a2f3132372e302e302e310000afc80000000301020300000002040500036d2d3200026332000a2f3132372e302e302e310000afc80000000000000000",
        "00010008636f6e73756d657200000003000572616e676500036d2d310000000200036d2d3100026331000a2f3132372e302e302e310000ea600000afc80000000301020300000002040500036d2d3200026332000a2f3132372e302e302e310000ea600000afc80000000000000000",
        "00020008636f6e73756d657200000003000572616e676500036d2d310000018bcfe568000000000200036d2d3100026331000a2f3132372e302e302e310000ea600000afc80000000301020300000002040500036d2d3200026332000a2f3132372e302e302e310000ea600000afc80000000000000000",
        "00030008636f6e73756d657200000003000572616e676500036d2d310000018bcfe568000000000200036d2d31ffff00026331000a2f3132372e302e302e310000ea600000afc80000000301020300000002040500036d2d320003692d3200026332000a2f3132372e302e302e310000ea600000afc80000000000000000",
        "000409636f6e73756d6572000000030672616e6765046d2d310000018bcfe5680003046d2d31000363310b2f3132372e302e302e310000ea600000afc80401020303040500046d2d3204692d320363320b2f3132372e302e302e310000ea600000afc801010000",
    ];
    for (number, bytes) in cases.into_iter().enumerate() {
        assert_eq!(
            Record::decode(Some(&hex(GROUP_KEY)), Some(&hex(bytes))),
            Ok(Decoded::Record(group_record(Some(version(number as i16))))),
            "version {number}"
        );
    }
}

#[test]
fn leaves_other_kinds_of_groups_alone() {
    assert_eq!(
        Record::decode(Some(&hex("00030003677270")), Some(&[0xff; 9])),
        Ok(Decoded::UnknownKey { version: 3 })
    );
}

#[test]
fn says_no_to_what_it_cannot_read() {
    let value = hex("0003000000000000ffffffff0000018bcfe5680000000000");
    assert_eq!(Record::decode(None, None), Err(RecordError::NoKey));
    for end in 0..value.len() {
        assert!(Record::decode(Some(&hex(GROUP_KEY)), Some(&value[..end])).is_err());
    }
    assert_eq!(
        Record::decode(Some(&hex(GROUP_KEY)), Some(&[0, 5])),
        Err(RecordError::UnknownVersion {
            what: "a group",
            version: 5
        })
    );
    // Members claimed: two thousand millions; bytes left: none.
    let boast = hex("0003000000000000ffffffff0000018bcfe568007fffffff");
    assert!(Record::decode(Some(&hex(GROUP_KEY)), Some(&boast)).is_err());
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(key: Vec<u8>, value: Vec<u8>, version in 0i16..6, kind in 0i16..3) {
        let _ = Record::decode(Some(&key), Some(&value));
        let mut versioned = version.to_be_bytes().to_vec();
        versioned.extend(&value);
        let mut named = kind.to_be_bytes().to_vec();
        named.extend(hex("0003677270000674c3b870696300000007"));
        let _ = Record::decode(Some(&named), Some(&versioned));
    }
}
