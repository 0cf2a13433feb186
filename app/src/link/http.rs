//! One collector over HTTP: MessagePack both ways, NDJSON for what it tells by itself.

use std::path::Path;
use std::time::Duration;

use fuseboard_api::ask::{Answered, Ask, Refusal};
use fuseboard_api::command::{Command, Receipt};
use fuseboard_api::identity::Whoami;
use fuseboard_api::live::LiveEvent;
use http::StatusCode;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::AsyncWriteExt;

use super::Source;
use crate::wire::{self, Client, Reply, Sent};

const MSGPACK: &str = "application/msgpack";
/// How long a collector may say nothing; while nothing happens it gives a sign of life every 5 s.
const PATIENCE: Duration = Duration::from_secs(60);
/// The largest answer.
const LARGEST: usize = 1 << 30;
/// How long a line that the collector tells by itself may be.
const LONGEST_LINE: usize = 1 << 20;
/// Answers above this size are decoded on another thread, so that the small ones go on.
const LARGE: usize = 256 << 10;

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Nobody answers as a collector does.
    Lost(String),
    /// The collector does not know who we are: asking on is of no use until somebody does something about it.
    Unknown(String),
    /// The collector said no.
    Refused(String),
    /// Its certificate, or ours, is not taken.
    Untrusted(String),
}

impl Trouble {
    /// In words.
    pub(super) fn words(self) -> String {
        let (Self::Lost(why) | Self::Unknown(why) | Self::Refused(why) | Self::Untrusted(why)) = self;
        why
    }
}

impl From<crate::wire::WireError> for Trouble {
    fn from(error: crate::wire::WireError) -> Self {
        match error {
            crate::wire::WireError::Untrusted(why) => Self::Untrusted(why),
            other => Self::Lost(other.to_string()),
        }
    }
}

/// One collector.
#[derive(Debug, Clone)]
pub(super) struct Collector {
    http: Client,
}

impl Collector {
    /// A client for the collector of `source`.
    pub(super) fn new(source: &Source) -> Result<Self, String> {
        Ok(Self { http: Client::new(&source.url, &source.access, PATIENCE).map_err(|e| e.to_string())? })
    }

    /// Asks.
    pub(super) async fn ask(&self, ask: &Ask) -> Result<Answered, String> {
        self.post("/v1/ask", ask).await
    }

    /// Gives a command.
    pub(super) async fn command(&self, command: &Command) -> Result<Receipt, String> {
        self.post("/v1/command", command).await
    }

    /// Asks who we are.
    pub(super) async fn whoami(&self) -> Result<Whoami, Trouble> {
        let reply = self.get("/v1/whoami").await?;
        let json = reply.is_json();
        decode(&reply.bytes(LARGE).await?, json).map_err(Trouble::Lost)
    }

    async fn post<Q: Serialize, A: DeserializeOwned + Send + 'static>(&self, path: &str, q: &Q) -> Result<A, String> {
        let body = rmp_serde::to_vec_named(q).map_err(|e| format!("the question cannot be written: {e}"))?;
        let sent = Sent { body: Some((MSGPACK, body.into())), accept: Some(MSGPACK) };
        let asked = async { granted(self.http.send(path, sent).await?).await };
        let reply = asked.await.map_err(Trouble::words)?;
        let json = reply.is_json();
        let bytes = reply.bytes(LARGEST).await.map_err(|e| e.to_string())?;
        if bytes.len() < LARGE {
            return decode(&bytes, json);
        }
        tokio::task::spawn_blocking(move || decode(&bytes, json)).await.map_err(|e| format!("decoding stopped: {e}"))?
    }

    async fn get(&self, path: &str) -> Result<Reply, Trouble> {
        granted(self.http.send(path, Sent { body: None, accept: Some(MSGPACK) }).await?).await
    }

    /// Listens to what the collector tells by itself, until the stream ends; `tell` is called first without an event, when
    /// the collector has begun to talk. Gives why the stream ended.
    pub(super) async fn listen(&self, mut tell: impl FnMut(Option<LiveEvent>)) -> Trouble {
        let mut reply = match self.get("/v1/live").await {
            Ok(reply) => reply,
            Err(trouble) => return trouble,
        };
        tell(None);
        let mut buffer: Vec<u8> = Vec::new();
        loop {
            match reply.chunk().await {
                Ok(Some(chunk)) => buffer.extend_from_slice(&chunk),
                Ok(None) => return Trouble::Lost("the collector closed the connection".to_owned()),
                Err(error) => return error.into(),
            }
            while let Some(end) = buffer.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = buffer.drain(..=end).collect();
                if let Ok(event) = serde_json::from_slice::<LiveEvent>(&line) {
                    tell(Some(event));
                }
            }
            if buffer.len() > LONGEST_LINE {
                return Trouble::Lost(format!("the collector sent a line longer than {LONGEST_LINE} bytes"));
            }
        }
    }

    /// Writes an incident's file to `to`; gives its size.
    pub(super) async fn download(&self, incident: u64, to: &Path) -> Result<u64, String> {
        let mut reply = self.get(&format!("/v1/incidents/{incident}/file")).await.map_err(Trouble::words)?;
        let failed = |e: std::io::Error| format!("cannot write {}: {e}", to.display());
        let mut file = tokio::fs::File::create(to).await.map_err(failed)?;
        let mut size = 0;
        while let Some(chunk) = reply.chunk().await.map_err(|e| e.to_string())? {
            size += chunk.len() as u64;
            file.write_all(&chunk).await.map_err(failed)?;
        }
        file.flush().await.map_err(failed)?;
        Ok(size)
    }
}

/// The reply, unless it is a refusal.
async fn granted(reply: Reply) -> Result<Reply, Trouble> {
    let (status, json) = (reply.status(), reply.is_json());
    if status.is_success() {
        return Ok(reply);
    }
    let bytes = reply.bytes(LARGE).await?;
    let why = match decode::<Refusal>(&bytes, json) {
        Ok(refusal) => refusal.message,
        Err(_) => format!("the address answers {}; is it a Fuseboard collector?", wire::said(status, &bytes)),
    };
    Err(match status {
        StatusCode::UNAUTHORIZED => Trouble::Unknown(why),
        StatusCode::FORBIDDEN => Trouble::Refused(why),
        // Another program at this address, or a collector that has just begun: it may answer differently in a moment.
        _ => Trouble::Lost(why),
    })
}

fn decode<A: DeserializeOwned>(bytes: &[u8], json: bool) -> Result<A, String> {
    if json {
        return serde_json::from_slice(bytes).map_err(|e| format!("the answer cannot be read: {e}"));
    }
    rmp_serde::from_slice(bytes)
        .map_err(|e| format!("the answer cannot be read: {e}; use the same version on both sides"))
}
