//! Runs a script against a broker: what it answered to each step.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use dohle::error::ErrorCode;
use dohle::protocol::schema::Api;
use serde_json::{Value, json};

use super::ScriptError;
use super::file::{Action, Answer, Answers, Body, How, Request, Script, Step};
use super::names::Names;
use super::{decode, encode};

/// How long an answer may take before it is `nothing`.
const ANSWER: Duration = Duration::from_secs(4);
/// How long a script waits for what is about to be.
const SETTLED: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(20);
/// What it is when a topic, its leader or a coordinator is not there yet.
const UNSETTLED: [ErrorCode; 7] = [
    ErrorCode::UnknownTopicOrPartition,
    ErrorCode::LeaderNotAvailable,
    ErrorCode::NotLeaderOrFollower,
    ErrorCode::CoordinatorLoadInProgress,
    ErrorCode::CoordinatorNotAvailable,
    ErrorCode::NotCoordinator,
    ErrorCode::UnknownTopicId,
];

/// A step's answers.
pub type Ran = Vec<Answers>;

/// Runs all steps, in their order.
pub fn run(script: &Script, address: SocketAddr) -> Result<Ran, ScriptError> {
    let mut runner = Runner {
        script,
        address,
        names: Names::of_broker(address.port()),
        connections: BTreeMap::new(),
    };
    let mut ran = Vec::new();
    for step in script.steps() {
        let answers = runner
            .step(step)
            .map_err(|error| ScriptError::syntax(format!("{error}, at\n{step}")))?;
        ran.push(answers);
    }
    Ok(ran)
}

struct Connection {
    stream: TcpStream,
    next_correlation: i32,
    /// What was sent and has no answer yet.
    waiting: VecDeque<(i32, &'static Api, i16)>,
}

struct Runner<'s> {
    script: &'s Script,
    address: SocketAddr,
    names: Names,
    connections: BTreeMap<String, Connection>,
}

/// A frame, or why there is none.
fn read_frame(stream: &mut TcpStream) -> io::Result<Result<Vec<u8>, Answer>> {
    let mut length = [0; 4];
    let read = stream.read_exact(&mut length).and_then(|()| {
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        stream.read_exact(&mut frame).map(|()| frame)
    });
    match read {
        Ok(frame) => Ok(Ok(frame)),
        Err(error) => match error.kind() {
            ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
                Ok(Err(Answer::Closed))
            }
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Ok(Err(Answer::Nothing)),
            _ => Err(error),
        },
    }
}

