//! Real sockets on the loopback. Nothing waits for time to pass: every step waits for what it needs.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use uuid::Uuid;

use super::handshake::{Dialer, Secret};
use super::outbound::Limits;
use super::tls::{Tls, TlsFiles};
use super::*;
use crate::types::Zxid;
use crate::zab::{PROTOCOL_VERSION, Proposal, Voter};

/// Far more than anything here takes: what does not come is a failure.
const PATIENCE: Duration = Duration::from_secs(30);
const MESSAGE_BYTES: usize = 1 << 20;
const QUEUE_BYTES: usize = 4 << 20;

struct Server {
    link: ZabLink,
    events: mpsc::Receiver<LinkEvent>,
    node: NodeId,
    metrics: Arc<Metrics>,
}

fn hello(node: i32, incarnation: u128) -> Hello {
    Hello {
        version: PROTOCOL_VERSION,
        cluster_id: Some("cluster".to_owned()),
        node: NodeId(node),
        directory: Uuid::from_u128(node as u128),
        is_voter: true,
        incarnation: Uuid::from_u128(incarnation),
    }
}

fn options() -> LinkOptions {
    LinkOptions {
        listener: Some(Address {
            host: "localhost".to_owned(),
            port: 0,
        }),
        secret: Some(Secret::new(b"swordfish")),
        tls: None,
        limits: Limits {
            message_bytes: MESSAGE_BYTES,
            queue_bytes: QUEUE_BYTES,
        },
        silence: PATIENCE,
    }
}

fn message(counter: u32) -> Message {
    Message::Commit(Zxid::new(1, counter))
}

fn large(counter: u32, len: usize) -> Message {
    let payload = Bytes::from(vec![counter as u8; len]);
    Message::Propose(Proposal::data(Zxid::new(1, counter), payload))
}

impl Server {
    async fn start(node: i32) -> Self {
        Self::with(hello(node, 1), options()).await
    }

    async fn with(hello: Hello, options: LinkOptions) -> Self {
        Self::knowing(hello, options, Voters::default()).await
    }

    async fn knowing(hello: Hello, options: LinkOptions, voters: Voters) -> Self {
        let (sender, events) = mpsc::channel(64);
        let metrics = Arc::new(Metrics::new([]).unwrap());
        let node = hello.node;
        let identity = Identity { hello, voters };
        let link = ZabLink::start(options, identity, sender, Arc::clone(&metrics));
        Self {
            link: link.await.unwrap(),
            events,
            node,
            metrics,
        }
    }

    fn address(&self) -> Address {
        Address {
            host: "localhost".to_owned(),
            port: self.link.address().unwrap().port(),
        }
    }

    fn dial(&self, others: &[&Server]) {
        let targets = others.iter().map(|other| (other.node, other.address()));
        self.link.dial(targets.collect());
    }

    async fn event(&mut self) -> LinkEvent {
        let event = timeout(PATIENCE, self.events.recv()).await;
        event.expect("nothing came").expect("the link has stopped")
    }

    /// What is not about refused connections.
    async fn next(&mut self) -> LinkEvent {
        let next = async {
            loop {
                match self.event().await {
                    LinkEvent::Refused { .. } => {}
                    other => return other,
                }
            }
        };
        timeout(PATIENCE, next).await.expect("it was only refused")
    }

    async fn connected(&mut self, to: i32) -> Outbound {
        match self.next().await {
            LinkEvent::Connected { hello, outbound } => {
                assert_eq!((hello.node, outbound.node()), (NodeId(to), NodeId(to)));
                outbound
            }
            other => panic!("{other:?}"),
        }
    }

    async fn disconnected(&mut self, from: i32) {
        match self.next().await {
            LinkEvent::Disconnected { node } => assert_eq!(node, NodeId(from)),
            other => panic!("{other:?}"),
        }
    }

    async fn received(&mut self) -> Message {
        match self.next().await {
            LinkEvent::Message { message, .. } => message,
            other => panic!("{other:?}"),
        }
    }

    async fn refused(&mut self) -> String {
        match self.event().await {
            LinkEvent::Refused { reason, .. } => reason,
            other => panic!("{other:?}"),
        }
    }

    /// Up to a reason that says this.
    async fn refused_for(&mut self, what: &str) {
        let told = async { while !self.refused().await.contains(what) {} };
        timeout(PATIENCE, told).await.expect("another reason");
    }
}

/// Neither hears more of the other than one link.
async fn linked(a: &mut Server, b: &mut Server) -> (Outbound, Outbound) {
    let to_b = a.connected(b.node.0).await;
    let to_a = b.connected(a.node.0).await;
    assert_eq!(to_a.link(), to_b.link());
    (to_b, to_a)
}

