//! `kill -9` until something is lost or repeated: see `compat_tests::kill_loop`. Prints a summary as JSON; fails if
//! anything was found.

use std::process::ExitCode;

use anyhow::Result;
use compat_tests::kill_loop::{Options, run};
use compat_tests::soak;

const USAGE: &str = "usage: kill-loop [--kills N] [--seed N] [--producers N] [--rate RECORDS/S] [--longest-run-ms N] [--power-cut ext4|xfs] [--set KEY=VALUE]… [--verbose]";

fn options() -> Result<Options> {
    let mut options = Options {
        seed: rand::random(),
        ..Options::default()
    };
    soak::arguments(USAGE, |name, value| {
        match name {
            "--kills" => options.kills = value()?.parse()?,
            "--seed" => options.seed = value()?.parse()?,
            "--producers" => options.producers = value()?.parse()?,
            "--rate" => options.rate = value()?.parse()?,
            "--longest-run-ms" => options.longest_run_ms = value()?.parse()?,
            "--power-cut" => options.power_cut = Some(value()?),
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
