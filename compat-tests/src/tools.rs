//! Kafka's command line tools: many runs in one JVM by their main methods, and real starts of their own.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use serde_json::json;

use crate::driver::LineProcess;
use crate::prepare;

/// The tools' version; they run against any broker.
const VERSION: &str = "4.3.1";

pub const TOPICS: &str = "org.apache.kafka.tools.TopicCommand";
pub const CONSOLE_PRODUCER: &str = "org.apache.kafka.tools.ConsoleProducer";
pub const CONSOLE_CONSUMER: &str = "org.apache.kafka.tools.consumer.ConsoleConsumer";
pub const CONSUMER_GROUPS: &str = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
pub const CONFIGS: &str = "kafka.admin.ConfigCommand";
pub const GET_OFFSETS: &str = "org.apache.kafka.tools.GetOffsetShell";
pub const LOG_DIRS: &str = "org.apache.kafka.tools.LogDirsCommand";
pub const DELETE_RECORDS: &str = "org.apache.kafka.tools.DeleteRecordsCommand";
pub const API_VERSIONS: &str = "org.apache.kafka.tools.BrokerApiVersionsCommand";
pub const PRODUCER_PERF: &str = "org.apache.kafka.tools.ProducerPerformance";
pub const CONSUMER_PERF: &str = "org.apache.kafka.tools.ConsumerPerformance";
pub const FEATURES: &str = "org.apache.kafka.tools.FeatureCommand";
pub const METADATA_QUORUM: &str = "org.apache.kafka.tools.MetadataQuorumCommand";
pub const DUMP_LOG: &str = "org.apache.kafka.tools.DumpLogSegments";

/// How a tool ended and what it printed.
#[derive(Debug, Deserialize)]
pub struct Output {
    pub exit: i32,
    pub stdout: String,
    pub stderr: String,
}

static RUNNER: Mutex<Option<LineProcess>> = Mutex::new(None);

fn prepared() -> Result<PathBuf> {
    prepare::java("kafka-tools", "kafka-tools", VERSION)
}

/// Runs a tool's main method in the JVM that all of them share.
pub fn run(tool: &str, args: &[&str], stdin: &str) -> Result<Output> {
    let mut slot = RUNNER.lock().unwrap_or_else(PoisonError::into_inner);
    if slot.as_ref().is_none_or(LineProcess::is_broken) {
        let mut command = prepare::jvm(&prepared()?, "192m");
        command.arg("dohle.compat.ToolRunner");
        *slot = Some(LineProcess::start("kafka-tools", command)?);
    }
    let runner = slot.as_mut().context("no runner")?;
    let answer = runner.ask(&json!({"tool": tool, "args": args, "stdin": stdin}))?;
    serde_json::from_str(&answer).context(answer)
}

/// What a tool prints that must succeed.
pub fn ok(tool: &str, args: &[&str], stdin: &str) -> Result<String> {
    let Output {
        exit,
        stdout,
        stderr,
    } = run(tool, args, stdin)?;
    ensure!(
        exit == 0,
        "{tool} {args:?}: exit {exit}\n{stdout}\n{stderr}"
    );
    Ok(stdout)
}

/// The command that starts a tool in a JVM of its own.
pub fn command(tool: &str, args: &[&str], heap: &str) -> Result<Command> {
    let mut command = prepare::jvm(&prepared()?, heap);
    command.arg(tool).args(args);
    Ok(command)
}

/// Runs a tool in a JVM of its own.
pub fn start(tool: &str, args: &[&str], stdin: impl Into<Stdio>) -> Result<String> {
    let output = command(tool, args, "256m")?.stdin(stdin).output()?;
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    ensure!(
        output.status.success(),
        "{tool} {args:?}: {}\n{out}\n{err}",
        output.status
    );
    Ok(out.into_owned())
}

/// Ends the shared JVM.
pub fn close() {
    *RUNNER.lock().unwrap_or_else(PoisonError::into_inner) = None;
}
