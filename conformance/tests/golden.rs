//! dohle reads what Apache Kafka 4.4.0 writes, and writes the same bytes.

#![expect(clippy::unwrap_used, reason = "a test says what is wrong by failing")]

use std::collections::BTreeSet;

use bytes::{Buf, Bytes, BytesMut};
use conformance::codec::codecs;
use conformance::{CORRELATION_ID, Golden, Message, hand_written};
use dohle::protocol::compression::Compression;
use dohle::protocol::header::RequestHeader;
use dohle::protocol::record_batch::{
    BatchBuilder, BatchHeader, Batches, Header, Records, TimestampType, verify_crc,
};
use dohle::protocol::{fetch, guard, produce, schema};
use dohle::types::{LeaderEpoch, Offset, TimestampMs};
use kafka_protocol::protocol::{Decodable, Encodable};

/// GetTelemetrySubscriptions and PushTelemetry: a broker advertises them only with a receiver configured.
const NOT_SERVED: [i16; 2] = [71, 72];

fn golden() -> Golden {
    conformance::golden().unwrap()
}

fn name(message: &Message) -> String {
    let kind = if message.is_request {
        "request"
    } else {
        "response"
    };
    format!(
        "API {} version {} {kind} {}",
        message.key, message.version, message.variant
    )
}

fn served() -> impl Iterator<Item = Message> {
    let messages = golden().messages.into_iter();
    messages.filter(|message| !NOT_SERVED.contains(&message.key))
}

/// Header and body of a recorded frame, the header checked.
fn split(message: &Message) -> (i16, Bytes) {
    let api = schema::api(message.key).unwrap();
    let mut frame = message.frame.clone();
    if message.is_request {
        let (header, body) = RequestHeader::parse(frame).unwrap();
        assert_eq!(
            (header.api_key, header.api_version),
            (message.key, message.version)
        );
        assert_eq!(header.correlation_id, CORRELATION_ID);
        let client = (message.variant != "nulls").then_some("recörder");
        // Kafka's header writes an absent client id as an empty one or as null.
        assert_eq!(
            header.client_id.as_deref().filter(|id| !id.is_empty()),
            client
        );
        return (api.request_header_version(message.version), body);
    }
    let version = api.response_header_version(message.version);
    assert_eq!(frame.get_i32(), CORRELATION_ID);
    if version >= 1 {
        assert_eq!(frame.get_u8(), 0, "{}", name(message));
    }
    (version, frame)
}

#[test]
fn every_version_of_every_api_is_recorded() {
    let mut recorded = BTreeSet::new();
    for message in served() {
        recorded.insert((
            message.key,
            message.version,
            message.is_request,
            message.variant,
        ));
    }
    for api in schema::apis() {
        for version in api.request.versions.iter() {
            for is_request in [true, false] {
                let mut variants = vec!["full", "nulls", "defaults"];
                if api.request.is_flexible(version) {
                    variants.push("unknown_tags");
                }
                for variant in variants {
                    let row = (api.key, version, is_request, variant.to_owned());
                    assert!(recorded.remove(&row), "{row:?} is not recorded");
                }
            }
        }
    }
    assert_eq!(recorded, BTreeSet::new(), "recorded, but not in the table");
}

#[test]
fn every_message_is_read_and_written_to_the_same_bytes() {
    for message in served() {
        let (header_version, body) = split(&message);
        let api = schema::api(message.key).unwrap();
        let (request, response) = codecs(message.key).unwrap();
        let (found, codec) = match message.is_request {
            true => (&api.request, request),
            false => (&api.response, response),
        };
        let guarded = guard::check(found, message.version, &body);
        assert_eq!(guarded, Ok(body.len()), "{}", name(&message));
        let head = (CORRELATION_ID, header_version);
        let out = codec(body.clone(), message.version, head)
            .unwrap_or_else(|error| panic!("{}: {error}", name(&message)));
        assert_eq!(out.left, 0, "{}", name(&message));
        assert_eq!(out.body, body, "{}", name(&message));
        if !message.is_request {
            assert_eq!(out.frame[..4], (message.frame.len() as u32).to_be_bytes());
            assert_eq!(out.frame[4..], message.frame, "{}", name(&message));
        }
    }
}

