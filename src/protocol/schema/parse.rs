//! Reads the notation of `messages.txt`.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Api, Field, Kind, Message, Struct, Versions};

type Outcome<T> = Result<T, String>;

/// One line: how deep it is indented, and its words.
struct Line {
    number: usize,
    depth: usize,
    words: Vec<&'static str>,
}

impl Line {
    fn word(&self, index: usize) -> Outcome<&'static str> {
        let word = self.words.get(index).copied();
        word.ok_or_else(|| self.error("a word is missing"))
    }

    fn error(&self, reason: &str) -> String {
        format!("line {}: {reason}", self.number)
    }
}

struct Parser {
    lines: Vec<Line>,
    at: usize,
    versions: Versions,
    flexible: Versions,
    shared: BTreeMap<&'static str, Arc<Struct>>,
}

pub(super) fn parse(text: &'static str) -> Outcome<Vec<Api>> {
    let lines = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'))
        .map(|(index, line)| Line {
            number: index + 1,
            depth: line.len() - line.trim_start().len(),
            words: line.split_whitespace().collect(),
        })
        .collect();
    let mut parser = Parser {
        lines,
        at: 0,
        versions: Versions::NONE,
        flexible: Versions::NONE,
        shared: BTreeMap::new(),
    };
    let mut apis = Vec::new();
    while let Some(line) = parser.lines.get(parser.at) {
        let key = line
            .word(0)?
            .parse()
            .map_err(|_| line.error("no API key"))?;
        let name = line.word(1)?;
        parser.at += 1;
        apis.push(Api {
            key,
            name,
            request: parser.message("request", name)?,
            response: parser.message("response", name)?,
        });
    }
    Ok(apis)
}

impl Parser {
    fn message(&mut self, kind: &str, api: &str) -> Outcome<Message> {
        let line = self.lines.get(self.at).ok_or("a message is missing")?;
        if line.word(0)? != kind {
            return Err(line.error("out of place"));
        }
        self.versions = range(line, line.word(1)?, i16::MAX)?;
        self.flexible = match line.words.get(2) {
            Some(&"flexible") => range(line, line.word(3)?, self.versions.max)?,
            _ => Versions::NONE,
        };
        self.at += 1;
        self.shared = self.shared_structs()?;
        let suffix = if kind == "request" {
            "Request"
        } else {
            "Response"
        };
        // The table lives as long as the program, and its names with it.
        let name: &'static str = String::leak(format!("{api}{suffix}"));
        let fields = self.fields(2, self.versions)?;
        self.skip_shared();
        let body = Arc::new(self.structure(name, fields));
        Ok(Message {
            versions: self.versions,
            flexible: self.flexible,
            body,
        })
    }

