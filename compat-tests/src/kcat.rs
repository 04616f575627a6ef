//! kcat (Debian's, on its older librdkafka), run as a person runs it.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::wait;
use crate::wire::{Blob, Incoming};

/// Partition, offset, timestamp, lengths of key and value, then both and the headers, so that any bytes can be read.
const FORMAT: &str = "%p %o %T %K %S %k%s%h\\n";

/// Runs kcat to its end with something on its standard input, and gives what it prints.
pub fn run(address: &str, args: &[&str], stdin: &[u8]) -> Result<Vec<u8>> {
    let mut child = Command::new("kcat")
        .args(["-b", address])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("kcat")?;
    let mut input = child.stdin.take().context("no standard input")?;
    let stdin = stdin.to_vec();
    let writer = thread::spawn(move || input.write_all(&stdin));
    let output = child.wait_with_output()?;
    let _ = writer.join();
    ensure!(
        output.status.success(),
        "kcat {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(output.stdout)
}

/// Reads a partition from `offset` (in kcat's own words) to its end.
pub fn read(address: &str, topic: &str, partition: i32, offset: &str) -> Result<Vec<Incoming>> {
    let partition = partition.to_string();
    let out = run(
        address,
        &[
            "-C", "-t", topic, "-p", &partition, "-o", offset, "-e", "-q", "-f", FORMAT,
        ],
        b"",
    )?;
    parse(&out)
}

fn parse(mut out: &[u8]) -> Result<Vec<Incoming>> {
    let mut records = Vec::new();
    while !out.is_empty() {
        let mut fields = Vec::new();
        for _ in 0..5 {
            let end = out
                .iter()
                .position(|&byte| byte == b' ')
                .context("a field is missing")?;
            let (field, rest) = out.split_at(end);
            fields.push(std::str::from_utf8(field)?.parse::<i64>()?);
            out = &rest[1..];
        }
        let mut take = |length: i64| -> Option<Blob> {
            let length = usize::try_from(length).ok()?;
            let (taken, rest) = out.split_at(length);
            out = rest;
            Some(Blob(taken.to_vec()))
        };
        let (key, value) = (take(fields[3]), take(fields[4]));
        let end = out
            .iter()
            .position(|&byte| byte == b'\n')
            .context("the end of a record is missing")?;
        let headers = String::from_utf8(out[..end].to_vec())?;
        out = &out[end + 1..];
        records.push(Incoming {
            partition: i32::try_from(fields[0])?,
            offset: fields[1],
            timestamp: fields[2],
            key,
            value,
            headers: headers
                .split(',')
                .filter(|header| !header.is_empty())
                .map(header)
                .collect(),
        });
    }
    Ok(records)
}

fn header(text: &str) -> (String, Option<Blob>) {
    match text.split_once('=') {
        Some((name, "NULL")) => (name.to_owned(), None),
        Some((name, value)) => (name.to_owned(), Some(value.into())),
        None => (text.to_owned(), None),
    }
}

#[derive(Default)]
pub struct Seen {
    /// Partition, offset and value, as they came.
    pub records: Vec<(i32, i64, String)>,
    pub owned: BTreeSet<i32>,
}

/// `kcat -G`: a group member that runs until it is closed.
pub struct Member {
    child: Child,
    seen: Arc<Mutex<Seen>>,
    readers: Vec<JoinHandle<()>>,
}

impl Member {
    pub fn open(address: &str, group: &str, topic: &str) -> Result<Self> {
        let mut child = Command::new("kcat")
            .args([
                "-b",
                address,
                "-u",
                "-f",
                "%p %o %s\\n",
                "-X",
                "auto.offset.reset=earliest",
            ])
            .args([
                "-X",
                "heartbeat.interval.ms=500",
                "-X",
                "session.timeout.ms=10000",
                "-G",
                group,
                topic,
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("kcat")?;
        let seen = Arc::new(Mutex::new(Seen::default()));
        let out = child.stdout.take().context("no standard output")?;
        let err = child.stderr.take().context("no standard error")?;
        let readers = vec![
            each_line(out, &seen, on_record),
            each_line(err, &seen, on_notice),
        ];
        Ok(Self {
            child,
            seen,
            readers,
        })
    }

    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends it as a person would; it commits what it printed.
    pub fn close(mut self) -> Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.child.id())?).context("no such process")?;
        kill_process(pid, Signal::INT)?;
        wait::until("kcat ends", wait::SOON, || Ok(self.child.try_wait()?))?;
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
        Ok(())
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn each_line(
    from: impl Read + Send + 'static,
    seen: &Arc<Mutex<Seen>>,
    on_line: fn(&mut Seen, &str),
) -> JoinHandle<()> {
    let seen = Arc::clone(seen);
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            on_line(
                &mut seen.lock().unwrap_or_else(PoisonError::into_inner),
                &line,
            );
        }
    })
}

fn on_record(seen: &mut Seen, line: &str) {
    let mut fields = line.splitn(3, ' ');
    let mut number = || fields.next().and_then(|field| field.parse::<i64>().ok());
    if let (Some(partition), Some(offset)) = (number(), number()) {
        let value = fields.next().unwrap_or_default().to_owned();
        seen.records.push((partition as i32, offset, value));
    }
}

/// `% Group g rebalanced (memberid m): assigned: topic [0], topic [1]`, or `revoked:`.
fn on_notice(seen: &mut Seen, line: &str) {
    let change = line.split_once("): ").map(|(_, change)| change);
    let Some((what, partitions)) = change.and_then(|change| change.split_once(": ")) else {
        return;
    };
    let partitions = partitions
        .split(", ")
        .filter_map(|text| text.rsplit_once('[')?.1.trim_end_matches(']').parse().ok());
    match what {
        "assigned" => seen.owned.extend(partitions.collect::<Vec<i32>>()),
        "revoked" => seen.owned.clear(),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_kcat_prints() {
        let records = parse(b"0 7 1000 -1 0 a=1,b=NULL\n2 8 1001 3 2 k\nyv h=\n").unwrap();
        assert_eq!(records.len(), 2);
        assert_eq!(
            (records[0].key.clone(), records[0].value.clone()),
            (None, Some("".into()))
        );
        assert_eq!(
            records[0].headers,
            [("a".to_owned(), Some("1".into())), ("b".to_owned(), None)]
        );
        assert_eq!((records[1].partition, records[1].offset), (2, 8));
        assert_eq!(
            (records[1].key.clone(), records[1].value.clone()),
            (Some("k\ny".into()), Some("v ".into()))
        );
        assert_eq!(records[1].headers, [("h".to_owned(), Some("".into()))]);
    }

    #[test]
    fn follows_the_rebalances() {
        let mut seen = Seen::default();
        on_notice(
            &mut seen,
            "% Group g rebalanced (memberid rdkafka-1): assigned: t [0], t [4]",
        );
        assert_eq!(seen.owned, BTreeSet::from([0, 4]));
        on_notice(
            &mut seen,
            "% Group g rebalanced (memberid rdkafka-1): revoked: t [0], t [4]",
        );
        assert!(seen.owned.is_empty());
        on_notice(&mut seen, "% Reached end of topic t [0] at offset 3");
        assert!(seen.owned.is_empty());
    }
}
