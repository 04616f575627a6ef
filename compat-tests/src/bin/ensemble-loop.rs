//! Kills and stops the nodes of a cluster, and with `--network` breaks what is between them, until something is lost: see
//! `compat_tests::ensemble_loop`. Prints a summary as JSON; fails if anything was found.

use std::process::ExitCode;

use anyhow::Result;
use compat_tests::ensemble_loop::{Options, run};
use compat_tests::soak;

const USAGE: &str = "usage: ensemble-loop [--nodes N] [--faults N] [--seed N] [--clients N] [--longest-calm-ms N] [--network] [--set KEY=VALUE]… [--verbose]";

fn options() -> Result<Options> {
    let mut options = Options {
        seed: rand::random(),
        ..Options::default()
    };
    soak::arguments(USAGE, |name, value| {
        match name {
            "--nodes" => options.nodes = value()?.parse()?,
            "--faults" => options.faults = value()?.parse()?,
            "--seed" => options.seed = value()?.parse()?,
            "--clients" => options.clients = Some(value()?.parse()?),
            "--longest-calm-ms" => options.longest_calm_ms = value()?.parse()?,
            "--network" => options.network = true,
            "--set" => options.set.push(value()?),
            "--verbose" => options.verbose = true,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(options)
}

fn main() -> Result<ExitCode> {
    let options = options()?;
    eprintln!("{options:?}");
    let summary = run(&options)?;
    soak::outcome(&summary, summary.check())
}
