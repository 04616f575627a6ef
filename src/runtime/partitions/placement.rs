//! Where a partition's log lies: found, made, or moved.
//!
//! A log is taken where it is found, and made where metadata says that it is; where metadata says nothing, in the
//! directory that was asked for or holds the fewest. Of two logs that a crash in the swap of a move has left, the one in
//! the assigned directory counts: it was complete when it got its name. A copy alone is never a log.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Partitions, Slot};
use crate::config::BrokerConfig;
use crate::config::broker::{ALL_CORDONED, absolute};
use crate::controller::records::DirectoryId;
use crate::controller::topic_image::PartitionState;
use crate::error::ErrorCode;
use crate::log::{FoundLog, LogConfig, LogDirOffline, PartitionLog, can_be_moved};
use crate::runtime::log_dirs::Place;
use crate::runtime::partition::Partition;
use crate::types::{PartitionId, TimestampMs, TopicId, TopicPartition};

impl Partitions {
    /// The log of a partition that was on disk at the start; others of its name go.
    pub(super) fn found_log(
        &self,
        name: &TopicPartition,
        id: TopicId,
        state: &PartitionState,
        now: TimestampMs,
    ) -> io::Result<Option<FoundLog>> {
        let found = self.found.lock().remove(name).unwrap_or_default();
        // A topic of that name was deleted and made again while this node was away.
        let (mut found, stale): (Vec<FoundLog>, Vec<FoundLog>) = found
            .into_iter()
            .partition(|found| found.log.topic_id() == id);
        for stale in stale {
            self.delete_log(stale.log, now);
        }
        if found.len() < 2 {
            return Ok(found.pop());
        }
        let assigned = self.assigned_directory(state);
        let at = found.iter().position(|found| {
            let place = self.dirs.place_of(found.log.directory());
            assigned.is_some() && place.and_then(Place::id) == assigned
        });
        let Some(at) = at else {
            let dirs: Vec<String> = found
                .iter()
                .map(|found| found.log.directory().display().to_string())
                .collect();
            return Err(io::Error::other(format!(
                "there are several logs of it, and nothing says which is the right one: {}. Move all but one of them \
                 elsewhere, and restart this server",
                dirs.join(", ")
            )));
        };
        let right = found.swap_remove(at);
        for other in found {
            tracing::warn!(dir = %other.log.directory().display(), "a log that has been moved is removed");
            self.delete_log(other.log, now);
        }
        Ok(Some(right))
    }

    /// Goes on with a move that a former life has left.
    pub(super) fn continue_move(
        &self,
        name: &TopicPartition,
        partition: &Arc<Partition>,
        now: TimestampMs,
    ) {
        let Some(future) = self.futures.lock().remove(name) else {
            return;
        };
        let place = self.dirs.place_of(future.log.directory()).cloned();
        match place {
            Some(place)
                if future.log.topic_id() == partition.topic_id
                    && !Arc::ptr_eq(&place.dir, &partition.dir()) =>
            {
                partition.continue_move(future.log, place);
                self.mover.add(Arc::clone(partition));
            }
            _ => self.delete_log(future.log, now),
        }
    }

    /// No empty log beside a copy that is all there is: what it was copied from is somewhere else.
    fn refuse_beside_copy(
        &self,
        name: &TopicPartition,
        id: TopicId,
        place: &Place,
    ) -> io::Result<()> {
        let futures = self.futures.lock();
        let beside = futures.get(name).is_some_and(|future| {
            future.log.topic_id() == id && future.log.directory().starts_with(place.dir.path())
        });
        if beside {
            return Err(io::Error::other(
                "only an unfinished copy of its log is left: the directory it was copied from is offline or gone",
            ));
        }
        Ok(())
    }

    /// Directories that get no new logs from here on; the controller is told where that changes something.
    pub fn cordon(&self, config: &BrokerConfig) {
        let is_cordoned = |dir: &Path| {
            let mut cordoned = config.cordoned_log_dirs.iter();
            cordoned.any(|one| one.as_os_str() == ALL_CORDONED || absolute(one) == dir)
        };
        let mut changed = false;
        for place in self.dirs.places() {
            let cordoned = is_cordoned(place.dir.path());
            changed |= place.dir.set_cordoned(cordoned) != cordoned;
        }
        if changed {
            self.assignments.set_cordoned(self.dirs.cordoned());
        }
    }

