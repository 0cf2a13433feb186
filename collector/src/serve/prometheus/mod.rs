//! `/metrics` in Prometheus' text format, and `/healthz`.

mod calls;
mod text;

use std::time::UNIX_EPOCH;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use fuseboard_api::ask::{Answer, Ask, Question, Totals};

use self::text::{Exposition, Kind};
use super::Door;
use super::codec::{Codec, reply};
use crate::query::rollups;
use crate::store::{Store, StoreError};

/// The collector's own health, what is stored, and the calls since the start.
pub(super) async fn metrics(State(door): State<Door>) -> Response {
    let mut out = Exposition::default();
    own(&door, &mut out);
    if let Ok(answered) = door.desk.ask(Ask { question: Question::Totals, as_of: None }).await
        && let Answer::Totals(totals) = answered.answer
    {
        stored(&totals, &mut out);
    }
    if let Err(e) = calls(door.desk.store(), &mut out).await {
        tracing::warn!("calls are left out of the metrics: {e}");
    }
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], out.into_text()).into_response()
}

async fn calls(store: &Store, out: &mut Exposition) -> Result<(), StoreError> {
    let as_of = store.as_of_now();
    let (series, [segments, bytes]) = store
        .read(move |conn| {
            let of = "SELECT count(*), coalesce(sum(bytes), 0) FROM segments";
            let segments = conn.query_row(of, [], |r| Ok([r.get::<_, i64>(0)?, r.get(1)?]))?;
            Ok::<_, StoreError>((rollups::series(conn, as_of)?, segments))
        })
        .await?;
    out.single("fuseboard_segments", Kind::Gauge, "Segments that spans are kept in.", segments);
    out.single("fuseboard_segment_bytes", Kind::Gauge, "Size of all segments' data.", bytes);
    let (sums, overflow) = store.vitals().sums.read();
    calls::expose(out, &sums, &series);
    let help = "Calls of series that were too many to be summed; they are missing in traces_*.";
    out.single("fuseboard_calls_unsummed_total", Kind::Counter, help, overflow);
    Ok(())
}

fn own(door: &Door, out: &mut Exposition) {
    let store = door.desk.store();
    let vitals = store.vitals();
    let trouble = store.trouble();
    let up = u8::from(vitals.trouble().is_empty());
    out.single("fuseboard_up", Kind::Gauge, "1 when the collector is well, 0 when it is in trouble.", up);
    if !trouble.is_empty() {
        out.family("fuseboard_trouble", Kind::Gauge, "1 while this is the collector's trouble.");
        out.sample("fuseboard_trouble", &[("what", &trouble)], 1);
    }
    out.family("fuseboard_build_info", Kind::Gauge, "Always 1; the label tells.");
    out.sample("fuseboard_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    let started = door.started.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    out.single("process_start_time_seconds", Kind::Gauge, "When the collector started, since 1970.", started);
    for (name, help, value) in [
        ("fuseboard_records_received_total", "Records stored since the start.", vitals.received()),
        ("fuseboard_records_rejected_total", "Records refused as malformed since the start.", vitals.rejected()),
        ("fuseboard_records_duplicate_total", "Records ignored as sent before.", vitals.duplicates()),
        ("fuseboard_requests_refused_total", "Requests told to come again later.", vitals.refused_requests()),
    ] {
        out.single(name, Kind::Counter, help, value);
    }
    let redactions = vitals.redactions();
    if !redactions.is_empty() {
        let name = "fuseboard_redacted_values_total";
        out.family(name, Kind::Counter, "Values that a rule dropped or changed since the start.");
        for (rule, count) in redactions {
            out.sample(name, &[("rule", &rule)], count);
        }
    }
    let (queued, room) = store.queue_bytes();
    out.single("fuseboard_queue_bytes", Kind::Gauge, "Telemetry that waits to be committed.", queued);
    out.single("fuseboard_queue_capacity_bytes", Kind::Gauge, "How much may wait; more is told to come again.", room);
    let name = "fuseboard_commit_seconds";
    out.family(name, Kind::Histogram, "From a commit's first request to its being durable.");
    out.histogram(name, &[], &vitals.commits());
    out.single("fuseboard_store_bytes", Kind::Gauge, "Size of the database with its log.", store.bytes_on_disk());
    if let Some(control) = door.desk.control() {
        let agents = control.connected();
        out.single("fuseboard_agents_connected", Kind::Gauge, "Agents whose control stream is up.", agents);
        out.single("fuseboard_policy_revision", Kind::Gauge, "Revision in force.", control.revision());
        out.single("fuseboard_overrides", Kind::Gauge, "Overrides in force.", control.overrides());
    }
}

fn stored(totals: &Totals, out: &mut Exposition) {
    for (name, help, value) in [
        ("fuseboard_spans_stored", "Spans in the store.", totals.spans as f64),
        ("fuseboard_traces_stored", "Traces in the store.", totals.traces as f64),
        ("fuseboard_logs_stored", "Log records in the store.", totals.logs as f64),
        ("fuseboard_metric_points_stored", "Metric points in the store.", totals.metric_points as f64),
        ("fuseboard_spans_per_second", "Spans stored a second, over ten seconds.", totals.spans_per_second),
        ("fuseboard_lag_seconds", "Median time from a span's end to its being stored.", totals.lag_ms / 1000.0),
    ] {
        out.single(name, Kind::Gauge, help, value);
    }
}

/// `GET /healthz`: 200 when well, 503 with the trouble in words. Parts of the file that cannot be read are told, too, but do
/// not keep anybody from sending.
pub(super) async fn health(State(door): State<Door>) -> Response {
    let trouble = door.desk.store().vitals().trouble();
    let (status, word) = match trouble.as_str() {
        "" => (StatusCode::OK, "well"),
        _ => (StatusCode::SERVICE_UNAVAILABLE, "trouble"),
    };
    let mut body = serde_json::json!({ "status": word, "trouble": door.desk.store().trouble() });
    let redactions = door.desk.store().vitals().redactions();
    if !redactions.is_empty() {
        let rules = redactions.into_iter().map(|(rule, values)| serde_json::json!({ "rule": rule, "values": values }));
        body["redacted"] = rules.collect();
    }
    reply(Codec::Json, status, &body)
}
