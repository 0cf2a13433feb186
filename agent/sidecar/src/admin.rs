//! `/healthz`, `/readyz` and `/metrics`.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use fuseboard_agent::Agent;
use fuseboard_agent::proxy::Proxy;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio_util::sync::CancellationToken;

use crate::answer::Reply;
use crate::metrics::{BUCKETS_MS, Books, Ending};
use crate::serve::Handler;
use crate::target::Targets;

/// Prometheus' text format.
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// Answers those who look after the sidecar.
#[derive(Debug)]
pub(crate) struct Admin {
    pub(crate) agent: Agent,
    pub(crate) proxy: Proxy,
    pub(crate) targets: Arc<ArcSwap<Targets>>,
    /// The sidecar is on its way out.
    pub(crate) closing: CancellationToken,
}

impl Handler for Admin {
    async fn handle(self: Arc<Self>, request: Request<Incoming>, _: SocketAddr) -> Response<Reply> {
        let (status, text) = match (request.method(), request.uri().path()) {
            (&Method::GET | &Method::HEAD, "/healthz") => (StatusCode::OK, "well\n".to_owned()),
            (&Method::GET | &Method::HEAD, "/readyz") if self.closing.is_cancelled() => {
                (StatusCode::SERVICE_UNAVAILABLE, "draining\n".to_owned())
            }
            (&Method::GET | &Method::HEAD, "/readyz") => (StatusCode::OK, "ready\n".to_owned()),
            (&Method::GET | &Method::HEAD, "/metrics") => (StatusCode::OK, self.metrics()),
            (_, "/healthz" | "/readyz" | "/metrics") => (StatusCode::METHOD_NOT_ALLOWED, "only GET\n".to_owned()),
            _ => (StatusCode::NOT_FOUND, "here are /healthz, /readyz and /metrics\n".to_owned()),
        };
        let mut answer = Response::new(Reply::Own(Full::new(Bytes::from(text))));
        *answer.status_mut() = status;
        answer.headers_mut().insert(CONTENT_TYPE, TEXT);
        answer
    }
}

impl Admin {
    fn metrics(&self) -> String {
        let mut page = Page::default();
        let targets = self.targets.load();
        let service = self.agent.service();
        let inbound = targets.locals.iter().map(|local| (("inbound", service), &*local.books));
        let outbound = targets.upstreams.iter().map(|up| (("outbound", &**up.client.service()), &*up.books));
        let books: Vec<_> = inbound.chain(outbound).collect();
        requests(&mut page, &books);
        let locals = targets.locals.iter().map(|local| (service, vec![local.peer.clone()]));
        let upstreams = targets.upstreams.iter().map(|up| (&**up.client.service(), up.client.wires()));
        page.head("fuseboard_connections", "gauge", "HTTP/1.1 connections to instances.");
        for (name, peers) in locals.chain(upstreams) {
            for peer in peers {
                let pool = peer.state();
                for (state, count) in [("busy", pool.busy), ("idle", pool.idle), ("limit", pool.most)] {
                    let labels = [("service", name), ("instance", &**peer.address()), ("state", state)];
                    page.line("fuseboard_connections", &labels, count);
                }
            }
        }
        page.head("fuseboard_breaker_state", "gauge", "1 for the state that a breaker is in.");
        for edge in self.proxy.edges() {
            let labels = [("service", &*edge.service), ("operation", &*edge.operation), ("state", edge.breaker)];
            page.line("fuseboard_breaker_state", &labels, 1);
        }
        page.head("fuseboard_telemetry_dropped_total", "counter", "Spans and log records that were lost.");
        page.line("fuseboard_telemetry_dropped_total", &[], self.agent.dropped());
        if let Some(bytes) = resident() {
            page.head("process_resident_memory_bytes", "gauge", "Memory in use.");
            page.line("process_resident_memory_bytes", &[], bytes);
        }
        page.0
    }
}

fn requests(page: &mut Page, books: &[((&str, &str), &Books)]) {
    page.head("fuseboard_requests_total", "counter", "Requests that ended, by how they ended.");
    for ((direction, service), books) in books {
        for (how, word) in Ending::ALL {
            let labels = [("direction", *direction), ("service", *service), ("outcome", word)];
            page.line("fuseboard_requests_total", &labels, books.ended(how));
        }
    }
    page.head("fuseboard_requests_in_flight", "gauge", "Requests that wait for their answer's headers.");
    for ((direction, service), books) in books {
        let labels = [("direction", *direction), ("service", *service)];
        page.line("fuseboard_requests_in_flight", &labels, books.open());
    }
    page.head("fuseboard_request_duration_seconds", "histogram", "Time to the answer's headers.");
    for ((direction, service), books) in books {
        let (counts, sum) = books.durations();
        let bounds = BUCKETS_MS.iter().map(|ms| (*ms as f64 / 1e3).to_string()).chain(["+Inf".to_owned()]);
        for (bound, count) in bounds.zip(&counts) {
            let labels = [("direction", *direction), ("service", *service), ("le", &*bound)];
            page.line("fuseboard_request_duration_seconds_bucket", &labels, count);
        }
        let labels = [("direction", *direction), ("service", *service)];
        page.line("fuseboard_request_duration_seconds_sum", &labels, sum.as_secs_f64());
        page.line("fuseboard_request_duration_seconds_count", &labels, counts.last().unwrap_or(&0));
    }
}

/// Text for Prometheus.
#[derive(Default)]
struct Page(String);

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string does not fail.
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        self.0.push_str(name);
        for (at, (label, text)) in labels.iter().enumerate() {
            let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.0, "{}{label}=\"{text}\"", if at == 0 { '{' } else { ',' });
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }
}

/// The process's memory, where the system tells.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        let mut page = Page::default();
        page.line("m", &[("a", "x\"y\\z"), ("b", "1")], 2);
        page.line("m", &[], 3);
        assert_eq!(page.0, "m{a=\"x\\\"y\\\\z\",b=\"1\"} 2\nm 3\n");
    }
}
