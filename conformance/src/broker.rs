//! A dohle of this process, on a port of its own and an empty directory.

use std::net::SocketAddr;
use std::sync::Arc;

use dohle::broker::{self, Broker};
use dohle::config::{BrokerConfig, Origin};
use dohle::logging::LogLevels;
use tempfile::TempDir;
use tokio::runtime::Runtime;

pub struct Dohle {
    runtime: Runtime,
    broker: Option<Broker>,
    _dir: TempDir,
}

fn text(error: impl ToString) -> String {
    error.to_string()
}

impl Dohle {
    /// Starts it with options beside those that a test needs.
    pub fn start<'o>(
        options: impl IntoIterator<Item = (&'o str, &'o str)>,
    ) -> Result<Dohle, String> {
        let dir = tempfile::tempdir().map_err(text)?;
        let data = dir.path().join("data");
        let mut config = BrokerConfig::default();
        let own = [
            ("log.dirs", data.to_str().unwrap_or_default()),
            ("listeners", "PLAINTEXT://127.0.0.1:0"),
            ("http.listen", ""),
            ("log.durable.acks", "false"),
        ];
        for (name, value) in own {
            config
                .set_static(name, value, Origin::CommandLine)
                .map_err(text)?;
        }
        for (name, value) in options {
            config
                .set_static(name, value, Origin::CommandLine)
                .map_err(text)?;
        }
        let runtime = Runtime::new().map_err(text)?;
        let levels = Arc::new(LogLevels::detached("error").map_err(text)?);
        let broker = runtime
            .block_on(broker::start(config, levels))
            .map_err(text)?;
        Ok(Dohle {
            runtime,
            broker: Some(broker),
            _dir: dir,
        })
    }

    pub fn address(&self) -> Option<SocketAddr> {
        let listener = self.broker.as_ref()?.listeners.first();
        listener.map(|listener| listener.address)
    }
}

impl Drop for Dohle {
    fn drop(&mut self) {
        if let Some(broker) = self.broker.take() {
            self.runtime.block_on(broker.stop());
        }
    }
}
