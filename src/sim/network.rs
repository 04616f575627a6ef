//! Links between servers: each keeps the order of what it carries, and none of them can be relied upon.
//!
//! A link between two servers has two ends that hear of it, of its messages and of its end each in its own time. It may be slow,
//! it may be cut in one direction or both (then what is on its way waits), and it may be reset (then an end of what was on
//! its way is lost, and both ends hear of it, or one of them only when the next link comes). Each end lets an older link
//! go when it hears of a newer one, and hears nothing of the older one any more.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::chance::Chance;
use crate::types::NodeId;

/// What one end of a link hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Heard<M> {
    Connected,
    Message(M),
    Disconnected,
}

/// One direction of a link: which link, and to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Way {
    link: u64,
    pub(crate) from: NodeId,
    pub(crate) to: NodeId,
}

/// How an end hears that its link is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Notice {
    /// As soon as what was sent before has come.
    Soon,
    /// After so many microseconds: no packet says so.
    After(u64),
    /// Only by the next link.
    Never,
}

#[derive(Debug)]
struct Stream<M> {
    /// When each may be heard; never earlier than the one before.
    queue: VecDeque<(u64, Heard<M>)>,
}

#[derive(Debug)]
pub(crate) struct Network<M> {
    next_link: u64,
    /// The open one between two servers, the smaller id first.
    open: BTreeMap<(NodeId, NodeId), u64>,
    /// What each end takes for its link to the other.
    ends: BTreeMap<(NodeId, NodeId), u64>,
    streams: BTreeMap<Way, Stream<M>>,
    /// From, to.
    cuts: BTreeSet<(NodeId, NodeId)>,
    /// From, to: how many times slower than usual.
    slow: BTreeMap<(NodeId, NodeId), u64>,
    /// In microseconds.
    latency: u64,
    /// Ways that have become due, and when: for the scheduler.
    wakeups: Vec<(u64, Way)>,
}

fn pair(a: NodeId, b: NodeId) -> (NodeId, NodeId) {
    (a.min(b), a.max(b))
}

impl<M> Network<M> {
    pub(crate) fn new(latency: u64) -> Self {
        Self {
            next_link: 1,
            open: BTreeMap::new(),
            ends: BTreeMap::new(),
            streams: BTreeMap::new(),
            cuts: BTreeSet::new(),
            slow: BTreeMap::new(),
            latency,
            wakeups: Vec::new(),
        }
    }

    /// Ways with something to hear that were not given out before.
    pub(crate) fn take_wakeups(&mut self) -> Vec<(u64, Way)> {
        std::mem::take(&mut self.wakeups)
    }

    pub(crate) fn is_open(&self, a: NodeId, b: NodeId) -> bool {
        self.open.contains_key(&pair(a, b))
    }

    pub(crate) fn is_cut(&self, from: NodeId, to: NodeId) -> bool {
        self.cuts.contains(&(from, to))
    }

    /// A new link. One that was open is closed by it.
    pub(crate) fn connect(&mut self, a: NodeId, b: NodeId, now: u64, chance: &mut Chance) {
        if self.is_open(a, b) {
            let notice = [Notice::Soon, Notice::Never];
            let notices = [(); 2].map(|()| chance.pick(&notice).unwrap_or(Notice::Soon));
            self.reset(a, b, notices, now, chance);
        }
        let link = self.next_link;
        self.next_link += 1;
        self.open.insert(pair(a, b), link);
        for (from, to) in [(a, b), (b, a)] {
            let way = Way { link, from, to };
            self.push(way, Heard::Connected, now, chance);
        }
    }

    /// Both are there and are not to have a link: who still takes an older one for it hears that it is gone, as from
    /// the host that knows nothing of it.
    pub(crate) fn refuse(&mut self, a: NodeId, b: NodeId, now: u64, chance: &mut Chance) {
        for (from, to) in [(a, b), (b, a)] {
            if let Some(link) = self.ends.get(&(to, from)).copied() {
                let way = Way { link, from, to };
                self.push(way, Heard::Disconnected, now, chance);
            }
        }
    }

