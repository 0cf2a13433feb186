//! The shop as a whole: starts every instance, plays the weather, sends the traffic, and ends it all.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use fuseboard_agent::AgentError;
use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::chance::Dice;
use crate::climate::Climate;
use crate::launch::{Launcher, Running};
use crate::report::{Counters, ShopReport};
use crate::traffic::Traffic;
use crate::weather::{Step, Weather};

/// Why a shop cannot open.
#[derive(Debug, thiserror::Error)]
pub enum ShopError {
    /// An agent could not start.
    #[error("the agent of {instance} cannot start: {source}")]
    Agent {
        /// Whose.
        instance: String,
        /// Why.
        source: AgentError,
    },
    /// A socket could not be bound.
    #[error("cannot listen on a loopback port: {0}; check the limit of open files (`ulimit -n`)")]
    Socket(#[from] io::Error),
    /// The visitors' HTTP client could not be made.
    #[error("the visitors' HTTP client cannot be made: {0}")]
    Visitors(String),
    /// A rate that is none.
    #[error("the rate is {0}, but must be a number of checkouts a second above 0 and at most 10000")]
    Rate(f64),
}

/// How a shop is set up.
#[derive(Debug, Clone)]
pub struct ShopConfig {
    /// The collector's OTLP/gRPC address, such as `http://127.0.0.1:4317`.
    pub otlp: String,
    /// The collector's control address, such as `http://127.0.0.1:4390`; without one the shop's own policy stays in force.
    pub control: Option<String>,
    /// Decides everything that looks like chance.
    pub seed: u64,
    /// Where agents keep their last good policy, each in a folder of its own; without one they keep it in memory.
    pub state_dir: Option<PathBuf>,
    /// Checkouts a second in calm weather. Visitors that only look come on top; all in all the services make about ten calls
    /// to each other for each checkout.
    pub rate: f64,
    /// The weather from the traffic's start on.
    pub weather: Weather,
    /// How long an order may stay unpaid before it is cancelled.
    pub pay_within: Duration,
    /// Share of payments that the bank declines in any weather, 0…1.
    pub declines: f64,
    /// Factor on the small share of requests that fail in any weather; 0 for a shop without mishaps.
    pub mishaps: f64,
}

impl Default for ShopConfig {
    /// Against a collector at its default addresses; 30 checkouts a second in calm weather.
    fn default() -> Self {
        Self {
            otlp: "http://127.0.0.1:4317".to_owned(),
            control: Some("http://127.0.0.1:4390".to_owned()),
            seed: 1,
            state_dir: None,
            rate: 30.0,
            weather: Weather::Calm,
            pay_within: Duration::from_secs(15),
            declines: 0.025,
            mishaps: 1.0,
        }
    }
}

/// A running shop. Dropping it stops everything at once; [`Shop::shutdown`] also delivers the telemetry that waits.
pub struct Shop {
    inner: Arc<Inner>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

struct Inner {
    config: ShopConfig,
    launcher: Launcher,
    running: Mutex<Vec<Running>>,
    climate: Arc<Climate>,
    counters: Arc<Counters>,
    opened: OnceLock<Instant>,
    /// Telemetry records that instances which were replaced could not deliver.
    retired_dropped: AtomicU64,
    says: watch::Sender<String>,
    /// No more visitors, no more weather.
    close: CancellationToken,
    /// Everything ends.
    stop: CancellationToken,
}

impl Shop {
    /// Starts every instance. They are ready when this returns; visitors come with [`Shop::traffic`].
    ///
    /// # Errors
    /// See [`ShopError`]. An absent collector is not an error: agents go on without.
    pub async fn start(config: ShopConfig) -> Result<Self, ShopError> {
        if !(config.rate > 0.0 && config.rate <= 10_000.0) {
            return Err(ShopError::Rate(config.rate));
        }
        let (climate, counters) = (Arc::new(Climate::default()), Arc::new(Counters::default()));
        let stop = CancellationToken::new();
        let launcher = Launcher::new(config.clone(), Arc::clone(&climate), Arc::clone(&counters), stop.clone())?;
        let running = launcher.all().await?;
        let inner = Inner {
            config,
            launcher,
            running: Mutex::new(running),
            climate,
            counters,
            opened: OnceLock::new(),
            retired_dropped: AtomicU64::new(0),
            says: watch::Sender::new("0 s: all is calm".to_owned()),
            close: stop.child_token(),
            stop,
        };
        Ok(Self { inner: Arc::new(inner), tasks: Mutex::default() })
    }

