//! TLS and mTLS, for everything that dials and everything that listens: rustls with ring, TLS 1.2 and 1.3. The words are those of
//! `fuseboard-tls`; here the agent is told of what happens.
//!
//! - [`ClientTls`] says how servers are trusted and what they are shown. [`crate::Builder::tls`] sets it for a whole agent,
//!   [`crate::Agent::with_tls`] for the clients made with the handle that it returns. An address that begins with `https://`
//!   is dialled with it; nothing falls back from TLS to plain.
//! - [`ServerTls`] says what a server shows and whom it lets in. `agent.grpc_tls_incoming(listener, &tls)?` is what tonic's
//!   `serve_with_incoming` takes, `agent.http_tls_listener(listener, &tls)?` what `axum::serve` takes; [`Peer`] says who calls.
//!   Handshakes run beside the server, each for 5 s at most and 512 at once: one more ends the oldest, so callers that hang
//!   crowd out each other and nobody else. They are counted (`tls.handshakes`, by outcome) and failures logged, five a
//!   second at most. A caller that speaks plain HTTP is told so.
//! - Files are looked at every 5 s ([`ClientTls::check_every`]). What changed and can be used serves the next connection; running
//!   ones go on. What cannot be used is told in a log record, with what is wrong, and the old material stays in force.
//! - `tls.certificate.expires_in` is what is left of the own certificate, in seconds. A log record warns when a fifth of its life
//!   is left, when a twentieth is, and when it has ended.
//! - Revocation lists are not read: certificates that live for days need none, and a CA that is taken out of the roots is out with
//!   the next connection.
//! - What cannot work at the start is refused at the start, by name ([`TlsError`]).

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

pub(crate) use fuseboard_tls::{Alpn, Dialer};
pub use fuseboard_tls::{
    Certificate, ClientTls, Connector, HandshakeError, Peer, Pem, ServerTls, TlsError, TlsIncoming, TlsStream,
};
use fuseboard_tls::{Level, Notice, Observer, Refused};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Gauge};
use tokio::net::TcpListener;

use crate::agent::Inner;
use crate::log::{self, Severity};
use crate::seldom::{Seldom, and_others};

/// Most records a second about handshakes that failed.
const RECORDS: u32 = 5;

/// Has a dialer's files looked at, for as long as the agent lives.
pub(crate) fn watch(dialer: &Dialer, agent: &Arc<Inner>) {
    dialer.watch(Arc::new(Told::new(agent)), agent.closing.clone());
}

/// Accepts connections over TLS.
pub(crate) fn incoming(
    agent: &Arc<Inner>,
    listener: TcpListener,
    settings: &ServerTls,
    alpn: Alpn,
) -> Result<TlsIncoming, TlsError> {
    TlsIncoming::start(listener, settings, alpn, Arc::new(Told::new(agent)), &agent.closing)
}

/// Makes log records and series of the agent.
#[derive(Debug)]
struct Told {
    agent: Weak<Inner>,
    handshakes: OnceLock<Counter<u64>>,
    expires_in: OnceLock<Gauge<f64>>,
    seldom: Seldom,
}

impl Told {
    fn new(agent: &Arc<Inner>) -> Self {
        let agent = Arc::downgrade(agent);
        Self { agent, handshakes: OnceLock::new(), expires_in: OnceLock::new(), seldom: Seldom::new(RECORDS) }
    }

    fn count(&self, agent: &Inner, outcome: &'static str) {
        let counter = self.handshakes.get_or_init(|| {
            let meter = agent.telemetry.meter("fuseboard-agent");
            let handshakes = meter.u64_counter("tls.handshakes").with_unit("{handshake}");
            handshakes.with_description("Handshakes of callers, by how they ended.").build()
        });
        counter.add(1, &[KeyValue::new("outcome", outcome)]);
    }
}

impl Observer for Told {
    fn notice(&self, notice: Notice) {
        let Some(agent) = self.agent.upgrade() else { return };
        let severity = match notice.level {
            Level::Info => Severity::Info,
            Level::Warn => Severity::Warn,
            Level::Error => Severity::Error,
        };
        let mut labels = vec![KeyValue::new("tls.side", notice.side)];
        labels.extend(notice.certificate.map(|name| KeyValue::new("tls.certificate.name", name)));
        log::write(&agent, severity, notice.text, &labels);
    }

    fn accepted(&self) {
        if let Some(agent) = self.agent.upgrade() {
            self.count(&agent, "ok");
        }
    }

    fn refused(&self, from: SocketAddr, why: &Refused) {
        let Some(agent) = self.agent.upgrade() else { return };
        self.count(&agent, why.kind());
        if let Some(skipped) = self.seldom.pass() {
            let text = format!("no TLS connection with the caller at {from}: {why}");
            let label = KeyValue::new("network.peer.address", from.ip().to_string());
            log::write(&agent, Severity::Warn, and_others(text, skipped), &[label]);
        }
    }

    fn expires_in(&self, side: &'static str, certificate: &str, left: Duration) {
        let Some(agent) = self.agent.upgrade() else { return };
        let gauge = self.expires_in.get_or_init(|| {
            let meter = agent.telemetry.meter("fuseboard-agent");
            let gauge = meter.f64_gauge("tls.certificate.expires_in").with_unit("s");
            gauge.with_description("What is left of the certificate that this instance shows.").build()
        });
        let name = KeyValue::new("tls.certificate.name", certificate.to_owned());
        gauge.record(left.as_secs_f64(), &[KeyValue::new("tls.side", side), name]);
    }
}
