//! A registration in etcd, kept up for ever.

use std::sync::Arc;
use std::time::Duration;

use super::gateway::Gateway;
use crate::discovery::{DiscoveryError, Instance, Keeper, Pauses};

/// Keeps a key up until the keeper says that it ends, and takes it out then.
pub(super) async fn keep(
    gateway: Arc<Gateway>,
    keeper: Arc<Keeper>,
    key: String,
    instance: Instance,
    ttl: Duration,
) -> Result<(), DiscoveryError> {
    let value = serde_json::to_vec(&instance).unwrap_or_default();
    let mut registration = Registration { gateway, key, value, ttl, lease: None };
    let mut pauses = Pauses::default();
    loop {
        // Not cut when the end comes: a lease that was just granted must be known to be revoked.
        let wait = match registration.renew().await {
            Ok(()) => {
                keeper.kept();
                pauses.over();
                ttl / 3
            }
            Err(error) => {
                keeper.failed(error);
                pauses.draw().min(ttl / 3)
            }
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = keeper.ending() => return registration.end().await,
        }
    }
}

struct Registration {
    gateway: Arc<Gateway>,
    key: String,
    value: Vec<u8>,
    ttl: Duration,
    lease: Option<i64>,
}

impl Registration {
    /// Sees to it that the key is there, on a lease that lives.
    async fn renew(&mut self) -> Result<(), DiscoveryError> {
        if let Some(lease) = self.lease {
            if self.gateway.keep_alive(lease).await? {
                // Somebody may have deleted it.
                if !self.gateway.is_there(&self.key).await? {
                    self.gateway.put(&self.key, &self.value, lease).await?;
                }
                return Ok(());
            }
            self.lease = None;
        }
        let lease = self.gateway.grant(self.ttl).await?;
        self.lease = Some(lease);
        self.gateway.put(&self.key, &self.value, lease).await
    }

    async fn end(self) -> Result<(), DiscoveryError> {
        match self.lease {
            Some(lease) => self.gateway.revoke(lease).await,
            None => Ok(()),
        }
    }
}
