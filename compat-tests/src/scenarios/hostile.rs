//! What no client sends: the broker answers in Kafka's words or closes the connection, and goes on.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use super::dohle::rdkafka;
use super::{Run, Test};
use crate::broker::Broker;
use crate::hostile_frames;

pub fn listed() -> Vec<Test> {
    vec![
        Test::new("dohle::hostile_bytes_are_shut_out", hostile).ours_only(),
        Test::new("dohle::spoiled_frames_are_answered_or_shut_out", spoiled).ours_only(),
    ]
}

/// A short one of what `hostile-frames` does for hours.
fn spoiled(_shared: &str) -> Result<()> {
    let frames = 20_000;
    let options = hostile_frames::Options {
        frames,
        round: frames,
        ..Default::default()
    };
    hostile_frames::run(&options)?.check()
}

/// A request frame of `api` with a body; the length in front is right.
pub(super) fn frame(api: i16, version: i16, body: &[u8]) -> Vec<u8> {
    let mut payload = Vec::new();
    payload.extend(api.to_be_bytes());
    payload.extend(version.to_be_bytes());
    payload.extend(7_i32.to_be_bytes());
    payload.extend((-1_i16).to_be_bytes());
    payload.extend(body);
    let mut out = i32::try_from(payload.len())
        .unwrap_or(0)
        .to_be_bytes()
        .to_vec();
    out.extend(payload);
    out
}

/// Bytes that no client sends, each with what it is.
fn hostile_inputs() -> Vec<(&'static str, Vec<u8>)> {
    let mut random = StdRng::seed_from_u64(7);
    let noise: Vec<u8> = (0..4096).map(|_| random.random::<u8>() | 0x80).collect();
    let tls = [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &[0x5a; 506]].concat();
    let huge_array = 0x7fff_ffff_i32.to_be_bytes().to_vec();
    // A compact array whose count is an unsigned varint of five 0xff-ish bytes.
    let huge_compact = [&[0][..], &[0xff, 0xff, 0xff, 0xff, 0x0f]].concat();
    vec![
        (
            "HTTP",
            b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        ),
        ("a TLS hello", tls),
        ("noise", noise),
        ("a frame of 2 GiB", vec![0x7f, 0xff, 0xff, 0xff, 0, 3, 0, 1]),
        (
            "a frame of negative length",
            vec![0xff, 0xff, 0xff, 0xff, 0, 3],
        ),
        ("a frame too short for a header", vec![0, 0, 0, 2, 0, 3]),
        ("an empty frame", vec![0, 0, 0, 0]),
        ("an unknown API", frame(9999, 0, &[])),
        ("a version of Metadata that is not", frame(3, 99, &[])),
        ("two billion topics in Metadata 1", frame(3, 1, &huge_array)),
        (
            "two billion topics in Metadata 12",
            frame(3, 12, &huge_compact),
        ),
        (
            "two billion topics in CreateTopics 2",
            frame(19, 2, &huge_array),
        ),
        (
            "two billion topics in Fetch 4",
            frame(1, 4, &[&[0xff; 4][..], &[0; 13], &huge_array].concat()),
        ),
        ("a body that ends early", frame(3, 1, &[0, 0, 0, 9, 0, 200])),
    ]
}

fn hostile(_shared: &str) -> Result<()> {
    let mut broker = Broker::start(&[])?;
    let address = broker.address.clone();
    for (what, bytes) in hostile_inputs() {
        let reply = throw(&address, &bytes).with_context(|| format!("{what}: not closed"))?;
        ensure!(reply.len() < 64, "{what}: answered {} bytes", reply.len());
        ensure!(
            broker.is_up()?,
            "{what}: the broker is gone; log: {}",
            broker.log().display()
        );
    }
    let before = broker.resident_bytes()?;
    let mut random = StdRng::seed_from_u64(11);
    for _ in 0..100 {
        for (_, bytes) in hostile_inputs() {
            let _ = throw(&address, &bytes);
            // The same, cut off anywhere, and left hanging.
            let mut stream = TcpStream::connect(&address)?;
            let cut = random.random_range(0..=bytes.len());
            let _ = stream.write_all(&bytes[..cut]);
        }
    }
    ensure!(
        broker.is_up()?,
        "the broker is gone; log: {}",
        broker.log().display()
    );
    let after = broker.resident_bytes()?;
    let grown = after.saturating_sub(before);
    ensure!(
        grown < 32 << 20,
        "resident memory grew by {grown} bytes, from {before} to {after}"
    );
    let log = fs::read_to_string(broker.log())?;
    ensure!(
        !log.contains("panicked"),
        "a panic in the log: {}",
        broker.log().display()
    );
    let client = rdkafka()?;
    let mut driver = client.new_driver("rdkafka-hostile", &address)?;
    let mut run = Run {
        client,
        driver: &mut driver,
        address: &address,
    };
    super::records::round_trip(&mut run, "none")
}

/// Sends bytes and reads until the broker closes; an error if it does not.
fn throw(address: &str, bytes: &[u8]) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    // The broker may close before everything is sent.
    let _ = stream.write_all(bytes);
    let mut reply = Vec::new();
    match stream.read_to_end(&mut reply) {
        Err(error)
            if matches!(
                error.kind(),
                std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
            ) =>
        {
            Err(error.into())
        }
        _ => Ok(reply),
    }
}
