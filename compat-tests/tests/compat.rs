//! Lists the scenarios at run time, one test for each pair of client and scenario, and runs them.
//!
//! `DOHLE_COMPAT_TARGET=host:port` runs them against a broker that is already there (Apache Kafka's own, to show that the
//! scenarios are right); `DOHLE_REQUIRE_ALL_CLIENTS=1` fails what could only be ignored for want of a toolchain.

use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use anyhow::{Result, anyhow};
use compat_tests::broker::{self, Broker, FAILED};
use compat_tests::client::{CLIENTS, RDKAFKA_DRIVER};
use compat_tests::scenarios::{self, Test};
use compat_tests::tools;
use libtest_mimic::{Arguments, Failed, Trial};

/// The broker that most scenarios share, started by the first of them.
type Shared = Arc<OnceLock<Result<Broker, String>>>;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Most of the time is spent waiting for rebalances: more at once than there are cores.
    arguments.test_threads.get_or_insert(4);
    let _ = RDKAFKA_DRIVER.set(env!("CARGO_BIN_EXE_rdkafka-driver").into());
    let require_all = std::env::var("DOHLE_REQUIRE_ALL_CLIENTS").is_ok_and(|value| value == "1");
    let shared = Shared::default();
    let trials = scenarios::listed()
        .into_iter()
        .map(|test| trial(test, require_all, &shared))
        .collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    for client in &CLIENTS {
        client.close();
    }
    tools::close();
    // The shared broker ends here: a static would leave it running.
    drop(shared);
    conclusion.exit_code()
}

fn trial(test: Test, require_all: bool, shared: &Shared) -> Trial {
    let Test {
        name,
        missing,
        forbidden,
        ours_only,
        run,
    } = test;
    if ours_only && broker::external().is_some() {
        return Trial::test(name, || Ok(()))
            .with_kind("needs a broker of ours")
            .with_ignored_flag(true);
    }
    if let Some(reason) = forbidden {
        return Trial::test(name, || Ok(()))
            .with_kind(reason)
            .with_ignored_flag(true);
    }
    if let Some(reason) = missing {
        let failure = Failed::from(format!("{reason}, and DOHLE_REQUIRE_ALL_CLIENTS is set"));
        return Trial::test(name, || Err(failure))
            .with_kind(reason)
            .with_ignored_flag(!require_all);
    }
    let shared = Arc::clone(shared);
    Trial::test(name, move || {
        let outcome = address(&shared, ours_only).and_then(|address| run(&address));
        outcome.map_err(|error| {
            FAILED.store(true, Ordering::Relaxed);
            Failed::from(format!("{error:#}"))
        })
    })
}

fn address(shared: &Shared, own_broker: bool) -> Result<String> {
    if own_broker {
        return Ok(String::new());
    }
    let broker = shared.get_or_init(|| Broker::shared().map_err(|error| format!("{error:#}")));
    broker
        .as_ref()
        .map(|broker| broker.address.clone())
        .map_err(|error| anyhow!("{error}"))
}
