//! Which partition of `__consumer_offsets`, and so which broker, a group belongs to.

/// Java's hash of the group id, made positive, modulo the partitions: clients and tools rely on it.
pub fn partition_for(group_id: &str, partitions: i32) -> i32 {
    let hash = group_id.encode_utf16().fold(0i32, |hash, unit| {
        hash.wrapping_mul(31).wrapping_add(i32::from(unit))
    });
    // Kafka's abs: the one number without a positive twin counts as zero.
    let positive = hash.checked_abs().unwrap_or(0);
    positive.checked_rem(partitions).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_hash_as_in_java() {
        // Hashes as Java computes them; "polygenelubricants" hashes to the smallest integer.
        for (group, expected) in [
            ("", 0),
            ("a", 97 % 50),
            ("console-consumer-12345", 158_455_506 % 50),
            ("größe-😀", 175_616_671 % 50),
            ("polygenelubricants", 0),
        ] {
            assert_eq!(partition_for(group, 50), expected, "{group}");
        }
    }
}
