//! Incremental fetch sessions (KIP-227): the partitions a client reads, remembered between fetches.
//!
//! Owned by the fetch path under one lock, which is held to begin and to finish a fetch and never
//! while one waits: `begin` takes the session out, `finish` puts it back. A second fetch on a
//! session that is out is told that its epoch is wrong, as one is that came too late.
//! Behaviour is that of Apache Kafka's `FetchManager`; the order in which a session's partitions
//! are read is turned after each reply, so that full replies starve none of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use indexmap::IndexMap;

use crate::error::ErrorCode;
use crate::types::{LeaderEpoch, Offset, TimestampMs, TopicId};

/// A session unused for so long gives way to a new one.
pub const EVICTION_MS: i64 = 120_000;

/// The session epoch of a request that opens a session.
pub const INITIAL_EPOCH: i32 = 0;
/// The session epoch of a request that wants none, and closes the one it names.
pub const FINAL_EPOCH: i32 = -1;

/// A topic as the request names it: by name up to version 12, by id since.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum FetchTopic {
    Name(Arc<str>),
    Id(TopicId),
}

/// What a session is keyed by.
pub type FetchKey = (FetchTopic, i32);

/// What the client asks of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchPartition {
    pub fetch_offset: Offset,
    pub max_bytes: i32,
    pub current_leader_epoch: LeaderEpoch,
    pub last_fetched_epoch: LeaderEpoch,
    /// A follower's own log start offset.
    pub log_start_offset: Offset,
}

/// What the reply to one partition says, as far as the session cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchedState {
    pub high_watermark: Offset,
    pub log_start_offset: Offset,
    pub has_records: bool,
    pub has_error: bool,
    /// A diverging epoch or a preferred read replica: what must not be left unsaid.
    pub must_tell: bool,
}

#[derive(Debug, Clone)]
struct Cached {
    request: FetchPartition,
    high_watermark: Offset,
    log_start_offset: Offset,
}

impl Cached {
    fn new(request: FetchPartition) -> Self {
        Self {
            request,
            high_watermark: Offset(-1),
            log_start_offset: Offset(-1),
        }
    }

    /// Whether the reply has news of this partition; remembers what it says.
    fn tell(&mut self, state: FetchedState) -> bool {
        let news = state.has_records
            || state.has_error
            || state.must_tell
            || self.high_watermark != state.high_watermark
            || self.log_start_offset != state.log_start_offset;
        // After an error everything is news again.
        self.high_watermark = if state.has_error {
            Offset(-1)
        } else {
            state.high_watermark
        };
        self.log_start_offset = state.log_start_offset;
        news
    }
}

/// One client's session.
#[derive(Debug)]
pub struct FetchSession {
    id: i32,
    /// The epoch the next fetch must carry.
    next_epoch: i32,
    by_id: bool,
    from_follower: bool,
    partitions: IndexMap<FetchKey, Cached>,
    /// Where the next reply starts reading.
    first: usize,
    created: TimestampMs,
    last_used: TimestampMs,
}

impl FetchSession {
    pub fn id(&self) -> i32 {
        self.id
    }

    /// The partitions in the order in which they are to be read now.
    pub fn partitions(&self) -> impl Iterator<Item = (&FetchKey, &FetchPartition)> {
        let len = self.partitions.len();
        (0..len).filter_map(move |i| {
            let at = (self.first + i) % len;
            self.partitions
                .get_index(at)
                .map(|(key, cached)| (key, &cached.request))
        })
    }

    /// Whether a reply has to name this partition.
    pub fn tell(&mut self, key: &FetchKey, state: FetchedState) -> bool {
        match self.partitions.get_full_mut(key) {
            Some((at, _, cached)) => {
                if state.has_records {
                    self.first = at + 1;
                }
                cached.tell(state)
            }
            None => true,
        }
    }

