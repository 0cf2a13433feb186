//! `pricing`: what things cost. It has a few workers and a short queue before them: that is where a sale hurts first.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tonic::{Request, Response, Status};

use crate::catalog;
use crate::instance::{Instance, kv};
use crate::wire::pricing_server::Pricing;
use crate::wire::{QuoteReply, QuoteRequest};

/// Median time of a quote, in milliseconds.
const QUOTE_MS: f64 = 12.0;
/// How much more work a quote is during a sale: there are discounts to look at.
const SALE: f64 = 2.0;
/// A quote that would wait longer than this for a worker is refused; longer than callers wait, as queues often are.
const LONGEST_WAIT: Duration = Duration::from_millis(700);
/// Share of refused quotes that is logged.
const LOGGED: f64 = 0.05;

/// The gRPC service.
pub(crate) struct PricingService {
    me: Arc<Instance>,
    queue: Queue,
}

impl PricingService {
    /// A service whose workers can give `per_sec` quotes a second together when there is no sale.
    pub(crate) fn new(me: Arc<Instance>, per_sec: f64) -> Self {
        Self { me, queue: Queue::new(Duration::from_secs_f64(1.0 / per_sec)) }
    }

    /// Waits for a worker and lets it work.
    async fn work(&self) -> Result<(), Status> {
        let sale = if self.me.sale() { SALE } else { 1.0 };
        let Some(wait) = self.queue.join(Instant::now(), sale) else {
            let limit = i64::try_from(LONGEST_WAIT.as_millis()).unwrap_or(i64::MAX);
            if self.me.dice.happens(LOGGED) {
                let message = format!("overloaded: a quote would wait more than {limit} ms, refused");
                self.me.warn(message, &[kv("limit_ms", limit)]);
            }
            return Err(Status::resource_exhausted(format!("pricing is overloaded: more than {limit} ms to wait")));
        };
        sleep(wait).await;
        Ok(self.me.work(QUOTE_MS * sale, 0.000_5).await?)
    }
}

/// The queue before the workers, as a point in time: when all that is accepted will have been begun. It knows only the
/// workers' rate, so that a busy machine makes quotes slower, but pricing no smaller. A caller that gives up leaves its
/// work behind.
struct Queue {
    /// Time between two quotes when every worker is busy.
    every: Duration,
    begun_by: Mutex<Option<Instant>>,
}

impl Queue {
    fn new(every: Duration) -> Self {
        Self { every, begun_by: Mutex::new(None) }
    }

    /// Joins with `weight` times the usual work; gives the wait, or nothing when it would be too long.
    fn join(&self, now: Instant, weight: f64) -> Option<Duration> {
        let mut begun_by = self.begun_by.lock().unwrap_or_else(PoisonError::into_inner);
        let begins = begun_by.map_or(now, |at| at.max(now));
        let wait = begins - now;
        if wait > LONGEST_WAIT {
            return None;
        }
        *begun_by = Some(begins + self.every.mul_f64(weight));
        Some(wait)
    }
}

#[tonic::async_trait]
impl Pricing for PricingService {
    async fn quote(&self, request: Request<QuoteRequest>) -> Result<Response<QuoteReply>, Status> {
        let lines = request.into_inner().lines;
        self.work().await?;
        let mut total_cents: u64 = 0;
        for line in &lines {
            let product = catalog::product_of(&line.sku)
                .ok_or_else(|| Status::not_found(format!("there is no product {}", line.sku)))?;
            total_cents = total_cents.saturating_add(product.cents.saturating_mul(u64::from(line.quantity)));
        }
        Ok(Response::new(QuoteReply { total_cents }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_queue_grows_with_too_much_work_refuses_when_it_is_full_and_drains() {
        let (queue, start) = (Queue::new(Duration::from_millis(10)), Instant::now());
        assert_eq!(queue.join(start, 1.0), Some(Duration::ZERO));
        assert_eq!(queue.join(start, 2.0), Some(Duration::from_millis(10)));
        assert_eq!(queue.join(start, 1.0), Some(Duration::from_millis(30)));
        let accepted = (0..1_000).filter(|_| queue.join(start, 1.0).is_some()).count();
        assert_eq!(accepted, 67, "from 40 ms to 700 ms of waiting, 10 ms apart");
        assert_eq!(queue.join(start + Duration::from_millis(10), 1.0), Some(LONGEST_WAIT));
        assert_eq!(queue.join(start + Duration::from_secs(1), 1.0), Some(Duration::ZERO));
    }
}
