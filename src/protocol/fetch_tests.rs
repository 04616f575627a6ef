use super::*;
use crate::protocol::schema::sample::{self, Choices};
use kafka_protocol::messages as theirs;
use kafka_protocol::messages::TopicName;
use kafka_protocol::messages::fetch_request as parts;
use kafka_protocol::protocol::Decodable;
use proptest::prelude::*;

fn as_theirs(request: &FetchRequest, version: i16) -> theirs::FetchRequest {
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|p| {
            parts::FetchPartition::default()
                .with_partition(p.index.0)
                .with_current_leader_epoch(p.current_leader_epoch.0)
                .with_fetch_offset(p.fetch_offset.0)
                .with_last_fetched_epoch(p.last_fetched_epoch.0)
                .with_log_start_offset(p.log_start_offset.0)
                .with_partition_max_bytes(p.max_bytes)
                .with_replica_directory_id(p.replica_directory_id)
                .with_high_watermark(p.high_watermark.0)
        });
        parts::FetchTopic::default()
            .with_topic(TopicName(topic.name.clone()))
            .with_topic_id(topic.topic_id.0)
            .with_partitions(partitions.collect())
    });
    let forgotten = request.forgotten_topics.iter().map(|topic| {
        parts::ForgottenTopic::default()
            .with_topic(TopicName(topic.name.clone()))
            .with_topic_id(topic.topic_id.0)
            .with_partitions(topic.partitions.iter().map(|p| p.0).collect())
    });
    let mut out = theirs::FetchRequest::default()
        .with_cluster_id(request.cluster_id.clone())
        .with_max_wait_ms(request.max_wait_ms)
        .with_min_bytes(request.min_bytes)
        .with_max_bytes(request.max_bytes)
        .with_isolation_level(request.isolation_level)
        .with_session_id(request.session_id)
        .with_session_epoch(request.session_epoch)
        .with_topics(topics.collect())
        .with_forgotten_topics_data(forgotten.collect())
        .with_rack_id(request.rack_id.clone());
    if version >= 15 {
        out.replica_state.replica_id = request.replica_id.0.into();
        out.replica_state.replica_epoch = request.replica_epoch;
    } else {
        out.replica_id = request.replica_id.0.into();
    }
    out
}

fn without_unknown(mut request: theirs::FetchRequest) -> theirs::FetchRequest {
    request.unknown_tagged_fields.clear();
    request.replica_state.unknown_tagged_fields.clear();
    for topic in &mut request.topics {
        topic.unknown_tagged_fields.clear();
        for partition in &mut topic.partitions {
            partition.unknown_tagged_fields.clear();
        }
    }
    for topic in &mut request.forgotten_topics_data {
        topic.unknown_tagged_fields.clear();
    }
    request
}

#[test]
fn what_is_wrong_is_said_with_the_field() {
    let error = FetchRequest::parse(Bytes::from_static(&[0xff; 21]), 12).unwrap_err();
    assert_eq!(error.place, ("FetchRequest", "session_epoch"));
    // Millions of topics in a few bytes.
    let mut body = vec![0; 25];
    body.extend([0xff, 0xff, 0xff, 0x7f]);
    let error = FetchRequest::parse(body.into(), 12).unwrap_err();
    assert_eq!(error.place, ("FetchRequest", "topics"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// What is refused is what the guard refuses, and what is read is what the crate reads.
    #[test]
    fn requests_are_read_as_the_guard_and_the_crate_read_them(
        version in 4i16..=18,
        choices in proptest::collection::vec(any::<u8>(), 0..150),
        damage in proptest::option::of((any::<usize>(), any::<u8>())),
    ) {
        let message = &crate::protocol::schema::api(KEY).unwrap().request;
        let mut body = sample::body(message, version, &mut Choices::new(&choices));
        if let Some((at, byte)) = damage {
            let at = at % body.len();
            body[at] = byte;
        }
        let guarded = guard::check(message, version, &body);
        let parsed = FetchRequest::parse(Bytes::from(body.clone()), version);
        prop_assert_eq!(guarded.err(), parsed.as_ref().err().copied());
        if let Ok(parsed) = parsed {
            let mut input = Bytes::from(body);
            let expected = theirs::FetchRequest::decode(&mut input, version).unwrap();
            prop_assert_eq!(as_theirs(&parsed, version), without_unknown(expected));
        }
    }

    #[test]
    fn any_bytes_are_safe(version in 3i16..20, body: Vec<u8>) {
        let _ = FetchRequest::parse(body.into(), version);
    }
}
