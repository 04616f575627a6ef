//! Real input at size: the text that a Debian machine has on disk, through the console producer and a group of three.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};

use crate::{paths, tools, wait};

const LEAST: usize = 1_000_000;
const PARTITIONS: usize = 6;

/// Where text lies on a Debian machine: read in this order until there is enough of it.
const SOURCES: [&str; 10] = [
    "/usr/share/common-licenses",
    "/var/lib/dpkg/status",
    "/var/lib/dpkg/info",
    "/usr/share/doc",
    "/usr/share/perl",
    "/usr/share/perl5",
    "/usr/lib/python3",
    "/usr/include",
    "/usr/share/i18n",
    "/usr/lib/python3.11",
];

/// The lines of real files, each with the file that it is from.
pub struct Corpus {
    files: Vec<String>,
    /// The index of its file, and the line.
    lines: Vec<(usize, String)>,
}

impl Corpus {
    pub fn collect() -> Result<Self> {
        let mut corpus = Self {
            files: Vec::new(),
            lines: Vec::new(),
        };
        for source in SOURCES {
            corpus.add(Path::new(source));
        }
        if !corpus.is_full()
            && let Ok(lists) = Command::new("apt-cache").arg("dumpavail").output()
        {
            corpus.add_text("apt-cache dumpavail", &lists.stdout);
        }
        ensure!(
            corpus.is_full(),
            "this machine has only {} lines of text, of {LEAST}",
            corpus.lines.len()
        );
        Ok(corpus)
    }

    fn is_full(&self) -> bool {
        self.lines.len() >= LEAST
    }

    fn add(&mut self, path: &Path) {
        let Ok(kind) = fs::symlink_metadata(path) else {
            return;
        };
        if self.is_full() {
            return;
        }
        if kind.is_dir() {
            let Ok(entries) = fs::read_dir(path) else {
                return;
            };
            let mut entries: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
            entries.sort();
            entries.iter().for_each(|entry| self.add(entry));
        } else if kind.is_file()
            && let Ok(bytes) = fs::read(path)
        {
            self.add_text(&path.to_string_lossy(), &bytes);
        }
    }

    /// Takes every line of a text; what is not UTF-8 is no text. A line ends where Java's `readLine` ends it.
    fn add_text(&mut self, name: &str, bytes: &[u8]) {
        let Ok(text) = std::str::from_utf8(bytes) else {
            return;
        };
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        let fits = text.lines().all(|line| line.len() < 500_000)
            && !text.contains('\0')
            && !name.contains(['\t', '\n']);
        if fits && !text.is_empty() {
            let file = self.files.len();
            self.files.push(name.to_owned());
            self.lines
                .extend(text.lines().map(|line| (file, line.to_owned())));
        }
    }

    fn key(&self, line: &(usize, String)) -> &str {
        self.files.get(line.0).map_or("", String::as_str)
    }

    /// `key<TAB>value` lines, as the console producer reads them.
    fn write(&self, path: &Path) -> Result<()> {
        let mut out = BufWriter::new(File::create(path)?);
        for line in &self.lines {
            writeln!(out, "{}\t{}", self.key(line), line.1)?;
        }
        Ok(out.flush()?)
    }
}

/// The partition that Kafka's producer gives to a key.
fn partition_of(key: &[u8]) -> usize {
    (murmur2(key) & 0x7fff_ffff) as usize % PARTITIONS
}

