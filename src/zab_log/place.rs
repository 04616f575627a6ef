//! The names of segments and snapshots: which history a file belongs to, and where in it.
//!
//! A peer that takes its history whole from a leader begins another generation with the snapshot it installs. Only
//! files of the newest generation that a snapshot names count; of older ones, which a crash may leave behind, none.

use crate::types::Zxid;

/// Ordered as histories replace each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) generation: u32,
    pub(super) zxid: Zxid,
}

impl Place {
    /// The first generation, which most servers never leave, is not named.
    pub(super) fn name(self, prefix: &str) -> String {
        let Self { generation, zxid } = self;
        match generation {
            0 => format!("{prefix}{:016x}", zxid.0),
            _ => format!("{prefix}{:016x}.{generation:08x}", zxid.0),
        }
    }

    pub(super) fn of_name(name: &str, prefix: &str) -> Option<Self> {
        let digits = name.strip_prefix(prefix)?;
        let (zxid, generation) = digits.split_once('.').unwrap_or((digits, "00000000"));
        let place = Self {
            generation: u32::from_str_radix(generation, 16).ok()?,
            zxid: Zxid(u64::from_str_radix(zxid, 16).ok()?),
        };
        (place.name(prefix) == name).then_some(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_where_its_file_belongs() {
        let place = |generation, zxid| Place {
            generation,
            zxid: Zxid(zxid),
        };
        let table = [
            (place(0, 0x3_0000_000a), "log.000000030000000a"),
            (place(1, 0x3_0000_0004), "log.0000000300000004.00000001"),
            (place(0xabc, 1), "log.0000000000000001.00000abc"),
        ];
        for (place, name) in table {
            assert_eq!(place.name("log."), name);
            assert_eq!(Place::of_name(name, "log."), Some(place));
            assert_eq!(Place::of_name(name, "snapshot."), None);
        }
        for other in [
            "log.000000030000000A",
            "log.00000003",
            "log.000000030000000a.tmp",
            "log.000000030000000a.00000000",
            "log.000000030000000a.1",
            "log.+00000030000000a",
            "log.",
        ] {
            assert_eq!(Place::of_name(other, "log."), None, "{other}");
        }
        assert!(place(0, 9) < place(1, 3));
    }
}
