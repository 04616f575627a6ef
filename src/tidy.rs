//! The house rules that a machine can check: layers, sizes, heads, dead files, what pure code must not call.
//!
//! Reads the sources as text. A rule that must be broken somewhere is broken here, by name and with a reason.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::config::{BROKER_OPTIONS, TOPIC_OPTIONS};

/// A file's lines, tests apart.
const MAX_FILE_LINES: usize = 700;

/// Modules by layer: imports go to the same layer or one above (a lower number).
const LAYERS: &[(usize, &[&str])] = &[
    (
        0,
        &["types", "error", "config", "metrics", "logging", "parallel"],
    ),
    (
        1,
        &[
            "protocol",
            "state_machine",
            "zab",
            "controller",
            "group",
            "replication",
            "security",
        ],
    ),
    (2, &["log", "zab_log"]),
    (3, &["runtime"]),
    (4, &["api"]),
    (
        5,
        &["net", "broker", "main", "cli", "lib", "tidy", "fuzz", "sim"],
    ),
];

/// What no pure machine may name: it takes these as inputs.
const FORBIDDEN_IN_MACHINES: &[&str] = &[
    "tokio::",
    "std::fs",
    "std::net",
    "std::thread",
    "Instant::now",
    "SystemTime",
    "rand::",
    "Uuid::new_v4",
    "HashMap",
    "HashSet",
];

struct Source {
    /// Below `src/`.
    path: PathBuf,
    text: String,
}

impl Source {
    fn is_test(&self) -> bool {
        let name = self.path.to_string_lossy();
        name.ends_with("tests.rs")
            || name.ends_with("testing.rs")
            || name.contains("/tests/")
            // Compiled into the tests only: they hold the generated messages to the schema table.
            || name.starts_with("protocol/schema/generate")
    }

    fn is_generated(&self) -> bool {
        self.path.starts_with("protocol/messages/generated")
    }

    /// The first part of its path: what a layer is made of.
    fn module(&self) -> String {
        let first = self.path.iter().next().unwrap().to_string_lossy();
        first.trim_end_matches(".rs").to_owned()
    }

    /// The text before the tests inside the file.
    fn code(&self) -> &str {
        self.text.split("#[cfg(test)]\nmod ").next().unwrap()
    }

    /// Lines that are neither comments nor tests.
    fn code_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code()
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
            .map(|(at, line)| (at + 1, line))
    }
}