#[test]
fn hand_written_requests_are_read_as_kafka_wrote_them() {
    use kafka_protocol::messages::{FetchRequest, ProduceRequest};
    let mut seen = 0;
    for message in served().filter(|message| message.is_request && message.key <= 1) {
        let (_, body) = split(&message);
        let version = message.version;
        if message.key == produce::KEY {
            let theirs = ProduceRequest::decode(&mut body.clone(), version).unwrap();
            let ours = produce::ProduceRequest::parse(body, version).unwrap();
            assert_eq!(
                ours,
                hand_written::produce_request(theirs),
                "{}",
                name(&message)
            );
        } else {
            let theirs = FetchRequest::decode(&mut body.clone(), version).unwrap();
            let ours = fetch::FetchRequest::parse(body, version).unwrap();
            assert_eq!(
                ours,
                hand_written::fetch_request(theirs, version),
                "{}",
                name(&message)
            );
        }
        seen += 1;
    }
    assert_eq!(
        seen,
        26 * 3 + 12,
        "three variants a version, four of flexible ones"
    );
}

/// Values that the types cannot hold, put to ones that they can: error codes are Kafka's own, records never null.
fn representable(key: i16, body: Bytes, version: i16) -> Bytes {
    use kafka_protocol::messages::{FetchResponse, ProduceResponse};
    let mut out = BytesMut::new();
    let mut input = body;
    if key == produce::KEY {
        let mut response = ProduceResponse::decode(&mut input, version).unwrap();
        for topic in &mut response.responses {
            for partition in &mut topic.partition_responses {
                partition.error_code %= 133;
            }
        }
        response.encode(&mut out, version).unwrap();
    } else {
        let mut response = FetchResponse::decode(&mut input, version).unwrap();
        response.error_code %= 133;
        for topic in &mut response.responses {
            for partition in &mut topic.partitions {
                partition.error_code %= 133;
                partition.records.get_or_insert_default();
            }
        }
        response.encode(&mut out, version).unwrap();
    }
    out.freeze()
}

#[test]
fn hand_written_responses_are_the_bytes_kafka_writes() {
    use kafka_protocol::messages::{FetchResponse, ProduceResponse};
    let mut seen = 0;
    let known = |message: &Message| !message.is_request && message.variant != "unknown_tags";
    for message in served().filter(|message| known(message) && message.key <= 1) {
        let (header_version, body) = split(&message);
        let version = message.version;
        let body = representable(message.key, body, version);
        let mut input = body.clone();
        if message.key == produce::KEY {
            let theirs = ProduceResponse::decode(&mut input, version).unwrap();
            let ours = hand_written::produce_response(theirs).unwrap();
            let mut out = BytesMut::new();
            ours.encode(&mut out, version).unwrap();
            assert_eq!(out, body, "{}", name(&message));
        } else {
            let theirs = FetchResponse::decode(&mut input, version).unwrap();
            let ours = hand_written::fetch_response(theirs).unwrap();
            let mut out = BytesMut::new();
            for part in ours.into_parts(CORRELATION_ID, version).unwrap() {
                match part {
                    fetch::Part::Bytes(bytes) | fetch::Part::Records(bytes) => out.extend(bytes),
                }
            }
            let head = 8 + header_version as usize;
            assert_eq!(out[..4], (out.len() as u32 - 4).to_be_bytes());
            assert_eq!(out[head..], body, "{}", name(&message));
        }
        seen += 1;
    }
    assert_eq!(seen, 26 * 3, "three variants a version");
}

type OwnedRecord = (
    i64,
    i64,
    Option<Vec<u8>>,
    Option<Vec<u8>>,
    Vec<(Vec<u8>, Option<Vec<u8>>)>,
);

fn decoded(batch: &[u8]) -> Vec<OwnedRecord> {
    let records = Records::new(batch, 1 << 20).unwrap();
    let owned = records.iter().map(|record| {
        let record = record.unwrap();
        let headers = record
            .headers
            .map(|h| (h.key.to_vec(), h.value.map(<[u8]>::to_vec)));
        let key = record.key.map(<[u8]>::to_vec);
        let value = record.value.map(<[u8]>::to_vec);
        (
            record.offset.0,
            record.timestamp.0,
            key,
            value,
            headers.collect(),
        )
    });
    owned.collect()
}

