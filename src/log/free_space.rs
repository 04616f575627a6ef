//! How much of its disk a log directory keeps free, and what is refused below that.
//!
//! Pure but for the atomics that a produce looks at. Below the floor producers are refused; below half of it the
//! coordinators, too; the rest is for metadata, indexes and checkpoints. What was refused is taken
//! again an eighth above the floor, so that a disk at its floor does not flicker.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use super::append::AppendOrigin;
use super::storage::Space;

/// Nobody told us: the smaller of these.
const DEFAULT_BYTES: u64 = 1 << 30;
const DEFAULT_PERCENT: f64 = 1.0;

/// Bytes a second that a disk may fill with before it was ever seen to.
const ASSUMED_RATE: u64 = 256 << 20;
const LOOK_AT_MOST: Duration = Duration::from_secs(1);
const LOOK_AT_LEAST: Duration = Duration::from_millis(20);
const LOOK_AT_LEAST_WHEN_IDLE: Duration = Duration::from_millis(100);

/// `log.dirs.min.free.bytes` and `log.dirs.min.free.percent`: each -1 where it is not set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MinFree {
    pub bytes: i64,
    pub percent: f64,
}

impl MinFree {
    /// The larger of those that are set; 0: there is no floor.
    fn floor(self, total: u64) -> u64 {
        let share = |percent: f64| (total as f64 * percent / 100.0) as u64;
        let bytes = u64::try_from(self.bytes).ok();
        let percent = (self.percent >= 0.0).then(|| share(self.percent));
        match (bytes, percent) {
            (None, None) => DEFAULT_BYTES.min(share(DEFAULT_PERCENT)),
            (bytes, percent) => bytes.unwrap_or(0).max(percent.unwrap_or(0)),
        }
    }
}

/// Who is refused, from nobody on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Refused {
    Nobody = 0,
    Producers = 1,
    CoordinatorsToo = 2,
}

impl Refused {
    /// What follows when so many bytes are free.
    fn next(self, usable: u64, floor: u64) -> Refused {
        let half = floor / 2;
        let enough = |floor: u64| usable >= floor.saturating_add(floor / 8);
        if usable < half || (self == Refused::CoordinatorsToo && !enough(half)) {
            Refused::CoordinatorsToo
        } else if usable < floor || (self >= Refused::Producers && !enough(floor)) {
            Refused::Producers
        } else {
            Refused::Nobody
        }
    }
}

/// What a look found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpaceSeen {
    pub before: Refused,
    pub now: Refused,
    /// When to look again.
    pub next: Duration,
}

/// The free space of one log directory as it was last looked at.
#[derive(Debug, Default)]
pub struct FreeSpace {
    refused: AtomicU8,
    usable: AtomicU64,
    floor: AtomicU64,
    refusals: AtomicU64,
}

impl FreeSpace {
    /// Who is refused now. A load: asked by every append.
    pub fn refused(&self) -> Refused {
        match self.refused.load(Ordering::Relaxed) {
            0 => Refused::Nobody,
            1 => Refused::Producers,
            _ => Refused::CoordinatorsToo,
        }
    }

    /// Whether an append may be made; one that may not is counted.
    pub fn admits(&self, origin: AppendOrigin) -> bool {
        let limit = match origin {
            AppendOrigin::Client => Refused::Producers,
            AppendOrigin::Coordinator | AppendOrigin::Marker { .. } => Refused::CoordinatorsToo,
        };
        let admitted = self.refused() < limit;
        if !admitted {
            self.refusals.fetch_add(1, Ordering::Relaxed);
        }
        admitted
    }

    /// Bytes that this process may still use.
    pub fn usable(&self) -> u64 {
        self.usable.load(Ordering::Relaxed)
    }

    pub fn floor(&self) -> u64 {
        self.floor.load(Ordering::Relaxed)
    }

    /// Appends that were refused.
    pub fn refusals(&self) -> u64 {
        self.refusals.load(Ordering::Relaxed)
    }

    /// Takes in what the file system says, `since` the last time. Called by one thread.
    pub fn look(&self, space: Space, min_free: MinFree, since: Duration) -> SpaceSeen {
        let floor = min_free.floor(space.total);
        let before = self.refused();
        let now = before.next(space.usable, floor);
        let used = self.usable().saturating_sub(space.usable);
        self.usable.store(space.usable, Ordering::Relaxed);
        self.floor.store(floor, Ordering::Relaxed);
        self.refused.store(now as u8, Ordering::Relaxed);
        SpaceSeen {
            before,
            now,
            next: next_look(space.usable.saturating_sub(floor), used, since),
        }
    }
}

