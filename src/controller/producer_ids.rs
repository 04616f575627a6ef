//! Blocks of producer ids (KIP-730): a broker takes one and hands its ids out by itself. An id is
//! never given twice; what a broker had left when it stopped is lost.

use crate::controller::brokers;
use crate::controller::command::{AllocateProducerIds, ApiError, ProducerIdBlock};
use crate::controller::image::MetadataImage;
use crate::controller::records::{ProducerIdsRecord, Record};
use crate::error::ErrorCode;
use crate::types::ProducerId;

pub const BLOCK_SIZE: i32 = 1000;

pub fn allocate(
    image: &MetadataImage,
    command: &AllocateProducerIds,
) -> Result<(Record, ProducerIdBlock), ApiError> {
    brokers::check_epoch(image, command.broker, command.broker_epoch)?;
    let first = image.next_producer_id();
    let next = first.0.checked_add(i64::from(BLOCK_SIZE)).ok_or_else(|| {
        ApiError::new(
            ErrorCode::UnknownServerError,
            "Exhausted all producerIds as the next block's end producerId has exceeded the int64 type limit",
        )
    })?;
    let record = Record::ProducerIds(ProducerIdsRecord {
        broker: command.broker,
        broker_epoch: command.broker_epoch,
        next_producer_id: ProducerId(next),
    });
    let len = BLOCK_SIZE;
    Ok((record, ProducerIdBlock { first, len }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::delta::MetadataDelta;
    use crate::controller::testing::cluster_of;
    use crate::types::{NodeId, Zxid};

    #[test]
    fn blocks_follow_each_other() {
        let mut image = cluster_of(&[(1, None)]);
        let epoch = image.broker(NodeId(1)).unwrap().epoch;
        let command = AllocateProducerIds {
            broker: NodeId(1),
            broker_epoch: epoch,
        };
        for first in [0, 1000, 2000] {
            let (record, block) = allocate(&image, &command).unwrap();
            assert_eq!((block.first.0, block.len), (first, 1000));
            let next = Zxid(image.applied().0 + 1);
            image
                .replay_all(next, &[record], &mut MetadataDelta::default())
                .unwrap();
        }
        image.next_producer_id = ProducerId(i64::MAX - 999);
        let error = allocate(&image, &command).unwrap_err();
        assert_eq!(error.error, ErrorCode::UnknownServerError);
    }

    #[test]
    fn only_for_the_incarnation_that_is_registered() {
        let image = cluster_of(&[(1, None)]);
        let epoch = image.broker(NodeId(1)).unwrap().epoch;
        let ask = |broker: i32, broker_epoch: Zxid| {
            let command = AllocateProducerIds {
                broker: NodeId(broker),
                broker_epoch,
            };
            allocate(&image, &command).unwrap_err().to_string()
        };
        assert_eq!(
            ask(2, epoch),
            "STALE_BROKER_EPOCH: No broker registration found for broker id 2"
        );
        assert_eq!(
            ask(1, Zxid(epoch.0 + 1)),
            format!(
                "STALE_BROKER_EPOCH: Expected broker epoch {}, but got broker epoch {}",
                epoch.0,
                epoch.0 + 1
            )
        );
    }
}
