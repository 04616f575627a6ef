//! The small text files beside the logs, in Kafka's own formats, each replaced atomically.
//!
//! A file that cannot be read is as good as none: what it says can be found again from the logs (at the
//! cost of reading them), and a broker that would not start over it would help nobody. Except
//! `meta.properties` and `partition.metadata`, which say whose data this is.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::storage::{OpenMode, Storage, read_exact_at, write_atomically};
use crate::types::{LeaderEpoch, Offset, PartitionId, TopicId, TopicPartition};

pub(super) const RECOVERY_POINTS: &str = "recovery-point-offset-checkpoint";
pub(super) const HIGH_WATERMARKS: &str = "replication-offset-checkpoint";
pub(super) const LOG_START_OFFSETS: &str = "log-start-offset-checkpoint";
pub(super) const CLEANER_OFFSETS: &str = "cleaner-offset-checkpoint";
pub(super) const LEADER_EPOCHS: &str = "leader-epoch-checkpoint";
pub(super) const PARTITION_METADATA: &str = "partition.metadata";
pub(super) const META_PROPERTIES: &str = "meta.properties";
pub(super) const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";

/// Reads a small file whole; `None` when there is none.
pub(super) fn read_text(storage: &dyn Storage, path: &Path) -> io::Result<Option<String>> {
    let file = match storage.open(path, OpenMode::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = vec![0; usize::try_from(file.len()?).unwrap_or(usize::MAX)];
    read_exact_at(&*file, &mut bytes, 0)?;
    String::from_utf8(bytes)
        .map(Some)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// The lines of a checkpoint: a version (0), a count, and so many entries. `None` when it is damaged.
fn entries(text: &str) -> Option<Vec<&str>> {
    let mut lines = text.lines();
    if lines.next()? != "0" {
        return None;
    }
    let count: usize = lines.next()?.trim().parse().ok()?;
    let entries: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    (entries.len() == count).then_some(entries)
}

fn checkpoint<T: std::fmt::Display>(entries: impl ExactSizeIterator<Item = T>) -> String {
    use std::fmt::Write as _;
    let mut text = format!("0\n{}\n", entries.len());
    for entry in entries {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{entry}");
    }
    text
}

/// Offsets by partition. A damaged file is logged and read as empty.
pub(super) fn read_offsets(
    storage: &dyn Storage,
    path: &Path,
) -> io::Result<BTreeMap<TopicPartition, Offset>> {
    let Some(text) = read_text(storage, path)? else {
        return Ok(BTreeMap::new());
    };
    let parsed = entries(&text).and_then(|lines| {
        lines
            .into_iter()
            .map(|line| {
                let mut words = line.split(' ');
                let topic = words.next()?;
                let partition = words.next()?.parse().ok()?;
                let offset = words.next()?.parse().ok()?;
                words.next().is_none().then_some(())?;
                Some((TopicPartition::new(topic, partition), Offset(offset)))
            })
            .collect()
    });
    if parsed.is_none() {
        tracing::warn!(path = %path.display(), "a damaged checkpoint is ignored");
    }
    Ok(parsed.unwrap_or_default())
}

pub(super) fn write_offsets(
    storage: &dyn Storage,
    path: &Path,
    offsets: &BTreeMap<TopicPartition, Offset>,
) -> io::Result<()> {
    let lines = offsets
        .iter()
        .map(|(tp, offset)| format!("{} {} {offset}", tp.topic, tp.partition));
    write_atomically(storage, path, checkpoint(lines).as_bytes())
}

/// A partition's epochs and where each began. A damaged file is logged and read as empty.
pub(super) fn read_epochs(
    storage: &dyn Storage,
    path: &Path,
) -> io::Result<Vec<(LeaderEpoch, Offset)>> {
    let Some(text) = read_text(storage, path)? else {
        return Ok(Vec::new());
    };
    let parsed = entries(&text).and_then(|lines| {
        lines
            .into_iter()
            .map(|line| {
                let (epoch, start) = line.split_once(' ')?;
                Some((
                    LeaderEpoch(epoch.parse().ok()?),
                    Offset(start.parse().ok()?),
                ))
            })
            .collect()
    });
    if parsed.is_none() {
        tracing::warn!(path = %path.display(), "a damaged checkpoint is ignored");
    }
    Ok(parsed.unwrap_or_default())
}

pub(super) fn write_epochs(
    storage: &dyn Storage,
    path: &Path,
    epochs: &[(LeaderEpoch, Offset)],
) -> io::Result<()> {
    let lines = epochs
        .iter()
        .map(|(epoch, start)| format!("{epoch} {start}"));
    write_atomically(storage, path, checkpoint(lines).as_bytes())
}

/// Whose topic a partition directory belongs to. Synced with the log's first flush.
pub(super) fn partition_metadata(id: TopicId) -> String {
    format!("version: 0\ntopic_id: {id}")
}

pub(super) fn read_partition_metadata(
    storage: &dyn Storage,
    dir: &Path,
) -> io::Result<Option<TopicId>> {
    let path = dir.join(PARTITION_METADATA);
    let Some(text) = read_text(storage, &path)? else {
        return Ok(None);
    };
    let mut version = None;
    let mut id = None;
    for line in text.lines() {
        match line.split_once(':') {
            Some(("version", value)) => version = Some(value.trim()),
            Some(("topic_id", value)) => id = value.trim().parse().ok(),
            _ => {}
        }
    }
    match (version, id) {
        (Some("0"), Some(id)) => Ok(Some(id)),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{} is damaged", path.display()),
        )),
    }
}

