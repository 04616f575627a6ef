use super::*;

#[test]
fn copies_are_named_as_kafka_names_them() {
    for (name, of) in [
        (
            "t-0.0123456789abcdef0123456789abcdef-future",
            Some(("t", 0)),
        ),
        ("a.b-c-12.f-future", Some(("a.b-c", 12))),
        ("t-0.-future", None),
        ("t-0-future", None),
        ("t.f-future", None),
        ("t-0.f-delete", None),
        ("t-0", None),
    ] {
        let of = of.map(|(topic, partition)| TopicPartition::new(topic, partition));
        assert_eq!(parse_name(name), of, "{name}");
    }
    let named = |len: usize| TopicPartition::new("x".repeat(len), 0);
    let longest = named(255 - 2 - 33 - 7);
    assert!(can_be_moved(&longest) && !can_be_moved(&named(255 - 2 - 33 - 6)));
    let name = directory_name(&longest, FUTURE_SUFFIX);
    assert_eq!((name.len(), parse_name(&name)), (255, Some(longest)));
}
