//! Which segments of a log are cleaned together into one, so that what cleaning leaves does not stay scattered.
//!
//! Kafka's rule: neighbours, as long as their files together are not larger than one segment may be, their indexes
//! neither, and the offsets fit behind one base.

use std::ops::Range;

use crate::types::Offset;

/// A segment as grouping sees it. Sizes in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct GroupSegment {
    pub(super) base_offset: Offset,
    /// Where the next segment begins.
    pub(super) end_offset: Offset,
    pub(super) size: u64,
    pub(super) index_size: u64,
    pub(super) time_index_size: u64,
}

/// Ranges of `segments`, all of them in order.
pub(super) fn group_segments(
    segments: &[GroupSegment],
    segment_bytes: u64,
    index_bytes: u64,
) -> Vec<Range<usize>> {
    let mut groups = Vec::new();
    let mut begin = 0;
    while let Some(first) = segments.get(begin) {
        let (mut size, mut index, mut times) =
            (first.size, first.index_size, first.time_index_size);
        let mut end = begin + 1;
        while let Some(next) = segments.get(end) {
            let range = next.end_offset.0 - 1 - first.base_offset.0;
            let too_far = next.size > 0 && range > i64::from(i32::MAX);
            if size + next.size > segment_bytes
                || index + next.index_size > index_bytes
                || times + next.time_index_size > index_bytes
                || too_far
            {
                break;
            }
            size += next.size;
            index += next.index_size;
            times += next.time_index_size;
            end += 1;
        }
        groups.push(begin..end);
        begin = end;
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn segments(rows: &[(i64, u64, u64, u64)], end: i64) -> Vec<GroupSegment> {
        let ends = rows.iter().skip(1).map(|row| row.0).chain([end]);
        rows.iter()
            .zip(ends)
            .map(|(row, end)| GroupSegment {
                base_offset: Offset(row.0),
                end_offset: Offset(end),
                size: row.1,
                index_size: row.2,
                time_index_size: row.3,
            })
            .collect()
    }

    #[test]
    fn neighbours_go_together_as_long_as_they_fit() {
        const FAR: i64 = i32::MAX as i64;
        type Rows = &'static [(i64, u64, u64, u64)];
        // Base offset, size, index size and time index size; the end; how many are in each group.
        let table: [(&str, Rows, i64, &[usize]); 8] = [
            ("nothing", &[], 0, &[]),
            ("one", &[(0, 99, 9, 9)], 10, &[1]),
            (
                "all fit",
                &[(0, 30, 3, 3), (10, 30, 3, 3), (20, 40, 4, 4)],
                30,
                &[3],
            ),
            (
                "a byte too many",
                &[(0, 30, 0, 0), (10, 30, 0, 0), (20, 41, 0, 0)],
                30,
                &[2, 1],
            ),
            (
                "one that is too large alone",
                &[(0, 500, 50, 50), (10, 1, 0, 0)],
                30,
                &[1, 1],
            ),
            (
                "the index is full",
                &[(0, 1, 6, 0), (10, 1, 5, 0)],
                30,
                &[1, 1],
            ),
            (
                "the time index is full",
                &[(0, 1, 0, 6), (10, 1, 0, 5)],
                30,
                &[1, 1],
            ),
            (
                "offsets too far",
                &[
                    (0, 1, 0, 0),
                    (10, 1, 0, 0),
                    (20, 0, 0, 0),
                    (FAR + 2, 1, 0, 0),
                ],
                FAR + 9,
                &[3, 1],
            ),
        ];
        for (what, rows, end, expected) in table {
            let groups = group_segments(&segments(rows, end), 100, 10);
            let lengths: Vec<usize> = groups.iter().map(Range::len).collect();
            assert_eq!(lengths, expected, "{what}");
        }
    }

    proptest! {
        #[test]
        fn everything_is_in_one_group_that_fits(sizes in proptest::collection::vec((1i64..1 << 30, 0u64..120, 0u64..12), 0..40)) {
            let mut base = 0;
            let rows: Vec<_> = sizes.iter().map(|(span, size, index)| {
                base += span;
                (base, *size, *index, *index)
            }).collect();
            let all = segments(&rows, base + 1000);
            let groups = group_segments(&all, 100, 10);
            let mut at = 0;
            for group in groups {
                prop_assert_eq!(group.start, at);
                prop_assert!(group.end > at);
                at = group.end;
                let members = &all[group];
                if members.len() > 1 {
                    prop_assert!(members.iter().map(|m| m.size).sum::<u64>() <= 100);
                    prop_assert!(members.iter().map(|m| m.index_size).sum::<u64>() <= 10);
                    let last = members.iter().rev().find(|m| m.size > 0);
                    if let Some(last) = last {
                        prop_assert!(last.end_offset.0 - 1 - members[0].base_offset.0 <= i64::from(i32::MAX)
                            || std::ptr::eq(last, &members[0]));
                    }
                }
            }
            prop_assert_eq!(at, all.len());
        }
    }
}
