//! Which client asks for which API in which version: taken from the logs of the brokers under test.
//!
//! `DOHLE_COMPAT_SEEN=file` makes them log each request, and adds what is new to the file: lines of API, version and the
//! software that the client says it is (KIP-511). `conformance/MATRIX.md` shows them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Context as _, Result};
use serde_json::Value;

/// Brokers end at the same time.
static WRITING: Mutex<()> = Mutex::new(());

pub fn file() -> Option<PathBuf> {
    std::env::var_os("DOHLE_COMPAT_SEEN").map(PathBuf::from)
}

/// What makes a broker log what is read here.
pub fn options() -> Vec<String> {
    match file() {
        Some(_) => vec![
            "log.format=json".to_owned(),
            "log.level=info,dohle::net::connection=debug,dohle::api::api_versions=debug".to_owned(),
        ],
        None => Vec::new(),
    }
}

type Row = (String, i64, String);

fn rows(log: &str) -> BTreeSet<Row> {
    let mut software = BTreeMap::new();
    let mut rows = BTreeSet::new();
    let lines = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    for line in lines {
        let fields = &line["fields"];
        let text = |name: &str| fields[name].as_str().unwrap_or_default().to_owned();
        match text("message").as_str() {
            "the client's software" => {
                software.insert(text("client"), text("name"));
            }
            "answered" => {
                // An address is used again by another client, after a while.
                if let Some(name) = software.get(&text("client")).cloned() {
                    rows.insert((text("api"), fields["version"].as_i64().unwrap_or(-1), name));
                }
            }
            _ => {}
        }
    }
    rows
}

/// Adds what a broker's log shows.
pub fn add(log: &Path) -> Result<()> {
    let Some(file) = file() else {
        return Ok(());
    };
    let found = rows(&fs::read_to_string(log)?);
    let _writing = WRITING.lock();
    let known = fs::read_to_string(&file).unwrap_or_default();
    let mut all: BTreeSet<String> = known.lines().map(str::to_owned).collect();
    all.extend(
        found
            .into_iter()
            .map(|(api, version, software)| format!("{api}\t{version}\t{software}")),
    );
    let text: String = all.into_iter().map(|line| line + "\n").collect();
    fs::write(&file, text).with_context(|| file.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_belongs_to_the_software_of_its_connection() {
        let log = r#"
{"level":"DEBUG","fields":{"message":"answered","client":"[::1]:7","api":"Metadata","version":1}}
{"level":"DEBUG","fields":{"message":"the client's software","client":"127.0.0.1:5","name":"librdkafka","version":"2.1"}}
{"level":"DEBUG","fields":{"message":"answered","client":"127.0.0.1:5","api":"ApiVersions","version":3,"micros":9}}
not JSON
{"level":"INFO","fields":{"message":"another"}}
"#;
        let expected = [("ApiVersions", 3, "librdkafka")];
        let expected =
            expected.map(|(api, version, name)| (api.to_owned(), version, name.to_owned()));
        assert_eq!(rows(log), BTreeSet::from(expected));
    }
}
