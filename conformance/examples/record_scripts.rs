//! Writes what Apache Kafka answers into the scripts of `conformance/scripts`:
//!
//! ```text
//! mvn -q -f conformance/recorder/pom.xml package dependency:copy-dependencies
//! cargo run -p conformance --example record_scripts            # all of them; or the names of some
//! ```
//!
//! Each script gets a broker of its own, started from the recorder's jars. What dohle answers instead is left as it is.

#![expect(clippy::print_stderr, reason = "a tool says what it does")]

use std::error::Error;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use conformance::script::{Script, run};

const START: Duration = Duration::from_secs(60);

struct Kafka {
    process: Child,
    address: SocketAddr,
    dir: tempfile::TempDir,
}

impl Drop for Kafka {
    fn drop(&mut self) {
        // It is gone already, or it goes now.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_port() -> Result<u16, Box<dyn Error>> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn java(jars: &Path, class: &str, dir: &Path) -> Command {
    let mut command = Command::new("java");
    command
        .arg("-cp")
        .arg(jars.join("*"))
        .args(["-Xmx512m", class])
        .current_dir(dir);
    command
}

impl Kafka {
    fn start(jars: &Path, options: &[(String, String)]) -> Result<Kafka, Box<dyn Error>> {
        let dir = tempfile::tempdir()?;
        let (port, controller) = (free_port()?, free_port()?);
        let mut properties = format!(
            "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:{controller}\n\
             listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
             controller.listener.names=CONTROLLER\nlistener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
             log.dirs={}\noffsets.topic.replication.factor=1\ntransaction.state.log.replication.factor=1\n\
             transaction.state.log.min.isr=1\n",
            dir.path().join("data").display(),
        );
        for (name, value) in options {
            properties.push_str(&format!("{name}={value}\n"));
        }
        fs::write(dir.path().join("kafka.properties"), properties)?;
        let format_log = File::create(dir.path().join("format.log"))?;
        let formatted = java(jars, "kafka.tools.StorageTool", dir.path())
            .args([
                "format",
                "-t",
                "4L6g3nShT-eMCtK--X86sw",
                "-c",
                "kafka.properties",
            ])
            .stdout(format_log.try_clone()?)
            .stderr(format_log)
            .status()?;
        if !formatted.success() {
            return Err(fs::read_to_string(dir.path().join("format.log"))?.into());
        }
        let log = File::create(dir.path().join("log"))?;
        let process = java(jars, "kafka.Kafka", dir.path())
            .arg("kafka.properties")
            .stdout(log.try_clone()?)
            .stderr(log)
            .stdin(Stdio::null())
            .spawn()?;
        let mut kafka = Kafka {
            process,
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            dir,
        };
        let deadline = Instant::now() + START;
        while TcpStream::connect(kafka.address).is_err() {
            if Instant::now() > deadline || kafka.process.try_wait()?.is_some() {
                return Err(fs::read_to_string(kafka.dir.path().join("log"))?.into());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(kafka)
    }
}

fn record(path: &Path, jars: &Path) -> Result<(), Box<dyn Error>> {
    let mut script = Script::parse(&fs::read_to_string(path)?)?;
    let kafka = Kafka::start(jars, &script.broker)?;
    let mut ran = run(&script, kafka.address)?.into_iter();
    for step in script.steps_mut() {
        step.answers = ran.next().unwrap_or_default();
    }
    fs::write(path, script.to_string())?;
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let jars = root.join("recorder/target/dependency");
    if !jars.is_dir() {
        return Err("Kafka's jars are missing: mvn -q -f conformance/recorder/pom.xml package dependency:copy-dependencies".into());
    }
    let named: Vec<String> = std::env::args().skip(1).collect();
    let mut paths: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(root.join("scripts"))? {
        paths.push(entry?.path());
    }
    paths.sort();
    paths.retain(|path| {
        named.is_empty()
            || path
                .file_stem()
                .is_some_and(|stem| named.iter().any(|name| stem == name.as_str()))
    });
    let mut failed = 0;
    for path in paths {
        match record(&path, &jars) {
            Ok(()) => eprintln!("{}", path.display()),
            Err(error) => {
                failed += 1;
                eprintln!("{}: {error}", path.display());
            }
        }
    }
    match failed {
        0 => Ok(()),
        _ => Err(format!("{failed} were not recorded").into()),
    }
}
