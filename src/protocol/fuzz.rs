//! What must hold of any bytes that clients send: the bodies of the fuzz targets over `protocol`.
//!
//! Each takes the fuzzer's bytes and fails by panicking. They run on the stored corpora in every `cargo test` (`src/fuzz.rs`)
//! and for long under cargo-fuzz (`tests/fuzz`).

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a fuzz target finds something by panicking"
)]

use bytes::Bytes;
use kafka_protocol::protocol::Decodable;

use crate::protocol::compression::{Compression, compress, decompress};
use crate::protocol::decompressor::{Decompressor, STEP_BYTES};
use crate::protocol::fetch::FetchRequest;
use crate::protocol::guard;
use crate::protocol::header::RequestHeader;
use crate::protocol::messages;
use crate::protocol::produce::ProduceRequest;
use crate::protocol::rebuilt_batch::RebuiltBatch;
use crate::protocol::record::Records;
use crate::protocol::record_batch::{
    BatchBuilder, BatchHeader, Batches, HEADER_BYTES, LOG_OVERHEAD, NO_SEQUENCE, compute_crc,
    ensure_crc, next_batch, single_batch, validate_base_offset, validate_batch_header,
};
use crate::protocol::record_walk::{RecordHead, RecordShape, RecordSink, walk_records};
use crate::protocol::schema;
use crate::types::{LeaderEpoch, Offset, TimestampMs};

/// Takes the fuzzer's bytes apart; zeros when they are used up.
pub(crate) struct Input<'a>(pub(crate) &'a [u8]);

impl<'a> Input<'a> {
    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut taken = [0; N];
        let (now, rest) = self.0.split_at(self.0.len().min(N));
        for (to, from) in taken.iter_mut().zip(now) {
            *to = *from;
        }
        self.0 = rest;
        taken
    }

    pub(crate) fn u8(&mut self) -> u8 {
        let [byte] = self.bytes();
        byte
    }

    pub(crate) fn u16(&mut self) -> u16 {
        u16::from_be_bytes(self.bytes())
    }

    pub(crate) fn i64(&mut self) -> i64 {
        i64::from_be_bytes(self.bytes())
    }

    /// At most so many.
    pub(crate) fn slice(&mut self, len: usize) -> &'a [u8] {
        let (now, rest) = self.0.split_at(self.0.len().min(len));
        self.0 = rest;
        now
    }

    pub(crate) fn codec(&mut self) -> Compression {
        Compression::from_id(self.u8() % 5).unwrap()
    }
}

/// What comes out of a few kilobytes is looked at up to here.
const LIMIT: usize = 1 << 20;

/// Batches out of a slice.
pub fn batches(data: &[u8]) {
    let mut rest = data;
    for batch in Batches::new(data) {
        let Ok((header, bytes)) = batch else {
            break;
        };
        assert_eq!(header.size_in_bytes(), bytes.len());
        assert_eq!(header.to_bytes(), bytes.get(..HEADER_BYTES).unwrap());
        assert_eq!(next_batch(rest), Ok(Some(bytes)));
        rest = rest.get(bytes.len()..).unwrap();
        let sound = ensure_crc(bytes).is_ok();
        assert_eq!(sound, compute_crc(bytes) == Some(header.crc));
        records_of(&header, bytes);
    }
    match single_batch(data, 9) {
        Ok((header, batch)) => {
            assert!(data.starts_with(batch));
            if validate_base_offset(&header).is_ok() && validate_batch_header(&header).is_ok() {
                assert_eq!(header.last_offset().0 + 1, i64::from(header.records_count));
                assert!(header.records_count > 0 && header.compression().is_ok());
            }
        }
        Err(error) => assert!(error.code().is_error()),
    }
}

/// The records of one batch, in any codec.
pub fn records(data: &[u8]) {
    let mut input = Input(data);
    let codec = input.codec();
    let packed = input.u8() % 2 == 0;
    let count = i32::from(input.u8());
    let mut payload = Vec::new();
    if packed {
        compress(codec, input.0, &mut payload).unwrap();
    } else {
        payload.extend_from_slice(input.0);
    }
    let bytes = sealed(codec, count, &payload);
    records_of(&BatchHeader::parse(&bytes).unwrap(), &bytes);
}

/// A batch of a payload as it is, its lengths and CRC right.
pub(crate) fn sealed(codec: Compression, count: i32, payload: &[u8]) -> Vec<u8> {
    let mut header = BatchHeader::parse(&BatchBuilder::new(Offset::ZERO, codec).build()).unwrap();
    header.records_count = count;
    header.last_offset_delta = count.wrapping_sub(1);
    header.base_timestamp = TimestampMs(1_700_000_000_000);
    header.max_timestamp = header.base_timestamp;
    seal(header, codec, payload)
}

pub(crate) fn seal(mut header: BatchHeader, codec: Compression, payload: &[u8]) -> Vec<u8> {
    header.attributes = header.attributes & !7 | i16::from(codec.id());
    header.batch_length = (HEADER_BYTES - LOG_OVERHEAD + payload.len()) as i32;
    let mut bytes = [&header.to_bytes()[..], payload].concat();
    header.crc = compute_crc(&bytes).unwrap();
    bytes.splice(..HEADER_BYTES, header.to_bytes());
    bytes
}

