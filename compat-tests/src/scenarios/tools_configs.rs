//! Kafka's tools for what can be set: kafka-configs and kafka-features.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::tools::{at, create};
use crate::tools::{CONFIGS, FEATURES, LOG_DIRS, ok, run};
use crate::wait;

pub(super) fn topic_configs(address: &str) -> Result<()> {
    let topic = create(address, "tool-configs", "1")?;
    let entity = ["--entity-type", "topics", "--entity-name", &topic];
    let configs = |args: &[&str]| ok(CONFIGS, &at(address, &[args, &entity].concat()), "");
    let out = configs(&[
        "--alter",
        "--add-config",
        "retention.ms=1234567,cleanup.policy=[compact,delete]",
    ])?;
    ensure!(
        out.contains(&format!("Completed updating config for topic {topic}.")),
        "{out}"
    );
    let described = configs(&["--describe"])?;
    for line in [
        "retention.ms=1234567 sensitive=false synonyms={DYNAMIC_TOPIC_CONFIG:retention.ms=1234567",
        "cleanup.policy=compact,delete sensitive=false",
    ] {
        ensure!(described.contains(line), "{described}");
    }
    let all = configs(&["--describe", "--all"])?;
    for line in [
        "max.message.bytes=1048588 sensitive=false synonyms={",
        "segment.bytes=1073741824 sensitive=false synonyms={",
        "DEFAULT_CONFIG:log.segment.bytes=1073741824",
    ] {
        ensure!(all.contains(line), "no {line} in {all}");
    }
    configs(&["--alter", "--delete-config", "retention.ms,cleanup.policy"])?;
    let described = configs(&["--describe"])?;
    ensure!(
        !described.contains("retention.ms") && !described.contains("cleanup.policy"),
        "{described}"
    );
    let bad = run(
        CONFIGS,
        &at(
            address,
            &[
                &["--alter", "--add-config", "retention.ms=soon"][..],
                &entity,
            ]
            .concat(),
        ),
        "",
    )?;
    ensure!(
        bad.exit != 0 && bad.stderr.contains("retention.ms"),
        "{bad:?}"
    );
    Ok(())
}

pub(super) fn broker_configs(address: &str) -> Result<()> {
    let entity = ["--entity-type", "brokers", "--entity-default"];
    let configs = |args: &[&str]| ok(CONFIGS, &at(address, &[args, &entity].concat()), "");
    configs(&["--alter", "--add-config", "log.cleaner.backoff.ms=12345"])?;
    wait::until("the default is described", wait::SOON, || {
        let described = configs(&["--describe"])?;
        let line = "log.cleaner.backoff.ms=12345 sensitive=false synonyms={DYNAMIC_DEFAULT_BROKER_CONFIG:log.cleaner.backoff.ms=12345";
        Ok(described.contains(line).then_some(()))
    })?;
    configs(&["--alter", "--delete-config", "log.cleaner.backoff.ms"])?;
    wait::until("the default is gone", wait::SOON, || {
        Ok((!configs(&["--describe"])?.contains("log.cleaner.backoff.ms")).then_some(()))
    })?;
    let id = broker_id(address)?;
    let broker = ["--entity-type", "brokers", "--entity-name", &id];
    let all = ok(
        CONFIGS,
        &at(address, &[&["--describe", "--all"][..], &broker].concat()),
        "",
    )?;
    for name in [
        "log.dirs=",
        "num.partitions=",
        "log.retention.hours=",
        "auto.create.topics.enable=",
    ] {
        ensure!(all.contains(name), "no {name} in {all}");
    }
    Ok(())
}

/// The id of the only broker, from what kafka-log-dirs says.
fn broker_id(address: &str) -> Result<String> {
    let out = ok(LOG_DIRS, &at(address, &["--describe"]), "")?;
    let json: Value = serde_json::from_str(
        out.lines()
            .find(|line| line.starts_with('{'))
            .context("no JSON")?,
    )?;
    Ok(json["brokers"][0]["broker"].to_string())
}

pub(super) fn broker_loggers(address: &str) -> Result<()> {
    let id = broker_id(address)?;
    let entity = ["--entity-type", "broker-loggers", "--entity-name", &id];
    let configs = |args: &[&str]| ok(CONFIGS, &at(address, &[args, &entity].concat()), "");
    let described = configs(&["--describe"])?;
    let loggers = described
        .lines()
        .filter_map(|line| line.trim().split_once('='))
        .filter(|(name, _)| !name.contains(' '));
    let (logger, level) = loggers
        .into_iter()
        .find(|(name, _)| *name != "root")
        .context("no logger but the root")?;
    ensure!(
        ["TRACE", "DEBUG", "INFO", "WARN", "ERROR"]
            .iter()
            .any(|known| level.starts_with(known)),
        "{level}"
    );
    configs(&["--alter", "--add-config", &format!("{logger}=ERROR")])?;
    let changed = configs(&["--describe"])?;
    ensure!(
        changed.contains(&format!("{logger}=ERROR ")),
        "{logger}: {changed}"
    );
    configs(&["--alter", "--delete-config", logger])?;
    let restored = configs(&["--describe"])?;
    ensure!(
        !restored.contains(&format!("{logger}=ERROR ")),
        "{restored}"
    );
    let bad = [
        &["--alter", "--add-config", "no-such-logger-at-all=INFO"][..],
        &entity,
    ]
    .concat();
    ensure!(
        run(CONFIGS, &at(address, &bad), "")?.exit != 0,
        "an unknown logger was taken"
    );
    Ok(())
}

/// Of a feature that no other scenario looks at.
pub(super) fn features(address: &str) -> Result<()> {
    const FEATURE: &str = "eligible.leader.replicas.version";
    let level = || {
        let told = ok(FEATURES, &at(address, &["describe"]), "")?;
        let line = told.lines().find(|line| line.contains(FEATURE));
        let line = line.with_context(|| told.clone())?;
        let level = line.split("FinalizedVersionLevel: ").nth(1);
        let level = level.and_then(|rest| rest.split_whitespace().next());
        Ok::<_, anyhow::Error>(level.with_context(|| told.clone())?.to_owned())
    };
    ensure!(level()? == "1", "{}", level()?);
    let change = |how: &str, to: &str, more: &[&str]| {
        let feature = format!("{FEATURE}={to}");
        let args = [&[how, "--feature", &feature], more].concat();
        run(FEATURES, &at(address, &args), "")
    };
    let only_looked = change("downgrade", "0", &["--dry-run"])?;
    ensure!(only_looked.exit == 0, "{only_looked:?}");
    ensure!(level()? == "1", "a dry run changed it");
    let down = change("downgrade", "0", &[])?;
    ensure!(
        down.exit == 0
            && down
                .stdout
                .contains(&format!("{FEATURE} was downgraded to 0.")),
        "{down:?}"
    );
    ensure!(level()? == "0", "{}", level()?);
    let refused = change("upgrade", "7", &[])?;
    let why = "Local controller 1 only supports versions 0-1";
    let told = format!("{}{}", refused.stdout, refused.stderr);
    ensure!(refused.exit == 1 && told.contains(why), "{refused:?}");
    let up = change("upgrade", "1", &[])?;
    ensure!(
        up.exit == 0 && up.stdout.contains(&format!("{FEATURE} was upgraded to 1.")),
        "{up:?}"
    );
    ensure!(level()? == "1", "{}", level()?);
    Ok(())
}
