//! One collector over HTTP: MessagePack both ways, NDJSON for what it tells by itself.

use std::path::Path;
use std::time::Duration;

use fuseboard_api::ask::{Answered, Ask, Refusal};
use fuseboard_api::command::{Command, Receipt};
use fuseboard_api::live::LiveEvent;
use futures_util::StreamExt;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::AsyncWriteExt;

use super::Source;

const MSGPACK: &str = "application/msgpack";
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a line that the collector tells by itself may be.
const LONGEST_LINE: usize = 1 << 20;
/// Answers above this size are decoded on another thread, so that the small ones go on.
const LARGE: usize = 256 << 10;

/// One collector.
#[derive(Debug, Clone)]
pub(super) struct Collector {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
}

impl Collector {
    /// A client for the collector of `source`.
    pub(super) fn new(source: &Source) -> Result<Self, String> {
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(3))
            .no_proxy()
            .tcp_nodelay(true)
            .build()
            .map_err(|e| format!("no HTTP client: {}", chain(&e)))?;
        Ok(Self { http, base: source.url.trim_end_matches('/').to_owned(), token: source.token.clone() })
    }

    fn signed(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// Asks.
    pub(super) async fn ask(&self, ask: &Ask) -> Result<Answered, String> {
        self.post("/v1/ask", ask).await
    }

    /// Gives a command.
    pub(super) async fn command(&self, command: &Command) -> Result<Receipt, String> {
        self.post("/v1/command", command).await
    }

    async fn post<Q: Serialize, A: DeserializeOwned + Send + 'static>(&self, path: &str, q: &Q) -> Result<A, String> {
        let body = rmp_serde::to_vec_named(q).map_err(|e| format!("the question cannot be written: {e}"))?;
        let request = self.http.post(format!("{}{path}", self.base)).timeout(PATIENCE);
        let request = self.signed(request.header(CONTENT_TYPE, MSGPACK).header(ACCEPT, MSGPACK)).body(body);
        let response = request.send().await.map_err(|e| chain(&e))?;
        let status = response.status();
        let json = is_json(&response);
        let bytes = response.bytes().await.map_err(|e| chain(&e))?;
        if !status.is_success() {
            return Err(refusal(status, &bytes, json));
        }
        if bytes.len() < LARGE {
            return decode(&bytes, json);
        }
        tokio::task::spawn_blocking(move || decode(&bytes, json)).await.map_err(|e| format!("decoding stopped: {e}"))?
    }

    /// Listens to what the collector tells by itself, until the stream ends; `tell` is called first without an event, when
    /// the collector has begun to talk. Gives why the stream ended.
    pub(super) async fn listen(&self, mut tell: impl FnMut(Option<LiveEvent>)) -> String {
        let request = self.signed(self.http.get(format!("{}/v1/live", self.base)));
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return chain(&error),
        };
        if !response.status().is_success() {
            let (status, json) = (response.status(), is_json(&response));
            let bytes = response.bytes().await.unwrap_or_default();
            return refusal(status, &bytes, json);
        }
        tell(None);
        let mut stream = response.bytes_stream();
        let mut buffer: Vec<u8> = Vec::new();
        while let Some(chunk) = stream.next().await {
            match chunk {
                Ok(chunk) => buffer.extend_from_slice(&chunk),
                Err(error) => return chain(&error),
            }
            while let Some(end) = buffer.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = buffer.drain(..=end).collect();
                if let Ok(event) = serde_json::from_slice::<LiveEvent>(&line) {
                    tell(Some(event));
                }
            }
            if buffer.len() > LONGEST_LINE {
                return format!("the collector sent a line longer than {LONGEST_LINE} bytes");
            }
        }
        "the collector closed the connection".to_owned()
    }

    /// Writes an incident's file to `to`; gives its size.
    pub(super) async fn download(&self, incident: u64, to: &Path) -> Result<u64, String> {
        let request = self.signed(self.http.get(format!("{}/v1/incidents/{incident}/file", self.base)));
        let response = request.send().await.map_err(|e| chain(&e))?;
        if !response.status().is_success() {
            let (status, json) = (response.status(), is_json(&response));
            let bytes = response.bytes().await.unwrap_or_default();
            return Err(refusal(status, &bytes, json));
        }
        let failed = |e: std::io::Error| format!("cannot write {}: {e}", to.display());
        let mut file = tokio::fs::File::create(to).await.map_err(failed)?;
        let mut stream = response.bytes_stream();
        let mut size = 0;
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(|e| chain(&e))?;
            size += chunk.len() as u64;
            file.write_all(&chunk).await.map_err(failed)?;
        }
        file.flush().await.map_err(failed)?;
        Ok(size)
    }
}

fn is_json(response: &reqwest::Response) -> bool {
    response.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).is_some_and(|v| v.contains("json"))
}

fn decode<A: DeserializeOwned>(bytes: &[u8], json: bool) -> Result<A, String> {
    if json {
        return serde_json::from_slice(bytes).map_err(|e| format!("the answer cannot be read: {e}"));
    }
    rmp_serde::from_slice(bytes)
        .map_err(|e| format!("the answer cannot be read: {e}; use the same version on both sides"))
}

fn refusal(status: reqwest::StatusCode, bytes: &[u8], json: bool) -> String {
    match decode::<Refusal>(bytes, json) {
        Ok(refusal) => refusal.message,
        Err(_) => format!("the address answers {status}: is it a Fuseboard collector?"),
    }
}

/// An error with what is behind it, shortly: the innermost says most.
fn chain(error: &reqwest::Error) -> String {
    let mut inner: &dyn std::error::Error = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    let place = error.url().and_then(|u| Some(format!("{}:{}", u.host_str()?, u.port_or_known_default()?)));
    match place {
        Some(place) if error.is_timeout() => format!("{place} did not answer in time"),
        Some(place) => format!("{place}: {inner}"),
        None => inner.to_string(),
    }
}
