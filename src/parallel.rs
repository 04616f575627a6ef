//! The same work for many things on a few threads: for what waits for a disk.
//!
//! Blocks until all is done. Where no thread is to be had the caller's does it alone.

use parking_lot::Mutex;

/// Calls `work` once with each item, on at most `threads` threads, the caller's among them.
pub fn for_each<T: Send>(items: Vec<T>, threads: usize, work: impl Fn(T) + Sync) {
    let threads = threads.min(items.len());
    let queue = Mutex::new(items);
    let run = || {
        while let Some(item) = { queue.lock().pop() } {
            work(item);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            let _ = std::thread::Builder::new().spawn_scoped(scope, run);
        }
        run();
    });
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn everything_is_done_once_by_several() {
        let seen = Mutex::new(Vec::new());
        for_each((0..100).collect(), 4, |item| seen.lock().push(item));
        let mut seen = seen.into_inner();
        seen.sort_unstable();
        assert_eq!(seen, (0..100).collect::<Vec<_>>());

        // None would be done if they were done one after the other.
        let (barrier, threads) = (Barrier::new(3), Mutex::new(BTreeSet::new()));
        for_each(vec![(); 3], 8, |()| {
            barrier.wait();
            threads
                .lock()
                .insert(format!("{:?}", std::thread::current().id()));
        });
        assert_eq!(threads.into_inner().len(), 3);
        for_each(Vec::<()>::new(), 8, |()| unreachable!());
    }
}