fn sources() -> Vec<Source> {
    fn walk(dir: &Path, root: &Path, found: &mut Vec<Source>) {
        let mut entries: Vec<_> = fs::read_dir(dir)
            .unwrap()
            .map(|e| e.unwrap().path())
            .collect();
        entries.sort();
        for path in entries {
            if path.is_dir() {
                walk(&path, root, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(Source {
                    text: fs::read_to_string(&path).unwrap(),
                    path: path.strip_prefix(root).unwrap().to_owned(),
                });
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    walk(&root, &root, &mut found);
    assert!(found.len() > 50, "the sources were not found");
    found
}

fn layer_of(module: &str) -> Option<usize> {
    LAYERS
        .iter()
        .find(|(_, modules)| modules.contains(&module))
        .map(|(layer, _)| *layer)
}

/// The modules that a line names after `crate::`.
fn imports(line: &str) -> Vec<String> {
    line.match_indices("crate::")
        // `$crate::` in a macro is what the caller may see, too.
        .map(|(at, found)| {
            line[at + found.len()..]
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect()
        })
        .filter(|name: &String| layer_of(name).is_some())
        .collect()
}

fn report(rule: &str, broken: Vec<String>) {
    assert!(broken.is_empty(), "{rule}:\n{}", broken.join("\n"));
}

#[test]
fn imports_point_upward_only() {
    let mut broken = Vec::new();
    for source in sources().iter().filter(|source| !source.is_test()) {
        let module = source.module();
        let Some(layer) = layer_of(&module) else {
            broken.push(format!("src/{module} has no layer: name it in tidy.rs"));
            continue;
        };
        for (line, text) in source.code_lines() {
            for import in imports(text) {
                if layer_of(&import).unwrap() > layer {
                    let path = source.path.display();
                    broken.push(format!(
                        "src/{path}:{line} (L{layer}) names crate::{import}"
                    ));
                }
            }
        }
    }
    report("a layer imports from layers above it only", broken);
}

#[test]
fn files_are_short() {
    let mut broken = Vec::new();
    for source in sources() {
        let lines = source.code().lines().count();
        if lines > MAX_FILE_LINES && !source.is_test() && !source.is_generated() {
            broken.push(format!("src/{}: {lines} lines", source.path.display()));
        }
    }
    report("a file has at most 700 lines without its tests", broken);
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent = sources()
        .iter()
        .filter(|source| !source.is_test() && !source.is_generated())
        .filter(|source| !source.text.starts_with("//! "))
        .map(|source| format!("src/{}", source.path.display()))
        .collect();
    report("a file begins with what it is for", silent);
}

#[test]
fn machines_are_pure() {
    let mut broken = Vec::new();
    let machines = LAYERS.iter().find(|(layer, _)| *layer == 1).unwrap().1;
    for source in sources() {
        let pure = machines.contains(&source.module().as_str());
        if !pure || source.is_test() {
            continue;
        }
        for (line, text) in source.code_lines() {
            for call in FORBIDDEN_IN_MACHINES {
                if text.contains(call) {
                    broken.push(format!("src/{}:{line} {call}", source.path.display()));
                }
            }
        }
    }
    report(
        "a pure machine takes time, chance and files as inputs",
        broken,
    );
}

/// Every file is reached by a `mod` of the file above it.
#[test]
fn no_file_is_dead() {
    let sources = sources();
    let mut declared: BTreeMap<PathBuf, BTreeSet<String>> = BTreeMap::new();
    for source in &sources {
        let stem = source
            .path
            .file_stem()
            .unwrap()
            .to_string_lossy()
            .into_owned();
        let dir = source.path.parent().unwrap();
        // Where its modules lie: beside `mod.rs`, `lib.rs` and `main.rs`, else in a folder of its name.
        let home = match stem.as_str() {
            "mod" | "lib" | "main" => dir.to_owned(),
            _ => dir.join(&stem),
        };
        let mut path_attribute = None;
        for line in source.text.lines().map(str::trim) {
            if let Some(rest) = line.strip_prefix("#[path = \"") {
                path_attribute = rest.strip_suffix("\"]").map(str::to_owned);
            } else if let Some(name) = module_name(line) {
                match path_attribute.take() {
                    Some(file) => {
                        let stem = file.trim_end_matches(".rs").to_owned();
                        declared.entry(dir.to_owned()).or_default().insert(stem);
                    }
                    None => {
                        declared.entry(home.clone()).or_default().insert(name);
                    }
                }
            }
        }
        if source.path == Path::new("api/mod.rs") {
            // The table declares its files.
            let rows = source.text.lines().filter_map(|line| {
                let (row, _) = line.trim().split_once(": ")?;
                row.contains("..=")
                    .then(|| row.rsplit(' ').next().unwrap().to_owned())
            });
            declared.entry(dir.to_owned()).or_default().extend(rows);
        }
    }
    let dead = sources
        .iter()
        .filter(|source| {
            let stem = source.path.file_stem().unwrap().to_string_lossy();
            let dir = source.path.parent().unwrap();
            let (home, name) = match &*stem {
                "lib" | "main" => return false,
                "mod" => (
                    dir.parent().unwrap().to_owned(),
                    dir.file_name().unwrap().to_string_lossy().into_owned(),
                ),
                _ => (dir.to_owned(), stem.into_owned()),
            };
            !declared
                .get(&home)
                .is_some_and(|names| names.contains(&name))
        })
        .map(|source| format!("src/{}", source.path.display()))
        .collect();
    report("a file that nothing declares is dead", dead);
}

fn module_name(line: &str) -> Option<String> {
    let line = line
        .strip_prefix("pub(crate) ")
        .or(line.strip_prefix("pub(super) "))
        .or(line.strip_prefix("pub "))
        .unwrap_or(line);
    let name = line.strip_prefix("mod ")?.strip_suffix(';')?;
    Some(name.trim_start_matches("r#").to_owned())
}

/// What the code outside the tables reads of a struct made of one.
fn is_read(sources: &[Source], field: &str) -> bool {
    let read = format!(".{field}");
    sources
        .iter()
        // The checks of what is set are no use of it, but where only they can be.
        .filter(|source| !source.path.starts_with("config") || source.path.ends_with("load.rs"))
        .filter(|source| !source.is_test())
        .flat_map(Source::code_lines)
        .any(|(_, line)| {
            line.match_indices(&read).any(|(at, found)| {
                let behind = line[at + found.len()..].chars().next();
                !behind.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '(')
            })
        })
}

#[test]
fn an_option_that_nothing_reads_says_so() {
    let sources = sources();
    let field = |name: &str| name.replace('.', "_");
    let topics: Vec<_> = TOPIC_OPTIONS
        .iter()
        .map(|spec| (spec, is_read(&sources, &field(spec.name))))
        .collect();
    // A broker option may do no more than give topics their default.
    let brokers = BROKER_OPTIONS.iter().map(|spec| {
        let gives = topics
            .iter()
            .any(|(topic, is_read)| *is_read && topic.synonyms.contains(&spec.name));
        (spec, gives || is_read(&sources, &field(spec.name)))
    });
    let broken = brokers
        .chain(topics.iter().copied())
        .filter(|(spec, is_read)| *is_read == spec.doc.to_lowercase().contains("without effect"))
        .map(|(spec, is_read)| format!("{}: read: {is_read}; {:?}", spec.name, spec.doc))
        .collect();
    report("an option without effect says so, and no other", broken);
}

#[test]
fn the_rules_see_what_they_look_for() {
    assert_eq!(imports("use crate::api::{self, Api};"), ["api"]);
    assert_eq!(
        imports("let x = crate::log::open(crate::types::Offset(1));"),
        ["log", "types"]
    );
    assert!(imports("use std::io;").is_empty());
    assert_eq!(layer_of("protocol"), Some(1));
    assert_eq!(module_name("pub(crate) mod http;").as_deref(), Some("http"));
    assert_eq!(module_name("mod tests {"), None);
}
