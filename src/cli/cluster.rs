//! `dohle cluster`: several nodes on this machine, each a process of its own, to try a cluster and to see it fail.
//!
//! Everything there is to know is in the directory: `cluster.toml` says how many nodes on which ports, `node-N` holds
//! node N's options, data, log and process id. So other commands with the same directory find the nodes, whoever
//! started them. Only a process that runs with a node's own options file is ever ended.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

use super::{ask, print_text, println_line, status};

const NODES: u16 = 3;
const PORT: u16 = 9092;
/// From a node's Kafka port to the one for the other nodes, and to the one for HTTP.
const ENSEMBLE_OFFSET: u16 = 100;
const HTTP_OFFSET: u16 = 200;
const MOST_NODES: u16 = 64;
const READY_WITHIN: Duration = Duration::from_secs(60);
const STOP_WITHIN: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(20);

#[derive(Debug, Args)]
pub(super) struct ClusterArgs {
    /// Where the cluster is kept; it goes on where it was
    #[arg(
        long,
        global = true,
        default_value = "dohle-cluster",
        value_name = "DIR"
    )]
    dir: PathBuf,
    /// How many nodes; 3 for a new cluster
    #[arg(long)]
    nodes: Option<u16>,
    /// Of the first node; the others have those that follow. 100 above it is the ensemble's port, 200 above HTTP's
    #[arg(long)]
    port: Option<u16>,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// End a node as a crash would (kill -9)
    Kill { node: u16 },
    /// Start a node again; one that runs is stopped before
    Restart { node: u16 },
    /// Show every node and what it takes itself for
    Status,
}

/// `cluster.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Layout {
    nodes: u16,
    port: u16,
    /// Options of all nodes, as KEY=VALUE.
    set: Vec<String>,
}

pub(super) fn run(args: ClusterArgs, set: &[String]) -> Result<(), String> {
    let dir = std::path::absolute(&args.dir).map_err(|error| at(&args.dir, &error))?;
    match args.action {
        None => start(&dir, &args, set),
        Some(Action::Kill { node }) => find(&dir, node)?.kill(),
        Some(Action::Restart { node }) => {
            let node = find(&dir, node)?;
            node.stop()?;
            let mut child = node.start()?;
            node.wait_until_ready(&mut child)?;
            println_line(&format!("node {} is ready", node.id));
            Ok(())
        }
        Some(Action::Status) => show(&dir),
    }
}

fn at(path: &Path, error: &dyn std::fmt::Display) -> String {
    format!("{}: {error}", path.display())
}

fn layout_file(dir: &Path) -> PathBuf {
    dir.join("cluster.toml")
}

