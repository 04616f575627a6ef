//! What backs each API and version that dohle serves, and where it differs from Kafka on purpose: `MATRIX.md`.
//!
//! `golden/clients.tsv` is what the clients of the compatibility suite asked for; it is written by
//!
//! ```text
//! DOHLE_COMPAT_SEEN=$PWD/conformance/golden/clients.tsv cargo test -p compat-tests --test compat
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

use dohle::api::APIS;
use dohle::protocol::schema;

use crate::produce;
use crate::script::{Action, Answer, Script, Step};

static CLIENTS: &str = include_str!("../golden/clients.tsv");
const PRODUCE: i16 = 0;

type Row = (i16, i16);

/// What was seen of each API and version.
#[derive(Debug, Default)]
pub struct Evidence {
    /// Kafka's serializer wrote the request and the response.
    golden: BTreeSet<Row>,
    /// How many requests both brokers answered.
    asked: BTreeMap<Row, usize>,
    clients: BTreeMap<Row, BTreeSet<String>>,
    differences: Vec<Difference>,
}

#[derive(Debug)]
struct Difference {
    api: String,
    place: String,
    why: String,
}

impl Evidence {
    /// Reads it all; `scripts` is where the scripts are.
    pub fn read(scripts: &Path) -> Result<Evidence, String> {
        let mut evidence = Evidence::default();
        let golden = crate::golden()?.messages;
        let rows = |of_requests: bool| -> BTreeSet<Row> {
            let kind = golden
                .iter()
                .filter(|message| message.is_request == of_requests);
            kind.map(|message| (message.key, message.version)).collect()
        };
        evidence.golden = &rows(true) & &rows(false);
        evidence.read_scripts(scripts)?;
        for (case, answer) in produce::golden()? {
            if answer.code != produce::client::UNANSWERED {
                *evidence.asked.entry((PRODUCE, case.version)).or_default() += 1;
            }
        }
        for (name, why) in produce::STRICTER {
            let place = format!("Produce cases `{name}…`");
            evidence.differences.push(Difference {
                api: "Produce".to_owned(),
                place,
                why: (*why).to_owned(),
            });
        }
        for line in CLIENTS.lines() {
            let &[api, version, client] = line.split('\t').collect::<Vec<_>>().as_slice() else {
                return Err(format!("not a line of a client: {line}"));
            };
            let api = APIS.iter().find(|served| served.name == api).ok_or(line)?;
            let row = (api.key, version.parse().map_err(|_| line)?);
            let names = evidence.clients.entry(row).or_default();
            names.insert(client.to_owned());
        }
        Ok(evidence)
    }

    fn read_scripts(&mut self, dir: &Path) -> Result<(), String> {
        let entries = std::fs::read_dir(dir).map_err(|error| error.to_string())?;
        let mut paths: Vec<_> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .collect();
        paths.sort();
        for path in paths {
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let text = std::fs::read_to_string(&path).map_err(|error| error.to_string())?;
            let script = Script::parse(&text).map_err(|error| format!("{name}: {error}"))?;
            script.steps().for_each(|step| self.read_step(&name, step));
        }
        Ok(())
    }

    fn read_step(&mut self, script: &str, step: &Step) {
        let Action::Ask(request) = &step.action else {
            return;
        };
        let key = request.api.key;
        for (version, answer) in &step.answers {
            if matches!(answer, Answer::Said(_)) {
                let version = version.unwrap_or(request.versions.min);
                *self.asked.entry((key, version)).or_default() += 1;
            }
        }
        if let Some((why, _)) = &step.differs {
            let (api, place) = (request.api.name.to_owned(), format!("`{script}`"));
            self.differences.push(Difference {
                api,
                place,
                why: why.clone(),
            });
        }
    }

    /// What is served without Kafka's own bytes, or without a question that Kafka answered too.
    pub fn unbacked(&self) -> Vec<String> {
        let mut unbacked = Vec::new();
        for api in APIS {
            for version in api.min_version..=api.max_version {
                let row = (api.key, version);
                if !self.golden.contains(&row) {
                    unbacked.push(format!("{} v{version} has no golden bytes", api.name));
                }
                if !self.asked.contains_key(&row) {
                    unbacked.push(format!("{} v{version} is asked for in no script", api.name));
                }
            }
        }
        unbacked
    }

