//! The one source of randomness of a simulated run: the same seed gives the same numbers, on every machine and
//! whatever version of whatever crate is in use, so a pinned seed stays what it is.

/// splitmix64.
#[derive(Debug, Clone)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// From 0 up to, not including, `end`; 0 when that is 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next().checked_rem(end).unwrap_or(0)
    }

    /// Both ends included.
    pub(crate) fn between(&mut self, first: u64, last: u64) -> u64 {
        first + self.below(last - first + 1)
    }

    /// True `times` out of a thousand.
    pub(crate) fn permille(&mut self, times: u64) -> bool {
        self.below(1000) < times
    }

    /// One of them, if there is any.
    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        from.get(self.below(from.len() as u64) as usize).copied()
    }

    /// Mostly near `typical`, now and then many times that: what latencies look like.
    pub(crate) fn latency(&mut self, typical: u64) -> u64 {
        let spread = self.between(typical / 2, typical + typical / 2);
        match self.below(100) {
            0 => spread * 20,
            1..=4 => spread * 5,
            _ => spread,
        }
    }
}

/// Spreads the bits of a number over a word.
pub(crate) fn mix(number: u64) -> u64 {
    let mut z = number;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Of bytes: equal digests are taken for equal bytes.
pub(crate) fn digest(seed: u64, bytes: &[u8]) -> u64 {
    let words = bytes.chunks(8).map(|chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        u64::from_le_bytes(word)
    });
    words.fold(mix(seed ^ bytes.len() as u64), |sum, word| {
        mix(sum.rotate_left(23) ^ word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_its_numbers() {
        let mut chance = Chance::new(7);
        let numbers = [chance.next(), chance.next(), chance.next()];
        assert_eq!(
            numbers,
            [
                7191089600892374487,
                309689372594955804,
                16616101746815609346
            ],
            "pinned seeds depend on it"
        );
        assert!((0..1000).all(|_| (3..=5).contains(&chance.between(3, 5))));
        assert_eq!(chance.pick::<u8>(&[]), None);
        assert_eq!(chance.below(0), 0);
    }

    #[test]
    fn digests_differ() {
        assert_ne!(digest(0, b""), digest(0, b"\0"));
        assert_ne!(digest(0, b"a"), digest(1, b"a"));
        assert_ne!(digest(0, b"12345678a"), digest(0, b"12345678b"));
    }
}
