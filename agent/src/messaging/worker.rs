//! The loop of a consumer, whatever the broker: takes what there is room for, processes it by the rules, and settles it.

use std::error::Error;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use fuseboard_policy::names;
use fuseboard_policy::pipeline::AttemptKind;
use futures_util::FutureExt as _;
use opentelemetry::KeyValue;
use opentelemetry::context::FutureExt as _;
use opentelemetry::logs::Severity;
use opentelemetry::trace::TraceContextExt as _;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::carry::Incoming;
use super::consumer::{Consumer, Processing};
use super::failure::{Failure, Then};
use super::gate::{Expired, Gate, Pass};
use super::handling::Handling;
use crate::context;
use crate::log;

/// First and longest pause after the broker could not be asked for messages.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// Whatever went wrong at a broker.
pub type BrokerError = Box<dyn Error + Send + Sync>;

/// A message that was taken and is not settled yet.
#[derive(Debug)]
pub struct Taken<M, S> {
    /// What it brought along.
    pub incoming: Incoming,
    /// What the handler is given.
    pub message: M,
    /// Its end.
    pub settle: S,
}

/// What a source gives.
pub type TakenFrom<S> = Taken<<S as Source>::Message, <S as Source>::Settle>;

/// Where messages come from; for brokers that have no adapter here.
pub trait Source: Send {
    /// What handlers are given.
    type Message: Send + 'static;
    /// How messages are settled.
    type Settle: Settle;

    /// Takes at most `room` messages; waits for some, but not longer than about a second. It is never dropped half-way.
    ///
    /// # Errors
    /// The broker cannot be asked now. It is asked again after a pause, unless [`Source::is_gone`].
    fn take(&mut self, room: usize) -> impl Future<Output = Result<Vec<TakenFrom<Self>>, BrokerError>> + Send;

    /// Whether there will never be messages again; the consumer ends with the error.
    fn is_gone(&self) -> bool {
        false
    }

    /// How many messages wait, where the broker says so cheaply.
    fn depth(&mut self) -> impl Future<Output = Option<u64>> + Send {
        async { None }
    }

    /// No more will be taken: gives back what was taken ahead.
    fn close(&mut self) -> impl Future<Output = ()> + Send {
        async {}
    }
}

/// The end of a message. What is never settled (a process that dies) the broker hands out again.
pub trait Settle: Send + Sync + 'static {
    /// Whether the broker hands out each message once only: what is not processed is gone.
    const ONCE: bool = false;

    /// It was processed.
    ///
    /// # Errors
    /// The broker does not know: it will hand the message out again.
    fn ack(self) -> impl Future<Output = Result<(), BrokerError>> + Send;

    /// It is to be handed out again after a pause.
    ///
    /// # Errors
    /// The broker does not know: it will hand the message out when it likes.
    fn retry(self, after: Duration) -> impl Future<Output = Result<(), BrokerError>> + Send;

    /// It is to be put away for somebody to look at.
    ///
    /// # Errors
    /// It was not put away: the broker will hand it out again.
    fn dead(self, why: &str) -> impl Future<Output = Result<(), BrokerError>> + Send;

    /// It is to be handed out again at once.
    ///
    /// # Errors
    /// The broker does not know: it will hand the message out when it likes.
    fn requeue(self) -> impl Future<Output = Result<(), BrokerError>> + Send;

    /// How often [`Settle::alive`] is to be called while the message is held; `None` where the broker is patient.
    fn beat(&self) -> Option<Duration> {
        None
    }

    /// Tells the broker that the message is still held. What goes wrong here shows when it is settled.
    fn alive(&self) -> impl Future<Output = ()> + Send {
        async {}
    }
}

