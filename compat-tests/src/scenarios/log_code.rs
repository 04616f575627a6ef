//! Kafka's log code and ours on the same directories: whatever state they are in, both must make the same log of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use ::dohle::protocol::record_batch::Batches;
use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::{OnBroker, Test};
use crate::kafka_log::{KafkaLog, Opening};
use crate::our_log::{OurLog, files};

const OPTIONS: [(&str, &str); 3] = [
    ("internal.segment.bytes", "4096"),
    ("index.interval.bytes", "256"),
    ("segment.index.bytes", "4096"),
];

/// Of the logs that are made, each of so many steps.
const SEEDS: [u64; 3] = [1, 2, 3];
const STEPS: usize = 90;

pub fn listed() -> Vec<Test> {
    let scenarios: [(&str, OnBroker); 2] = [
        (
            "kafka_log_code_opens_the_same_log",
            kafka_and_we_open_the_same,
        ),
        ("kafka_dump_log_reads_transactions", dump),
    ];
    scenarios
        .into_iter()
        .map(|(name, scenario)| {
            Test::new(format!("dohle::{name}"), scenario)
                .needs(super::tools::NEEDS)
                .ours_only()
        })
        .collect()
}

/// A segment of a log, by where it stands.
#[derive(Debug, Clone, Copy)]
enum Which {
    Middle,
    Last,
}

