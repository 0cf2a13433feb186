//! Starts instances: each with an agent, its clients, and a server on its own socket.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use fuseboard_agent::Agent;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use crate::POLICIES;
use crate::addresses::{Addresses, Sockets};
use crate::clients::Clients;
use crate::climate::Climate;
use crate::instance::Instance;
use crate::queue::{OrderEvent, Queue, Unpaid};
use crate::report::Counters;
use crate::service::{bank, gateway, inventory, notifications, orders, payments, pricing, timeouts, users};
use crate::shop::{ShopConfig, ShopError};
use crate::store::{Ledger, OrderTable, Shelf};
use crate::wire::orders_server::OrdersServer;
use crate::wire::payments_server::PaymentsServer;
use crate::wire::pricing_server::PricingServer;
use crate::wire::users_server::UsersServer;

/// Quotes asked for by each checkout and the product views that come with it.
const QUOTES_A_CHECKOUT: f64 = 2.2;
/// How much more than that pricing can give.
const PRICING_HEADROOM: f64 = 2.5;
/// How long an instance may take for what it is doing when it stops; longer than any call of the shop's may take.
const GRACE: Duration = Duration::from_millis(2_500);
/// Longest time that an agent takes to deliver what it holds at the end.
const DELIVERY: Duration = Duration::from_secs(3);

/// One running instance.
pub(crate) struct Running {
    /// What it is.
    pub(crate) instance: Arc<Instance>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    /// Stops it once it has done what it is doing.
    pub(crate) async fn stop(&mut self) {
        self.stop.cancel();
        let afterwards = &self.instance.afterwards;
        afterwards.close();
        let done = async {
            // It ends abnormally only when the runtime stops.
            let _ = (&mut self.task).await;
            afterwards.wait().await;
        };
        if timeout(GRACE, done).await.is_err() {
            self.task.abort();
        }
    }

    /// Delivers the telemetry of one that has stopped; gives the number of records that could not be delivered.
    pub(crate) async fn deliver(self) -> u64 {
        self.instance.agent.shutdown().await;
        self.instance.agent.dropped()
    }

    /// Who stops first when the shop closes: nobody stops before those who may still call it.
    pub(crate) fn turn(&self) -> usize {
        match self.instance.agent.service() {
            "gateway" | "order-timeouts" => 0,
            "orders" => 1,
            "inventory" | "payments" | "notifications" => 2,
            _ => 3,
        }
    }
}

/// Knows how to start every instance.
pub(crate) struct Launcher {
    config: ShopConfig,
    climate: Arc<Climate>,
    counters: Arc<Counters>,
    stop: CancellationToken,
    addresses: Addresses,
    sockets: AllSockets,
    pub(crate) table: Arc<OrderTable>,
    pub(crate) shelf: Arc<Shelf>,
    pub(crate) ledger: Arc<Ledger>,
    events: Queue<OrderEvent>,
    timeouts: Queue<Unpaid>,
}

struct AllSockets {
    gateway: Sockets,
    orders: Sockets,
    inventory: Sockets,
    payments: Sockets,
    bank: Sockets,
    pricing: Sockets,
    users: Sockets,
}

impl Launcher {
    /// Binds all sockets; starts nothing yet.
    pub(crate) fn new(
        config: ShopConfig,
        climate: Arc<Climate>,
        counters: Arc<Counters>,
        stop: CancellationToken,
    ) -> Result<Self, ShopError> {
        let mut addresses = Addresses::default();
        let sockets = AllSockets {
            gateway: Sockets::bind(2, &mut addresses.gateway)?,
            orders: Sockets::bind(2, &mut addresses.orders)?,
            inventory: Sockets::bind(2, &mut addresses.inventory)?,
            payments: Sockets::bind(3, &mut addresses.payments)?,
            bank: Sockets::bind(1, &mut addresses.bank)?,
            pricing: Sockets::bind(1, &mut addresses.pricing)?,
            users: Sockets::bind(1, &mut addresses.users)?,
        };
        Ok(Self {
            config,
            climate,
            counters,
            stop,
            addresses,
            sockets,
            table: Arc::default(),
            shelf: Arc::new(Shelf::full()),
            ledger: Arc::default(),
            events: Queue::new("order.events"),
            timeouts: Queue::new("order.timeouts"),
        })
    }

