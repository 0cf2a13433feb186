//! One attempt: its limit, its span, the fault that may take its place.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fuseboard_policy::names;
use fuseboard_policy::pipeline;
use fuseboard_policy::settings::Fault;
use opentelemetry::context::FutureExt;
use opentelemetry::trace::SpanContext;
use opentelemetry::{Context, KeyValue};
use tokio::time::Instant;

use super::lane::Lane;
use super::spans::{End, about_refusal};
use super::{Ended, NoPlace, Protocol, Refusal, Sent, Target};
use crate::agent::Inner;
use crate::room::{Room, Slot};
use crate::telemetry::{At, Span};

/// One attempt on the wire. Dropping it cancels it and gives its permit back.
pub(crate) struct LiveAttempt {
    pub(super) agent: Arc<Inner>,
    /// Taken when it is settled.
    pub(super) permit: Option<pipeline::Attempt>,
    pub(super) number: u32,
    /// Whether it was sent beside another.
    pub(super) hedged: bool,
    /// Its span: what goes into the headers.
    pub(super) span: Span,
    /// With its span.
    pub(super) cx: Context,
    pub(super) lane: Arc<Lane>,
    /// Where it went.
    pub(super) peer: Vec<KeyValue>,
    pub(super) protocol: Protocol,
    pub(super) started: Instant,
    pub(super) until: Option<Instant>,
    /// In a box: few have one.
    pub(super) fault: Option<Box<(Fault, Target)>>,
    /// Its place among the requests to the instance.
    pub(super) slot: Option<Slot>,
    pub(super) ended: bool,
}

impl LiveAttempt {
    /// Which attempt this is, from 1.
    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    /// The instance to send it to; `None` where the client sends to one place only.
    pub(crate) fn endpoint(&self) -> Option<Arc<str>> {
        self.permit.as_ref().and_then(|permit| permit.endpoint().cloned())
    }

    /// The ids to send.
    pub(crate) fn span_context(&self) -> SpanContext {
        self.span.ids().clone()
    }

    /// When the attempt is cut.
    pub(crate) fn until(&self) -> Option<Instant> {
        self.until
    }

    /// What the callee may take.
    pub(crate) fn left(&self) -> Option<Duration> {
        self.until.map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// Waits for room at the instance, as a part of the attempt's time. On which of its shared connections there is some.
    pub(crate) async fn enter(&mut self, room: &Arc<Room>) -> Result<usize, NoPlace> {
        let slot = room.enter(self.until).await?;
        let lane = slot.lane();
        self.slot = Some(slot);
        Ok(lane)
    }

    /// Notes something about this attempt alone.
    pub(crate) fn note(&self, attribute: KeyValue) {
        self.span.write(|record| record.attribute(attribute));
    }

    /// Notes where the attempt went.
    pub(crate) fn peer(&mut self, host: &str, port: Option<u16>) {
        self.peer.push(KeyValue::new("server.address", Arc::<str>::from(host)));
        self.peer.extend(port.map(|port| KeyValue::new("server.port", i64::from(port))));
        self.span.write(|record| record.attributes(self.peer.iter().cloned()));
    }

    /// Runs the sending in the attempt's context and cuts it at the attempt's limit. It stays where it is: moved into the futures
    /// around it, it would be in each of them.
    pub(crate) async fn run<F: Future>(&self, sending: Pin<&mut F>) -> Sent<F::Output> {
        let sending = async {
            match self.inject_fault().await {
                Some(abort) => Sent::Aborted(abort),
                None => Sent::Got(sending.await),
            }
        };
        let sending = sending.with_context(self.cx.clone());
        match self.until {
            Some(at) => tokio::time::timeout_at(at, sending).await.unwrap_or(Sent::Cut),
            None => sending.await,
        }
    }

    /// Whether its time is over.
    pub(crate) fn is_overdue(&self) -> bool {
        self.until.is_some_and(|at| at <= Instant::now())
    }

    /// What an operator injected takes the callee's place: it fills the breaker's window and is tried again as the
    /// callee's own delays and failures are.
    async fn inject_fault(&self) -> Option<Refusal> {
        let (fault, target) = self.fault.as_deref()?;
        if fault.delay_ms > 0 && rand::random::<f64>() < fault.delay_ratio {
            self.span.write(|record| record.attribute(KeyValue::new(names::FAULT, true)));
            tokio::time::sleep(Duration::from_millis(fault.delay_ms)).await;
        }
        if rand::random::<f64>() >= fault.abort_ratio {
            return None;
        }
        self.span.write(|record| record.attribute(KeyValue::new(names::FAULT, true)));
        let cause = format!("an injected fault aborts {:.0} % of the attempts", fault.abort_ratio * 100.0);
        Some(target.refusal("fault", cause, fault.abort_code.clone()))
    }

    /// A local rule refused it after it was admitted: nothing went on the wire, and it counts for nothing.
    pub(super) fn refuse(&mut self, refusal: &Refusal) {
        (self.permit, self.ended) = (None, true);
        self.span.end(At::Read(Instant::now()), |record| about_refusal(record, refusal, SystemTime::now()));
        if let Some(instruments) = &self.agent.telemetry.instruments {
            self.lane.refusal(instruments, refusal.rule);
        }
    }

    pub(super) fn close(&mut self, at: Instant, outcome: &'static str, ended: Option<&Ended>) {
        self.ended = true;
        let end = End::new(outcome, ended);
        self.span.end(At::Read(at), |record| end.write(record));
        let Some(instruments) = &self.agent.telemetry.instruments else { return };
        if self.protocol == Protocol::Http {
            let [answer, error] = end.labels();
            self.lane.duration(instruments, at - self.started, &[&self.peer, answer, error]);
        }
        self.lane.attempt(instruments, outcome, self.hedged);
    }
}

impl Drop for LiveAttempt {
    fn drop(&mut self) {
        if !self.ended {
            self.close(Instant::now(), "cancelled", None);
        }
    }
}
