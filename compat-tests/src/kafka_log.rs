//! Apache Kafka's own log code on partition directories: `clients/kafka-log`, asked over its standard input.

use std::path::Path;

use anyhow::{Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::driver::LineProcess;
use crate::prepare;

/// The broker whose log code it is.
const VERSION: &str = "4.4.0";

/// How a log is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opening {
    pub clean: bool,
    pub recovery_point: i64,
    pub log_start: i64,
}

#[derive(Deserialize)]
struct Answer {
    ok: bool,
    #[serde(default)]
    lines: Vec<String>,
    #[serde(default)]
    error: String,
}

pub struct KafkaLog {
    process: LineProcess,
    configs: Value,
}

impl KafkaLog {
    /// Every log has these topic options.
    pub fn start(configs: Value) -> Result<Self> {
        let prepared = prepare::java("kafka-log", "kafka-log", VERSION)?;
        let mut command = prepare::jvm(&prepared, "192m");
        command.arg("dohle.compat.KafkaLog");
        Ok(Self {
            process: LineProcess::start("kafka-log", command)?,
            configs,
        })
    }

    /// Makes a log. Not closed it is left as a broker that was killed leaves it.
    pub fn write(
        &mut self,
        dir: &Path,
        seed: u64,
        steps: usize,
        close: bool,
    ) -> Result<Vec<String>> {
        self.ask(json!({"op": "write", "dir": dir, "seed": seed, "steps": steps, "close": close}))
    }

    /// Opens a log, closes it clean, and says what was in it.
    pub fn open(&mut self, dir: &Path, opening: Opening) -> Result<Vec<String>> {
        let Opening {
            clean,
            recovery_point,
            log_start,
        } = opening;
        self.ask(json!({
            "op": "open", "dir": dir, "clean": clean, "recovery_point": recovery_point, "log_start": log_start
        }))
    }

    fn ask(&mut self, mut request: Value) -> Result<Vec<String>> {
        request["configs"] = self.configs.clone();
        let answer = self.process.ask(&request)?;
        let answer: Answer = serde_json::from_str(&answer)?;
        if !answer.ok {
            bail!("Kafka's log code: {}", answer.error);
        }
        Ok(answer.lines)
    }
}
