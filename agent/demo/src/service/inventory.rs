//! `inventory`: stock, over tarpc.

use std::sync::Arc;

use tarpc::context::Context;

use crate::catalog;
use crate::database::Database;
use crate::instance::{Instance, kv};
use crate::store::{Item, Shelf, StockError};
use crate::wire::Inventory;

/// The tarpc service.
#[derive(Clone)]
pub(crate) struct InventoryService {
    me: Arc<Instance>,
    shelf: Arc<Shelf>,
    cache: Database,
}

impl InventoryService {
    /// A service over the shared shelf.
    pub(crate) fn new(me: Arc<Instance>, shelf: Arc<Shelf>) -> Self {
        let cache = Database::stock(&me);
        Self { me, shelf, cache }
    }

    async fn work(&self, median_ms: f64) -> Result<(), StockError> {
        self.me.work(median_ms, 0.000_5).await.map_err(|mishap| StockError::Failed(mishap.to_string()))
    }

    /// Orders more of what has become rare.
    fn restock(&self, items: &[Item]) {
        for item in items {
            if let Some(left) = self.shelf.restock(&item.sku) {
                let name = catalog::product_of(&item.sku).map_or(item.sku.as_str(), |product| product.name);
                let about = [kv("sku", item.sku.clone()), kv("left", i64::from(left))];
                self.me.warn(format!("stock low: {left} of {name} left, delivery ordered"), &about);
            }
        }
    }
}

impl Inventory for InventoryService {
    async fn reserve(self, _: Context, order: String, items: Vec<Item>) -> Result<(), StockError> {
        self.work(5.0).await?;
        self.cache.query("DECRBY stock", 1.0).await;
        self.shelf.reserve(&order, &items).inspect_err(|error| {
            self.me.warn(format!("cannot reserve: {error}"), &[kv("order", order.clone())]);
        })?;
        self.restock(&items);
        Ok(())
    }

    async fn confirm(self, _: Context, order: String) -> Result<(), StockError> {
        self.work(3.0).await?;
        if self.shelf.sell(&order) {
            Ok(())
        } else {
            Err(StockError::Failed(format!("order {order} holds no stock any more")))
        }
    }

    async fn release(self, _: Context, order: String) -> Result<(), StockError> {
        self.work(3.0).await?;
        self.cache.query("INCRBY stock", 1.0).await;
        self.shelf.release(&order);
        Ok(())
    }
}
