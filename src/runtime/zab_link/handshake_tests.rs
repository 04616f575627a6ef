use super::*;
use crate::zab::Voter;

fn terms(node: i32, to: i32) -> Terms {
    Terms {
        own: Opening {
            hello: Hello {
                version: PROTOCOL_VERSION,
                cluster_id: Some("cluster".to_owned()),
                node: NodeId(node),
                directory: Uuid::from_u128(node as u128),
                is_voter: node < 10,
                incarnation: Uuid::from_u128(100 + node as u128),
            },
            to: NodeId(to),
            ended: LinkId(node as u64),
            nonce: [node as u8; NONCE_LEN],
        },
        voters: Voters::of([1, 2].map(NodeId)),
        secret: Some(Secret::new(b"swordfish")),
    }
}

/// How far two servers get, and why not further.
#[derive(Debug, PartialEq)]
enum Outcome {
    /// What each side knows of the other, and the number that came in the proof.
    Link(Opening, Opening, Option<LinkId>),
    AcceptorRefuses(Refusal),
    DialerRefuses(Refusal),
    ProofRefused(Refusal),
}

/// `tamper` sees every frame on its way.
fn shake(dialer: &Terms, acceptor: &Terms, mut tamper: impl FnMut(&mut Vec<u8>)) -> Outcome {
    let (dialing, mut opening) = Dialer::new(dialer.clone());
    tamper(&mut opening);
    let of_dialer = match Acceptor::peek(&opening, acceptor) {
        Ok(theirs) => theirs,
        Err(refusal) => return Outcome::AcceptorRefuses(refusal),
    };
    let (accepting, mut answer) = Acceptor::new(&opening, acceptor);
    tamper(&mut answer);
    let introduced = match dialing.on_answer(&answer) {
        Ok(introduced) => introduced,
        Err(refusal) => return Outcome::DialerRefuses(refusal),
    };
    let mut proof = introduced.next.frame(LinkId(77));
    tamper(&mut proof);
    match accepting.on_proof(&proof) {
        Ok(link) => Outcome::Link(of_dialer, introduced.theirs, link),
        Err(refusal) => Outcome::ProofRefused(refusal),
    }
}

#[test]
fn both_sides_learn_who_the_other_is() {
    let (one, two) = (terms(1, 2), terms(2, 1));
    let link = Outcome::Link(one.own.clone(), two.own.clone(), Some(LinkId(77)));
    assert_eq!(shake(&one, &two, |_| {}), link);
    // The same without a secret, and with a server that does not know its cluster yet.
    let without = |mut terms: Terms| {
        terms.secret = None;
        terms.own.hello.cluster_id = None;
        terms
    };
    let (one, mut two) = (without(terms(1, 2)), without(terms(12, 1)));
    two.own.hello.cluster_id = Some("cluster".to_owned());
    let mut to_two = one.clone();
    to_two.own.to = NodeId(12);
    let link = Outcome::Link(to_two.own.clone(), two.own.clone(), Some(LinkId(77)));
    assert_eq!(shake(&to_two, &two, |_| {}), link);
    assert_eq!(
        read_welcome(&welcome_frame(LinkId(5))),
        Ok(LinkId(5)),
        "the other way to number a link"
    );
    assert!(read_welcome(&welcome_frame(LinkId(0))).is_err());
}

#[test]
fn who_does_not_belong_together_hears_why() {
    let changed = |node, to, change: fn(&mut Terms)| {
        let mut terms = terms(node, to);
        change(&mut terms);
        terms
    };
    let two = terms(2, 1);
    let refused = |dialer: &Terms| match shake(dialer, &two, |_| {}) {
        Outcome::AcceptorRefuses(refusal) => refusal,
        other => panic!("{other:?}"),
    };
    let other_version = changed(1, 2, |terms| terms.own.hello.version = 9);
    let version = admission::Refusal::Version {
        node: NodeId(1),
        version: 9,
    };
    assert_eq!(refused(&other_version), version.into());
    let own_id = admission::Refusal::SameNode(NodeId(2));
    assert_eq!(refused(&terms(2, 2)), own_id.into());
    let wrong = Refusal::WrongNode {
        wanted: NodeId(3),
        found: NodeId(2),
    };
    assert_eq!(refused(&terms(1, 3)), wrong);
    let of_other_cluster = changed(1, 2, |terms| {
        terms.own.hello.cluster_id = Some("another".to_owned());
    });
    let refusal = refused(&of_other_cluster);
    let reason = "node 1 belongs to the cluster another, this node to cluster";
    assert!(refusal.to_string().starts_with(reason), "{refusal}");
    let wiped = changed(1, 2, |terms| {
        terms.own.hello.directory = Uuid::from_u128(99)
    });
    let mut recorded = terms(2, 1);
    let voter = Voter::at("one", 1).with_directory(Uuid::from_u128(1));
    recorded.voters = recorded.voters.with(NodeId(1), voter);
    assert!(matches!(
        shake(&terms(1, 2), &recorded, |_| {}),
        Outcome::Link(..)
    ));
    match shake(&wiped, &recorded, |_| {}) {
        Outcome::AcceptorRefuses(refusal) => assert_eq!(refusal.label(), "directory"),
        other => panic!("{other:?}"),
    }
    let without_secret = changed(1, 2, |terms| terms.secret = None);
    let on_one_side = Refusal::SecretOnOneSide { ours: true };
    assert_eq!(refused(&without_secret), on_one_side);

    // The dialer reads it.
    let (dialer, _) = Dialer::new(terms(1, 2));
    let told = dialer.on_answer(&refusal.frame(NodeId(2))).unwrap_err();
    assert_eq!(told.to_string(), format!("it refused: node 2: {refusal}"));
    assert!(!told.is_duplicate());
    let crossed = read_welcome(&Refusal::Duplicate.frame(NodeId(2))).unwrap_err();
    assert!(crossed.is_duplicate());

    // Somebody else answers.
    let wrong = Refusal::WrongNode {
        wanted: NodeId(2),
        found: NodeId(3),
    };
    let (dialer, _) = Dialer::new(terms(1, 2));
    let (_, answer) = Acceptor::new(&[], &terms(3, 1));
    assert_eq!(dialer.on_answer(&answer).unwrap_err(), wrong);
}

