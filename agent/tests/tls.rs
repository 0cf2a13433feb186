//! TLS and mTLS on both sides: what is accepted, what is refused and how that is said, what rotation does.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::get;
use fuseboard_agent::Agent;
use fuseboard_agent::grpc::GrpcClient;
use fuseboard_agent::tls::{ClientTls, Peer, ServerTls};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tonic::{Code, Status};

use crate::collector::{Collector, soon};
use crate::pki::{Ca, Files, Leaf, Life, put};
use crate::rig::{Charger, agent, charge};

const TICK: Duration = Duration::from_millis(20);

async fn secured(agent: &Agent, tls: &ServerTls) -> Charger {
    Charger::start_tls(agent, tls, |_, _| Box::pin(async { Ok(()) })).await
}

fn payments(agent: &Agent, tls: &ClientTls, address: SocketAddr) -> GrpcClient {
    agent.with_tls(tls).unwrap().grpc_client("payments", [format!("https://{address}")]).unwrap()
}

async fn refused(agent: &Agent, tls: &ClientTls, address: SocketAddr) -> Status {
    soon("the refusal", charge(&payments(agent, tls, address))).await.unwrap_err()
}

/// Body text that a log record holds.
fn said(log: &opentelemetry_proto::tonic::logs::v1::LogRecord) -> String {
    format!("{:?}", log.body)
}

#[tokio::test]
async fn a_call_goes_over_tls_with_http_2() {
    let (collector, ca) = (Collector::start().await, Ca::new());
    let orders = agent("orders", &collector, "").await;
    let charger = secured(&orders, &ca.server()).await;
    charge(&payments(&orders, &ca.client(), charger.address)).await.unwrap();
    // The name to ask for may be another than the one that is dialled.
    let named = secured(&orders, &ca.issue(&["payments.internal"], Life::Long).server()).await;
    charge(&payments(&orders, &ca.client().server_name("payments.internal"), named.address)).await.unwrap();
    assert_eq!((charger.calls(), named.calls()), (1, 1));
}

#[tokio::test]
async fn what_is_wrong_with_a_server_is_said() {
    let (collector, ca) = (Collector::start().await, Ca::new());
    let orders = agent("orders", &collector, "").await;
    let good = secured(&orders, &ca.server()).await;
    let named = secured(&orders, &ca.issue(&["elsewhere"], Life::Long).server()).await;
    let plain = Charger::start(&orders, |_, _| Box::pin(async { Ok(()) })).await;
    let bare = Arc::new(ca.issue(&["127.0.0.1"], Life::Over).bare());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let expired = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            let _ = tokio_rustls::TlsAcceptor::from(bare.clone()).accept(tcp).await;
        }
    });
    for (address, client, says) in [
        (good.address, Ca::new().client(), "add its CA to the roots"),
        (named.address, ca.client(), "set the server name"),
        (expired, ca.client(), "the other side must renew it"),
        (plain.address, ca.client(), "speaks no TLS"),
    ] {
        let status = refused(&orders, &client, address).await;
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        assert!(status.message().contains(says), "{says}: {status:?}");
    }
    assert_eq!((good.calls(), named.calls(), plain.calls()), (0, 0, 0));
}

#[tokio::test]
async fn a_server_may_ask_who_calls() {
    let (collector, ca) = (Collector::start().await, Ca::new());
    let orders = agent("orders", &collector, "").await;
    let own = Files::new(&ca.issue(&["spiffe://shop/orders", "orders"], Life::Long));
    let strict = secured(&orders, &ca.server().require_clients_of(ca.pem())).await;
    charge(&payments(&orders, &ca.client().identity(own.chain(), own.key()), strict.address)).await.unwrap();
    // Nobody, and somebody whom another CA knows.
    let nobody = refused(&orders, &ca.client(), strict.address).await;
    assert_eq!(nobody.code(), Code::Unavailable);
    let stranger = Files::new(&Ca::new().issue(&["orders"], Life::Long));
    refused(&orders, &ca.client().identity(stranger.chain(), stranger.key()), strict.address).await;
    assert_eq!(strict.calls(), 1);
    collector
        .logs("both refusals", |logs| logs.iter().filter(|l| said(l).contains("no TLS connection")).count() >= 2)
        .await;
    collector
        .logs("why", |logs| logs.iter().any(|log| said(log).contains("the caller must present a certificate")))
        .await;
}