impl Runner<'_> {
    fn step(&mut self, step: &Step) -> Result<Answers, ScriptError> {
        let connection = step.connection.as_str();
        match &step.action {
            Action::Close => {
                self.connections.remove(connection);
                Ok(Vec::new())
            }
            Action::Read => Ok(vec![(None, self.receive(connection)?)]),
            Action::Bytes(bytes) => {
                self.connection(connection)?.stream.write_all(bytes)?;
                let answer = match read_frame(&mut self.connection(connection)?.stream)? {
                    Ok(frame) => Answer::Said(json!(decode::bytes_word(&frame))),
                    Err(answer) => answer,
                };
                self.connections.remove(connection);
                Ok(vec![(None, answer)])
            }
            Action::Ask(request) => self.ask(connection, request),
        }
    }

    fn ask(&mut self, connection: &str, request: &Request) -> Result<Answers, ScriptError> {
        let mut answers = Answers::new();
        let one = request.versions.min == request.versions.max;
        for version in request.versions.iter() {
            let answer = match &request.how {
                How::Later => {
                    self.send(connection, request, version)?;
                    continue;
                }
                How::Silent => {
                    self.send(connection, request, version)?;
                    self.connection(connection)?.waiting.pop_back();
                    continue;
                }
                How::Once => self.call(connection, request, version)?,
                How::Settled => self.call_until(connection, request, version, |text| {
                    !UNSETTLED
                        .iter()
                        .any(|code| text.contains(&format!("\"{code}\"")))
                })?,
                How::Until(word) => {
                    self.call_until(connection, request, version, |text| text.contains(word))?
                }
            };
            answers.push(((!one).then_some(version), answer));
        }
        Ok(answers)
    }

    fn call(
        &mut self,
        connection: &str,
        request: &Request,
        version: i16,
    ) -> Result<Answer, ScriptError> {
        self.send(connection, request, version)?;
        self.receive(connection)
    }

    fn call_until(
        &mut self,
        connection: &str,
        request: &Request,
        version: i16,
        mut is_there: impl FnMut(&str) -> bool,
    ) -> Result<Answer, ScriptError> {
        let deadline = Instant::now() + SETTLED;
        loop {
            let answer = self.call(connection, request, version)?;
            match &answer {
                Answer::Said(value)
                    if !is_there(&value.to_string()) && Instant::now() < deadline =>
                {
                    std::thread::sleep(PAUSE);
                }
                _ => return Ok(answer),
            }
        }
    }

    fn connection(&mut self, name: &str) -> io::Result<&mut Connection> {
        if !self.connections.contains_key(name) {
            let stream = TcpStream::connect(self.address)?;
            stream.set_read_timeout(Some(ANSWER))?;
            stream.set_nodelay(true)?;
            let connection = Connection {
                stream,
                next_correlation: 1,
                waiting: VecDeque::new(),
            };
            self.connections.insert(name.to_owned(), connection);
        }
        self.connections
            .get_mut(name)
            .ok_or_else(|| io::Error::other("no connection"))
    }

    fn send(
        &mut self,
        connection: &str,
        request: &Request,
        version: i16,
    ) -> Result<(), ScriptError> {
        const CLIENT_ID: &[u8] = b"script";
        let api = request.api;
        self.names.versioned.clear();
        let body = match &request.body {
            Body::Raw(bytes) => bytes.clone(),
            Body::Fields(value) => encode::body(&api.request, version, value, &mut self.names)?,
        };
        let connection = self.connection(connection)?;
        let correlation = connection.next_correlation;
        connection.next_correlation += 1;
        let mut frame = Vec::new();
        frame.extend(api.key.to_be_bytes());
        frame.extend(version.to_be_bytes());
        frame.extend(correlation.to_be_bytes());
        frame.extend((CLIENT_ID.len() as i16).to_be_bytes());
        frame.extend(CLIENT_ID);
        if api.request_header_version(version) == 2 {
            frame.push(0);
        }
        frame.extend(body);
        connection
            .stream
            .write_all(&(frame.len() as u32).to_be_bytes())?;
        connection.stream.write_all(&frame)?;
        connection.waiting.push_back((correlation, api, version));
        Ok(())
    }

    /// The next answer; a connection that has none is done with.
    fn receive(&mut self, name: &str) -> Result<Answer, ScriptError> {
        let connection = self.connection(name)?;
        let (correlation, api, version) = connection
            .waiting
            .pop_front()
            .ok_or_else(|| ScriptError::syntax("nothing was asked"))?;
        let frame = match read_frame(&mut connection.stream)? {
            Ok(frame) => frame,
            Err(answer) => {
                self.connections.remove(name);
                return Ok(answer);
            }
        };
        let wrong = |what: &str| ScriptError::syntax(format!("{} v{version}: {what}", api.name));
        let (head, body) = frame
            .split_at_checked(4)
            .ok_or_else(|| wrong("no header"))?;
        if head != correlation.to_be_bytes() {
            return Err(wrong("the answer to another request"));
        }
        // An older form of ApiVersions is how a newer one is refused.
        let refused = api.name == "ApiVersions"
            && body.starts_with(&ErrorCode::UnsupportedVersion.code().to_be_bytes());
        let version = if refused { 0 } else { version };
        let body = match api.response_header_version(version) {
            0 => body,
            _ => body.get(1..).ok_or_else(|| wrong("no header"))?,
        };
        let value: Value = decode::body(&api.response, version, body, &mut self.names)
            .map_err(|error| wrong(&error))?;
        Ok(Answer::Said(decode::tidied(
            value,
            &self.script.hidden,
            self.script.ordered,
        )))
    }
}