#[test]
fn who_does_not_know_the_secret_gets_nowhere_on_either_side() {
    let mut impostor = terms(2, 1);
    impostor.secret = Some(Secret::new(b"marlin"));
    let outcome = shake(&terms(1, 2), &impostor, |_| {});
    assert_eq!(outcome, Outcome::DialerRefuses(Refusal::Secret));

    // A dialer that takes any answer cannot prove itself, with any proof it can have seen.
    let two = terms(2, 1);
    let (mut guess, opening) = Dialer::new(terms(1, 2));
    guess.terms.secret = None;
    let (accepting, answer) = Acceptor::new(&opening, &two);
    let proof = answer[answer.len() - PROOF_LEN..].try_into().unwrap();
    for proof in [proof, [0; PROOF_LEN]] {
        let frame = Proven { proof }.frame(LinkId(1));
        let accepting = Acceptor {
            secret: accepting.secret.clone(),
            transcript: accepting.transcript.clone(),
        };
        assert_eq!(accepting.on_proof(&frame), Err(Refusal::Secret));
    }
}

#[test]
fn an_old_conversation_cannot_be_played_again() {
    let (one, mut two) = (terms(1, 2), terms(2, 1));
    let (_, opening) = Dialer::new(one.clone());
    let (_, answer) = Acceptor::new(&opening, &two);
    let (dialing, _) = Dialer::new(one);
    let proof = dialing.on_answer(&answer).unwrap().next.frame(LinkId(1));
    two.own.nonce = [9; NONCE_LEN];
    let (accepting, _) = Acceptor::new(&opening, &two);
    assert_eq!(accepting.on_proof(&proof), Err(Refusal::Secret));
}

#[test]
fn whatever_is_changed_on_the_way_is_noticed() {
    let (one, two) = (terms(1, 2), terms(2, 1));
    let mut lens = Vec::new();
    shake(&one, &two, |frame| lens.push(frame.len()));
    let last = lens.len() - 1;
    for (at, len) in lens.into_iter().enumerate() {
        // The link's number, which is for its ends to tell their links apart, is not proven.
        let len = if at == last { len - 8 } else { len };
        for position in 0..len {
            for change in [1, 0x80] {
                let mut frames = 0;
                let outcome = shake(&one, &two, |frame| {
                    if frames == at {
                        frame[position] ^= change;
                    }
                    frames += 1;
                });
                let linked = matches!(outcome, Outcome::Link(..));
                assert!(!linked, "frame {at}, byte {position}");
            }
        }
    }
}

#[test]
fn a_frame_that_is_cut_short_is_refused() {
    let (one, two) = (terms(1, 2), terms(2, 1));
    for frame in 0..3 {
        for len in 0..40 {
            let mut frames = 0;
            let outcome = shake(&one, &two, |bytes| {
                if frames == frame {
                    bytes.truncate(len);
                }
                frames += 1;
            });
            assert!(!matches!(outcome, Outcome::Link(..)), "frame {frame}");
        }
    }
}

proptest::proptest! {
    #[test]
    fn garbage_is_refused_and_no_more(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300), tag in 0u8..7) {
        let frame = [&[tag][..], &bytes].concat();
        let two = terms(2, 1);
        assert!(Acceptor::peek(&bytes, &two).is_err());
        assert!(Acceptor::peek(&frame, &two).is_err());
        assert!(Dialer::new(terms(1, 2)).0.on_answer(&frame).is_err());
        assert!(Acceptor::new(&frame, &two).0.on_proof(&frame).is_err());
        if let Err(refusal) = read_welcome(&frame) {
            // It goes to a log.
            assert!(!refusal.to_string().contains('\n'));
            assert!(refusal.to_string().len() < 6000);
        }
    }
}
