//! A blocking client of the collector's control address.

use anyhow::{Context, Result};
use fuseboard_api::UnixNanos;
use fuseboard_api::ask::{Answer, Answered, Ask, Question, Refusal};
use fuseboard_api::command::{Action, Command, Receipt};
use reqwest::{RequestBuilder, Response};

use super::super::exit::Failure;

/// Asks and commands one collector.
pub(in crate::cli) struct Client {
    runtime: tokio::runtime::Runtime,
    http: reqwest::Client,
    url: String,
}

impl Client {
    /// A client of the collector at `url`; nothing is sent yet.
    pub(in crate::cli) fn new(url: &str) -> Result<Self> {
        let url = url.trim_end_matches('/');
        let url = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
        reqwest::Url::parse(&url).with_context(|| format!("{url:?} is no URL; expected http://HOST:PORT"))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { runtime, http: reqwest::Client::new(), url })
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
        let answered: Answered = self.json(self.http.post(self.at("/v1/ask")).json(&Ask { question, as_of }))?;
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

    /// Gets a resource into a file, which must not exist; returns its size in bytes.
    pub(in crate::cli) fn download(&self, path: &str, file: &std::path::Path) -> Result<u64> {
        self.runtime.block_on(async {
            let mut response = self.send(self.http.get(self.at(path))).await?;
            let mut out = std::fs::File::create_new(file).with_context(|| format!("writing {}", file.display()))?;
            let mut size = 0;
            while let Some(chunk) = response.chunk().await? {
                std::io::Write::write_all(&mut out, &chunk).with_context(|| format!("writing {}", file.display()))?;
                size += chunk.len() as u64;
            }
            Ok(size)
        })
    }

    /// Lets time pass between two questions.
    pub(in crate::cli) fn pause(&self, time: std::time::Duration) {
        self.runtime.block_on(tokio::time::sleep(time));
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
            serde_json::from_slice(&body).context("the collector's answer is not what this version of fuseboard expects")
        })
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response> {
        let response = request.send().await.map_err(|e| Failure::Unreachable { url: self.url.clone(), why: root(&e) })?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = response.bytes().await.unwrap_or_default();
        let refusal = serde_json::from_slice(&body).unwrap_or_else(|_| Refusal {
            code: status.as_str().to_owned(),
            message: format!("{} answers {status}; is that a Fuseboard collector's control address?", self.url),
        });
        Err(Failure::Refused(refusal).into())
    }
}

/// The innermost cause, which names what the system said.
fn root(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
