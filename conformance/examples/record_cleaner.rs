//! Makes the logs of `conformance::cleaner` for Kafka's cleaner, and collects what that left; see there.

#![expect(clippy::print_stderr, reason = "a tool says how it is used")]

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use conformance::cleaner::{
    self, CASES, DELETE_RETENTION_MS, INDEX_INTERVAL_BYTES, SEGMENT_BYTES, clean, digests, files,
    make, to_line,
};
use dohle::log::storage::{RealStorage, Storage};
use flate2::{Compression, write::GzEncoder};

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["make", dir] => make_all(Path::new(dir)),
        ["collect", dir, path] => collect(Path::new(dir), Path::new(path)),
        ["bench", dir, mib, codec] => bench(Path::new(dir), mib, codec),
        _ => {
            eprintln!("record_cleaner make DIR | collect DIR FILE | bench DIR MIB CODEC");
            std::process::exit(2);
        }
    }
}

fn place(dir: &Path, seed: u64) -> PathBuf {
    dir.join(format!("case{seed}-0"))
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

fn make_all(dir: &Path) -> io::Result<()> {
    let storage: Arc<dyn Storage> = Arc::new(RealStorage);
    let dir = &std::path::absolute(dir)?;
    fs::create_dir_all(dir)?;
    let mut cases = File::create(dir.join("cases"))?;
    for seed in 0..CASES {
        let place = place(dir, seed);
        fs::create_dir_all(&place)?;
        let cleanings = make(&storage, &place, seed)?;
        // How far a cleaning may go is not asked of Kafka's cleaner but of its manager.
        let tried = dir.join("tried");
        copy(&place, &tried)?;
        let ours = clean(&storage, &tried, &cleanings)?;
        fs::remove_dir_all(&tried)?;
        write!(
            cases,
            "{} {SEGMENT_BYTES} {INDEX_INTERVAL_BYTES} {DELETE_RETENTION_MS}",
            place.display()
        )?;
        for (cleaning, (uncleanable, _)) in cleanings.iter().zip(&ours) {
            let (high_watermark, now) = (cleaning.high_watermark, cleaning.now);
            write!(cases, " {uncleanable} {high_watermark} {now}")?;
        }
        writeln!(cases)?;
        copy(&place, &dir.join(format!("case{seed}-0.0")))?;
    }
    Ok(())
}

/// Makes a log of records of 250 bytes, a tenth of them with keys of their own, and cleans a copy of it. Kafka's cleaner
/// cleans the other by `CleanerRecorder bench DIR/cases`.
fn bench(dir: &Path, mib: &str, codec: &str) -> io::Result<()> {
    let parse = |text: &str| text.parse::<u64>().map_err(io::Error::other);
    let storage: Arc<dyn Storage> = Arc::new(RealStorage);
    let dir = &std::path::absolute(dir)?;
    let (ours, kafkas) = (dir.join("dohle-0"), dir.join("kafka-0"));
    fs::create_dir_all(&ours)?;
    let codec = u8::try_from(parse(codec)?).map_err(io::Error::other)?;
    let cleaning = cleaner::make_large(&storage, &ours, parse(mib)? << 20, codec)?;
    copy(&ours, &kafkas)?;
    let bytes = |dir: &Path| -> io::Result<usize> {
        Ok(files(&RealStorage, dir)?.values().map(Vec::len).sum())
    };
    let before = bytes(&ours)?;
    let cpu = || {
        let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        used.tv_sec as f64 + used.tv_nsec as f64 / 1e9
    };
    let (began, used) = (std::time::Instant::now(), cpu());
    let uncleanable = cleaner::clean_large(&storage, &ours, cleaning)?;
    let (seconds, used) = (began.elapsed().as_secs_f64(), cpu() - used);
    let after = bytes(&ours)?;
    let mb = before as f64 / 1e6;
    eprintln!(
        "{mb:.0} MB to {:.0} MB: {seconds:.3} s, {used:.3} s of CPU; {:.0} MB/s, {:.2} s of CPU a GB",
        after as f64 / 1e6,
        mb / seconds,
        used / (mb / 1e3)
    );
    fs::write(
        dir.join("cases"),
        format!(
            "{} {} 4096 86400000 {uncleanable} {} {}\n",
            kafkas.display(),
            cleaner::LARGE_SEGMENT_BYTES,
            cleaning.high_watermark,
            cleaning.now
        ),
    )
}

fn collect(dir: &Path, path: &Path) -> io::Result<()> {
    let mut out = GzEncoder::new(File::create(path)?, Compression::best());
    for seed in 0..CASES {
        for round in 0..3 {
            let mut place = place(dir, seed).into_os_string();
            place.push(format!(".{round}"));
            let mut found = files(&RealStorage, Path::new(&place))?;
            if round == 0 {
                found = digests(found);
            }
            for (name, bytes) in found {
                writeln!(out, "{}", to_line(seed, round, &name, &bytes))?;
            }
        }
    }
    out.finish()?;
    Ok(())
}