impl Consumer {
    /// Processes the messages of a source until `stop` is ready, then waits for those under way. Each is settled by what
    /// `handler` answers; one whose handling is dropped goes back.
    ///
    /// # Errors
    /// The source is gone.
    pub async fn run<S, H, F>(
        &self,
        mut source: S,
        handling: Handling,
        stop: impl Future<Output = ()> + Send,
        handler: H,
    ) -> Result<(), BrokerError>
    where
        S: Source,
        H: Fn(S::Message) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        let mut stop = std::pin::pin!(stop);
        let slots = Arc::new(Semaphore::new(handling.concurrency));
        let stop_within = handling.stop_within;
        let depth_every = handling.depth_every;
        let gate = Gate::new(&self.agent, &self.place.destination);
        let worker = Arc::new(Worker { consumer: self.clone(), handling, gate, handler });
        let mut tasks = JoinSet::new();
        let (mut pause, mut next_depth) = (PAUSES.0, Instant::now());
        let result = loop {
            let slot = tokio::select! {
                biased;
                () = &mut stop => break Ok(()),
                Ok(slot) = slots.clone().acquire_owned() => slot,
            };
            drop(slot);
            match source.take(slots.available_permits().max(1)).await {
                Ok(all) => {
                    pause = PAUSES.0;
                    for one in all {
                        let slot = slots.clone().acquire_owned().await;
                        tasks.spawn(worker.clone().one(one).map(|()| drop(slot)));
                    }
                }
                Err(error) if source.is_gone() => break Err(error),
                Err(error) => {
                    self.say(Severity::Warn, format!("no messages from {}: {error}", self.place.destination));
                    tokio::select! {
                        () = &mut stop => break Ok(()),
                        () = sleep(pause) => pause = (pause * 2).min(PAUSES.1),
                    }
                }
            }
            while tasks.try_join_next().is_some() {}
            if next_depth <= Instant::now() {
                next_depth = Instant::now() + depth_every;
                self.tell_depth(source.depth().await);
            }
        };
        source.close().await;
        // What does not end in time is dropped, and goes back.
        let _ = timeout(stop_within, async { while tasks.join_next().await.is_some() {} }).await;
        tasks.shutdown().await;
        result
    }

    fn tell_depth(&self, depth: Option<u64>) {
        if let (Some(depth), Some(all)) = (depth, &self.agent.telemetry.instruments) {
            all.messaging.depth.record(depth, &self.place.labels(super::PROCESS, "process"));
        }
    }

    fn say(&self, severity: Severity, text: String) {
        log::write(&self.agent, severity, text, &self.place.labels(super::PROCESS, "process"));
    }
}

struct Worker<H> {
    consumer: Consumer,
    handling: Handling,
    gate: Gate,
    handler: H,
}

/// How processing ended.
struct End {
    outcome: &'static str,
    /// For the rules.
    kind: AttemptKind<'static>,
    /// What is to become of the message, and why; `None` when it was processed.
    failure: Option<(Then, &'static str, String)>,
}

impl<H> Worker<H> {
    /// One message, from the rules before it to its end.
    async fn one<M, S, F>(self: Arc<Self>, taken: Taken<M, S>)
    where
        S: Settle,
        H: Fn(M) -> F,
        F: Future<Output = Result<(), Failure>>,
    {
        let Taken { incoming, message, settle } = taken;
        let held = Held(Some(settle));
        let most = self.handling.most(&self.gate.in_force().settings);
        if incoming.delivery > most {
            let why = format!("it was handed out {most} times, and nobody said what became of it");
            return self.bury(held, &incoming, "undone", why).await;
        }
        let left = incoming.left().filter(|_| self.handling.obey_deadline);
        let until = left.and_then(|left| Instant::now().checked_add(left));
        let pass = match held.keep(self.gate.enter(until)).await {
            Ok(pass) => pass,
            Err(Expired) => {
                let why = "its deadline has passed".to_owned();
                return self.bury(held, &incoming, "deadline_exceeded", why).await;
            }
        };
        let processing = self.consumer.begin(&incoming);
        let cx = processing.cx.clone();
        let revision = i64::try_from(pass.in_force.revision).unwrap_or(i64::MAX);
        cx.span().set_attribute(KeyValue::new(names::REVISION, revision));
        let end = held.keep(self.process(&pass, &processing, message)).await;
        let settings = pass.in_force.clone();
        self.gate.leave(pass, end.kind, &cx);
        let then = end.failure.as_ref().map(|(then, ..)| match then {
            Then::Again if incoming.delivery >= most => Then::Dead,
            Then::Again => {
                Then::After(self.handling.pause(&settings.settings, incoming.delivery, rand::random::<f64>()))
            }
            Then::After(_) | Then::Back if incoming.delivery >= most => Then::Dead,
            then => *then,
        });
        let error = end.failure.map(|(_, kind, why)| (kind, why));
        self.settle(held, processing, &incoming, (end.outcome, then, error)).await;
    }

