//! Doors with TLS: who is let in, who is told what, and that nobody who hangs harms the others.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fuseboard_collector::{Auth, Collector, Config, DoorName, DoorTls, Handle, Limits, StartError};
use fuseboard_tls::pki::{Authority, DAY, Order};
use fuseboard_tls::{Alpn, ClientTls, Dialer};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::common::{SERVER, command, encoded, request, span};

/// Nothing that works takes so long.
const PATIENCE: Duration = Duration::from_secs(20);

/// A CA in a directory, with a certificate for the collector and one for the service `orders`.
struct Pki {
    directory: tempfile::TempDir,
    ca: Authority,
}

impl Pki {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        // Two with one name would be told apart by their signatures alone.
        let name = format!("test ca of {}", directory.path().display());
        let (ca, _) = Authority::init(directory.path(), &name, DAY * 30).expect("a CA");
        let server = Order::new("collector").serving("127.0.0.1").serving("localhost");
        ca.issue(&server, directory.path()).expect("issued");
        ca.issue(&Order::new("orders").service("orders"), directory.path()).expect("issued");
        Self { directory, ca }
    }

    /// A caller with a certificate whose time is over, `over.pem`.
    fn over(&self) -> Arc<rustls::ClientConfig> {
        let key = std::fs::read_to_string(self.file("ca.key")).expect("a key");
        let issuer = Issuer::from_ca_cert_pem(self.ca.pem(), KeyPair::from_pem(&key).expect("a key")).expect("a CA");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        (params.not_before, params.not_after) = (date_time_ymd(2001, 1, 1), date_time_ymd(2002, 1, 1));
        let key = KeyPair::generate().expect("a key");
        let leaf = params.signed_by(&key, &issuer).expect("signed");
        std::fs::write(self.file("over.pem"), leaf.pem()).expect("written");
        std::fs::write(self.file("over.key"), key.serialize_pem()).expect("written");
        let mut roots = rustls::RootCertStore::empty();
        let ca = CertificateDer::from_pem_slice(self.ca.pem().as_bytes()).expect("a certificate");
        roots.add(ca).expect("a CA");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.expect("versions").with_root_certificates(roots);
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        Arc::new(config.with_client_auth_cert(vec![leaf.der().clone()], key).expect("a pair"))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn doors(&self) -> DoorTls {
        let check_every = Duration::from_millis(20);
        DoorTls { check_every, ..DoorTls::new(self.file("collector.pem"), self.file("collector.key")) }
    }

    /// Doors that want a certificate of this CA.
    fn mutual(&self) -> DoorTls {
        let require = vec![DoorName::OtlpGrpc, DoorName::OtlpHttp, DoorName::Control];
        DoorTls { client_cas: vec![self.file("ca.pem")], require, ..self.doors() }
    }

    /// Trusts this CA.
    fn client(&self) -> ClientTls {
        ClientTls::default().roots(self.file("ca.pem"))
    }

    /// Shows a certificate of `of` as well.
    fn showing(&self, of: &Self, name: &str) -> ClientTls {
        self.client().identity(of.file(&format!("{name}.pem")), of.file(&format!("{name}.key")))
    }
}

struct Secure {
    handle: Handle,
    directory: tempfile::TempDir,
}

impl Secure {
    async fn start(tls: DoorTls, limits: Limits) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let mut config = Config::new(directory.path().join("data.fuseboard")).on_free_ports();
        (config.tls, config.limits) = (Some(tls), limits);
        Self { handle: Collector::start(config).await.expect("starts"), directory }
    }

    fn otlp(&self) -> SocketAddr {
        self.handle.addresses().otlp_http.expect("listens")
    }

    async fn stop(self) {
        self.handle.shutdown().await;
        drop(self.directory);
    }
}

/// Sends a span; the status, or every cause why there is none.
async fn send(to: SocketAddr, tls: &ClientTls, alpn: Alpn) -> Result<u16, String> {
    let connector = Dialer::new(tls).map_err(|e| e.to_string())?.connector(alpn, PATIENCE);
    let client = Client::builder(TokioExecutor::new()).http2_only(alpn == Alpn::H2).build(connector);
    let body = encoded(&request("orders", vec![span(1, 1, 0, SERVER, "GET /cart")]));
    let sent = http::Request::post(format!("https://{to}/v1/traces")).header("content-type", "application/x-protobuf");
    let sent = sent.body(Full::new(Bytes::from(body))).expect("a request");
    match client.request(sent).await {
        Ok(reply) => {
            let status = reply.status().as_u16();
            reply.into_body().collect().await.map_err(|e| e.to_string())?;
            Ok(status)
        }
        Err(e) => Err(causes(&e)),
    }
}

