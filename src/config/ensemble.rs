//! The ensemble's own types of values: who votes, where a server is reached, and what must not be shown.

use std::path::PathBuf;

use super::value::{ConfigType, OptionValue, Refusal, distinct, trim};

/// One of `ensemble.voters`: `id@host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnsembleVoter {
    pub node: i32,
    pub host: String,
    pub port: u16,
}

impl OptionValue for Vec<EnsembleVoter> {
    const TYPE: ConfigType = ConfigType::List;
    fn parse(text: &str) -> Result<Self, Refusal> {
        let mut voters: Vec<EnsembleVoter> = Vec::new();
        for item in distinct(text)? {
            let malformed = || Refusal::Text(format!("{item} is not of the form id@host:port"));
            let (node, address) = item.split_once('@').ok_or_else(malformed)?;
            let node: i32 = trim(node).parse().map_err(|_| malformed())?;
            let HostPort { host, port } = HostPort::of(address).ok_or_else(malformed)?;
            if node < 0 || host.is_empty() || port == 0 {
                return Err(malformed());
            }
            if voters.iter().any(|known| known.node == node) {
                return Err(Refusal::Text(format!("node {node} is named twice")));
            }
            voters.push(EnsembleVoter { node, host, port });
        }
        Ok(voters)
    }
    fn show(&self) -> Option<String> {
        let voters = self.iter().map(|EnsembleVoter { node, host, port }| {
            let (host, port) = (host.clone(), *port);
            format!("{node}@{}", HostPort { host, port })
        });
        Some(voters.collect::<Vec<_>>().join(","))
    }
}

/// `host:port`; an empty host is every address of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    pub host: String,
    pub port: u16,
}

impl HostPort {
    fn of(text: &str) -> Option<Self> {
        let (host, port) = trim(text).rsplit_once(':')?;
        let host = match host.strip_prefix('[') {
            Some(bracketed) => bracketed.strip_suffix(']')?,
            None if host.contains(':') => return None,
            None => host,
        };
        Some(Self {
            host: host.to_owned(),
            port: port.parse().ok()?,
        })
    }
}

impl std::fmt::Display for HostPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let HostPort { host, port } = self;
        if host.contains(':') {
            write!(f, "[{host}]:{port}")
        } else {
            write!(f, "{host}:{port}")
        }
    }
}

impl OptionValue for HostPort {
    const TYPE: ConfigType = ConfigType::String;
    fn parse(text: &str) -> Result<Self, Refusal> {
        let malformed = || Refusal::Text(format!("{text} is not of the form host:port"));
        HostPort::of(text).ok_or_else(malformed)
    }
    fn show(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl OptionValue for PathBuf {
    const TYPE: ConfigType = ConfigType::String;
    fn parse(text: &str) -> Result<Self, Refusal> {
        Ok(PathBuf::from(trim(text)))
    }
    fn show(&self) -> Option<String> {
        Some(self.display().to_string())
    }
}

/// A secret. Neither logs nor replies show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[hidden]")
    }
}

impl OptionValue for Password {
    const TYPE: ConfigType = ConfigType::Password;
    fn parse(text: &str) -> Result<Self, Refusal> {
        Ok(Self(trim(text).to_owned()))
    }
    fn show(&self) -> Option<String> {
        Some("[hidden]".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn voters_are_written_as_they_are_read() {
        let text = "1@one:9093,2@[::1]:9094,30@10.0.0.3:1";
        let voters = Vec::<EnsembleVoter>::parse(text).unwrap();
        assert_eq!(voters.show().unwrap(), text);
        assert_eq!((voters[1].node, voters[1].host.as_str()), (2, "::1"));
        for bad in [
            "one:9093",
            "1@one",
            "1@one:x",
            "1@:9093",
            "1@one:0",
            "-1@one:9093",
            "1@one:9093,1@two:9093",
            "1@one:9093,,2@two:9093",
            "1@::1:9093",
            "1@[::1:9093",
        ] {
            assert!(Vec::<EnsembleVoter>::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(HostPort::parse(":0").unwrap().show().unwrap(), ":0");
    }

    #[test]
    fn a_password_is_not_shown() {
        let password = Password::parse("swordfish").unwrap();
        assert_eq!(password.show().unwrap(), "[hidden]");
        assert_eq!(format!("{password:?}"), "[hidden]");
        assert_eq!(password.text(), "swordfish");
    }
}
