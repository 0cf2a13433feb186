//! `order-timeouts`: looks at orders that may have stayed unpaid, and has them cancelled.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use crate::clients::OrdersStub;
use crate::instance::{Instance, kv};
use crate::queue::{Message, Receiver, Sender, Unpaid};
use crate::wire::ExpireRequest;

/// Orders that wait here for their time at most; more wait in the queue.
const MOST_WAITING: usize = 20_000;
/// Pause between two orders: cleaning up must not add to whatever made it necessary.
const PACE: Duration = Duration::from_millis(40);
/// An order is looked at so often; then a person must.
const MOST_TRIES: u32 = 8;
/// Pause before the second look; doubles with each.
const AGAIN: Duration = Duration::from_secs(5);
/// Longest pause.
const AGAIN_AT_MOST: Duration = Duration::from_secs(60);

/// The consumer of `order.timeouts`.
pub(crate) struct Timeouts {
    /// This instance.
    pub(crate) me: Arc<Instance>,
    /// Orders.
    pub(crate) orders: OrdersStub,
    /// `order.timeouts`, for orders that must be looked at again.
    pub(crate) again: Sender<Unpaid>,
}

impl Timeouts {
    /// Works until `stop`.
    pub(crate) async fn run(self, unpaid: Receiver<Unpaid>, stop: CancellationToken) {
        let mut waiting: BTreeMap<(Instant, u64), Message<Unpaid>> = BTreeMap::new();
        let mut arrivals: u64 = 0;
        loop {
            let due = waiting.first_key_value().map(|((due, _), _)| *due);
            tokio::select! {
                () = stop.cancelled() => return,
                message = unpaid.next(), if waiting.len() < MOST_WAITING => {
                    let Some(message) = message else { return };
                    arrivals += 1;
                    waiting.insert((message.sent + message.body.after, arrivals), message);
                }
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    if let Some((_, message)) = waiting.pop_first() {
                        // The span says how it ended; what is to be done about it is done inside.
                        let _ = unpaid.process(message, |unpaid| self.expire(unpaid)).await;
                        sleep(PACE).await;
                    }
                }
            }
        }
    }

    async fn expire(&self, unpaid: Unpaid) -> Result<(), Status> {
        let ask = ExpireRequest { order: unpaid.order.clone() };
        let reply = self.me.counters.called(self.orders.clone().expire(ask).await);
        let Err(status) = reply else { return Ok(()) };
        let about = [kv("order", unpaid.order.clone()), kv("tries", i64::from(unpaid.tries))];
        if status.code() == Code::NotFound {
            return Ok(());
        }
        if unpaid.tries + 1 >= MOST_TRIES {
            let message =
                format!("order {} cannot be cleaned up, somebody must look: {}", unpaid.order, status.message());
            self.me.error(message, &about);
            return Err(status);
        }
        self.me.warn(format!("order {} is not clean yet: {}", unpaid.order, status.message()), &about);
        let after = AGAIN.saturating_mul(1 << unpaid.tries.min(8)).min(AGAIN_AT_MOST);
        self.again.send(Unpaid { tries: unpaid.tries + 1, after, ..unpaid });
        Err(status)
    }
}