    /// Opens the doors: visitors come, and the weather begins. Once; a second call changes nothing.
    ///
    /// # Errors
    /// [`ShopError::Visitors`].
    pub fn traffic(&self) -> Result<(), ShopError> {
        let client = reqwest::Client::builder().no_proxy().build();
        let client = client.map_err(|error| ShopError::Visitors(error.to_string()))?;
        let opened = Instant::now();
        if self.inner.opened.set(opened).is_err() {
            return Ok(());
        }
        let traffic = Traffic {
            gateways: self.gateways().to_vec(),
            rate: self.inner.config.rate,
            dice: Dice::new(self.inner.config.seed, "visitors"),
            climate: Arc::clone(&self.inner.climate),
            counters: Arc::clone(&self.inner.counters),
            client,
        };
        let visitors = tokio::spawn(traffic.run(self.inner.close.clone(), self.inner.stop.clone()));
        let weather = tokio::spawn(Arc::clone(&self.inner).play(opened));
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).extend([visitors, weather]);
        Ok(())
    }

    /// Where the gateways listen.
    #[must_use]
    pub fn gateways(&self) -> &[SocketAddr] {
        &self.inner.launcher.addresses().gateway
    }

    /// The newest event of the weather, for people: `12 s: the bank slows to 1.4 s`.
    #[must_use]
    pub fn weather_now(&self) -> String {
        self.inner.says.borrow().clone()
    }

    /// The same, as it changes.
    #[must_use]
    pub fn weather_changes(&self) -> watch::Receiver<String> {
        self.inner.says.subscribe()
    }

    /// What happened so far.
    #[must_use]
    pub fn report(&self) -> ShopReport {
        let running = self.inner.running.lock().unwrap_or_else(PoisonError::into_inner);
        let mut services: Vec<&str> = running.iter().map(|one| one.instance.agent.service()).collect();
        services.sort_unstable();
        services.dedup();
        ShopReport {
            services: services.len(),
            instances: running.len(),
            seconds: self.inner.opened.get().map_or(0.0, |opened| opened.elapsed().as_secs_f64()),
            dropped: self.retired_dropped() + running.iter().map(|one| one.instance.agent.dropped()).sum::<u64>(),
            ..self.inner.counters.report()
        }
    }

    /// Closes the shop: no more visitors come, those inside are served, every instance stops, and the agents deliver what
    /// they hold, within their limit. Callers stop before their callees. Takes some seconds at most. Gives the final report.
    pub async fn shutdown(self) -> ShopReport {
        self.inner.close.cancel();
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        join_all(tasks).await;
        let mut report = self.report();
        let mut running = std::mem::take(&mut *self.inner.running.lock().unwrap_or_else(PoisonError::into_inner));
        running.sort_by_key(Running::turn);
        for together in running.chunk_by_mut(|one, other| one.turn() == other.turn()) {
            join_all(together.iter_mut().map(Running::stop)).await;
        }
        self.inner.stop.cancel();
        // Only now: whoever still ran could have had something to tell.
        let dropped = join_all(running.into_iter().map(Running::deliver)).await.into_iter().sum::<u64>();
        report.dropped = self.retired_dropped() + dropped;
        report
    }

    fn retired_dropped(&self) -> u64 {
        self.inner.retired_dropped.load(Ordering::Relaxed)
    }

    #[cfg(test)]
    pub(crate) fn launcher(&self) -> &Launcher {
        &self.inner.launcher
    }

    #[cfg(test)]
    pub(crate) async fn release(&self, version: Option<&'static str>) -> Result<(), ShopError> {
        self.inner.release(version).await
    }

    #[cfg(test)]
    pub(crate) fn climate(&self) -> &Climate {
        &self.inner.climate
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        self.inner.stop.cancel();
    }
}

impl Inner {
    /// Plays the weather until the shop closes.
    async fn play(self: Arc<Self>, opened: Instant) {
        let script = self.config.weather.script(self.config.seed);
        let mut begins = opened;
        loop {
            for step in &script.steps {
                tokio::select! {
                    () = self.close.cancelled() => return,
                    () = sleep_until(begins + step.at) => self.apply(opened, step).await,
                }
            }
            begins += script.period;
        }
    }

    async fn apply(&self, opened: Instant, step: &Step) {
        let before = self.climate.now().sky.release;
        self.climate.set(step.clone());
        self.says.send_replace(format!("{} s: {}", opened.elapsed().as_secs(), step.says));
        if before != step.sky.release
            && let Err(error) = self.release(step.sky.release).await
        {
            self.says.send_replace(format!("{} s: the release failed: {error}", opened.elapsed().as_secs()));
        }
    }

    /// Replaces the last instance of payments by one of another version, or back.
    async fn release(&self, version: Option<&'static str>) -> Result<(), ShopError> {
        let fresh = self.launcher.last_payments(version).await?;
        let old = {
            let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            let old = running.iter_mut().rfind(|one| one.instance.agent.service() == "payments");
            old.map(|old| std::mem::replace(old, fresh))
        };
        if let Some(mut old) = old {
            old.stop().await;
            self.retired_dropped.fetch_add(old.deliver().await, Ordering::Relaxed);
        }
        Ok(())
    }
}
