//! Spoiled frames of every request in every version at a live broker: see `compat_tests::hostile_frames`. Prints a summary
//! as JSON; fails if anything was found.

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use compat_tests::hostile_frames::{Options, run};
use compat_tests::soak;

const USAGE: &str = "usage: hostile-frames [--frames N] [--seed N] [--round N] [--connections N] [--resident-mb N] [--only N]";

fn options() -> Result<Options> {
    let mut options = Options {
        seed: rand::random(),
        ..Options::default()
    };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().context(USAGE);
        match arg.as_str() {
            "--frames" => options.frames = value()?.parse()?,
            "--seed" => options.seed = value()?.parse()?,
            "--round" => options.round = value()?.parse()?,
            "--connections" => options.connections = value()?.parse()?,
            "--resident-mb" => options.resident_mb = value()?.parse()?,
            "--only" => options.only = Some(value()?.parse()?),
            _ => bail!(USAGE),
        }
    }
    Ok(options)
}

fn main() -> Result<ExitCode> {
    let options = options()?;
    eprintln!("{options:?}");
    let summary = run(&options)?;
    soak::outcome(&summary, summary.check())
}
