//! An ensemble of one: every phase, without anybody to talk to.

use bytes::Bytes;

use super::*;
use crate::state_machine::Tick;
use crate::types::{NodeId, Zxid};

fn voters() -> Voters {
    Voters::of([NodeId(1)])
}

fn peer(recovered: Recovered) -> Peer {
    Peer::new(PeerOptions::new(NodeId(1), voters()), recovered).unwrap()
}

/// One line of a transcript: the phase, what is to be written, what is delivered.
fn line(peer: &Peer, ready: &Ready) -> String {
    assert!(ready.send.is_empty(), "there is nobody to send to");
    let writes = ready.persist.as_ref().map_or(&[][..], |p| &p.writes);
    let writes = writes.iter().map(|write| match write {
        Write::AcceptedEpoch(epoch) => format!("acceptedEpoch={epoch}"),
        Write::CurrentEpoch(epoch) => format!("currentEpoch={epoch}"),
        Write::Truncate(_) | Write::Install(_) => panic!("nothing is cut here"),
        Write::Append(proposals) => format!("append {}", names(proposals)),
    });
    let writes = writes.collect::<Vec<_>>().join(", ");
    format!(
        "{:?} | write: {writes} | apply: {}",
        peer.phase(),
        names(&ready.apply)
    )
}

/// Takes what is ready, makes it durable, and so on until nothing is left to do.
fn settle(peer: &mut Peer) -> Vec<String> {
    let mut transcript = Vec::new();
    loop {
        let ready = peer.ready();
        transcript.push(line(peer, &ready));
        match ready.persist {
            Some(persist) => peer.step(Input::Durable(persist.receipt), Tick(0)),
            None => return transcript,
        }
    }
}

fn lead(recovered: Recovered) -> Peer {
    let mut peer = peer(recovered);
    peer.step(Input::Start, Tick(0));
    settle(&mut peer);
    assert!(peer.is_leading());
    peer
}

#[test]
fn a_new_peer_goes_through_the_phases() {
    let mut peer = peer(Recovered::default());
    assert_eq!(peer.phase(), Phase::Election);
    assert_eq!(peer.propose(Bytes::new()), Err(NotLeading));
    peer.step(Input::Start, Tick(0));
    assert_eq!(
        settle(&mut peer),
        [
            "Discovery | write: acceptedEpoch=1 | apply: ",
            "Synchronization | write: currentEpoch=1 | apply: ",
            "Broadcast | write:  | apply: ",
        ]
    );
}

#[test]
fn the_history_on_disk_is_delivered_by_the_next_leadership_and_not_before() {
    let mut peer = peer(Recovered {
        accepted_epoch: 3,
        current_epoch: 2,
        snapshot: Zxid::new(1, 7),
        voters: None,
        proposals: vec![proposal(1, 8), proposal(2, 1)],
    });
    peer.step(Input::Start, Tick(0));
    assert_eq!(
        settle(&mut peer),
        [
            "Discovery | write: acceptedEpoch=4 | apply: ",
            "Synchronization | write: currentEpoch=4 | apply: ",
            "Broadcast | write:  | apply: 1.8 2.1",
        ]
    );
    assert_eq!(peer.propose(Bytes::new()), Ok(Zxid::new(4, 1)));
}

#[test]
fn proposals_are_delivered_when_they_are_durable() {
    let mut peer = lead(Recovered::default());
    peer.propose(Bytes::from("a")).unwrap();
    let first = peer.ready();
    assert_eq!(
        line(&peer, &first),
        "Broadcast | write: append 1.1 | apply: "
    );
    // While the first is being written, two more come: they share the next write.
    peer.propose(Bytes::from("b")).unwrap();
    peer.propose(Bytes::from("c")).unwrap();
    assert_eq!(peer.delivered(), Zxid::ZERO);
    let second = peer.ready();
    assert_eq!(
        line(&peer, &second),
        "Broadcast | write: append 1.2 1.3 | apply: "
    );

    peer.step(Input::Durable(first.persist.unwrap().receipt), Tick(0));
    let ready = peer.ready();
    assert_eq!(line(&peer, &ready), "Broadcast | write:  | apply: 1.1");
    peer.step(Input::Durable(second.persist.unwrap().receipt), Tick(0));
    let ready = peer.ready();
    assert_eq!(line(&peer, &ready), "Broadcast | write:  | apply: 1.2 1.3");
    assert_eq!(peer.delivered(), peer.last_zxid());
}

#[test]
fn a_receipt_speaks_for_everything_before_it() {
    let mut peer = lead(Recovered::default());
    peer.propose(Bytes::new()).unwrap();
    let _first = peer.ready();
    peer.propose(Bytes::new()).unwrap();
    let second = peer.ready();
    peer.step(Input::Durable(second.persist.unwrap().receipt), Tick(0));
    assert_eq!(names(&peer.ready().apply), "1.1 1.2");
}

#[test]
fn a_full_counter_forces_an_election_and_loses_nothing() {
    let mut options = PeerOptions::new(NodeId(1), voters());
    options.settings.last_counter = 2;
    let mut peer = Peer::new(options, Recovered::default()).unwrap();
    peer.step(Input::Start, Tick(0));
    settle(&mut peer);
    // ZOOKEEPER-1277 let the counter run into the epoch.
    peer.propose(Bytes::from("x")).unwrap();
    assert_eq!(peer.propose(Bytes::from("y")), Ok(Zxid::new(1, 2)));
    let writing = peer.ready();
    assert_eq!(peer.propose(Bytes::from("z")), Err(NotLeading));
    assert_eq!(peer.phase(), Phase::Discovery);
    let discovery = peer.ready();
    assert_eq!(
        line(&peer, &discovery),
        "Discovery | write: acceptedEpoch=2 | apply: "
    );
    // What the old epoch had on the way is not delivered by its late ACK but by the new epoch.
    peer.step(Input::Durable(writing.persist.unwrap().receipt), Tick(0));
    assert_eq!(names(&peer.ready().apply), "");
    peer.step(Input::Durable(discovery.persist.unwrap().receipt), Tick(0));
    assert_eq!(
        settle(&mut peer),
        [
            "Synchronization | write: currentEpoch=2 | apply: ",
            "Broadcast | write:  | apply: 1.1 1.2",
        ]
    );
    assert_eq!(peer.propose(Bytes::from("z")), Ok(Zxid::new(2, 1)));
}

#[test]
fn each_leadership_has_an_epoch_of_its_own() {
    for epoch in 0..3 {
        let peer = lead(Recovered {
            accepted_epoch: epoch,
            current_epoch: epoch,
            ..Recovered::default()
        });
        assert_eq!(peer.current_epoch(), epoch + 1);
    }
    // A crash between the two epoch files: the accepted epoch is never used again.
    let peer = lead(Recovered {
        accepted_epoch: 9,
        current_epoch: 3,
        ..Recovered::default()
    });
    assert_eq!(peer.current_epoch(), 10);
}
