//! Fetches what a client needs from its own registry and builds its driver, into `target/compat/<client>`.
//!
//! Done once: a stamp with the fingerprint of the client's sources says that it is done.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use anyhow::{Context as _, Result, bail};

use crate::paths;

/// The Maven plugin that copies a project's dependencies, pinned.
const COPY_DEPENDENCIES: &str =
    "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies";

/// Whether a program is to be found on the path.
pub fn installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// Runs `build` on `target/compat/<name>`, unless it was already run for these very sources.
fn once(
    name: &str,
    source: &Path,
    salt: &str,
    build: impl FnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    let dir = paths::work_dir().join(name);
    fs::create_dir_all(&dir)?;
    // Two test runs at a time must not fetch into one directory.
    let lock = File::create(paths::work_dir().join(format!("{name}.lock")))?;
    lock.lock()?;
    let mut hasher = DefaultHasher::new();
    salt.hash(&mut hasher);
    fingerprint(source, &mut hasher)?;
    let wanted = format!("{:016x}", hasher.finish());
    let stamp = dir.join(".stamp");
    if fs::read_to_string(&stamp).ok().as_ref() != Some(&wanted) {
        fs::remove_dir_all(&dir)?;
        fs::create_dir_all(&dir)?;
        build(&dir).with_context(|| format!("preparing {name}"))?;
        fs::write(&stamp, wanted)?;
    }
    Ok(dir)
}

fn fingerprint(path: &Path, hasher: &mut DefaultHasher) -> Result<()> {
    let mut entries = fs::read_dir(path)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        entry.file_name().hash(hasher);
        if entry.file_type()?.is_dir() {
            fingerprint(&entry.path(), hasher)?;
        } else {
            fs::read(entry.path())?.hash(hasher);
        }
    }
    Ok(())
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    if !output.status.success() {
        let (out, err) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        bail!("{command:?}: {}\n{out}\n{err}", output.status);
    }
    Ok(())
}

/// A Java project: its jars in `lib`, its classes and resources in `classes`.
pub fn java(name: &str, project: &str, kafka_version: &str) -> Result<PathBuf> {
    let source = paths::client_source(project);
    once(name, &source, kafka_version, |dir| {
        // Maven's local repository does not like two at a time.
        static MAVEN: Mutex<()> = Mutex::new(());
        let one = MAVEN.lock();
        run(Command::new("mvn")
            .args(["-q", "-B", "-f"])
            .arg(source.join("pom.xml"))
            .arg(format!("-Dkafka.version={kafka_version}"))
            .arg(format!("-DoutputDirectory={}", dir.join("lib").display()))
            .arg(COPY_DEPENDENCIES))?;
        drop(one);
        let classes = dir.join("classes");
        fs::create_dir_all(&classes)?;
        let code = source.join("src/main/java/dohle/compat");
        let mut files = fs::read_dir(code)?
            .map(|entry| Ok(entry?.path()))
            .collect::<Result<Vec<_>>>()?;
        files.retain(|file| file.extension() == Some(OsStr::new("java")));
        run(Command::new("javac")
            .arg("-d")
            .arg(&classes)
            .arg("-cp")
            .arg(dir.join("lib/*"))
            .args(files))?;
        let resources = source.join("src/main/resources");
        if resources.is_dir() {
            for entry in fs::read_dir(resources)? {
                let entry = entry?;
                fs::copy(entry.path(), classes.join(entry.file_name()))?;
            }
        }
        Ok(())
    })
}

/// A JVM on a prepared Java project: small, and quick to start.
pub fn jvm(dir: &Path, heap: &str) -> Command {
    let mut command = Command::new("java");
    command
        .args([
            &format!("-Xmx{heap}"),
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-Xshare:auto",
        ])
        .arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")
        .arg("-cp")
        .arg(format!(
            "{}:{}",
            dir.join("classes").display(),
            dir.join("lib/*").display()
        ));
    command
}

/// A virtual environment with one requirements file; gives its interpreter.
pub fn python(name: &str, requirements: &str) -> Result<PathBuf> {
    let source = paths::client_source("python");
    let dir = once(name, &source, requirements, |dir| {
        run(Command::new("python3").args(["-m", "venv"]).arg(dir))?;
        run(Command::new(dir.join("bin/python"))
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--requirement",
            ])
            .arg(source.join(requirements)))
    })?;
    Ok(dir.join("bin/python"))
}

/// The Go commands; gives the directory they are in.
pub fn go() -> Result<PathBuf> {
    let source = paths::client_source("go");
    once("go", &source, "", |dir| {
        // The trailing slash makes `go build` write every command into the directory.
        run(Command::new("go")
            .current_dir(&source)
            .args(["build", "-mod=readonly", "-o"])
            .arg(format!("{}/", dir.display()))
            .arg("./cmd/..."))
    })
}

/// A Node project with its modules beside it.
pub fn node(name: &str) -> Result<PathBuf> {
    let source = paths::client_source(name);
    once(name, &source, "", |dir| {
        for file in ["package.json", "package-lock.json", "driver.js"] {
            fs::copy(source.join(file), dir.join(file))?;
        }
        run(Command::new("npm").current_dir(dir).args([
            "ci",
            "--no-audit",
            "--no-fund",
            "--ignore-scripts",
        ]))
    })
}
