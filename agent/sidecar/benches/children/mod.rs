//! The processes that are measured, and what they need around them.

use std::convert::Infallible;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::sync::watch;

/// Ports for everybody.
pub(crate) struct Ports {
    pub(crate) server: u16,
    pub(crate) nginx: u16,
    pub(crate) haproxy: u16,
    pub(crate) outbound: u16,
    pub(crate) inbound: u16,
    pub(crate) otlp: u16,
    /// Of one who answers late, and the way to it.
    pub(crate) late: u16,
    pub(crate) to_late: u16,
}

impl Ports {
    pub(crate) fn free() -> Self {
        // All are held until all are known, so that they differ.
        let held: Vec<_> = (0..8).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let at = |n: usize| held[n].local_addr().unwrap().port();
        let (server, nginx, haproxy, outbound, inbound) = (at(0), at(1), at(2), at(3), at(4));
        Self { server, nginx, haproxy, outbound, inbound, otlp: at(5), late: at(6), to_late: at(7) }
    }

    /// In the order of the bench's ways.
    pub(crate) fn ways(&self) -> [u16; 5] {
        [self.server, self.nginx, self.haproxy, self.outbound, self.inbound]
    }
}

/// A process that ends with its handle.
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}

/// The server and the three proxies.
pub(crate) struct Proxies {
    server: Process,
    pub(crate) nginx: Process,
    pub(crate) haproxy: Process,
    pub(crate) sidecar: Process,
    _folder: TempDir,
}

impl Proxies {
    /// Starts all of them; says what is missing where one is.
    pub(crate) fn start(ports: &Ports) -> Option<Self> {
        let (nginx, haproxy) = (found("nginx")?, found("haproxy")?);
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: String| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let nginx = |name: &str, body: String| {
            let config = file(name, nginx_config(folder.path(), name, &body));
            start(Command::new(&nginx).arg("-c").arg(config).arg("-p").arg(folder.path()))
        };
        let answer = format!(
            "server {{ listen 127.0.0.1:{}; location / {{ default_type application/json; return 200 '{{\"id\":7,\"state\":\"paid\",\"lines\":[1,2,3]}}'; }} }}",
            ports.server
        );
        let pass = format!(
            "upstream bank {{ server 127.0.0.1:{}; keepalive 128; keepalive_requests 1000000000; }}\n\
             server {{ listen 127.0.0.1:{}; location / {{ proxy_pass http://bank; proxy_http_version 1.1; proxy_set_header Connection \"\"; }} }}",
            ports.server, ports.nginx
        );
        file("policy.toml", POLICY.to_owned());
        let sidecar = file("sidecar.toml", sidecar_config(ports));
        let haproxy_config = file("haproxy.cfg", haproxy_config(ports));
        Some(Self {
            server: nginx("server.conf", answer),
            nginx: nginx("nginx.conf", pass),
            haproxy: start(Command::new(haproxy).arg("-db").arg("-f").arg(haproxy_config)),
            sidecar: start(Command::new(env!("CARGO_BIN_EXE_fuseboard-agent")).arg("run").arg(sidecar)),
            _folder: folder,
        })
    }
}

impl Proxies {
    /// The process behind one of the bench's ways.
    pub(crate) fn id_of(&self, way: usize) -> u32 {
        match way {
            0 => worker_of(self.server.id()),
            1 => worker_of(self.nginx.id()),
            2 => self.haproxy.id(),
            _ => self.sidecar.id(),
        }
    }
}

fn start(command: &mut Command) -> Process {
    Process(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap())
}

fn found(name: &str) -> Option<PathBuf> {
    let path = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"].map(|d| Path::new(d).join(name));
    let found = path.into_iter().find(|path| path.exists());
    if found.is_none() {
        println!("not run: the comparison of proxies (needs {name})");
    }
    found
}

fn nginx_config(folder: &Path, name: &str, body: &str) -> String {
    let folder = folder.display();
    format!(
        "daemon off;\nworker_processes 1;\npid {folder}/{name}.pid;\nerror_log {folder}/{name}.log;\n\
         events {{ worker_connections 8192; }}\n\
         http {{ access_log off; keepalive_requests 1000000000; keepalive_timeout 300s;\n\
         client_body_temp_path {folder}/{name}.body; proxy_temp_path {folder}/{name}.proxy;\n\
         fastcgi_temp_path {folder}/{name}.f; uwsgi_temp_path {folder}/{name}.u; scgi_temp_path {folder}/{name}.s;\n{body}\n}}\n"
    )
}

