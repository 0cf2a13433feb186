//! Stock on the shelf, and what is reserved of it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::catalog::PRODUCTS;
use crate::store::Bounded;

/// Pieces of each product at the start and after a delivery.
const FULL: u32 = 2_000;
/// Below this many pieces the stock is low, and a delivery comes.
const LOW: u32 = 200;
/// Reservations remembered, open and ended; the oldest are forgotten beyond.
const MOST_RESERVATIONS: usize = 50_000;

/// Some pieces of one product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Item {
    /// Stock-keeping unit.
    pub(crate) sku: String,
    /// Pieces.
    pub(crate) quantity: u32,
}

/// Why stock cannot be reserved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub(crate) enum StockError {
    /// Not enough pieces.
    #[error("{sku} is out of stock: {left} left")]
    OutOfStock {
        /// Which product.
        sku: String,
        /// Pieces left.
        left: u32,
    },
    /// No such product.
    #[error("there is no product {0}; look at GET /products")]
    Unknown(String),
    /// The service is not well.
    #[error("inventory failed: {0}")]
    Failed(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Reservation {
    Held(Vec<Item>),
    Sold(Vec<Item>),
    Released,
}

/// The shelf.
#[derive(Debug)]
pub(crate) struct Shelf(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    pieces: HashMap<&'static str, u32>,
    reservations: Bounded<Reservation>,
}

impl Shelf {
    /// A shelf with as many pieces of everything.
    pub(crate) fn new(pieces: u32) -> Self {
        let pieces = PRODUCTS.iter().map(|product| (product.sku, pieces)).collect();
        Self(Mutex::new(Inner { pieces, reservations: Bounded::new(MOST_RESERVATIONS) }))
    }

    /// A full shelf.
    pub(crate) fn full() -> Self {
        Self::new(FULL)
    }

    /// Takes pieces off the shelf for an order: all of them or none. Reserving twice for one order reserves once.
    pub(crate) fn reserve(&self, order: &str, items: &[Item]) -> Result<(), StockError> {
        let mut inner = self.lock();
        if inner.reservations.get(order).is_some() {
            return Ok(());
        }
        let mut wanted: HashMap<&str, u32> = HashMap::new();
        for item in items {
            let sum = wanted.entry(&item.sku).or_default();
            *sum = sum.saturating_add(item.quantity);
        }
        for (sku, quantity) in &wanted {
            match inner.pieces.get(sku) {
                None => return Err(StockError::Unknown((*sku).to_owned())),
                Some(left) if left < quantity => {
                    return Err(StockError::OutOfStock { sku: (*sku).to_owned(), left: *left });
                }
                Some(_) => {}
            }
        }
        for (sku, quantity) in wanted {
            if let Some(left) = inner.pieces.get_mut(sku) {
                *left -= quantity;
            }
        }
        inner.reservations.insert(order, Reservation::Held(items.to_vec()));
        Ok(())
    }

    /// Sells what an order holds; says whether it held anything. Selling twice sells once.
    pub(crate) fn sell(&self, order: &str) -> bool {
        let mut inner = self.lock();
        match inner.reservations.get_mut(order) {
            Some(held @ Reservation::Held(_)) => {
                if let Reservation::Held(items) = std::mem::replace(held, Reservation::Released) {
                    *held = Reservation::Sold(items);
                }
                true
            }
            Some(Reservation::Sold(_)) => true,
            _ => false,
        }
    }

    /// Puts back what an order holds or bought. An order that holds nothing may not reserve any more afterwards: a
    /// reservation that arrives behind its own release would never be released.
    pub(crate) fn release(&self, order: &str) {
        let mut inner = self.lock();
        let held = match inner.reservations.get_mut(order) {
            Some(reservation) => std::mem::replace(reservation, Reservation::Released),
            None => {
                inner.reservations.insert(order, Reservation::Released);
                return;
            }
        };
        if let Reservation::Held(items) | Reservation::Sold(items) = held {
            for item in items {
                if let Some(left) = inner.pieces.get_mut(item.sku.as_str()) {
                    *left += item.quantity;
                }
            }
        }
    }

    /// Pieces left of a product.
    #[cfg(test)]
    pub(crate) fn left(&self, sku: &str) -> Option<u32> {
        self.lock().pieces.get(sku).copied()
    }

    /// Fills up a product that is low; gives the pieces that were left.
    pub(crate) fn restock(&self, sku: &str) -> Option<u32> {
        let mut inner = self.lock();
        let left = inner.pieces.get_mut(sku).filter(|left| **left < LOW)?;
        Some(std::mem::replace(left, FULL))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEA: &str = "tea-oolong-100";
    const MUG: &str = "mug-stone-blue";

    fn items(list: &[(&str, u32)]) -> Vec<Item> {
        list.iter().map(|(sku, quantity)| Item { sku: (*sku).to_owned(), quantity: *quantity }).collect()
    }

    #[test]
    fn a_reservation_takes_all_or_nothing_and_once() {
        let shelf = Shelf::new(5);
        shelf.reserve("a", &items(&[(TEA, 2), (TEA, 1), (MUG, 1)])).unwrap();
        shelf.reserve("a", &items(&[(TEA, 2)])).unwrap();
        assert_eq!((shelf.left(TEA), shelf.left(MUG)), (Some(2), Some(4)));
        let error = shelf.reserve("b", &items(&[(MUG, 1), (TEA, 3)])).unwrap_err();
        assert_eq!(error, StockError::OutOfStock { sku: TEA.to_owned(), left: 2 });
        assert_eq!(shelf.left(MUG), Some(4));
        assert!(matches!(shelf.reserve("c", &items(&[("nothing", 1)])), Err(StockError::Unknown(_))));
    }

    #[test]
    fn a_release_puts_back_once_what_was_held_or_sold() {
        let shelf = Shelf::new(5);
        shelf.reserve("a", &items(&[(TEA, 2)])).unwrap();
        shelf.release("a");
        shelf.release("a");
        assert_eq!(shelf.left(TEA), Some(5));
        assert!(!shelf.sell("a"));
        shelf.reserve("b", &items(&[(TEA, 1)])).unwrap();
        assert!(shelf.sell("b") && shelf.sell("b"));
        assert_eq!(shelf.left(TEA), Some(4));
        shelf.release("b");
        assert_eq!(shelf.left(TEA), Some(5));
    }

    #[test]
    fn a_reservation_behind_its_own_release_holds_nothing() {
        let shelf = Shelf::new(5);
        shelf.release("late");
        shelf.reserve("late", &items(&[(TEA, 2)])).unwrap();
        assert_eq!(shelf.left(TEA), Some(5));
    }

    #[test]
    fn low_stock_is_delivered() {
        let shelf = Shelf::new(LOW - 1);
        assert_eq!(shelf.restock(TEA), Some(LOW - 1));
        assert_eq!(shelf.restock(TEA), None);
        assert_eq!(shelf.left(TEA), Some(FULL));
    }
}
