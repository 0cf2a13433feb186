//! The shop's messages: gRPC from `proto/shop.proto`, and the inventory's tarpc service.

pub(crate) use v1::*;

use crate::store::{Item, StockError};

#[expect(clippy::all, unreachable_pub, reason = "generated from proto/shop.proto")]
mod v1 {
    include!("generated/shop.rs");
}

/// The inventory, over tarpc.
#[tarpc::service]
pub(crate) trait Inventory {
    /// Holds pieces for an order.
    async fn reserve(order: String, items: Vec<Item>) -> Result<(), StockError>;
    /// Sells what an order holds.
    async fn confirm(order: String) -> Result<(), StockError>;
    /// Puts back what an order holds.
    async fn release(order: String) -> Result<(), StockError>;
}