    /// Where everybody listens.
    pub(crate) fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Starts every instance, callees before callers.
    pub(crate) async fn all(&self) -> Result<Vec<Running>, ShopError> {
        let mut running = vec![self.bank().await?, self.pricing().await?, self.users().await?];
        for index in 0..3 {
            running.push(self.payments(index, &format!("payments-{}", index + 1), "2.4.1").await?);
        }
        for index in 0..2 {
            running.push(self.inventory(index).await?);
        }
        for index in 0..2 {
            running.push(self.orders(index).await?);
        }
        running.push(self.notifications().await?);
        running.push(self.timeout_worker().await?);
        for index in 0..2 {
            running.push(self.gateway(index).await?);
        }
        Ok(running)
    }

    /// The last instance of payments anew: as `payments-4` with a version of its own, or as it was.
    pub(crate) async fn last_payments(&self, version: Option<&'static str>) -> Result<Running, ShopError> {
        match version {
            Some(version) => self.payments(2, "payments-4", version).await,
            None => self.payments(2, "payments-3", "2.4.1").await,
        }
    }

    async fn bank(&self) -> Result<Running, ShopError> {
        let me = self.instance("bank", "bank-1", "7.0.2").await?;
        let router = bank::router(Arc::clone(&me), Arc::clone(&self.ledger), self.config.declines);
        let listener = self.sockets.bank.listen(0)?;
        Ok(self.serve_http(me, router, listener))
    }

    async fn pricing(&self) -> Result<Running, ShopError> {
        let me = self.instance("pricing", "pricing-1", "1.9.0").await?;
        let per_sec = self.config.rate * QUOTES_A_CHECKOUT * PRICING_HEADROOM;
        let service = PricingServer::new(pricing::PricingService::new(Arc::clone(&me), per_sec));
        let server = Server::builder().layer(me.agent.grpc_server()).add_service(service);
        let listener = TcpListenerStream::new(self.sockets.pricing.listen(0)?);
        Ok(self.run(me, |stop| async move {
            // A server ends with an error only when its listener is gone: then its callers see it.
            let _ = server.serve_with_incoming_shutdown(listener, stop.cancelled_owned()).await;
        }))
    }

    async fn users(&self) -> Result<Running, ShopError> {
        let me = self.instance("users", "users-1", "3.1.4").await?;
        let service = UsersServer::new(users::UsersService { me: Arc::clone(&me) });
        let server = Server::builder().layer(me.agent.grpc_server()).add_service(service);
        let listener = TcpListenerStream::new(self.sockets.users.listen(0)?);
        Ok(self.run(me, |stop| async move {
            let _ = server.serve_with_incoming_shutdown(listener, stop.cancelled_owned()).await;
        }))
    }

    async fn payments(&self, index: usize, name: &str, version: &str) -> Result<Running, ShopError> {
        let me = self.instance("payments", name, version).await?;
        let bank = self.client(&me, |clients| clients.bank())?;
        let service = PaymentsServer::new(payments::PaymentsService { me: Arc::clone(&me), bank });
        let server = Server::builder().layer(me.agent.grpc_server()).add_service(service);
        let listener = TcpListenerStream::new(self.sockets.payments.listen(index)?);
        Ok(self.run(me, |stop| async move {
            let _ = server.serve_with_incoming_shutdown(listener, stop.cancelled_owned()).await;
        }))
    }

    async fn orders(&self, index: usize) -> Result<Running, ShopError> {
        let me = self.instance("orders", &format!("orders-{}", index + 1), "5.12.0").await?;
        let parts = orders::Parts {
            me: Arc::clone(&me),
            table: Arc::clone(&self.table),
            pricing: self.client(&me, |clients| clients.pricing())?,
            inventory: self.client(&me, |clients| clients.inventory())?,
            payments: self.client(&me, |clients| clients.payments())?,
            events: self.events.sender(&me),
            timeouts: self.timeouts.sender(&me),
            pay_within: self.config.pay_within,
        };
        let service = OrdersServer::new(orders::OrdersService::new(parts));
        let server = Server::builder().layer(me.agent.grpc_server()).add_service(service);
        let listener = TcpListenerStream::new(self.sockets.orders.listen(index)?);
        Ok(self.run(me, |stop| async move {
            let _ = server.serve_with_incoming_shutdown(listener, stop.cancelled_owned()).await;
        }))
    }

