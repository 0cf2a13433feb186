//! A blocking client of the collector's control address.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use fuseboard::wire::{self, Access, Reply, Sent};
use fuseboard_api::UnixNanos;
use fuseboard_api::ask::{Answer, Answered, Ask, Question, Refusal};
use fuseboard_api::command::{Action, Command, Receipt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::super::exit::Failure;

/// Where questions are asked.
const ASK: &str = "/v1/ask";
/// How long a collector may say nothing in the middle of an answer.
const SILENCE: Duration = Duration::from_secs(60);
/// The largest answer.
const LARGEST: usize = 1 << 30;
/// How long a line that comes by itself may be.
const LONGEST_LINE: usize = 64 << 20;

/// Asks and commands one collector.
pub(in crate::cli) struct Client {
    runtime: tokio::runtime::Runtime,
    http: wire::Client,
}

impl Client {
    /// A client of the collector at `url`, known and trusting as `access` says; nothing is sent yet.
    pub(in crate::cli) fn new(url: &str, access: &Access) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { runtime, http: wire::Client::new(url, access, SILENCE)? })
    }

    /// The collector's address as it is asked.
    pub(in crate::cli) fn url(&self) -> &str {
        self.http.url()
    }

    /// Asks as of now.
    pub(in crate::cli) fn ask(&self, question: Question) -> Result<Answer> {
        self.ask_as_of(question, None)
    }

    /// Asks as of an instant.
    pub(in crate::cli) fn ask_as_of(&self, question: Question, as_of: Option<UnixNanos>) -> Result<Answer> {
        let answered: Answered = self.post(ASK, &Ask { question, as_of })?;
        Ok(answered.answer)
    }

    /// Gives a command.
    pub(in crate::cli) fn command(&self, actor: &str, reason: &str, action: Action) -> Result<Receipt> {
        let command = Command { actor: actor.to_owned(), reason: reason.to_owned(), action };
        self.post("/v1/command", &command)
    }

    /// Sends words, and reads the answer's.
    pub(in crate::cli) fn post<T: DeserializeOwned>(&self, path: &str, words: &impl Serialize) -> Result<T> {
        let body = serde_json::to_vec(words)?;
        self.json(path, Sent { body: Some(("application/json", body.into())), accept: None })
    }

    /// Reads words.
    pub(in crate::cli) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.json(path, Sent::default())
    }

    /// Gets a resource as text.
    pub(in crate::cli) fn text(&self, path: &str) -> Result<String> {
        let body =
            self.runtime.block_on(async { anyhow::Ok(self.send(path, Sent::default()).await?.bytes(LARGEST).await?) });
        String::from_utf8(body?).map_err(|_| self.stranger("its answer is no text".to_owned()))
    }

    /// Gets a resource piece by piece; returns its size in bytes.
    pub(in crate::cli) fn stream(&self, path: &str, mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<u64> {
        self.runtime.block_on(async {
            let mut response = self.send(path, Sent::default()).await?;
            let mut size = 0;
            while let Some(chunk) = response.chunk().await.context("the collector broke off")? {
                take(&chunk)?;
                size += chunk.len() as u64;
            }
            Ok(size)
        })
    }

    /// Gets lines as they come, until the stream or `each` ends it.
    pub(in crate::cli) fn lines(
        &self,
        path: &str,
        query: &[(&str, &str)],
        mut each: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let path = wire::query(path, query.iter().copied());
        self.runtime.block_on(async {
            let mut response = self.send(&path, Sent::default()).await?;
            let mut buffer: Vec<u8> = Vec::new();
            while let Some(chunk) = response.chunk().await.context("the collector broke off")? {
                buffer.extend_from_slice(&chunk);
                while let Some(end) = buffer.iter().position(|b| *b == b'\n') {
                    let line: Vec<u8> = buffer.drain(..=end).collect();
                    each(&line)?;
                }
                if buffer.len() > LONGEST_LINE {
                    bail!("the collector sent a line longer than {LONGEST_LINE} bytes");
                }
            }
            Ok(())
        })
    }

    /// Gets a resource into a file, which must not exist; returns its size in bytes.
    pub(in crate::cli) fn download(&self, path: &str, file: &std::path::Path) -> Result<u64> {
        let writing = || format!("writing {}", file.display());
        self.runtime.block_on(async {
            let mut response = self.send(path, Sent::default()).await?;
            let mut out = match private(file) {
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
                    bail!("{} exists already; choose another name", file.display())
                }
                made => made.with_context(writing)?,
            };
            let mut copy = async || {
                let mut size = 0;
                while let Some(chunk) = response.chunk().await.context("the collector broke off")? {
                    std::io::Write::write_all(&mut out, &chunk).with_context(writing)?;
                    size += chunk.len() as u64;
                }
                Ok(size)
            };
            let copied = copy().await;
            if copied.is_err() {
                // Half a file is of no use; that it stays when it cannot be removed is not worth a word.
                let _ = std::fs::remove_file(file);
            }
            copied
        })
    }

    /// Lets time pass between two questions.
    pub(in crate::cli) fn pause(&self, time: std::time::Duration) {
        // Inside a block: a timer can only be made where the runtime already runs.
        self.runtime.block_on(async { tokio::time::sleep(time).await });
    }

    /// The present instant, for ranges.
    pub(in crate::cli) fn now() -> UnixNanos {
        UnixNanos::now()
    }

    fn json<T: DeserializeOwned>(&self, path: &str, sent: Sent<'_>) -> Result<T> {
        self.runtime.block_on(async {
            let body = self.send(path, sent).await?.bytes(LARGEST).await?;
            serde_json::from_slice(&body).map_err(|e| self.stranger(format!("its answer cannot be read: {e}")))
        })
    }

    async fn send(&self, path: &str, sent: Sent<'_>) -> Result<Reply> {
        let reply = self.http.send(path, sent).await.map_err(|e| Failure::of(self.url(), &e))?;
        let status = reply.status();
        if status.is_success() {
            return Ok(reply);
        }
        let body = reply.bytes(LARGEST).await.unwrap_or_default();
        match serde_json::from_slice::<Refusal>(&body) {
            // Questions are always found where they are answered.
            Ok(refusal) if path == ASK && refusal.code == "not_found" => Err(self.stranger(refusal.message)),
            Ok(refusal) => Err(Failure::Refused(refusal).into()),
            Err(_) => Err(self.stranger(format!("it answers {}", wire::said(status, &body)))),
        }
    }

    /// Somebody listens there, but no collector of this version.
    fn stranger(&self, why: String) -> anyhow::Error {
        Failure::Stranger { url: self.url().to_owned(), why }.into()
    }
}

/// A new file that only its owner reads: an incident holds whatever was stored.
fn private(path: &std::path::Path) -> std::io::Result<std::fs::File> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_passes() {
        Client::new(wire::DEFAULT_URL, &Access::default()).unwrap().pause(Duration::from_millis(1));
    }

    #[test]
    fn who_speaks_another_tongue_is_no_collector() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let other = std::thread::Builder::new().name("stranger".into()).spawn(move || {
            for reply in ["200 OK", "404 Not Found"] {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = [0; 4096];
                std::io::Read::read(&mut stream, &mut request).unwrap();
                let said = format!("HTTP/1.1 {reply}\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello");
                std::io::Write::write_all(&mut stream, said.as_bytes()).unwrap();
            }
        });
        let client = Client::new(&url, &Access::default()).unwrap();
        for _ in 0..2 {
            let error = client.ask(Question::Totals).unwrap_err();
            assert!(matches!(error.downcast_ref(), Some(Failure::Stranger { .. })), "{error:#}");
        }
        other.unwrap().join().unwrap();
    }
}
