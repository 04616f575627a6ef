//! Spoiled frames of every request in every version at a live broker: see `compat_tests::hostile_frames`. Prints a summary
//! as JSON; fails if anything was found.

use std::process::ExitCode;

use anyhow::Result;
use compat_tests::hostile_frames::{Options, run, show};
use compat_tests::soak;

const USAGE: &str = "usage: hostile-frames [--frames N] [--seed N] [--round N] [--connections N] [--resident-mb N] [--only N]";

/// And the one frame that is to be seen.
fn options() -> Result<(Options, Option<u64>)> {
    let mut options = Options {
        seed: rand::random(),
        ..Options::default()
    };
    let mut only = None;
    soak::arguments(USAGE, |name, value| {
        match name {
            "--frames" => options.frames = value()?.parse()?,
            "--seed" => options.seed = value()?.parse()?,
            "--round" => options.round = value()?.parse()?,
            "--connections" => options.connections = value()?.parse()?,
            "--resident-mb" => options.resident_mb = value()?.parse()?,
            "--only" => only = Some(value()?.parse()?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok((options, only))
}

fn main() -> Result<ExitCode> {
    let (options, only) = options()?;
    if let Some(number) = only {
        println!("{}", show(options.seed, number)?);
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("{options:?}");
    let summary = run(&options)?;
    soak::outcome(&summary, summary.check())
}
