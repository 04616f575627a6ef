//! What one client writes, in every compression, every other client reads.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};

use anyhow::{Context as _, Result, anyhow, ensure};

use super::records::{check_read_back, expected, varied};
use super::{Run, Test};
use crate::client::{CLIENTS, Client};
use crate::wire::Incoming;

/// A topic of one partition that a client filled with one compression.
struct Written {
    codec: &'static str,
    topic: String,
    records: BTreeMap<(i32, i64), Incoming>,
}

type Cell = Arc<OnceLock<Result<Vec<Written>, String>>>;

/// Written once by each writer, however many read it.
fn written(writer: &'static Client, address: &str) -> Result<Cell> {
    static ALL: Mutex<BTreeMap<&'static str, Cell>> = Mutex::new(BTreeMap::new());
    let cell = ALL
        .lock()
        .map_err(|_| anyhow!("another test panicked"))?
        .entry(writer.name)
        .or_default()
        .clone();
    cell.get_or_init(|| write(writer, address).map_err(|error| format!("{error:#}")));
    Ok(cell)
}

fn write(writer: &'static Client, address: &str) -> Result<Vec<Written>> {
    let mut guard = writer.driver(address)?;
    let mut run = Run {
        client: writer,
        driver: guard.get()?,
        address,
    };
    let mut all = Vec::new();
    for codec in writer.codecs {
        let topic = run.create_topic(&format!("cross-{}-{codec}", writer.name), 1)?;
        let sent = varied(writer, 120, 1);
        let placed = run.produce(&topic, codec, &sent)?;
        all.push(Written {
            codec,
            topic,
            records: expected(&sent, &placed),
        });
    }
    Ok(all)
}

pub fn listed() -> Vec<Test> {
    let pairs = CLIENTS
        .iter()
        .flat_map(|writer| CLIENTS.iter().map(move |reader| (writer, reader)));
    pairs
        .filter(|(writer, reader)| writer.name != reader.name)
        .map(|(writer, reader)| pair(writer, reader))
        .collect()
}

fn pair(writer: &'static Client, reader: &'static Client) -> Test {
    let mut test = Test::new(
        format!("cross::{}_to_{}", writer.name, reader.name),
        move |address| {
            let cell = written(writer, address)?;
            let all = cell
                .get()
                .context("not written")?
                .as_ref()
                .map_err(|error| anyhow!("writing: {error}"))?;
            let mut guard = reader.driver(address)?;
            let mut run = Run {
                client: reader,
                driver: guard.get()?,
                address,
            };
            let readable: Vec<_> = all
                .iter()
                .filter(|written| reader.codecs.contains(&written.codec))
                .collect();
            ensure!(readable.len() >= 2, "nothing to compare");
            for written in readable {
                check_read_back(&mut run, &written.topic, &written.records)
                    .with_context(|| written.codec)?;
            }
            Ok(())
        },
    );
    let missing = writer.missing().or_else(|| reader.missing());
    test.missing = missing.map(|program| format!("{program} is not installed"));
    test
}