fn haproxy_config(ports: &Ports) -> String {
    format!(
        "global\n  nbthread 1\n  maxconn 8192\ndefaults\n  mode http\n  timeout connect 1s\n  timeout client 300s\n  timeout server 30s\n\
         \x20 http-reuse always\nfrontend f\n  bind 127.0.0.1:{}\n  default_backend b\nbackend b\n  server s 127.0.0.1:{}\n",
        ports.haproxy, ports.server
    )
}

/// Every rule that acts around a call.
const POLICY: &str = r#"
[[edge]]
service = "bank"
timeout = { attempt_ms = 2000, overall_ms = 5000 }
retry = { max_attempts = 3, on = ["503", "reset"], budget = { ratio = 0.2, min_per_sec = 10, ttl_ms = 10000 } }
breaker = { window = { kind = "time", ms = 10000, buckets = 10 }, min_calls = 20, failure_ratio = 0.5, open_ms = 5000 }
rate = { algorithm = "token_bucket", per_sec = 100000, burst = 100000 }
concurrency = { kind = "fixed", max = 1000 }
"#;

fn sidecar_config(ports: &Ports) -> String {
    format!(
        "service = {{ name = \"shop\" }}\ntelemetry = {{ otlp = \"127.0.0.1:{}\" }}\ncontrol = {{ policy = \"policy.toml\" }}\n\
         [[inbound]]\nlisten = \"127.0.0.1:{}\"\nto = \"127.0.0.1:{}\"\nroutes = [\"/orders/{{id}}\"]\n\
         [[outbound]]\nlisten = \"127.0.0.1:{}\"\nto = \"bank\"\n\
         [[upstream]]\nservice = \"bank\"\naddresses = [\"127.0.0.1:{}\"]\nroutes = [\"/orders/{{id}}\"]\n\
         [[outbound]]\nlisten = \"127.0.0.1:{}\"\nto = \"late\"\n\
         [[upstream]]\nservice = \"late\"\naddresses = [\"127.0.0.1:{}\"]\nroutes = [\"/orders/{{id}}\"]\nconnections = 1000\n",
        ports.otlp, ports.inbound, ports.server, ports.outbound, ports.server, ports.to_late, ports.late
    )
}

/// Waits until a port takes connections.
pub(crate) async fn answers(port: u16) {
    let asked = async {
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), asked).await.expect("all of them start");
}

/// Takes whatever is sent by OTLP over gRPC and says that it was fine.
pub(crate) async fn take_telemetry(port: u16) {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(server.serve_connection(TokioIo::new(stream), service_fn(fine)));
        }
    });
}

/// Takes requests and keeps them waiting. Tells how many there are.
pub(crate) async fn keep_waiting(port: u16) -> watch::Receiver<usize> {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let (tell, told) = watch::channel(0);
    tokio::spawn(async move {
        let tell = Arc::new(tell);
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let tell = tell.clone();
            tokio::spawn(async move {
                let mut request = [0; 4096];
                while stream.read(&mut request).await.is_ok_and(|read| read > 0) {
                    tell.send_modify(|waiting| *waiting += 1);
                }
            });
        }
    });
    told
}

async fn fine(
    request: Request<Incoming>,
) -> Result<Response<impl http_body::Body<Data = Bytes, Error = Infallible>>, Infallible> {
    let mut body = request.into_body();
    while let Some(frame) = body.frame().await {
        drop(frame);
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    // An empty message: everything was taken.
    let frames = [Frame::data(Bytes::from_static(&[0; 5])), Frame::trailers(trailers)].map(Ok);
    let mut answer = Response::new(StreamBody::new(tokio_stream::iter(frames)));
    answer.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    Ok(answer)
}

/// The CPU time of a process so far, in microseconds.
pub(crate) fn cpu_us(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // After the name, which may hold spaces: user and system time are the 14th and 15th fields, in hundredths of a second.
    let rest = stat.rsplit_once(')').unwrap().1;
    let ticks = rest.split_whitespace().skip(11).take(2).map(|t| t.parse::<f64>().unwrap());
    ticks.sum::<f64>() * 10_000.0
}

/// A process's memory.
pub(crate) fn resident_mib(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<f64>().unwrap() / 1024.0
}

/// nginx's worker, where the connections are.
pub(crate) fn worker_of(master: u32) -> u32 {
    let children = fs::read_to_string(format!("/proc/{master}/task/{master}/children")).unwrap_or_default();
    children.split_whitespace().next().and_then(|pid| pid.parse().ok()).unwrap_or(master)
}
