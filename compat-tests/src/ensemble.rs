//! Clusters of real processes: what tests do with the nodes of one, wherever they run (`Nodes`), and one on loopback,
//! started and disturbed by `dohle cluster` itself. One with a network that can fail is in `netns`.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::broker::{FAILED, run_dohle};
use crate::requests::connect;
use crate::switch::Switch;
use crate::{binary, paths, wait};

/// From a node's Kafka port on, as `dohle cluster --help` says.
const OFFSETS: [u16; 3] = [0, 100, 200];
const HTTP: u16 = 200;

/// The nodes of a cluster, numbered from 1.
pub trait Nodes: Sync {
    fn nodes(&self) -> u16;
    fn address(&self, node: u16) -> String;
    fn http(&self, node: u16) -> String;
    fn kill(&self, node: u16) -> Result<()>;
    /// It may not be ready yet.
    fn restart(&self, node: u16) -> Result<()>;
    fn signal(&self, node: u16, signal: Signal) -> Result<()>;
    fn log_tail(&self, node: u16) -> String;
    /// Fails if something that ought to run does not.
    fn check(&self) -> Result<()>;

    /// What is between them, if it can fail.
    fn switch(&self) -> Option<&Switch> {
        None
    }

    /// What a node says of the ensemble.
    fn ensemble(&self, node: u16) -> Result<Value> {
        let address = self.http(node);
        let mut stream = connect(&address, Duration::from_secs(2))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        write!(
            stream,
            "GET /ensemble HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\n\r\n"
        )?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply)?;
        let (head, body) = reply.split_once("\r\n\r\n").context("no HTTP reply")?;
        ensure!(head.contains(" 200 "), "{head}");
        Ok(serde_json::from_str(body)?)
    }

    /// The node that leads, by its own word.
    fn leader(&self) -> Result<u16> {
        wait::until("a node leads", wait::SOON, || {
            Ok((1..=self.nodes()).find(|node| {
                self.ensemble(*node)
                    .is_ok_and(|shown| shown["role"] == "leader" && shown["quorum"].is_object())
            }))
        })
    }

    /// Every node is up to date, and every broker is there.
    fn wait_until_whole(&self) -> Result<()> {
        let whole = wait::until("all nodes are up to date", wait::SOON, || {
            self.check()?;
            let Ok(shown) = self.ensemble(self.leader()?) else {
                return Ok(None);
            };
            let all = |list: &Value, right: fn(&Value) -> bool| {
                let list = list.as_array();
                list.is_some_and(|l| l.len() == usize::from(self.nodes()) && l.iter().all(right))
            };
            let members = all(&shown["quorum"]["members"], |m| m["up_to_date"] == true);
            let brokers = all(&shown["brokers"], |b| b["fenced"] == false);
            Ok((members && brokers).then_some(()))
        });
        whole.with_context(|| self.state())
    }

    /// For whoever looks into why something did not come about.
    fn state(&self) -> String {
        let nodes = (1..=self.nodes()).map(|node| {
            let shown = match self.ensemble(node) {
                Ok(shown) => shown.to_string(),
                Err(error) => format!("{error:#}"),
            };
            format!("node {node}: {shown}\n{}\n", self.log_tail(node))
        });
        nodes.collect()
    }
}

/// One on loopback.
pub struct Cluster {
    pub nodes: u16,
    dir: PathBuf,
    port: u16,
    command: Child,
}

impl Cluster {
    /// Comes back when all nodes are ready.
    pub fn start(nodes: u16, set: &[&str]) -> Result<Self> {
        let dir = paths::work_dir().join("run").join(paths::unique("cluster"));
        fs::create_dir_all(&dir)?;
        let port = free_ports(nodes)?;
        let log = File::create(dir.join("cluster.log"))?;
        let mut command = Command::new(binary::dohle()?);
        for option in set {
            command.args(["--set", option]);
        }
        command
            .args(["cluster", "--nodes", &nodes.to_string()])
            .args(["--port", &port.to_string(), "--dir"])
            .arg(&dir)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let mut cluster = Self {
            nodes,
            dir,
            port,
            command: command.spawn().context("dohle cluster")?,
        };
        wait::until("the cluster is ready", wait::SOON, || {
            let said = fs::read_to_string(cluster.dir.join("cluster.log"))?;
            if let Some(status) = cluster.command.try_wait()? {
                bail!("dohle cluster ended ({status}):\n{said}");
            }
            Ok(said.contains("bootstrap.servers=").then_some(()))
        })?;
        Ok(cluster)
    }

    pub fn bootstrap(&self) -> String {
        let all: Vec<_> = (1..=self.nodes).map(|node| self.address(node)).collect();
        all.join(",")
    }

    pub fn node_dir(&self, node: u16) -> PathBuf {
        self.dir.join(format!("node-{node}"))
    }

    /// One of the commands that go with the directory.
    pub fn tell(&self, words: &[&str]) -> Result<String> {
        let mut args: Vec<String> = vec!["cluster".into()];
        args.extend(words.iter().map(|&word| word.to_owned()));
        args.extend(["--dir".to_owned(), self.dir.display().to_string()]);
        let output = run_dohle(&self.dir, &args)?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(
            output.status.success(),
            "dohle {}: {said}{}",
            args.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(said)
    }

    pub fn pid(&self, node: u16) -> Result<Pid> {
        let text = fs::read_to_string(self.node_dir(node).join("pid"))?;
        Pid::from_raw(text.trim().parse()?).context("no such process")
    }
}

impl Nodes for Cluster {
    fn nodes(&self) -> u16 {
        self.nodes
    }

    fn address(&self, node: u16) -> String {
        format!("localhost:{}", self.port + node - 1)
    }

    fn http(&self, node: u16) -> String {
        format!("localhost:{}", self.port + node - 1 + HTTP)
    }

    fn kill(&self, node: u16) -> Result<()> {
        self.tell(&["kill", &node.to_string()]).map(drop)
    }

    fn restart(&self, node: u16) -> Result<()> {
        self.tell(&["restart", &node.to_string()]).map(drop)
    }

    fn signal(&self, node: u16, signal: Signal) -> Result<()> {
        Ok(kill_process(self.pid(node)?, signal)?)
    }

    fn log_tail(&self, node: u16) -> String {
        log_tail(&self.node_dir(node).join("log"))
    }

    /// `dohle cluster` looks after them itself.
    fn check(&self) -> Result<()> {
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Nodes that somebody stopped in their tracks would not hear of the end.
        for node in 1..=self.nodes {
            let _ = self.signal(node, Signal::CONT);
        }
        if let Some(pid) = i32::try_from(self.command.id())
            .ok()
            .and_then(Pid::from_raw)
        {
            let _ = kill_process(pid, Signal::TERM);
        }
        let _ = self.command.wait();
        if !FAILED.load(Ordering::Relaxed) {
            let _ = fs::remove_dir_all(&self.dir);
        } else {
            eprintln!("kept: {}", self.dir.display());
        }
    }
}

/// The first of as many free ports as a cluster takes. Below those that the system gives to connections: one of these would
/// have the port of a node that is down for a moment.
fn free_ports(nodes: u16) -> Result<u16> {
    for _ in 0..200 {
        let first = rand::random_range(10_000..30_000);
        let mut all = OFFSETS
            .iter()
            .flat_map(|offset| (0..nodes).map(move |node| first + offset + node));
        if all.all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return Ok(first);
        }
    }
    bail!("no ports are free")
}

/// The last lines of a file.
pub fn log_tail(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
