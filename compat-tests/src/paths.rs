//! Where things are: the sources of the clients, and what is fetched and built for them.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// The sources of a client's driver.
pub fn client_source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("clients")
        .join(name)
}

/// The directory of the running profile: a program is in it, a test executable in its `deps`.
pub fn profile_dir() -> PathBuf {
    let exe = std::env::current_exe().unwrap_or_default();
    let dir = exe.parent().unwrap_or(Path::new("target/debug"));
    match dir.parent() {
        Some(profile) if dir.ends_with("deps") => profile.to_path_buf(),
        _ => dir.to_path_buf(),
    }
}

/// Everything that this suite fetches, builds and leaves behind: `target/compat`.
pub fn work_dir() -> PathBuf {
    let profile = profile_dir();
    profile.parent().unwrap_or(&profile).join("compat")
}

/// A topic or group name that nothing else uses, also where the broker outlives this run.
pub fn unique(what: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!(
        "{what}-{}-{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    )
}
