//! How a command ends that went on until something was found, or was not.

use std::process::ExitCode;

use anyhow::Result;
use serde::Serialize;

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