    /// The structs that fields refer to by name stand after the fields, and may refer to one another
    /// forwards: they are read in rounds until each has what it needs.
    fn shared_structs(&mut self) -> Outcome<BTreeMap<&'static str, Arc<Struct>>> {
        let start = self.at;
        let mut places = Vec::new();
        for at in start..self.lines.len() {
            match self.lines.get(at) {
                Some(line) if line.depth == 0 => break,
                Some(line) if line.depth == 2 && line.word(0)? == "struct" => {
                    places.push((at, line.word(1)?));
                }
                _ => {}
            }
        }
        self.shared = BTreeMap::new();
        let mut error = None;
        for _ in 0..places.len() {
            for (at, name) in &places {
                if self.shared.contains_key(name) {
                    continue;
                }
                self.at = at + 1;
                match self.fields(4, self.versions) {
                    Ok(fields) => {
                        let found = Arc::new(self.structure(name, fields));
                        self.shared.insert(name, found);
                    }
                    Err(reason) => error = Some(reason),
                }
            }
        }
        self.at = start;
        match error {
            Some(reason) if self.shared.len() < places.len() => Err(reason),
            _ => Ok(std::mem::take(&mut self.shared)),
        }
    }

    fn skip_shared(&mut self) {
        while self.lines.get(self.at).is_some_and(|line| line.depth > 0) {
            self.at += 1;
        }
    }

    fn fields(&mut self, depth: usize, parent: Versions) -> Outcome<Vec<Field>> {
        let mut fields = Vec::new();
        while let Some(line) = self.lines.get(self.at) {
            if line.depth < depth || line.word(0)? == "struct" {
                break;
            }
            if line.depth > depth {
                return Err(line.error("indented too far"));
            }
            fields.push(self.field(depth, parent)?);
        }
        Ok(fields)
    }

    fn field(&mut self, depth: usize, parent: Versions) -> Outcome<Field> {
        let line = self.lines.get(self.at).ok_or("a field is missing")?;
        let kind = line.word(1)?;
        let mut field = Field {
            name: line.word(0)?,
            kind: Kind::Bool,
            versions: parent,
            nullable: Versions::NONE,
            tag: None,
            default: None,
            ignorable: false,
        };
        let mut words = line.words.iter().copied().skip(2).peekable();
        let is_range = |word: &&str| word.starts_with(|letter: char| letter.is_ascii_digit());
        if let Some(word) = words.next_if(is_range) {
            field.versions = range(line, word, parent.max)?;
        }
        while let Some(word) = words.next() {
            match word {
                "null" => {
                    field.nullable = match words.next_if(is_range) {
                        Some(word) => range(line, word, field.versions.max)?,
                        None => field.versions,
                    };
                }
                "tag" => {
                    let number = words.next().and_then(|word| word.parse().ok());
                    field.tag = Some(number.ok_or_else(|| line.error("no tag number"))?);
                }
                "ignorable" => field.ignorable = true,
                _ => match word.strip_prefix('=') {
                    Some(value) => field.default = Some(value),
                    None => return Err(line.error("an unknown word")),
                },
            }
        }
        self.at += 1;
        field.kind = self.kind(kind, depth, field.versions)?;
        Ok(field)
    }

    fn kind(&mut self, word: &'static str, depth: usize, versions: Versions) -> Outcome<Kind> {
        Ok(match word {
            "bool" => Kind::Bool,
            "int8" => Kind::Int8,
            "int16" => Kind::Int16,
            "uint16" => Kind::Uint16,
            "int32" => Kind::Int32,
            "int64" => Kind::Int64,
            "float64" => Kind::Float64,
            "uuid" => Kind::Uuid,
            "string" => Kind::String,
            "bytes" => Kind::Bytes,
            "records" => Kind::Records,
            "groupId" => Kind::GroupId,
            "topicName" => Kind::TopicName,
            "transactionalId" => Kind::TransactionalId,
            "brokerId" => Kind::BrokerId,
            "producerId" => Kind::ProducerId,
            _ => match word.strip_prefix("[]") {
                Some(element) => Kind::Array(Box::new(self.kind(element, depth, versions)?)),
                None => Kind::Struct(self.struct_named(word, depth, versions)?),
            },
        })
    }

    fn struct_named(
        &mut self,
        name: &'static str,
        depth: usize,
        versions: Versions,
    ) -> Outcome<Arc<Struct>> {
        let fields = self.fields(depth + 2, versions)?;
        if fields.is_empty() {
            let shared = self.shared.get(name).cloned();
            return shared.ok_or_else(|| format!("no struct {name}"));
        }
        Ok(Arc::new(self.structure(name, fields)))
    }

    fn structure(&self, name: &'static str, fields: Vec<Field>) -> Struct {
        let smallest = |version: i16| {
            let flexible = self.flexible.contains(version);
            let plain = fields
                .iter()
                .filter(|field| field.versions.contains(version) && field.tag.is_none());
            let bytes: usize = plain
                .map(|field| match &field.kind {
                    // A null struct is one byte.
                    Kind::Struct(_) if field.nullable.contains(version) => 1,
                    kind => kind.min_bytes(version, flexible),
                })
                .sum();
            (bytes + usize::from(flexible)) as u32
        };
        let min_bytes = (0..=self.versions.max).map(smallest).collect();
        Struct {
            name,
            fields,
            min_bytes,
        }
    }
}

fn range(line: &Line, word: &str, max: i16) -> Outcome<Versions> {
    let parse = |word: &str| word.parse::<i16>();
    let (min, max) = match (word.strip_suffix('+'), word.split_once('-')) {
        (Some(min), _) => (parse(min), Ok(max)),
        (None, Some((min, max))) => (parse(min), parse(max)),
        (None, None) => (parse(word), parse(word)),
    };
    match (min, max) {
        (Ok(min), Ok(max)) => Ok(Versions { min, max }),
        _ => Err(line.error("not a range of versions")),
    }
}
