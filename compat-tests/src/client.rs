//! The table of clients that speak through a driver: what each knows, what it needs, how it is started.

use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, OnceLock};

use anyhow::{Context as _, Result, anyhow};

use crate::driver::Driver;
use crate::{paths, prepare};

/// Something that not every client knows; a scenario that needs it is listed for those that do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// A header without a value.
    NullHeaderValues,
    /// IncrementalAlterConfigs; without it the old AlterConfigs.
    IncrementalConfigs,
    /// ListOffsets by the greatest timestamp.
    MaxTimestamp,
    /// What a described group's members own.
    MemberAssignments,
    /// Everything that only Java's Admin and Consumer have.
    Java,
}

use Feature::{IncrementalConfigs, Java, MaxTimestamp, MemberAssignments, NullHeaderValues};

pub struct Client {
    pub name: &'static str,
    /// The compressions that it writes and reads.
    pub codecs: &'static [&'static str],
    pub features: &'static [Feature],
    /// Programs that must be installed.
    pub needs: &'static [&'static str],
    /// Prepares the driver and gives the command that starts it, short of the broker's address.
    command: fn() -> Result<Command>,
    driver: Mutex<Option<Driver>>,
}

const ALL: &[&str] = &["none", "gzip", "snappy", "lz4", "zstd"];
const JAVA_FEATURES: &[Feature] = &[
    NullHeaderValues,
    IncrementalConfigs,
    MaxTimestamp,
    MemberAssignments,
    Java,
];

pub static CLIENTS: [Client; 8] = [
    Client::new(
        "java-4.4.0",
        ALL,
        JAVA_FEATURES,
        &["java", "javac", "mvn"],
        || java("4.4.0"),
    ),
    Client::new(
        "java-4.3.1",
        ALL,
        JAVA_FEATURES,
        &["java", "javac", "mvn"],
        || java("4.3.1"),
    ),
    Client::new("rdkafka", ALL, &[NullHeaderValues], &[], rdkafka),
    Client::new(
        "python-confluent",
        ALL,
        &[
            NullHeaderValues,
            IncrementalConfigs,
            MaxTimestamp,
            MemberAssignments,
        ],
        &["python3"],
        || {
            python(
                "python-confluent",
                "requirements-confluent.txt",
                "confluent_driver.py",
            )
        },
    ),
    Client::new(
        "python-kafka",
        ALL,
        &[IncrementalConfigs, MaxTimestamp, MemberAssignments],
        &["python3"],
        || {
            python(
                "python-kafka",
                "requirements-kafka-python.txt",
                "kafka_python_driver.py",
            )
        },
    ),
    Client::new(
        "go-franz",
        ALL,
        &[
            NullHeaderValues,
            IncrementalConfigs,
            MaxTimestamp,
            MemberAssignments,
        ],
        &["go"],
        || Ok(Command::new(prepare::go()?.join("franz"))),
    ),
    Client::new(
        "go-sarama",
        ALL,
        &[NullHeaderValues, IncrementalConfigs, MemberAssignments],
        &["go"],
        || Ok(Command::new(prepare::go()?.join("sarama"))),
    ),
    Client::new(
        "node-kafkajs",
        &["none", "gzip", "snappy"],
        &[MemberAssignments],
        &["node", "npm"],
        || {
            let mut command = Command::new("node");
            command.arg(prepare::node("node-kafkajs")?.join("driver.js"));
            Ok(command)
        },
    ),
];

/// Where Cargo put the librdkafka driver; only the test target is told.
pub static RDKAFKA_DRIVER: OnceLock<PathBuf> = OnceLock::new();

fn rdkafka() -> Result<Command> {
    Ok(Command::new(
        RDKAFKA_DRIVER
            .get()
            .context("the librdkafka driver is not known")?,
    ))
}

fn java(kafka_version: &str) -> Result<Command> {
    let dir = prepare::java(&format!("java-{kafka_version}"), "java", kafka_version)?;
    let mut command = prepare::jvm(&dir, "128m");
    command.arg("dohle.compat.Driver");
    Ok(command)
}

fn python(name: &str, requirements: &str, driver: &str) -> Result<Command> {
    let mut command = Command::new(prepare::python(name, requirements)?);
    command
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .arg(paths::client_source("python").join(driver));
    Ok(command)
}

impl Client {
    const fn new(
        name: &'static str,
        codecs: &'static [&'static str],
        features: &'static [Feature],
        needs: &'static [&'static str],
        command: fn() -> Result<Command>,
    ) -> Self {
        Self {
            name,
            codecs,
            features,
            needs,
            command,
            driver: Mutex::new(None),
        }
    }

    pub fn has(&self, feature: Feature) -> bool {
        self.features.contains(&feature)
    }

    /// What is missing on this machine, if anything.
    pub fn missing(&self) -> Option<&'static str> {
        self.needs
            .iter()
            .find(|program| !prepare::installed(program))
            .copied()
    }

    /// The client's driver, for as long as the guard is held; started at first use, and anew after it broke.
    pub fn driver(&self, address: &str) -> Result<DriverGuard<'_>> {
        let mut slot = self
            .driver
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if slot.as_ref().is_none_or(Driver::is_broken) {
            *slot = None;
            *slot = Some(self.new_driver(self.name, address)?);
        }
        Ok(DriverGuard(slot))
    }

    /// A driver of its own, for a broker of its own.
    pub fn new_driver(&self, name: &str, address: &str) -> Result<Driver> {
        let mut command = (self.command)()?;
        command.arg(address);
        Driver::start(name, command)
    }

    /// Ends the driver.
    pub fn close(&self) {
        if let Ok(mut slot) = self.driver.lock() {
            *slot = None;
        }
    }
}

pub struct DriverGuard<'a>(MutexGuard<'a, Option<Driver>>);

impl DriverGuard<'_> {
    pub fn get(&mut self) -> Result<&mut Driver> {
        self.0
            .as_mut()
            .ok_or_else(|| anyhow!("the driver is closed"))
    }
}
