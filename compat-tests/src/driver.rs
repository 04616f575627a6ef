//! One driver process: asked one operation a line, answering one line each.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::paths;

/// The longest that one operation may take.
const LONGEST: Duration = Duration::from_secs(120);

/// A line-by-line process: requests in, answers out, everything it says besides into a log file.
pub struct LineProcess {
    child: Child,
    stdin: Option<ChildStdin>,
    answers: Receiver<String>,
    log: PathBuf,
    broken: bool,
}

impl LineProcess {
    pub fn start(name: &str, mut command: Command) -> Result<Self> {
        let log = paths::work_dir().join("log").join(format!("{name}.log"));
        fs::create_dir_all(log.parent().context("no directory for logs")?)?;
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&log)?)
            .spawn()
            .with_context(|| format!("{command:?}"))?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().context("no standard output")?;
        let (sender, answers) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self {
            child,
            stdin,
            answers,
            log,
            broken: false,
        })
    }

    /// Sends one request and waits for its answer. After an error the process must be started anew.
    pub fn ask(&mut self, request: &Value) -> Result<String> {
        self.exchange(request).map_err(|error| {
            self.broken = true;
            error.context(format!("the driver broke; its log: {}", self.log.display()))
        })
    }

    fn exchange(&mut self, request: &Value) -> Result<String> {
        let stdin = self.stdin.as_mut().context("the driver is closed")?;
        stdin.write_all(format!("{request}\n").as_bytes())?;
        stdin.flush()?;
        match self.answers.recv_timeout(LONGEST) {
            Ok(answer) => Ok(answer),
            Err(RecvTimeoutError::Timeout) => bail!("no answer within {LONGEST:?}"),
            Err(RecvTimeoutError::Disconnected) => bail!("it ended: {:?}", self.child.try_wait()?),
        }
    }

    pub fn is_broken(&self) -> bool {
        self.broken
    }

    pub fn log(&self) -> &PathBuf {
        &self.log
    }
}

impl Drop for LineProcess {
    fn drop(&mut self) {
        // The end of its input asks it to stop; a driver that does not is ended.
        self.stdin = None;
        for _ in 0..100 {
            if self.broken || !matches!(self.child.try_wait(), Ok(None)) {
                break;
            }
            thread::sleep(Duration::from_millis(100));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client's driver.
pub struct Driver {
    process: LineProcess,
}

#[derive(Deserialize)]
struct Answer {
    ok: bool,
    #[serde(default)]
    result: Value,
    #[serde(default)]
    error: String,
}

impl Driver {
    pub fn start(name: &str, command: Command) -> Result<Self> {
        let mut driver = Self {
            process: LineProcess::start(name, command)?,
        };
        driver.call("info", json!({}))?;
        Ok(driver)
    }

    pub fn is_broken(&self) -> bool {
        self.process.is_broken()
    }

    /// Performs `op`; what the client reported as an error is an error here.
    pub fn call(&mut self, op: &str, mut arguments: Value) -> Result<Value> {
        let fields = arguments
            .as_object_mut()
            .context("arguments must be an object")?;
        fields.insert("op".to_owned(), json!(op));
        let answer = self.process.ask(&arguments)?;
        let answer: Answer =
            serde_json::from_str(&answer).with_context(|| format!("{op}: {answer}"))?;
        if answer.ok {
            Ok(answer.result)
        } else {
            Err(anyhow!(
                "{op}: {} (log: {})",
                answer.error,
                self.process.log().display()
            ))
        }
    }

    /// One field of what `op` answers.
    pub fn get<T: DeserializeOwned>(
        &mut self,
        op: &str,
        arguments: Value,
        field: &str,
    ) -> Result<T> {
        let mut answer = self.call(op, arguments)?;
        let value = answer
            .get_mut(field)
            .with_context(|| format!("{op} answered no {field}"))?
            .take();
        serde_json::from_value(value).with_context(|| format!("{op}: {field}"))
    }
}
