//! A service that does what a test says, and a sidecar beside it.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use fuseboard_sidecar::{Config, Sidecar, SidecarError};
use tempfile::TempDir;
use tokio::net::TcpListener;

/// Serves a router on a free port.
pub(crate) async fn serve(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// A future that must end.
pub(crate) async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(30), future).await.unwrap()
}

/// A port on which nobody listens.
pub(crate) async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// A sidecar by its configuration; telemetry goes nowhere.
pub(crate) async fn sidecar(text: &str, policy: &str) -> Beside {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("policy.toml"), policy).unwrap();
    let config = config(&folder, text);
    Beside { sidecar: Sidecar::start(config).await.unwrap(), folder }
}

fn config(folder: &TempDir, text: &str) -> Config {
    let file = folder.path().join("policy.toml");
    let text = format!(
        "service = {{ name = \"shop\" }}\ntelemetry = {{ otlp = \"127.0.0.1:1\" }}\ncontrol = {{ policy = {file:?} }}\n{text}"
    );
    Config::parse(&text, "test.toml").unwrap()
}

/// A sidecar and its files.
pub(crate) struct Beside {
    pub(crate) sidecar: Sidecar,
    folder: TempDir,
}

impl Beside {
    /// Gives it another configuration.
    pub(crate) fn reload(&mut self, text: &str) -> Result<Vec<&'static str>, SidecarError> {
        self.sidecar.reload(config(&self.folder, text))
    }

    /// Ends the sidecar.
    pub(crate) async fn end(self) {
        self.sidecar.shutdown().await;
    }

    /// The address of an inbound listener.
    pub(crate) fn inbound(&self, path: &str) -> String {
        format!("http://{}{path}", self.sidecar.inbound()[0])
    }

    /// The address of the first outbound listener.
    pub(crate) fn outbound(&self, path: &str) -> String {
        format!("http://{}{path}", self.sidecar.outbound()[0])
    }
}

/// The configuration of one outbound listener and its upstream.
pub(crate) fn to(addresses: &[SocketAddr], more: &str) -> String {
    let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    format!(
        "[[outbound]]\nlisten = \"127.0.0.1:0\"\nto = \"bank\"\n\n[[upstream]]\nservice = \"bank\"\naddresses = {addresses:?}\n{more}\n"
    )
}
