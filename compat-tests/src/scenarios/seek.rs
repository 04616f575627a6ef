//! Reading from an offset and from a timestamp, over batches of every compression.

use anyhow::{Result, ensure};
use serde_json::json;

use super::Run;
use super::records::base_ms;
use crate::wire::{Blob, Outgoing};

pub fn offset_and_timestamp(run: &mut Run<'_>) -> Result<()> {
    let topic = run.create_topic("seek", 1)?;
    let sent: Vec<_> = (0..100)
        .map(|index| Outgoing {
            partition: Some(0),
            key: Some(Blob(format!("{index}").into_bytes())),
            value: Some(Blob(format!("value {index}").into_bytes())),
            headers: Vec::new(),
            timestamp: Some(base_ms() + 1000 * index),
        })
        .collect();
    for (index, batch) in sent.chunks(10).enumerate() {
        let codec = run.client.codecs[index % run.client.codecs.len()];
        run.produce(&topic, codec, batch)?;
    }
    // Into the middle of batches, at their edges, and to the last record.
    for offset in [0, 37, 40, 99] {
        let count = 100 - usize::try_from(offset)?;
        let read = run.consume(&topic, 0, offset, count)?;
        let offsets: Vec<_> = read.iter().map(|record| record.offset).collect();
        ensure!(
            offsets == (offset..100).collect::<Vec<_>>(),
            "from {offset}: {offsets:?}"
        );
        let keys_fit = read
            .iter()
            .all(|record| record.key == Some(Blob(record.offset.to_string().into_bytes())));
        ensure!(keys_fit, "from {offset}: other records: {read:?}");
    }
    let times = [
        (0, Some(0)),
        (1, Some(1)),
        (50_000, Some(50)),
        (49_001, Some(50)),
        (99_000, Some(99)),
        (99_001, None),
    ];
    for (after_epoch, wanted) in times {
        let request = json!({"topic": topic, "partition": 0, "timestamp": base_ms() + after_epoch});
        let found: Option<i64> = run.driver.get("offset_for_time", request, "offset")?;
        ensure!(
            found == wanted,
            "{after_epoch} ms after the first: offset {found:?}, not {wanted:?}"
        );
        if let Some(offset) = found {
            let read = run.consume(&topic, 0, offset, 1)?;
            ensure!(
                read.first()
                    .is_some_and(|record| record.timestamp >= base_ms() + after_epoch),
                "{read:?}"
            );
        }
    }
    Ok(())
}
