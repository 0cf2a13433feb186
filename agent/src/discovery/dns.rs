//! DNS: who is there by SRV records, or by A and AAAA records and a port that is known.
//!
//! Records are asked for again when the shortest time to live among them is over, but not sooner than a floor and not later than a
//! cap. An answer that there is none is believed when it carries its zone's SOA record (RFC 2308); otherwise, and when servers do not
//! answer or fail, what was known stays.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt as _};
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::rr::RData;
use hickory_resolver::proto::rr::rdata::SRV;
use hickory_resolver::{Resolver, TokioResolver};

use super::{Discovery, DiscoveryError, Instance, Lease, Pauses, Watch};
use crate::error::AgentError;

/// Longest wait for one server's answer.
const ANSWER: Duration = Duration::from_secs(2);

/// DNS as a source of instances.
#[derive(Clone)]
pub struct Dns {
    resolver: Arc<TokioResolver>,
    template: String,
    /// `None`: SRV records say it.
    port: Option<u16>,
    floor: Duration,
    cap: Duration,
}

impl std::fmt::Debug for Dns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dns").field("template", &self.template).field("port", &self.port).finish_non_exhaustive()
    }
}

impl Dns {
    /// By SRV records. `{service}` in the template stands for the service's name:
    /// `_grpc._tcp.{service}.shop.svc.cluster.local`. Only targets of the lowest priority are called, by their weights.
    ///
    /// # Errors
    /// This system's resolver settings cannot be read.
    pub fn srv(template: impl Into<String>) -> Result<Self, AgentError> {
        Self::new(template.into(), None, TokioResolver::builder_tokio().map_err(|error| unusable(&error))?)
    }

    /// By A and AAAA records (`{service}.shop.internal`) and a port.
    ///
    /// # Errors
    /// This system's resolver settings cannot be read.
    pub fn host(template: impl Into<String>, port: u16) -> Result<Self, AgentError> {
        Self::new(template.into(), Some(port), TokioResolver::builder_tokio().map_err(|error| unusable(&error))?)
    }

    /// Asks these servers instead of this system's.
    ///
    /// # Errors
    /// No resolver can be made of them.
    pub fn servers(self, servers: &[SocketAddr]) -> Result<Self, AgentError> {
        let server = |address: &SocketAddr| {
            let at = |mut connection: ConnectionConfig| {
                connection.port = address.port();
                connection
            };
            NameServerConfig::new(address.ip(), true, vec![at(ConnectionConfig::udp()), at(ConnectionConfig::tcp())])
        };
        let config = ResolverConfig::from_name_servers(servers.iter().map(server).collect());
        let builder = Resolver::builder_with_config(config, TokioRuntimeProvider::default());
        Ok(Self { floor: self.floor, cap: self.cap, ..Self::new(self.template, self.port, builder)? })
    }

    /// Bounds for how long records are trusted, whatever they say of it: 1 s and 60 s when not given.
    #[must_use]
    pub fn ttl(mut self, floor: Duration, cap: Duration) -> Self {
        self.floor = floor.max(Duration::from_millis(100));
        self.cap = cap.max(self.floor);
        self
    }

    fn new(
        template: String,
        port: Option<u16>,
        mut builder: hickory_resolver::ResolverBuilder<TokioRuntimeProvider>,
    ) -> Result<Self, AgentError> {
        let options = builder.options_mut();
        // The times to live are minded here.
        options.cache_size = 0;
        options.timeout = ANSWER;
        let resolver = Arc::new(builder.build().map_err(|error| unusable(&error))?);
        Ok(Self { resolver, template, port, floor: Duration::from_secs(1), cap: Duration::from_secs(60) })
    }

