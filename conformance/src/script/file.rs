//! A script as text, and as what the text says.

use std::collections::BTreeSet;
use std::fmt::Write;

use dohle::protocol::schema::{self, Api, Versions};
use serde_json::Value;
use similar::TextDiff;

use super::ScriptError;
use super::print::print;

#[derive(Debug, Default)]
pub struct Script {
    /// Options of the broker that it is for.
    pub broker: Vec<(String, String)>,
    pub hidden: BTreeSet<String>,
    pub ordered: bool,
    pub items: Vec<Item>,
}

#[derive(Debug)]
pub enum Item {
    /// A comment or an empty line.
    Line(String),
    Step(Box<Step>),
}

#[derive(Debug)]
pub struct Step {
    pub connection: String,
    pub action: Action,
    /// Kafka's answers.
    pub answers: Answers,
    /// Why dohle differs, and how.
    pub differs: Option<(String, Answers)>,
}

#[derive(Debug)]
pub enum Action {
    Ask(Request),
    /// The answer to what was asked `later`.
    Read,
    Bytes(Vec<u8>),
    Close,
}

#[derive(Debug)]
pub struct Request {
    pub how: How,
    pub api: &'static Api,
    pub versions: Versions,
    /// As it is written: `v*` stays what it is.
    versions_word: String,
    pub body: Body,
}

#[derive(Debug)]
pub enum How {
    Once,
    /// The answer is read by a later step.
    Later,
    /// Until its answer has this word.
    Until(String),
    /// While its answer has an error of what is about to be.
    Settled,
    /// It has no answer.
    Silent,
}

#[derive(Debug)]
pub enum Body {
    Fields(Value),
    Raw(Vec<u8>),
}

#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    Said(Value),
    /// The connection was closed.
    Closed,
    /// No answer in the time that an answer has.
    Nothing,
}

/// The answer in each version, where that is what differs.
pub type Answers = Vec<(Option<i16>, Answer)>;

const BROKER: &str = "broker ";
const HIDE: &str = "hide ";
const ORDERED: &str = "ordered";
const WHY: &str = "~ ";
const INSTEAD: &str = "~< ";

impl Script {
    pub fn parse(text: &str) -> Result<Script, ScriptError> {
        let mut script = Script::default();
        let mut rest = text;
        while !rest.is_empty() {
            let at = text.len() - rest.len();
            let before = rest.len();
            rest = script.item(rest).map_err(|error| {
                let line = text.get(..at).unwrap_or_default().lines().count() + 1;
                ScriptError::syntax(format!("line {line}: {error}"))
            })?;
            debug_assert!(rest.len() < before);
        }
        Ok(script)
    }

    /// Reads one thing, and gives back what is behind it.
    fn item<'t>(&mut self, text: &'t str) -> Result<&'t str, ScriptError> {
        let (line, after) = text.split_once('\n').unwrap_or((text, ""));
        if line.is_empty() || line.starts_with('#') {
            self.items.push(Item::Line(line.to_owned()));
        } else if let Some(option) = line.strip_prefix(BROKER) {
            let option = option
                .split_once('=')
                .ok_or_else(|| ScriptError::syntax("an option has a value"))?;
            self.broker.push((option.0.to_owned(), option.1.to_owned()));
        } else if let Some(names) = line.strip_prefix(HIDE) {
            self.hidden
                .extend(names.split_whitespace().map(str::to_owned));
        } else if line == ORDERED {
            self.ordered = true;
        } else if let Some(why) = line.strip_prefix(WHY) {
            self.last_step()?.differs = Some((why.to_owned(), Vec::new()));
        } else if let Some(answer) = text.strip_prefix(INSTEAD) {
            let (versions, answer, after) = parse_answer(answer)?;
            let (_, answers) = self
                .last_step()?
                .differs
                .as_mut()
                .ok_or_else(|| ScriptError::syntax("it says why, before"))?;
            answers.extend(
                versions
                    .into_iter()
                    .map(|version| (version, answer.clone())),
            );
            return Ok(after);
        } else if let Some(answer) = text.strip_prefix("< ") {
            let (versions, answer, after) = parse_answer(answer)?;
            let answers = &mut self.last_step()?.answers;
            answers.extend(
                versions
                    .into_iter()
                    .map(|version| (version, answer.clone())),
            );
            return Ok(after);
        } else if let Some(connection) = line.strip_suffix('<') {
            self.step(connection, Action::Read);
        } else {
            let (connection, request) = text
                .split_once("> ")
                .ok_or_else(|| ScriptError::syntax("not a line of a script"))?;
            let (action, after) = parse_action(request)?;
            self.step(connection, action);
            return Ok(after);
        }
        Ok(after)
    }

    fn step(&mut self, connection: &str, action: Action) {
        let step = Step {
            connection: connection.to_owned(),
            action,
            answers: Vec::new(),
            differs: None,
        };
        self.items.push(Item::Step(Box::new(step)));
    }

    fn last_step(&mut self) -> Result<&mut Step, ScriptError> {
        match self.items.last_mut() {
            Some(Item::Step(step)) => Ok(step.as_mut()),
            _ => Err(ScriptError::syntax("an answer to nothing")),
        }
    }

    pub fn steps_mut(&mut self) -> impl Iterator<Item = &mut Step> {
        self.items.iter_mut().filter_map(|item| match item {
            Item::Step(step) => Some(step.as_mut()),
            Item::Line(_) => None,
        })
    }

    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.items.iter().filter_map(|item| match item {
            Item::Step(step) => Some(step.as_ref()),
            Item::Line(_) => None,
        })
    }
}