#[test]
fn kafkas_batches_are_read_in_every_compression() {
    let batches = golden().batches;
    assert_eq!(batches.len(), 25);
    for batch in &batches {
        let name = format!("{} {}", batch.compression, batch.variant);
        assert!(verify_crc(&batch.bytes), "{name}");
        let found: Vec<_> = Batches::new(&batch.bytes)
            .collect::<Result<_, _>>()
            .unwrap();
        assert_eq!(found.len(), 1, "{name}");
        let header = found[0].0;
        assert_eq!(header.compression().unwrap().name(), batch.compression);
        assert_eq!(header.base_offset, Offset(100));
        assert_eq!(header.leader_epoch, LeaderEpoch(5));
        let records = decoded(&batch.bytes);
        assert_eq!(records.len(), header.records_count as usize, "{name}");
        if batch.variant == "control" {
            assert!(header.is_control() && header.is_transactional());
            // An end marker: version 0, type 1 (commit); coordinator epoch 9.
            assert_eq!(records[0].2.as_deref(), Some(&[0, 0, 0, 1][..]));
            continue;
        }
        let stamp = |time| {
            if batch.variant == "stamped" {
                1_700_000_009_999
            } else {
                time
            }
        };
        let headers = vec![
            (b"trace".to_vec(), Some(b"1".to_vec())),
            (b"trace".to_vec(), None),
            (vec![], Some(vec![])),
        ];
        let first = [
            (
                100,
                stamp(1_700_000_000_000),
                Some(b"key".to_vec()),
                Some(b"value".to_vec()),
                headers,
            ),
            (101, stamp(1_699_999_999_000), None, Some(vec![]), vec![]),
            (102, stamp(1_700_000_000_500), Some(vec![]), None, vec![]),
        ];
        assert_eq!(records[..3], first, "{name}");
        if batch.variant == "large" {
            assert_eq!(records.len(), 1503);
            assert_eq!(records[1502].2.as_deref(), Some(&b"1499"[..]));
        }
        assert_eq!(header.has_producer_id(), batch.variant == "transactional");
        if batch.variant == "transactional" {
            assert_eq!(header.last_sequence(), 0, "sequence numbers wrap");
        }
    }
}

/// The same records through our builder: the same bytes where they are not compressed, the same records where they are.
#[test]
fn batches_are_built_as_kafka_builds_them() {
    for golden in golden().batches {
        let theirs = BatchHeader::parse(&golden.bytes).unwrap();
        let codec = theirs.compression().unwrap();
        let mut builder = BatchBuilder::new(Offset(100), codec)
            .leader_epoch(LeaderEpoch(5))
            .transactional(theirs.is_transactional())
            .control(theirs.is_control())
            .producer(
                theirs.producer_id,
                theirs.producer_epoch,
                theirs.base_sequence,
            );
        let stamped = theirs.timestamp_type() == TimestampType::LogAppendTime;
        if stamped {
            builder = builder.log_append_time(theirs.max_timestamp);
        }
        // A stamped batch says no more what its records were stamped with before.
        let plain = [1_700_000_000_000, 1_699_999_999_000, 1_700_000_000_500];
        for (index, (_, time, key, value, headers)) in decoded(&golden.bytes).iter().enumerate() {
            let headers: Vec<Header> = headers
                .iter()
                .map(|(key, value)| Header {
                    key,
                    value: value.as_deref(),
                })
                .collect();
            let time = if stamped { plain[index] } else { *time };
            builder.append(
                TimestampMs(time),
                key.as_deref(),
                value.as_deref(),
                &headers,
            );
        }
        let ours = builder.build();
        let name = format!("{} {}", golden.compression, golden.variant);
        if codec == Compression::None {
            assert_eq!(ours, golden.bytes, "{name}");
        } else {
            assert_eq!(decoded(&ours), decoded(&golden.bytes), "{name}");
        }
    }
}
