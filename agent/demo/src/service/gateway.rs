//! `gateway`: the shop's front door, HTTP and JSON.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use tonic::{Code, Status};

use crate::catalog;
use crate::clients::{OrdersStub, PricingStub, UsersStub};
use crate::instance::{Instance, kv};
use crate::wire::{GetUserReply, GetUserRequest, Line, OrderState, PlaceRequest, QuoteRequest};

/// What the gateway needs.
#[derive(Clone)]
pub(crate) struct Gateway {
    /// This instance.
    pub(crate) me: Arc<Instance>,
    /// Orders.
    pub(crate) orders: OrdersStub,
    /// Prices.
    pub(crate) pricing: PricingStub,
    /// Accounts.
    pub(crate) users: UsersStub,
}

/// The body of `POST /checkout`.
#[derive(Debug, Deserialize)]
struct Checkout {
    user: String,
    lines: Vec<CheckoutLine>,
    #[serde(default)]
    pay_later: bool,
}

#[derive(Debug, Deserialize)]
struct CheckoutLine {
    sku: String,
    quantity: u32,
}

type Reply = (StatusCode, Json<Value>);

/// The gateway's routes.
pub(crate) fn router(gateway: Gateway) -> Router {
    Router::new()
        .route("/checkout", post(checkout))
        .route("/products", get(products))
        .route("/products/{id}", get(product))
        .route("/users/{id}", get(user))
        .with_state(gateway)
}

async fn checkout(State(gateway): State<Gateway>, Json(ask): Json<Checkout>) -> Result<Reply, Reply> {
    let user = gateway.user(&ask.user).await?;
    if user.blocked {
        return Err((StatusCode::FORBIDDEN, Json(json!({ "error": "this account is blocked" }))));
    }
    let lines = ask.lines.into_iter().map(|line| Line { sku: line.sku, quantity: line.quantity }).collect();
    let place = PlaceRequest { user: ask.user.clone(), lines, pay_later: ask.pay_later };
    let placed = gateway.me.counters.called(gateway.orders.clone().place(place).await).map_err(|status| {
        let about = [kv("user", ask.user), kv("code", format!("{:?}", status.code()))];
        gateway.me.error(format!("checkout failed: {}", status.message()), &about);
        failure(&status)
    })?;
    let placed = placed.into_inner();
    let state = placed.state();
    let (status, word) = match state {
        OrderState::Confirmed => (StatusCode::CREATED, "confirmed"),
        OrderState::AwaitingPayment => (StatusCode::ACCEPTED, "awaiting_payment"),
        OrderState::Cancelled => (StatusCode::PAYMENT_REQUIRED, "cancelled"),
        OrderState::Pending | OrderState::Unspecified => (StatusCode::ACCEPTED, "pending"),
    };
    let body = json!({
        "order": placed.order, "state": word, "total_cents": placed.total_cents, "reason": placed.reason,
    });
    Ok((status, Json(body)))
}

async fn products() -> Json<Value> {
    let all: Vec<_> = catalog::PRODUCTS.iter().map(|p| json!({ "sku": p.sku, "name": p.name })).collect();
    Json(json!(all))
}

async fn product(State(gateway): State<Gateway>, Path(sku): Path<String>) -> Result<Reply, Reply> {
    let Some(product) = catalog::product_of(&sku) else {
        return Err((StatusCode::NOT_FOUND, Json(json!({ "error": format!("there is no product {sku}") }))));
    };
    let lines = vec![Line { sku, quantity: 1 }];
    let quote = gateway.me.counters.called(gateway.pricing.clone().quote(QuoteRequest { lines }).await);
    let cents = quote.map_err(|status| failure(&status))?.into_inner().total_cents;
    Ok((StatusCode::OK, Json(json!({ "sku": product.sku, "name": product.name, "cents": cents }))))
}

async fn user(State(gateway): State<Gateway>, Path(id): Path<String>) -> Result<Reply, Reply> {
    let user = gateway.user(&id).await?;
    Ok((StatusCode::OK, Json(json!({ "id": id, "name": user.name }))))
}

impl Gateway {
    async fn user(&self, id: &str) -> Result<GetUserReply, Reply> {
        let user = self.users.clone().get(GetUserRequest { user: id.to_owned() }).await;
        Ok(self.me.counters.called(user).map_err(|status| failure(&status))?.into_inner())
    }
}

/// A gRPC failure as HTTP says it.
fn failure(status: &Status) -> Reply {
    let code = match status.code() {
        Code::InvalidArgument => StatusCode::BAD_REQUEST,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::Aborted | Code::FailedPrecondition => StatusCode::CONFLICT,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::DeadlineExceeded | Code::Cancelled => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    (code, Json(json!({ "error": status.message() })))
}
