//! This instance in the agent's own source of discovery: announced, kept so, and taken out before it stops.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use opentelemetry::KeyValue;
use tokio::time::Instant;

use crate::agent::{Agent, Inner};
use crate::discovery::{Instance, Lease, LeaseState, ToInstance};
use crate::error::AgentError;
use crate::log::Severity;

/// Longest wait for the source to take an instance out.
const GOODBYE: Duration = Duration::from_secs(2);

/// What is announced of this instance.
#[derive(Debug)]
pub(crate) struct Registrations {
    pub(crate) version: String,
    pub(crate) zone: Option<String>,
    /// How long callers go on calling after they could know.
    pub(crate) drain: Duration,
    leases: Mutex<Vec<Lease>>,
}

impl Registrations {
    /// Nothing is announced yet.
    pub(crate) fn new(version: String, zone: Option<String>, drain: Duration) -> Self {
        Self { version, zone, drain, leases: Mutex::default() }
    }

    /// What an instance is announced as, filled up with what is known of this one.
    fn describe(&self, id: &str, mut instance: Instance) -> Instance {
        if instance.id == instance.address {
            id.clone_into(&mut instance.id);
        }
        if instance.version.is_none() && !self.version.is_empty() {
            instance.version = Some(self.version.clone());
        }
        instance.zone = instance.zone.or_else(|| self.zone.clone());
        instance
    }

    /// Takes everything out. Whether there was anything.
    pub(crate) async fn end(&self, agent: &Arc<Inner>) -> bool {
        let leases = std::mem::take(&mut *self.leases.lock().unwrap_or_else(PoisonError::into_inner));
        let until = Instant::now() + GOODBYE;
        let any = !leases.is_empty();
        for lease in leases {
            let problem = match tokio::time::timeout_at(until, lease.end()).await {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("no answer within {} s", GOODBYE.as_secs()),
            };
            let text = format!("this instance could not be taken out of discovery, it has to lapse there: {problem}");
            crate::log::write(agent, Severity::Warn, text, &[]);
        }
        any
    }
}

impl Agent {
    /// Announces this instance at an address in the agent's own source ([`Builder::discovery`](crate::Builder::discovery)), with its id,
    /// version and zone (`cloud.availability_zone`), and keeps it announced until [`Agent::drain`] or [`Agent::shutdown`]. It
    /// waits for nothing: a source that is not there is asked for ever, and how that goes is logged.
    ///
    /// A service with several addresses names them: `Instance::at("10.0.0.7:8080")?.named("orders-1-http")`.
    ///
    /// # Errors
    /// An address that is none, an agent without a source, or one in which nothing can be registered.
    pub fn register(&self, address: impl ToInstance) -> Result<(), AgentError> {
        let inner = &self.inner;
        let source = inner.discovery.as_ref().ok_or_else(|| AgentError::NoDiscovery(inner.service.to_string()))?;
        let instance = inner.registrations.describe(&inner.instance, address.to_instance()?);
        let at = instance.address.clone();
        let lease = source.register(&inner.service, instance)?;
        tokio::spawn(tell(lease.states(), at, Arc::downgrade(inner)));
        inner.registrations.leases.lock().unwrap_or_else(PoisonError::into_inner).push(lease);
        Ok(())
    }

    /// Takes this instance out of discovery, and waits a while ([`Builder::drain`](crate::Builder::drain)) for its callers to notice.
    /// Call it before the servers are stopped; nothing is waited for where nothing was registered.
    pub async fn drain(&self) {
        if self.inner.registrations.end(&self.inner).await {
            tokio::time::sleep(self.inner.registrations.drain).await;
        }
    }
}

/// Logs how a registration is doing.
async fn tell(mut states: tokio::sync::watch::Receiver<LeaseState>, at: String, agent: Weak<Inner>) {
    let mut well = None;
    while states.changed().await.is_ok() {
        let state = states.borrow_and_update().clone();
        let (severity, text) = match state {
            LeaseState::Kept if well != Some(true) => {
                well = Some(true);
                (Severity::Info, format!("this instance is announced at {at}"))
            }
            LeaseState::Trying { error } if well != Some(false) => {
                well = Some(false);
                (Severity::Warn, format!("this instance is not announced at {at}, trying on: {error}"))
            }
            LeaseState::Ended => return,
            _ => continue,
        };
        let Some(agent) = agent.upgrade() else { return };
        crate::log::write(&agent, severity, text, &[KeyValue::new("server.address", at.clone())]);
    }
}
