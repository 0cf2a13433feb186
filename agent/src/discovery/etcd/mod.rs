//! etcd, spoken to over its v3 JSON gateway (`/v3/…`, etcd 3.4 and later).
//!
//! An instance is a key, `/fuseboard/services/NAME/INSTANCE`, whose value is its JSON (see [`Instance`]; a bare `host:port` is read
//! too). The key hangs on a lease that is kept alive; when the lease is lost, because etcd was away for longer than its time to
//! live or came back without its data, a new one is made and the key is put again. Ending the registration revokes the lease.
//!
//! A watch lists the keys once and goes on from the revision after that list; after a broken connection it goes on from the
//! last revision it saw, and lists again where that was compacted or is ahead of etcd's own. Every ten seconds a small linearizable read
//! finds out whether etcd still answers, and with a quorum.

mod gateway;
mod keep;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt as _};
use http::Uri;

use self::gateway::{Gateway, Keys};
use super::{Discovery, DiscoveryError, Instance, Lease, Watch};
use crate::error::AgentError;
use crate::tls::{ClientTls, Dialer};

/// Where keys begin when nothing else is said.
const PREFIX: &str = "/fuseboard/services";

/// An etcd cluster as a source of instances. Clones are handles of the same.
#[derive(Debug, Clone)]
pub struct Etcd {
    settings: Settings,
    gateway: Arc<Gateway>,
}

#[derive(Debug, Clone)]
struct Settings {
    endpoints: Vec<Uri>,
    prefix: String,
    ttl: Duration,
    user: Option<User>,
    dialer: Dialer,
}

/// Who logs in. The password is never shown.
#[derive(Clone)]
struct User {
    name: String,
    password: String,
}

impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("User").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Settings {
    fn etcd(self) -> Etcd {
        let gateway = {
            let user = self.user.as_ref().map(|user| (user.name.clone(), user.password.clone()));
            Gateway::new(self.endpoints.clone(), user, &self.dialer)
        };
        Etcd { gateway: Arc::new(gateway), settings: self }
    }
}

impl Etcd {
    /// A cluster by the client addresses of its members (`http://10.0.0.5:2379`); one that does not answer is left for the
    /// next.
    ///
    /// # Errors
    /// No address, or one that is none.
    pub fn new<A: AsRef<str>>(endpoints: impl IntoIterator<Item = A>) -> Result<Self, AgentError> {
        let uri = |text: A| crate::address::uri(text.as_ref());
        let endpoints = endpoints.into_iter().map(uri).collect::<Result<Vec<_>, _>>()?;
        if endpoints.is_empty() {
            return Err(AgentError::NoAddress("etcd".to_owned()));
        }
        let (prefix, ttl) = (PREFIX.to_owned(), Duration::from_secs(15));
        Ok(Settings { endpoints, prefix, ttl, user: None, dialer: Dialer::default() }.etcd())
    }

    /// Where the keys begin; `/fuseboard/services` when not given.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.settings.prefix = prefix.into().trim_end_matches('/').to_owned();
        self
    }

    /// How long a registration outlives its instance: 15 s when not given, 2 s at least. It is renewed three times as often.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.settings.ttl = ttl.max(Duration::from_secs(2));
        self
    }

    /// Logs in, where etcd asks for that.
    #[must_use]
    pub fn user(mut self, name: impl Into<String>, password: impl Into<String>) -> Self {
        self.settings.user = Some(User { name: name.into(), password: password.into() });
        self.settings.etcd()
    }

    /// What `https://` addresses are dialled with; this system's roots when not given.
    ///
    /// # Errors
    /// Certificates, keys or names that cannot be used.
    pub fn tls(mut self, settings: &ClientTls) -> Result<Self, AgentError> {
        self.settings.dialer = Dialer::new(settings)?;
        Ok(self.settings.etcd())
    }

    fn keys(&self, service: &str) -> Keys {
        Keys::of(&self.settings.prefix, service)
    }
}

impl Discovery for Etcd {
    fn register(&self, service: &str, instance: Instance) -> Result<Lease, DiscoveryError> {
        let (gateway, key, ttl) = (self.gateway.clone(), self.keys(service).one(&instance.id), self.settings.ttl);
        Ok(Lease::start(|keeper| keep::keep(gateway, keeper, key, instance, ttl)))
    }

    fn deregister<'a>(&'a self, service: &'a str, id: &'a str) -> BoxFuture<'a, Result<(), DiscoveryError>> {
        async move { self.gateway.delete(&self.keys(service).one(id)).await }.boxed()
    }

    fn instances<'a>(&'a self, service: &'a str) -> BoxFuture<'a, Result<Vec<Instance>, DiscoveryError>> {
        async move { Ok(self.gateway.list(&self.keys(service)).await?.instances()) }.boxed()
    }

    fn watch(&self, service: &str) -> Watch {
        let (gateway, keys) = (self.gateway.clone(), self.keys(service));
        Watch::start(|tell| watch::follow(gateway, keys, tell))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_not_shown() {
        let etcd = Etcd::new(["http://127.0.0.1:2379"]).expect("an address").user("ann", "hunter2hunter2");
        let shown = format!("{etcd:?}");
        assert!(shown.contains("ann") && !shown.contains("hunter2"), "{shown}");
    }
}
