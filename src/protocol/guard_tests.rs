use super::*;
use crate::protocol::schema::sample::{self, Choices};
use crate::protocol::schema::{self, Api};
use proptest::prelude::*;

fn reason(key: i16, version: i16, body: &[u8]) -> String {
    let api = schema::api(key).unwrap();
    check(&api.request, version, body).unwrap_err().to_string()
}

#[test]
fn what_is_wrong_is_said_with_the_field() {
    let cases: &[(i16, i16, &[u8], &str)] = &[
        (
            3,
            99,
            b"",
            "MetadataRequest. at byte 0: version 99 is unknown",
        ),
        (
            3,
            4,
            b"",
            "MetadataRequest.topics at byte 0: the body ends early",
        ),
        (
            3,
            4,
            b"\x7f\xff\xff\xff\0",
            "MetadataRequest.topics at byte 4: 2147483647 is more than the rest of the body holds",
        ),
        (
            3,
            4,
            b"\xff\xff\xff\xfe\0",
            "MetadataRequest.topics at byte 4: length -2",
        ),
        (
            3,
            0,
            b"\xff\xff\xff\xff",
            "MetadataRequest.topics at byte 4: null where null is not allowed",
        ),
        (
            3,
            4,
            b"\0\0\0\x01\0\x02\xff\xfe\0\0",
            "MetadataRequestTopic.name at byte 8: a string that is not UTF-8",
        ),
        (
            3,
            4,
            b"\0\0\0\x01\xff\xff\0",
            "MetadataRequestTopic.name at byte 6: null where null is not allowed",
        ),
        (
            3,
            4,
            b"\0\0\0\x01\0\x05ab",
            "MetadataRequestTopic.name at byte 6: 5 is more than the rest of the body holds",
        ),
        (
            3,
            12,
            b"\xff\xff\xff\xff\xff\xff",
            "MetadataRequest.topics at byte 0: a varint runs on",
        ),
        (
            3,
            12,
            b"\x00\0\0\x01\x05\x09a",
            "MetadataRequest.tagged fields at byte 6: 9 is more than the rest of the body holds",
        ),
        (
            75,
            0,
            b"\x01\0\0\0\0\x02",
            "DescribeTopicPartitionsRequest.cursor at byte 6: 2 is neither null nor present",
        ),
        // Eight bytes that ask a decoder for gigabytes.
        (
            19,
            7,
            b"\xff\xff\xff\xff\x0f\0\0\0",
            "CreateTopicsRequest.topics at byte 5: 4294967294 is more than the rest of the body holds",
        ),
    ];
    for (key, version, body, expected) in cases {
        assert_eq!(reason(*key, *version, body), *expected);
    }
}

#[test]
fn a_tagged_field_must_be_as_long_as_it_says() {
    // Fetch 12: cluster_id is tag 0.
    let mut body = Vec::new();
    body.extend([
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ]);
    body.extend([0; 8]);
    body.extend([1, 1, 1]);
    let api = schema::api(1).unwrap();
    let with_tag = |tag: &[u8]| [&body[..], tag].concat();
    let good = with_tag(&[1, 0, 3, 3, b'a', b'b']);
    assert_eq!(check(&api.request, 12, &good), Ok(good.len()));
    let error = check(&api.request, 12, &with_tag(&[1, 0, 4, 3, b'a', b'b', b'c'])).unwrap_err();
    assert_eq!(
        (error.place.1, error.reason),
        ("cluster_id", Reason::TaggedFieldSize)
    );
}

/// The compact form has room for longer strings than Kafka takes.
#[test]
fn a_string_may_be_as_long_as_the_rigid_form_allows() {
    let api = schema::api(0).unwrap();
    for (length, allowed) in [(i16::MAX as usize, true), (i16::MAX as usize + 1, false)] {
        let mut body = Vec::new();
        varint::write_u32(&mut body, length as u32 + 1);
        body.extend(vec![b'a'; length]);
        body.extend([0, 1, 0, 0, 0, 0, 1, 0]);
        let guarded = check(&api.request, 9, &body).is_ok();
        let parsed = crate::protocol::produce::ProduceRequest::parse(body.into(), 9).is_ok();
        assert_eq!((guarded, parsed), (allowed, allowed), "{length}");
    }
}

#[test]
fn bytes_after_the_body_are_not_looked_at() {
    let api = schema::api(12).unwrap();
    let body = b"\0\x01g\0\0\0\x01\0\x01m";
    let longer = [&body[..], b"more"].concat();
    assert_eq!(check(&api.request, 0, &longer), Ok(body.len()));
}

fn any_message() -> impl Strategy<Value = (&'static Api, bool, i16)> {
    let apis = schema::apis();
    (0..apis.len(), any::<bool>(), any::<u8>()).prop_map(move |(index, request, version)| {
        let api = &apis[index];
        let versions = api.request.versions;
        let span = versions.max - versions.min + 1;
        (api, request, versions.min + i16::from(version) % span)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_bytes_are_safe((api, request, version) in any_message(), body: Vec<u8>) {
        let message = if request { &api.request } else { &api.response };
        if let Ok(size) = check(message, version, &body) {
            prop_assert!(size <= body.len());
        }
    }

    #[test]
    fn a_valid_body_is_taken_whole_and_no_part_of_it(
        (api, request, version) in any_message(),
        choices in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let message = if request { &api.request } else { &api.response };
        let body = sample::body(message, version, &mut Choices::new(&choices));
        prop_assert_eq!(check(message, version, &body), Ok(body.len()), "{} {}", api.name, version);
        for cut in 0..body.len() {
            prop_assert!(check(message, version, &body[..cut]).is_err());
        }
    }

    #[test]
    fn damaged_bodies_are_safe(
        (api, request, version) in any_message(),
        choices in proptest::collection::vec(any::<u8>(), 0..200),
        damage in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..4),
    ) {
        let message = if request { &api.request } else { &api.response };
        let mut body = sample::body(message, version, &mut Choices::new(&choices));
        for (at, byte) in damage {
            if !body.is_empty() {
                let at = at % body.len();
                body[at] = byte;
            }
        }
        let _ = check(message, version, &body);
    }
}
