//! `pricing`: what things cost. It has a few workers only: too much traffic waits for them, and that is where a sale hurts
//! first.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};

use crate::catalog;
use crate::instance::Instance;
use crate::wire::pricing_server::Pricing;
use crate::wire::{QuoteReply, QuoteRequest};

/// Quotes calculated at once.
const WORKERS: usize = 4;
/// Mean of a lognormal service time over its median, for the spread that instances have.
const MEAN_OVER_MEDIAN: f64 = 1.075;

/// The gRPC service.
pub(crate) struct PricingService {
    me: Arc<Instance>,
    workers: Semaphore,
    median_ms: f64,
}

impl PricingService {
    /// A service whose workers can give `per_sec` quotes a second together.
    pub(crate) fn new(me: Arc<Instance>, per_sec: f64) -> Self {
        let mean_ms = WORKERS as f64 * 1_000.0 / per_sec.max(1.0);
        // A slow shop's pricing is not slow, it only has nothing to do.
        let median_ms = (mean_ms / MEAN_OVER_MEDIAN).min(25.0);
        Self { me, workers: Semaphore::new(WORKERS), median_ms }
    }
}

#[tonic::async_trait]
impl Pricing for PricingService {
    async fn quote(&self, request: Request<QuoteRequest>) -> Result<Response<QuoteReply>, Status> {
        let lines = request.into_inner().lines;
        let _worker = self.workers.acquire().await.map_err(|_| Status::unavailable("pricing is closing"))?;
        self.me.work(self.median_ms, 0.000_5).await?;
        let mut total_cents: u64 = 0;
        for line in &lines {
            let product = catalog::product_of(&line.sku)
                .ok_or_else(|| Status::not_found(format!("there is no product {}", line.sku)))?;
            total_cents = total_cents.saturating_add(product.cents.saturating_mul(u64::from(line.quantity)));
        }
        Ok(Response::new(QuoteReply { total_cents }))
    }
}