/// What is before the end of the line, and what is behind it.
fn rest_of_line(text: &str) -> (&str, &str) {
    text.split_once('\n').unwrap_or((text, ""))
}

fn parse_json(text: &str) -> Result<(Value, &str), ScriptError> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    let value = values
        .next()
        .ok_or_else(|| ScriptError::syntax("JSON is missing"))?;
    let value = value.map_err(|error| ScriptError::syntax(error.to_string()))?;
    let (left, after) = rest_of_line(text.get(values.byte_offset()..).unwrap_or_default());
    match left.trim() {
        "" => Ok((value, after)),
        more => Err(ScriptError::syntax(format!("behind the JSON: {more}"))),
    }
}

fn parse_range(word: &str) -> Option<Versions> {
    let (min, max) = word.split_once("..").unwrap_or((word, word.get(1..)?));
    Some(Versions::new(
        min.strip_prefix('v')?.parse().ok()?,
        max.parse().ok()?,
    ))
}

fn parse_answer(text: &str) -> Result<(Vec<Option<i16>>, Answer, &str), ScriptError> {
    let (versions, text) = match text.strip_prefix('v').and_then(|_| text.split_once(": ")) {
        Some((versions, text)) => {
            let range = parse_range(versions).ok_or_else(|| ScriptError::syntax("not versions"))?;
            (range.iter().map(Some).collect(), text)
        }
        None => (vec![None], text),
    };
    let (line, after) = rest_of_line(text);
    match line {
        "closed" => Ok((versions, Answer::Closed, after)),
        "nothing" => Ok((versions, Answer::Nothing, after)),
        _ => {
            let (value, after) = parse_json(text)?;
            Ok((versions, Answer::Said(value), after))
        }
    }
}

fn parse_action(text: &str) -> Result<(Action, &str), ScriptError> {
    let (line, after) = rest_of_line(text);
    if line == "close" {
        return Ok((Action::Close, after));
    }
    if let Some(bytes) = line.strip_prefix("bytes 0x") {
        return Ok((
            Action::Bytes(crate::hex(bytes).map_err(ScriptError::Syntax)?.into()),
            after,
        ));
    }
    let mut text = text;
    let mut word = || -> Option<&str> {
        let (word, rest) = text.split_once(' ')?;
        text = rest;
        Some(word)
    };
    let missing = || ScriptError::syntax("`API vN JSON`");
    let mut name = word().ok_or_else(missing)?;
    let how = match name {
        "until" => How::Until(word().ok_or_else(missing)?.to_owned()),
        "settled" => How::Settled,
        "later" => How::Later,
        "silent" => How::Silent,
        _ => How::Once,
    };
    if !matches!(how, How::Once) {
        name = word().ok_or_else(missing)?;
    }
    let api = schema::apis().iter().find(|api| api.name == name);
    let api = api.ok_or_else(|| ScriptError::syntax(format!("no API {name}")))?;
    let versions_word = word().ok_or_else(missing)?.to_owned();
    let versions = match versions_word.as_str() {
        "v*" => api.request.versions,
        range => parse_range(range).ok_or_else(|| ScriptError::syntax("not versions"))?,
    };
    let (body, after) = match text.strip_prefix("0x") {
        Some(hex) => {
            let (hex, after) = rest_of_line(hex);
            (
                Body::Raw(crate::hex(hex).map_err(ScriptError::Syntax)?.into()),
                after,
            )
        }
        None => {
            let (value, after) = parse_json(text)?;
            (Body::Fields(value), after)
        }
    };
    Ok((
        Action::Ask(Request {
            how,
            api,
            versions,
            versions_word,
            body,
        }),
        after,
    ))
}

/// What dohle answered to a step and should not have: as Kafka, unless the script says why not.
pub fn difference(step: &Step, ours: &Answers) -> Option<String> {
    let (expected, whose) = match &step.differs {
        Some((_, instead)) if *instead == step.answers => {
            return Some(format!("dohle does not differ here from Kafka:\n{step}"));
        }
        Some((_, instead)) => (instead, "where the script says"),
        None => (&step.answers, "where Kafka says"),
    };
    if ours == expected {
        return None;
    }
    let (said, expected) = (answers_text("< ", ours), answers_text("< ", expected));
    let changes = TextDiff::from_lines(&expected, &said);
    let changes = changes
        .unified_diff()
        .context_radius(2)
        .header(whose, "dohle says")
        .to_string();
    let asked = step.to_string();
    Some(format!(
        "{}\n{changes}",
        asked.lines().next().unwrap_or_default()
    ))
}

