//! A switch in user space between TAP devices, whose links can be cut, slow and lossy: `fabric` decides, the thread here
//! moves the frames.
//!
//! The devices may lie in other network namespaces; the switch only has their files.

pub mod fabric;

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tappers::Tap;

pub use fabric::{Burst, Counts, Policy, Port};

use fabric::Fabric;

/// Larger than a frame of an interface without offloading.
const FRAME_BYTES: usize = 2048;
/// Of one port before the others have their turn.
const FRAMES_AT_ONCE: usize = 64;
/// How soon the thread notices that it is to end.
const LOOK_EVERY: Duration = Duration::from_millis(50);

pub struct Switch {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    fabric: Mutex<Fabric>,
    stop: AtomicBool,
    failure: Mutex<Option<String>>,
}

impl Switch {
    /// Each device is the port of its place.
    pub fn start(mut taps: Vec<Tap>, seed: u64) -> io::Result<Self> {
        for tap in &mut taps {
            tap.set_nonblocking(true)?;
        }
        let shared = Arc::new(Shared {
            fabric: Mutex::new(Fabric::new(taps.len(), seed)),
            stop: AtomicBool::new(false),
            failure: Mutex::new(None),
        });
        let of_thread = Arc::clone(&shared);
        let thread = thread::Builder::new().name("switch".into());
        let thread = thread.spawn(move || {
            if let Err(error) = of_thread.run(&taps) {
                *lock(&of_thread.failure) = Some(format!("the switch has failed: {error}"));
            }
        })?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// All at the same moment.
    pub fn set(&self, links: &[(Port, Port, Policy)]) {
        let mut fabric = lock(&self.shared.fabric);
        for (from, to, policy) in links {
            fabric.set(*from, *to, *policy);
        }
    }

    /// Every link delivers at once.
    pub fn heal(&self) {
        let mut fabric = lock(&self.shared.fabric);
        for from in 0..fabric.ports() {
            for to in 0..fabric.ports() {
                fabric.set(from, to, Policy::default());
            }
        }
    }

    pub fn counts(&self) -> Counts {
        lock(&self.shared.fabric).counts
    }

    /// Why nothing is delivered any more.
    pub fn failure(&self) -> Option<String> {
        lock(&self.shared.failure).clone()
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn run(&self, taps: &[Tap]) -> io::Result<()> {
        let started = Instant::now();
        while !self.stop.load(Ordering::Relaxed) {
            let next = lock(&self.fabric).next_due();
            let wait = next.map_or(LOOK_EVERY, |due| {
                due.saturating_sub(started.elapsed()).min(LOOK_EVERY)
            });
            let readable = readable(taps, wait)?;
            let mut fabric = lock(&self.fabric);
            for port in readable {
                receive(&mut fabric, port, &taps[port], started)?;
            }
            while let Some(frame) = fabric.take_due(started.elapsed()) {
                // One that is not up, or whose queue is full, loses the frame, as a cable would.
                let _ = taps[frame.to].send(&frame.bytes);
            }
        }
        Ok(())
    }
}

fn readable(taps: &[Tap], wait: Duration) -> io::Result<BTreeSet<Port>> {
    let fds = taps.iter().map(|tap| tap.as_fd());
    let mut polled: Vec<PollFd<'_>> = fds
        .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
        .collect();
    let wait = Timespec {
        tv_sec: wait.as_secs() as i64,
        tv_nsec: wait.subsec_nanos().into(),
    };
    match poll(&mut polled, Some(&wait)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    let ready = polled.iter().enumerate();
    let ready = ready.filter(|(_, fd)| !fd.revents().is_empty());
    Ok(ready.map(|(port, _)| port).collect())
}

fn receive(fabric: &mut Fabric, port: Port, tap: &Tap, started: Instant) -> io::Result<()> {
    let mut frame = [0; FRAME_BYTES];
    for _ in 0..FRAMES_AT_ONCE {
        match tap.recv(&mut frame) {
            Ok(length) => fabric.offer(started.elapsed(), port, &frame[..length]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
