//! Compares what was promised about a partition with what is in it.

use std::collections::{BTreeMap, BTreeSet};

use super::record::{Record, Stamp};

/// A delivery report that said yes; the offset is unknown where the broker only said that it has it already.
#[derive(Debug, Clone, Copy)]
pub struct Acked {
    pub record: Record,
    pub offset: Option<i64>,
}

/// All that is known of one partition.
#[derive(Debug, Default)]
pub struct Facts {
    pub compacted: bool,
    /// By producer: every number below was sent.
    pub sent: BTreeMap<u32, u64>,
    pub acked: Vec<Acked>,
    /// What a consumer has seen below the high watermark, at any time.
    pub seen: BTreeMap<i64, Record>,
    /// Where the log begins at the end, and everything in it.
    pub log_start: i64,
    pub found: BTreeMap<i64, Record>,
}

#[derive(Debug, Default, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Verdict {
    pub sent: u64,
    pub acked: u64,
    pub found: u64,
    /// Acknowledged and not there.
    pub lost: u64,
    /// There more than once.
    pub repeated: u64,
    /// Behind a later record of the same producer.
    pub out_of_order: u64,
    /// Not where it was acknowledged.
    pub misplaced: u64,
    /// Seen by a consumer, and now another record or none.
    pub changed: u64,
    /// Never sent.
    pub invented: u64,
    /// Compacted away, rightly.
    pub compacted: u64,
    /// Below the start of the log at the end.
    pub deleted: u64,
}

impl Verdict {
    pub fn is_good(&self) -> bool {
        let Self {
            sent: _,
            acked: _,
            found: _,
            compacted: _,
            deleted: _,
            lost,
            repeated,
            out_of_order,
            misplaced,
            changed,
            invented,
        } = self;
        lost + repeated + out_of_order + misplaced + changed + invented == 0
    }

    pub fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.acked += other.acked;
        self.found += other.found;
        self.lost += other.lost;
        self.repeated += other.repeated;
        self.out_of_order += other.out_of_order;
        self.misplaced += other.misplaced;
        self.changed += other.changed;
        self.invented += other.invented;
        self.compacted += other.compacted;
        self.deleted += other.deleted;
    }
}

/// `complain` gets a line for each finding.
pub fn judge(facts: &Facts, complain: &mut dyn FnMut(String)) -> Verdict {
    let mut verdict = Verdict {
        sent: facts.sent.values().sum(),
        acked: facts.acked.len() as u64,
        found: facts.found.len() as u64,
        ..Verdict::default()
    };
    // What was deleted is known from when it was seen.
    let deleted: BTreeMap<i64, Record> = facts
        .seen
        .range(..facts.log_start)
        .map(|(offset, record)| (*offset, *record))
        .collect();
    verdict.deleted = deleted.len() as u64;
    let mut places: BTreeMap<Stamp, i64> = BTreeMap::new();
    let mut last: BTreeMap<u32, Stamp> = BTreeMap::new();
    for (offset, record) in deleted.iter().chain(&facts.found) {
        let stamp = record.stamp;
        if facts
            .sent
            .get(&stamp.producer)
            .is_none_or(|sent| stamp.number >= *sent)
        {
            verdict.invented += 1;
            complain(format!("{stamp:?} at {offset} was never sent"));
        }
        if let Some(first) = places.insert(stamp, *offset) {
            verdict.repeated += 1;
            complain(format!("{stamp:?} is at {first} and at {offset}"));
        }
        if let Some(before) = last.insert(stamp.producer, stamp)
            && before > stamp
        {
            verdict.out_of_order += 1;
            complain(format!("{stamp:?} at {offset} is behind {before:?}"));
        }
    }
    // The last record of each key may not be compacted away.
    let mut last_of_key: BTreeMap<Option<u32>, i64> = BTreeMap::new();
    for (offset, record) in &facts.found {
        last_of_key.insert(record.key, *offset);
    }
    let may_be_compacted = |record: &Record, offset: i64| {
        facts.compacted
            && last_of_key
                .get(&record.key)
                .is_some_and(|last| *last > offset)
    };
    judge_acked(facts, &places, &may_be_compacted, &mut verdict, complain);
    for (offset, seen) in facts.seen.range(facts.log_start..) {
        match facts.found.get(offset) {
            Some(found) if found == seen => {}
            None if may_be_compacted(seen, *offset) => {}
            other => {
                verdict.changed += 1;
                complain(format!("{seen:?} was seen at {offset}, now {other:?}"));
            }
        }
    }
    verdict
}

