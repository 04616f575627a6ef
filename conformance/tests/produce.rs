//! dohle answers Produce requests as Apache Kafka 4.4.0 answered them, and stores what Kafka stored: 659 batches, most of
//! them broken in one way each, in each compression and under the options that change what is asked of them.

#![expect(clippy::unwrap_used, reason = "a test says what is wrong by failing")]

use conformance::broker::Dohle;
use conformance::produce::client::{Client, UNANSWERED};
use conformance::produce::{Answer, Case, STRICTER, golden};
use dohle::error::ErrorCode;
use dohle::protocol::compression::Compression;
use dohle::protocol::record_batch::{BatchHeader, Records, TimestampType, ensure_crc};
use dohle::types::{LeaderEpoch, TimestampMs};

fn is_stricter(case: &Case, kafka: &Answer) -> bool {
    // What is made anew is numbered by the broker, and what is not compressed is held to its sizes by Kafka, too.
    (matches!(kafka.code, 0 | -1 | UNANSWERED) && !case.name.contains("-to-"))
        && STRICTER.iter().any(|(name, _)| case.name.starts_with(name))
}

/// Two stored batches: the same bytes, but for what two compressors make of the same records, and the broker's time.
fn is_same_batch(case: &Case, ours: &[u8], kafkas: &[u8]) -> Result<(), String> {
    if ours == kafkas {
        return Ok(());
    }
    let parse = |bytes: &[u8]| {
        ensure_crc(bytes).map_err(|error| error.to_string())?;
        let mut header = BatchHeader::parse(bytes).unwrap();
        header.crc = 0;
        header.leader_epoch = LeaderEpoch(0);
        let stamped = header.timestamp_type() == TimestampType::LogAppendTime;
        if stamped {
            header.max_timestamp = TimestampMs(0);
        }
        let sent = case.records.as_ref().unwrap();
        let sent = BatchHeader::parse(sent).unwrap();
        if sent.compression() != header.compression() {
            header.batch_length = 0;
        }
        let records = Records::new(bytes, 1 << 20).unwrap();
        let records: Result<Vec<String>, _> = records
            .iter()
            .map(|record| {
                record.map(|record| {
                    let size = if header.compression() == Ok(Compression::None) {
                        record.size_in_bytes
                    } else {
                        0
                    };
                    let headers: Vec<_> = record
                        .headers
                        .map(|h| (String::from_utf8_lossy(h.key).into_owned(), h.value))
                        .collect();
                    let time = record.timestamp.0 - header.max_timestamp.0;
                    let time = if stamped { 0 } else { time };
                    let (key, value) = (record.key, record.value);
                    format!(
                        "{} {time} {key:?} {value:?} {headers:?} {size}",
                        record.offset
                    )
                })
            })
            .collect();
        Ok::<_, String>((header, records.map_err(|error| error.to_string())))
    };
    let (ours, kafkas) = (parse(ours)?, parse(kafkas)?);
    if ours == kafkas {
        Ok(())
    } else {
        Err(format!("{ours:#?}\n  and Kafka\n{kafkas:#?}"))
    }
}

fn compare(case: &Case, ours: &Answer, kafkas: &Answer) -> Result<(), String> {
    if is_stricter(case, kafkas) {
        return match ours.code == ErrorCode::InvalidRecord.code() && ours.stored.is_empty() {
            true => Ok(()),
            false => Err(format!("is not refused: {ours:?}")),
        };
    }
    let stored = |answer: &Answer| Answer {
        stored: Default::default(),
        ..answer.clone()
    };
    if stored(ours) != stored(kafkas) {
        return Err(format!("{ours:#?}\n  and Kafka\n{kafkas:#?}"));
    }
    if ours.code != 0 {
        return match ours.stored == kafkas.stored {
            true => Ok(()),
            false => Err("something is stored".to_owned()),
        };
    }
    is_same_batch(case, &ours.stored, &kafkas.stored)
}

#[test]
fn produce_requests_are_answered_as_by_kafka() {
    let broker = Dohle::start([]).unwrap();
    let mut client = Client::connect(&broker.address().unwrap().to_string()).unwrap();

    let golden = golden().unwrap();
    assert!(golden.len() > 600);
    let mut wrong = Vec::new();
    for (case, kafkas) in &golden {
        let ours = client.run(case).unwrap();
        if let Err(how) = compare(case, &ours, kafkas) {
            wrong.push(format!("{} {:?}: {how}", case.name, case.options));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        golden.len(),
        wrong.join("\n")
    );
}
