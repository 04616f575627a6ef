//! What this process writes of itself, and at which levels: set at the start by `log.level`, changed
//! while running as Kafka's broker-loggers (KIP-412).
//!
//! A logger is a target of `tracing`: `root`, `dohle`, or one of its modules. A change lasts until the
//! process ends. Nothing here formats a line on a hot path: a target below its level costs one load.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::str::FromStr;
use std::sync::Arc;

use parking_lot::Mutex;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt, reload};

use crate::config::LogFormat;

/// What everything without a level of its own follows.
pub const ROOT: &str = "root";

/// The loggers that can be named before they have a level: this crate and its modules.
const MODULES: [&str; 13] = [
    "dohle",
    "dohle::api",
    "dohle::broker",
    "dohle::config",
    "dohle::controller",
    "dohle::group",
    "dohle::log",
    "dohle::net",
    "dohle::protocol",
    "dohle::replication",
    "dohle::runtime",
    "dohle::zab",
    "dohle::zab_log",
];

/// Levels by Kafka's names.
const LEVELS: [(&str, LevelFilter); 6] = [
    ("TRACE", LevelFilter::TRACE),
    ("DEBUG", LevelFilter::DEBUG),
    ("INFO", LevelFilter::INFO),
    ("WARN", LevelFilter::WARN),
    ("ERROR", LevelFilter::ERROR),
    // Nothing is logged above an error here.
    ("FATAL", LevelFilter::ERROR),
];

#[derive(Debug, Clone, PartialEq, Eq)]
struct Levels {
    root: LevelFilter,
    own: BTreeMap<String, LevelFilter>,
}

/// `log.level` is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("log.level: '{0}' is neither a level (trace, debug, info, warn, error) nor target=level")]
pub struct InvalidLevel(String);

impl FromStr for Levels {
    type Err = InvalidLevel;

    fn from_str(text: &str) -> Result<Self, InvalidLevel> {
        let mut levels = Levels {
            root: LevelFilter::INFO,
            own: BTreeMap::new(),
        };
        for part in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
            let (target, level) = part.split_once('=').unwrap_or((ROOT, part));
            let level = level_of(level.trim()).ok_or_else(|| InvalidLevel(part.to_owned()))?;
            levels.set(target.trim(), level);
        }
        Ok(levels)
    }
}

fn level_of(name: &str) -> Option<LevelFilter> {
    let mut levels = LEVELS.iter();
    let found = levels.find(|(known, _)| known.eq_ignore_ascii_case(name));
    found.map(|(_, level)| *level)
}

fn name_of(level: LevelFilter) -> &'static str {
    let mut levels = LEVELS.iter();
    let found = levels.find(|(_, known)| *known == level);
    found.map_or("OFF", |(name, _)| name)
}

impl Levels {
    fn set(&mut self, logger: &str, level: LevelFilter) {
        if logger == ROOT {
            self.root = level;
        } else {
            self.own.insert(logger.to_owned(), level);
        }
    }

    /// Its own level, or that of the nearest above it.
    fn effective(&self, logger: &str) -> LevelFilter {
        let mut name = logger;
        loop {
            if let Some(level) = self.own.get(name) {
                return *level;
            }
            match name.rsplit_once("::") {
                Some((above, _)) => name = above,
                None => return self.root,
            }
        }
    }

    fn targets(&self) -> Targets {
        Targets::new()
            .with_default(self.root)
            .with_targets(self.own.iter().map(|(name, level)| (name.clone(), *level)))
    }
}

/// The levels as they are, and the way to change them.
pub struct LogLevels {
    levels: Mutex<Levels>,
    apply: Box<dyn Fn(Targets) + Send + Sync>,
}

impl std::fmt::Debug for LogLevels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("LogLevels").field(&self.levels).finish()
    }
}

impl LogLevels {
    /// Levels that nothing follows, for a process (or a test) that keeps its log to itself.
    pub fn detached(text: &str) -> Result<Self, InvalidLevel> {
        Ok(Self {
            levels: Mutex::new(text.parse()?),
            apply: Box::new(|_| {}),
        })
    }

    /// Every logger that can be named, with the level that it follows.
    pub fn loggers(&self) -> BTreeMap<String, &'static str> {
        let levels = self.levels.lock();
        let own = levels.own.keys().map(String::as_str);
        let names = own.chain(MODULES).chain([ROOT]);
        names
            .map(|name| (name.to_owned(), name_of(levels.effective(name))))
            .collect()
    }

    pub fn exists(&self, logger: &str) -> bool {
        logger == ROOT || MODULES.contains(&logger) || self.levels.lock().own.contains_key(logger)
    }

    /// `false` when there is no such level.
    pub fn set(&self, logger: &str, level: &str) -> bool {
        let Some(level) = level_of(level) else {
            return false;
        };
        self.change(|levels| levels.set(logger, level));
        true
    }

    /// The logger follows the one above it again.
    pub fn unset(&self, logger: &str) {
        self.change(|levels| {
            levels.own.remove(logger);
        });
    }

    fn change(&self, change: impl FnOnce(&mut Levels)) {
        let mut levels = self.levels.lock();
        change(&mut levels);
        (self.apply)(levels.targets());
    }
}

/// Starts writing the log. Once in a process: a second call changes nothing.
pub fn init(level: &str, format: LogFormat) -> Result<Arc<LogLevels>, InvalidLevel> {
    let levels: Levels = level.parse()?;
    let (filter, handle) = reload::Layer::<Targets, Registry>::new(levels.targets());
    let lines = match format {
        LogFormat::Json => fmt::layer().json().with_writer(std::io::stderr).boxed(),
        LogFormat::Text => fmt::layer()
            .with_ansi(std::io::stderr().is_terminal())
            .with_writer(std::io::stderr)
            .boxed(),
    };
    let _ = tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .try_init();
    Ok(Arc::new(LogLevels {
        levels: Mutex::new(levels),
        apply: Box::new(move |targets| {
            // It fails when the subscriber is gone, and then nobody is listening.
            let _ = handle.reload(targets);
        }),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_logger_follows_the_nearest_level_above_it() {
        let log = LogLevels::detached("warn, dohle=info,dohle::net=debug").unwrap();
        let level = |name: &str| log.loggers()[name];
        assert_eq!((level(ROOT), level("dohle")), ("WARN", "INFO"));
        assert_eq!(
            (level("dohle::net"), level("dohle::zab")),
            ("DEBUG", "INFO")
        );
        assert!(log.set("dohle::zab", "TRACE") && !log.set("dohle::zab", "LOUD"));
        assert_eq!(level("dohle::zab"), "TRACE");
        log.unset("dohle::zab");
        assert_eq!(level("dohle::zab"), "INFO");
        assert!(log.exists("dohle::zab") && log.exists(ROOT) && !log.exists("kafka"));
    }

    #[test]
    fn every_change_reaches_the_filter() {
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let log = LogLevels {
            levels: Mutex::new("info".parse().unwrap()),
            apply: {
                let seen = seen.clone();
                Box::new(move |targets| seen.lock().push(targets.to_string()))
            },
        };
        log.set("dohle::net", "DEBUG");
        log.set(ROOT, "FATAL");
        log.unset("dohle::net");
        assert_eq!(
            *seen.lock(),
            ["dohle::net=debug,info", "dohle::net=debug,error", "error"]
        );
    }

    #[test]
    fn what_is_no_level_is_named() {
        let error = LogLevels::detached("info,dohle=loud").unwrap_err();
        assert!(error.to_string().contains("'dohle=loud'"), "{error}");
        assert_eq!(LogLevels::detached("").unwrap().loggers()[ROOT], "INFO");
    }
}
