//! A command that goes on until something is found: what it is told, and how it ends.

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use serde::Serialize;

/// Hands over each argument by its name, with what fetches the value behind it; a name that `take` does not know
/// is an error.
pub fn arguments(
    usage: &'static str,
    mut take: impl FnMut(&str, &mut dyn FnMut() -> Result<String>) -> Result<bool>,
) -> Result<()> {
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        if !take(&arg, &mut || args.next().context(usage))? {
            bail!(usage);
        }
    }
    Ok(())
}

/// The summary as JSON on stdout; what was found, if anything, on stderr and in the exit code.
pub fn outcome(summary: &impl Serialize, found: Result<()>) -> Result<ExitCode> {
    println!("{}", serde_json::to_string(summary)?);
    Ok(match found {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    })
}
