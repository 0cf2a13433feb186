//! Rows of what repeats: senders, series, metrics. Remembered in memory, kept in tables.

use std::collections::HashMap;
use std::hash::Hash;

use foldhash::fast::FixedState;
use fuseboard_api::graph::NodeKind;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::names::{Book, Party, SeriesKey};
use super::rows::NewOrigin;
use crate::otlp::{Sender, SpanTape};

/// How many of each kind are remembered in memory; beyond it the memory is emptied and fills anew from the tables.
const REMEMBERED: usize = 100_000;

/// Bytes of senders that are remembered.
const SENDER_BYTES: usize = 16 * 1024 * 1024;

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

/// A sender whose row is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Resolved {
    /// Its row in the table `origins`.
    pub(super) row: i64,
    /// The name of its service.
    pub(super) service: u32,
    /// The instance that it is.
    pub(super) party: u32,
}

/// The memory. It must be dropped after a rollback, since rows given inside it are void.
#[derive(Debug, Default)]
pub(super) struct Interned {
    origins: HashMap<Box<[u8]>, Resolved, FixedState>,
    origin_bytes: usize,
    metrics: HashMap<[u8; 32], i64>,
    scratch: Vec<u8>,
}

/// A sender's parts, in the order of the table.
struct Parts<'a> {
    service: &'a [u8],
    instance: &'a [u8],
    version: &'a [u8],
    resource: &'a [u8],
    resource_schema_url: &'a [u8],
    scope: &'a [u8],
    scope_schema_url: &'a [u8],
}

impl Interned {
    /// The row of a tape's sender.
    pub(super) fn sender(
        &mut self,
        conn: &Connection,
        book: &mut Book,
        tape: &SpanTape,
        s: &Sender,
        stamp: i64,
    ) -> rusqlite::Result<Resolved> {
        let parts = Parts {
            service: tape.get(s.service),
            instance: tape.get(s.instance),
            version: tape.get(s.version),
            resource: tape.get(s.resource),
            resource_schema_url: tape.get(s.resource_schema_url),
            scope: tape.get(s.scope),
            scope_schema_url: tape.get(s.scope_schema_url),
        };
        self.resolve(conn, book, &parts, stamp)
    }

    /// The row of a sender of logs or metrics.
    pub(super) fn origin(
        &mut self,
        conn: &Connection,
        book: &mut Book,
        o: &NewOrigin,
        stamp: i64,
    ) -> rusqlite::Result<Resolved> {
        let parts = Parts {
            service: o.service.as_bytes(),
            instance: o.instance.as_bytes(),
            version: o.version.as_bytes(),
            resource: &o.resource,
            resource_schema_url: o.resource_schema_url.as_bytes(),
            scope: &o.scope,
            scope_schema_url: o.scope_schema_url.as_bytes(),
        };
        self.resolve(conn, book, &parts, stamp)
    }

    fn resolve(
        &mut self,
        conn: &Connection,
        book: &mut Book,
        parts: &Parts<'_>,
        stamp: i64,
    ) -> rusqlite::Result<Resolved> {
        // Instance and version stand in the resource.
        let key = [parts.service, parts.resource, parts.resource_schema_url, parts.scope, parts.scope_schema_url];
        self.scratch.clear();
        for part in key {
            self.scratch.extend_from_slice(&(part.len() as u64).to_le_bytes());
            self.scratch.extend_from_slice(part);
        }
        if let Some(known) = self.origins.get(&self.scratch[..]) {
            return Ok(*known);
        }
        let row = origin_row(conn, digest(&key), parts, stamp)?;
        let service = book.names.number(parts.service);
        let party =
            Party { service, instance: book.names.number(parts.instance), version: book.names.number(parts.version) };
        let resolved = Resolved { row, service, party: book.party(party) };
        self.origin_bytes += self.scratch.len();
        if self.origin_bytes > SENDER_BYTES {
            self.origins.clear();
            self.origin_bytes = self.scratch.len();
        }
        room(&mut self.origins);
        self.origins.insert(self.scratch.as_slice().into(), resolved);
        Ok(resolved)
    }

    /// The row of a series in memory.
    pub(super) fn series(
        &mut self,
        conn: &Connection,
        book: &mut Book,
        number: u32,
        stamp: i64,
    ) -> rusqlite::Result<i64> {
        let Some(series) = book.series.get(number as usize).copied() else { return Ok(0) };
        if let Some(row) = series.row {
            return Ok(row);
        }
        let name = |number| book.names.text(number);
        let (inbound, ends) = match series.key {
            SeriesKey::Edge { caller, callee, operation } => {
                (false, [name(caller), name(callee), name(operation), "", ""])
            }
            SeriesKey::Inbound { party, operation } => {
                let of = book.party_of(party);
                (true, ["", name(of.service), name(operation), name(of.instance), name(of.version)])
            }
        };
        let [caller, callee, operation, instance, version] = ends;
        let found = conn
            .prepare_cached(
                "SELECT id FROM series WHERE inbound = ?1 AND caller = ?2 AND callee = ?3 AND operation = ?4
                 AND instance = ?5 AND version = ?6",
            )?
            .query_row(params![inbound, caller, callee, operation, instance, version], |r| r.get(0))
            .optional()?;
        let row = match found {
            Some(row) => row,
            None => conn
                .prepare_cached(
                    "INSERT INTO series (inbound, caller, callee, operation, instance, version, caller_kind, callee_kind,
                     system, asynchronous, arrival) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
                )?
                .insert(params![
                    inbound,
                    caller,
                    callee,
                    operation,
                    instance,
                    version,
                    kind_number(series.facts.caller_kind),
                    kind_number(series.facts.callee_kind),
                    name(series.facts.system),
                    series.facts.asynchronous,
                    stamp
                ])?,
        };
        if let Some(series) = book.series.get_mut(number as usize) {
            series.row = Some(row);
        }
        Ok(row)
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

fn origin_row(conn: &Connection, hash: [u8; 32], o: &Parts<'_>, stamp: i64) -> rusqlite::Result<i64> {
    let found = conn
        .prepare_cached("SELECT id FROM origins WHERE hash = ?1")?
        .query_row([&hash[..]], |r| r.get(0))
        .optional()?;
    if let Some(row) = found {
        return Ok(row);
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    conn.prepare_cached(
        "INSERT INTO origins (hash, service, instance, version, resource, resource_schema_url, scope, scope_schema_url, arrival)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?
    .insert(params![
        &hash[..],
        text(o.service),
        text(o.instance),
        text(o.version),
        o.resource,
        text(o.resource_schema_url),
        o.scope,
        text(o.scope_schema_url),
        stamp
    ])
}

fn room<K: Eq + Hash, V, S: std::hash::BuildHasher>(map: &mut HashMap<K, V, S>) {
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