/// MurmurHash 2, 32 bits, with Kafka's seed.
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c_u32 ^ data.len() as u32;
    let mut words = data.chunks_exact(4);
    for word in &mut words {
        let k = u32::from_le_bytes([word[0], word[1], word[2], word[3]]).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ (k ^ (k >> 24)).wrapping_mul(M);
    }
    let rest = words.remainder();
    for (index, &byte) in rest.iter().enumerate() {
        hash ^= u32::from(byte) << (8 * index);
    }
    if !rest.is_empty() {
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

struct Read {
    offset: i64,
    key: Box<[u8]>,
    value: Box<[u8]>,
}

/// What the three members were given, by partition, as it came.
struct Shared {
    partitions: [Mutex<Vec<Read>>; PARTITIONS],
    count: AtomicUsize,
    stop: AtomicBool,
}

fn member(address: &str, group: &str, topic: &str) -> Result<BaseConsumer> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", address)
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .set("heartbeat.interval.ms", "500")
        .create()?;
    consumer.subscribe(&[topic])?;
    Ok(consumer)
}

fn owned(consumer: &BaseConsumer) -> Result<BTreeSet<i32>> {
    Ok(consumer
        .assignment()?
        .elements()
        .iter()
        .map(|element| element.partition())
        .collect())
}

pub fn scenario(address: &str) -> Result<()> {
    let corpus = Corpus::collect()?;
    let dir = tempfile::tempdir()?;
    let input = dir.path().join("lines");
    corpus.write(&input)?;
    let (topic, group) = (paths::unique("corpus"), paths::unique("corpus"));
    let partitions = PARTITIONS.to_string();
    let create = [
        "--bootstrap-server",
        address,
        "--create",
        "--topic",
        &topic,
        "--partitions",
        &partitions,
    ];
    tools::ok(tools::TOPICS, &create, "")?;

    // The members first: once they own two partitions each, nothing moves and every record comes once.
    let members = (0..3)
        .map(|_| member(address, &group, &topic))
        .collect::<Result<Vec<_>>>()?;
    wait::until("three members share six partitions", wait::SOON, || {
        let mut all = BTreeSet::new();
        let mut even = true;
        for consumer in &members {
            ensure!(
                consumer
                    .poll(Duration::from_millis(50))
                    .is_none_or(|message| message.is_ok()),
                "a member failed"
            );
            let owned = owned(consumer)?;
            even &= owned.len() == 2;
            all.extend(owned);
        }
        Ok((even && all.len() == PARTITIONS).then_some(()))
    })?;
    let shared = Arc::new(Shared {
        partitions: Default::default(),
        count: AtomicUsize::new(0),
        stop: AtomicBool::new(false),
    });
    let threads: Vec<_> = members
        .into_iter()
        .map(|consumer| {
            let shared = Arc::clone(&shared);
            // No member leaves before all have committed: the others would lose what they own.
            thread::spawn(move || (follow(&consumer, &shared), consumer))
        })
        .collect();

    let produced = produce(address, &topic, &input);
    let wanted = corpus.lines.len();
    let arrived = produced.and_then(|()| {
        wait::until("every line came back", Duration::from_secs(240), || {
            Ok((shared.count.load(Ordering::Relaxed) >= wanted).then_some(()))
        })
        .with_context(|| {
            format!(
                "{} of {wanted} lines came",
                shared.count.load(Ordering::Relaxed)
            )
        })
    });
    shared.stop.store(true, Ordering::Relaxed);
    let followed: Vec<_> = threads.into_iter().map(thread::JoinHandle::join).collect();
    // What went wrong first is said first: a member that was given nothing has nothing to commit either.
    arrived?;
    for member in &followed {
        let Ok((followed, _)) = member else {
            bail!("a member panicked");
        };
        if let Err(error) = followed {
            bail!("{error:#}");
        }
    }
    compare(&corpus, &shared)?;
    check_committed(address, &group, &topic, &shared)
}

fn produce(address: &str, topic: &str, input: &Path) -> Result<()> {
    let args = [
        "--bootstrap-server",
        address,
        "--topic",
        topic,
        "--reader-property",
        "parse.key=true",
        "--reader-property",
        "key.separator=\t",
        // This tool gives up after four times 1.5 s, a disk that is busy with other things' files need not have failed then.
        "--request-timeout-ms",
        "30000",
    ];
    let mut command = tools::command(tools::CONSOLE_PRODUCER, &args, "256m")?;
    let output = command.stdin(Stdio::from(File::open(input)?)).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success() && !said.contains("ERROR"),
        "kafka-console-producer: {}\n{said}",
        output.status
    );
    Ok(())
}

