//! `pricing`: what things cost. It has a few workers only: too much traffic waits for them, and that is where a sale hurts
//! first.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};

use crate::catalog;
use crate::instance::Instance;
use crate::wire::pricing_server::Pricing;
use crate::wire::{QuoteReply, QuoteRequest};

/// Time of a worker that a quote takes on average, in milliseconds.
const QUOTE_MS: f64 = 20.0;
/// Longest time of a quote in a shop that is so small that one worker is too many, in milliseconds.
const LONGEST_QUOTE_MS: f64 = 40.0;
/// How much more a quote takes during a sale: there are discounts to look at.
const SALE: f64 = 2.0;
/// Mean of a lognormal service time over its median, for the spread that instances have.
const MEAN_OVER_MEDIAN: f64 = 1.075;

/// The gRPC service.
pub(crate) struct PricingService {
    me: Arc<Instance>,
    workers: Semaphore,
    median_ms: f64,
}

impl PricingService {
    /// A service whose workers can give `per_sec` quotes a second together, when there is no sale.
    pub(crate) fn new(me: Arc<Instance>, per_sec: f64) -> Self {
        let workers = (per_sec * QUOTE_MS / 1_000.0).round().max(1.0);
        let mean_ms = (workers * 1_000.0 / per_sec).min(LONGEST_QUOTE_MS);
        Self { me, workers: Semaphore::new(workers as usize), median_ms: mean_ms / MEAN_OVER_MEDIAN }
    }
}

#[tonic::async_trait]
impl Pricing for PricingService {
    async fn quote(&self, request: Request<QuoteRequest>) -> Result<Response<QuoteReply>, Status> {
        let lines = request.into_inner().lines;
        let _worker = self.workers.acquire().await.map_err(|_| Status::unavailable("pricing is closing"))?;
        let sale = if self.me.sale() { SALE } else { 1.0 };
        self.me.work(self.median_ms * sale, 0.000_5).await?;
        let mut total_cents: u64 = 0;
        for line in &lines {
            let product = catalog::product_of(&line.sku)
                .ok_or_else(|| Status::not_found(format!("there is no product {}", line.sku)))?;
            total_cents = total_cents.saturating_add(product.cents.saturating_mul(u64::from(line.quantity)));
        }
        Ok(Response::new(QuoteReply { total_cents }))
    }
}
