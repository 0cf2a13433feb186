//! A blocking client of the collector's control address.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use fuseboard_api::UnixNanos;
use fuseboard_api::ask::{Answer, Answered, Ask, Question, Refusal};
use fuseboard_api::command::{Action, Command, Receipt};
use reqwest::{RequestBuilder, Response};

use super::super::exit::Failure;

/// The control address of a collector on this machine that was not told otherwise.
pub(in crate::cli) const DEFAULT_URL: &str = "http://127.0.0.1:4390";

/// Where questions are asked.
const ASK: &str = "/v1/ask";
/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a collector may say nothing in the middle of an answer.
const SILENCE: Duration = Duration::from_secs(60);
/// How long a line that comes by itself may be.
const LONGEST_LINE: usize = 64 << 20;

/// The control address that `text` means: `http://HOST:PORT`, or shorter `HOST:PORT` or a port of this machine.
pub(in crate::cli) fn address(text: &str) -> Result<String, String> {
    let wanted = || format!("{text:?} is no control address; write http://HOST:PORT, like {DEFAULT_URL}");
    let text = text.trim().trim_end_matches('/');
    let url = match text.trim_start_matches(':').parse::<u16>() {
        Ok(port) => format!("http://127.0.0.1:{port}"),
        Err(_) if text.bytes().all(|b| b.is_ascii_digit()) => return Err(wanted()),
        Err(_) if text.contains("://") => text.to_owned(),
        Err(_) => format!("http://{text}"),
    };
    let parsed = reqwest::Url::parse(&url).map_err(|_| wanted())?;
    match parsed.scheme() {
        "http" if parsed.has_host() && !text.ends_with(':') => Ok(url),
        "https" => {
            Err("collectors have no TLS yet; write http://HOST:PORT and reach a far one through a tunnel".to_owned())
        }
        _ => Err(wanted()),
    }
}

/// Asks and commands one collector.
pub(in crate::cli) struct Client {
    runtime: tokio::runtime::Runtime,
    http: reqwest::Client,
    url: String,
}

impl Client {
    /// A client of the collector at `url`; nothing is sent yet.
    pub(in crate::cli) fn new(url: &str) -> Result<Self> {
        let url = address(url).map_err(anyhow::Error::msg)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        // Collectors are on the loopback, where no proxy belongs in between.
        let http = reqwest::Client::builder().no_proxy().connect_timeout(CONNECT).read_timeout(SILENCE).build()?;
        Ok(Self { runtime, http, url })
    }

    /// The collector's address as it is asked.
    pub(in crate::cli) fn url(&self) -> &str {
        &self.url
    }

    /// Asks as of now.
    pub(in crate::cli) fn ask(&self, question: Question) -> Result<Answer> {
        self.ask_as_of(question, None)
    }

    /// Asks as of an instant.
    pub(in crate::cli) fn ask_as_of(&self, question: Question, as_of: Option<UnixNanos>) -> Result<Answer> {
        let answered: Answered = self.json(self.http.post(self.at(ASK)).json(&Ask { question, as_of }))?;
        Ok(answered.answer)
    }

    /// Gives a command.
    pub(in crate::cli) fn command(&self, actor: &str, reason: &str, action: Action) -> Result<Receipt> {
        let command = Command { actor: actor.to_owned(), reason: reason.to_owned(), action };
        self.json(self.http.post(self.at("/v1/command")).json(&command))
    }

    /// Gets a resource as text.
    pub(in crate::cli) fn text(&self, path: &str) -> Result<String> {
        self.runtime.block_on(async { Ok(self.send(self.http.get(self.at(path))).await?.text().await?) })
    }

    /// Gets a resource piece by piece; returns its size in bytes.
    pub(in crate::cli) fn stream(&self, path: &str, mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<u64> {
        self.runtime.block_on(async {
            let mut response = self.send(self.http.get(self.at(path))).await?;
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
        let mut url = reqwest::Url::parse(&self.at(path))?;
        url.query_pairs_mut().extend_pairs(query);
        self.runtime.block_on(async {
            let mut response = self.send(self.http.get(url)).await?;
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
            let mut response = self.send(self.http.get(self.at(path))).await?;
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

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    fn json<T: serde::de::DeserializeOwned>(&self, request: RequestBuilder) -> Result<T> {
        self.runtime.block_on(async {
            let body = self.send(request).await?.bytes().await?;
            serde_json::from_slice(&body).map_err(|e| self.stranger(format!("its answer cannot be read: {e}")))
        })
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response> {
        let response =
            request.send().await.map_err(|e| Failure::Unreachable { url: self.url.clone(), why: root(&e) })?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let asked = response.url().path().ends_with(ASK);
        let body = response.bytes().await.unwrap_or_default();
        match serde_json::from_slice::<Refusal>(&body) {
            // Questions are always found where they are answered.
            Ok(refusal) if asked && refusal.code == "not_found" => Err(self.stranger(refusal.message)),
            Ok(refusal) => Err(Failure::Refused(refusal).into()),
            Err(_) => Err(self.stranger(format!("it answers {status}"))),
        }
    }

    /// Somebody listens there, but no collector of this version.
    fn stranger(&self, why: String) -> anyhow::Error {
        Failure::Stranger { url: self.url.clone(), why }.into()
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

/// The innermost cause, which names what the system said.
fn root(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_may_be_short_but_not_wrong() {
        for text in ["http://127.0.0.1:4390", "http://127.0.0.1:4390/", "127.0.0.1:4390", ":4390", "4390"] {
            assert_eq!(address(text).as_deref(), Ok(DEFAULT_URL), "{text}");
        }
        assert_eq!(address("localhost:1").as_deref(), Ok("http://localhost:1"));
        for text in ["", "http://", "ftp://127.0.0.1:1", "http://:4390", "99999", "a b"] {
            assert!(address(text).unwrap_err().contains("http://HOST:PORT"), "{text}");
        }
        assert!(address("https://127.0.0.1:4390").unwrap_err().contains("TLS"));
    }

    #[test]
    fn a_pause_passes() {
        Client::new(DEFAULT_URL).unwrap().pause(Duration::from_millis(1));
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
        let client = Client::new(&url).unwrap();
        for _ in 0..2 {
            let error = client.ask(Question::Totals).unwrap_err();
            assert!(matches!(error.downcast_ref(), Some(Failure::Stranger { .. })), "{error:#}");
        }
        other.unwrap().join().unwrap();
    }
}