/// What a caller that is refused for its certificate is told. With TLS 1.3 that comes after the handshake, where a pool of
/// connections may lose it.
async fn told(to: SocketAddr, tls: &ClientTls) -> String {
    let tcp = TcpStream::connect(to).await.expect("connects");
    match Dialer::new(tls).expect("usable").secure("localhost", Alpn::Http1, tcp).await {
        Err(refused) => refused.to_string(),
        Ok(mut connection) => connection.read(&mut [0; 16]).await.expect_err("refused").to_string(),
    }
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(&format!(": {cause}"));
        next = cause.source();
    }
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_door_speaks_tls_and_only_tls() {
    let pki = Pki::new();
    let stage = Secure::start(pki.doors(), Limits::default()).await;
    for alpn in [Alpn::Http1, Alpn::H2, Alpn::None] {
        assert_eq!(send(stage.otlp(), &pki.client(), alpn).await, Ok(200), "{alpn:?}");
    }
    let addresses = stage.handle.addresses();
    let local = |address: Option<SocketAddr>| address.expect("listens");
    let uri = format!("https://{}", local(addresses.otlp_grpc)).parse().expect("a URI");
    let (endpoint, connector) = Dialer::new(&pki.client()).expect("usable").grpc(uri, PATIENCE);
    let channel = endpoint.connect_with_connector(connector).await.expect("connects");
    let spans = request("shop", vec![span(2, 1, 0, SERVER, "GET /cart")]);
    TraceServiceClient::new(channel).export(spans).await.expect("accepted");
    for address in [addresses.otlp_http, Some(addresses.control), addresses.metrics] {
        let plain = reqwest::get(format!("http://{}/", local(address))).await.expect("an answer");
        assert_eq!(plain.status(), 400);
        assert!(plain.text().await.expect("text").contains("this port speaks TLS"));
    }
    let stranger = send(stage.otlp(), &Pki::new().client(), Alpn::Http1).await.expect_err("not trusted");
    assert!(stranger.contains("add its CA to the roots"), "{stranger}");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_another_site_is_not_let_in_over_tls_either() {
    let pki = Pki::new();
    let stage = Secure::start(pki.doors(), Limits::default()).await;
    let control = stage.handle.addresses().control;
    let connector = Dialer::new(&pki.client()).expect("usable").connector(Alpn::Http1, PATIENCE);
    let client = Client::builder(TokioExecutor::new()).build::<_, Full<Bytes>>(connector);
    for (origin, foreign) in [(format!("https://{control}"), false), ("https://evil.example".to_owned(), true)] {
        let asked = http::Request::get(format!("https://{control}/v1/stats")).header("origin", &origin);
        let reply = client.request(asked.body(Full::default()).expect("a request")).await.expect("a reply");
        assert_eq!(reply.status() == 400, foreign, "{origin}: {}", reply.status());
    }
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_without_the_right_certificate_are_refused_by_name() {
    let (pki, other) = (Pki::new(), Pki::new());
    let stage = Secure::start(pki.mutual(), Limits::default()).await;
    assert_eq!(send(stage.otlp(), &pki.showing(&pki, "orders"), Alpn::Http1).await, Ok(200));
    let missing = told(stage.otlp(), &pki.client()).await;
    assert!(missing.contains("CertificateRequired"), "{missing}");
    let foreign = told(stage.otlp(), &pki.showing(&other, "orders")).await;
    assert!(foreign.contains("UnknownCA"), "{foreign}");
    // Who is over is told so before it dials, and by the collector when it dials all the same.
    let over = pki.over();
    let own = Dialer::new(&pki.client().identity(pki.file("over.pem"), pki.file("over.key"))).expect_err("over");
    assert!(own.to_string().contains("renew it"), "{own}");
    let tcp = TcpStream::connect(stage.otlp()).await.expect("connects");
    let name = "localhost".try_into().expect("a name");
    let mut tls = tokio_rustls::TlsConnector::from(over).connect(name, tcp).await.expect("TLS 1.3 tells it later");
    let told = tls.read(&mut [0; 16]).await.expect_err("refused").to_string();
    assert!(told.contains("CertificateExpired"), "{told}");
    // A server's certificate makes nobody an agent.
    let server = send(stage.otlp(), &pki.showing(&pki, "collector"), Alpn::Http1).await;
    assert!(server.is_err(), "{server:?}");
    // The metrics may be read without one.
    let metrics = stage.handle.addresses().metrics.expect("listens");
    let dialer = Dialer::new(&pki.client()).expect("usable");
    let tcp = TcpStream::connect(metrics).await.expect("connects");
    dialer.secure("localhost", Alpn::Http1, tcp).await.expect("a handshake");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_files_serve_the_next_connection_and_broken_ones_change_nothing() {
    let pki = Pki::new();
    let stage = Secure::start(pki.doors(), Limits::default()).await;
    let shown = async || {
        let tcp = TcpStream::connect(stage.otlp()).await.expect("connects");
        let tls =
            Dialer::new(&pki.client()).expect("usable").secure("localhost", Alpn::Http1, tcp).await.expect("good");
        tls.get_ref().1.peer_certificates().expect("a chain")[0].to_vec()
    };
    let before = shown().await;
    std::fs::write(pki.file("collector.key"), "nonsense").expect("written");
    assert_eq!(shown().await, before, "the last good pair");
    pki.ca.renew("collector", None, pki.directory.path()).expect("renewed");
    let renewed = async {
        while shown().await == before {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, renewed).await.expect("the new certificate is shown");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_that_hang_in_their_handshake_harm_nobody_else() {
    let pki = Pki::new();
    let limits = Limits { handshakes: 4, handshake: Duration::from_millis(400), ..Limits::default() };
    let stage = Secure::start(pki.doors(), limits).await;
    let mut hanging = Vec::new();
    for i in 0..12_usize {
        let mut stream = TcpStream::connect(stage.otlp()).await.expect("connects");
        // Nothing, one byte, and half of a record.
        stream.write_all(&[0x16, 3, 1, 2, 0, 1][..(i % 3) * 3]).await.expect("sent");
        hanging.push(stream);
        assert_eq!(send(stage.otlp(), &pki.client(), Alpn::Http1).await, Ok(200), "meanwhile");
    }
    for mut stream in hanging {
        let end = tokio::time::timeout(PATIENCE, stream.read(&mut [0; 16])).await.expect("hung up on");
        assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    }
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_silent_after_the_handshake_is_sent_home() {
    let pki = Pki::new();
    let limits = Limits { head: Duration::from_millis(300), ..Limits::default() };
    let stage = Secure::start(pki.doors(), limits).await;
    let dialer = Dialer::new(&pki.client()).expect("usable");
    let mut all = Vec::new();
    for said in ["", "POST /v1/traces HTTP/1.1\r\nhost: x\r\n", "PRI * HTTP/2.0"] {
        let tcp = TcpStream::connect(stage.otlp()).await.expect("connects");
        let mut tls = dialer.secure("localhost", Alpn::None, tcp).await.expect("a handshake");
        tls.write_all(said.as_bytes()).await.expect("sent");
        tls.flush().await.expect("sent");
        all.push(tls);
    }
    assert_eq!(send(stage.otlp(), &pki.client(), Alpn::Http1).await, Ok(200), "meanwhile");
    for mut tls in all {
        let mut rest = Vec::new();
        // Hung up on, with or without a last word.
        let _ = tokio::time::timeout(PATIENCE, tls.read_to_end(&mut rest)).await.expect("hung up on");
    }
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_that_are_too_long_are_refused() {
    let pki = Pki::new();
    let stage = Secure::start(pki.doors(), Limits::default()).await;
    for alpn in [Alpn::Http1, Alpn::H2] {
        let connector = Dialer::new(&pki.client()).expect("usable").connector(alpn, PATIENCE);
        let client = Client::builder(TokioExecutor::new()).http2_only(alpn == Alpn::H2).build(connector);
        let long =
            http::Request::post(format!("https://{}/v1/traces", stage.otlp())).header("x-long", "a".repeat(80_000));
        let reply = client.request(long.body(Full::<Bytes>::default()).expect("a request")).await;
        assert!(reply.as_ref().map_or(true, |r| r.status() == 431), "{alpn:?}: {reply:?}");
        assert_eq!(send(stage.otlp(), &pki.client(), alpn).await, Ok(200), "{alpn:?}");
    }
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_used_is_refused_at_the_start_by_name() {
    let (pki, other) = (Pki::new(), Pki::new());
    let told = async |tls: DoorTls| {
        let directory = tempfile::tempdir().expect("a directory");
        let config = Config::new(directory.path().join("x.fuseboard")).on_free_ports();
        let error = Collector::start(Config { tls: Some(tls), ..config }).await.expect_err("cannot be used");
        assert!(matches!(error, StartError::Tls(_)), "{error:?}");
        assert!(!directory.path().join("x.fuseboard").exists(), "nothing was written");
        error.to_string()
    };
    let missing = told(DoorTls::new(pki.file("nowhere.pem"), pki.file("collector.key"))).await;
    assert!(missing.contains("nowhere.pem cannot be read"), "{missing}");
    let mixed = told(DoorTls::new(pki.file("collector.pem"), other.file("collector.key"))).await;
    assert!(mixed.contains("it belongs to another certificate"), "{mixed}");
    let nobody = told(DoorTls { require: vec![DoorName::Control], ..pki.doors() }).await;
    assert!(nobody.contains("--client-ca"), "{nobody}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_others_reach_asks_everybody_who_they_are() {
    let (pki, directory) = (Pki::new(), tempfile::tempdir().expect("a directory"));
    let config = || {
        let mut config = Config::new(directory.path().join("x.fuseboard")).on_free_ports();
        config.control.set_ip([0, 0, 0, 0].into());
        config.tls = Some(DoorTls { client_cas: vec![pki.file("ca.pem")], ..pki.doors() });
        config
    };
    let open = Collector::start(Config { auth: Auth::Open, ..config() }).await.expect_err("nobody would be asked");
    assert!(matches!(&open, StartError::Unasked(address) if address.starts_with("0.0.0.0:")), "{open}");
    let handle = Collector::start(config()).await.expect("starts");
    let control = SocketAddr::from(([127, 0, 0, 1], handle.addresses().control.port()));
    let whoami = async |tls: ClientTls| {
        let connector = Dialer::new(&tls).expect("usable").connector(Alpn::Http1, PATIENCE);
        let asked = http::Request::get(format!("https://{control}/v1/whoami")).body(Full::<Bytes>::default());
        let client = Client::builder(TokioExecutor::new()).build(connector);
        let reply = client.request(asked.expect("a request")).await.expect("a reply");
        let (status, body) = (reply.status().as_u16(), reply.into_body().collect().await.expect("a body").to_bytes());
        (status, String::from_utf8_lossy(&body).into_owned())
    };
    let (status, told) = whoami(pki.client()).await;
    assert_eq!(status, 401, "{told}");
    // An agent's certificate says which service it speaks for.
    let (status, told) = whoami(pki.showing(&pki, "orders")).await;
    assert!(status == 200 && told.contains("\"agent\"") && told.contains("orders"), "{status} {told}");
    handle.shutdown().await;
}

/// The program over TLS; gives its OTLP/HTTP address.
fn program(directory: &Path, pki: &Pki) -> (Child, SocketAddr) {
    let mut command = command(&directory.join("data.fuseboard"));
    command.arg("--tls-cert").arg(pki.file("collector.pem")).arg("--tls-key").arg(pki.file("collector.key"));
    command.arg("--client-ca").arg(pki.file("ca.pem")).args(["--require-client-cert", "otlp-http,control"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
    let addresses: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    (child, addresses["otlp_http"].as_str().expect("text").parse().expect("an address"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_program_takes_its_files_from_flags_and_names_whom_it_refused_in_its_log() {
    let (pki, other, directory) = (Pki::new(), Pki::new(), tempfile::tempdir().expect("a directory"));
    let (mut child, otlp) = program(directory.path(), &pki);
    let log = BufReader::new(child.stderr.take().expect("piped"));
    assert_eq!(send(otlp, &pki.showing(&pki, "orders"), Alpn::Http1).await, Ok(200));
    send(otlp, &pki.client(), Alpn::Http1).await.expect_err("no certificate");
    send(otlp, &pki.showing(&other, "orders"), Alpn::Http1).await.expect_err("of another CA");
    let words = ["the caller must present a certificate", "signed by none of the trusted roots"];
    let told = tokio::task::spawn_blocking(move || {
        let mut lines = log.lines().map_while(Result::ok);
        words.map(|word| lines.find(|line| line.contains(word) && line.contains("127.0.0.1")).is_some())
    });
    let told = tokio::time::timeout(PATIENCE, told).await.expect("told in time").expect("read");
    assert_eq!(told, [true, true]);
    child.kill().expect("ends");
    child.wait().expect("ended");
}
