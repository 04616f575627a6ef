//! Where clients connect: `listeners`, and the protocol that each of their names stands for.

use super::value::{ConfigType, OptionValue, Refusal, distinct, items, trim};

/// An address that clients or this broker use: `PLAINTEXT://host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// In capitals, as Kafka folds it.
    pub name: String,
    /// Empty: every address of the machine.
    pub host: String,
    pub port: u16,
}

impl std::fmt::Display for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Listener { name, host, port } = self;
        if host.contains(':') {
            write!(f, "{name}://[{host}]:{port}")
        } else {
            write!(f, "{name}://{host}:{port}")
        }
    }
}

impl OptionValue for Vec<Listener> {
    const TYPE: ConfigType = ConfigType::List;
    fn parse(text: &str) -> Result<Self, Refusal> {
        let mut listeners: Vec<Listener> = Vec::new();
        for item in distinct(text)? {
            let malformed = || Refusal::Text(format!("{item} is not of the form NAME://host:port"));
            let (name, address) = item.split_once("://").ok_or_else(malformed)?;
            let (host, port) = address.rsplit_once(':').ok_or_else(malformed)?;
            let host = host.trim_start_matches('[').trim_end_matches(']');
            let listener = Listener {
                name: name.to_ascii_uppercase(),
                host: host.to_owned(),
                port: port.parse().map_err(|_| malformed())?,
            };
            if listeners.iter().any(|known| known.name == listener.name) {
                let name = listener.name;
                return Err(Refusal::Text(format!(
                    "the listener name {name} comes twice"
                )));
            }
            listeners.push(listener);
        }
        Ok(listeners)
    }
    fn show(&self) -> Option<String> {
        let all: Vec<String> = self.iter().map(Listener::to_string).collect();
        Some(all.join(","))
    }
}

/// What is spoken on a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecurityProtocol {
    Plaintext,
    Ssl,
    SaslPlaintext,
    SaslSsl,
}

impl SecurityProtocol {
    const ALL: [(SecurityProtocol, &str); 4] = [
        (SecurityProtocol::Plaintext, "PLAINTEXT"),
        (SecurityProtocol::Ssl, "SSL"),
        (SecurityProtocol::SaslPlaintext, "SASL_PLAINTEXT"),
        (SecurityProtocol::SaslSsl, "SASL_SSL"),
    ];

    pub fn name(self) -> &'static str {
        let mut all = Self::ALL.iter();
        all.find(|(protocol, _)| *protocol == self)
            .map_or("", |(_, name)| name)
    }

    fn named(name: &str) -> Option<Self> {
        let mut all = Self::ALL.iter();
        all.find(|(_, known)| known.eq_ignore_ascii_case(name))
            .map(|(protocol, _)| *protocol)
    }
}

/// `listener.security.protocol.map`, in the order written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProtocolMap(Vec<(String, SecurityProtocol)>);

impl ProtocolMap {
    /// What the listener of this name (in capitals) speaks.
    pub fn get(&self, listener: &str) -> Option<SecurityProtocol> {
        let mut pairs = self.0.iter();
        pairs
            .find(|(name, _)| name == listener)
            .map(|(_, protocol)| *protocol)
    }
}

impl OptionValue for ProtocolMap {
    const TYPE: ConfigType = ConfigType::String;
    fn parse(text: &str) -> Result<Self, Refusal> {
        let pairs = items(text).into_iter().map(|pair| {
            let malformed = || Refusal::Text(format!("{pair} is not of the form NAME:PROTOCOL"));
            let (name, protocol) = pair.rsplit_once(':').ok_or_else(malformed)?;
            let protocol = SecurityProtocol::named(trim(protocol)).ok_or_else(|| {
                let known = SecurityProtocol::ALL.map(|(_, name)| name).join(", ");
                Refusal::Text(format!("{protocol} is none of {known}"))
            })?;
            Ok((trim(name).to_ascii_uppercase(), protocol))
        });
        Ok(Self(pairs.collect::<Result<_, _>>()?))
    }
    fn show(&self) -> Option<String> {
        let pairs = self.0.iter();
        let pairs: Vec<String> = pairs
            .map(|(name, protocol)| format!("{name}:{}", protocol.name()))
            .collect();
        Some(pairs.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_written_as_they_are_read() {
        let text = "PLAINTEXT://localhost:9092,INSIDE://[::1]:0,ANY://:9093";
        let listeners = Vec::<Listener>::parse(text).unwrap();
        assert_eq!(listeners.show().unwrap(), text);
        assert_eq!(listeners[1].host, "::1");
        for bad in [
            "localhost:9092",
            "A://b",
            "A://b:x",
            "A://b:1,a://c:2",
            "A://b:70000",
        ] {
            assert!(Vec::<Listener>::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_listener_name_stands_for_a_protocol() {
        let map = ProtocolMap::parse("inside:PLAINTEXT, SSL:ssl").unwrap();
        assert_eq!(map.get("INSIDE"), Some(SecurityProtocol::Plaintext));
        assert_eq!(map.get("SSL"), Some(SecurityProtocol::Ssl));
        assert_eq!(map.get("OUTSIDE"), None);
        assert_eq!(map.show().unwrap(), "INSIDE:PLAINTEXT,SSL:SSL");
        for bad in ["PLAINTEXT", "A:TLS", "A:SSL,"] {
            assert!(ProtocolMap::parse(bad).is_err(), "{bad}");
        }
    }
}
