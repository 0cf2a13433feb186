//! The shop's queues: channels inside the process, with the spans that a broker's clients would make. A full queue refuses the
//! message, and the sender says so in a log; nobody waits.

use std::collections::HashMap;
use std::fmt::Display;
use std::future::{Future, ready};
use std::sync::Arc;
use std::time::Duration;

use fuseboard_agent::messaging::{Consumer, Producer};
use futures_util::FutureExt;
use tokio::sync::{Mutex, mpsc};
use tokio::time::Instant;

use crate::instance::{Instance, kv};

/// Messages that wait in a queue at most.
const MOST_WAITING: usize = 4_096;
/// `messaging.system` of these queues.
const SYSTEM: &str = "in_process";

/// An order was placed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OrderEvent {
    /// Which.
    pub(crate) order: String,
    /// By whom.
    pub(crate) user: String,
    /// For how much.
    pub(crate) cents: u64,
}

/// An order that must be looked at after some time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unpaid {
    /// Which.
    pub(crate) order: String,
    /// How often it was looked at in vain.
    pub(crate) tries: u32,
    /// After which time.
    pub(crate) after: Duration,
}

/// A message on its way.
#[derive(Debug)]
pub(crate) struct Message<T> {
    /// What it says.
    pub(crate) body: T,
    /// When it was sent.
    pub(crate) sent: Instant,
    headers: HashMap<String, String>,
}

/// A queue.
pub(crate) struct Queue<T> {
    name: &'static str,
    tx: mpsc::Sender<Message<T>>,
    rx: Arc<Mutex<mpsc::Receiver<Message<T>>>>,
}

impl<T> Queue<T> {
    /// An empty queue.
    pub(crate) fn new(name: &'static str) -> Self {
        let (tx, rx) = mpsc::channel(MOST_WAITING);
        Self { name, tx, rx: Arc::new(Mutex::new(rx)) }
    }

    /// An end to send with.
    pub(crate) fn sender(&self, of: &Arc<Instance>) -> Sender<T> {
        let producer = of.agent.producer(SYSTEM, self.name);
        Sender { of: Arc::clone(of), name: self.name, producer, tx: self.tx.clone() }
    }

    /// An end to receive with; several of them share the messages.
    pub(crate) fn receiver(&self, of: &Instance) -> Receiver<T> {
        Receiver { consumer: of.agent.consumer(SYSTEM, self.name), rx: Arc::clone(&self.rx) }
    }
}

/// The sending end of a queue.
pub(crate) struct Sender<T> {
    of: Arc<Instance>,
    name: &'static str,
    producer: Producer,
    tx: mpsc::Sender<Message<T>>,
}

impl<T: Clone + Send + Sync> Sender<T> {
    /// Sends at once, or refuses when the queue is full.
    pub(crate) fn send(&self, body: T) {
        let sending = self.producer.send(HashMap::new(), |headers| {
            let message = Message { body: body.clone(), sent: Instant::now(), headers };
            ready(self.tx.try_send(message).map_err(|_| "the queue is full"))
        });
        // Nothing in it waits: the message is on its way, or refused.
        if let Some(Err(error)) = sending.now_or_never() {
            self.of.error(format!("cannot send to {}: {error}", self.name), &[kv("queue", self.name)]);
        }
    }
}

/// The receiving end of a queue.
#[derive(Clone)]
pub(crate) struct Receiver<T> {
    consumer: Consumer,
    rx: Arc<Mutex<mpsc::Receiver<Message<T>>>>,
}

impl<T> Receiver<T> {
    /// The next message; waits for one.
    pub(crate) async fn next(&self) -> Option<Message<T>> {
        self.rx.lock().await.recv().await
    }

    /// Handles a message in a span of its own.
    pub(crate) async fn process<F, E>(&self, message: Message<T>, work: impl FnOnce(T) -> F) -> Result<(), E>
    where
        F: Future<Output = Result<(), E>>,
        E: Display,
    {
        // The work is made inside the span's context, not before it.
        self.consumer.process(&message.headers, async { work(message.body).await }).await
    }
}