    fn update(&mut self, wanted: Vec<(FetchKey, FetchPartition)>, forgotten: &[FetchKey]) {
        for (key, request) in wanted {
            match self.partitions.get_mut(&key) {
                Some(cached) => cached.request = request,
                None => {
                    self.partitions.insert(key, Cached::new(request));
                }
            }
        }
        for key in forgotten {
            self.partitions.shift_remove(key);
        }
        if !self.partitions.is_empty() {
            self.first %= self.partitions.len();
        }
    }
}

/// A fetch request's words on sessions.
#[derive(Debug, Clone)]
pub struct SessionRequest {
    pub session_id: i32,
    pub epoch: i32,
    pub partitions: Vec<(FetchKey, FetchPartition)>,
    pub forgotten: Vec<FetchKey>,
    /// Version 13 and later.
    pub by_id: bool,
    pub from_follower: bool,
}

/// How a fetch is to be carried out.
#[derive(Debug)]
pub enum Begun {
    /// Everything asked for is answered, nothing is remembered.
    Sessionless(Vec<(FetchKey, FetchPartition)>),
    /// Everything asked for is answered; `SessionCache::open` may then make a session of it.
    Full(Vec<(FetchKey, FetchPartition)>),
    /// What has changed is answered.
    Incremental(Box<FetchSession>),
    Refused(ErrorCode),
}

#[derive(Debug)]
enum Slot {
    Here(Box<FetchSession>),
    /// A fetch is being carried out; what eviction needs to know of it.
    Out {
        last_used: TimestampMs,
    },
}

/// All sessions of a broker, up to `max.incremental.fetch.session.cache.slots`.
#[derive(Debug)]
pub struct SessionCache {
    slots: usize,
    sessions: BTreeMap<i32, Slot>,
    by_last_use: BTreeSet<(TimestampMs, i32)>,
    evictions: u64,
}

impl SessionCache {
    pub fn new(slots: usize) -> Self {
        Self {
            slots,
            sessions: BTreeMap::new(),
            by_last_use: BTreeSet::new(),
            evictions: 0,
        }
    }

    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Sessions that had to give way since the start.
    pub fn evictions(&self) -> u64 {
        self.evictions
    }

    pub fn begin(&mut self, request: SessionRequest, now: TimestampMs) -> Begun {
        match request.epoch {
            FINAL_EPOCH => {
                self.remove(request.session_id);
                Begun::Sessionless(request.partitions)
            }
            INITIAL_EPOCH => {
                self.remove(request.session_id);
                Begun::Full(request.partitions)
            }
            epoch => {
                let Some(slot) = self.sessions.get_mut(&request.session_id) else {
                    return Begun::Refused(ErrorCode::FetchSessionIdNotFound);
                };
                match slot {
                    Slot::Out { .. } => {
                        return Begun::Refused(ErrorCode::InvalidFetchSessionEpoch);
                    }
                    Slot::Here(session) if session.next_epoch != epoch => {
                        return Begun::Refused(ErrorCode::InvalidFetchSessionEpoch);
                    }
                    Slot::Here(session) if session.by_id != request.by_id => {
                        return Begun::Refused(ErrorCode::FetchSessionTopicIdError);
                    }
                    Slot::Here(_) => {}
                }
                self.take_out(request, now)
            }
        }
    }

    fn take_out(&mut self, request: SessionRequest, now: TimestampMs) -> Begun {
        let id = request.session_id;
        let Some(Slot::Here(mut session)) = self.sessions.insert(id, Slot::Out { last_used: now })
        else {
            return Begun::Refused(ErrorCode::FetchSessionIdNotFound);
        };
        self.by_last_use.remove(&(session.last_used, id));
        self.by_last_use.insert((now, id));
        session.update(request.partitions, &request.forgotten);
        if session.partitions.is_empty() {
            self.remove(id);
            return Begun::Sessionless(Vec::new());
        }
        session.last_used = now;
        session.next_epoch = next_epoch(session.next_epoch);
        Begun::Incremental(session)
    }

