//! What Kafka writes, spoiled. Pure: the same seed and number give the same frame.

use conformance::Message;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

/// API key, version and correlation id: most frames keep them, for else they would go no further.
const HEAD: usize = 8;
/// A frame is seldom spoiled in more places.
const MOST_CHANGES: usize = 4;
const LENGTHS: [u64; 8] = [
    0,
    1,
    0x7f,
    0x7fff,
    0x00ff_ffff,
    0x7fff_ffff,
    0x8000_0000,
    u64::MAX,
];
/// The greatest unsigned varint of 32 bits, and one that does not end.
const VARINTS: [&[u8]; 3] = [
    &[0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0x80, 0x80, 0x80, 0x80, 0x08],
    &[0xff; 11],
];

/// What goes over the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spoiled {
    /// In the corpus.
    pub of: usize,
    pub payload: Vec<u8>,
    /// What is said to come: mostly what comes.
    pub length: i32,
}

impl Spoiled {
    pub fn bytes(&self) -> Vec<u8> {
        [&self.length.to_be_bytes()[..], &self.payload].concat()
    }

    /// What an answer would begin with.
    pub fn correlation_id(&self) -> Option<&[u8]> {
        self.payload.get(4..HEAD)
    }

    /// Whether the broker gets a whole frame, and nothing behind it.
    pub fn is_whole(&self) -> bool {
        usize::try_from(self.length) == Ok(self.payload.len())
    }
}

/// The frames take turns, so that each is spoiled as often as the others.
pub fn spoil(corpus: &[Message], seed: u64, number: u64) -> Spoiled {
    let mut random = StdRng::seed_from_u64(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let of = (number % corpus.len() as u64) as usize;
    let mut payload = corpus[of].frame.to_vec();
    for _ in 0..random.random_range(1..=MOST_CHANGES) {
        let other = &corpus[random.random_range(0..corpus.len())].frame;
        change(&mut payload, other, &mut random);
    }
    let whole = payload.len() as i32;
    let length = match random.random_range(0..40) {
        0 => whole - random.random_range(0..=whole),
        1 => whole + random.random_range(1..100),
        2 => LENGTHS[random.random_range(0..LENGTHS.len())] as i32,
        _ => whole,
    };
    Spoiled {
        of,
        payload,
        length,
    }
}

fn change(payload: &mut Vec<u8>, other: &[u8], random: &mut StdRng) {
    let keeps_head = random.random_range(0..16) != 0;
    let first = if keeps_head {
        HEAD.min(payload.len())
    } else {
        0
    };
    let at = random.random_range(first..=payload.len());
    let end = random.random_range(at..=(at + 16).min(payload.len()));
    match random.random_range(0..8) {
        0 => payload.truncate(at),
        1 => {
            payload.drain(at..end);
        }
        2 => {
            let again = payload[at..end].to_vec();
            payload.splice(at..at, again);
        }
        3 => {
            let noise: Vec<u8> = (0..random.random_range(1..16))
                .map(|_| random.random())
                .collect();
            payload.splice(at..at, noise);
        }
        4 => {
            let varint = VARINTS[random.random_range(0..VARINTS.len())];
            payload.splice(at..(at + 1).min(payload.len()), varint.iter().copied());
        }
        5 => {
            let width = [2, 4, 8][random.random_range(0..3)];
            let length = LENGTHS[random.random_range(0..LENGTHS.len())].to_be_bytes();
            overwrite(payload, at, &length[8 - width..]);
        }
        6 => {
            let from = random.random_range(0..=other.len());
            payload.truncate(at);
            payload.extend(&other[from..]);
        }
        _ => {
            let bit = 1 << random.random_range(0..8);
            if let Some(byte) = payload.get_mut(at) {
                *byte ^= bit;
            }
        }
    }
}

fn overwrite(payload: &mut [u8], at: usize, with: &[u8]) {
    for (byte, with) in payload.iter_mut().skip(at).zip(with) {
        *byte = *with;
    }
}