    async fn process<M, F>(&self, pass: &Pass, processing: &Processing, message: M) -> End
    where
        H: Fn(M) -> F,
        F: Future<Output = Result<(), Failure>>,
    {
        let limit = pass.limit(self.handling.timeout);
        let cx = context::with_inbound(&processing.cx, Instant::now().checked_add(limit), None);
        let work = AssertUnwindSafe(async { (self.handler)(message).await }).catch_unwind().with_context(cx);
        let failed = |kind, then, what, why| End { outcome: "failure", kind, failure: Some((then, what, why)) };
        match timeout(limit, work).await {
            Ok(Ok(Ok(()))) => End { outcome: "success", kind: AttemptKind::Success, failure: None },
            Ok(Ok(Err(Failure { then, why }))) => {
                let kind = match then {
                    Then::Again | Then::After(_) => AttemptKind::Failure { code: "internal" },
                    // The message is at fault, not what the handler leans on.
                    Then::Dead => AttemptKind::Failure { code: "invalid_argument" },
                    Then::Back => AttemptKind::Cancelled,
                };
                failed(kind, then, "_OTHER", why)
            }
            Ok(Err(_)) => {
                let why = "the handler panicked".to_owned();
                failed(AttemptKind::Failure { code: "internal" }, Then::Again, "panic", why)
            }
            Err(_) => {
                let why = format!("processing took longer than {} ms", limit.as_millis());
                let failure = Some((Then::Again, "timeout", why));
                End { outcome: "timeout", kind: AttemptKind::TimedOut, failure }
            }
        }
    }

    /// A message that is put away without being processed.
    async fn bury<S: Settle>(&self, held: Held<S>, incoming: &Incoming, kind: &'static str, why: String) {
        let processing = self.consumer.begin(incoming);
        self.settle(held, processing, incoming, ("failure", Some(Then::Dead), Some((kind, why)))).await;
    }

    /// Tells the broker, and the span what was told.
    async fn settle<S: Settle>(
        &self,
        mut held: Held<S>,
        processing: Processing,
        incoming: &Incoming,
        (outcome, then, error): (&'static str, Option<Then>, Option<(&'static str, String)>),
    ) {
        let Some(settle) = held.0.take() else { return };
        let cx = processing.cx.clone();
        let why = error.as_ref().map_or("", |(_, why)| why.as_str());
        let telling = async {
            match then {
                None => ("ack", settle.ack().await),
                Some(_) if S::ONCE => ("drop", Ok(())),
                Some(Then::Again | Then::Back) => ("requeue", settle.requeue().await),
                Some(Then::After(pause)) => ("retry", settle.retry(pause).await),
                Some(Then::Dead) => ("dead_letter", settle.dead(why).await),
            }
        };
        let (settled, told) = telling.with_context(cx.clone()).await;
        cx.span().set_attribute(KeyValue::new(names::SETTLED, settled));
        let place = &self.consumer.place.destination;
        let _entered = cx.attach();
        if let Err(error) = told {
            let text =
                format!("a message of {place} will be handed out again: the broker was not told `{settled}`: {error}");
            self.consumer.say(Severity::Warn, text);
        } else if settled == "dead_letter" {
            let text = format!("a message of {place} is a dead letter after {} deliveries: {why}", incoming.delivery);
            self.consumer.say(Severity::Error, text);
        } else if settled == "drop" {
            self.consumer.say(Severity::Error, format!("a message of {place} is gone: {why}"));
        }
        processing.end(outcome, error);
    }
}

/// A message in hand. Dropped before it is settled, it goes back.
struct Held<S: Settle>(Option<S>);

impl<S: Settle> Held<S> {
    /// Runs something while the broker is told that the message is held.
    async fn keep<F: Future>(&self, work: F) -> F::Output {
        let beating = async {
            let Some((settle, beat)) = self.0.as_ref().and_then(|settle| Some((settle, settle.beat()?))) else {
                return std::future::pending().await;
            };
            loop {
                sleep(beat).await;
                settle.alive().await;
            }
        };
        tokio::select! {
            biased;
            output = work => output,
            never = beating => never,
        }
    }
}

impl<S: Settle> Drop for Held<S> {
    fn drop(&mut self) {
        if let (Some(settle), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            // Who cannot be told finds out by its own timeout.
            runtime.spawn(async { drop(settle.requeue().await) });
        }
    }
}
