//! Instances that speak the control protocol as agents do, but hold no engines: many fit into one process.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use fuseboard_policy::document::PolicyDocument;
use fuseboard_policy::set::PolicySet;
use fuseboard_policy::wire::v1::{self, FromAgent, ToAgent, from_agent, to_agent};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Request;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};

/// Longest wait between two dials, and the first; doubling, half of each drawn: as the agent does.
const MOST: Duration = Duration::from_secs(2);
const FIRST: Duration = Duration::from_millis(100);
/// As often an agent says how it is.
const STATUS: Duration = Duration::from_secs(5);

/// An instance could obey a revision.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Word {
    /// Which.
    pub(crate) revision: u64,
    /// Since when.
    pub(crate) at: Instant,
}

/// Instances, each with a connection of its own.
pub(crate) struct Fleet {
    words: mpsc::Receiver<(usize, Word)>,
    _tasks: JoinSet<()>,
}

impl Fleet {
    /// Begins to dial.
    pub(crate) fn start(control: &str, instances: usize) -> Self {
        // More than is said between two waits; an instance waits for room.
        let (tell, words) = mpsc::channel(4 * instances);
        let mut tasks = JoinSet::new();
        for number in 0..instances {
            let endpoint = Endpoint::from_shared(format!("http://{control}")).expect("an address");
            tasks.spawn(live(number, endpoint, tell.clone()));
        }
        Self { words, _tasks: tasks }
    }

    /// Waits until so many instances have said something; their words.
    pub(crate) async fn all(&mut self, instances: usize, wanted: impl Fn(&Word) -> bool) -> Vec<Word> {
        let mut said = HashMap::new();
        while said.len() < instances {
            let (number, word) = self.words.recv().await.expect("the fleet lives");
            if wanted(&word) {
                said.entry(number).or_insert(word);
            }
        }
        said.into_values().collect()
    }
}

/// One instance, for ever.
async fn live(number: usize, endpoint: Endpoint, tell: mpsc::Sender<(usize, Word)>) {
    let mut status = v1::Status::default();
    let mut wait = FIRST;
    loop {
        let begun = Instant::now();
        if let Ok(channel) = endpoint.connect().await {
            // However it ended, it is made anew.
            let _ = session(number, channel, &mut status, &tell).await;
        }
        if begun.elapsed() >= MOST {
            wait = FIRST;
        }
        tokio::time::sleep(wait.mul_f64(0.5 + 0.5 * rand::random::<f64>())).await;
        wait = (wait * 2).min(MOST);
    }
}

async fn session(
    number: usize,
    channel: Channel,
    status: &mut v1::Status,
    tell: &mpsc::Sender<(usize, Word)>,
) -> Result<(), tonic::Status> {
    let (say, words) = mpsc::channel(64);
    let hello = v1::Hello {
        service: format!("service-{}", number % 20),
        instance: format!("instance-{number}"),
        version: "1.0.0".to_owned(),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    for message in [from_agent::Message::Hello(hello), from_agent::Message::Status(status.clone())] {
        let _ = say.try_send(FromAgent { message: Some(message) });
    }
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.map_err(|e| tonic::Status::unavailable(e.to_string()))?;
    let path = PathAndQuery::from_static("/fuseboard.control.v1.Control/Connect");
    let codec = tonic_prost::ProstCodec::<FromAgent, ToAgent>::default();
    let mut hear = client.streaming(Request::new(ReceiverStream::new(words)), path, codec).await?.into_inner();
    let mut due = tokio::time::interval_at(tokio::time::Instant::now() + STATUS, STATUS);
    loop {
        tokio::select! {
            message = hear.message() => {
                let Some(message) = message? else { return Ok(()) };
                obey(message, status);
                let word = Word { revision: status.running, at: Instant::now() };
                let _ = tell.send((number, word)).await;
            }
            _ = due.tick() => {}
        }
        let message = from_agent::Message::Status(status.clone());
        if say.send(FromAgent { message: Some(message) }).await.is_err() {
            return Ok(());
        }
    }
}

/// Reads and checks what came, as far as that needs no engines.
fn obey(message: ToAgent, status: &mut v1::Status) {
    match message.message {
        Some(to_agent::Message::Policy(policy)) => {
            let revision = policy.revision;
            let document = PolicyDocument::try_from(policy).expect("a good policy");
            std::hint::black_box(PolicySet::new(revision, &document));
            (status.running, status.attempted) = (revision, revision);
        }
        Some(to_agent::Message::Overrides(overrides)) => {
            status.overrides_generation = overrides.generation;
            status.overrides = overrides.overrides.iter().map(|o| o.id).collect();
        }
        None => {}
    }
}
