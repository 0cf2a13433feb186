//! Small numbers for what repeats: names, senders, series. Remembered in memory, kept in tables.

use std::collections::{HashMap, HashSet};

use fuseboard_api::graph::NodeKind;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::rows::NewOrigin;

/// How many of each kind are remembered in memory; beyond it the memory is emptied and fills anew from the tables.
const REMEMBERED: usize = 100_000;

/// Attribute keys kept for completion.
const KEYS: usize = 2_000;

/// What a series counts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct SeriesKey {
    /// True: what an instance answered; false: what callers saw on an edge.
    pub(super) inbound: bool,
    pub(super) caller: String,
    pub(super) callee: String,
    pub(super) operation: String,
    pub(super) instance: String,
    pub(super) version: String,
}

/// What a series' ends are, as far as known when it is first seen.
#[derive(Debug, Clone, Copy)]
pub(super) struct SeriesFacts<'a> {
    pub(super) caller_kind: NodeKind,
    pub(super) callee_kind: NodeKind,
    pub(super) system: &'a str,
    pub(super) asynchronous: bool,
}

/// A number for a node's kind, as stored.
pub(crate) fn kind_number(kind: NodeKind) -> i64 {
    match kind {
        NodeKind::Service => 0,
        NodeKind::Database => 1,
        NodeKind::Queue => 2,
        NodeKind::External => 3,
    }
}

/// The reverse of [`kind_number`].
pub(crate) fn kind_of(number: i64) -> NodeKind {
    match number {
        0 => NodeKind::Service,
        1 => NodeKind::Database,
        2 => NodeKind::Queue,
        _ => NodeKind::External,
    }
}

/// The memory. It must be dropped after a rollback, since numbers given inside it are void.
#[derive(Debug, Default)]
pub(super) struct Interned {
    names: HashMap<String, i64>,
    origins: HashMap<[u8; 32], i64>,
    series: HashMap<SeriesKey, i64>,
    keys: HashSet<String>,
    metrics: HashMap<[u8; 32], i64>,
}

impl Interned {
    /// The number of a name.
    pub(super) fn name(&mut self, conn: &Connection, text: &str) -> rusqlite::Result<i64> {
        if let Some(id) = self.names.get(text) {
            return Ok(*id);
        }
        let found =
            conn.prepare_cached("SELECT id FROM names WHERE text = ?1")?.query_row([text], |r| r.get(0)).optional()?;
        let id = match found {
            Some(id) => id,
            None => conn.prepare_cached("INSERT INTO names (text) VALUES (?1)")?.insert([text])?,
        };
        room(&mut self.names);
        self.names.insert(text.to_owned(), id);
        Ok(id)
    }

    /// The number of a sender.
    pub(super) fn origin(&mut self, conn: &Connection, o: &NewOrigin, stamp: i64) -> rusqlite::Result<i64> {
        let hash = digest(&[
            o.service.as_bytes(),
            &o.resource,
            o.resource_schema_url.as_bytes(),
            &o.scope,
            o.scope_schema_url.as_bytes(),
        ]);
        if let Some(id) = self.origins.get(&hash) {
            return Ok(*id);
        }
        let found = conn
            .prepare_cached("SELECT id FROM origins WHERE hash = ?1")?
            .query_row([&hash[..]], |r| r.get(0))
            .optional()?;
        let id = match found {
            Some(id) => id,
            None => conn
                .prepare_cached(
                    "INSERT INTO origins (hash, service, instance, version, resource, resource_schema_url, scope, scope_schema_url, arrival)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                )?
                .insert(params![
                    &hash[..],
                    o.service,
                    o.instance,
                    o.version,
                    o.resource,
                    o.resource_schema_url,
                    o.scope,
                    o.scope_schema_url,
                    stamp
                ])?,
        };
        room(&mut self.origins);
        self.origins.insert(hash, id);
        Ok(id)
    }

    /// The number of a series.
    pub(super) fn series(
        &mut self,
        conn: &Connection,
        key: SeriesKey,
        facts: SeriesFacts<'_>,
        stamp: i64,
    ) -> rusqlite::Result<i64> {
        if let Some(id) = self.series.get(&key) {
            return Ok(*id);
        }
        let found = conn
            .prepare_cached(
                "SELECT id FROM series WHERE inbound = ?1 AND caller = ?2 AND callee = ?3 AND operation = ?4
                 AND instance = ?5 AND version = ?6",
            )?
            .query_row(params![key.inbound, key.caller, key.callee, key.operation, key.instance, key.version], |r| {
                r.get(0)
            })
            .optional()?;
        let id = match found {
            Some(id) => id,
            None => conn
                .prepare_cached(
                    "INSERT INTO series (inbound, caller, callee, operation, instance, version, caller_kind, callee_kind,
                     system, asynchronous, arrival) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
                )?
                .insert(params![
                    key.inbound,
                    key.caller,
                    key.callee,
                    key.operation,
                    key.instance,
                    key.version,
                    kind_number(facts.caller_kind),
                    kind_number(facts.callee_kind),
                    facts.system,
                    facts.asynchronous,
                    stamp
                ])?,
        };
        room(&mut self.series);
        self.series.insert(key, id);
        Ok(id)
    }

    /// Keeps an attribute key for completion.
    pub(super) fn key(&mut self, conn: &Connection, key: &str, stamp: i64) -> rusqlite::Result<()> {
        if self.keys.len() >= KEYS || self.keys.contains(key) {
            return Ok(());
        }
        conn.prepare_cached("INSERT OR IGNORE INTO attribute_keys (key, arrival) VALUES (?1, ?2)")?
            .execute(params![key, stamp])?;
        self.keys.insert(key.to_owned());
        Ok(())
    }

    /// The number of a metric's series, remembered by `hash`; `make` finds or stores it.
    pub(super) fn metric(
        &mut self,
        hash: [u8; 32],
        make: impl FnOnce() -> rusqlite::Result<i64>,
    ) -> rusqlite::Result<i64> {
        if let Some(id) = self.metrics.get(&hash) {
            return Ok(*id);
        }
        let id = make()?;
        room(&mut self.metrics);
        self.metrics.insert(hash, id);
        Ok(id)
    }
}

fn room<K, V>(map: &mut HashMap<K, V>) {
    if map.len() >= REMEMBERED {
        map.clear();
    }
}

/// A hash over several byte strings that no other way of cutting the same bytes shares.
pub(super) fn digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    *hasher.finalize().as_bytes()
}
