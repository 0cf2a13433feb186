//! `orders`: the saga. An order is priced, its stock reserved, the money charged, the stock sold; when a step fails, what the
//! steps before it took is given back.

use std::sync::Arc;
use std::time::Duration;

use fuseboard_agent::context;
use tarpc::context::current as tarpc_context;
use tonic::{Request, Response, Status};

use crate::catalog;
use crate::clients::{InventoryStub, PaymentsStub, PricingStub};
use crate::database::Database;
use crate::instance::{Instance, kv};
use crate::queue::{OrderEvent, Sender, Unpaid};
use crate::store::{Item, Order, OrderTable, StockError};
use crate::wire::orders_server::Orders;
use crate::wire::{
    ChargeRequest, ExpireReply, ExpireRequest, Line, OrderState, PlaceReply, PlaceRequest, QuoteRequest, RefundRequest,
};

/// States in which an order may still end either way.
const OPEN: [OrderState; 2] = [OrderState::Pending, OrderState::AwaitingPayment];
/// How soon an order whose saga was cut off is looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// The gRPC service.
#[derive(Clone)]
pub(crate) struct OrdersService(Arc<Inner>);

/// What the service needs.
pub(crate) struct Parts {
    /// This instance.
    pub(crate) me: Arc<Instance>,
    /// The orders that all instances share.
    pub(crate) table: Arc<OrderTable>,
    /// Prices.
    pub(crate) pricing: PricingStub,
    /// Stock.
    pub(crate) inventory: InventoryStub,
    /// Money.
    pub(crate) payments: PaymentsStub,
    /// `order.events`.
    pub(crate) events: Sender<OrderEvent>,
    /// `order.timeouts`.
    pub(crate) timeouts: Sender<Unpaid>,
    /// How long an order may stay unpaid.
    pub(crate) pay_within: Duration,
}

struct Inner {
    parts: Parts,
    db: Database,
}

impl OrdersService {
    /// A service of its parts.
    pub(crate) fn new(parts: Parts) -> Self {
        let db = Database::orders(&parts.me);
        Self(Arc::new(Inner { parts, db }))
    }
}

#[tonic::async_trait]
impl Orders for OrdersService {
    async fn place(&self, request: Request<PlaceRequest>) -> Result<Response<PlaceReply>, Status> {
        let ask = request.into_inner();
        if ask.lines.is_empty() {
            return Err(Status::invalid_argument("an order needs at least one line"));
        }
        self.0.parts.me.work(3.0, 0.000_5).await?;
        self.0.place(ask).await.map(Response::new)
    }

    async fn expire(&self, request: Request<ExpireRequest>) -> Result<Response<ExpireReply>, Status> {
        let id = request.into_inner().order;
        self.0.db.query("SELECT orders", 1.5).await;
        let Some(order) = self.0.parts.table.get(&id) else {
            return Err(Status::not_found(format!("there is no order {id}")));
        };
        if order.state == OrderState::Confirmed || (order.state == OrderState::Cancelled && order.clean()) {
            return Ok(Response::new(ExpireReply { state: order.state.into() }));
        }
        if self.0.parts.table.advance(&id, &OPEN, OrderState::Cancelled) {
            self.0.parts.me.info(format!("order {id} was not paid in time"), &[kv("order", id.clone())]);
            self.0.parts.me.counters.order("expired");
        }
        self.0.refund(&id).await?;
        self.0.release(&id).await?;
        Ok(Response::new(ExpireReply { state: OrderState::Cancelled.into() }))
    }
}

