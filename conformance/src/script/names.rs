//! What differs from run to run, replaced by words: in answers a word for the value, in requests the value for the word.

use std::time::{SystemTime, UNIX_EPOCH};

use dohle::types::TopicId;
use uuid::Uuid;

/// Times no further from the clock than this are `now`.
const NOW_MS: u64 = 600_000;
/// Of `00000000-0000-0000-0000-000000000000`.
const UUID_CHARS: usize = 36;

/// The values seen so far, in the order in which they were first seen.
#[derive(Debug, Default)]
pub struct Names {
    uuids: Vec<Uuid>,
    producers: Vec<i64>,
    sessions: Vec<i64>,
    pub cluster: Option<String>,
    pub port: u16,
    /// `t-$v`, and what it was in the request that was sent last: `t-3`.
    pub versioned: Vec<(String, String)>,
}

fn numbered<T: PartialEq>(seen: &mut Vec<T>, value: T) -> usize {
    let found = seen.iter().position(|known| *known == value);
    found.unwrap_or_else(|| {
        seen.push(value);
        seen.len() - 1
    }) + 1
}

pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as i64)
}

impl Names {
    pub fn of_broker(port: u16) -> Names {
        Names {
            port,
            ..Names::default()
        }
    }

    pub fn uuid(&mut self, id: Uuid) -> String {
        format!("uuid#{}", numbered(&mut self.uuids, id))
    }

    pub fn producer(&mut self, id: i64) -> String {
        format!("producer#{}", numbered(&mut self.producers, id))
    }

    pub fn session(&mut self, id: i64) -> String {
        format!("session#{}", numbered(&mut self.sessions, id))
    }

    pub fn is_now(time_ms: i64) -> bool {
        time_ms.abs_diff(now_ms()) < NOW_MS
    }

    /// A text of an answer: with words for what is in it.
    pub fn text(&mut self, text: &str) -> String {
        let mut out = self.without_uuids(text);
        for (index, id) in self.uuids.iter().enumerate() {
            out = out.replace(&TopicId(*id).to_string(), &format!("uuid#{}", index + 1));
        }
        for (index, id) in self
            .producers
            .iter()
            .enumerate()
            .filter(|(_, id)| **id >= 1000)
        {
            out = out.replace(&id.to_string(), &format!("producer#{}", index + 1));
        }
        if let Some(cluster) = &self.cluster {
            out = out.replace(cluster.as_str(), "cluster");
        }
        out = out.replace(&format!(":{}", self.port), ":port");
        for (written, sent) in &self.versioned {
            out = out.replace(sent.as_str(), written);
        }
        out
    }

    fn without_uuids(&mut self, text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let id = rest.get(..UUID_CHARS).filter(|word| word.contains('-'));
            match id.and_then(|word| Uuid::try_parse(word).ok()) {
                Some(id) => {
                    out.push_str(&self.uuid(id));
                    rest = rest.get(UUID_CHARS..).unwrap_or_default();
                }
                None => {
                    out.push(first);
                    rest = rest.get(first.len_utf8()..).unwrap_or_default();
                }
            }
        }
        out
    }

    /// A text of a request, with what its words stand for.
    pub fn text_sent(&mut self, written: &str, version: i16) -> String {
        let mut out = written.replace("$v", &version.to_string());
        if out != written {
            self.versioned.push((written.to_owned(), out.clone()));
        }
        // From the last: `uuid#1` begins `uuid#11`.
        for (index, id) in self.uuids.iter().enumerate().rev() {
            out = out.replace(&format!("uuid#{}", index + 1), &id.to_string());
        }
        match (out.as_str(), &self.cluster) {
            ("cluster", Some(cluster)) => cluster.clone(),
            _ => out,
        }
    }

    pub fn uuid_sent(&self, written: &str) -> Option<Uuid> {
        let numbered = written.strip_prefix("uuid#");
        match numbered.and_then(|number| number.parse::<usize>().ok()) {
            Some(number) => self.uuids.get(number.checked_sub(1)?).copied(),
            None => Uuid::try_parse(written).ok(),
        }
    }

    /// A number of a request that is written as a word.
    pub fn number_sent(&self, written: &str) -> Option<i64> {
        if written == "port" {
            return Some(i64::from(self.port));
        }
        if let Some(shift) = written.strip_prefix("now") {
            let shift = shift.strip_prefix('+').unwrap_or(shift);
            let shift: i64 = if shift.is_empty() {
                0
            } else {
                shift.parse().ok()?
            };
            return Some(now_ms() + shift);
        }
        let (kind, number) = written.split_once('#')?;
        let seen = match kind {
            "producer" => &self.producers,
            "session" => &self.sessions,
            _ => return None,
        };
        let number: usize = number.parse().ok()?;
        seen.get(number.checked_sub(1)?).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_has_one_word_wherever_it_stands() {
        let mut names = Names::of_broker(9092);
        let (first, second) = (Uuid::from_u128(1 << 90 | 7), Uuid::from_u128(2 << 90 | 8));
        assert_eq!(names.uuid(first), "uuid#1");
        assert_eq!(
            names.text(&format!("member-{second} of {first}")),
            "member-uuid#2 of uuid#1"
        );
        let in_kafkas_form = TopicId(first).to_string();
        assert_eq!(
            names.text(&format!("id {in_kafkas_form} at host:9092")),
            "id uuid#1 at host:port"
        );
        assert_eq!(
            names.text_sent("member-uuid#2", 4),
            format!("member-{second}")
        );
        assert_eq!(names.uuid_sent("uuid#1"), Some(first));
        assert_eq!(names.producer(4001), "producer#1");
        assert_eq!(names.number_sent("producer#1"), Some(4001));
        assert_eq!(names.number_sent("producer#2"), None);
        assert_eq!(names.number_sent("nowhere"), None);
        let soon = names.number_sent("now+5000").unwrap();
        assert!((1_000..=5_000).contains(&(soon - now_ms())), "{soon}");
        assert_eq!(
            names.text("no producer 4001 here"),
            "no producer producer#1 here"
        );
    }

    #[test]
    fn a_version_in_a_text_is_taken_out_of_the_answer_again() {
        let mut names = Names::default();
        assert_eq!(names.text_sent("topic-$v", 11), "topic-11");
        assert_eq!(
            names.text("Topic 'topic-11' exists"),
            "Topic 'topic-$v' exists"
        );
    }
}
