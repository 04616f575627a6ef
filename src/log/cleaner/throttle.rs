//! `log.cleaner.io.max.bytes.per.second`: how long a cleaner must pause so that reads and writes together stay
//! below a rate on average.
//!
//! Pure: the caller brings the time and does the waiting. Kafka's rule: looked at a few times a second, and a rate
//! is an average since the last look.

use std::time::Duration;

const LOOK_EVERY: Duration = Duration::from_millis(300);

#[derive(Debug, Clone, Copy, Default)]
pub struct Throttle {
    since: Option<Duration>,
    bytes: f64,
}

impl Throttle {
    /// So many bytes were read or written; how long to wait before the next. `now` counts from anywhere.
    pub fn observe(&mut self, now: Duration, bytes: usize, bytes_per_second: f64) -> Duration {
        let since = *self.since.get_or_insert(now);
        self.bytes += bytes as f64;
        let elapsed = now.saturating_sub(since);
        if elapsed < LOOK_EVERY {
            return Duration::ZERO;
        }
        let allowed = Duration::try_from_secs_f64(self.bytes / bytes_per_second.max(1.0));
        let pause = allowed.unwrap_or(Duration::MAX).saturating_sub(elapsed);
        self.since = Some(now.saturating_add(pause));
        self.bytes = 0.0;
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_average_stays_below_the_rate() {
        for rate in [1e3, 1e6, 123_456.0] {
            let mut throttle = Throttle::default();
            let mut now = 5 * MS;
            let mut bytes = 0usize;
            while now < 60_000 * MS {
                // As fast as 10 MB a second.
                bytes += 50_000;
                now += 5 * MS;
                now += throttle.observe(now, 50_000, rate);
            }
            let average = bytes as f64 / now.as_secs_f64();
            // The first look comes after 300 ms at full speed, and is paid for at once.
            assert!(average <= rate * 1.02, "{average} of {rate}");
            assert!(average >= rate * 0.9, "{average} of {rate}");
        }
    }

    #[test]
    fn no_limit_is_no_pause() {
        let mut throttle = Throttle::default();
        for n in 0..1000 {
            assert_eq!(
                throttle.observe(n * 5 * MS, 1 << 20, f64::MAX),
                Duration::ZERO
            );
        }
    }

    #[test]
    fn a_change_counts_at_the_next_look() {
        let mut throttle = Throttle::default();
        assert_eq!(
            throttle.observe(Duration::ZERO, 1_000_000, 1e9),
            Duration::ZERO
        );
        assert_eq!(throttle.observe(400 * MS, 0, 1e6), 600 * MS);
        assert_eq!(
            throttle.observe(1100 * MS, 1_000_000, f64::MAX),
            Duration::ZERO
        );
    }
}