    /// `MATRIX.md`.
    pub fn matrix(&self) -> String {
        let mut out = HEAD.to_owned();
        for api in APIS {
            let versions: Vec<i16> = (api.min_version..=api.max_version).collect();
            let of_api = |row: &&Row| row.0 == api.key;
            let golden = self.golden.iter().filter(of_api).map(|row| row.1);
            let asked: usize = self
                .asked
                .iter()
                .filter(|(row, _)| of_api(row))
                .map(|(_, count)| count)
                .sum();
            let answered = self.asked.keys().filter(of_api).map(|row| row.1);
            let mut clients: BTreeMap<&str, Vec<i16>> = BTreeMap::new();
            for (row, names) in self.clients.iter().filter(|(row, _)| of_api(row)) {
                for name in names {
                    clients.entry(name).or_default().push(row.1);
                }
            }
            let clients: Vec<String> = clients
                .into_iter()
                .map(|(name, versions)| format!("{name} {}", ranges(versions)))
                .collect();
            // Writing to a text does not fail.
            let _ = writeln!(
                out,
                "| {} | {} | {} | {} | {} ({asked}) | {} |",
                api.key,
                api.name,
                ranges(versions.iter().copied()),
                ranges(golden.filter(|version| versions.contains(version))),
                ranges(answered.filter(|version| versions.contains(version))),
                clients.join(", "),
            );
        }
        out.push_str(DIFFERENCES);
        for Difference { api, place, why } in &self.differences {
            let _ = writeln!(out, "| {api} | {why} | {place} |");
        }
        let served: BTreeSet<i16> = APIS.iter().map(|api| api.key).collect();
        let missing: Vec<String> = schema::apis()
            .iter()
            .filter(|api| !served.contains(&api.key))
            .map(|api| format!("{} ({})", api.name, api.key))
            .collect();
        let _ = writeln!(out, "{NOT_SERVED}{}.", missing.join(", "));
        out
    }
}

const HEAD: &str = "\
# What backs each API

Written by `DOHLE_BLESS=1 cargo test -p conformance --test matrix`; the same test fails when a version is served that has no golden bytes or is asked for in no script.

* **golden**: request and response of this version, as Apache Kafka 4.4.0's serializer writes them, are read and written to the same bytes.
* **differential** (requests): Apache Kafka 4.4.0 answered requests of this version, in `scripts` or in `golden/produce-4.4.0.tsv.gz`, and dohle answers the same but where a difference is named below.
* **clients**: what the clients of the compatibility suite ask for, by the name that they give themselves (some give none).

| key | API | served | golden | differential | clients |
| --- | --- | --- | --- | --- | --- |
";

const DIFFERENCES: &str = "
## Intended differences

| API | why | where |
| --- | --- | --- |
";

const NOT_SERVED: &str = "
## Not served

Of what a broker of Apache Kafka 4.4.0 takes: ";

/// `0–3, 5`.
fn ranges(versions: impl IntoIterator<Item = i16>) -> String {
    let mut runs: Vec<(i16, i16)> = Vec::new();
    for version in versions {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == version => *last = version,
            _ => runs.push((version, version)),
        }
    }
    let text = |(first, last): (i16, i16)| match first == last {
        true => first.to_string(),
        false => format!("{first}–{last}"),
    };
    runs.into_iter().map(text).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_in_a_row_are_a_range() {
        assert_eq!(ranges([0, 1, 2, 5, 7, 8]), "0–2, 5, 7–8");
        assert_eq!(ranges([]), "");
    }

    #[test]
    fn what_is_not_seen_is_not_backed() {
        let unbacked = Evidence::default().unbacked();
        let versions: i16 = APIS
            .iter()
            .map(|api| api.max_version - api.min_version + 1)
            .sum();
        assert_eq!(unbacked.len(), 2 * versions as usize);
        assert!(unbacked.contains(&"Metadata v3 is asked for in no script".to_owned()));
    }
}
