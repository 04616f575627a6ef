//! A connection's requests between their start and their answer, in order.
//!
//! What may start while others wait is the APIs' word (`api::Overlap`). Whatever became of a request is told after
//! everything that was asked before it.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::api::{Api, Overlap, RequestError, Response, ServedRequest};

/// Requests that wait beside their like are together no longer than this, and one of them.
const ALIKE_BYTES: usize = 1024 * 1024;

pub(super) struct Pipeline {
    in_flight: VecDeque<InFlight>,
    most: usize,
}

/// A request that has been started and not yet answered.
struct InFlight {
    api: &'static Api,
    version: i16,
    len: usize,
    started: Instant,
    state: State,
}

enum State {
    Waiting(ServedRequest),
    Finished(Result<Option<Response>, RequestError>),
}

/// A request that was carried out, and its reply, if it wants one.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) api: &'static Api,
    pub(super) version: i16,
    pub(super) took: Duration,
    pub(super) response: Option<Response>,
}

impl Pipeline {
    pub(super) fn new(most: usize) -> Self {
        Self {
            in_flight: VecDeque::new(),
            most,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// Whether a request of this API may start now.
    pub(super) fn admits(&self, key: i16) -> bool {
        let mut alike = 0;
        self.in_flight.len() < self.most
            && self.in_flight.iter().all(|earlier| match &earlier.state {
                State::Finished(outcome) => outcome.is_ok(),
                State::Waiting(_) => match earlier.api.overlap {
                    Overlap::Nothing => false,
                    Overlap::Anything => true,
                    Overlap::Alike => {
                        alike += earlier.len;
                        earlier.api.key == key && alike < ALIKE_BYTES
                    }
                },
            })
    }

    /// Polls the request once: here its effects take their place among its connection's.
    pub(super) async fn start(
        &mut self,
        api: &'static Api,
        version: i16,
        len: usize,
        served: ServedRequest,
    ) {
        let mut in_flight = InFlight {
            api,
            version,
            len,
            started: Instant::now(),
            state: State::Waiting(served),
        };
        poll_fn(|cx| {
            in_flight.poll(cx);
            Poll::Ready(())
        })
        .await;
        self.in_flight.push_back(in_flight);
    }

    /// Waits for the oldest, of which there is to be one. Those behind it that need no more waiting are finished with it: one write of the socket
    /// has the replies of all.
    pub(super) async fn finish(&mut self) {
        poll_fn(|cx| {
            let mut outcome = Poll::Pending;
            for one in &mut self.in_flight {
                if !one.poll(cx) {
                    break;
                }
                outcome = Poll::Ready(());
            }
            outcome
        })
        .await;
    }

    /// The oldest, if it is finished. After an error there is nothing more.
    pub(super) fn pop(&mut self) -> Option<Result<Answered, RequestError>> {
        let is_finished = |one: &mut InFlight| matches!(one.state, State::Finished(_));
        let done = self.in_flight.pop_front_if(is_finished)?;
        let State::Finished(outcome) = done.state else {
            return None;
        };
        Some(outcome.map(|response| Answered {
            api: done.api,
            version: done.version,
            took: done.started.elapsed(),
            response,
        }))
    }
}

impl InFlight {
    /// Whether it is finished.
    fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        if let State::Waiting(served) = &mut self.state {
            match served.as_mut().poll(cx) {
                Poll::Ready(outcome) => self.state = State::Finished(outcome),
                Poll::Pending => return false,
            }
        }
        true
    }
}

#[cfg(test)]
#[path = "pipeline_tests.rs"]
mod tests;
