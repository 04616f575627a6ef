//! Which frame goes where and when. Pure: time and chance come from outside, so a test says what becomes of each frame.
//!
//! * Every port has a link to every other one, each with a `Policy` of its own: one direction can be cut and the other not.
//! * The frames of a link stay in order, however they are delayed, but for those that its policy lets overtake.
//! * Who has a new policy loses what is on its way: a cut takes effect at once, and so does its end.
//!
//! A port's hardware address says its number; nothing is learned, and what is for several ports (ARP, IPv6) goes nowhere:
//! the ports know each other's addresses.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde::Serialize;

pub type Port = usize;

/// What waits for a slow or long link; more than that is dropped, as by a router's queue.
const LINK_QUEUE_BYTES: usize = 512 * 1024;

/// How a link treats frames. The default delivers at once.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Policy {
    pub cut: bool,
    /// Chances are of each frame, from 0 to 1.
    pub loss: f64,
    /// Losses that come together.
    pub burst: Burst,
    pub delay: Duration,
    /// At most; added to the delay.
    pub jitter: Duration,
    pub duplicate: f64,
    /// To go without the delay, before others that have waited longer.
    pub overtake: f64,
    pub bytes_per_second: Option<u32>,
}

/// In a burst every frame is lost.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Burst {
    /// The chance that a frame begins one, and that it ends the one before it.
    pub begin: f64,
    pub end: f64,
}

impl Policy {
    pub const CUT: Self = Self {
        cut: true,
        loss: 0.0,
        burst: Burst {
            begin: 0.0,
            end: 0.0,
        },
        delay: Duration::ZERO,
        jitter: Duration::ZERO,
        duplicate: 0.0,
        overtake: 0.0,
        bytes_per_second: None,
    };
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Counts {
    pub delivered: u64,
    pub cut: u64,
    pub lost: u64,
    pub duplicated: u64,
    pub overtaking: u64,
    /// For the queue was full, or the policy changed.
    pub dropped: u64,
}

#[derive(Debug, Default)]
struct Link {
    policy: Policy,
    /// Frames of policies before this one are lost.
    generation: u64,
    in_burst: bool,
    /// When the last bit of what was let in so far has left.
    busy_until: Duration,
    /// No frame arrives before this one.
    last_due: Duration,
    queued_bytes: usize,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Frame {
    pub to: Port,
    pub bytes: Vec<u8>,
    from: Port,
    generation: u64,
}

#[derive(Debug)]
pub struct Fabric {
    ports: usize,
    links: Vec<Link>,
    /// By when they are due, then in the order in which they came.
    order: BinaryHeap<Reverse<(Duration, u64)>>,
    frames: BTreeMap<u64, Frame>,
    next: u64,
    random: StdRng,
    pub counts: Counts,
}

/// Locally administered; the last byte is the port's number.
pub fn hardware_address(port: Port) -> [u8; 6] {
    [0x02, 0xd0, 0, 0, 0, port as u8]
}

impl Fabric {
    pub fn new(ports: usize, seed: u64) -> Self {
        Self {
            ports,
            links: (0..ports * ports).map(|_| Link::default()).collect(),
            order: BinaryHeap::new(),
            frames: BTreeMap::new(),
            next: 0,
            random: StdRng::seed_from_u64(seed),
            counts: Counts::default(),
        }
    }

    pub fn ports(&self) -> usize {
        self.ports
    }

    /// For frames that come or are due from now on.
    pub fn set(&mut self, from: Port, to: Port, policy: Policy) {
        let link = &mut self.links[from * self.ports + to];
        if link.policy != policy {
            *link = Link {
                policy,
                generation: link.generation + 1,
                ..Link::default()
            };
        }
    }

    /// A frame that `from` sends.
    pub fn offer(&mut self, now: Duration, from: Port, bytes: &[u8]) {
        let to = (0..self.ports).find(|port| bytes.starts_with(&hardware_address(*port)));
        let Some(to) = to.filter(|to| *to != from) else {
            return;
        };
        let link = &mut self.links[from * self.ports + to];
        let policy = link.policy;
        if policy.cut {
            self.counts.cut += 1;
            return;
        }
        let mut chance = |chance: f64| chance > 0.0 && self.random.random_bool(chance.min(1.0));
        let turn = if link.in_burst {
            policy.burst.end
        } else {
            policy.burst.begin
        };
        if chance(turn) {
            link.in_burst = !link.in_burst;
        }
        if link.in_burst || chance(policy.loss) {
            self.counts.lost += 1;
            return;
        }
        let copies = 1 + usize::from(chance(policy.duplicate));
        self.counts.duplicated += copies as u64 - 1;
        for _ in 0..copies {
            self.let_in(now, from, to, bytes);
        }
    }