#[derive(Debug, Clone)]
enum Edit {
    /// So many bytes less.
    Cut(Which, &'static str, u64),
    Append(Which, &'static str, Vec<u8>),
    /// One bit in the last byte of the batch that is so many batches from the end.
    Flip(Which, usize),
    Replace(Which, &'static str, Vec<u8>),
    Remove(Which, &'static str),
    /// Every file with the ending.
    RemoveAll(&'static str),
    /// The newest file with the ending loses its last byte.
    CutNewest(&'static str),
    Create(&'static str, Vec<u8>),
    /// Every file of a segment once more, under another ending: as a cleaner has made it to take the segment's place.
    Twice(Which, &'static str),
}

/// Where recovery begins.
#[derive(Debug, Clone, Copy)]
enum From {
    Clean,
    Start,
    /// The base of the segment in the middle.
    Middle,
    End,
}

struct Case {
    name: &'static str,
    /// Of logs that were closed, that were not, or of both.
    closed: &'static [bool],
    edits: Vec<Edit>,
    from: &'static [From],
    /// The log's start, in parts of its length: 0 to 8, and beyond its end.
    log_start: i64,
}

fn case(
    name: &'static str,
    closed: &'static [bool],
    edits: Vec<Edit>,
    from: &'static [From],
) -> Case {
    Case {
        name,
        closed,
        edits,
        from,
        log_start: 0,
    }
}

const BOTH: &[bool] = &[true, false];
const CLOSED: &[bool] = &[true];
const CRASHED: &[From] = &[From::Start, From::Middle, From::End];
/// The last segment's batches are beyond the recovery point. What lies below is on disk whole, so that we do not read it
/// again; Kafka does, as far as the segment goes, and cuts off what was promised where a bit has changed since.
const UNSURE: &[From] = &[From::Start, From::Middle];

fn cases() -> Vec<Case> {
    use Edit::*;
    use Which::*;
    let noise: Vec<u8> = (0..90u8).map(|n| n.wrapping_mul(151) ^ 0x5a).collect();
    let mut huge = vec![0; 61];
    huge[8..12].copy_from_slice(&0x7fff_0000_i32.to_be_bytes());
    huge[16] = 2;
    // Version, producer, first, last and last stable offset: a transaction that ended before its segment.
    let mut stray = vec![0; 34];
    stray[33] = 1;
    let mut cases = vec![
        case("closed clean", CLOSED, vec![], &[From::Clean]),
        case("whole", BOTH, vec![], CRASHED),
        case("a byte short", BOTH, vec![Cut(Last, "log", 1)], CRASHED),
        case("cut in a batch", BOTH, vec![Cut(Last, "log", 40)], CRASHED),
        case(
            "several batches short",
            BOTH,
            vec![Cut(Last, "log", 700)],
            CRASHED,
        ),
        case(
            "short in the middle",
            BOTH,
            vec![Cut(Middle, "log", 3)],
            &[From::Start],
        ),
        case(
            "zeros behind",
            BOTH,
            vec![Append(Last, "log", vec![0; 300])],
            CRASHED,
        ),
        case(
            "few zeros behind",
            BOTH,
            vec![Append(Last, "log", vec![0; 9])],
            CRASHED,
        ),
        case(
            "noise behind",
            BOTH,
            vec![Append(Last, "log", noise.clone())],
            CRASHED,
        ),
        case(
            "a batch without an end",
            BOTH,
            vec![Append(Last, "log", huge)],
            CRASHED,
        ),
        case("a wrong bit at the end", BOTH, vec![Flip(Last, 0)], UNSURE),
        case("a wrong bit", BOTH, vec![Flip(Last, 2)], UNSURE),
        case("a wrong bit early", BOTH, vec![Flip(Middle, 3)], UNSURE),
        case(
            "an empty end",
            BOTH,
            vec![Replace(Last, "log", vec![])],
            CRASHED,
        ),
        case("no indexes", BOTH, vec![RemoveAll("index")], &[From::Start]),
        case(
            "an index missing",
            CLOSED,
            vec![Remove(Middle, "index")],
            &[From::Clean, From::Start],
        ),
        case(
            "a time index missing",
            CLOSED,
            vec![Remove(Middle, "timeindex")],
            &[From::Start],
        ),
        case(
            "the last indexes missing",
            BOTH,
            vec![Remove(Last, "index"), Remove(Last, "timeindex")],
            CRASHED,
        ),
        case(
            "noise for indexes",
            BOTH,
            vec![
                Replace(Last, "index", noise.clone()),
                Replace(Last, "timeindex", noise),
            ],
            &[From::Start],
        ),
        case(
            "no transaction index",
            BOTH,
            vec![RemoveAll("txnindex")],
            &[From::Start],
        ),
        case(
            "another's transaction index",
            CLOSED,
            vec![Replace(Last, "txnindex", stray)],
            &[From::Clean, From::Start],
        ),
        case(
            "an index without a log",
            BOTH,
            vec![Create("00000000000000099999.txnindex", vec![1; 34])],
            CRASHED,
        ),
        case("no snapshots", BOTH, vec![RemoveAll("snapshot")], CRASHED),
        case(
            "a damaged snapshot",
            CLOSED,
            vec![CutNewest("snapshot")],
            &[From::Clean, From::Start],
        ),
        case(
            "damaged snapshots",
            BOTH,
            vec![CutNewest("snapshot")],
            CRASHED,
        ),
        case(
            "no epochs",
            // Where an index is missing, too, Kafka takes the last epoch for the only one.
            CLOSED,
            vec![RemoveAll("leader-epoch-checkpoint")],
            &[From::Start],
        ),
        case(
            "files on their way out",
            BOTH,
            vec![
                Create("00000000000000000000.log.deleted", vec![7; 100]),
                Create("00000000000000000003.snapshot.deleted", vec![7; 10]),
                Create("00000000000000000000.log.cleaned", vec![7; 100]),
                Create("00000000000000000000.index.cleaned", vec![]),
            ],
            CRASHED,
        ),
    ];
    let gone = ["index", "timeindex", "txnindex"].map(|suffix| Remove(Middle, suffix));
    let swapped = |also: Vec<Edit>| [vec![Twice(Middle, ".swap")], also].concat();
    cases.extend([
        case("a swap begun", BOTH, swapped(vec![]), CRASHED),
        case(
            "all indexes of a segment missing",
            BOTH,
            gone.to_vec(),
            CRASHED,
        ),
        case(
            "all indexes missing after a clean stop",
            CLOSED,
            gone.to_vec(),
            &[From::Clean],
        ),
        case(
            "a swap half done",
            BOTH,
            swapped([&gone[..], &[Remove(Middle, "log")]].concat()),
            CRASHED,
        ),
        case(
            "a swap and half the old files",
            BOTH,
            swapped(vec![Remove(Middle, "log")]),
            CRASHED,
        ),
        case(
            "cleaned and not swapped",
            BOTH,
            vec![Twice(Middle, ".cleaned")],
            CRASHED,
        ),
        case(
            "a swap behind what is not swapped",
            BOTH,
            swapped(vec![Twice(Middle, ".cleaned")]),
            CRASHED,
        ),
    ]);
    for log_start in [1, 4, 8, 9] {
        cases.push(Case {
            log_start,
            ..case("started later", BOTH, vec![], CRASHED)
        });
    }
    cases
}

fn segment(dir: &Path, which: Which) -> Result<PathBuf> {
    let logs: Vec<PathBuf> = files(dir, ".log")?
        .into_iter()
        .filter(|path| fs::metadata(path).is_ok_and(|file| file.len() > 0))
        .collect();
    let at = match which {
        Which::Middle => logs.len() / 2,
        Which::Last => logs.len() - 1,
    };
    logs.get(at).cloned().context("no segments")
}

impl Edit {
    fn apply(&self, dir: &Path) -> Result<()> {
        let change = |which: Which, suffix: &str, how: &dyn Fn(&mut Vec<u8>)| -> Result<()> {
            let path = segment(dir, which)?.with_extension(suffix);
            let mut bytes = fs::read(&path).unwrap_or_default();
            how(&mut bytes);
            Ok(fs::write(path, bytes)?)
        };
        match self {
            Edit::Cut(which, suffix, by) => change(*which, suffix, &|bytes| {
                bytes.truncate(bytes.len().saturating_sub(*by as usize));
            }),
            Edit::Append(which, suffix, more) => {
                change(*which, suffix, &|bytes| bytes.extend_from_slice(more))
            }
            Edit::Flip(which, from_end) => change(*which, "log", &|bytes| {
                let sizes: Vec<usize> = Batches::new(bytes)
                    .flatten()
                    .map(|(header, _)| header.size_in_bytes())
                    .collect();
                let behind: usize = sizes.iter().rev().take(*from_end % sizes.len()).sum();
                let at = sizes.iter().sum::<usize>() - behind - 1;
                bytes[at] ^= 0x10;
            }),
            Edit::Replace(which, suffix, with) => {
                change(*which, suffix, &|bytes| bytes.clone_from(with))
            }
            Edit::Remove(which, suffix) => {
                let path = segment(dir, *which)?.with_extension(suffix);
                // A killed broker may not have written it.
                if path.exists() {
                    fs::remove_file(path)?;
                }
                Ok(())
            }
            Edit::RemoveAll(suffix) => {
                for path in files(dir, suffix)? {
                    fs::remove_file(path)?;
                }
                Ok(())
            }
            Edit::CutNewest(suffix) => {
                let newest = files(dir, suffix)?.pop().context("none")?;
                let bytes = fs::read(&newest)?;
                let short = bytes.split_last().context("empty")?.1;
                Ok(fs::write(newest, short)?)
            }
            Edit::Twice(which, ending) => {
                let log = segment(dir, *which)?;
                for suffix in ["log", "index", "timeindex", "txnindex"] {
                    let path = log.with_extension(suffix);
                    if path.exists() {
                        fs::copy(&path, log.with_extension(format!("{suffix}{ending}")))?;
                    }
                }
                Ok(())
            }
            Edit::Create(name, bytes) => Ok(fs::write(dir.join(name), bytes)?),
        }
    }
}

fn copy(from: &Path, to: &Path) -> Result<PathBuf> {
    // Kafka's log code knows a partition by its directory's name.
    let to = to.join("t-0");
    fs::create_dir_all(&to)?;
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        fs::copy(&path, to.join(path.file_name().context("no name")?))?;
    }
    Ok(to)
}

/// What readers of the files go by, once they are closed. Kafka leaves room behind the entries of an index.
fn closed_files(dir: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut found = BTreeMap::new();
    for ending in [".log", ".index", ".timeindex", ".txnindex"] {
        for path in files(dir, ending)? {
            let mut bytes = fs::read(&path)?;
            if ending != ".log" {
                let end = bytes.iter().rposition(|byte| *byte != 0);
                bytes.truncate(end.map_or(0, |end| end + 1));
            }
            if !bytes.is_empty() {
                let name = path.file_name().context("no name")?;
                found.insert(name.to_string_lossy().into_owned(), bytes);
            }
        }
    }
    Ok(found)
}

fn end_of(lines: &[String]) -> Result<i64> {
    let first = lines.first().context("nothing")?;
    let end = first.split_whitespace().nth(3).context("no end")?;
    Ok(end.trim_end_matches(',').parse()?)
}

fn base_of(path: &Path) -> Result<i64> {
    Ok(path
        .file_stem()
        .context("no name")?
        .to_string_lossy()
        .parse()?)
}

/// What both must say. After a crash Kafka forgets what its producers did before the log's start, and finds no time behind a
/// segment that lies before it; we do not.
fn relevant(lines: &[String], kafka: &[String], log_start: i64) -> Vec<String> {
    let number = |words: &[&str], at: usize| words[at].parse::<i64>().unwrap_or(0);
    let mut kept = Vec::new();
    for line in lines {
        let words: Vec<&str> = line.split(' ').collect();
        let known = || {
            let start = format!("producer {} ", words[1]);
            kafka.iter().any(|line| line.starts_with(&start))
        };
        match words[0] {
            // Kafka makes the file of a segment before anything is in it.
            "segment" if words[3] == "0" => {}
            "time" if log_start > 0 => {}
            "producer" if log_start > 0 => {
                let open = number(&words, 13);
                let open = if open < 0 { open } else { open.max(log_start) };
                if known() {
                    kept.push(format!(
                        "{} {} {open}",
                        words[..4].join(" "),
                        words[6..11].join(" ")
                    ));
                }
            }
            "aborted" if log_start > 0 => {
                let (first, last) = (number(&words, 3), number(&words, 5));
                let known = || {
                    let (start, end) = (format!("aborted {} ", words[1]), format!(" to {last} "));
                    let told = |line: &String| line.starts_with(&start) && line.contains(&end);
                    kafka.iter().any(told)
                };
                if last >= log_start && (first >= log_start || known()) {
                    let first = first.max(log_start);
                    kept.push(format!("aborted {} from {first} to {}", words[1], words[5]));
                }
            }
            _ => kept.push(line.clone()),
        }
    }
    kept
}

struct Judges {
    kafka: KafkaLog,
    ours: OurLog,
    work: tempfile::TempDir,
    opened: usize,
    differing: Vec<String>,
}

impl Judges {
    fn check(&mut self, case: &Case, base: &Path, end: i64, closed: bool) -> Result<()> {
        for from in case.from {
            let what = format!(
                "{} ({}, start {}), from {from:?}: {}",
                case.name,
                if closed { "closed" } else { "killed" },
                case.log_start,
                base.display()
            );
            self.opened += 1;
            let root = self.work.path().join(self.opened.to_string());
            let theirs = copy(base, &root.join("kafka"))?;
            let log_start = end * case.log_start / 8;
            let opening = Opening {
                clean: matches!(from, From::Clean),
                recovery_point: match from {
                    From::Start => 0,
                    From::Middle => base_of(&segment(&theirs, Which::Middle)?)?,
                    From::Clean | From::End => end,
                },
                log_start,
            };
            for edit in &case.edits {
                edit.apply(&theirs).with_context(|| what.clone())?;
            }
            let ours = copy(&theirs, &root.join("dohle"))?;
            let kafka_says = self.kafka.open(&theirs, opening);
            let we_say = self.ours.open(&ours, opening);
            let (kafka_says, we_say) = match (kafka_says, we_say) {
                (Ok(kafka), Ok(we)) => {
                    let told = relevant(&kafka, &kafka, log_start);
                    (Ok(told), Ok(relevant(&we, &kafka, log_start)))
                }
                errors => errors,
            };
            match (kafka_says, we_say) {
                (Ok(kafka), Ok(we)) if kafka == we && log_start > 0 => {}
                (Ok(kafka), Ok(we)) if kafka == we => {
                    let (kafka, we) = (closed_files(&theirs)?, closed_files(&ours)?);
                    let names: BTreeSet<&String> = kafka.keys().chain(we.keys()).collect();
                    for name in names {
                        let (kafka, we) = (kafka.get(name), we.get(name));
                        if kafka != we {
                            let bytes = |file: Option<&Vec<u8>>| file.map(Vec::len);
                            self.differing.push(format!(
                                "{what}: {name} has {:?} bytes, ours {:?}",
                                bytes(kafka),
                                bytes(we)
                            ));
                        }
                    }
                }
                (Ok(kafka), Ok(we)) => {
                    let lines = kafka.iter().zip(&we).filter(|(kafka, we)| kafka != we);
                    let first: Vec<String> = lines
                        .take(4)
                        .map(|(kafka, we)| format!("  Kafka: {kafka}\n  dohle: {we}"))
                        .collect();
                    self.differing.push(format!(
                        "{what}: {} and {} lines\n{}",
                        kafka.len(),
                        we.len(),
                        first.join("\n")
                    ));
                }
                (kafka, we) => self.differing.push(format!(
                    "{what}: Kafka: {:?}, dohle: {:?}",
                    kafka.err().map(|error| error.to_string()),
                    we.err().map(|error| error.to_string())
                )),
            }
            fs::remove_dir_all(root)?;
        }
        Ok(())
    }
}

/// In memory where there is such a place: every log that is opened is synced.
fn work_dir() -> Result<tempfile::TempDir> {
    let memory = Path::new("/dev/shm");
    Ok(match memory.is_dir() {
        true => tempfile::tempdir_in(memory)?,
        false => tempfile::tempdir()?,
    })
}

fn ours() -> OurLog {
    OurLog {
        options: OPTIONS.iter().copied().collect(),
    }
}

/// Kafka's tool prints every file of a log of ours, and finds each entry of an index where it says.
fn dump(_shared: &str) -> Result<()> {
    let work = work_dir()?;
    let dir = work.path().join("t-0");
    let written = ours().write(&dir, 5, 300, true)?;
    let paths = |ending| -> Result<Vec<String>> {
        let found = files(&dir, ending)?.into_iter();
        let full = found.filter(|path| fs::metadata(path).is_ok_and(|file| file.len() > 0));
        Ok(full
            .map(|path| path.to_string_lossy().into_owned())
            .collect())
    };
    let counted = |what: &str| written.iter().filter(|line| line.starts_with(what)).count();
    let logs = paths(".log")?.join(",");
    let out = dump_files(&["--files", &logs, "--deep-iteration", "--print-data-log"])?;
    let (mut records, mut markers) = (0, 0);
    for line in out.lines() {
        records += usize::from(line.contains("| offset: "));
        markers += usize::from(line.contains("endTxnMarker: "));
    }
    let wanted: usize = written
        .iter()
        .filter(|line| line.starts_with("segment"))
        .map(|line| line.split(' ').nth(7).unwrap_or("0").parse().unwrap_or(0))
        .sum();
    ensure!(
        records == wanted && markers > 20,
        "{records} of {wanted}, {markers} markers"
    );

    let indexes = paths(".index")?.join(",");
    let out = dump_files(&["--files", &indexes, "--index-sanity-check"])?;
    let passed = out.matches("passed sanity check").count();
    ensure!(passed == paths(".index")?.len(), "{out}");
    dump_files(&["--files", &indexes, "--verify-index-only"])?;
    let times = paths(".timeindex")?.join(",");
    dump_files(&["--files", &times, "--index-sanity-check"])?;
    dump_files(&[
        "--files",
        &[indexes, times].join(","),
        "--verify-index-only",
    ])?;

    let out = dump_files(&["--files", &paths(".txnindex")?.join(",")])?;
    let aborted = out.matches("producerId: ").count();
    ensure!(
        aborted > 10 && aborted == counted("aborted"),
        "{aborted}: {out}"
    );
    let out = dump_files(&["--files", paths(".snapshot")?.last().context("none")?])?;
    let producers = out.matches("producerId: ").count();
    ensure!(producers == counted("producer"), "{out}");
    ensure!(out.contains("coordinatorEpoch: 3"), "{out}");
    Ok(())
}

fn dump_files(args: &[&str]) -> Result<String> {
    let out = super::dohle::dump(args)?;
    let complaint = out.lines().find(|line| {
        [
            "Mismatch",
            "Found timestamp",
            "out of order",
            "non-consecutive",
        ]
        .iter()
        .any(|words| line.contains(words))
    });
    ensure!(complaint.is_none(), "{args:?}: {complaint:?}");
    Ok(out)
}

fn kafka_and_we_open_the_same(_shared: &str) -> Result<()> {
    let options = || OPTIONS.iter().map(|(name, value)| (*name, *value));
    let configs: serde_json::Map<String, Value> = options()
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    let mut judges = Judges {
        kafka: KafkaLog::start(configs.into())?,
        ours: ours(),
        work: work_dir()?,
        opened: 0,
        differing: Vec::new(),
    };
    for seed in SEEDS {
        for closed in [true, false] {
            for writer in ["kafka", "dohle"] {
                let base = judges.work.path().join(format!("{writer}-{seed}-{closed}"));
                let base = base.join("t-0");
                fs::create_dir_all(&base)?;
                let written = if writer == "kafka" {
                    judges.kafka.write(&base, seed, STEPS, closed)?
                } else {
                    judges.ours.write(&base, seed, STEPS, closed)?
                };
                let end = end_of(&written)?;
                ensure!(
                    files(&base, ".log")?.len() > 3,
                    "{writer} {seed}: {written:?}"
                );
                for case in cases() {
                    if case.closed.contains(&closed) {
                        judges.check(&case, &base, end, closed)?;
                    }
                }
            }
        }
    }
    if !judges.differing.is_empty() {
        bail!(
            "{} of {} logs are not the same\n{}",
            judges.differing.len(),
            judges.opened,
            judges.differing.join("\n")
        );
    }
    Ok(())
}
