//! An agent that does what the test says, over the real control stream; and ways to wait for what must come.

use std::future::Future;
use std::time::Duration;

use fuseboard_api::TimeRange;
use fuseboard_api::ask::{Answer, Question, Refusal};
use fuseboard_api::change::{Changes, OverrideAction, OverrideSpec, Selector};
use fuseboard_api::command::{Action, Command, Receipt};
use fuseboard_api::fleet::AuditQuery;
use fuseboard_policy::wire::v1::{self, FromAgent, ToAgent, from_agent, to_agent};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};

use crate::common::{EVER, Stage};

/// Nothing that works takes so long.
const PATIENCE: Duration = Duration::from_secs(20);

fn hello(service: &str, instance: &str) -> from_agent::Message {
    from_agent::Message::Hello(v1::Hello {
        service: service.into(),
        instance: instance.into(),
        version: "1.2.3".into(),
        agent_version: "0".into(),
    })
}

/// One control stream.
pub(crate) struct FakeAgent {
    say: mpsc::Sender<FromAgent>,
    hear: Streaming<ToAgent>,
    pub(crate) status: v1::Status,
}

impl FakeAgent {
    /// Connects and greets.
    pub(crate) async fn connect(stage: &Stage, service: &str, instance: &str) -> Self {
        Self::open(stage, hello(service, instance)).await
    }

    /// Connects with a token and greets; why the stream was refused before anything was said.
    pub(crate) async fn with_token(stage: &Stage, token: Option<&str>, service: &str) -> Result<Self, Status> {
        Self::try_open(stage, hello(service, "a"), token).await
    }

    /// Connects and says anything first.
    pub(crate) async fn open(stage: &Stage, first: from_agent::Message) -> Self {
        Self::try_open(stage, first, None).await.expect("a stream")
    }

    async fn try_open(stage: &Stage, first: from_agent::Message, token: Option<&str>) -> Result<Self, Status> {
        let address = format!("http://{}", stage.handle.addresses().control);
        let channel = Channel::from_shared(address).expect("an address").connect().await.expect("connects");
        let mut client = tonic::client::Grpc::new(channel);
        client.ready().await.expect("ready");
        let (say, words) = mpsc::channel(64);
        say.send(FromAgent { message: Some(first) }).await.expect("room");
        let path = PathAndQuery::from_static("/fuseboard.control.v1.Control/Connect");
        let codec = tonic_prost::ProstCodec::<FromAgent, ToAgent>::default();
        let mut request = Request::new(ReceiverStream::new(words));
        if let Some(token) = token {
            request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().expect("a header"));
        }
        let reply = client.streaming(request, path, codec).await?;
        Ok(Self { say, hear: reply.into_inner(), status: v1::Status::default() })
    }

    /// The next message.
    pub(crate) async fn next(&mut self) -> Result<Option<to_agent::Message>, Status> {
        let next = tokio::time::timeout(PATIENCE, self.hear.message()).await.expect("a message in time");
        Ok(next?.and_then(|m| m.message))
    }

    pub(crate) async fn next_policy(&mut self) -> v1::Policy {
        match self.next().await.expect("the stream lives") {
            Some(to_agent::Message::Policy(policy)) => policy,
            other => panic!("a policy, not {other:?}"),
        }
    }

    pub(crate) async fn next_overrides(&mut self) -> v1::Overrides {
        match self.next().await.expect("the stream lives") {
            Some(to_agent::Message::Overrides(overrides)) => overrides,
            other => panic!("overrides, not {other:?}"),
        }
    }

    pub(crate) async fn say(&self, message: from_agent::Message) {
        self.say.send(FromAgent { message: Some(message) }).await.expect("the stream lives");
    }

    /// Says how it is.
    pub(crate) async fn tell(&self) {
        self.say(from_agent::Message::Status(self.status.clone())).await;
    }

    /// Takes the next message into force and says so.
    pub(crate) async fn obey(&mut self) {
        match self.next().await.expect("the stream lives").expect("a message") {
            to_agent::Message::Policy(policy) => {
                self.status.running = policy.revision;
                self.status.attempted = policy.revision;
            }
            to_agent::Message::Overrides(overrides) => {
                self.status.overrides_generation = overrides.generation;
                self.status.overrides = overrides.overrides.iter().map(|o| o.id).collect();
            }
        }
        self.tell().await;
    }
}

/// Asks after every commit until the answer is what is waited for.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(stage: &Stage, check: impl Fn() -> F) -> T {
    let mut commits = stage.handle.store().subscribe();
    let waiting = async {
        loop {
            if let Some(found) = check().await {
                return found;
            }
            // Falling behind only means that there is something new.
            let _ = commits.recv().await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("it comes in time")
}

pub(crate) async fn changes(stage: &Stage) -> Changes {
    match stage.ask_at(Question::Changes { range: EVER }, None).await.1 {
        Answer::Changes(changes) => changes,
        other => panic!("changes, not {other:?}"),
    }
}

pub(crate) async fn command(stage: &Stage, action: Action) -> Result<Receipt, Refusal> {
    stage.handle.command(Command { actor: "ann".into(), reason: "a test".into(), action }).await
}

/// A document that sets the attempt timeout of every edge.
pub(crate) fn document(attempt_ms: u64) -> String {
    format!("# everyone\n[[edge]]\nservice = \"*\"\ntimeout = {{ attempt_ms = {attempt_ms}, overall_ms = 9000 }}\n")
}

pub(crate) async fn set_policy(stage: &Stage, base: u64, attempt_ms: u64) -> Receipt {
    let action = Action::set_policy(base, document(attempt_ms));
    command(stage, action).await.expect("a valid document on the right base")
}

/// Forces the breakers of a caller.
pub(crate) fn force(caller: Option<&str>, mode: fuseboard_api::breaker::BreakerMode) -> OverrideSpec {
    OverrideSpec {
        selector: Selector { caller: caller.map(Into::into), service: Some("payments".into()), ..Selector::default() },
        action: OverrideAction::Mode(mode),
    }
}

pub(crate) fn audit_actions(audit: &fuseboard_api::fleet::Audit) -> Vec<&str> {
    audit.entries.iter().rev().map(|e| e.action.as_str()).collect()
}

pub(crate) async fn audit(stage: &Stage) -> fuseboard_api::fleet::Audit {
    match stage.ask_at(Question::Audit(AuditQuery::default()), None).await.1 {
        Answer::Audit(audit) => audit,
        other => panic!("the audit, not {other:?}"),
    }
}

pub(crate) async fn fleet(stage: &Stage) -> fuseboard_api::fleet::Fleet {
    let range = TimeRange::default();
    match stage.ask_at(Question::Fleet { range }, None).await.1 {
        Answer::Fleet(fleet) => fleet,
        other => panic!("the fleet, not {other:?}"),
    }
}