/// `topic-3` is partition 3 of `topic`.
pub(super) fn parse_directory_name(name: &str) -> Option<TopicPartition> {
    let (topic, partition) = name.rsplit_once('-')?;
    let partition: i32 = partition.parse().ok()?;
    (partition >= 0 && !topic.is_empty()).then(|| TopicPartition {
        topic: topic.into(),
        partition: PartitionId(partition),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::memory::MemStorage;

    #[test]
    fn checkpoints_are_written_as_kafka_writes_them() {
        let storage = MemStorage::default();
        let dir = Path::new("/d");
        storage.create_dir_all(dir).unwrap();
        let path = dir.join(RECOVERY_POINTS);
        let offsets = BTreeMap::from([
            (TopicPartition::new("a", 0), Offset(5)),
            (TopicPartition::new("b.c_d-e", 11), Offset(0)),
        ]);
        write_offsets(&storage, &path, &offsets).unwrap();
        let text = read_text(&storage, &path).unwrap().unwrap();
        assert_eq!(text, "0\n2\na 0 5\nb.c_d-e 11 0\n");
        assert_eq!(read_offsets(&storage, &path).unwrap(), offsets);

        let epochs = [(LeaderEpoch(0), Offset(0)), (LeaderEpoch(4), Offset(99))];
        let path = dir.join(LEADER_EPOCHS);
        write_epochs(&storage, &path, &epochs).unwrap();
        let text = read_text(&storage, &path).unwrap().unwrap();
        assert_eq!(text, "0\n2\n0 0\n4 99\n");
        assert_eq!(read_epochs(&storage, &path).unwrap(), epochs);
    }

    #[test]
    fn a_damaged_checkpoint_is_none() {
        let storage = MemStorage::default();
        let dir = Path::new("/d");
        storage.create_dir_all(dir).unwrap();
        let path = dir.join("c");
        for text in [
            "",
            "1\n0\n",
            "0\n2\na 0 5\n",
            "0\n1\na 0\n",
            "0\nx\n",
            "0\n1\na 0 5 6\n",
        ] {
            write_atomically(&storage, &path, text.as_bytes()).unwrap();
            assert!(
                read_offsets(&storage, &path).unwrap().is_empty(),
                "{text:?}"
            );
        }
    }

    #[test]
    fn a_directory_is_named_by_its_partition() {
        assert_eq!(
            parse_directory_name("a-b-12"),
            Some(TopicPartition::new("a-b", 12))
        );
        for other in ["zab", "a-", "-1", "a-b", "t-0.6c1b-delete", "a--1x"] {
            assert_eq!(parse_directory_name(other), None, "{other}");
        }
    }
}
