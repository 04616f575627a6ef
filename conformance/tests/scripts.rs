//! dohle answers the scripts as Apache Kafka 4.4.0 answered them, but where a script says why not.
//!
//! `DOHLE_SCRIPT=name` runs one. `DOHLE_BLESS=1` writes dohle's answers where a script says why they differ,
//! and takes away what no longer does.

#![expect(clippy::unwrap_used, reason = "a test says what is wrong by failing")]

use std::path::Path;
use std::sync::Mutex;

use conformance::broker::Dohle;
use conformance::script::{Script, difference, run};

fn differences(path: &Path) -> Result<Vec<String>, String> {
    let text = std::fs::read_to_string(path).unwrap();
    let mut script = Script::parse(&text).map_err(|error| error.to_string())?;
    if script.to_string() != text {
        return Err("it is not written as it would be recorded".to_owned());
    }
    let options = script
        .broker
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    let broker = Dohle::start(options)?;
    let ran = run(&script, broker.address().unwrap()).map_err(|error| error.to_string())?;
    if std::env::var_os("DOHLE_BLESS").is_some() {
        for (step, answers) in script.steps_mut().zip(&ran) {
            if step.answers == *answers {
                step.differs = None;
            } else if let Some((_, instead)) = &mut step.differs {
                instead.clone_from(answers);
            }
        }
        std::fs::write(path, script.to_string()).unwrap();
    }
    Ok(script
        .steps()
        .zip(&ran)
        .filter_map(|(step, answers)| difference(step, answers))
        .collect())
}

#[test]
fn scripts_are_answered_as_by_kafka() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
    let only = std::env::var("DOHLE_SCRIPT").ok();
    let mut paths: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.retain(|path| {
        only.as_ref()
            .is_none_or(|only| path.file_stem().unwrap() == only.as_str())
    });
    assert!(!paths.is_empty());
    let paths = Mutex::new(paths);
    let wrong = Mutex::new(Vec::new());
    // They wait more than they work.
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let Some(path) = paths.lock().unwrap().pop() else {
                        break;
                    };
                    let name = path.file_name().unwrap().to_string_lossy().into_owned();
                    let found = differences(&path).unwrap_or_else(|error| vec![error]);
                    wrong
                        .lock()
                        .unwrap()
                        .extend(found.iter().map(|found| format!("{name}: {found}")));
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(
        wrong.is_empty(),
        "{} differences:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