    /// Closes the link; `notices` say how `a` and `b` hear of it.
    pub(crate) fn reset(
        &mut self,
        a: NodeId,
        b: NodeId,
        notices: [Notice; 2],
        now: u64,
        chance: &mut Chance,
    ) {
        let Some(link) = self.open.remove(&pair(a, b)) else {
            return;
        };
        for (from, to, notice) in [(b, a, notices[0]), (a, b, notices[1])] {
            let way = Way { link, from, to };
            let Some(stream) = self.streams.get_mut(&way) else {
                continue;
            };
            let kept = chance.between(0, stream.queue.len() as u64) as usize;
            stream.queue.truncate(kept);
            let is_heard_of = self.ends.get(&(to, from)) == Some(&link)
                || matches!(stream.queue.front(), Some((_, Heard::Connected)));
            if !is_heard_of {
                self.streams.remove(&way);
                continue;
            }
            match notice {
                Notice::Soon => self.push(way, Heard::Disconnected, now, chance),
                Notice::After(time) => self.push(way, Heard::Disconnected, now + time, chance),
                Notice::Never => {}
            }
        }
    }

    /// The server is gone: its links close, the others hear of it by `notice`.
    pub(crate) fn crash(&mut self, node: NodeId, notice: Notice, now: u64, chance: &mut Chance) {
        let others: Vec<NodeId> = self
            .open
            .keys()
            .filter(|(a, b)| *a == node || *b == node)
            .map(|(a, b)| if *a == node { *b } else { *a })
            .collect();
        for other in others {
            self.reset(node, other, [Notice::Never, notice], now, chance);
        }
        self.ends.retain(|(at, _), _| *at != node);
        self.streams.retain(|way, _| way.to != node);
    }

    /// Goes nowhere when the sender's link is gone, whether it knows or not.
    pub(crate) fn send(
        &mut self,
        from: NodeId,
        to: NodeId,
        message: M,
        now: u64,
        chance: &mut Chance,
    ) {
        let Some(link) = self.ends.get(&(from, to)).copied() else {
            return;
        };
        if self.open.get(&pair(from, to)) == Some(&link) {
            let way = Way { link, from, to };
            self.push(way, Heard::Message(message), now, chance);
        }
    }

    fn push(&mut self, way: Way, heard: Heard<M>, now: u64, chance: &mut Chance) {
        let slow = self.slow.get(&(way.from, way.to)).copied().unwrap_or(1);
        let queue = VecDeque::new();
        let stream = self.streams.entry(way).or_insert(Stream { queue });
        let after = stream.queue.back().map_or(0, |(at, _)| *at);
        let at = after.max(now + chance.latency(self.latency) * slow);
        stream.queue.push_back((at, heard));
        if stream.queue.len() == 1 {
            self.wakeups.push((at, way));
        }
    }

    /// What is heard next, if its time has come and nothing is in the way; the way is woken up for what comes then.
    pub(crate) fn hear(&mut self, way: Way, now: u64) -> Option<Heard<M>> {
        if self.is_cut(way.from, way.to) {
            return None;
        }
        let stream = self.streams.get_mut(&way)?;
        let (_, heard) = stream.queue.pop_front_if(|(at, _)| *at <= now)?;
        if let Some((at, _)) = stream.queue.front() {
            self.wakeups.push((*at, way));
        }
        match heard {
            Heard::Connected => {
                self.ends.insert((way.to, way.from), way.link);
                let is_older = |other: &Way| {
                    (other.from, other.to) == (way.from, way.to) && other.link < way.link
                };
                self.streams.retain(|other, _| !is_older(other));
            }
            Heard::Disconnected => {
                self.ends.remove(&(way.to, way.from));
                self.streams.remove(&way);
            }
            Heard::Message(_) => {}
        }
        Some(heard)
    }

    pub(crate) fn cut(&mut self, from: NodeId, to: NodeId) {
        self.cuts.insert((from, to));
    }

    pub(crate) fn heal(&mut self, from: NodeId, to: NodeId) {
        if self.cuts.remove(&(from, to)) {
            self.wake(|way| (way.from, way.to) == (from, to));
        }
    }

    pub(crate) fn heal_all(&mut self) {
        for (from, to) in std::mem::take(&mut self.cuts) {
            self.wake(|way| (way.from, way.to) == (from, to));
        }
        self.slow.clear();
    }

    pub(crate) fn slow_down(&mut self, from: NodeId, to: NodeId, times: u64) {
        self.slow.insert((from, to), times);
    }

    /// A server that was paused hears again.
    pub(crate) fn wake_up(&mut self, node: NodeId) {
        self.wake(|way| way.to == node);
    }