    /// AlterReplicaLogDirs for one partition.
    pub fn alter_log_dir(
        &self,
        name: &TopicPartition,
        to: &Path,
        now: TimestampMs,
    ) -> Result<(), ErrorCode> {
        if !can_be_moved(name) {
            return Err(ErrorCode::InvalidTopicException);
        }
        let places = self.dirs.places();
        let place = places.iter().find(|place| place.dir.path() == to);
        let place = place.ok_or(ErrorCode::LogDirNotFound)?;
        if !place.dir.is_online() {
            return Err(ErrorCode::KafkaStorageError);
        }
        if place.dir.is_cordoned() {
            return Err(ErrorCode::InvalidReplicaAssignment);
        }
        let partition = match self.by_name(&name.topic, name.partition) {
            Ok(partition) if partition.is_online() => partition,
            Ok(_) => return Err(ErrorCode::KafkaStorageError),
            Err(ErrorCode::KafkaStorageError) => return Err(ErrorCode::KafkaStorageError),
            Err(code) => {
                self.dirs.prefer(name, place);
                return Err(code);
            }
        };
        let _one_at_a_time = self.altering.lock();
        match partition.future_dir() {
            Some(dir) if Arc::ptr_eq(&dir, &place.dir) => return Ok(()),
            Some(_) => {
                self.delete_future(&partition, now);
                self.note_where_it_is(&partition);
            }
            None => {}
        }
        if Arc::ptr_eq(&partition.dir(), &place.dir) {
            return Ok(());
        }
        if !self.dirs.all_online() {
            // A copy of it may be in a directory that is offline.
            return Err(ErrorCode::KafkaStorageError);
        }
        partition
            .begin_move(&self.logs, place.clone())
            .map_err(|error| {
                tracing::error!(%partition, %error, "a copy of a log cannot be made");
                ErrorCode::KafkaStorageError
            })?;
        self.mover.add(partition);
        Ok(())
    }

    /// Ends a move; the copy's files go.
    pub(super) fn delete_future(&self, partition: &Arc<Partition>, now: TimestampMs) {
        let Some(future) = partition.cancel_move() else {
            return;
        };
        if future.place.dir.is_online()
            && let Err(error) = future.with_log(|log| self.logs.delete(log, now))
        {
            tracing::error!(%partition, %error, "a copy of a log could not be removed");
        }
    }

    /// The controller may have been told of a directory that the log will not move to.
    pub(in crate::runtime) fn note_where_it_is(&self, partition: &Partition) {
        if let Some(id) = partition.dir().id() {
            let id = DirectoryId(id.0);
            self.assignments
                .add(partition.topic_id, partition.index, id);
        }
    }

    /// An empty log, where metadata says that it lies, or where it may lie. An error where a log with records in
    /// it may be out of reach.
    pub(super) fn make_log(
        &self,
        name: &TopicPartition,
        id: TopicId,
        config: LogConfig,
        state: &PartitionState,
    ) -> io::Result<PartitionLog> {
        let assigned = self.assigned_directory(state);
        let is_assigned = |place: &&Place| {
            assigned.is_some() && place.dir.id().map(|id| DirectoryId(id.0)) == assigned
        };
        if let Some(place) = self.dirs.places().iter().find(is_assigned) {
            self.refuse_beside_copy(name, id, place)?;
            return self.logs.create(name, id, config, &place.dir);
        }
        let preferred = self.dirs.take_preferred(name);
        if let Some(dir) = preferred.filter(|_| assigned.is_none()) {
            return self.logs.create(name, id, config, &dir);
        }
        if let Some(assigned) = assigned {
            let id = TopicId(assigned.0);
            return Err(io::Error::other(format!(
                "its log lies in the directory with the id {id}, which is offline or not one of log.dirs"
            )));
        }
        // Said to be nowhere: it is new, or this node has ended before it could say where its log is.
        let is_new = self.started.load(Ordering::Acquire)
            && !matches!(self.slot(id, name.partition), Slot::Offline);
        if !is_new && !self.dirs.all_online() {
            return Err(io::Error::other(
                "its log may lie in a directory that is offline",
            ));
        }
        let mut last = io::Error::other(LogDirOffline);
        for dir in self.logs.dirs_for_new_log() {
            match self.logs.create(name, id, config.clone(), &dir) {
                Ok(log) => return Ok(log),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn assigned_directory(&self, state: &PartitionState) -> Option<DirectoryId> {
        let assigned = state.directory(self.me);
        (!assigned.is_reserved()).then_some(assigned)
    }

    /// With several directories the controller has to know where the log is: a start must not make an
    /// empty one elsewhere. With one only if it believes something else.
    pub(super) fn note_directory(
        &self,
        topic: TopicId,
        index: PartitionId,
        state: &PartitionState,
        partition: &Partition,
    ) {
        let id = partition.dir().id().map(|id| DirectoryId(id.0));
        let told = state.directory(self.me);
        let nothing_told = self.assigned_directory(state).is_none() && told != DirectoryId::LOST;
        if let Some(id) = id
            && told != id
            && (self.dirs.places().len() > 1 || !nothing_told)
        {
            self.assignments.add(topic, index, id);
        }
    }

    /// Of a log that may lie in any of the directories that are offline the controller knows nothing yet, and would
    /// leave clients waiting for this node.
    pub(super) fn note_lost(&self, topic: TopicId, index: PartitionId, state: &PartitionState) {
        if self.assigned_directory(state).is_none() && !self.dirs.all_online() {
            self.assignments.add(topic, index, DirectoryId::LOST);
        }
    }
}
