use super::*;
use crate::controller::snapshot::{self, decode_records};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// One of each kind, every field filled.
fn every_kind() -> Vec<Record> {
    let topic_id = TopicId(Uuid::from_u128(0x0102));
    let directory = DirectoryId(Uuid::from_u128(0xd0d1));
    let change = PartitionChangeRecord {
        topic_id,
        partition: PartitionId(3),
        replicas: Some(NodeList::from([1, 2])),
        isr: Some(NodeList::from([2])),
        leader: Some(NodeId(2)),
        elr: Some(NodeList::from([1])),
        last_known_elr: Some(NodeList::EMPTY),
        adding_replicas: Some(NodeList::from([4])),
        removing_replicas: Some(NodeList::from([5])),
        directories: Some(vec![directory]),
        recovering: Some(true),
    };
    vec![
        Record::Cluster(ClusterRecord {
            cluster_id: "abc".into(),
        }),
        Record::FeatureLevel(FeatureLevelRecord {
            name: "f".into(),
            level: 7,
        }),
        Record::RegisterBroker(RegisterBrokerRecord {
            id: NodeId(1),
            incarnation: Uuid::from_u128(9),
            epoch: Some(Zxid(5)),
            endpoints: vec![BrokerEndpoint {
                name: "L".into(),
                host: "h".into(),
                port: 9092,
                security_protocol: SecurityProtocol::SaslSsl,
            }],
            rack: Some("r".into()),
            fenced: true,
            in_controlled_shutdown: false,
            features: vec![SupportedFeature {
                name: "f".into(),
                min: 0,
                max: 2,
            }],
            directories: vec![directory],
            cordoned_directories: None,
        }),
        Record::BrokerChange(BrokerChangeRecord {
            id: NodeId(1),
            epoch: Zxid(5),
            fenced: Some(true),
            in_controlled_shutdown: None,
            directories: None,
            cordoned_directories: None,
        }),
        Record::UnregisterBroker(UnregisterBrokerRecord {
            id: NodeId(1),
            epoch: Zxid(5),
        }),
        Record::Topic(TopicRecord {
            name: "t".into(),
            id: topic_id,
        }),
        Record::Partition(PartitionRecord {
            topic_id,
            partition: PartitionId(3),
            replicas: NodeList::from([1, 2]),
            isr: NodeList::from([1]),
            leader: NodeId(1),
            leader_epoch: LeaderEpoch(4),
            partition_epoch: 6,
            elr: None,
            last_known_elr: None,
            adding_replicas: None,
            removing_replicas: None,
            directories: None,
            recovering: None,
        }),
        Record::PartitionChange(change),
        Record::RemoveTopic(RemoveTopicRecord { topic_id }),
        Record::Config(ConfigRecord {
            resource_type: ConfigResourceType::Group,
            resource_name: "g".into(),
            key: "k".into(),
            value: Some("v".into()),
        }),
        Record::ProducerIds(ProducerIdsRecord {
            broker: NodeId(1),
            broker_epoch: Zxid(5),
            next_producer_id: ProducerId(1000),
        }),
        Record::BrokerChange(BrokerChangeRecord {
            id: NodeId(1),
            epoch: Zxid(5),
            fenced: None,
            in_controlled_shutdown: None,
            directories: Some(vec![directory]),
            cordoned_directories: Some(Vec::new()),
        }),
        Record::RegisterBroker(RegisterBrokerRecord {
            id: NodeId(1),
            incarnation: Uuid::from_u128(9),
            epoch: None,
            endpoints: Vec::new(),
            rack: None,
            fenced: false,
            in_controlled_shutdown: false,
            features: Vec::new(),
            directories: vec![directory],
            cordoned_directories: Some(vec![directory]),
        }),
        Record::Request(RequestRecord {
            node: NodeId(1),
            incarnation: Uuid::from_u128(9),
            seq: 300,
            reply: Some(Reply::UnregisterBroker(Ok(()))),
        }),
    ]
}

/// What logs on disks hold. A row is never changed, only added to.
const PINNED: [&str; 14] = [
    "8200818163616263",
    "820181826166 07",
    "820281890150000000000000000000000000000000090581846 14c616819238403 61 72f5f481836166000281500000000000000000000000000000d0d1",
    "8203818301 05f5",
    "820481820105",
    "82058182617450000000000000000000000000000001 02",
    "8206818750000000000000000000000000000001020382010281010104 06",
    "8207818b500000000000000000000000000000010203820102810202810180810481058150000000000000000000000000 0000d0d1f5",
    "820881815000000000000000000000000000000102",
    "8209818418206167616b6176",
    "820a818301051903e8",
    "8203818601 05f6f6 81500000000000000000000000000000d0d1 80",
    "8202818a015000000000000000000000000000000009f680f6f4f480 81500000000000000000000000000000d0d1 81500000000000000000000000000000d0d1",
    "820b818401500000000000000000000000000000000919012c820381820080",
];

fn encode_records(records: &[Record]) -> Vec<u8> {
    let mut bytes = Vec::new();
    snapshot::encode_records(records, &mut bytes);
    bytes
}

#[test]
fn the_bytes_of_every_kind_are_pinned() {
    let records = every_kind();
    let got: Vec<String> = records
        .iter()
        .map(|record| hex(&encode_records(std::slice::from_ref(record))))
        .collect();
    let pinned: Vec<String> = PINNED.iter().map(|row| row.replace(' ', "")).collect();
    assert_eq!(got, pinned);
    for record in &records {
        // A kind without a row would not be pinned.
        match record {
            Record::Cluster(_)
            | Record::FeatureLevel(_)
            | Record::RegisterBroker(_)
            | Record::BrokerChange(_)
            | Record::UnregisterBroker(_)
            | Record::Topic(_)
            | Record::Partition(_)
            | Record::PartitionChange(_)
            | Record::RemoveTopic(_)
            | Record::Config(_)
            | Record::ProducerIds(_)
            | Record::Request(_) => {}
        }
    }
    assert_eq!(decode_records(&encode_records(&records)).unwrap(), records);
}

#[test]
fn a_field_of_a_newer_version_is_skipped_and_one_of_an_older_version_is_none() {
    // [8, [[topic id, "new"]]]
    let newer = [&[0x82, 0x08, 0x81, 0x82, 0x50][..], &[7; 16], b"\x63new"].concat();
    let expected = Record::RemoveTopic(RemoveTopicRecord {
        topic_id: TopicId(Uuid::from_bytes([7; 16])),
    });
    assert_eq!(decode_records(&newer).unwrap(), [expected]);
    // A broker change with its first three fields only.
    let older = [0x82, 0x03, 0x81, 0x83, 0x01, 0x05, 0xf5];
    let records = decode_records(&older).unwrap();
    assert!(matches!(
        records.as_slice(),
        [Record::BrokerChange(change)] if change.in_controlled_shutdown.is_none()
    ));
}

#[test]
fn an_unknown_kind_stops() {
    let error = decode_records(&[0x82, 0x18, 0x63, 0x81, 0x80]).unwrap_err();
    assert!(error.to_string().contains("newer version"), "{error}");
    assert!(decode_records(&encode_records(&every_kind())[..40]).is_err());
}
