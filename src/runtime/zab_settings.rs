//! What the options say to the ensemble's machine: its times and limits, and who votes in the beginning.

use crate::config::BrokerConfig;
use crate::runtime::zab_peer::OpenLimits;
use crate::types::NodeId;
use crate::zab::{Settings, Voter, Voters};

pub fn settings(config: &BrokerConfig) -> Settings {
    let ms = |option: i32| u64::try_from(option).unwrap_or(0);
    Settings {
        election_settle_ms: ms(config.ensemble_election_settle_ms),
        ping_interval_ms: ms(config.ensemble_ping_interval_ms),
        timeout_ms: ms(config.ensemble_timeout_ms),
        sync_timeout_ms: ms(config.ensemble_sync_timeout_ms),
        session_timeout_ms: ms(config.broker_session_timeout_ms),
        history_bytes: usize::try_from(config.ensemble_history_bytes).unwrap_or(0),
        ..Settings::default()
    }
}

pub fn open_limits(config: &BrokerConfig) -> OpenLimits {
    let limit = |option: i32| usize::try_from(option).unwrap_or(0);
    OpenLimits {
        requests: limit(config.ensemble_open_requests),
        request_bytes: limit(config.ensemble_request_max_bytes),
    }
}

/// Those of `ensemble.voters`, else this server alone. Once there is a history, that knows them better.
pub fn voters(config: &BrokerConfig) -> Voters {
    if config.ensemble_voters.is_empty() {
        return Voters::of([NodeId(config.node_id)]);
    }
    let voters = config.ensemble_voters.iter();
    Voters::new(voters.map(|voter| {
        let place = Voter::at(voter.host.clone(), voter.port);
        (NodeId(voter.node), place)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Origin;

    #[test]
    fn the_options_begin_with_the_machines_own_defaults() {
        assert_eq!(settings(&BrokerConfig::default()), Settings::default());
        assert_eq!(open_limits(&BrokerConfig::default()), OpenLimits::default());
    }

    #[test]
    fn every_option_is_the_one_it_says() {
        let mut config = BrokerConfig::default();
        let set = [
            "ensemble.election.settle.ms",
            "ensemble.ping.interval.ms",
            "ensemble.timeout.ms",
            "ensemble.sync.timeout.ms",
            "broker.session.timeout.ms",
            "ensemble.history.bytes",
            "ensemble.open.requests",
        ];
        for (number, name) in (101..).zip(set) {
            config
                .set_static(name, &number.to_string(), Origin::File)
                .unwrap();
        }
        let expected = Settings {
            election_settle_ms: 101,
            ping_interval_ms: 102,
            timeout_ms: 103,
            sync_timeout_ms: 104,
            session_timeout_ms: 105,
            history_bytes: 106,
            ..Settings::default()
        };
        assert_eq!(settings(&config), expected);
        config
            .set_static("ensemble.request.max.bytes", "1048576", Origin::File)
            .unwrap();
        let expected = OpenLimits {
            requests: 107,
            request_bytes: 1 << 20,
        };
        assert_eq!(open_limits(&config), expected);
    }

    #[test]
    fn a_server_that_knows_of_no_others_votes_alone() {
        let mut config = BrokerConfig::default();
        assert_eq!(voters(&config), Voters::of([NodeId(1)]));
        config
            .set_static("ensemble.voters", "1@one:9093,2@two:9094", Origin::File)
            .unwrap();
        let two = [(1, "one", 9093), (2, "two", 9094)];
        let two = two.map(|(node, host, port)| (NodeId(node), Voter::at(host, port)));
        assert_eq!(voters(&config), Voters::new(two));
    }
}
