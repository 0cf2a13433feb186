//! `notifications`: tells customers about their orders. The mail itself is simulated.

use std::sync::Arc;

use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::catalog;
use crate::clients::UsersStub;
use crate::instance::{Instance, kv};
use crate::queue::{OrderEvent, Receiver};
use crate::wire::GetUserRequest;

/// Messages handled at once.
const WORKERS: usize = 4;

/// The consumer of `order.events`.
pub(crate) struct Notifications {
    /// This instance.
    pub(crate) me: Arc<Instance>,
    /// Accounts.
    pub(crate) users: UsersStub,
}

impl Notifications {
    /// Works until `stop`.
    pub(crate) async fn run(self, events: Receiver<OrderEvent>, stop: CancellationToken) {
        let worker = || async {
            loop {
                let next = tokio::select! {
                    () = stop.cancelled() => return,
                    next = events.next() => next,
                };
                let Some(message) = next else { return };
                if let Err(status) = events.process(message, |event| self.notify(event)).await {
                    self.me.warn(format!("a notification was not sent: {}", status.message()), &[]);
                }
            }
        };
        join_all((0..WORKERS).map(|_| worker())).await;
    }

    async fn notify(&self, event: OrderEvent) -> Result<(), Status> {
        let user = self.users.clone().get(GetUserRequest { user: event.user.clone() }).await;
        let user = self.me.counters.called(user)?.into_inner();
        self.me.work(9.0, 0.001).await?;
        let about = [kv("order", event.order.clone()), kv("user", event.user)];
        let price = catalog::price(event.cents);
        self.me.info(format!("told {} that {} is placed: {price}", user.name, event.order), &about);
        Ok(())
    }
}