/// Keeps everything that comes until told to stop, then commits.
fn follow(consumer: &BaseConsumer, shared: &Shared) -> Result<()> {
    while !shared.stop.load(Ordering::Relaxed) {
        let Some(message) = consumer.poll(Duration::from_millis(100)) else {
            continue;
        };
        let message = message?;
        let slot = shared
            .partitions
            .get(usize::try_from(message.partition())?)
            .context("a seventh partition")?;
        slot.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Read {
                offset: message.offset(),
                key: message.key().unwrap_or_default().into(),
                value: message.payload().unwrap_or_default().into(),
            });
        shared.count.fetch_add(1, Ordering::Relaxed);
    }
    let mut offsets = TopicPartitionList::new();
    for element in consumer.position()?.elements() {
        if let Offset::Offset(offset) = element.offset() {
            offsets.add_partition_offset(
                element.topic(),
                element.partition(),
                Offset::Offset(offset),
            )?;
        }
    }
    Ok(consumer.commit(&offsets, CommitMode::Sync)?)
}

/// Every partition holds its keys' lines, all of them, in the order in which they were written.
fn compare(corpus: &Corpus, shared: &Shared) -> Result<()> {
    let mut wanted: [Vec<&(usize, String)>; PARTITIONS] = Default::default();
    let of_file: Vec<_> = corpus
        .files
        .iter()
        .map(|file| partition_of(file.as_bytes()))
        .collect();
    for line in &corpus.lines {
        wanted[of_file[line.0]].push(line);
    }
    for (partition, wanted) in wanted.iter().enumerate() {
        let read = shared.partitions[partition]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for (index, (read, &line)) in read.iter().zip(wanted).enumerate() {
            let same = read.offset == index as i64
                && *read.key == *corpus.key(line).as_bytes()
                && *read.value == *line.1.as_bytes();
            if !same {
                let (key, value) = (
                    String::from_utf8_lossy(&read.key),
                    String::from_utf8_lossy(&read.value),
                );
                bail!(
                    "partition {partition}, line {index}: {line:?} came as {key:?} {value:?} at {}",
                    read.offset
                );
            }
        }
        ensure!(
            read.len() == wanted.len(),
            "partition {partition}: {} lines came of {}",
            read.len(),
            wanted.len()
        );
    }
    Ok(())
}

fn check_committed(address: &str, group: &str, topic: &str, shared: &Shared) -> Result<()> {
    let consumer = member(address, group, topic)?;
    let mut asked = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        asked.add_partition(topic, i32::try_from(partition)?);
    }
    for element in consumer.committed_offsets(asked, wait::SOON)?.elements() {
        let count = shared.partitions[usize::try_from(element.partition())?]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len();
        let committed = element.offset().to_raw();
        ensure!(
            count == 0 || committed == Some(count as i64),
            "partition {}: {committed:?}",
            element.partition()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_as_kafka_does() {
        // The values that Kafka's own Utils.murmur2 gives.
        assert_eq!(murmur2(b"21") as i32, -973_932_308);
        assert_eq!(murmur2(b"foobar") as i32, -790_332_482);
    }

    #[test]
    fn splits_lines_as_java_does() {
        let mut corpus = Corpus {
            files: Vec::new(),
            lines: Vec::new(),
        };
        corpus.add_text("x", b"a\r\nb\rc\n\nd");
        corpus.add_text("binary", &[0xff, 0xfe]);
        let lines: Vec<_> = corpus.lines.iter().map(|(_, line)| line.as_str()).collect();
        assert_eq!(lines, ["a", "b", "c", "", "d"]);
        assert_eq!(corpus.files, ["x"]);
    }
}