    /// Who is there, and for how long that can be trusted.
    async fn ask(&self, service: &str) -> Result<(Vec<Instance>, Duration), DiscoveryError> {
        let name = self.template.replace("{service}", service);
        let mut ttl = self.cap;
        let mut instances = Vec::new();
        match self.port {
            Some(port) => {
                for ip in self.addresses(&name, &mut ttl).await? {
                    instances.extend(at(ip, port, 1));
                }
            }
            None => {
                for (target, (port, weight)) in self.targets(&name, &mut ttl).await? {
                    for ip in self.addresses(&target.0, &mut ttl).await? {
                        instances.extend(at(ip, port, weight));
                    }
                }
            }
        }
        Ok((instances, ttl.max(self.floor)))
    }

    /// Targets of the lowest priority, with port and weight.
    async fn targets(
        &self,
        name: &str,
        ttl: &mut Duration,
    ) -> Result<BTreeMap<(String, u16), (u16, u32)>, DiscoveryError> {
        let Some(found) = believed(name, self.resolver.srv_lookup(name).await)? else { return Ok(BTreeMap::new()) };
        mind(&found, ttl);
        let records = || found.answers().iter().filter_map(|record| srv(&record.data));
        let lowest = records().map(|record| record.priority).min();
        let best = records().filter(|record| Some(record.priority) == lowest);
        // Weight 0 is to be picked seldom, not never.
        let read =
            |record: &SRV| ((record.target.to_string(), record.port), (record.port, u32::from(record.weight).max(1)));
        Ok(best.map(read).collect())
    }

    async fn addresses(&self, name: &str, ttl: &mut Duration) -> Result<Vec<IpAddr>, DiscoveryError> {
        let found = self.resolver.lookup_ip(name).await;
        let Some(found) = believed(name, found)? else { return Ok(Vec::new()) };
        mind(found.as_lookup(), ttl);
        Ok(found.iter().collect())
    }
}

fn srv(data: &RData) -> Option<&SRV> {
    if let RData::SRV(record) = data { Some(record) } else { None }
}

fn at(ip: IpAddr, port: u16, weight: u32) -> Option<Instance> {
    Instance::at(SocketAddr::new(ip, port).to_string()).ok().map(|instance| instance.weighing(weight))
}

/// The shortest time to live counts.
fn mind(found: &Lookup, ttl: &mut Duration) {
    let shortest = found.answers().iter().map(|record| Duration::from_secs(u64::from(record.ttl))).min();
    *ttl = shortest.map_or(*ttl, |shortest| shortest.min(*ttl));
}

/// `None` where the zone itself says that there is nothing.
fn believed<T>(name: &str, answer: Result<T, NetError>) -> Result<Option<T>, DiscoveryError> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(NetError::Dns(DnsError::NoRecordsFound(none))) if none.soa.is_some() => Ok(None),
        Err(error) => Err(DiscoveryError::Unreachable { at: name.to_owned(), reason: error.to_string() }),
    }
}

fn unusable(error: &NetError) -> AgentError {
    AgentError::Address { text: "DNS".to_owned(), reason: error.to_string() }
}

impl Discovery for Dns {
    fn register(&self, _: &str, _: Instance) -> Result<Lease, DiscoveryError> {
        Err(DiscoveryError::Unsupported("nothing can be registered in DNS: whoever runs the instances does that"))
    }

    fn deregister<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, Result<(), DiscoveryError>> {
        async {
            Err(DiscoveryError::Unsupported("nothing can be taken out of DNS: whoever runs the instances does that"))
        }
        .boxed()
    }

    fn instances<'a>(&'a self, service: &'a str) -> BoxFuture<'a, Result<Vec<Instance>, DiscoveryError>> {
        async move { Ok(self.ask(service).await?.0) }.boxed()
    }

    fn watch(&self, service: &str) -> Watch {
        let (dns, service) = (self.clone(), service.to_owned());
        Watch::start(|tell| async move {
            let mut pauses = Pauses::default();
            loop {
                match dns.ask(&service).await {
                    Ok((instances, ttl)) => {
                        tell.list(instances);
                        pauses.over();
                        tokio::time::sleep(ttl).await;
                    }
                    Err(error) => {
                        tell.failed(error);
                        pauses.wait().await;
                    }
                }
            }
        })
    }
}
