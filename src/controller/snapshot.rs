//! The image as the records that rebuild it: the body of a metadata snapshot, and the way a
//! proposal carries its records. Framing, checksums and files are `zab_log`'s.

use minicbor::decode::Decoder;
use minicbor::encode::Encoder;

use crate::controller::delta::MetadataDelta;
use crate::controller::image::MetadataImage;
use crate::controller::records::*;
use crate::controller::replay::ReplayError;
use crate::types::{ProducerId, Zxid};

/// Why bytes are not the records they should be.
#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    #[error("the records cannot be decoded ({0}): they are damaged, or a newer version wrote them")]
    Decode(#[from] minicbor::decode::Error),
    #[error("the records contradict each other: {0}")]
    Replay(#[from] ReplayError),
}

/// The payload of a proposal, behind what is in `into`.
pub fn encode_records(records: &[Record], into: &mut Vec<u8>) {
    let mut encoder = Encoder::new(into);
    for record in records {
        write(&mut encoder, record);
    }
}

pub fn decode_records(bytes: &[u8]) -> Result<Vec<Record>, RecordsError> {
    let mut decoder = Decoder::new(bytes);
    let mut records = Vec::new();
    while decoder.position() < bytes.len() {
        records.push(decoder.decode()?);
    }
    Ok(records)
}

fn write(encoder: &mut Encoder<&mut Vec<u8>>, record: &Record) {
    // The only error a `Vec` can give is none at all.
    let written: Result<_, minicbor::encode::Error<core::convert::Infallible>> =
        encoder.encode(record);
    debug_assert!(written.is_ok());
}

impl MetadataImage {
    /// The body of a snapshot: equal images give equal bytes.
    pub fn to_snapshot(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(1024 + 48 * self.partition_count());
        let mut encoder = Encoder::new(&mut bytes);
        self.for_each_record(|record| write(&mut encoder, &record));
        bytes
    }

    /// The image a snapshot holds, as of `applied`.
    pub fn from_snapshot(bytes: &[u8], applied: Zxid) -> Result<Self, RecordsError> {
        let mut image = MetadataImage::default();
        let mut delta = MetadataDelta::default();
        let mut decoder = Decoder::new(bytes);
        while decoder.position() < bytes.len() {
            let record: Record = decoder.decode()?;
            image.replay(applied, &record, &mut delta)?;
        }
        image.applied = applied;
        Ok(image)
    }

    fn for_each_record(&self, mut write: impl FnMut(Record)) {
        if let Some(cluster_id) = &self.cluster_id {
            let cluster_id = cluster_id.to_string();
            write(Record::Cluster(ClusterRecord { cluster_id }));
        }
        for (name, level) in self.features() {
            let name = name.to_owned();
            write(Record::FeatureLevel(FeatureLevelRecord { name, level }));
        }
        for broker in self.brokers() {
            write(Record::RegisterBroker(RegisterBrokerRecord {
                id: broker.id,
                incarnation: broker.incarnation,
                epoch: Some(broker.epoch),
                endpoints: broker.endpoints.clone(),
                rack: broker.rack.clone(),
                fenced: broker.fenced,
                in_controlled_shutdown: broker.in_controlled_shutdown,
                features: broker.features.clone(),
                directories: broker.directories.clone(),
                cordoned_directories: (!broker.cordoned_directories.is_empty())
                    .then(|| broker.cordoned_directories.clone()),
            }));
        }
        for topic in self.topics() {
            write(Record::Topic(TopicRecord {
                name: topic.name.to_string(),
                id: topic.id,
            }));
            for (index, partition) in topic.partitions() {
                write(Record::Partition(partition.to_record(topic.id, index)));
            }
        }
        for (kind, resources) in &self.configs {
            for (name, overrides) in resources {
                for (key, value) in overrides.iter() {
                    write(Record::Config(ConfigRecord {
                        resource_type: *kind,
                        resource_name: name.to_string(),
                        key: key.clone(),
                        value: Some(value.clone()),
                    }));
                }
            }
        }
        for (node, last) in &self.requests {
            write(Record::Request(RequestRecord {
                node: *node,
                incarnation: last.incarnation,
                seq: last.seq,
                reply: None,
            }));
        }
        if self.next_producer_id > ProducerId(0) {
            write(Record::ProducerIds(ProducerIdsRecord {
                broker: crate::types::NodeId::NONE,
                broker_epoch: Zxid::ZERO,
                next_producer_id: self.next_producer_id,
            }));
        }
    }
}
