//! What the system knows of this process, read when it is asked for.

use std::fs;

use super::samples::{Collect, Samples};
use super::table;

/// Reads `/proc/self`; what cannot be read is left out.
#[derive(Debug, Clone, Copy, Default)]
pub struct Process;

impl Collect for Process {
    fn collect(&self, samples: &mut Samples) {
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        let page = rustix::param::page_size() as f64;
        if let Some(stat) = read_stat() {
            samples.push(table::PROCESS_CPU, &[], (stat.user + stat.system) / ticks);
            samples.push(table::PROCESS_VIRTUAL, &[], stat.virtual_bytes);
            samples.push(table::PROCESS_RSS, &[], stat.resident_pages * page);
            if let Some(boot) = boot_time() {
                samples.push(table::PROCESS_START, &[], boot + stat.started / ticks);
            }
        }
        if let Ok(fds) = fs::read_dir("/proc/self/fd") {
            samples.push(table::PROCESS_FDS, &[], fds.count() as f64);
        }
    }
}

struct Stat {
    user: f64,
    system: f64,
    started: f64,
    virtual_bytes: f64,
    resident_pages: f64,
}

fn read_stat() -> Option<Stat> {
    let text = fs::read_to_string("/proc/self/stat").ok()?;
    // The name may hold anything: fields are counted from behind it.
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<f64> = rest
        .split_whitespace()
        .map(|field| field.parse().unwrap_or(0.0))
        .collect();
    Some(Stat {
        user: *fields.get(11)?,
        system: *fields.get(12)?,
        started: *fields.get(19)?,
        virtual_bytes: *fields.get(20)?,
        resident_pages: *fields.get(21)?,
    })
}

fn boot_time() -> Option<f64> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    text.lines()
        .find_map(|line| line.strip_prefix("btime "))?
        .trim()
        .parse()
        .ok()
}
