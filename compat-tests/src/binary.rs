//! The `dohle` binary under test: the one that belongs to this profile, built if it is missing or stale.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context as _, Result, anyhow, ensure};

use crate::paths;

/// The path of the binary; `DOHLE_BIN` names another one.
pub fn dohle() -> Result<PathBuf> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    if let Some(path) = std::env::var_os("DOHLE_BIN") {
        return Ok(PathBuf::from(path));
    }
    BUILT
        .get_or_init(|| build().map_err(|error| format!("{error:#}")))
        .clone()
        .map_err(|error| anyhow!(error))
}

/// `cargo test` does not build another package's binary, so ask Cargo, who knows best whether it is stale.
fn build() -> Result<PathBuf> {
    let profile_dir = paths::profile_dir();
    let profile = profile_dir
        .file_name()
        .and_then(|name| name.to_str())
        .context("no profile directory")?;
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR")).args([
        "build",
        "--quiet",
        "--package",
        "dohle",
        "--bin",
        "dohle",
    ]);
    if profile != "debug" {
        cargo.args(["--profile", profile]);
    }
    // What the outer Cargo set for this test would make build scripts run again.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let inherited = text.starts_with("CARGO_PKG_")
            || text.starts_with("CARGO_MANIFEST")
            || text.starts_with("CARGO_BIN_");
        if inherited || text == "CARGO_CRATE_NAME" || text == "LD_LIBRARY_PATH" {
            cargo.env_remove(name);
        }
    }
    ensure!(
        cargo.status().context("cargo")?.success(),
        "dohle does not build"
    );
    let path = profile_dir.join("dohle");
    ensure!(path.is_file(), "{} was not built", path.display());
    Ok(path)
}