#[tokio::test]
async fn handlers_see_who_calls() {
    let (collector, ca) = (Collector::start().await, Ca::new());
    let orders = agent("orders", &collector, "").await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().route(
        "/whoami",
        get(|ConnectInfo(peer): ConnectInfo<Peer>| async move {
            let certificate = peer.certificate();
            certificate.map_or("nobody", |c| c.name().unwrap_or_default()).to_owned()
        }),
    );
    let incoming = orders.http_tls_listener(listener, &ca.server().accept_clients_of(ca.pem())).unwrap();
    tokio::spawn(axum::serve(incoming, router.into_make_service_with_connect_info::<Peer>()).into_future());
    let own = Files::new(&ca.issue(&["orders.shop", "spiffe://shop/orders"], Life::Long));
    let shown = ca.client().identity(own.chain(), own.key());
    for (tls, name) in [(shown, "spiffe://shop/orders"), (ca.client(), "nobody")] {
        let connector = orders.with_tls(&tls).unwrap().connector(Duration::from_secs(5));
        let client = Client::builder(TokioExecutor::new()).build::<_, Empty<bytes::Bytes>>(connector);
        let answer = client.get(format!("https://{address}/whoami").parse().unwrap()).await.unwrap();
        assert_eq!(answer.version(), axum::http::Version::HTTP_2);
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), name);
    }
}

#[tokio::test]
async fn a_caller_that_speaks_plain_is_told_so() {
    let (collector, ca) = (Collector::start().await, Ca::new());
    let orders = agent("orders", &collector, "").await;
    let charger = secured(&orders, &ca.server()).await;
    let mut tcp = TcpStream::connect(charger.address).await.unwrap();
    tcp.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    soon("the answer", tcp.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("https://"), "{answer}");

    let plain = orders.grpc_client("payments", [charger.address.to_string()]).unwrap();
    let status = soon("the refusal", charge(&plain)).await.unwrap_err();
    assert_ne!(status.code(), Code::Ok);
    collector
        .logs("both", |logs| logs.iter().filter(|l| said(l).contains("the caller speaks no TLS")).count() >= 2)
        .await;
}

#[tokio::test]
async fn handshakes_that_hang_harm_nobody() {
    let (collector, ca) = (Collector::start().await, Ca::new());
    let orders = agent("orders", &collector, "").await;
    // Nothing of these ends by itself within the test.
    let crowded = secured(&orders, &ca.server().handshakes(4).handshake_limit(Duration::from_secs(3600))).await;
    let mut silent = Vec::new();
    for _ in 0..12 {
        silent.push(TcpStream::connect(crowded.address).await.unwrap());
    }
    soon("a call", charge(&payments(&orders, &ca.client(), crowded.address))).await.unwrap();
    // The first ones were hung up on.
    let end = soon("the end", silent[0].read(&mut [0; 1])).await;
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");

    let short = secured(&orders, &ca.server().handshake_limit(Duration::from_millis(50))).await;
    let mut silent = TcpStream::connect(short.address).await.unwrap();
    // Half of a handshake.
    silent.write_all(&[0x16, 3, 1, 2, 0, 1]).await.unwrap();
    let end = soon("the end", silent.read(&mut [0; 1])).await;
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    collector.logs("the limit", |logs| logs.iter().any(|log| said(log).contains("it took longer than"))).await;
}

/// The certificate that a server shows to a handle of an agent.
async fn presented(address: SocketAddr, agent: &Agent) -> Vec<u8> {
    use tower::Service as _;
    let mut connector = agent.connector(Duration::from_secs(5));
    match connector.call(format!("https://{address}").parse().unwrap()).await.unwrap() {
        hyper_rustls::MaybeHttpsStream::Https(tls) => tls.inner().get_ref().1.peer_certificates().unwrap()[0].to_vec(),
        hyper_rustls::MaybeHttpsStream::Http(_) => panic!("not over TLS"),
    }
}

fn der(leaf: &Leaf) -> Vec<u8> {
    use rustls_pki_types::pem::PemObject as _;
    rustls_pki_types::CertificateDer::from_pem_slice(leaf.chain.as_bytes()).unwrap().to_vec()
}

#[tokio::test]
async fn a_rotated_certificate_is_taken_and_no_call_fails() {
    let (collector, ca) = (Collector::start().await, Ca::new());
    let orders = agent("orders", &collector, "").await;
    let files = Files::new(&ca.issue(&["127.0.0.1"], Life::Long));
    let tls = ServerTls::new(files.chain(), files.key()).require_clients_of(ca.pem()).check_every(TICK);
    let charger = secured(&orders, &tls).await;
    let own = Files::new(&ca.issue(&["orders"], Life::Long));
    let client = ca.client().identity(own.chain(), own.key()).check_every(TICK);
    let handle = orders.with_tls(&client).unwrap();

    let (stop, made) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let load = tokio::spawn({
        let (stop, made, address) = (stop.clone(), made.clone(), format!("https://{}", charger.address));
        async move {
            let kept = handle.grpc_client("payments", &address).unwrap();
            while !stop.load(Ordering::SeqCst) {
                // One on a connection that is there, one on a new one.
                charge(&kept).await.unwrap();
                charge(&handle.grpc_client("payments", &address).unwrap()).await.unwrap();
                made.fetch_add(2, Ordering::SeqCst);
            }
        }
    });
    let shows = ca.client().identity(own.chain(), own.key());
    for _ in 0..3 {
        let (next, before) = (ca.issue(&["127.0.0.1"], Life::Long), made.load(Ordering::SeqCst));
        files.replace(&next);
        own.replace(&ca.issue(&["orders"], Life::Long));
        soon("the new certificate is shown, calls go on", async {
            let connector = orders.with_tls(&shows).unwrap();
            while presented(charger.address, &connector).await != der(&next) || made.load(Ordering::SeqCst) < before + 4
            {
                tokio::time::sleep(TICK).await;
            }
        })
        .await;
    }
    stop.store(true, Ordering::SeqCst);
    load.await.unwrap();
}

