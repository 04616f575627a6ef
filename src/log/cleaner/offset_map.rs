//! The last offset of each key of a log's dirty part, in memory of a fixed size.
//!
//! A key is kept as a keyed 128-bit hash (SipHash-1-3, a secret of its own for each map): two keys that share one
//! would cost the older its record, and with 128 bits nobody meets such a pair by chance or, without the secret, on
//! purpose. 24 bytes a slot, as Kafka's, so that `log.cleaner.dedupe.buffer.size` means the same.
//!
//! The table is one array sorted by hash, with gaps: a slot's home is its hash scaled to the array, what is taken
//! moves its neighbours up. So a look-up is one jump and a short walk through memory in a row, and one that finds
//! nothing (most of them, in a log that was cleaned before) ends at the first larger hash.

use siphasher::sip128::{Hasher128, SipHasher13};
use std::hash::Hasher;

use crate::types::Offset;

/// High half, low half, offset + 1; all zero: empty.
type Slot = [u64; 3];

const SLOT_BYTES: u64 = 24;
const EMPTY: Slot = [0; 3];
/// Slots behind the last home, for what is pushed over it.
const SLACK: usize = 4096;

#[derive(Debug)]
pub(super) struct OffsetMap {
    slots: Vec<Slot>,
    homes: usize,
    len: usize,
    /// Keys at most.
    limit: usize,
    most_slots: usize,
    load_factor: f64,
    latest: Offset,
    hasher: SipHasher13,
}

impl OffsetMap {
    /// Takes no memory yet. `load_factor` is how full it may get.
    pub(super) fn new(memory_bytes: u64, load_factor: f64, secret: (u64, u64)) -> Self {
        let most = usize::try_from(memory_bytes / SLOT_BYTES).unwrap_or(usize::MAX);
        Self {
            slots: Vec::new(),
            homes: 0,
            len: 0,
            limit: 0,
            most_slots: most.max(2),
            load_factor,
            latest: Offset(-1),
            hasher: SipHasher13::new_with_keys(secret.0, secret.1),
        }
    }

    /// Empties it, and takes as much memory as so many keys need, within the bound.
    pub(super) fn reset(&mut self, expected_keys: u64) {
        let load = if self.load_factor > 0.0 {
            self.load_factor.min(1.0)
        } else {
            1.0
        };
        let wanted = expected_keys as f64 / load.min(0.75);
        let slots = if wanted < self.most_slots as f64 {
            (wanted as usize).clamp(64.min(self.most_slots), self.most_slots)
        } else {
            self.most_slots
        };
        self.limit = ((slots as f64 * load) as usize).clamp(1, slots);
        self.homes = slots - SLACK.min(slots / 16);
        // Zeroed pages come from the system as they are touched.
        self.slots = Vec::new();
        self.slots = vec![EMPTY; slots];
        self.len = 0;
        self.latest = Offset(-1);
    }

    pub(super) fn release(&mut self) {
        self.slots = Vec::new();
        self.homes = 0;
    }

    fn hash(&self, key: &[u8]) -> (u64, u64) {
        let mut hasher = self.hasher;
        hasher.write(key);
        let hash = hasher.finish128();
        (hash.h1, hash.h2)
    }

    fn home(&self, high: u64) -> usize {
        ((u128::from(high) * self.homes as u128) >> 64) as usize
    }

    /// Where a hash is, or belongs.
    fn place(&self, (high, low): (u64, u64)) -> usize {
        let mut at = self.home(high);
        while let Some(slot) = self.slots.get(at) {
            let [slot_high, slot_low, offset] = *slot;
            if offset == 0 || (slot_high, slot_low) >= (high, low) {
                break;
            }
            at += 1;
        }
        at
    }