/// A quarter of the time in which the distance to the floor can be gone.
fn next_look(distance: u64, used: u64, since: Duration) -> Duration {
    let rate = used as f64 / since.as_secs_f64().max(0.001);
    let rate = rate.max(ASSUMED_RATE as f64);
    let least = if used == 0 {
        LOOK_AT_LEAST_WHEN_IDLE
    } else {
        LOOK_AT_LEAST
    };
    let left = (distance as f64 / rate / 4.0).clamp(0.0, LOOK_AT_MOST.as_secs_f64());
    Duration::from_secs_f64(left).clamp(least, LOOK_AT_MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;
    const UNSET: MinFree = MinFree {
        bytes: -1,
        percent: -1.0,
    };

    #[test]
    fn the_floor_suits_large_disks_and_small_ones() {
        let set = |bytes, percent| MinFree { bytes, percent };
        for (min_free, total, floor) in [
            (UNSET, 1000 * GIB, GIB),
            (UNSET, 10 * GIB, GIB / 10),
            (UNSET, 64 << 20, (64 << 20) / 100),
            (UNSET, 0, 0),
            (set(5, -1.0), 1000 * GIB, 5),
            (set(-1, 10.0), 1000 * GIB, 100 * GIB),
            (set(GIB as i64, 1.0), 50 * GIB, GIB),
            (set(GIB as i64, 1.0), 200 * GIB, 2 * GIB),
            (set(0, -1.0), 1000 * GIB, 0),
            (set(0, 0.0), 1000 * GIB, 0),
        ] {
            assert_eq!(min_free.floor(total), floor, "{min_free:?} of {total}");
        }
    }

    #[test]
    fn producers_are_refused_first_and_taken_again_above_the_floor() {
        let space = FreeSpace::default();
        let min_free = MinFree {
            bytes: 1000,
            percent: -1.0,
        };
        let steps = [
            (5000, Refused::Nobody),
            (1000, Refused::Nobody),
            (999, Refused::Producers),
            (1100, Refused::Producers),
            (1124, Refused::Producers),
            (1125, Refused::Nobody),
            (1000, Refused::Nobody),
            (499, Refused::CoordinatorsToo),
            (561, Refused::CoordinatorsToo),
            (562, Refused::Producers),
            (500, Refused::Producers),
            (0, Refused::CoordinatorsToo),
            (2000, Refused::Nobody),
        ];
        for (usable, refused) in steps {
            let total = 10_000;
            let seen = space.look(Space { total, usable }, min_free, Duration::from_secs(1));
            assert_eq!((seen.now, space.refused()), (refused, refused), "{usable}");
            let admitted = [AppendOrigin::Client, AppendOrigin::Coordinator]
                .map(|origin| space.admits(origin));
            let expected = match refused {
                Refused::Nobody => [true, true],
                Refused::Producers => [false, true],
                Refused::CoordinatorsToo => [false, false],
            };
            assert_eq!(admitted, expected, "{usable}");
        }
        assert_eq!(space.refusals(), 5 + 2 * 3);
        assert_eq!((space.usable(), space.floor()), (2000, 1000));
    }

    #[test]
    fn without_a_floor_nobody_is_refused() {
        let space = FreeSpace::default();
        let min_free = MinFree {
            bytes: 0,
            percent: -1.0,
        };
        let full = Space {
            total: 10,
            usable: 0,
        };
        assert_eq!(
            space.look(full, min_free, Duration::ZERO).now,
            Refused::Nobody
        );
    }

    #[test]
    fn it_is_looked_more_often_when_the_floor_is_near_or_the_disk_fills_fast() {
        let second = Duration::from_secs(1);
        let ms = Duration::from_millis;
        for (distance, used, next) in [
            (100 * GIB, 0, second),
            (GIB, 0, second),
            (GIB / 4, 0, ms(250)),
            (0, 0, ms(100)),
            (0, 1, ms(20)),
            (GIB, 2 * GIB, ms(125)),
            (GIB / 64, GIB / 4, ms(20)),
        ] {
            assert_eq!(next_look(distance, used, second), next, "{distance} {used}");
        }
    }
}