impl Inner {
    async fn place(self: &Arc<Self>, ask: PlaceRequest) -> Result<PlaceReply, Status> {
        let total_cents = self.quote(&ask.lines).await?;
        let id = &*self.new_order();
        let saga = CutOff { orders: self, id, whole: false };
        self.db.query("INSERT orders", 2.0).await;
        let reply = |state: OrderState, reason: String| PlaceReply {
            order: id.to_owned(),
            state: state.into(),
            total_cents,
            reason,
        };
        match self.reserve(id, &ask.lines).await {
            Ok(()) => {}
            Err(Shortage::Business(error)) => {
                self.cancel(id, "out_of_stock").await;
                saga.done();
                return Ok(reply(OrderState::Cancelled, error.to_string()));
            }
            Err(Shortage::Failed(status)) => {
                self.cancel(id, "failed").await;
                saga.done();
                return Err(status);
            }
        }
        if ask.pay_later {
            self.parts.table.advance(id, &[OrderState::Pending], OrderState::AwaitingPayment);
            self.parts.timeouts.send(Unpaid { order: id.to_owned(), tries: 0, after: self.parts.pay_within });
            self.parts.me.counters.order("awaiting_payment");
            saga.done();
            return Ok(reply(OrderState::AwaitingPayment, String::new()));
        }
        let outcome = self.pay(id, &ask.user, total_cents).await;
        saga.done();
        match outcome? {
            None => Ok(reply(OrderState::Confirmed, String::new())),
            Some(reason) => Ok(reply(OrderState::Cancelled, reason)),
        }
    }

    /// Adds a pending order under an id that no other has.
    fn new_order(&self) -> String {
        loop {
            let id = format!("ord-{:08x}", self.parts.me.dice.id());
            if self.parts.table.insert(&id) {
                return id;
            }
        }
    }

    /// Charges and confirms. `Some` is the reason for which the bank declined.
    async fn pay(self: &Arc<Self>, id: &str, user: &str, cents: u64) -> Result<Option<String>, Status> {
        let about = [kv("order", id.to_owned()), kv("user", user.to_owned())];
        match self.charge(id, user, cents).await {
            Ok(()) => {}
            Err(Declined::ByBank(reason)) => {
                self.parts.me.warn(format!("payment declined for {id}: {reason}"), &about);
                self.cancel(id, "declined").await;
                return Ok(Some(reason));
            }
            Err(Declined::Failed(status)) => {
                self.parts.me.error(format!("payment failed for {id}: {}", status.message()), &about);
                self.cancel(id, "failed").await;
                return Err(status);
            }
        }
        let confirmed = self.parts.inventory.confirm(tarpc_context(), id.to_owned()).await;
        let confirmed = self.parts.me.counters.called(confirmed).map_err(|error| error.to_string());
        if let Err(error) = confirmed.and_then(|reply| reply.map_err(|error| error.to_string())) {
            self.parts.me.error(format!("order {id} was paid but cannot be confirmed: {error}"), &about);
            self.cancel(id, "failed").await;
            return Err(Status::unavailable(format!("the order could not be confirmed: {error}")));
        }
        if !self.parts.table.advance(id, &OPEN, OrderState::Confirmed) {
            self.cancel(id, "failed").await;
            return Err(Status::aborted("the order timed out while it was being paid"));
        }
        self.db.query("UPDATE orders", 2.0).await;
        self.parts.me.counters.order("confirmed");
        self.parts.me.info(format!("order {id} placed: {}", catalog::price(cents)), &about);
        self.parts.events.send(OrderEvent { order: id.to_owned(), user: user.to_owned(), cents });
        Ok(None)
    }

    async fn quote(&self, lines: &[Line]) -> Result<u64, Status> {
        let quote = self.parts.pricing.clone().quote(QuoteRequest { lines: lines.to_vec() }).await;
        Ok(self.parts.me.counters.called(quote)?.into_inner().total_cents)
    }