fn judge_acked(
    facts: &Facts,
    places: &BTreeMap<Stamp, i64>,
    may_be_compacted: &dyn Fn(&Record, i64) -> bool,
    verdict: &mut Verdict,
    complain: &mut dyn FnMut(String),
) {
    let seen_at: BTreeMap<Stamp, i64> = facts
        .seen
        .iter()
        .map(|(offset, record)| (record.stamp, *offset))
        .collect();
    let mut twice = BTreeSet::new();
    for Acked { record, offset } in &facts.acked {
        let stamp = record.stamp;
        if !twice.insert(stamp) {
            verdict.repeated += 1;
            complain(format!("{stamp:?} was acknowledged twice"));
        }
        match (places.get(&stamp), offset) {
            (Some(place), Some(offset)) if place != offset => {
                verdict.misplaced += 1;
                complain(format!("{stamp:?} acknowledged at {offset} is at {place}"));
            }
            (Some(_), _) => {}
            // Without an offset: where it was once seen, if it was.
            (None, offset) => match offset.or_else(|| seen_at.get(&stamp).copied()) {
                Some(offset) if may_be_compacted(record, offset) => verdict.compacted += 1,
                _ => {
                    verdict.lost += 1;
                    complain(format!("{stamp:?} acknowledged at {offset:?} is not there"));
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(number: u64, key: Option<u32>) -> Record {
        Record {
            stamp: Stamp {
                producer: 1,
                number,
            },
            key,
        }
    }

    /// Ten records where they belong; the last one was never acknowledged.
    fn whole(compacted: bool) -> Facts {
        let all = (0..10).map(|n| (n, record(n as u64, compacted.then_some(n as u32 % 3))));
        let found: BTreeMap<i64, Record> = all.collect();
        Facts {
            compacted,
            sent: [(1, 12)].into(),
            acked: found
                .range(..9)
                .map(|(offset, record)| Acked {
                    record: *record,
                    offset: Some(*offset),
                })
                .collect(),
            seen: found.clone(),
            log_start: 0,
            found,
        }
    }

    fn verdict(facts: &Facts) -> Verdict {
        let mut lines = Vec::new();
        let verdict = judge(facts, &mut |line| lines.push(line));
        assert_eq!(verdict.is_good(), lines.is_empty(), "{lines:?}");
        verdict
    }

    #[test]
    fn a_partition_that_is_whole_is_good() {
        for compacted in [false, true] {
            let verdict = verdict(&whole(compacted));
            assert!(verdict.is_good());
            assert_eq!((verdict.sent, verdict.acked, verdict.found), (12, 9, 10));
        }
        let mut facts = whole(false);
        facts.log_start = 4;
        facts.found = facts.found.split_off(&4);
        assert_eq!(verdict(&facts).deleted, 4);
        assert!(verdict(&facts).is_good());
    }

    #[test]
    fn each_kind_of_damage_is_told_from_the_others() {
        type Damage = fn(&mut Facts);
        let cases: [(&str, Damage, Verdict); 8] = [
            (
                "lost before anybody saw it",
                |facts| {
                    facts.found.remove(&8);
                    facts.seen.remove(&8);
                },
                Verdict {
                    lost: 1,
                    ..Verdict::default()
                },
            ),
            (
                "seen and gone",
                |facts| {
                    facts.found.remove(&9);
                },
                Verdict {
                    changed: 1,
                    ..Verdict::default()
                },
            ),
            (
                "repeated",
                |facts| {
                    facts.found.insert(10, record(9, None));
                },
                Verdict {
                    repeated: 1,
                    ..Verdict::default()
                },
            ),
            (
                "out of order",
                |facts| {
                    facts
                        .acked
                        .retain(|acked| !(5..=6).contains(&acked.record.stamp.number));
                    facts.seen.clear();
                    facts.found.insert(5, record(6, None));
                    facts.found.insert(6, record(5, None));
                },
                Verdict {
                    out_of_order: 1,
                    ..Verdict::default()
                },
            ),
            (
                "elsewhere than acknowledged",
                |facts| {
                    facts.seen.clear();
                    let moved = facts.found.remove(&8).unwrap();
                    facts.found.remove(&9);
                    facts.found.insert(11, moved);
                },
                Verdict {
                    misplaced: 1,
                    ..Verdict::default()
                },
            ),
            (
                "never sent",
                |facts| {
                    facts.found.insert(10, record(12, None));
                },
                Verdict {
                    invented: 1,
                    ..Verdict::default()
                },
            ),
            (
                "acknowledged twice",
                |facts| facts.acked.push(facts.acked[3]),
                Verdict {
                    repeated: 1,
                    ..Verdict::default()
                },
            ),
            (
                "deleted without having been seen",
                |facts| {
                    facts.seen.remove(&0);
                    facts.found = facts.found.split_off(&2);
                    facts.log_start = 2;
                },
                Verdict {
                    lost: 1,
                    deleted: 1,
                    ..Verdict::default()
                },
            ),
        ];
        for (what, damage, wanted) in cases {
            let mut facts = whole(false);
            damage(&mut facts);
            let got = verdict(&facts);
            let (sent, acked, found) = (got.sent, got.acked, got.found);
            let wanted = Verdict {
                sent,
                acked,
                found,
                ..wanted
            };
            assert_eq!(got, wanted, "{what}");
        }
    }

    #[test]
    fn compaction_may_take_what_a_later_record_replaces_and_nothing_else() {
        let mut facts = whole(true);
        // Keys of 0..10 are n % 3: the last ones are 7, 8 and 9.
        facts.found.remove(&2);
        facts.found.remove(&6);
        assert!(verdict(&facts).is_good());
        assert_eq!(verdict(&facts).compacted, 2);
        facts.found.remove(&8);
        let got = verdict(&facts);
        assert_eq!((got.lost, got.changed, got.compacted), (1, 1, 2));
    }
}
