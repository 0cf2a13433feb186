//! Databases without an agent, as most are: callers see them only through their own client spans. These are simulated inside
//! the process; the spans are what a driver with OpenTelemetry's conventions would make.

use std::sync::Arc;

use opentelemetry::trace::{FutureExt, SpanKind, TraceContextExt, Tracer};
use opentelemetry::{Context, KeyValue};

use crate::instance::Instance;

/// A simulated database as one instance sees it.
#[derive(Clone)]
pub(crate) struct Database {
    caller: Arc<Instance>,
    /// `db.system.name`.
    system: &'static str,
    /// Name of the node, such as `orders-db`.
    name: &'static str,
    /// `db.namespace`.
    namespace: &'static str,
}

impl Database {
    /// PostgreSQL with the orders.
    pub(crate) fn orders(caller: &Arc<Instance>) -> Self {
        Self { caller: Arc::clone(caller), system: "postgresql", name: "orders-db", namespace: "orders" }
    }

    /// Redis with the stock.
    pub(crate) fn stock(caller: &Arc<Instance>) -> Self {
        Self { caller: Arc::clone(caller), system: "redis", name: "stock-cache", namespace: "0" }
    }

    /// Runs a query: `summary` is operation and target, as in `INSERT orders`; `median_ms` is how long it takes.
    pub(crate) async fn query(&self, summary: &'static str, median_ms: f64) {
        let (operation, collection) = summary.split_once(' ').unwrap_or((summary, ""));
        let mut attributes = vec![
            KeyValue::new("db.system.name", self.system),
            KeyValue::new("db.namespace", self.namespace),
            KeyValue::new("db.query.summary", summary),
            KeyValue::new("db.operation.name", operation),
            KeyValue::new("server.address", self.name),
            KeyValue::new("service.peer.name", self.name),
        ];
        if !collection.is_empty() {
            attributes.push(KeyValue::new("db.collection.name", collection));
        }
        let tracer = self.caller.agent.tracer("shop.database");
        let span = tracer.span_builder(summary).with_kind(SpanKind::Client).with_attributes(attributes).start(&tracer);
        let cx = Context::current_with_span(span);
        self.caller.pause(median_ms).with_context(cx.clone()).await;
        cx.span().end();
    }
}
