//! Instances that the process itself keeps.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::{BoxFuture, FutureExt as _};
use tokio::sync::watch;

use super::{Discovery, DiscoveryError, Instance, Lease, ToInstance, Watch};
use crate::error::AgentError;

/// A list for each service, kept in the process: from a file of the application's own, say. What changes here, clients follow at
/// once. Clones are handles of the same lists.
#[derive(Debug, Clone, Default)]
pub struct Fixed {
    services: Arc<Mutex<HashMap<String, watch::Sender<Vec<Instance>>>>>,
}

impl Fixed {
    /// Without any instance.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With the instances of a service.
    ///
    /// # Errors
    /// One of the addresses is none.
    pub fn with<T: ToInstance>(self, service: &str, instances: &[T]) -> Result<Self, AgentError> {
        self.set(service, instances)?;
        Ok(self)
    }

    /// Replaces the instances of a service.
    ///
    /// # Errors
    /// One of the addresses is none; the list stays as it was.
    pub fn set<T: ToInstance>(&self, service: &str, instances: &[T]) -> Result<(), AgentError> {
        let list = instances.iter().map(ToInstance::to_instance).collect::<Result<Vec<_>, _>>()?;
        self.change(service, |old| *old = list);
        Ok(())
    }

    fn change(&self, service: &str, change: impl FnOnce(&mut Vec<Instance>)) {
        self.list(service).send_modify(change);
    }

    fn list(&self, service: &str) -> watch::Sender<Vec<Instance>> {
        let mut services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        services.entry(service.to_owned()).or_default().clone()
    }
}

impl Discovery for Fixed {
    fn register(&self, service: &str, instance: Instance) -> Result<Lease, DiscoveryError> {
        let (here, service, id) = (self.clone(), service.to_owned(), instance.id.clone());
        here.change(&service, |list| {
            list.retain(|other| other.id != id);
            list.push(instance);
        });
        Ok(Lease::start(|keeper| async move {
            keeper.kept();
            keeper.ending().await;
            here.deregister(&service, &id).await
        }))
    }

    fn deregister<'a>(&'a self, service: &'a str, id: &'a str) -> BoxFuture<'a, Result<(), DiscoveryError>> {
        self.change(service, |list| list.retain(|instance| instance.id != id));
        async { Ok(()) }.boxed()
    }

    fn instances<'a>(&'a self, service: &'a str) -> BoxFuture<'a, Result<Vec<Instance>, DiscoveryError>> {
        let list = self.list(service).borrow().clone();
        async { Ok(list) }.boxed()
    }

    fn watch(&self, service: &str) -> Watch {
        let mut list = self.list(service).subscribe();
        Watch::start(|tell| async move {
            loop {
                let now = list.borrow_and_update().clone();
                tell.list(now);
                if list.changed().await.is_err() {
                    // All handles are gone: nothing changes any more.
                    return std::future::pending().await;
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::StreamExt as _;

    #[tokio::test]
    async fn those_who_register_are_told_and_leave_again() {
        let fixed = Fixed::new().with("bank", &["a:1"]).unwrap();
        let mut watch = fixed.watch("bank");
        while watch.next().await.unwrap().instances.len() != 1 {}
        let lease = fixed.register("bank", Instance::at("b:2").unwrap().named("b")).unwrap();
        lease.kept().await;
        while watch.next().await.unwrap().instances.len() != 2 {}
        lease.end().await.unwrap();
        while watch.next().await.unwrap().instances.len() != 1 {}
        assert_eq!(fixed.instances("bank").await.unwrap().len(), 1);
        assert!(fixed.instances("other").await.unwrap().is_empty());
    }
}
