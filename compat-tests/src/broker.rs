//! A broker under test: a `dohle` process of our own, or one that already runs (`DOHLE_COMPAT_TARGET=host:port`).

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::{binary, paths, seen, wait};

/// Set by the first failed test: then the directories of the brokers stay.
pub static FAILED: AtomicBool = AtomicBool::new(false);

/// An already running broker that the scenarios are shown to hold against, for instance Apache Kafka's.
pub fn external() -> Option<String> {
    std::env::var("DOHLE_COMPAT_TARGET")
        .ok()
        .filter(|target| !target.is_empty())
}

pub struct Broker {
    /// `host:port` for clients.
    pub address: String,
    http: Option<String>,
    dir: PathBuf,
    options: Vec<String>,
    child: Option<Child>,
}

impl Broker {
    /// The broker that already runs, or one of our own with default options.
    pub fn shared() -> Result<Self> {
        match external() {
            Some(address) => Ok(Self {
                address,
                http: None,
                dir: PathBuf::new(),
                options: Vec::new(),
                child: None,
            }),
            None => Self::start(&[]),
        }
    }

    /// Starts `dohle` on free ports in a new directory, with further `key=value` options.
    pub fn start(options: &[&str]) -> Result<Self> {
        let dir = paths::work_dir().join("run").join(paths::unique("broker"));
        fs::create_dir_all(&dir)?;
        let mut broker = Self {
            address: format!("127.0.0.1:{}", free_port()?),
            http: Some(format!("127.0.0.1:{}", free_port()?)),
            dir,
            options: options.iter().map(|&option| option.to_owned()).collect(),
            child: None,
        };
        broker.launch()?;
        Ok(broker)
    }

    /// Starts the stopped broker again: the same ports, the same data.
    pub fn launch(&mut self) -> Result<()> {
        self.spawn()?;
        wait::until("the broker answers", wait::SOON, || {
            if let Some(status) = self.exited()? {
                bail!("the broker ended at once ({status}):\n{}", self.log_tail());
            }
            Ok(answers(&self.address).then_some(()))
        })
        .with_context(|| format!("log: {}", self.log().display()))
    }

    /// The same without waiting until it answers.
    pub fn spawn(&mut self) -> Result<()> {
        ensure!(self.child.is_none(), "the broker runs already");
        let log = File::options().create(true).append(true).open(self.log())?;
        let mut command = Command::new(binary::dohle()?);
        command
            .current_dir(&self.dir)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        command.env("RUST_BACKTRACE", "1");
        for option in self.base_options().iter().chain(&self.options) {
            command.arg("--set").arg(option);
        }
        self.child = Some(command.spawn().context("dohle does not start")?);
        Ok(())
    }

    fn base_options(&self) -> Vec<String> {
        let mut options = vec![
            format!("listeners=PLAINTEXT://{}", self.address),
            format!("log.dirs={}", self.data_dir().display()),
            // Waiting for more members costs every group scenario seconds and shows nothing.
            "group.initial.rebalance.delay.ms=200".to_owned(),
        ];
        options.extend(seen::options());
        options.extend(self.http.as_ref().map(|http| format!("http.listen={http}")));
        options
    }

    pub fn data_dir(&self) -> PathBuf {
        self.dir.join("data")
    }

    pub fn log(&self) -> PathBuf {
        self.dir.join("broker.log")
    }

    fn log_tail(&self) -> String {
        let text = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines
            .iter()
            .skip(lines.len().saturating_sub(20))
            .copied()
            .collect::<Vec<_>>()
            .join("\n")
    }

    /// How it ended, if it has.
    pub fn exited(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self
            .child
            .as_mut()
            .context("the broker is not ours")?
            .try_wait()?)
    }

    pub fn is_up(&mut self) -> Result<bool> {
        Ok(self.exited()?.is_none() && answers(&self.address))
    }

    pub fn pid(&self) -> Result<Pid> {
        let id = self.child.as_ref().context("the broker is not ours")?.id();
        Pid::from_raw(i32::try_from(id)?).context("no such process")
    }

    pub fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill_process(self.pid()?, signal)?)
    }

    pub fn has_ended(&mut self) -> Result<bool> {
        Ok(self.exited()?.is_some())
    }

    /// The same where it may have ended by itself.
    pub fn end_anyhow(&mut self, signal: Signal) -> Result<()> {
        if !self.has_ended()? {
            self.signal(signal)?;
        }
        wait::until("the broker ends", wait::SOON, || self.exited())?;
        self.child = None;
        Ok(())
    }

    /// Ends the broker with `signal` and waits for it.
    pub fn end(&mut self, signal: Signal) -> Result<ExitStatus> {
        self.signal(signal)?;
        let status = wait::until("the broker ends", wait::SOON, || self.exited())?;
        self.child = None;
        Ok(status)
    }

    /// Writes beside the log what the broker says of itself, and what its threads wait for in the kernel: for whoever
    /// looks into why it does not answer.
    pub fn keep_state(&self) {
        let mut text = self.http_get("/metrics").unwrap_or_default();
        if let Ok(pid) = self.pid()
            && let Ok(tasks) = fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero()))
        {
            for task in tasks.flatten() {
                for what in ["comm", "wchan", "stack"] {
                    let said = fs::read_to_string(task.path().join(what)).unwrap_or_default();
                    text += &format!("{} {what}: {said}\n", task.path().display());
                }
            }
        }
        let _ = fs::write(self.dir.join("state.txt"), text);
    }

    /// The resident memory, in bytes.
    pub fn resident_bytes(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()?.as_raw_nonzero()))?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .context("no VmRSS")?;
        let kib: u64 = line.trim().trim_end_matches(" kB").trim().parse()?;
        Ok(kib * 1024)
    }

    /// The body of a GET from the HTTP port.
    pub fn http_get(&self, path: &str) -> Result<String> {
        let address = self.http.as_ref().context("the broker is not ours")?;
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        write!(
            stream,
            "GET {path} HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\n\r\n"
        )?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply)?;
        let (head, body) = reply.split_once("\r\n\r\n").context("no HTTP reply")?;
        ensure!(
            head.lines()
                .next()
                .is_some_and(|line| line.contains(" 200 ")),
            "GET {path}: {head}"
        );
        Ok(body.to_owned())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        // A test has failed already where its broker has no log.
        let _ = seen::add(&self.log());
        if !FAILED.load(Ordering::Relaxed) && self.dir.starts_with(paths::work_dir()) {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

/// A port that nothing listens on now.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Whether an ApiVersions request (version 0, correlation 7) gets an answer.
pub fn answers(address: &str) -> bool {
    let ask = || -> Result<()> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(&[0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 7, 0xff, 0xff])?;
        let mut head = [0; 10];
        stream.read_exact(&mut head)?;
        ensure!(
            head.get(4..8) == Some(&[0, 0, 0, 7]) && head.get(8..10) == Some(&[0, 0]),
            "not our answer: {head:?}"
        );
        Ok(())
    };
    ask().is_ok()
}

/// Runs `dohle` with arguments to its end.
pub fn run_dohle(dir: &Path, args: &[String]) -> Result<std::process::Output> {
    Command::new(binary::dohle()?)
        .current_dir(dir)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .context("dohle")
}
