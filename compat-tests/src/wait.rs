//! Waiting for a condition with a deadline: the only way in which this suite waits.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How long anything in this suite may take that ought to happen at once; generous, since CI machines are slow.
pub const SOON: Duration = Duration::from_secs(60);

/// Asks until the answer is `Some`, at most until `within` has passed.
pub fn until<T>(
    what: &str,
    within: Duration,
    mut ask: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + within;
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        if Instant::now() >= deadline {
            bail!("not within {within:?}: {what}");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