#[tokio::test]
async fn broken_new_files_leave_the_old_ones_in_force_and_are_told() {
    let (collector, ca) = (Collector::start().await, Ca::new());
    let orders = agent("orders", &collector, "").await;
    let first = ca.issue(&["127.0.0.1"], Life::Long);
    let files = Files::new(&first);
    let charger = secured(&orders, &ServerTls::new(files.chain(), files.key()).check_every(TICK)).await;
    for (broken, says) in [
        (Leaf { chain: "nonsense".to_owned(), ..first.clone() }, "holds no certificate"),
        (Leaf { chain: first.chain.clone(), ..ca.issue(&["127.0.0.1"], Life::Long) }, "belongs to another certificate"),
        (ca.issue(&["127.0.0.1"], Life::Over), "is valid from"),
    ] {
        files.replace(&broken);
        collector
            .logs(says, |logs| logs.iter().any(|log| said(log).contains(says) && said(log).contains("tls.")))
            .await;
        assert!(presented(charger.address, &orders.with_tls(&ca.client()).unwrap()).await == der(&first));
    }
    std::fs::remove_file(files.chain()).unwrap();
    collector.logs("a missing file", |logs| logs.iter().any(|log| said(log).contains("cannot be read"))).await;
    let next = ca.issue(&["127.0.0.1"], Life::Long);
    files.replace(&next);
    // After the complaint: on the way from one broken pair to the next, certificate and key fit for a moment, and that is said.
    let read_again = |logs: &[opentelemetry_proto::tonic::logs::v1::LogRecord]| {
        let last = |text: &str| logs.iter().rposition(|log| said(log).contains(text));
        last("were read again") > last("cannot be read")
    };
    collector.logs("good ones", read_again).await;
    assert!(presented(charger.address, &orders.with_tls(&ca.client()).unwrap()).await == der(&next));
}

#[tokio::test]
async fn the_end_of_the_own_certificate_is_seen_before_it_comes() {
    let (collector, ca) = (Collector::start().await, Ca::new());
    let orders = agent("orders", &collector, "").await;
    let files = Files::new(&ca.issue(&["127.0.0.1"], Life::NearlyOver));
    put(&files.key(), &std::fs::read_to_string(files.key()).unwrap());
    let _charger = secured(&orders, &ServerTls::new(files.chain(), files.key())).await;
    collector.logs("the warning", |logs| logs.iter().any(|log| said(log).contains("ends very soon"))).await;
    orders.flush().await;
    collector.metrics("what is left", |names| names.iter().any(|name| name == "tls.certificate.expires_in")).await;
}

#[tokio::test]
async fn what_cannot_work_is_refused_by_name() {
    let (collector, ca) = (Collector::start().await, Ca::new());
    let orders = agent("orders", &collector, "").await;
    let (one, other) = (ca.issue(&["a"], Life::Long), ca.issue(&["a"], Life::Long));
    let mixed = Files::new(&Leaf { chain: one.chain.clone(), key: other.key });
    let over = Files::new(&ca.issue(&["a"], Life::Over));
    let swapped = Files::new(&Leaf { chain: one.key.clone(), key: one.chain });
    let refused = |tls: ClientTls| orders.with_tls(&tls).unwrap_err().to_string();
    for (text, says) in [
        (refused(ClientTls::default().roots("/no/such/ca.pem")), "/no/such/ca.pem cannot be read"),
        (refused(ca.client().identity(mixed.chain(), mixed.key())), "belongs to another certificate"),
        (refused(ca.client().identity(over.chain(), over.key())), "renew it"),
        (refused(ca.client().identity(swapped.chain(), swapped.key())), "holds no certificate"),
        (refused(ca.client().server_name("not a name")), "`not a name` is not a server name"),
    ] {
        assert!(text.contains(says), "{says}: {text}");
        assert!(!text.contains("PRIVATE KEY-"), "{text}");
    }
    let file = mixed.key().display().to_string();
    assert!(refused(ca.client().identity(mixed.chain(), mixed.key())).contains(&file));
}