/// What a walk tells, and the same records made anew.
struct Told {
    header: BatchHeader,
    shapes: Vec<RecordShape>,
    bytes: usize,
    anew: RebuiltBatch,
}

impl Told {
    fn new(header: &BatchHeader) -> Self {
        // One of the codecs: making something of all five would be most of the work.
        let codec = Compression::from_id((header.crc % 5) as u8).unwrap();
        Self {
            header: *header,
            shapes: Vec::new(),
            bytes: 0,
            anew: RebuiltBatch::new(header, codec.into(), LIMIT),
        }
    }
}

impl RecordSink for Told {
    fn head(&mut self, head: RecordHead) {
        let time = self.header.record_timestamp(head.timestamp_delta);
        self.anew.head(head, time);
    }
    fn rest(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len();
        self.anew.rest(bytes);
    }
    fn record(&mut self, shape: RecordShape) {
        self.shapes.push(shape);
    }
}

/// The walk and the decoder agree; what is made anew has the same records.
fn records_of(header: &BatchHeader, bytes: &[u8]) {
    // As many as a batch of so many bytes can have, or a walk would be long for nothing.
    if header.records_count > 100_000 {
        return;
    }
    let mut told = Told::new(header);
    let walked = walk_records(bytes, header, LIMIT, &mut told);
    let decoded = Records::new(bytes, LIMIT);
    let decoded = match &decoded {
        Ok(records) => records.iter().collect::<Result<Vec<_>, _>>(),
        Err(error) => Err(error.clone()),
    };
    match (&walked, &decoded) {
        (Ok(()), Ok(records)) => {
            assert_eq!(told.shapes.len(), records.len());
            for (shape, record) in told.shapes.iter().zip(records) {
                let len = |bytes: Option<&[u8]>| bytes.map_or(-1, |bytes| bytes.len() as i32);
                let offset = header
                    .base_offset
                    .0
                    .wrapping_add(i64::from(shape.offset_delta));
                assert_eq!(record.offset.0, offset);
                assert_eq!(
                    record.timestamp,
                    header.record_timestamp(shape.timestamp_delta)
                );
                assert_eq!(len(record.key), shape.key_size.max(-1));
                assert_eq!(len(record.value), shape.value_size.max(-1));
            }
            let sizes: usize = records.iter().map(|record| record.size_in_bytes).sum();
            assert!(told.bytes <= sizes);
            let Ok(anew) = told.anew.build() else {
                return;
            };
            let read = Records::new(&anew, LIMIT + HEADER_BYTES).unwrap();
            for (at, (record, old)) in read.iter().zip(records).enumerate() {
                let record = record.unwrap();
                assert_eq!(record.offset, header.base_offset.plus(at as i64));
                assert_eq!(record.timestamp, old.timestamp);
                assert_eq!((record.key, record.value), (old.key, old.value));
                assert!(record.headers.eq(old.headers));
            }
        }
        // Only the decoder holds all of it at once, and only the walk holds records to a size.
        (Ok(()), Err(error)) => {
            assert!(
                header.records_count <= 0 || error.to_string().contains("limit"),
                "{error}"
            );
        }
        (Err(error), Ok(_)) => {
            let large = error.to_string().contains("exceeds the configured maximum");
            assert!(large, "{error}");
        }
        (Err(_), Err(_)) => {}
    }
}

/// Each codec, within its bounds.
pub fn decompression(data: &[u8]) {
    let mut input = Input(data);
    let codec = input.codec();
    let limit = 1usize << (input.u8() % 21);
    let payload = input.0;
    let whole = decompress(codec, payload, limit);
    let Ok(mut steps) = Decompressor::new(codec, payload, limit) else {
        assert!(whole.is_err());
        return;
    };
    let mut out = Vec::new();
    let stepped = loop {
        match steps.fill() {
            Ok(more) => {
                out.extend_from_slice(steps.available());
                steps.consume(steps.available().len());
                if !more {
                    break Ok(());
                }
            }
            Err(error) => break Err(error),
        }
    };
    assert!(out.len() <= limit);
    // A step of the codec's own is bounded by what its bytes can make, and clearing it by the limit.
    let most = (payload.len() * 256 + 64).min(limit).max(STEP_BYTES);
    assert!(
        steps.memory() <= 2 * most,
        "{} for {}",
        steps.memory(),
        payload.len()
    );
    match (whole, stepped) {
        (Ok(whole), Ok(())) => {
            assert_eq!(whole, out);
            let mut packed = Vec::new();
            compress(codec, &whole, &mut packed).unwrap();
            assert_eq!(decompress(codec, &packed, limit), Ok(whole));
        }
        (Err(whole), Err(stepped)) => assert_eq!(whole, stepped),
        (whole, stepped) => panic!("{whole:?} and {stepped:?}"),
    }
}

/// A request frame: its head, the guard, and the decoders behind it.
pub fn request(data: &[u8]) {
    let Ok((header, body)) = RequestHeader::parse(Bytes::copy_from_slice(data)) else {
        return;
    };
    request_body(header.api_key, header.api_version, body);
}

