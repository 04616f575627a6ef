use bytes::Bytes;
use futures_util::FutureExt;
use tokio::sync::oneshot;

use super::*;
use crate::api;

const PRODUCE: i16 = 0;
const METADATA: i16 = 3;
const CREATE_TOPICS: i16 = 19;
const ALTER: i16 = 44;
const NONE: [i16; 0] = [];

type End = oneshot::Sender<Result<(), RequestError>>;

/// A pipeline, and the ends of the requests that were started in it.
struct Requests {
    pipeline: Pipeline,
    ends: Vec<Option<End>>,
}

impl Requests {
    fn of(keys: &[i16]) -> Self {
        let mut requests = Self {
            pipeline: Pipeline::new(8),
            ends: Vec::new(),
        };
        for key in keys {
            requests.start(*key, 100);
        }
        requests
    }

    fn start(&mut self, key: i16, len: usize) {
        let (end, ended) = oneshot::channel();
        let number = self.ends.len().to_string();
        let served = async move {
            ended.await.unwrap()?;
            Ok::<_, RequestError>(Some(Response::from(Bytes::from(number))))
        };
        let api = api::find(key).unwrap();
        let started = self.pipeline.start(api, 0, len, Box::pin(served));
        started.now_or_never().unwrap();
        self.ends.push(Some(end));
    }

    fn end(&mut self, number: usize, outcome: Result<(), RequestError>) {
        let end = self.ends[number].take().unwrap();
        end.send(outcome).map_err(drop).unwrap();
    }

    fn admitted(&self) -> Vec<i16> {
        let keys = [PRODUCE, METADATA, CREATE_TOPICS, ALTER];
        let admitted = keys.iter().filter(|key| self.pipeline.admits(**key));
        admitted.copied().collect()
    }

    /// What is finished, by the bytes of its reply.
    fn answered(&mut self) -> Vec<String> {
        self.pipeline.finish().now_or_never();
        let popped = std::iter::from_fn(|| self.pipeline.pop());
        let told = popped.map(|outcome| match outcome {
            Ok(answered) => format!("{:?}", answered.response.unwrap().parts[0]),
            Err(error) => error.to_string(),
        });
        told.collect()
    }
}

fn replies(numbers: &[u8]) -> Vec<String> {
    let bytes = numbers.iter().map(|n| Bytes::from(n.to_string()));
    bytes
        .map(|bytes| format!("{:?}", api::ResponsePart::Bytes(bytes)))
        .collect()
}

fn refused() -> RequestError {
    RequestError::UnknownApi { key: 77 }
}

#[test]
fn a_request_that_waits_lets_in_what_its_api_says() {
    let all = [PRODUCE, METADATA, CREATE_TOPICS, ALTER];
    assert_eq!(Requests::of(&[]).admitted(), all);
    assert_eq!(Requests::of(&[PRODUCE, PRODUCE]).admitted(), all);
    assert_eq!(Requests::of(&[METADATA]).admitted(), NONE);
    assert_eq!(Requests::of(&[ALTER, ALTER]).admitted(), [ALTER]);
    assert_eq!(Requests::of(&[PRODUCE, ALTER]).admitted(), [ALTER]);
    assert_eq!(Requests::of(&[ALTER, METADATA]).admitted(), NONE);
}

#[test]
fn what_is_decided_in_its_place_overlaps_with_its_like() {
    let keys = api::APIS.iter().map(|api| api.key);
    let overlap = keys.filter(|key| Requests::of(&[*key]).pipeline.admits(*key));
    // Produce, OffsetCommit, CreateTopics, AlterConfigs, IncrementalAlterConfigs.
    assert_eq!(
        overlap.collect::<Vec<_>>(),
        [PRODUCE, 8, CREATE_TOPICS, 33, ALTER]
    );
}

#[test]
fn replies_come_in_order_and_at_once_with_those_that_are_ready_behind() {
    let mut requests = Requests::of(&[ALTER; 4]);
    for number in [2, 1] {
        requests.end(number, Ok(()));
        assert_eq!(requests.answered(), replies(&[]));
    }
    requests.end(0, Ok(()));
    assert_eq!(requests.answered(), replies(&[0, 1, 2]));
    assert_eq!(requests.admitted(), [ALTER]);
    requests.end(3, Ok(()));
    assert_eq!(requests.answered(), replies(&[3]));
}

#[test]
fn an_error_comes_after_the_replies_before_it_and_nothing_starts_behind_it() {
    let mut requests = Requests::of(&[PRODUCE, PRODUCE, PRODUCE]);
    requests.end(1, Err(refused()));
    requests.end(0, Ok(()));
    requests.pipeline.finish().now_or_never().unwrap();
    assert_eq!(requests.admitted(), NONE);
    let told = requests.answered();
    assert_eq!(told[..1], replies(&[0]));
    assert_eq!(told[1], refused().to_string());
}

#[test]
fn how_many_wait_and_how_long_they_are_together_is_bounded() {
    let mut many = Requests::of(&[PRODUCE; 8]);
    assert_eq!(many.admitted(), NONE);
    many.end(0, Ok(()));
    assert_eq!(many.answered(), replies(&[0]));
    assert_eq!(many.admitted().len(), 4);

    let mut long = Requests::of(&[]);
    long.start(ALTER, ALIKE_BYTES - 1);
    assert_eq!(long.admitted(), [ALTER]);
    long.start(ALTER, 1);
    assert_eq!(long.admitted(), NONE);
    long.end(0, Ok(()));
    assert_eq!(long.answered(), replies(&[0]));
    assert_eq!(long.admitted(), [ALTER]);
    // A produce has its records in the log by the time it waits.
    let mut produced = Requests::of(&[]);
    produced.start(PRODUCE, ALIKE_BYTES);
    assert_eq!(produced.admitted().len(), 4);
}
