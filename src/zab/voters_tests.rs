use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn voters(n: i32) -> Voters {
    Voters::of((1..=n).map(NodeId))
}

#[test]
fn a_majority_is_more_than_half() {
    for (voters_count, majority) in [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (7, 4)] {
        assert_eq!(voters(voters_count).majority(), majority);
    }
    let three = voters(3);
    assert!(three.is_quorum([1, 3].map(NodeId)));
    assert!(
        !three.is_quorum([1, 1].map(NodeId)),
        "one voter twice is one"
    );
    assert!(!three.is_quorum([1, 9].map(NodeId)), "9 has no vote");
}

#[test]
fn what_a_quorum_has_is_what_all_but_a_minority_have() {
    let reached = |n: i32, of: &[(i32, u64)]| {
        let of: BTreeMap<i32, u64> = of.iter().copied().collect();
        voters(n).reached(|node| Zxid(of.get(&node.0).copied().unwrap_or(0)))
    };
    assert_eq!(reached(1, &[(1, 7)]), Zxid(7));
    assert_eq!(reached(3, &[(1, 7)]), Zxid(0));
    assert_eq!(reached(3, &[(1, 7), (2, 5)]), Zxid(5));
    assert_eq!(reached(3, &[(1, 7), (2, 5), (3, 6)]), Zxid(6));
    assert_eq!(reached(4, &[(1, 7), (2, 5), (3, 6)]), Zxid(5));
    assert_eq!(reached(3, &[(1, 7), (8, 9), (9, 9)]), Zxid(0));
}

/// Any quorum of a configuration meets any of the one with a voter more or less.
#[test]
fn neighbouring_configurations_have_meeting_quorums() {
    for n in 1..=7i32 {
        let (smaller, larger) = (voters(n), voters(n + 1));
        assert!(smaller.majority() + larger.majority() > larger.len());
    }
}

#[test]
fn a_configuration_counts_from_its_append_until_it_is_truncated() {
    let z = Zxid::new;
    let mut configurations = Configurations::new(z(1, 4), voters(1));
    configurations.append(z(2, 1), voters(2));
    configurations.append(z(2, 5), voters(3));
    assert_eq!(configurations.newest().len(), 3);
    assert_eq!(configurations.newest_zxid(), z(2, 5));
    for (at, len) in [
        (z(1, 1), 1),
        (z(1, 9), 1),
        (z(2, 1), 2),
        (z(2, 4), 2),
        (z(2, 5), 3),
    ] {
        assert_eq!(configurations.at(at).len(), len, "{at:#x}");
    }
    assert!(!configurations.truncate(z(2, 5)));
    assert!(configurations.truncate(z(2, 4)));
    assert_eq!(configurations.newest().len(), 2);
    assert!(configurations.truncate(Zxid::ZERO));
    assert_eq!(configurations.newest().len(), 1, "the first one stays");
}

fn any_voters() -> impl Strategy<Value = Voters> {
    let voter = (
        "[a-z.]{0,40}",
        any::<u16>(),
        proptest::option::of(any::<u128>()),
    );
    let voter = voter.prop_map(|(host, port, directory)| Voter {
        host,
        port,
        directory: directory.map(Uuid::from_u128),
    });
    proptest::collection::btree_map(any::<i32>().prop_map(NodeId), voter, 0..8).prop_map(Voters)
}

proptest! {
    #[test]
    fn voters_come_back_from_their_bytes(voters in any_voters()) {
        let bytes = voters.encode();
        prop_assert_eq!(Voters::decode(&bytes), Ok(voters));
        for cut in 0..bytes.len() {
            prop_assert_eq!(Voters::decode(&bytes[..cut]), Err(InvalidVoters));
        }
    }

    #[test]
    fn no_bytes_are_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        if let Ok(voters) = Voters::decode(&bytes) {
            prop_assert_eq!(voters.encode(), bytes);
        }
    }
}