    /// False when there is no room for another key.
    pub(super) fn put(&mut self, key: &[u8], offset: Offset) -> bool {
        let (high, low) = self.hash(key);
        let at = self.place((high, low));
        let new = [high, low, (offset.0 as u64).wrapping_add(1)];
        match self.slots.get_mut(at) {
            None => return false,
            Some(slot) if slot[2] != 0 && slot[..2] == new[..2] => {
                *slot = new;
                self.latest = offset;
                return true;
            }
            Some(_) => {}
        }
        if self.len >= self.limit {
            return false;
        }
        let rest = self.slots.get_mut(at..).unwrap_or_default();
        let Some(gap) = rest.iter().position(|slot| slot[2] == 0) else {
            return false;
        };
        if let Some(run) = rest.get_mut(..=gap) {
            run.rotate_right(1);
            if let Some(slot) = run.first_mut() {
                *slot = new;
            }
        }
        self.len += 1;
        self.latest = offset;
        true
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<Offset> {
        let (high, low) = self.hash(key);
        let [slot_high, slot_low, offset] = *self.slots.get(self.place((high, low)))?;
        (offset != 0 && (slot_high, slot_low) == (high, low)).then(|| Offset(offset as i64 - 1))
    }

    /// The last offset that it knows of: what lies beyond is not judged by it.
    pub(super) fn latest(&self) -> Offset {
        self.latest
    }

    pub(super) fn set_latest(&mut self, offset: Offset) {
        self.latest = offset;
    }

    /// How much of the memory it may have is taken by keys, from 0 to 1.
    pub(super) fn utilization(&self) -> f64 {
        self.len as f64 / self.most_slots as f64
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn map(slots: u64, load: f64, expected: u64) -> OffsetMap {
        let mut map = OffsetMap::new(slots * SLOT_BYTES, load, (1, 2));
        map.reset(expected);
        map
    }

    #[test]
    fn a_full_map_takes_no_new_key_and_still_moves_old_ones() {
        for (slots, load) in [(2, 1.0), (10, 0.9), (1000, 0.9), (100_000, 0.9)] {
            let mut map = map(slots, load, u64::MAX);
            let mut taken = 0u64;
            while map.put(&taken.to_be_bytes(), Offset(taken as i64)) {
                taken += 1;
            }
            let limit = (slots as f64 * load) as u64;
            assert!(
                taken <= limit && taken >= limit * 9 / 10,
                "{taken} of {limit}"
            );
            assert_eq!(map.latest(), Offset(taken as i64 - 1));
            for key in 0..taken {
                assert_eq!(map.get(&key.to_be_bytes()), Some(Offset(key as i64)));
            }
            assert_eq!(map.get(&taken.to_be_bytes()), None);
            assert!(map.put(&0u64.to_be_bytes(), Offset(9999)));
            assert_eq!(map.get(&0u64.to_be_bytes()), Some(Offset(9999)));
            map.reset(1);
            assert_eq!(map.get(&0u64.to_be_bytes()), None);
            assert_eq!(map.latest(), Offset(-1));
        }
    }

    #[test]
    fn memory_is_as_large_as_what_is_expected_and_bounded() {
        let small = map(1 << 20, 0.9, 1000);
        assert!((1000..4000).contains(&small.slots.len()));
        assert_eq!(map(1 << 20, 0.9, u64::MAX).slots.len(), 1 << 20);
        // As much as was expected fits.
        for expected in [1, 5, 64, 1000, 50_000] {
            let mut map = map(1 << 20, 0.9, expected);
            for key in 0..expected {
                assert!(
                    map.put(&key.to_be_bytes(), Offset(1)),
                    "{key} of {expected}"
                );
            }
        }
        let mut map = small;
        map.release();
        assert_eq!(map.get(b"k"), None);
        assert!(!map.put(b"k", Offset(1)));
    }

    #[test]
    fn a_load_factor_that_makes_no_sense_leaves_room_for_a_key() {
        for load in [-1.0, 0.0, 0.000_001, 7.0, f64::NAN] {
            let mut map = map(10, load, 10);
            assert!(map.put(b"k", Offset(0)), "{load}");
            assert_eq!(map.get(b"k"), Some(Offset(0)));
        }
    }

    proptest! {
        #[test]
        fn it_is_a_map(
            pairs in proptest::collection::vec((0u16..300, 0i64..1 << 40), 0..600),
            slots in 2u64..500,
        ) {
            let mut map = map(slots, 0.9, u64::MAX);
            let mut model = HashMap::new();
            for (key, offset) in pairs {
                let key = key.to_be_bytes();
                if map.put(&key, Offset(offset)) {
                    model.insert(key, Offset(offset));
                } else {
                    prop_assert!(!model.contains_key(&key));
                }
            }
            for key in 0u16..300 {
                let key = key.to_be_bytes();
                prop_assert_eq!(map.get(&key), model.get(&key).copied());
            }
            prop_assert_eq!(map.len, model.len());
        }
    }
}
