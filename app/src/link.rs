//! The one asynchronous room: it asks the collector and tells what came.
//!
//! The rest of the console sees a `Door`: it says what is wanted, gives commands, and takes what has come since. What is
//! wanted replaces what was wanted before; answers wait one a slot, the newest wins; commands are few and bounded.

mod bell;
mod http;
mod rehearsed;
mod room;
mod standing;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;

use fuseboard_api::UnixNanos;
use fuseboard_api::ask::{Answer, Question};
use fuseboard_api::command::{Command, Receipt};
use fuseboard_api::identity::Whoami;

use crate::model::{Connection, SlotId, SourceKind, Want};
use crate::wire::Access;

pub(crate) use rehearsed::Rehearsed;
pub(crate) use room::{Link, NoLink};

/// What is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its name: `live · this machine`.
    pub name: String,
    /// Base of the collector's control address: `http://127.0.0.1:4380`.
    pub url: String,
    /// Its kind.
    pub kind: SourceKind,
    /// How one is known there, and how it is trusted.
    pub access: Access,
}

/// One question's outcome.
#[derive(Debug)]
pub(crate) struct Delivery {
    /// Whose.
    pub(crate) slot: SlotId,
    /// The question, its moving range at zero ([`Want::identity`]).
    pub(crate) identity: Question,
    /// The instant it was asked as of.
    pub(crate) as_of: Option<UnixNanos>,
    /// The answer and the instant that it holds for, or why there is none.
    pub(crate) result: Result<(Answer, UnixNanos), String>,
}

/// What has come since the last look.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    /// Answers, at most one a slot.
    pub(crate) answers: Vec<Delivery>,
    /// What became of commands, by their number.
    pub(crate) receipts: Vec<(u64, Result<Receipt, String>)>,
    /// What became of downloads, in words.
    pub(crate) downloads: Vec<Result<String, String>>,
    /// Whether there is somebody to ask, when that changed.
    pub(crate) connection: Option<Connection>,
    /// Who one is to the collector, when it has said so.
    pub(crate) who: Option<Whoami>,
    /// The newest instant that the collector has told of.
    pub(crate) newest: Option<UnixNanos>,
}

/// The way to a collector.
pub(crate) trait Door: fmt::Debug + Send {
    /// Replaces what is wanted. Standing questions are asked again by themselves when their data changes.
    fn want(&mut self, wants: Vec<Want>);

    /// Gives a command; its receipt comes under `number`.
    ///
    /// # Errors
    /// Says in words why it was not sent.
    fn act(&mut self, number: u64, command: Command) -> Result<(), String>;

    /// Writes an incident's file to `to`.
    ///
    /// # Errors
    /// Says in words why it was not begun.
    fn download(&mut self, incident: u64, to: PathBuf) -> Result<(), String>;

    /// Takes what has come.
    fn take(&mut self) -> Inbox;
}
