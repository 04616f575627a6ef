//! Variable-length integers, as records (zigzag) and flexible messages (unsigned) use them.
//!
//! Seven bits a byte, lowest first. Readers accept what Kafka's accept: at most five bytes for 32 bits and
//! ten for 64. A needlessly long form is legal; bits beyond the width are dropped, as Java drops them.

/// Reads an unsigned 32-bit varint; the value and how many bytes it took. `None`: it ends early or runs on.
pub fn read_u32(bytes: &[u8]) -> Option<(u32, usize)> {
    let first = *bytes.first()?;
    if first < 0x80 {
        return Some((u32::from(first), 1));
    }
    let mut value = u32::from(first & 0x7f);
    for (position, byte) in bytes.iter().enumerate().take(5).skip(1) {
        value |= u32::from(byte & 0x7f) << (7 * position);
        if *byte < 0x80 {
            return Some((value, position + 1));
        }
    }
    None
}

/// Reads an unsigned 64-bit varint.
pub fn read_u64(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0u64;
    for (position, byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f) << (7 * position);
        if *byte < 0x80 {
            return Some((value, position + 1));
        }
    }
    None
}

/// Reads a zigzag 32-bit varint.
pub fn read_i32(bytes: &[u8]) -> Option<(i32, usize)> {
    read_u32(bytes).map(|(raw, size)| ((raw >> 1) as i32 ^ -((raw & 1) as i32), size))
}

/// Reads a zigzag 64-bit varint.
pub fn read_i64(bytes: &[u8]) -> Option<(i64, usize)> {
    read_u64(bytes).map(|(raw, size)| ((raw >> 1) as i64 ^ -((raw & 1) as i64), size))
}

pub fn write_u64(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub fn write_u32(out: &mut Vec<u8>, value: u32) {
    write_u64(out, u64::from(value));
}

pub fn write_i32(out: &mut Vec<u8>, value: i32) {
    write_u32(out, (value << 1 ^ value >> 31) as u32);
}

pub fn write_i64(out: &mut Vec<u8>, value: i64) {
    write_u64(out, (value << 1 ^ value >> 63) as u64);
}

/// How many bytes [`write_u32`] takes.
pub fn size_u32(value: u32) -> usize {
    size_u64(u64::from(value))
}

/// How many bytes [`write_u64`] takes.
pub fn size_u64(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// How many bytes [`write_i32`] takes.
pub fn size_i32(value: i32) -> usize {
    size_u32((value << 1 ^ value >> 31) as u32)
}

/// How many bytes [`write_i64`] takes.
pub fn size_i64(value: i64) -> usize {
    size_u64((value << 1 ^ value >> 63) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_forms() {
        for (value, bytes) in [
            (0i32, &[0u8][..]),
            (-1, &[1]),
            (1, &[2]),
            (63, &[0x7e]),
            (-64, &[0x7f]),
            (64, &[0x80, 0x01]),
            (i32::MAX, &[0xfe, 0xff, 0xff, 0xff, 0x0f]),
            (i32::MIN, &[0xff, 0xff, 0xff, 0xff, 0x0f]),
        ] {
            let mut out = Vec::new();
            write_i32(&mut out, value);
            assert_eq!(out, bytes);
            assert_eq!(read_i32(bytes), Some((value, bytes.len())));
            assert_eq!(size_i32(value), bytes.len());
        }
    }

    #[test]
    fn a_number_that_ends_early_or_runs_on_is_none() {
        assert_eq!(read_u32(&[]), None);
        assert_eq!(read_u32(&[0x80]), None);
        assert_eq!(read_u32(&[0x80; 5]), None);
        assert_eq!(read_u64(&[0x80; 10]), None);
        assert_eq!(read_u32(&[0x80, 0x80, 0x80, 0x80, 0x00]), Some((0, 5)));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(narrow: i32, wide: i64) {
            let mut out = Vec::new();
            write_i32(&mut out, narrow);
            let split = out.len();
            write_i64(&mut out, wide);
            prop_assert_eq!((split, out.len() - split), (size_i32(narrow), size_i64(wide)));
            prop_assert_eq!(read_i32(&out), Some((narrow, split)));
            prop_assert_eq!(read_i64(&out[split..]), Some((wide, out.len() - split)));
            prop_assert_eq!(size_u64(wide as u64), { let mut o = Vec::new(); write_u64(&mut o, wide as u64); o.len() });
        }

        #[test]
        fn any_bytes_are_safe(bytes: Vec<u8>) {
            for size in [read_u32(&bytes).map(|(_, s)| s), read_u64(&bytes).map(|(_, s)| s)].into_iter().flatten() {
                prop_assert!(size <= bytes.len());
            }
        }
    }
}
