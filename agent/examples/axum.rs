//! An axum service with the agent around it: spans and metrics, policies obeyed live, limits for each caller, a log of requests,
//! and TLS where there is a certificate.
//!
//! ```sh
//! cargo run -p fuseboard-agent --example axum                      # http://127.0.0.1:8080/orders/7
//! TLS_CERT=tls.crt TLS_KEY=tls.key cargo run -p fuseboard-agent --example axum
//! ```
//!
//! `OTEL_EXPORTER_OTLP_ENDPOINT` and `FUSEBOARD_CONTROL` say where the collector is.

use std::error::Error;

use axum::extract::Path;
use axum::routing::get;
use axum::{Extension, Router};
use fuseboard_agent::guard::{Caller, Limits, RequestLog};
use fuseboard_agent::tls::{Peer, ServerTls};
use fuseboard_agent::{Agent, stop_signal};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let agent = Agent::start("orders").await?;
    let listener = TcpListener::bind("127.0.0.1:8080").await?;
    let tls = std::env::var("TLS_CERT").ok().zip(std::env::var("TLS_KEY").ok());
    serve(&agent, listener, tls.map(|(chain, key)| ServerTls::new(chain, key)), stop_signal()).await?;
    agent.shutdown().await;
    Ok(())
}

/// Serves until `stop` ends.
pub(crate) async fn serve(
    agent: &Agent,
    listener: TcpListener,
    tls: Option<ServerTls>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Box<dyn Error>> {
    let limits = Limits::default().rate_per_caller(100, 200).in_flight_per_caller(32).body(64 * 1024);
    let layer = agent.http_server().with_limits(limits).with_log(RequestLog::default().route("/orders/*"));
    let router = Router::new().route("/orders/{id}", get(order)).route("/healthz", get(|| async { "well\n" }));
    let service = router.layer(layer).into_make_service_with_connect_info::<Peer>();
    match tls {
        Some(tls) => {
            let incoming = agent.http_tls_listener(listener, &tls)?;
            axum::serve(incoming, service).with_graceful_shutdown(stop).await?;
        }
        None => axum::serve(listener, service).with_graceful_shutdown(stop).await?,
    }
    Ok(())
}

async fn order(Path(id): Path<u32>, Extension(caller): Extension<Caller>) -> String {
    format!("order {id} for {caller}\n")
}
