//! A cluster whose nodes have a network between them that can fail: each is a process in a network namespace of its own,
//! and everything it sends to the others and to the clients goes through a `Switch`. Needs root, iproute2 and
//! `/dev/net/tun`.
//!
//! Node N is the switch's port N. Port 0 is an interface of this machine itself, where the clients are. Addresses are of
//! 198.18.0.0/15, which is nobody's (RFC 2544). Neighbours are told to each interface for good, so a cut is nothing but
//! silence.
//!
//! Namespaces carry the id of the process that made them. They go with their `Network`; those of a process that did not
//! come to that, with what still runs in them, are removed by the next one.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tappers::{Interface, Tap};

use crate::broker::FAILED;
use crate::ensemble::{Nodes, log_tail};
use crate::switch::Switch;
use crate::switch::fabric::hardware_address;
use crate::{binary, paths};

const PREFIX: &str = "dohle";
const KAFKA: u16 = 9092;
const ENSEMBLE: u16 = 9192;
const HTTP: u16 = 9292;
/// Of the clients' own port.
const CLIENTS: u16 = 254;
/// Subnets of 256 addresses in 198.18.0.0/15.
const SUBNETS: u32 = 512;

/// Why no such network can be made here.
pub fn forbidden() -> Option<String> {
    let made = Network::new(1, 1);
    made.err()
        .map(|error| format!("no network namespaces can be made here ({error:#})"))
}

/// A namespace for each node, and the switch between them.
pub struct Network {
    /// Ends first: the devices go with it.
    pub switch: Switch,
    namespaces: Vec<Namespace>,
    subnet: u32,
}

impl Network {
    pub fn new(nodes: u16, seed: u64) -> Result<Self> {
        ensure!(nodes < CLIENTS, "too many nodes");
        remove_stale()?;
        let unique = paths::unique(PREFIX);
        let subnet = free_subnet()?;
        // At most fifteen letters.
        let short = unique.trim_start_matches(PREFIX).replace('-', "d");
        let tap = |port: u16| -> Result<(String, Tap)> {
            let name = format!("{short}p{port}");
            let tap = Tap::new_named(Interface::new(&name)?);
            Ok((name, tap.context("/dev/net/tun")?))
        };
        let (name, own) = tap(0)?;
        let mut taps = vec![own];
        ip_batch(None, &interface_up(&name, subnet, 0, nodes))?;
        let mut namespaces = Vec::new();
        for node in 1..=nodes {
            let (name, own) = tap(node)?;
            let namespace = Namespace::new(format!("{unique}-{node}"))?;
            ip(&["link", "set", "dev", &name, "netns", &namespace.0])?;
            let mut lines = vec!["link set dev lo up".to_owned()];
            lines.extend(interface_up(&name, subnet, node, nodes));
            ip_batch(Some(&namespace.0), &lines)?;
            taps.push(own);
            namespaces.push(namespace);
        }
        Ok(Self {
            switch: Switch::start(taps, seed)?,
            namespaces,
            subnet,
        })
    }

    fn host(&self, port: u16) -> String {
        address(self.subnet, port)
    }
}

fn address(subnet: u32, port: u16) -> String {
    let host = if port == 0 { CLIENTS } else { port };
    format!("198.{}.{}.{host}", 18 + subnet / 256, subnet % 256)
}

/// What `ip` is told for a port's interface to come up with its address, and to know its neighbours.
fn interface_up(name: &str, subnet: u32, port: u16, nodes: u16) -> Vec<String> {
    let hardware = |port: u16| {
        let bytes = hardware_address(port.into()).map(|byte| format!("{byte:02x}"));
        bytes.join(":")
    };
    let mut lines = vec![
        format!(
            "link set dev {name} address {} addrgenmode none",
            hardware(port)
        ),
        format!("address add {}/24 dev {name}", address(subnet, port)),
        format!("link set dev {name} up"),
    ];
    lines.extend((0..=nodes).filter(|other| *other != port).map(|other| {
        format!(
            "neighbour replace {} lladdr {} dev {name} nud permanent",
            address(subnet, other),
            hardware(other)
        )
    }));
    lines
}