/// The same with the head made up, so that every body is looked at.
pub fn request_bodies(data: &[u8]) {
    let mut input = Input(data);
    let apis = schema::apis();
    let Some(api) = apis.get(usize::from(input.u8()) % apis.len()) else {
        return;
    };
    let version = i16::from(input.u8() % 20);
    request_body(api.key, version, Bytes::copy_from_slice(input.0));
}

fn request_body(key: i16, version: i16, body: Bytes) {
    let Some(api) = schema::api(key) else {
        return;
    };
    let passed = guard::check(&api.request, version, &body);
    if let Ok(read) = passed {
        assert!(read <= body.len());
        decode(key, version, &body, read);
    }
    if key == crate::protocol::produce::KEY && (3..=13).contains(&version) {
        assert_eq!(
            ProduceRequest::parse(body.clone(), version).is_ok(),
            passed.is_ok()
        );
    }
    if key == crate::protocol::fetch::KEY && (4..=18).contains(&version) {
        assert_eq!(
            FetchRequest::parse(body.clone(), version).is_ok(),
            passed.is_ok()
        );
    }
}

/// The decoder reads what the guard has read, or refuses it; it reserves no more than that has shown to be there.
fn read_by<T: Decodable>(version: i16, body: &Bytes, read: usize) {
    let mut rest = body.clone();
    if T::decode(&mut rest, version).is_ok() {
        assert_eq!(
            rest.len(),
            body.len() - read,
            "the guard read something else"
        );
    }
}

macro_rules! decoders {
    ($($key:literal $request:ident,)*) => {
        fn decode(key: i16, version: i16, body: &Bytes, read: usize) {
            match key {
                $($key => read_by::<messages::$request>(version, body, read),)*
                _ => {}
            }
        }
    };
}

decoders! {
    0 ProduceRequest,
    1 FetchRequest,
    2 ListOffsetsRequest,
    3 MetadataRequest,
    8 OffsetCommitRequest,
    9 OffsetFetchRequest,
    10 FindCoordinatorRequest,
    11 JoinGroupRequest,
    12 HeartbeatRequest,
    13 LeaveGroupRequest,
    14 SyncGroupRequest,
    15 DescribeGroupsRequest,
    16 ListGroupsRequest,
    17 SaslHandshakeRequest,
    18 ApiVersionsRequest,
    19 CreateTopicsRequest,
    20 DeleteTopicsRequest,
    21 DeleteRecordsRequest,
    22 InitProducerIdRequest,
    23 OffsetForLeaderEpochRequest,
    24 AddPartitionsToTxnRequest,
    25 AddOffsetsToTxnRequest,
    26 EndTxnRequest,
    27 WriteTxnMarkersRequest,
    28 TxnOffsetCommitRequest,
    29 DescribeAclsRequest,
    30 CreateAclsRequest,
    31 DeleteAclsRequest,
    32 DescribeConfigsRequest,
    33 AlterConfigsRequest,
    34 AlterReplicaLogDirsRequest,
    35 DescribeLogDirsRequest,
    36 SaslAuthenticateRequest,
    37 CreatePartitionsRequest,
    38 CreateDelegationTokenRequest,
    39 RenewDelegationTokenRequest,
    40 ExpireDelegationTokenRequest,
    41 DescribeDelegationTokenRequest,
    42 DeleteGroupsRequest,
    43 ElectLeadersRequest,
    44 IncrementalAlterConfigsRequest,
    45 AlterPartitionReassignmentsRequest,
    46 ListPartitionReassignmentsRequest,
    47 OffsetDeleteRequest,
    48 DescribeClientQuotasRequest,
    49 AlterClientQuotasRequest,
    50 DescribeUserScramCredentialsRequest,
    51 AlterUserScramCredentialsRequest,
    55 DescribeQuorumRequest,
    57 UpdateFeaturesRequest,
    60 DescribeClusterRequest,
    61 DescribeProducersRequest,
    64 UnregisterBrokerRequest,
    65 DescribeTransactionsRequest,
    66 ListTransactionsRequest,
    68 ConsumerGroupHeartbeatRequest,
    69 ConsumerGroupDescribeRequest,
    74 ListConfigResourcesRequest,
    75 DescribeTopicPartitionsRequest,
}

/// A batch of the fuzzer's records at an offset, sound in its head.
pub(crate) fn batch_at(input: &mut Input<'_>, offset: i64, epoch: i32) -> Vec<u8> {
    let mut builder =
        BatchBuilder::new(Offset(offset), input.codec()).leader_epoch(LeaderEpoch(epoch));
    for _ in 0..=input.u8() % 4 {
        let time = TimestampMs(i64::from(input.u16()));
        let len = usize::from(input.u8() % 32);
        let value = input.slice(len);
        builder.append(
            time,
            value.first_chunk::<1>().map(|key| &key[..]),
            Some(value),
            &[],
        );
    }
    let bytes = builder.build();
    let header = BatchHeader::parse(&bytes).unwrap();
    assert_eq!(header.base_sequence, NO_SEQUENCE);
    bytes
}