    fn let_in(&mut self, now: Duration, from: Port, to: Port, bytes: &[u8]) {
        let link = &mut self.links[from * self.ports + to];
        let policy = link.policy;
        if link.queued_bytes + bytes.len() > LINK_QUEUE_BYTES {
            self.counts.dropped += 1;
            return;
        }
        let mut due = now;
        if let Some(rate) = policy.bytes_per_second {
            let takes = bytes.len() as f64 / f64::from(rate.max(1));
            link.busy_until = link.busy_until.max(now) + Duration::from_secs_f64(takes);
            due = link.busy_until;
        }
        if policy.overtake > 0.0 && self.random.random_bool(policy.overtake) {
            self.counts.overtaking += 1;
        } else {
            due += policy.delay + policy.jitter.mul_f64(self.random.random());
            due = due.max(link.last_due);
            link.last_due = due;
        }
        link.queued_bytes += bytes.len();
        let frame = Frame {
            to,
            bytes: bytes.to_vec(),
            from,
            generation: link.generation,
        };
        self.order.push(Reverse((due, self.next)));
        self.frames.insert(self.next, frame);
        self.next += 1;
    }

    /// The next frame that has arrived by now.
    pub fn take_due(&mut self, now: Duration) -> Option<Frame> {
        while self.next_due().is_some_and(|due| due <= now) {
            let Some(Reverse((_, number))) = self.order.pop() else {
                break;
            };
            let Some(frame) = self.frames.remove(&number) else {
                continue;
            };
            let link = &mut self.links[frame.from * self.ports + frame.to];
            if link.generation == frame.generation {
                link.queued_bytes -= frame.bytes.len();
                self.counts.delivered += 1;
                return Some(frame);
            }
            self.counts.dropped += 1;
        }
        None
    }

