//! What the configuration says about links: where to listen, what secures them, how much may wait.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Address;
use super::handshake::Secret;
use super::outbound::Limits;
use super::tls::{Tls, TlsError, TlsFiles};
use crate::config::BrokerConfig;

/// Why there can be no links. One line that names the option.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("ensemble.listener: {address} cannot be listened on: {error}")]
    Listen {
        address: String,
        error: std::io::Error,
    },
    #[error(
        "ensemble.listener: {0} is reached from other machines, and neither ensemble.secret nor ensemble.tls.* is set: anybody could join the ensemble. Set one of them, or listen on localhost"
    )]
    Open(String),
    #[error("ensemble.secret.file: {}: {why}", path.display())]
    SecretFile { path: PathBuf, why: String },
    #[error("ensemble.secret: it is set, and ensemble.secret.file, too")]
    TwoSecrets,
    #[error("ensemble.tls: {0}")]
    Tls(#[from] TlsError),
    #[error("ensemble.tls: ca.file, certificate.file and key.file are set together or not at all")]
    TlsInPart,
}

#[derive(Debug, Clone)]
pub struct LinkOptions {
    /// `None`: nobody can dial this server.
    pub listener: Option<Address>,
    pub secret: Option<Secret>,
    pub tls: Option<Tls>,
    pub limits: Limits,
    /// After so long without a sign of life of its machine, or without a byte read by its process, a server counts as
    /// gone.
    pub silence: Duration,
}

impl LinkOptions {
    /// Reads the files that the options name.
    pub fn of(config: &BrokerConfig) -> Result<Self, LinkError> {
        Ok(Self {
            listener: listener(config),
            secret: secret(config)?,
            tls: tls(config)?,
            limits: Limits {
                message_bytes: usize::try_from(config.ensemble_max_message_bytes).unwrap_or(0),
                queue_bytes: usize::try_from(config.ensemble_link_queue_bytes).unwrap_or(0),
            },
            silence: Duration::from_millis(
                u64::try_from(config.broker_session_timeout_ms).unwrap_or(0),
            ),
        })
    }

    pub fn is_secured(&self) -> bool {
        self.secret.is_some() || self.tls.is_some()
    }
}

/// The address of its own, else the one that the other voters know.
fn listener(config: &BrokerConfig) -> Option<Address> {
    if let Some(listener) = &config.ensemble_listener {
        return Some(Address {
            host: listener.host.clone(),
            port: listener.port,
        });
    }
    let mut voters = config.ensemble_voters.iter();
    let own = voters.find(|voter| voter.node == config.node_id)?;
    Some(Address {
        host: own.host.clone(),
        port: own.port,
    })
}

fn secret(config: &BrokerConfig) -> Result<Option<Secret>, LinkError> {
    match (&config.ensemble_secret, &config.ensemble_secret_file) {
        (Some(_), Some(_)) => Err(LinkError::TwoSecrets),
        (Some(secret), None) => Ok(Some(Secret::new(secret.text().as_bytes()))),
        (None, Some(path)) => read_secret(path).map(Some),
        (None, None) => Ok(None),
    }
}

fn read_secret(path: &Path) -> Result<Secret, LinkError> {
    let failed = |why: String| LinkError::SecretFile {
        path: path.to_owned(),
        why,
    };
    let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    // Editors end a file with a line break.
    match text.trim() {
        "" => Err(failed("it is empty".to_owned())),
        secret => Ok(Secret::new(secret.as_bytes())),
    }
}

fn tls(config: &BrokerConfig) -> Result<Option<Tls>, LinkError> {
    let files = (
        &config.ensemble_tls_ca_file,
        &config.ensemble_tls_certificate_file,
        &config.ensemble_tls_key_file,
    );
    match files {
        (None, None, None) => Ok(None),
        (Some(ca), Some(certificate), Some(key)) => Ok(Some(Tls::load(&TlsFiles {
            ca: ca.clone(),
            certificate: certificate.clone(),
            key: key.clone(),
        })?)),
        _ => Err(LinkError::TlsInPart),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Origin;

    fn options(set: &[(&str, &str)]) -> Result<LinkOptions, String> {
        let mut config = BrokerConfig::default();
        for (name, value) in set {
            config.set_static(name, value, Origin::File).unwrap();
        }
        LinkOptions::of(&config).map_err(|error| error.to_string())
    }

    #[test]
    fn a_voter_listens_where_the_others_look_for_it_unless_told_otherwise() {
        let listens = |set: &[(&str, &str)]| {
            let listener = options(set).unwrap().listener;
            listener.map(|address| address.to_string())
        };
        let voters = ("ensemble.voters", "1@one:9093,2@[::1]:9094");
        assert_eq!(listens(&[]), None);
        assert_eq!(listens(&[voters]).unwrap(), "one:9093");
        assert_eq!(listens(&[voters, ("node.id", "2")]).unwrap(), "[::1]:9094");
        assert_eq!(listens(&[voters, ("node.id", "3")]), None);
        let own = ("ensemble.listener", "0.0.0.0:19093");
        assert_eq!(listens(&[voters, own]).unwrap(), "0.0.0.0:19093");
    }

    #[test]
    fn a_secret_comes_from_one_place_and_is_not_shown() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("secret");
        let file = path.to_str().unwrap();
        std::fs::write(&path, "\n").unwrap();
        let refused = options(&[("ensemble.secret.file", file)]).unwrap_err();
        assert!(refused.ends_with("it is empty"), "{refused}");
        std::fs::write(&path, "swordfish\n").unwrap();
        assert!(
            options(&[("ensemble.secret.file", file)])
                .unwrap()
                .is_secured()
        );
        let inline = ("ensemble.secret", "swordfish");
        let told = format!("{:?}", options(&[inline]).unwrap());
        assert!(
            told.contains("Secret") && !told.contains("swordfish"),
            "{told}"
        );
        assert!(options(&[inline, ("ensemble.secret.file", file)]).is_err());
        assert!(!options(&[]).unwrap().is_secured());
    }

    #[test]
    fn tls_needs_all_its_files() {
        let refused = options(&[("ensemble.tls.ca.file", "/nowhere")]).unwrap_err();
        assert!(refused.contains("together"), "{refused}");
        let refused = options(&[
            ("ensemble.tls.ca.file", "/nowhere/ca"),
            ("ensemble.tls.certificate.file", "/nowhere/cert"),
            ("ensemble.tls.key.file", "/nowhere/key"),
        ])
        .unwrap_err();
        assert!(refused.contains("/nowhere/ca"), "{refused}");
    }
}
