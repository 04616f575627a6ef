//! Producer ids for the clients of this broker, out of blocks that the controller hands out
//! (KIP-730). One flush of the metadata pays for a thousand ids.

use tokio::sync::Mutex;

use super::zab_peer::MetadataHandle;
use crate::controller::command::{AllocateProducerIds, ApiError, Command, Reply};
use crate::error::ErrorCode;
use crate::types::{NodeId, ProducerId};

/// Ids that are this broker's to give.
#[derive(Debug, Default)]
pub struct ProducerIdManager {
    left: Mutex<std::ops::Range<i64>>,
}

impl ProducerIdManager {
    /// An id that nobody got before. `me` is this broker.
    pub async fn generate(
        &self,
        me: NodeId,
        metadata: &MetadataHandle,
    ) -> Result<ProducerId, ApiError> {
        // Whoever comes while a block is being asked for waits for that block.
        let mut left = self.left.lock().await;
        if let Some(id) = left.next() {
            return Ok(ProducerId(id));
        }
        let registration = metadata.image().broker(me).map(|broker| broker.epoch);
        let broker_epoch = registration.ok_or(ErrorCode::CoordinatorNotAvailable)?;
        let command = Command::AllocateProducerIds(AllocateProducerIds {
            broker: me,
            broker_epoch,
        });
        let Reply::ProducerIds(block) = metadata.submit(command).await? else {
            return Err(ErrorCode::UnknownServerError.into());
        };
        let block = block?;
        *left = block.first.0..block.first.0 + i64::from(block.len);
        let id = left.next().ok_or(ErrorCode::UnknownServerError)?;
        Ok(ProducerId(id))
    }
}