    pub fn next_due(&self) -> Option<Duration> {
        self.order.peek().map(|Reverse((due, _))| *due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn to(port: Port, number: u8) -> Vec<u8> {
        let mut bytes = hardware_address(port).to_vec();
        bytes.push(number);
        bytes
    }

    fn arrived(fabric: &mut Fabric, now: Duration) -> Vec<(Port, u8)> {
        let frames = std::iter::from_fn(|| fabric.take_due(now));
        frames.map(|frame| (frame.to, frame.bytes[6])).collect()
    }

    /// A thousand frames, a millisecond apart, from 0 to 1: when each that arrives does.
    fn thousand(policy: Policy, seed: u64) -> (Vec<(u64, u8)>, Counts) {
        let mut fabric = Fabric::new(2, seed);
        fabric.set(0, 1, policy);
        let mut all = Vec::new();
        for at in 0..10_000 {
            if at < 1000 {
                fabric.offer(ms(at), 0, &to(1, at as u8));
            }
            all.extend(
                arrived(&mut fabric, ms(at))
                    .iter()
                    .map(|(_, number)| (at, *number)),
            );
        }
        (all, fabric.counts)
    }

    #[test]
    fn a_frame_goes_at_once_to_the_port_that_it_names_and_to_no_other() {
        let mut fabric = Fabric::new(3, 1);
        fabric.offer(ms(5), 0, &to(2, 7));
        fabric.offer(ms(5), 2, &to(1, 8));
        assert_eq!(fabric.next_due(), Some(ms(5)));
        assert_eq!(arrived(&mut fabric, ms(5)), [(2, 7), (1, 8)]);
        // To itself, to nobody, to all, and too short for an address.
        for bytes in [to(0, 1), to(3, 1), vec![0xff; 7], vec![2, 0xd0]] {
            fabric.offer(ms(6), 0, &bytes);
        }
        assert!(arrived(&mut fabric, ms(99)).is_empty() && fabric.next_due().is_none());
    }

    #[test]
    fn a_cut_has_a_direction_and_takes_what_is_on_its_way() {
        let mut fabric = Fabric::new(2, 1);
        let slow = Policy {
            delay: ms(50),
            ..Policy::default()
        };
        fabric.set(0, 1, slow);
        fabric.offer(ms(0), 0, &to(1, 1));
        fabric.set(0, 1, Policy::CUT);
        fabric.offer(ms(1), 0, &to(1, 2));
        fabric.offer(ms(1), 1, &to(0, 3));
        assert_eq!(arrived(&mut fabric, ms(99)), [(0, 3)]);
        assert_eq!((fabric.counts.cut, fabric.counts.dropped), (1, 1));
        fabric.set(0, 1, Policy::default());
        fabric.offer(ms(100), 0, &to(1, 4));
        assert_eq!(arrived(&mut fabric, ms(100)), [(1, 4)]);
    }

    #[test]
    fn the_same_policy_again_changes_nothing() {
        let mut fabric = Fabric::new(2, 1);
        let slow = Policy {
            delay: ms(50),
            ..Policy::default()
        };
        fabric.set(0, 1, slow);
        fabric.offer(ms(0), 0, &to(1, 1));
        fabric.set(0, 1, slow);
        assert!(arrived(&mut fabric, ms(49)).is_empty());
        assert_eq!(arrived(&mut fabric, ms(50)), [(1, 1)]);
    }

    #[test]
    fn jitter_delays_and_keeps_the_order() {
        let policy = Policy {
            delay: ms(20),
            jitter: ms(30),
            ..Policy::default()
        };
        let (all, _) = thousand(policy, 3);
        assert_eq!(all.len(), 1000);
        for (sent, (at, number)) in all.iter().enumerate() {
            assert_eq!(*number, sent as u8);
            assert!((20..=51).contains(&(at - sent as u64)), "{sent} at {at}");
        }
        let waited = all
            .iter()
            .enumerate()
            .map(|(sent, (at, _))| at - sent as u64);
        assert!(waited.clone().min() < Some(35) && waited.max() > Some(45));
    }

    #[test]
    fn some_overtake() {
        let policy = Policy {
            delay: ms(20),
            overtake: 0.2,
            ..Policy::default()
        };
        let (all, counts) = thousand(policy, 3);
        assert_eq!(all.len(), 1000);
        assert!((150..250).contains(&counts.overtaking), "{counts:?}");
        // One that has waited for 20 ms comes behind the one of the moment before.
        let behind = |pair: &[(u64, u8)]| pair[0].1 == pair[1].1.wrapping_add(19);
        assert!(all.windows(2).any(behind));
    }

    #[test]
    fn chances_are_what_they_say_and_come_from_the_seed() {
        let policy = Policy {
            loss: 0.3,
            duplicate: 0.1,
            ..Policy::default()
        };
        let (all, counts) = thousand(policy, 3);
        assert!((250..350).contains(&counts.lost), "{counts:?}");
        assert!((40..110).contains(&counts.duplicated), "{counts:?}");
        assert_eq!(all.len() as u64, 1000 - counts.lost + counts.duplicated);
        assert_eq!(thousand(policy, 3).0, all);
        assert_ne!(thousand(policy, 4).0, all);
    }

    #[test]
    fn bursts_lose_many_in_a_row() {
        let policy = Policy {
            burst: Burst {
                begin: 0.02,
                end: 0.1,
            },
            ..Policy::default()
        };
        let (all, counts) = thousand(policy, 3);
        // A sixth of the time, ten at a time.
        assert!((80..300).contains(&counts.lost), "{counts:?}");
        let gaps = all.windows(2).filter(|pair| pair[1].0 - pair[0].0 > 1);
        assert!((8..40).contains(&gaps.count()));
    }

    #[test]
    fn a_narrow_link_delivers_at_its_rate_and_drops_what_it_cannot_hold() {
        let mut fabric = Fabric::new(2, 1);
        let narrow = Policy {
            bytes_per_second: Some(100_000),
            ..Policy::default()
        };
        fabric.set(0, 1, narrow);
        let mut frame = to(1, 0);
        frame.resize(1000, 0);
        for _ in 0..1000 {
            fabric.offer(ms(0), 0, &frame);
        }
        assert_eq!(arrived(&mut fabric, ms(9)).len(), 0);
        assert_eq!(arrived(&mut fabric, ms(1000)).len(), 100);
        let held = LINK_QUEUE_BYTES / 1000;
        assert_eq!(arrived(&mut fabric, ms(10_000)).len(), held - 100);
        assert_eq!(fabric.counts.dropped as usize, 1000 - held);
        fabric.offer(ms(20_000), 0, &frame);
        assert_eq!(fabric.next_due(), Some(ms(20_010)));
    }
}
