//! `bank`: somebody else's HTTP service that moves the money. Slow or down now and then, as the weather has it.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::catalog;
use crate::instance::{Instance, kv};
use crate::store::Ledger;

/// An authorization asked for.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Authorize {
    /// Who pays.
    pub(crate) user: String,
    /// The order; the same one twice is authorized once.
    pub(crate) order: String,
    /// How much.
    pub(crate) cents: u64,
}

/// The bank's answer.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Authorization {
    /// Whether the money moves.
    pub(crate) approved: bool,
    /// Why not.
    pub(crate) reason: String,
}

/// Money asked back.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct GiveBack {
    /// For which order.
    pub(crate) order: String,
}

/// Money given back.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct GivenBack {
    /// How much; 0 when nothing was taken.
    pub(crate) cents: u64,
}

type Failure = (StatusCode, Json<Value>);

#[derive(Clone)]
struct Bank {
    me: Arc<Instance>,
    ledger: Arc<Ledger>,
    declines: f64,
}

/// The bank's routes; it declines a share `declines` of all authorizations.
pub(crate) fn router(me: Arc<Instance>, ledger: Arc<Ledger>, declines: f64) -> Router {
    let bank = Bank { me, ledger, declines };
    Router::new().route("/authorize", post(authorize)).route("/refund", post(refund)).with_state(bank)
}

async fn authorize(State(bank): State<Bank>, Json(ask): Json<Authorize>) -> Result<Json<Authorization>, Failure> {
    let started = tokio::time::Instant::now();
    work(&bank, 32.0).await?;
    let took = started.elapsed();
    if took.as_millis() > 500 {
        let took = i64::try_from(took.as_millis()).unwrap_or(i64::MAX);
        bank.me.warn(format!("authorization took {took} ms"), &[kv("order", ask.order.clone()), kv("took_ms", took)]);
    }
    if bank.me.dice.happens(bank.declines) {
        let reason = if bank.me.dice.happens(0.7) { "insufficient funds" } else { "card expired" };
        return Ok(Json(Authorization { approved: false, reason: reason.to_owned() }));
    }
    bank.ledger.book(&ask.order, ask.cents);
    Ok(Json(Authorization { approved: true, reason: String::new() }))
}

async fn refund(State(bank): State<Bank>, Json(ask): Json<GiveBack>) -> Result<Json<GivenBack>, Failure> {
    work(&bank, 20.0).await?;
    let cents = bank.ledger.refund(&ask.order);
    if cents > 0 {
        bank.me.info(format!("refunded {}", catalog::price(cents)), &[kv("order", ask.order)]);
    }
    Ok(Json(GivenBack { cents }))
}

async fn work(bank: &Bank, median_ms: f64) -> Result<(), Failure> {
    bank.me.work(median_ms, 0.002).await.map_err(|mishap| {
        bank.me.error(format!("request failed: {mishap}"), &[]);
        (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "error": mishap.to_string() })))
    })
}