    async fn inventory(&self, index: usize) -> Result<Running, ShopError> {
        let me = self.instance("inventory", &format!("inventory-{}", index + 1), "4.0.7").await?;
        let service = inventory::InventoryService::new(Arc::clone(&me), Arc::clone(&self.shelf));
        let listener = self.sockets.inventory.listen(index)?;
        let server = me.agent.tarpc_server();
        Ok(self.run(me, |stop| async move {
            tokio::select! {
                () = stop.cancelled() => {}
                _ = server.run(listener, crate::wire::Inventory::serve(service)) => {}
            }
        }))
    }

    async fn notifications(&self) -> Result<Running, ShopError> {
        let me = self.instance("notifications", "notifications-1", "0.8.3").await?;
        let users = self.client(&me, |clients| clients.users())?;
        let events = self.events.receiver(&me);
        let worker = notifications::Notifications { me: Arc::clone(&me), users };
        Ok(self.run(me, |stop| worker.run(events, stop)))
    }

    async fn timeout_worker(&self) -> Result<Running, ShopError> {
        let me = self.instance("order-timeouts", "order-timeouts-1", "5.12.0").await?;
        let orders = self.client(&me, |clients| clients.orders())?;
        let worker = timeouts::Timeouts { me: Arc::clone(&me), orders, again: self.timeouts.sender(&me) };
        let unpaid = self.timeouts.receiver(&me);
        Ok(self.run(me, |stop| worker.run(unpaid, stop)))
    }

    async fn gateway(&self, index: usize) -> Result<Running, ShopError> {
        let me = self.instance("gateway", &format!("gateway-{}", index + 1), "6.2.0").await?;
        let router = gateway::router(gateway::Gateway {
            me: Arc::clone(&me),
            orders: self.client(&me, |clients| clients.orders())?,
            pricing: self.client(&me, |clients| clients.pricing())?,
            users: self.client(&me, |clients| clients.users())?,
        });
        let listener = self.sockets.gateway.listen(index)?;
        Ok(self.serve_http(me, router, listener))
    }

    /// An instance with its agent started.
    async fn instance(&self, service: &str, name: &str, version: &str) -> Result<Arc<Instance>, ShopError> {
        let mut agent = Agent::builder(service)
            .instance(name)
            .version(version)
            .otlp(&self.config.otlp)
            .default_policy_toml(POLICIES)
            .shutdown_limit(DELIVERY);
        if let Some(control) = &self.config.control {
            agent = agent.control(control);
        }
        if let Some(folder) = &self.config.state_dir {
            agent = agent.state_dir(folder.join(name));
        }
        let agent = agent.start().await.map_err(|source| ShopError::Agent { instance: name.to_owned(), source })?;
        Ok(Instance::new(agent, &self.config, Arc::clone(&self.climate), Arc::clone(&self.counters)))
    }

    /// A client of an instance.
    fn client<T>(
        &self,
        me: &Instance,
        make: impl FnOnce(&Clients<'_>) -> Result<T, fuseboard_agent::AgentError>,
    ) -> Result<T, ShopError> {
        let clients = Clients { agent: &me.agent, addresses: &self.addresses };
        make(&clients).map_err(|source| ShopError::Agent { instance: me.agent.instance().to_owned(), source })
    }

    fn serve_http(&self, me: Arc<Instance>, router: axum::Router, listener: TcpListener) -> Running {
        let router = router.layer(me.agent.http_server());
        self.run(me, |stop| async move {
            let _ = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await;
        })
    }

    /// Spawns an instance's task; it ends when the shop does, or when this instance alone is stopped.
    fn run<F>(&self, instance: Arc<Instance>, task: impl FnOnce(CancellationToken) -> F) -> Running
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let stop = self.stop.child_token();
        let task = tokio::spawn(task(stop.clone()));
        Running { instance, stop, task }
    }
}