    /// Too many wakeups do no harm.
    fn wake(&mut self, which: impl Fn(&Way) -> bool) {
        for (way, stream) in self.streams.iter().filter(|(way, _)| which(way)) {
            if let Some((at, _)) = stream.queue.front() {
                self.wakeups.push((*at, *way));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: NodeId = NodeId(1);
    const B: NodeId = NodeId(2);

    /// Everything that can be heard, in the order of the wakeups.
    fn drain(network: &mut Network<u32>) -> Vec<(NodeId, Heard<u32>)> {
        let mut heard = Vec::new();
        loop {
            let mut wakeups = network.take_wakeups();
            if wakeups.is_empty() {
                return heard;
            }
            wakeups.sort();
            for (at, way) in wakeups {
                heard.extend(network.hear(way, at).map(|what| (way.to, what)));
            }
        }
    }

    fn at_b(heard: &[(NodeId, Heard<u32>)]) -> Vec<Heard<u32>> {
        let at_b = heard.iter().filter(|(at, _)| *at == B);
        at_b.map(|(_, what)| what.clone()).collect()
    }

    fn connected() -> (Network<u32>, Chance) {
        let mut chance = Chance::new(1);
        let mut network = Network::new(1000);
        network.connect(A, B, 0, &mut chance);
        assert_eq!(drain(&mut network).len(), 2);
        (network, chance)
    }

    #[test]
    fn a_link_keeps_its_order() {
        let (mut network, mut chance) = connected();
        for number in 0..50 {
            network.send(A, B, number, 0, &mut chance);
        }
        let expected: Vec<_> = (0..50).map(Heard::Message).collect();
        assert_eq!(at_b(&drain(&mut network)), expected);
    }

    #[test]
    fn what_is_cut_waits() {
        let (mut network, mut chance) = connected();
        network.cut(A, B);
        network.send(A, B, 1, 0, &mut chance);
        network.send(B, A, 2, 0, &mut chance);
        assert_eq!(drain(&mut network), [(A, Heard::Message(2))]);
        network.heal(A, B);
        assert_eq!(drain(&mut network), [(B, Heard::Message(1))]);
    }

    #[test]
    fn a_reset_loses_an_end() {
        let (mut lost, mut kept) = (0, 0);
        for seed in 0..100 {
            let (mut network, _) = connected();
            let mut chance = Chance::new(seed);
            network.send(A, B, 1, 0, &mut chance);
            network.send(A, B, 2, 0, &mut chance);
            network.reset(A, B, [Notice::Soon; 2], 0, &mut chance);
            // Whether the ends know or not.
            network.send(A, B, 3, 0, &mut chance);
            let heard = at_b(&drain(&mut network));
            let (last, before) = heard.split_last().unwrap();
            assert_eq!(last, &Heard::Disconnected);
            assert!([Heard::Message(1), Heard::Message(2)].starts_with(before));
            lost += usize::from(before.is_empty());
            kept += usize::from(before.len() == 2);
            network.send(A, B, 4, 0, &mut chance);
            assert!(drain(&mut network).is_empty());
        }
        assert!(lost > 10 && kept > 10);
    }

    #[test]
    fn nothing_of_an_older_link_comes_behind_a_newer_one() {
        for seed in 0..100 {
            let (mut network, _) = connected();
            let mut chance = Chance::new(seed);
            network.send(A, B, 1, 0, &mut chance);
            network.connect(A, B, 0, &mut chance);
            network.send(A, B, 2, 0, &mut chance);
            let heard = at_b(&drain(&mut network));
            let newer = heard.iter().rposition(|what| *what == Heard::Connected);
            assert_eq!(newer, Some(heard.len() - 1), "{heard:?}");
        }
    }

    #[test]
    fn who_never_heard_of_the_end_hears_of_it_when_the_next_link_is_refused() {
        let (mut network, mut chance) = connected();
        network.crash(A, Notice::Never, 0, &mut chance);
        assert_eq!(drain(&mut network), []);
        for heard in [vec![(B, Heard::Disconnected)], vec![]] {
            network.refuse(A, B, 10, &mut chance);
            assert_eq!(drain(&mut network), heard);
        }
    }

    #[test]
    fn who_crashes_hears_nothing_and_is_missed() {
        let (mut network, mut chance) = connected();
        network.send(B, A, 1, 0, &mut chance);
        network.crash(A, Notice::After(5_000_000), 0, &mut chance);
        let woken = network.take_wakeups();
        assert!(woken.iter().any(|(at, way)| *at > 5_000_000 && way.to == B));
        network.wake_up(B);
        assert_eq!(drain(&mut network), [(B, Heard::Disconnected)]);
    }
}