    /// The end of an incremental fetch. A session evicted meanwhile stays gone.
    pub fn finish(&mut self, session: Box<FetchSession>) {
        if let Some(slot @ Slot::Out { .. }) = self.sessions.get_mut(&session.id) {
            *slot = Slot::Here(session);
        }
    }

    /// Makes a session of a full fetch that was answered with `states`; its id, or 0 where there
    /// is no room. `random` is anything.
    pub fn open(
        &mut self,
        answered: Vec<(FetchKey, FetchPartition, FetchedState)>,
        kind: SessionKind,
        random: i32,
        now: TimestampMs,
    ) -> i32 {
        if !self.make_room(answered.len(), kind.from_follower, now) {
            return 0;
        }
        let id = self.free_id(random);
        let partitions = answered
            .into_iter()
            .map(|(key, request, state)| {
                let mut cached = Cached::new(request);
                cached.tell(state);
                (key, cached)
            })
            .collect();
        self.by_last_use.insert((now, id));
        self.sessions.insert(
            id,
            Slot::Here(Box::new(FetchSession {
                id,
                next_epoch: next_epoch(INITIAL_EPOCH),
                by_id: kind.by_id,
                from_follower: kind.from_follower,
                partitions,
                first: 0,
                created: now,
                last_used: now,
            })),
        );
        id
    }

    fn free_id(&self, random: i32) -> i32 {
        let mut id = random & i32::MAX;
        while id == 0 || self.sessions.contains_key(&id) {
            id = id.wrapping_add(1) & i32::MAX;
        }
        id
    }

    /// The least recently used gives way once it has been unused for long, and so does a
    /// consumer's to a follower's, and a smaller old one to a larger.
    fn make_room(&mut self, partitions: usize, from_follower: bool, now: TimestampMs) -> bool {
        if self.sessions.len() < self.slots {
            return true;
        }
        let Some(&(last_used, oldest)) = self.by_last_use.first() else {
            return false;
        };
        if now.0 - last_used.0 > EVICTION_MS {
            self.evict(oldest);
            return true;
        }
        let weakest = self
            .by_last_use
            .iter()
            .filter_map(|(_, id)| match self.sessions.get(id) {
                Some(Slot::Here(session)) => Some(session),
                _ => None,
            })
            .filter(|session| !session.from_follower || from_follower)
            .min_by_key(|session| {
                let aged = now.0 - session.created.0 > EVICTION_MS;
                (
                    session.from_follower,
                    !aged,
                    session.partitions.len(),
                    session.id,
                )
            });
        let Some(session) = weakest else {
            return false;
        };
        let aged = now.0 - session.created.0 > EVICTION_MS;
        let outranked = from_follower && !session.from_follower;
        if outranked || (aged && session.partitions.len() < partitions) {
            let id = session.id;
            self.evict(id);
            return true;
        }
        false
    }

    fn evict(&mut self, id: i32) {
        self.evictions += 1;
        self.remove(id);
    }

    fn remove(&mut self, id: i32) {
        match self.sessions.remove(&id) {
            Some(Slot::Here(session)) => self.by_last_use.remove(&(session.last_used, id)),
            Some(Slot::Out { last_used }) => self.by_last_use.remove(&(last_used, id)),
            None => false,
        };
    }
}

/// Who opens a session, and how it names topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionKind {
    pub by_id: bool,
    pub from_follower: bool,
}

