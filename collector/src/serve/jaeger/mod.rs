//! Jaeger's HTTP query API, as its window and Grafana ask it: services, operations, traces, dependencies.
//!
//! Answers are built from the same questions that the console asks. Errors come in Jaeger's shape, with HTTP's status.

mod params;

use std::collections::BTreeMap;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, Uri};
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use fuseboard_api::ask::{Answer, Answered, Ask, Question, Refusal};
use fuseboard_api::graph::OUTSIDE;
use fuseboard_api::identity::Deed;
use fuseboard_api::trace::TraceQuery;
use fuseboard_api::{TimeRange, TraceId, UnixNanos};
use serde::Serialize;

use self::params::Params;
use super::Door;
use super::codec::{Codec, reply, status_of};
use super::guard::{self, nothing, reads};
use crate::control::refusal::{bad_request, internal, not_found};
use crate::files::jaeger::{Trace, to_json};

/// Spans in one answer at most; the traces beyond are left out, and the answer says so.
const MOST_SPANS: usize = 200_000;

/// The API; for an HTTP server.
pub(crate) fn jaeger(door: &Door) -> Router {
    Router::new()
        .route("/api/services", reads(door, Deed::Read, services))
        .route("/api/services/{service}/operations", reads(door, Deed::Read, operations_of))
        .route("/api/operations", reads(door, Deed::Read, operations))
        .route("/api/traces", reads(door, Deed::Read, search))
        .route("/api/traces/{id}", reads(door, Deed::Read, trace))
        .route("/api/dependencies", reads(door, Deed::Read, dependencies))
        .fallback_service(nothing(door, Deed::Read, nowhere).with_state(door.clone()))
        .with_state(door.clone())
        .layer(from_fn_with_state(door.identity.clone(), guard::no_strangers))
}

/// Every answer has this shape.
#[derive(Debug, Serialize)]
struct Envelope<T> {
    data: Option<T>,
    total: usize,
    limit: usize,
    offset: usize,
    errors: Option<Vec<Trouble>>,
}

/// What went wrong.
#[derive(Debug, Serialize)]
struct Trouble {
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<u16>,
    msg: String,
    #[serde(rename = "traceID", skip_serializing_if = "Option::is_none")]
    trace_id: Option<TraceId>,
}

/// A list, and what could not be had of it.
struct Listed<T> {
    items: Vec<T>,
    troubles: Vec<Trouble>,
    counted: bool,
}

impl<T> Listed<T> {
    /// A list whose length the answer tells, as Jaeger does for names only.
    fn counted(items: Vec<T>) -> Self {
        Self { items, troubles: Vec::new(), counted: true }
    }

    fn uncounted(items: Vec<T>) -> Self {
        Self { items, troubles: Vec::new(), counted: false }
    }
}

type Asked = Result<Query<Vec<(String, String)>>, axum::extract::rejection::QueryRejection>;

fn params(asked: Asked) -> Result<Params, Refusal> {
    let Query(pairs) = asked.map_err(|e| bad_request(e.body_text()))?;
    Ok(Params(pairs))
}

/// Writes an answer, away from the threads that serve everybody.
async fn answer<T: Serialize + Send + 'static>(outcome: Result<Listed<T>, Refusal>) -> Response {
    let written = tokio::task::spawn_blocking(move || match outcome {
        Ok(listed) => {
            let total = if listed.counted { listed.items.len() } else { 0 };
            let errors = (!listed.troubles.is_empty()).then_some(listed.troubles);
            let envelope = Envelope { data: Some(listed.items), total, limit: 0, offset: 0, errors };
            reply(Codec::Json, StatusCode::OK, &envelope)
        }
        Err(refusal) => refused(&refusal),
    });
    let failed = |_| refused(&internal("the answer could not be written"));
    written.await.unwrap_or_else(failed)
}

fn refused(refusal: &Refusal) -> Response {
    let status = status_of(refusal);
    let trouble = Trouble { code: Some(status.as_u16()), msg: refusal.message.clone(), trace_id: None };
    let envelope: Envelope<()> = Envelope { data: None, total: 0, limit: 0, offset: 0, errors: Some(vec![trouble]) };
    reply(Codec::Json, status, &envelope)
}

async fn nowhere(uri: Uri) -> Response {
    let said =
        format!("there is no {}; see /api/services, /api/operations, /api/traces, /api/dependencies", uri.path());
    refused(&not_found(said))
}

impl Door {
    async fn one(&self, question: Question, as_of: Option<UnixNanos>) -> Result<Answered, Refusal> {
        let _turn = self.turn().await?;
        self.desk.ask(Ask { question, as_of }).await
    }

    /// A trace in Jaeger's words; `None` when nothing of it is stored.
    async fn jaeger_trace(&self, id: TraceId, as_of: Option<UnixNanos>) -> Result<Option<Trace>, Refusal> {
        match self.one(Question::Trace(id), as_of).await?.answer {
            Answer::Trace(trace) => Ok(trace.filter(|t| !t.spans.is_empty()).map(|t| to_json(id, &t.spans))),
            other => Err(unexpected(&other)),
        }
    }
}

fn unexpected(_: &Answer) -> Refusal {
    internal("another question was answered")
}

