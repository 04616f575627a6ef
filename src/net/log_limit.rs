//! How many lines of one kind the log gets: what anybody can cause by sending nonsense must not fill a disk.
//!
//! Owned by whoever writes the lines. Time is an input.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

const WINDOW: Duration = Duration::from_secs(1);
/// Enough for every client of a wrong kind that somebody starts by mistake.
const LINES: u32 = 20;

#[derive(Debug)]
struct Window {
    since: Instant,
    lines: u32,
    unlogged: u64,
}

/// At most twenty lines a second.
#[derive(Debug, Default)]
pub(crate) struct LogLimit(Mutex<Option<Window>>);

impl LogLimit {
    /// Whether a line may be written, and how many were not since the last one that was.
    pub(crate) fn admit(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock();
        let window = state.get_or_insert(Window {
            since: now,
            lines: 0,
            unlogged: 0,
        });
        if now.saturating_duration_since(window.since) >= WINDOW {
            window.since = now;
            window.lines = 0;
        }
        if window.lines == LINES {
            window.unlogged += 1;
            return None;
        }
        window.lines += 1;
        Some(std::mem::take(&mut window.unlogged))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_written_is_counted_in_the_next_line() {
        let limit = LogLimit::default();
        let start = Instant::now();
        let told: Vec<Option<u64>> = (0..25).map(|_| limit.admit(start)).collect();
        assert!(told.iter().take(20).all(|told| *told == Some(0)));
        assert!(told.iter().skip(20).all(Option::is_none));
        let before = start + WINDOW - Duration::from_millis(1);
        assert_eq!(limit.admit(before), None);
        assert_eq!(limit.admit(start + WINDOW), Some(6));
        assert_eq!(limit.admit(start + WINDOW), Some(0));
    }
}