    async fn reserve(&self, id: &str, lines: &[Line]) -> Result<(), Shortage> {
        let items = lines.iter().map(|line| Item { sku: line.sku.clone(), quantity: line.quantity }).collect();
        self.parts.table.note(id, |order| order.maybe_holding = true);
        let reply = self.parts.inventory.reserve(tarpc_context(), id.to_owned(), items).await;
        match self.parts.me.counters.called(reply) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(StockError::Failed(why))) => Err(Shortage::Failed(Status::unavailable(why))),
            Ok(Err(error)) => {
                self.parts.table.note(id, |order| order.maybe_holding = false);
                Err(Shortage::Business(error))
            }
            Err(error) => Err(Shortage::Failed(Status::unavailable(format!("inventory does not answer: {error}")))),
        }
    }

    async fn charge(&self, id: &str, user: &str, cents: u64) -> Result<(), Declined> {
        self.parts.table.note(id, |order| order.maybe_charged = true);
        let ask = ChargeRequest { order: id.to_owned(), user: user.to_owned(), cents };
        match self.parts.me.counters.called(self.parts.payments.clone().charge(ask).await) {
            Ok(reply) if reply.get_ref().approved => Ok(()),
            Ok(reply) => {
                self.parts.table.note(id, |order| order.maybe_charged = false);
                Err(Declined::ByBank(reply.into_inner().reason))
            }
            // One of the attempts may have taken the money although no answer came.
            Err(status) => Err(Declined::Failed(status)),
        }
    }

    /// Cancels an order and gives its stock back, also when the caller is gone or its deadline has passed: in a task of its
    /// own, without that deadline. Money that may have been taken, and stock that cannot be given back now, are left to
    /// `order.timeouts`: whatever made the charge fail would make a refund fail, too.
    async fn cancel(self: &Arc<Self>, id: &str, how: &'static str) {
        self.parts.table.advance(id, &OPEN, OrderState::Cancelled);
        self.parts.me.counters.order(how);
        let (orders, id) = (Arc::clone(self), id.to_owned());
        let under_way = self.parts.me.afterwards.token();
        let task = context::spawn_detached(async move {
            let _under_way = under_way;
            let released = orders.release(&id).await;
            if released.is_err() || !orders.parts.table.get(&id).is_some_and(Order::clean) {
                orders.parts.timeouts.send(Unpaid { order: id, tries: 0, after: LOOK_AGAIN });
            }
        });
        // The task ends abnormally only when the runtime stops.
        let _ = task.await;
    }

    /// Gives money back that may have been taken. Doing it twice is harmless.
    async fn refund(&self, id: &str) -> Result<(), Status> {
        if self.parts.table.get(id).is_some_and(|order| order.maybe_charged) {
            let refund = self.parts.payments.clone().refund(RefundRequest { order: id.to_owned() }).await;
            self.parts.me.counters.called(refund).map_err(|status| {
                Status::unavailable(format!("cannot give back the money of {id} yet: {}", status.message()))
            })?;
            self.parts.table.note(id, |order| order.maybe_charged = false);
        }
        Ok(())
    }

    /// Gives stock back that may be held. Doing it twice is harmless.
    async fn release(&self, id: &str) -> Result<(), Status> {
        if self.parts.table.get(id).is_some_and(|order| order.maybe_holding) {
            let failed =
                |error: String| Status::unavailable(format!("cannot give back the stock of {id} yet: {error}"));
            let released = self.parts.inventory.release(tarpc_context(), id.to_owned()).await;
            let released = self.parts.me.counters.called(released).map_err(|error| failed(error.to_string()))?;
            released.map_err(|error| failed(error.to_string()))?;
            self.parts.table.note(id, |order| order.maybe_holding = false);
            self.db.query("UPDATE orders", 2.0).await;
        }
        Ok(())
    }
}

/// Why stock was not reserved.
enum Shortage {
    /// There is none.
    Business(StockError),
    /// Inventory is not well.
    Failed(Status),
}

/// Why nothing was charged.
enum Declined {
    /// The bank said no.
    ByBank(String),
    /// Payments is not well.
    Failed(Status),
}

/// Stands for a saga under way. When its call is cancelled half way, the order goes to `order.timeouts`, so that what it took is
/// given back.
struct CutOff<'a> {
    orders: &'a Inner,
    id: &'a str,
    whole: bool,
}

impl CutOff<'_> {
    fn done(mut self) {
        self.whole = true;
    }
}

impl Drop for CutOff<'_> {
    fn drop(&mut self) {
        if !self.whole {
            self.orders.parts.timeouts.send(Unpaid { order: self.id.to_owned(), tries: 0, after: LOOK_AGAIN });
        }
    }
}
