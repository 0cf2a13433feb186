//! Following the keys of a service.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use hyper::body::Incoming;
use serde_json::Value;

use super::gateway::{Gateway, Keys, Listed, number};
use crate::discovery::http::{MOST_ANSWER, chunk, unreachable, unreadable};
use crate::discovery::{DiscoveryError, Pauses, Teller};

/// How often a small read finds out whether etcd still answers: a watch on which nothing happens is silent.
const PULSE: Duration = Duration::from_secs(10);

/// Tells the instances, for ever.
pub(super) async fn follow(gateway: Arc<Gateway>, keys: Keys, tell: Teller) {
    let mut following = Following { gateway, keys, tell, known: None, pauses: Pauses::default() };
    loop {
        if let Err(error) = following.run().await {
            following.tell.failed(error);
            following.pauses.wait().await;
        }
    }
}

struct Following {
    gateway: Arc<Gateway>,
    keys: Keys,
    tell: Teller,
    /// What the watch has seen; `None` where it must be listed.
    known: Option<Listed>,
    pauses: Pauses,
}

/// What to do after a message of a watch.
enum After {
    Listen,
    List,
}

impl Following {
    /// Lists if need be, then watches until something breaks. Comes back well when there is to be another list.
    async fn run(&mut self) -> Result<(), DiscoveryError> {
        let mut known = match self.known.take() {
            Some(known) => known,
            None => {
                let listed = self.gateway.list(&self.keys).await?;
                self.tell.list(listed.instances());
                listed
            }
        };
        let (at, answer) = match self.gateway.watch(&self.keys, known.revision + 1).await {
            Ok(begun) => begun,
            Err(error) => {
                self.known = Some(known);
                return Err(error);
            }
        };
        match self.listen(&at, answer.into_body(), &mut known).await {
            Ok(()) => Ok(()),
            Err(error) => {
                self.known = Some(known);
                Err(error)
            }
        }
    }

    async fn listen(&mut self, at: &str, mut body: Incoming, known: &mut Listed) -> Result<(), DiscoveryError> {
        let (mut lines, mut pulse) = (Lines::default(), tokio::time::interval(PULSE));
        pulse.tick().await;
        loop {
            tokio::select! {
                data = chunk(at, &mut body) => {
                    let data = data?.ok_or_else(|| unreachable(at, "it closed the watch"))?;
                    lines.push(at, &data)?;
                }
                _ = pulse.tick() => {
                    if self.gateway.revision(&self.keys).await? < known.revision {
                        return Ok(());
                    }
                }
            }
            while let Some(message) = lines.next(at)? {
                match self.take(at, &message, known)? {
                    After::Listen => {}
                    After::List => return Ok(()),
                }
            }
        }
    }

    fn take(&mut self, at: &str, message: &Value, known: &mut Listed) -> Result<After, DiscoveryError> {
        if let Some(error) = message["error"]["message"].as_str() {
            return Err(DiscoveryError::Refused { at: at.to_owned(), reason: error.to_owned() });
        }
        let result = &message["result"];
        let revision = number(&result["header"]["revision"]);
        if result["canceled"] == true {
            // Compacted: what is known is too old to go on from.
            if number(&result["compact_revision"]) > 0 {
                return Ok(After::List);
            }
            let reason = result["cancel_reason"].as_str().unwrap_or("it cancelled the watch");
            return Err(DiscoveryError::Refused { at: at.to_owned(), reason: reason.to_owned() });
        }
        if result["created"] == true {
            if revision < known.revision {
                // It came back without its data; a watch from the future would be silent.
                return Ok(After::List);
            }
            // It answers again, and what happened meanwhile is about to be told.
            self.pauses.over();
            self.tell.list(known.instances());
            return Ok(After::Listen);
        }
        let mut changed = false;
        for event in result["events"].as_array().into_iter().flatten() {
            changed |= known.take(event);
        }
        known.revision = known.revision.max(revision);
        if changed {
            self.tell.list(known.instances());
        }
        Ok(After::Listen)
    }
}

/// Messages, a line each.
#[derive(Default)]
struct Lines {
    data: BytesMut,
}

impl Lines {
    fn push(&mut self, at: &str, data: &[u8]) -> Result<(), DiscoveryError> {
        if self.data.len() + data.len() > MOST_ANSWER {
            return Err(unreadable(at, format!("a message has more than {MOST_ANSWER} bytes")));
        }
        self.data.extend_from_slice(data);
        Ok(())
    }

    fn next(&mut self, at: &str) -> Result<Option<Value>, DiscoveryError> {
        let Some(end) = self.data.iter().position(|byte| *byte == b'\n') else { return Ok(None) };
        let line = self.data.split_to(end + 1);
        serde_json::from_slice(&line).map(Some).map_err(|error| unreadable(at, error))
    }
}
