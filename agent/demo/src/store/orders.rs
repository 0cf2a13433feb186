//! Orders and their states.

use std::sync::{Mutex, PoisonError};

use crate::store::Bounded;
use crate::wire::OrderState;

/// Orders remembered; the oldest are forgotten beyond.
const MOST_ORDERS: usize = 50_000;

/// One order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Order {
    /// Where it stands.
    pub(crate) state: OrderState,
    /// Whether money may have been taken: a charge was asked for, and the answer was not a clear no.
    pub(crate) maybe_charged: bool,
    /// Whether stock may be held.
    pub(crate) maybe_holding: bool,
}

impl Order {
    /// Whether nothing is left to be given back.
    pub(crate) fn clean(self) -> bool {
        !self.maybe_charged && !self.maybe_holding
    }
}

/// All orders.
#[derive(Debug)]
pub(crate) struct OrderTable(Mutex<Bounded<Order>>);

impl Default for OrderTable {
    fn default() -> Self {
        Self(Mutex::new(Bounded::new(MOST_ORDERS)))
    }
}

impl OrderTable {
    /// Adds a pending order; says whether the id was free.
    pub(crate) fn insert(&self, id: &str) -> bool {
        let order = Order { state: OrderState::Pending, maybe_charged: false, maybe_holding: false };
        self.with(|orders| orders.insert(id, order))
    }

    /// An order.
    pub(crate) fn get(&self, id: &str) -> Option<Order> {
        self.with(|orders| orders.get(id).copied())
    }

    /// Notes something about an order.
    pub(crate) fn note(&self, id: &str, note: impl FnOnce(&mut Order)) {
        self.with(|orders| orders.get_mut(id).map(note));
    }

    /// Moves an order from one of some states to another; says whether it did. Of two that want to end the same order one
    /// alone succeeds.
    pub(crate) fn advance(&self, id: &str, from: &[OrderState], to: OrderState) -> bool {
        self.with(|orders| match orders.get_mut(id) {
            Some(order) if from.contains(&order.state) => {
                order.state = to;
                true
            }
            _ => false,
        })
    }

    fn with<T>(&self, work: impl FnOnce(&mut Bounded<Order>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use OrderState::{AwaitingPayment, Cancelled, Confirmed, Pending};

    #[test]
    fn an_order_ends_once() {
        let orders = OrderTable::default();
        assert!(orders.insert("o") && !orders.insert("o"));
        assert!(orders.advance("o", &[Pending], AwaitingPayment));
        assert!(orders.advance("o", &[Pending, AwaitingPayment], Cancelled));
        assert!(!orders.advance("o", &[Pending, AwaitingPayment], Confirmed));
        assert_eq!(orders.get("o").unwrap().state, Cancelled);
        assert!(!orders.advance("unknown", &[Pending], Confirmed));
    }
}