async fn services(State(door): State<Door>) -> Response {
    let names = async {
        match door.one(Question::Totals, None).await?.answer {
            Answer::Totals(totals) => Ok(Listed::counted(totals.services)),
            other => Err(unexpected(&other)),
        }
    };
    answer(names.await).await
}

/// An operation as Jaeger lists it.
#[derive(Debug, Serialize)]
struct Operation {
    name: String,
    #[serde(rename = "spanKind")]
    span_kind: &'static str,
}

/// What a service answers, by name.
async fn answered_by(door: &Door, service: &str) -> Result<Vec<String>, Refusal> {
    match door.one(Question::Names, None).await?.answer {
        Answer::Names(names) => {
            Ok(names.services.into_iter().find(|(s, _)| s == service).map(|(_, o)| o).unwrap_or_default())
        }
        other => Err(unexpected(&other)),
    }
}

async fn operations(State(door): State<Door>, asked: Asked) -> Response {
    let listed = async {
        let params = params(asked)?;
        let service = params.text("service").ok_or_else(|| bad_request("parameter 'service' is required"))?;
        let kind = params.text("spanKind").unwrap_or("server");
        if kind != "server" {
            return Ok(Listed::counted(Vec::new()));
        }
        let names = answered_by(&door, service).await?;
        Ok(Listed::counted(names.into_iter().map(|name| Operation { name, span_kind: "server" }).collect()))
    };
    answer(listed.await).await
}

async fn operations_of(State(door): State<Door>, Path(service): Path<String>) -> Response {
    answer(answered_by(&door, &service).await.map(Listed::counted)).await
}

async fn trace(State(door): State<Door>, Path(id): Path<String>) -> Response {
    let found = async {
        let id = params::trace_id(&id)?;
        let trace = door.jaeger_trace(id, None).await?.ok_or_else(|| not_found("trace not found"))?;
        Ok(Listed::uncounted(vec![trace]))
    };
    answer(found.await).await
}

async fn search(State(door): State<Door>, asked: Asked) -> Response {
    let found = async {
        let params = params(asked)?;
        let ids = params.all("traceID").map(params::trace_id).collect::<Result<Vec<_>, _>>()?;
        if ids.is_empty() {
            let query = params.query(UnixNanos::now())?;
            newest(&door, query).await
        } else {
            named(&door, ids).await
        }
    };
    answer(found.await).await
}

/// The newest traces that match.
async fn newest(door: &Door, query: TraceQuery) -> Result<Listed<Trace>, Refusal> {
    let answered = door.one(Question::Traces(query), None).await?;
    let as_of = Some(answered.as_of);
    let Answer::Traces(list) = answered.answer else { return Err(internal("another question was answered")) };
    let mut listed = Listed::uncounted(Vec::new());
    let mut spans = 0;
    for row in &list.rows {
        spans += row.spans as usize;
        if spans > MOST_SPANS && !listed.items.is_empty() {
            let left = list.rows.len() - listed.items.len();
            let msg = format!("{left} more traces match, but an answer has {MOST_SPANS} spans at most");
            listed.troubles.push(Trouble { code: None, msg, trace_id: None });
            break;
        }
        listed.items.extend(door.jaeger_trace(row.trace_id, as_of).await?);
    }
    Ok(listed)
}

/// Traces by their ids; those that are not stored are named.
async fn named(door: &Door, ids: Vec<TraceId>) -> Result<Listed<Trace>, Refusal> {
    let mut listed = Listed::uncounted(Vec::new());
    let mut spans = 0;
    for id in ids {
        let trouble = if spans > MOST_SPANS {
            format!("left out: an answer has {MOST_SPANS} spans at most")
        } else if let Some(trace) = door.jaeger_trace(id, None).await? {
            spans += trace.spans.len();
            listed.items.push(trace);
            continue;
        } else {
            "trace not found".to_owned()
        };
        listed.troubles.push(Trouble { code: None, msg: trouble, trace_id: Some(id) });
    }
    Ok(listed)
}

/// Calls from one service to another.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Link {
    parent: String,
    child: String,
    #[serde(rename = "callCount")]
    call_count: u64,
}

async fn dependencies(State(door): State<Door>, asked: Asked) -> Response {
    let links = async {
        let params = params(asked)?;
        let range: TimeRange = params.dependencies(UnixNanos::now())?;
        let service = params.text("service");
        let Answer::Board(board) = door.one(Question::Board { range }, None).await?.answer else {
            return Err(internal("another question was answered"));
        };
        let mut calls: BTreeMap<(String, String), u64> = BTreeMap::new();
        // Jaeger has no word for those outside.
        for edge in board.edges.into_iter().filter(|e| e.key.caller != OUTSIDE && e.stats.calls > 0) {
            if service.is_none_or(|s| s == edge.key.caller || s == edge.key.callee) {
                *calls.entry((edge.key.caller, edge.key.callee)).or_default() += edge.stats.calls;
            }
        }
        let link = |((parent, child), call_count)| Link { parent, child, call_count };
        Ok(Listed::uncounted(calls.into_iter().map(link).collect()))
    };
    answer(links.await).await
}