#[tokio::test]
async fn whoever_dials_messages_go_both_ways_in_order() {
    for (from, to) in [(1, 2), (2, 1)] {
        let (mut dialer, mut acceptor) = (Server::start(from).await, Server::start(to).await);
        dialer.dial(&[&acceptor]);
        let (to_acceptor, to_dialer) = linked(&mut dialer, &mut acceptor).await;
        for counter in 0..500 {
            to_acceptor.send(&message(counter));
            to_dialer.send(&large(counter, counter as usize * 10));
            if counter % 50 == 49 {
                for counter in counter - 49..=counter {
                    assert_eq!(acceptor.received().await, message(counter));
                    let expected = large(counter, counter as usize * 10);
                    assert_eq!(dialer.received().await, expected);
                }
            }
        }
        dialer.link.close().await;
        acceptor.disconnected(from).await;
        acceptor.link.close().await;
        assert_eq!(to_acceptor.waiting() + to_dialer.waiting(), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_cross_end_as_one_link() {
    for round in 0..40 {
        let (mut one, mut two) = (Server::start(1).await, Server::start(2).await);
        if round % 2 == 0 {
            one.dial(&[&two]);
            two.dial(&[&one]);
        } else {
            two.dial(&[&one]);
            one.dial(&[&two]);
        }
        let (to_two, to_one) = linked(&mut one, &mut two).await;
        // And it stays: what goes over it arrives, and nothing else is heard.
        for counter in 0..20 {
            to_two.send(&message(counter));
            to_one.send(&message(counter));
            assert_eq!(two.received().await, message(counter));
            assert_eq!(one.received().await, message(counter));
        }
        for server in [&one, &two] {
            let text = server.metrics.render();
            assert!(text.contains("dohle_zab_links 1"), "{text}");
            assert!(!text.contains("dohle_zab_links_closed_total{"), "{text}");
        }
        one.link.close().await;
        two.link.close().await;
    }
}

#[tokio::test]
async fn a_server_that_comes_back_is_linked_again_and_nothing_old_comes_with_it() {
    let mut one = Server::start(1).await;
    let mut two = Server::start(2).await;
    let address = two.address();
    one.dial(&[&two]);
    let (to_two, to_one) = linked(&mut one, &mut two).await;
    to_one.send(&message(1));
    assert_eq!(one.received().await, message(1));
    to_two.send(&message(2));
    two.link.close().await;
    one.disconnected(2).await;
    // Meant for the link that is over.
    to_two.send(&message(3));

    let mut options = options();
    options.listener = Some(address);
    let mut two = Server::with(hello(2, 2), options).await;
    let (to_two, _) = linked(&mut one, &mut two).await;
    to_two.send(&message(4));
    assert_eq!(two.received().await, message(4));
}

#[tokio::test]
async fn a_driver_that_ends_a_link_gets_another_and_order_holds_across_it() {
    let (mut one, mut two) = (Server::start(1).await, Server::start(2).await);
    one.dial(&[&two]);
    two.dial(&[&one]);
    let (mut to_two, mut to_one) = linked(&mut one, &mut two).await;
    for round in 0..20 {
        for counter in 0..30 {
            to_two.send(&message(round * 100 + counter));
        }
        if round % 2 == 0 {
            to_two.close("it is a test");
        } else {
            to_one.close("it is a test");
        }
        one.disconnected(2).await;
        to_two = one.connected(2).await;
        to_two.send(&message(round * 100 + 99));
        // Some first part of what was sent, the end, and then what came over the next link.
        let mut expected = round * 100;
        loop {
            match two.next().await {
                LinkEvent::Message { message: found, .. } => {
                    assert_eq!(found, message(expected));
                    expected += 1;
                }
                LinkEvent::Disconnected { .. } => break,
                other => panic!("{other:?}"),
            }
        }
        to_one = two.connected(1).await;
        assert_eq!(two.received().await, message(round * 100 + 99));
        assert_eq!(to_one.link(), to_two.link());
    }
}

#[tokio::test]
async fn a_link_of_which_one_side_knows_that_it_is_dead_is_replaced() {
    // The first `two` is cut off without a word: a relay in between stops relaying.
    let mut one = Server::start(1).await;
    let mut two = Server::start(2).await;
    let relay = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let relayed = Address {
        host: "127.0.0.1".to_owned(),
        port: relay.local_addr().unwrap().port(),
    };
    let target = two.address();
    let (cut, mut is_cut) = tokio::sync::oneshot::channel::<()>();
    tokio::spawn(async move {
        let (mut a, _) = relay.accept().await.unwrap();
        let mut b = TcpStream::connect(("127.0.0.1", target.port))
            .await
            .unwrap();
        tokio::select! {
            _ = tokio::io::copy_bidirectional(&mut a, &mut b) => {}
            _ = &mut is_cut => {
                // The dialer's half is closed, and the acceptor hears nothing of it.
                drop(a);
                std::future::pending::<()>().await;
                drop(b);
            }
        }
    });
    one.link.dial([(NodeId(2), relayed)].into());
    let (before, _) = linked(&mut one, &mut two).await;
    cut.send(()).unwrap();
    one.disconnected(2).await;
    one.dial(&[&two]);
    let after = one.connected(2).await;
    two.disconnected(1).await;
    let to_one = two.connected(1).await;
    assert_eq!(to_one.link(), after.link());
    assert_ne!(before.link(), after.link());
}

#[tokio::test]
async fn who_does_not_belong_is_refused_on_both_sides_with_the_reason() {
    let secret = |text: Option<&str>| LinkOptions {
        secret: text.map(|text| Secret::new(text.as_bytes())),
        ..options()
    };
    let stranger = Hello {
        cluster_id: Some("another".to_owned()),
        ..hello(1, 1)
    };
    let newer = Hello {
        version: PROTOCOL_VERSION + 1,
        ..hello(1, 1)
    };
    let cases = [
        (hello(1, 1), secret(Some("marlin")), "the secret"),
        (hello(1, 1), secret(None), "ensemble.secret is set"),
        (stranger, options(), "belongs to the cluster"),
        (newer, options(), "version"),
        (hello(2, 1), options(), "own id"),
    ];
    for (who, options, what) in cases {
        let mut stranger = Server::with(who, options).await;
        let mut two = Server::start(2).await;
        // It looks for a node that is not itself.
        let looked_for = if stranger.node == NodeId(2) { 3 } else { 2 };
        stranger
            .link
            .dial([(NodeId(looked_for), two.address())].into());
        stranger.refused_for(what).await;
        two.dial(&[&stranger]);
        if stranger.node != NodeId(2) {
            two.refused_for(what).await;
        }
        assert!(two.metrics.render().contains("dohle_zab_links 0"));
    }
}

#[tokio::test]
async fn a_voter_with_another_disk_is_refused_until_the_configuration_has_it() {
    let mut one = Server::start(1).await;
    let voter = |directory| Voter::at("one", 1).with_directory(Uuid::from_u128(directory));
    let recorded = Voters::new([(NodeId(1), voter(77))]);
    let mut two = Server::knowing(hello(2, 1), options(), recorded).await;
    one.dial(&[&two]);
    one.refused_for("it refused: node 2: voter 1 comes with the data directory")
        .await;
    two.refused_for("voter 1 comes").await;
    one.link.dial(BTreeMap::new());
    two.dial(&[&one]);
    two.refused_for("voter 1 comes").await;
    let three = Server::start(3).await;
    three.dial(&[&two]);
    two.connected(3).await;
    two.link.set_identity(Identity {
        hello: hello(2, 1),
        voters: Voters::new([(NodeId(1), voter(1))]),
    });
    two.connected(1).await;
    one.connected(2).await;
}

/// Sends and waits for the end, which must come.
async fn thrown_out(server: &Server, bytes: &[u8]) -> Vec<u8> {
    let address = server.link.address().unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    // It may be closed in the middle.
    let _ = stream.write_all(bytes).await;
    let mut said = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut said))
        .await
        .unwrap();
    said
}

#[tokio::test]
async fn garbage_is_thrown_out() {
    let mut server = Server::start(1).await;
    let cases: [(&[u8], &str); 5] = [
        (b"GET / HTTP/1.1\r\n\r\n", "a frame of"),
        (&[0, 0, 0, 0], "an empty frame"),
        (&[0xff; 64], "a frame of 4294967295 bytes"),
        (&[0x16, 0x03, 0x01, 0x02, 0, 1], "what came is TLS"),
        (&[0, 0, 0, 4, 1, 2, 3, 4], "not understood"),
    ];
    for (bytes, what) in cases {
        thrown_out(&server, bytes).await;
        let reason = server.refused().await;
        assert!(reason.contains(what), "{reason}");
    }
    // It still lets in who belongs.
    let mut two = Server::start(2).await;
    two.dial(&[&server]);
    linked(&mut two, &mut server).await;
}

/// A dialer that is made by hand: it can do what the real one never does.
async fn by_hand(server: &Server, who: Hello) -> (Stream, LinkId) {
    let terms = Terms {
        own: Opening {
            hello: who,
            to: server.node,
            ended: LinkId::default(),
            nonce: rand::random(),
        },
        voters: Voters::default(),
        secret: options().secret,
    };
    let tcp = TcpStream::connect(server.link.address().unwrap())
        .await
        .unwrap();
    let mut stream = connection::stream(tcp);
    let (dialer, opening) = Dialer::new(terms);
    connection::write_short(&mut stream, &opening)
        .await
        .unwrap();
    let answer = connection::read_short(&mut stream).await.unwrap();
    let proven = dialer.on_answer(&answer).unwrap().next;
    let link = LinkId(7);
    connection::write_short(&mut stream, &proven.frame(link))
        .await
        .unwrap();
    (stream, link)
}

#[tokio::test]
async fn a_member_that_talks_nonsense_loses_its_link() {
    let nonsense: [(&[u8], &str); 3] = [
        (&(MESSAGE_BYTES as u32 + 1).to_be_bytes(), "malformed"),
        (&[0, 0, 0, 3, 0xff, 0xff, 0xff], "malformed"),
        (&[], "by the other"),
    ];
    let mut server = Server::start(1).await;
    for (bytes, label) in nonsense {
        let (mut stream, link) = by_hand(&server, hello(2, 1)).await;
        assert_eq!(server.connected(2).await.link(), link);
        stream.write_all(bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        server.disconnected(2).await;
        let closed = format!("dohle_zab_links_closed_total{{reason=\"{label}\"}}");
        let text = server.metrics.render();
        assert!(text.contains(&closed), "{closed}\n{text}");
    }
}

#[tokio::test]
async fn a_server_that_does_not_read_costs_a_bounded_queue_and_then_its_link() {
    let mut server = Server::start(1).await;
    let (_stream, _) = by_hand(&server, hello(2, 1)).await;
    let outbound = server.connected(2).await;
    let mut sent = 0;
    let mut most = 0;
    // The kernel takes some of it.
    while sent < 1000 && server.events.is_empty() {
        outbound.send(&large(sent, MESSAGE_BYTES / 2));
        most = most.max(outbound.waiting());
        sent += 1;
        tokio::task::yield_now().await;
    }
    server.disconnected(2).await;
    assert!(most <= QUEUE_BYTES, "{most}");
    assert_eq!(outbound.waiting(), 0);
    let text = server.metrics.render();
    assert!(
        text.contains("dohle_zab_links_closed_total{reason=\"queue full\"} 1"),
        "{text}"
    );
}

#[tokio::test]
async fn a_server_that_takes_nothing_for_too_long_loses_its_link() {
    let silence = Duration::from_millis(200);
    let options = LinkOptions {
        silence,
        ..options()
    };
    let mut server = Server::with(hello(1, 1), options).await;
    let (_stream, _) = by_hand(&server, hello(2, 1)).await;
    let outbound = server.connected(2).await;
    // More than the kernel takes, less than the queue.
    while server.events.is_empty() {
        if outbound.waiting() < QUEUE_BYTES / 2 {
            outbound.send(&large(1, MESSAGE_BYTES / 2));
        }
        tokio::task::yield_now().await;
    }
    server.disconnected(2).await;
    let text = server.metrics.render();
    // The kernel may be the one that notices.
    let noticed = ["stalled", "io"].map(|reason| format!("closed_total{{reason=\"{reason}\"}} 1"));
    assert!(noticed.iter().any(|line| text.contains(line)), "{text}");
}

#[tokio::test]
async fn a_driver_that_is_slow_stops_the_reading_and_loses_nothing() {
    let (mut one, mut two) = (Server::start(1).await, Server::start(2).await);
    one.dial(&[&two]);
    let (to_two, _) = linked(&mut one, &mut two).await;
    let mut kept = Vec::new();
    let len = MESSAGE_BYTES / 2;
    let mut sent = 0;
    // `two` takes messages out of its queue, and holds on to their room: no more than the room comes.
    while kept.len() < QUEUE_BYTES / len - 1 {
        while sent < 40 && to_two.waiting() < QUEUE_BYTES - MESSAGE_BYTES {
            to_two.send(&large(sent, len));
            sent += 1;
        }
        match two.event().await {
            LinkEvent::Message { message, room, .. } => kept.push((message, room)),
            other => panic!("{other:?}"),
        }
    }
    // A message is a little longer than its payload.
    for _ in 0..2000 {
        tokio::task::yield_now().await;
        assert!(two.events.is_empty());
    }
    let mut counter = kept.len() as u32;
    drop(kept);
    while counter < 40 {
        while sent < 40 && to_two.waiting() < QUEUE_BYTES - MESSAGE_BYTES {
            to_two.send(&large(sent, len));
            sent += 1;
        }
        assert_eq!(two.received().await, large(counter, len));
        counter += 1;
    }
}

#[tokio::test]
async fn without_a_secret_only_this_machine_is_listened_to() {
    let open = |host: &str| LinkOptions {
        listener: Some(Address {
            host: host.to_owned(),
            port: 0,
        }),
        secret: None,
        ..options()
    };
    let (sender, _events) = mpsc::channel::<LinkEvent>(1);
    for host in ["0.0.0.0", "", "::"] {
        let metrics = Arc::new(Metrics::new([]).unwrap());
        let identity = Identity {
            hello: hello(1, 1),
            voters: Voters::default(),
        };
        let started = ZabLink::start(open(host), identity, sender.clone(), metrics);
        let refused = started.await.unwrap_err().to_string();
        assert!(refused.contains("anybody could join"), "{refused}");
    }
    let mut one = Server::with(hello(1, 1), open("localhost")).await;
    let mut two = Server::with(hello(2, 1), open("127.0.0.1")).await;
    one.dial(&[&two]);
    linked(&mut one, &mut two).await;
}

/// An authority, and certificates of it for these names.
struct Authority {
    dir: tempfile::TempDir,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut params = rcgen::CertificateParams::new([]).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        let ca = params.self_signed(&key).unwrap();
        std::fs::write(dir.path().join("ca"), ca.pem()).unwrap();
        let issuer = rcgen::Issuer::new(params, key);
        Self { dir, issuer }
    }

    fn files(&self, host: &str) -> TlsFiles {
        let params = rcgen::CertificateParams::new([host.to_owned()]).unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let path = |what: &str| self.dir.path().join(what);
        let name = Uuid::new_v4().to_string();
        std::fs::write(path(&name), certificate.pem()).unwrap();
        std::fs::write(path(&format!("{name}.key")), key.serialize_pem()).unwrap();
        TlsFiles {
            ca: path("ca"),
            certificate: path(&name),
            key: path(&format!("{name}.key")),
        }
    }

    fn options(&self, host: &str) -> LinkOptions {
        LinkOptions {
            secret: None,
            tls: Some(Tls::load(&self.files(host)).unwrap()),
            ..options()
        }
    }
}

#[tokio::test]
async fn tls_links_who_has_a_certificate_of_the_authority_for_its_host() {
    let authority = Authority::new();
    let mut one = Server::with(hello(1, 1), authority.options("localhost")).await;
    let mut two = Server::with(hello(2, 1), authority.options("localhost")).await;
    one.dial(&[&two]);
    two.dial(&[&one]);
    let (to_two, to_one) = linked(&mut one, &mut two).await;
    for counter in 0..8 {
        to_two.send(&large(counter, MESSAGE_BYTES / 2));
        to_one.send(&message(counter));
        assert_eq!(two.received().await, large(counter, MESSAGE_BYTES / 2));
        assert_eq!(one.received().await, message(counter));
    }
    // Of the same authority, for another host.
    let elsewhere = Server::with(hello(3, 1), authority.options("elsewhere")).await;
    one.dial(&[&elsewhere]);
    one.refused_for("TLS: ").await;
    // Of another authority.
    let mut stranger = Server::with(hello(4, 1), Authority::new().options("localhost")).await;
    stranger.dial(&[&one]);
    stranger.refused_for("TLS: ").await;
    // Of another authority, and it trusts the right one.
    let other = Authority::new();
    let mut files = other.files("localhost");
    files.ca = authority.dir.path().join("ca");
    let impostor = LinkOptions {
        secret: None,
        tls: Some(Tls::load(&files).unwrap()),
        ..options()
    };
    let impostor = Server::with(hello(6, 1), impostor).await;
    one.link.dial(BTreeMap::new());
    while let Ok(old) = one.events.try_recv() {
        assert!(matches!(old, LinkEvent::Refused { .. }));
    }
    impostor.dial(&[&one]);
    one.refused_for("TLS: ").await;
    // And one that does not speak it.
    let mut plain = Server::start(5).await;
    plain.dial(&[&one]);
    plain.refused().await;
    thrown_out(&one, b"hello, is this the ensemble?").await;
    assert!(one.metrics.render().contains("dohle_zab_links 1"));
}
