//! A few requests by hand, each on a connection of its own, to the one node that is named: client libraries go to
//! whichever node they like, and try again by themselves.
//!
//! An error says that nobody answered, so nobody knows what became of it; an answer is one of Kafka's error codes.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

/// CreateTopics, version 2, of one topic with one partition.
pub fn create_topic(address: &str, name: &str, within: Duration) -> Result<i16> {
    let mut body = Vec::new();
    body.extend(1i32.to_be_bytes());
    put(&mut body, name);
    body.extend(1i32.to_be_bytes());
    body.extend(1i16.to_be_bytes());
    body.extend(0i32.to_be_bytes());
    body.extend(0i32.to_be_bytes());
    body.extend(i32::try_from(within.as_millis())?.to_be_bytes());
    body.push(0);
    let mut answer = ask(address, 19, 2, &body, within)?;
    let (_throttle, _topics, _name) = (answer.i32()?, answer.i32()?, answer.string()?);
    answer.i16()
}

/// DeleteTopics, version 1, of one topic.
pub fn delete_topic(address: &str, name: &str, within: Duration) -> Result<i16> {
    let mut body = Vec::new();
    body.extend(1i32.to_be_bytes());
    put(&mut body, name);
    body.extend(i32::try_from(within.as_millis())?.to_be_bytes());
    let mut answer = ask(address, 20, 1, &body, within)?;
    let (_throttle, _topics, _name) = (answer.i32()?, answer.i32()?, answer.string()?);
    answer.i16()
}

const TOPIC: u8 = 2;

/// IncrementalAlterConfigs, version 0: one option of one topic is set.
pub fn set_topic_config(
    address: &str,
    topic: &str,
    option: &str,
    value: &str,
    within: Duration,
) -> Result<i16> {
    let mut body = Vec::new();
    body.extend(1i32.to_be_bytes());
    body.push(TOPIC);
    put(&mut body, topic);
    body.extend(1i32.to_be_bytes());
    put(&mut body, option);
    body.push(0);
    put(&mut body, value);
    body.push(0);
    let mut answer = ask(address, 44, 0, &body, within)?;
    let (_throttle, _resources) = (answer.i32()?, answer.i32()?);
    answer.i16()
}

/// Metadata, version 1: the names of all topics.
pub fn topics(address: &str, within: Duration) -> Result<BTreeSet<String>> {
    let mut answer = ask(address, 3, 1, &(-1i32).to_be_bytes(), within)?;
    for _broker in 0..answer.i32()? {
        let (_id, _host, _port, _rack) = (
            answer.i32()?,
            answer.string()?,
            answer.i32()?,
            answer.string()?,
        );
    }
    let _controller = answer.i32()?;
    let mut names = BTreeSet::new();
    for _topic in 0..answer.i32()? {
        let (error, name, _internal) = (answer.i16()?, answer.string()?, answer.u8()?);
        ensure!(error == 0, "{name:?}: error {error}");
        for _partition in 0..answer.i32()? {
            let (_error, _index, _leader) = (answer.i16()?, answer.i32()?, answer.i32()?);
            for _list in 0..2 {
                for _node in 0..answer.i32()? {
                    answer.i32()?;
                }
            }
        }
        names.insert(name.context("no name")?);
    }
    Ok(names)
}

/// DescribeConfigs, version 1: one option of each of some topics.
pub fn topic_configs(
    address: &str,
    topics: &[&str],
    option: &str,
    within: Duration,
) -> Result<BTreeMap<String, Option<String>>> {
    let mut body = Vec::new();
    body.extend(i32::try_from(topics.len())?.to_be_bytes());
    for topic in topics {
        body.push(TOPIC);
        put(&mut body, topic);
        body.extend(1i32.to_be_bytes());
        put(&mut body, option);
    }
    body.push(0);
    let mut answer = ask(address, 32, 1, &body, within)?;
    let _throttle = answer.i32()?;
    let mut values = BTreeMap::new();
    for _resource in 0..answer.i32()? {
        let (error, why, _type) = (answer.i16()?, answer.string()?, answer.u8()?);
        let name = answer.string()?.context("no name")?;
        ensure!(error == 0, "{name}: error {error}: {why:?}");
        for _option in 0..answer.i32()? {
            let (_name, value) = (answer.string()?, answer.string()?);
            let (_read_only, _source, _sensitive) = (answer.u8()?, answer.u8()?, answer.u8()?);
            ensure!(answer.i32()? == 0, "{name}: synonyms nobody asked for");
            values.insert(name.clone(), value);
        }
    }
    Ok(values)
}

/// A connection that is not open by then will not be.
pub fn connect(address: &str, within: Duration) -> Result<TcpStream> {
    let mut last = None;
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, within) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = Some(error),
        }
    }
    Err(last.map_or_else(|| anyhow::anyhow!("no address"), Into::into))
}

fn put(into: &mut Vec<u8>, text: &str) {
    into.extend((text.len() as u16).to_be_bytes());
    into.extend(text.as_bytes());
}

/// One request; the answer behind the correlation id.
fn ask(address: &str, key: i16, version: i16, body: &[u8], within: Duration) -> Result<Answer> {
    let mut stream = connect(address, within)?;
    // A little longer than the node itself waits for the leader.
    let patience = within + Duration::from_secs(1);
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    let mut request = Vec::new();
    request.extend(i32::try_from(body.len() + 10)?.to_be_bytes());
    request.extend(key.to_be_bytes());
    request.extend(version.to_be_bytes());
    request.extend(1i32.to_be_bytes());
    request.extend((-1i16).to_be_bytes());
    request.extend(body);
    stream.write_all(&request)?;
    let mut head = [0; 8];
    stream.read_exact(&mut head)?;
    let [a, b, c, d, ..] = head;
    let length = usize::try_from(i32::from_be_bytes([a, b, c, d]))?;
    let mut bytes = vec![0; length.checked_sub(4).context("short")?];
    stream.read_exact(&mut bytes)?;
    Ok(Answer { bytes, at: 0 })
}

/// What is left of an answer.
struct Answer {
    bytes: Vec<u8>,
    at: usize,
}

impl Answer {
    fn take(&mut self, count: usize) -> Result<&[u8]> {
        let bytes = self.bytes.get(self.at..self.at + count).context("short")?;
        self.at += count;
        Ok(bytes)
    }

    fn u8(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    fn i16(&mut self) -> Result<i16> {
        Ok(i16::from_be_bytes(self.take(2)?.try_into()?))
    }

    fn i32(&mut self) -> Result<i32> {
        Ok(i32::from_be_bytes(self.take(4)?.try_into()?))
    }

    fn string(&mut self) -> Result<Option<String>> {
        match usize::try_from(self.i16()?) {
            Ok(length) => Ok(Some(String::from_utf8(self.take(length)?.to_vec())?)),
            Err(_) => Ok(None),
        }
    }
}