/// Epochs of a living session count from 1 and wrap around past the two special ones.
fn next_epoch(epoch: i32) -> i32 {
    if epoch < 0 || epoch == i32::MAX {
        1
    } else {
        epoch + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str, partition: i32) -> FetchKey {
        (FetchTopic::Name(name.into()), partition)
    }

    fn ask(offset: i64) -> FetchPartition {
        FetchPartition {
            fetch_offset: Offset(offset),
            max_bytes: 1000,
            current_leader_epoch: LeaderEpoch(0),
            last_fetched_epoch: LeaderEpoch::UNKNOWN,
            log_start_offset: Offset(-1),
        }
    }

    fn state(high_watermark: i64, has_records: bool) -> FetchedState {
        FetchedState {
            high_watermark: Offset(high_watermark),
            log_start_offset: Offset(0),
            has_records,
            has_error: false,
            must_tell: false,
        }
    }

    fn request(
        session_id: i32,
        epoch: i32,
        partitions: Vec<(FetchKey, FetchPartition)>,
    ) -> SessionRequest {
        SessionRequest {
            session_id,
            epoch,
            partitions,
            forgotten: Vec::new(),
            by_id: false,
            from_follower: false,
        }
    }

    const CONSUMER: SessionKind = SessionKind {
        by_id: false,
        from_follower: false,
    };
    const FOLLOWER: SessionKind = SessionKind {
        by_id: false,
        from_follower: true,
    };

    fn open(cache: &mut SessionCache, names: &[&str], now: i64) -> i32 {
        let answered = names
            .iter()
            .map(|name| (key(name, 0), ask(0), state(5, false)))
            .collect();
        cache.open(answered, CONSUMER, 77, TimestampMs(now))
    }

    fn incremental(begun: Begun) -> Box<FetchSession> {
        match begun {
            Begun::Incremental(session) => session,
            other => panic!("not incremental: {other:?}"),
        }
    }

    fn refused(begun: Begun) -> ErrorCode {
        match begun {
            Begun::Refused(code) => code,
            other => panic!("not refused: {other:?}"),
        }
    }

    #[test]
    fn only_news_is_told() {
        let mut cache = SessionCache::new(10);
        let id = open(&mut cache, &["a", "b"], 0);
        let mut session = incremental(cache.begin(request(id, 1, vec![]), TimestampMs(1)));
        assert!(!session.tell(&key("a", 0), state(5, false)));
        assert!(session.tell(&key("b", 0), state(6, false)));
        assert!(!session.tell(&key("b", 0), state(6, false)));
        assert!(session.tell(&key("a", 0), state(5, true)));
        let failed = FetchedState {
            has_error: true,
            ..state(6, false)
        };
        assert!(session.tell(&key("b", 0), failed));
        // What was said before the error is said again after it.
        assert!(session.tell(&key("b", 0), state(6, false)));
        cache.finish(session);
        assert_eq!(cache.len(), 1);
    }

    #[test]
    fn epochs_must_follow_each_other() {
        let mut cache = SessionCache::new(10);
        let id = open(&mut cache, &["a"], 0);
        let now = TimestampMs(1);
        assert_eq!(
            refused(cache.begin(request(id + 1, 1, vec![]), now)),
            ErrorCode::FetchSessionIdNotFound
        );
        assert_eq!(
            refused(cache.begin(request(id, 2, vec![]), now)),
            ErrorCode::InvalidFetchSessionEpoch
        );
        let session = incremental(cache.begin(request(id, 1, vec![]), now));
        // While the first waits, a second fetch on the same session is refused.
        assert_eq!(
            refused(cache.begin(request(id, 2, vec![]), now)),
            ErrorCode::InvalidFetchSessionEpoch
        );
        cache.finish(session);
        let by_id = SessionRequest {
            by_id: true,
            ..request(id, 2, vec![])
        };
        assert_eq!(
            refused(cache.begin(by_id, now)),
            ErrorCode::FetchSessionTopicIdError
        );
        assert_eq!(next_epoch(i32::MAX), 1);
    }

    #[test]
    fn a_session_forgets_and_learns_partitions_and_ends_with_the_last() {
        let mut cache = SessionCache::new(10);
        let id = open(&mut cache, &["a", "b"], 0);
        let mut change = request(id, 1, vec![(key("c", 1), ask(9)), (key("b", 0), ask(4))]);
        change.forgotten = vec![key("a", 0)];
        let session = incremental(cache.begin(change, TimestampMs(1)));
        let read: Vec<_> = session
            .partitions()
            .map(|(key, ask)| (key.clone(), ask.fetch_offset.0))
            .collect();
        assert_eq!(read, [(key("b", 0), 4), (key("c", 1), 9)]);
        cache.finish(session);
        let mut last = request(id, 2, vec![]);
        last.forgotten = vec![key("b", 0), key("c", 1)];
        assert!(matches!(
            cache.begin(last, TimestampMs(2)),
            Begun::Sessionless(rest) if rest.is_empty()
        ));
        assert!(cache.is_empty());
        assert!(cache.by_last_use.is_empty());
    }

    #[test]
    fn what_was_read_last_is_read_last_next_time() {
        let mut cache = SessionCache::new(10);
        let id = open(&mut cache, &["a", "b", "c"], 0);
        let mut session = incremental(cache.begin(request(id, 1, vec![]), TimestampMs(1)));
        session.tell(&key("a", 0), state(9, true));
        session.tell(&key("b", 0), state(9, true));
        let order: Vec<_> = session.partitions().map(|(key, _)| key.clone()).collect();
        assert_eq!(order, [key("c", 0), key("a", 0), key("b", 0)]);
    }

    #[test]
    fn closing_and_reopening_drop_the_old_session() {
        let mut cache = SessionCache::new(10);
        let id = open(&mut cache, &["a"], 0);
        let closed = cache.begin(
            request(id, FINAL_EPOCH, vec![(key("a", 0), ask(1))]),
            TimestampMs(1),
        );
        assert!(matches!(closed, Begun::Sessionless(p) if p.len() == 1));
        assert!(cache.is_empty());
        let id = open(&mut cache, &["a"], 0);
        let reopened = cache.begin(request(id, INITIAL_EPOCH, vec![]), TimestampMs(1));
        assert!(matches!(reopened, Begun::Full(_)));
        assert!(cache.is_empty());
    }

    #[test]
    fn room_is_made_for_the_stale_the_weaker_and_the_smaller() {
        let mut cache = SessionCache::new(2);
        let first = open(&mut cache, &["a"], 0);
        let second = open(&mut cache, &["b", "c"], 10);
        assert_ne!(first, second);
        // Nothing is old: no room.
        assert_eq!(open(&mut cache, &["d", "e", "f"], 20), 0);
        // A follower outranks the smallest consumer.
        let follower = cache.open(
            vec![(key("z", 0), ask(0), state(0, false))],
            FOLLOWER,
            1,
            TimestampMs(30),
        );
        assert_ne!(follower, 0);
        assert!(!cache.sessions.contains_key(&first));
        // A consumer never pushes out a follower, however large; an old one that is still used
        // gives way to a larger one.
        let later = EVICTION_MS + 15;
        let session = incremental(cache.begin(request(second, 1, vec![]), TimestampMs(later)));
        cache.finish(session);
        let session = cache.begin(
            SessionRequest {
                from_follower: true,
                ..request(follower, 1, vec![])
            },
            TimestampMs(later),
        );
        cache.finish(incremental(session));
        assert_eq!(open(&mut cache, &["g"], later), 0);
        assert_ne!(open(&mut cache, &["g", "h", "i"], later), 0);
        assert!(!cache.sessions.contains_key(&second));
        assert!(cache.sessions.contains_key(&follower));
        // Unused for long: anybody gives way.
        assert_ne!(open(&mut cache, &["j"], 2 * later + EVICTION_MS), 0);
        assert_eq!(cache.evictions(), 3);
        assert_eq!(cache.by_last_use.len(), cache.len());
    }

    #[test]
    fn an_evicted_session_does_not_come_back() {
        let mut cache = SessionCache::new(1);
        let id = open(&mut cache, &["a"], 0);
        let session = incremental(cache.begin(request(id, 1, vec![]), TimestampMs(0)));
        let other = open(&mut cache, &["b"], EVICTION_MS + 1);
        assert_ne!(other, 0);
        cache.finish(session);
        assert_eq!(cache.len(), 1);
        assert!(cache.sessions.contains_key(&other));
    }
}