fn ip(args: &[&str]) -> Result<String> {
    let output = Command::new("ip").args(args).output().context("ip")?;
    said(&format!("ip {}", args.join(" ")), output)
}

fn said(what: &str, output: Output) -> Result<String> {
    ensure!(
        output.status.success(),
        "{what}: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8(output.stdout)?)
}

fn ip_batch(namespace: Option<&str>, lines: &[String]) -> Result<()> {
    let mut command = Command::new("ip");
    command.args(namespace.iter().flat_map(|name| ["-netns", name]));
    let mut child = command
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("ip")?;
    let mut stdin = child.stdin.take().context("no stdin")?;
    stdin.write_all(lines.join("\n").as_bytes())?;
    drop(stdin);
    said("ip -batch", child.wait_with_output()?).map(drop)
}

/// One that no interface of this machine has an address in.
fn free_subnet() -> Result<u32> {
    let taken = ip(&["-4", "-oneline", "address", "show"])?;
    let first = std::process::id();
    (0..SUBNETS)
        .map(|next| first.wrapping_add(next) % SUBNETS)
        .find(|subnet| !taken.contains(&format!(" {}/", address(*subnet, 0))))
        .context("no subnet is free")
}

struct Namespace(String);

impl Namespace {
    fn new(name: String) -> Result<Self> {
        ip(&["netns", "add", &name])?;
        Ok(Self(name))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Err(error) = ip(&["netns", "delete", &self.0]) {
            eprintln!("{error:#}");
        }
    }
}

/// Namespaces whose maker has ended, and what it left running in them.
fn remove_stale() -> Result<()> {
    for line in ip(&["netns", "list"])?.lines() {
        let name = line.split_whitespace().next().unwrap_or_default();
        let Some(maker) = maker_of(name) else {
            continue;
        };
        if Path::new("/proc").join(maker.to_string()).exists() {
            continue;
        }
        // Somebody else may be at it, too.
        for pid in ip(&["netns", "pids", name]).unwrap_or_default().lines() {
            if let Some(pid) = pid.trim().parse().ok().and_then(Pid::from_raw) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        let _ = ip(&["netns", "delete", name]);
    }
    Ok(())
}

fn maker_of(namespace: &str) -> Option<u32> {
    let rest = namespace.strip_prefix(PREFIX)?.strip_prefix('-')?;
    rest.split('-').next()?.parse().ok()
}

/// Nodes as processes in the namespaces of a network.
pub struct NetworkCluster {
    dir: PathBuf,
    processes: Mutex<Vec<Option<Child>>>,
    network: Network,
}

impl NetworkCluster {
    /// Comes back when every node has been started; none may be ready yet.
    pub fn start(nodes: u16, set: &[&str], seed: u64) -> Result<Self> {
        let dir = paths::work_dir().join("run").join(paths::unique("network"));
        let network = Network::new(nodes, seed)?;
        let voters: Vec<String> = (1..=nodes)
            .map(|node| format!("{node}@{}:{ENSEMBLE}", network.host(node)))
            .collect();
        let secret: u128 = rand::random();
        for node in 1..=nodes {
            let dir = dir.join(format!("node-{node}"));
            fs::create_dir_all(&dir)?;
            let host = network.host(node);
            let mut options = vec![
                ("node.id", node.to_string()),
                ("listeners", format!("PLAINTEXT://{host}:{KAFKA}")),
                ("http.listen", format!("{host}:{HTTP}")),
                ("log.dirs", dir.join("data").display().to_string()),
                ("ensemble.voters", voters.join(",")),
                ("ensemble.secret", format!("{secret:x}")),
            ];
            for option in set {
                let (name, value) = option.split_once('=').context("KEY=VALUE")?;
                options.push((name, value.to_owned()));
            }
            let lines = options.iter();
            let lines: Vec<String> = lines
                .map(|(name, value)| format!("\"{name}\" = {value:?}\n"))
                .collect();
            fs::write(dir.join("dohle.toml"), lines.concat())?;
        }
        let cluster = Self {
            dir,
            processes: Mutex::new((0..nodes).map(|_| None).collect()),
            network,
        };
        for node in 1..=nodes {
            cluster.restart(node)?;
        }
        Ok(cluster)
    }

    fn node_dir(&self, node: u16) -> PathBuf {
        self.dir.join(format!("node-{node}"))
    }

    fn processes(&self) -> MutexGuard<'_, Vec<Option<Child>>> {
        self.processes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Nodes for NetworkCluster {
    fn nodes(&self) -> u16 {
        self.network.namespaces.len() as u16
    }

    fn address(&self, node: u16) -> String {
        format!("{}:{KAFKA}", self.network.host(node))
    }

    fn http(&self, node: u16) -> String {
        format!("{}:{HTTP}", self.network.host(node))
    }

    fn switch(&self) -> Option<&Switch> {
        Some(&self.network.switch)
    }

    fn kill(&self, node: u16) -> Result<()> {
        let slot = &mut self.processes()[usize::from(node) - 1];
        let mut child = slot.take().context("the node does not run")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    fn restart(&self, node: u16) -> Result<()> {
        let slot = &mut self.processes()[usize::from(node) - 1];
        ensure!(slot.is_none(), "node {node} runs already");
        let dir = self.node_dir(node);
        let log = File::options()
            .create(true)
            .append(true)
            .open(dir.join("log"))?;
        // `ip` becomes the node: the process that is started is the one that is signalled.
        let child = Command::new("ip")
            .args([
                "netns",
                "exec",
                &self.network.namespaces[usize::from(node) - 1].0,
            ])
            .arg(binary::dohle()?)
            .arg("--config")
            .arg(dir.join("dohle.toml"))
            .current_dir(&dir)
            .env("RUST_BACKTRACE", "1")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("ip netns exec")?;
        *slot = Some(child);
        Ok(())
    }

    fn signal(&self, node: u16, signal: Signal) -> Result<()> {
        let processes = self.processes();
        let child = processes[usize::from(node) - 1].as_ref();
        let id = child.context("the node does not run")?.id();
        let pid = Pid::from_raw(i32::try_from(id)?).context("no such process")?;
        Ok(kill_process(pid, signal)?)
    }

    fn check(&self) -> Result<()> {
        if let Some(failure) = self.network.switch.failure() {
            bail!(failure);
        }
        for (node, slot) in (1..).zip(self.processes().iter_mut()) {
            let child = slot
                .as_mut()
                .with_context(|| format!("node {node} is not there"))?;
            if let Some(status) = child.try_wait()? {
                bail!(
                    "node {node} has ended by itself: {status}\n{}",
                    self.log_tail(node)
                );
            }
        }
        Ok(())
    }

    fn log_tail(&self, node: u16) -> String {
        log_tail(&self.node_dir(node).join("log"))
    }
}

impl Drop for NetworkCluster {
    fn drop(&mut self) {
        for child in self.processes().iter_mut().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if !FAILED.load(Ordering::Relaxed) && !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.dir);
        } else {
            eprintln!("kept: {}", self.dir.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_says_who_made_it() {
        assert_eq!(maker_of("dohle-4711-0-3"), Some(4711));
        assert_eq!(maker_of("dohle-x-0-3"), None);
        assert_eq!(maker_of("dohle"), None);
        assert_eq!(maker_of("other-4711-0-3"), None);
    }

    #[test]
    fn addresses_are_of_the_range_that_is_nobodys() {
        assert_eq!(address(0, 0), "198.18.0.254");
        assert_eq!(address(511, 5), "198.19.255.5");
    }

    #[test]
    fn every_interface_knows_all_the_others() {
        let lines = interface_up("tap", 1, 2, 3);
        let neighbours = lines.iter().filter(|line| line.starts_with("neighbour"));
        let neighbours: Vec<&str> = neighbours.filter_map(|l| l.split(' ').nth(2)).collect();
        assert_eq!(neighbours, ["198.18.1.254", "198.18.1.1", "198.18.1.3"]);
        assert!(lines[0].contains("02:d0:00:00:00:02"));
    }
}
