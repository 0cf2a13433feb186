//! Visitors: open-loop traffic at the gateways. Requests are due at random instants of a set rate, whatever the shop does, and
//! a wait counts from the instant a request was due.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::catalog;
use crate::chance::Dice;
use crate::climate::Climate;
use crate::report::Counters;

/// Visitors that look at a product, for each that checks out.
const PRODUCT_VIEWS: f64 = 1.2;
/// Visitors that look at their account, for each that checks out.
const USER_VIEWS: f64 = 0.6;
/// Share of checkouts that are to be paid later, and never are.
const PAY_LATER: f64 = 0.04;
/// Share of product views that ask for something the shop has not.
const STRAY: f64 = 0.01;
/// Requests that wait for an answer at most; more are not sent and counted as such.
const MOST_WAITING: u32 = 2_000;
/// How long the last answers are waited for when the shop closes.
const LAST_ANSWERS: Duration = Duration::from_millis(2_500);
/// Longest wait of a visitor.
const PATIENCE: Duration = Duration::from_secs(10);

/// Everything that the driver needs.
pub(crate) struct Traffic {
    /// The gateways, asked in turn.
    pub(crate) gateways: Vec<SocketAddr>,
    /// Checkouts a second in calm weather.
    pub(crate) rate: f64,
    /// Chance.
    pub(crate) dice: Dice,
    /// Weather: its load changes the rate.
    pub(crate) climate: Arc<Climate>,
    /// Where the outcome is counted.
    pub(crate) counters: Arc<Counters>,
    /// The client; not instrumented, as browsers are not.
    pub(crate) client: reqwest::Client,
}

impl Traffic {
    /// Sends until `close`, then waits a little for the answers that are still to come; `stop` cuts those off.
    pub(crate) async fn run(self, close: CancellationToken, stop: CancellationToken) {
        let slots = Arc::new(Semaphore::new(MOST_WAITING as usize));
        let mut due = Instant::now();
        for turn in 0_usize.. {
            let rate = self.rate * (1.0 + PRODUCT_VIEWS + USER_VIEWS) * self.climate.load();
            due += self.dice.until_next(rate);
            tokio::select! {
                () = close.cancelled() => break,
                () = sleep_until(due) => {}
            }
            let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
                self.counters.unsent();
                continue;
            };
            let Some(gateway) = self.gateways.get(turn % self.gateways.len().max(1)) else { return };
            let request = self.request(*gateway);
            let (counters, stop) = (Arc::clone(&self.counters), stop.clone());
            tokio::spawn(async move {
                let _slot = slot;
                let status = tokio::select! {
                    () = stop.cancelled() => return,
                    reply = request.timeout(PATIENCE).send() => reply.ok().map(|reply| reply.status().as_u16()),
                };
                counters.answered(status, due.elapsed());
            });
        }
        // All slots are free again when everybody has an answer.
        let _ = timeout(LAST_ANSWERS, slots.acquire_many(MOST_WAITING)).await;
    }

    fn request(&self, gateway: SocketAddr) -> reqwest::RequestBuilder {
        let mut dice = self.dice.lock();
        let kind = dice.random::<f64>() * (1.0 + PRODUCT_VIEWS + USER_VIEWS);
        if kind < PRODUCT_VIEWS {
            let stray = dice.random::<f64>() < STRAY;
            let sku = if stray { "yesterdays-news" } else { catalog::any_product(&mut *dice).sku };
            return self.client.get(format!("http://{gateway}/products/{sku}"));
        }
        let user = catalog::any_user(&mut *dice);
        if kind < PRODUCT_VIEWS + USER_VIEWS {
            return self.client.get(format!("http://{gateway}/users/{user}"));
        }
        let lines: Vec<_> = (0..dice.random_range(1..=3))
            .map(|_| json!({ "sku": catalog::any_product(&mut *dice).sku, "quantity": dice.random_range(1..=2) }))
            .collect();
        let body = json!({ "user": user, "lines": lines, "pay_later": dice.random::<f64>() < PAY_LATER });
        self.client.post(format!("http://{gateway}/checkout")).json(&body)
    }
}