impl std::fmt::Display for Script {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut items = self.items.iter().peekable();
        // What the script is about stands first.
        while let Some(Item::Line(line)) =
            items.next_if(|item| matches!(item, Item::Line(line) if !line.is_empty()))
        {
            writeln!(f, "{line}")?;
        }
        for (name, value) in &self.broker {
            writeln!(f, "{BROKER}{name}={value}")?;
        }
        if !self.hidden.is_empty() {
            let names: Vec<&str> = self.hidden.iter().map(String::as_str).collect();
            writeln!(f, "{HIDE}{}", names.join(" "))?;
        }
        if self.ordered {
            writeln!(f, "{ORDERED}")?;
        }
        for item in items {
            match item {
                Item::Line(line) => writeln!(f, "{line}")?,
                Item::Step(step) => step.fmt(f)?,
            }
        }
        Ok(())
    }
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let connection = &self.connection;
        match &self.action {
            Action::Read => writeln!(f, "{connection}<")?,
            Action::Close => writeln!(f, "{connection}> close")?,
            Action::Bytes(bytes) => writeln!(f, "{connection}> bytes {}", hex_of(bytes))?,
            Action::Ask(request) => writeln!(f, "{connection}> {request}")?,
        }
        f.write_str(&answers_text("< ", &self.answers))?;
        if let Some((why, answers)) = &self.differs {
            writeln!(f, "{WHY}{why}")?;
            f.write_str(&answers_text(INSTEAD, answers))?;
        }
        Ok(())
    }
}

impl std::fmt::Display for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let how = match &self.how {
            How::Once => String::new(),
            How::Later => "later ".to_owned(),
            How::Until(word) => format!("until {word} "),
            How::Settled => "settled ".to_owned(),
            How::Silent => "silent ".to_owned(),
        };
        let head = format!("{how}{} {} ", self.api.name, self.versions_word);
        f.write_str(&head)?;
        match &self.body {
            Body::Fields(value) => f.write_str(&print(value, head.len() + 2)),
            Body::Raw(bytes) => f.write_str(&hex_of(bytes)),
        }
    }
}

fn hex_of(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold("0x".to_owned(), |word, byte| format!("{word}{byte:02x}"))
}

/// Lines of answers; versions in a row that answer the same share one.
pub(super) fn answers_text(head: &str, answers: &Answers) -> String {
    let mut out = String::new();
    let mut rest = answers.as_slice();
    while let Some(((first, answer), _)) = rest.split_first() {
        let same = rest.iter().take_while(|(_, other)| other == answer).count();
        let (run, after) = rest.split_at(same);
        let versions = match (first, run.last()) {
            (Some(first), Some((Some(last), _))) if last > first => format!("v{first}..{last}: "),
            (Some(first), _) => format!("v{first}: "),
            (None, _) => String::new(),
        };
        let answer = match answer {
            Answer::Said(value) => print(value, head.len() + versions.len()),
            Answer::Closed => "closed".to_owned(),
            Answer::Nothing => "nothing".to_owned(),
        };
        // Writing to a text does not fail.
        let _ = writeln!(out, "{head}{versions}{answer}");
        rest = after;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"# What it is about.
broker num.partitions=2
hide throttle_time_ms
ordered

# Twice.
> Metadata v1..2 {"topics": null}
< v1: {"topics": []}
< v2: closed
~ We know better.
~< v1..2: {"topics": [{"error_code": "NONE"}]}

a> later JoinGroup v4 {"group_id": "g"}
> until NONE Metadata v* {}
> silent Metadata v3 0x00ff
< nothing
> bytes 0x0001
a<
< {"a": {}}
a> close
"#;

    #[test]
    fn what_is_read_is_written_as_it_was() {
        let script = Script::parse(TEXT).unwrap();
        assert_eq!(script.to_string(), TEXT);
        assert_eq!(
            script.broker,
            [("num.partitions".to_owned(), "2".to_owned())]
        );
        assert!(script.ordered && script.hidden.contains("throttle_time_ms"));
        let steps: Vec<&Step> = script.steps().collect();
        assert_eq!(steps.len(), 7);
        assert_eq!(steps[0].answers[1], (Some(2), Answer::Closed));
        let (why, instead) = steps[0].differs.as_ref().unwrap();
        assert_eq!((why.as_str(), instead.len()), ("We know better.", 2));
        assert!(
            matches!(&steps[2].action, Action::Ask(asked) if asked.versions == asked.api.request.versions)
        );
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (text, said) in [
            (
                "> Metadata v1 {}\n> Nonsense v1 {}\n",
                "line 2: no API Nonsense",
            ),
            ("\n< {}\n", "line 2: an answer to nothing"),
            ("> Metadata v1 {} x\n", "line 1: behind the JSON: x"),
            ("> Metadata x1 {}\n", "line 1: not versions"),
            ("broker x\n", "line 1: an option has a value"),
            ("hello\n", "line 1: not a line of a script"),
        ] {
            assert_eq!(Script::parse(text).unwrap_err().to_string(), said, "{text}");
        }
    }
}