fn read_layout(dir: &Path) -> Result<Option<Layout>, String> {
    let path = layout_file(dir);
    match fs::read_to_string(&path) {
        Ok(text) => toml::from_str(&text)
            .map(Some)
            .map_err(|error| at(&path, &error)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(at(&path, &error)),
    }
}

/// What is there counts; options that say otherwise are refused rather than passed over.
fn settle_layout(dir: &Path, args: &ClusterArgs, set: &[String]) -> Result<Layout, String> {
    let existing = read_layout(dir)?;
    let layout = match &existing {
        Some(existing) => {
            let differs = args.nodes.is_some_and(|nodes| nodes != existing.nodes)
                || args.port.is_some_and(|port| port != existing.port);
            if differs {
                return Err(format!(
                    "{} holds a cluster of {} nodes on the ports from {} on: leave out --nodes and --port, or take another --dir",
                    dir.display(),
                    existing.nodes,
                    existing.port
                ));
            }
            Layout {
                set: if set.is_empty() {
                    existing.set.clone()
                } else {
                    set.to_vec()
                },
                ..existing.clone()
            }
        }
        None => Layout {
            nodes: args.nodes.unwrap_or(NODES),
            port: args.port.unwrap_or(PORT),
            set: set.to_vec(),
        },
    };
    if !(1..=MOST_NODES).contains(&layout.nodes) {
        return Err(format!("--nodes: 1 to {MOST_NODES}"));
    }
    if layout.port == 0
        || layout
            .port
            .checked_add(HTTP_OFFSET + layout.nodes)
            .is_none()
    {
        return Err(format!(
            "--port: {} leaves no room for the ports of all nodes",
            layout.port
        ));
    }
    Ok(layout)
}

/// One node of the directory.
#[derive(Debug)]
struct Node {
    id: u16,
    dir: PathBuf,
    kafka: u16,
    http: String,
}

fn nodes(dir: &Path, layout: &Layout) -> Vec<Node> {
    (1..=layout.nodes)
        .map(|id| {
            let kafka = layout.port + id - 1;
            Node {
                id,
                dir: dir.join(format!("node-{id}")),
                kafka,
                http: format!("localhost:{}", kafka + HTTP_OFFSET),
            }
        })
        .collect()
}

fn all(dir: &Path) -> Result<Vec<Node>, String> {
    let layout = read_layout(dir)?;
    let layout = layout.ok_or_else(|| format!("{}: there is no cluster here", dir.display()))?;
    Ok(nodes(dir, &layout))
}

fn find(dir: &Path, id: u16) -> Result<Node, String> {
    let mut nodes = all(dir)?;
    let count = nodes.len();
    match nodes.iter().position(|node| node.id == id) {
        Some(position) => Ok(nodes.swap_remove(position)),
        None => Err(format!(
            "there is no node {id}: the cluster has the nodes 1 to {count}"
        )),
    }
}

/// The options of a node, as its file has them.
fn options(node: &Node, layout: &Layout) -> Result<String, String> {
    let voters: Vec<String> = (1..=layout.nodes)
        .map(|id| format!("{id}@localhost:{}", layout.port + id - 1 + ENSEMBLE_OFFSET))
        .collect();
    let mut options = toml::Table::new();
    for (key, value) in [
        ("listeners", format!("PLAINTEXT://localhost:{}", node.kafka)),
        ("http.listen", node.http.clone()),
        ("log.dirs", node.dir.join("data").display().to_string()),
        ("ensemble.voters", voters.join(",")),
    ] {
        options.insert(key.to_owned(), value.into());
    }
    options.insert("node.id".to_owned(), i64::from(node.id).into());
    for option in &layout.set {
        let (key, value) = option
            .split_once('=')
            .ok_or_else(|| format!("--set {option}: it is not of the form KEY=VALUE"))?;
        options.insert(key.trim().to_owned(), value.trim().into());
    }
    Ok(options.to_string())
}

/// A process of a node: this one is meant, even where its number has become another's.
#[derive(Debug)]
struct Process {
    pid: Pid,
    handle: OwnedFd,
}

impl Process {
    fn of(child: &Child) -> Option<Self> {
        let pid = Pid::from_child(child);
        let handle = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        Some(Self { pid, handle })
    }
}

impl Node {
    fn config(&self) -> PathBuf {
        self.dir.join("dohle.toml")
    }

    fn pid_file(&self) -> PathBuf {
        self.dir.join("pid")
    }

    fn log(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// The process, if it runs and is this node's. One that was started a moment ago may not be seen yet.
    fn process(&self) -> Option<Process> {
        let text = fs::read_to_string(self.pid_file()).ok()?;
        let pid = Pid::from_raw(text.trim().parse().ok()?)?;
        // Before its command line is read: from here on the number is nobody else's.
        let handle = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        let running = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let config = self.config();
        let mut words = running.split(|byte| *byte == 0);
        let ours = words.any(|word| word == config.as_os_str().as_encoded_bytes());
        // A zombie has no command line.
        ours.then_some(Process { pid, handle })
    }

    fn start(&self) -> Result<Child, String> {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.log())
            .map_err(|error| at(&self.log(), &error))?;
        let both = log.try_clone().map_err(|error| at(&self.log(), &error))?;
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let child = Command::new(&program)
            .arg("--config")
            .arg(self.config())
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(both)
            // Ctrl-C is for the cluster's command, which stops the nodes in good order.
            .process_group(0)
            .spawn()
            .map_err(|error| at(&program, &error))?;
        fs::write(self.pid_file(), format!("{}\n", child.id()))
            .map_err(|error| at(&self.pid_file(), &error))?;
        Ok(child)
    }

    fn kill(&self) -> Result<(), String> {
        let process = self
            .process()
            .ok_or_else(|| format!("node {} does not run", self.id))?;
        self.signal(&process, Signal::KILL)?;
        self.wait_until_gone(&process)?;
        println_line(&format!("node {} is killed", self.id));
        Ok(())
    }

    /// In good order; one that does not run is stopped already.
    fn stop(&self) -> Result<(), String> {
        let Some(process) = self.process() else {
            return Ok(());
        };
        self.signal(&process, Signal::TERM)?;
        self.wait_until_gone(&process)
    }

    fn signal(&self, process: &Process, signal: Signal) -> Result<(), String> {
        match pidfd_send_signal(&process.handle, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(format!("node {}: {error}", self.id)),
        }
    }

    /// Until its ports and its lock of the data are free, which is after its memory is gone.
    fn wait_until_gone(&self, process: &Process) -> Result<(), String> {
        let until = Instant::now() + STOP_WITHIN;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let left = Timespec::try_from(left).map_err(|error| error.to_string())?;
            let mut ended = [PollFd::new(&process.handle, PollFlags::IN)];
            match poll(&mut ended, Some(&left)) {
                Ok(1..) => return Ok(()),
                Ok(0) => {
                    let log = self.log();
                    return Err(format!(
                        "node {} does not stop: see {}",
                        self.id,
                        log.display()
                    ));
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(format!("node {}: {error}", self.id)),
            }
        }
    }

    fn wait_until_ready(&self, child: &mut Child) -> Result<(), String> {
        let until = Instant::now() + READY_WITHIN;
        loop {
            if ask::get(&self.http, "/health/ready").is_ok_and(|answer| answer.status == 200) {
                return Ok(());
            }
            let ended = child.try_wait().ok().flatten().is_some();
            let why = match ended {
                true => "has ended",
                false if Instant::now() > until => "is not ready",
                false => {
                    std::thread::sleep(LOOK_EVERY);
                    continue;
                }
            };
            return Err(format!("node {} {why}:\n{}", self.id, self.last_words()));
        }
    }

    fn last_words(&self) -> String {
        const LINES: usize = 8;
        let log = fs::read(self.log()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        let last = lines.iter().skip(lines.len().saturating_sub(LINES));
        last.map(|line| format!("  {line}\n")).collect()
    }
}

fn start(dir: &Path, args: &ClusterArgs, set: &[String]) -> Result<(), String> {
    let layout = settle_layout(dir, args, set)?;
    let nodes = nodes(dir, &layout);
    if let Some(running) = nodes.iter().find(|node| node.process().is_some()) {
        return Err(format!(
            "node {} runs already: this cluster was started elsewhere",
            running.id
        ));
    }
    for node in &nodes {
        fs::create_dir_all(&node.dir).map_err(|error| at(&node.dir, &error))?;
        fs::write(node.config(), options(node, &layout)?)
            .map_err(|error| at(&node.config(), &error))?;
    }
    let text = toml::to_string(&layout).map_err(|error| error.to_string())?;
    fs::write(layout_file(dir), text).map_err(|error| at(&layout_file(dir), &error))?;
    let mut children = Vec::new();
    let served = serve(dir, &nodes, &mut children);
    println_line("stopping");
    let mut running = Vec::new();
    for (node, child) in nodes.iter().zip(&mut children) {
        // What nobody has waited for keeps its number.
        if child.try_wait().is_ok_and(|status| status.is_none()) {
            running.extend(Process::of(child).map(|process| (node, process)));
        }
    }
    for node in &nodes {
        // Started again from elsewhere.
        let other = node.process().filter(|other| {
            let mut known = running.iter();
            known.all(|(_, known)| known.pid != other.pid)
        });
        running.extend(other.map(|process| (node, process)));
    }
    // All of them first: they stop side by side.
    for (node, process) in &running {
        if let Err(error) = node.signal(process, Signal::TERM) {
            super::complain(&error);
        }
    }
    for (node, process) in &running {
        node.wait_until_gone(process)?;
    }
    for child in &mut children {
        let _ = child.wait();
    }
    served
}

fn serve(dir: &Path, nodes: &[Node], children: &mut Vec<Child>) -> Result<(), String> {
    let started = Instant::now();
    for node in nodes {
        children.push(node.start()?);
    }
    for (node, child) in nodes.iter().zip(children.iter_mut()) {
        node.wait_until_ready(child)?;
    }
    print_text(&banner(dir, nodes, started.elapsed()));
    wait_for_the_end(nodes, children)
}

fn banner(dir: &Path, nodes: &[Node], took: Duration) -> String {
    let servers: Vec<String> = nodes
        .iter()
        .map(|node| format!("localhost:{}", node.kafka))
        .collect();
    let mut rows = vec![["node", "kafka", "http", "log"].map(str::to_owned)];
    rows.extend(nodes.iter().map(|node| {
        [
            node.id.to_string(),
            format!("localhost:{}", node.kafka),
            node.http.clone(),
            node.log().display().to_string(),
        ]
    }));
    format!(
        "{} nodes are ready after {:.2} s\n{}bootstrap.servers={}\nCtrl-C stops them. Elsewhere, with --dir {}: dohle cluster kill 1, restart 1, status\n",
        nodes.len(),
        took.as_secs_f64(),
        status::table(&rows),
        servers.join(","),
        dir.display(),
    )
}

/// Says when a node ends meanwhile.
fn wait_for_the_end(nodes: &[Node], children: &mut [Child]) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    runtime.block_on(async {
        use tokio::signal::unix::{SignalKind, signal};
        let failed = |error: std::io::Error| error.to_string();
        let mut term = signal(SignalKind::terminate()).map_err(failed)?;
        let mut int = signal(SignalKind::interrupt()).map_err(failed)?;
        let mut ended = signal(SignalKind::child()).map_err(failed)?;
        loop {
            tokio::select! {
                _ = term.recv() => return Ok(()),
                _ = int.recv() => return Ok(()),
                _ = ended.recv() => {
                    for (node, child) in nodes.iter().zip(children.iter_mut()) {
                        if let Ok(Some(status)) = child.try_wait()
                            && fs::read_to_string(node.pid_file()).is_ok_and(|pid| pid.trim() == child.id().to_string())
                        {
                            println_line(&format!("node {} has ended: {status}", node.id));
                        }
                    }
                }
            }
        }
    })
}

fn show(dir: &Path) -> Result<(), String> {
    let mut rows = vec![
        [
            "node",
            "process",
            "role",
            "leader",
            "epoch",
            "applied",
            "elections",
        ]
        .map(str::to_owned),
    ];
    for node in all(dir)? {
        let pid = node
            .process()
            .map_or("-".to_owned(), |process| process.pid.to_string());
        let seen = status::fetch(&node.http).ok();
        let of = |key: &str| match seen.as_ref().and_then(|seen| seen.get(key)) {
            None | Some(serde_json::Value::Null) => "-".to_owned(),
            Some(serde_json::Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        };
        let columns = ["role", "leader", "epoch", "applied", "elections"].map(of);
        let [role, leader, epoch, applied, elections] = columns;
        rows.push([
            node.id.to_string(),
            pid,
            role,
            leader,
            epoch,
            applied,
            elections,
        ]);
    }
    print_text(&status::table(&rows));
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::BufRead as _;

    use super::*;

    fn args(nodes: Option<u16>, port: Option<u16>) -> ClusterArgs {
        ClusterArgs {
            dir: "unused".into(),
            nodes,
            port,
            action: None,
        }
    }

    #[test]
    fn a_directory_keeps_its_layout() {
        let dir = tempfile::tempdir().unwrap();
        let new = settle_layout(dir.path(), &args(None, None), &[]).unwrap();
        assert_eq!((new.nodes, new.port), (NODES, PORT));
        let five = settle_layout(dir.path(), &args(Some(5), Some(7000)), &["a=1".into()]).unwrap();
        fs::write(layout_file(dir.path()), toml::to_string(&five).unwrap()).unwrap();
        assert_eq!(
            settle_layout(dir.path(), &args(None, None), &[]),
            Ok(five.clone())
        );
        assert_eq!(
            settle_layout(dir.path(), &args(Some(5), None), &[]),
            Ok(five)
        );
        let refused = settle_layout(dir.path(), &args(Some(3), None), &[]).unwrap_err();
        assert!(
            refused.contains("a cluster of 5 nodes on the ports from 7000 on"),
            "{refused}"
        );
        for wrong in [
            args(Some(0), None),
            args(Some(65), None),
            args(None, Some(65_400)),
            args(None, Some(0)),
        ] {
            assert!(settle_layout(&dir.path().join("other"), &wrong, &[]).is_err());
        }
    }

    #[test]
    fn the_options_of_a_node_are_ones_that_the_broker_takes() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout {
            nodes: 3,
            port: 7000,
            set: vec!["num.partitions = 4".into()],
        };
        let nodes = nodes(dir.path(), &layout);
        let path = dir.path().join("x.toml");
        fs::write(&path, options(&nodes[1], &layout).unwrap()).unwrap();
        let config = dohle::config::load(Some(&path), &[]).unwrap();
        assert_eq!((config.node_id, config.num_partitions), (2, 4));
        assert_eq!(config.http_listen, "localhost:7201");
        assert_eq!(config.ensemble_voters.len(), 3);
        assert!(
            options(
                &nodes[0],
                &Layout {
                    set: vec!["x".into()],
                    ..layout
                }
            )
            .is_err()
        );
    }

    fn only_node(dir: &Path) -> Node {
        let layout = Layout {
            nodes: 1,
            port: 7000,
            set: Vec::new(),
        };
        let node = nodes(dir, &layout).remove(0);
        fs::create_dir_all(&node.dir).unwrap();
        node
    }

    #[test]
    fn only_a_process_of_the_node_is_taken_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let node = only_node(dir.path());
        assert!(node.process().is_none());
        fs::write(node.pid_file(), std::process::id().to_string()).unwrap();
        assert!(
            node.process().is_none(),
            "this test has not that options file"
        );
        assert_eq!(node.kill(), Err("node 1 does not run".to_owned()));
    }

    #[test]
    fn a_killed_node_is_gone_when_the_kill_is_over() {
        let dir = tempfile::tempdir().unwrap();
        let node = only_node(dir.path());
        // It says when it runs, and it holds the other end of its output for as long as it has files.
        let mut child = Command::new("sh")
            .args(["-c", "echo up; read _"])
            .arg(node.config())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = std::io::BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        fs::write(node.pid_file(), child.id().to_string()).unwrap();
        let process = node
            .process()
            .expect("it runs with the node's options file");
        assert_eq!(
            process.pid.as_raw_nonzero().get().cast_unsigned(),
            child.id()
        );
        node.kill().unwrap();
        assert!(node.process().is_none());
        assert!(child.try_wait().unwrap().is_some(), "it has ended already");
        node.stop().unwrap();
        node.wait_until_gone(&process).unwrap();
    }
}
