//! What the end-to-end tests play on: a collector, the shop, and small services of our own, all over real sockets.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use fuseboard_api::UnixNanos;
use fuseboard_api::ask::{Answer, Answered, Ask, Question};
use fuseboard_api::change::{Change, ChangeState, OverrideSpec};
use fuseboard_api::command::{Action, Command, Receipt};
use fuseboard_collector::{Collector, Config, Handle, InitialPolicy};
use fuseboard_demo::{POLICIES, Shop, ShopConfig, Weather};
use tempfile::TempDir;

/// How long anything awaited may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A collector over a file of its own.
pub struct Stage {
    /// The collector.
    pub collector: Handle,
    /// Its folder.
    pub folder: TempDir,
}

impl Stage {
    /// Starts a collector on free ports with a policy document.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn set(policy: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let collector = collector(&folder.path().join("stage.db"), policy).await?;
        Ok(Self { collector, folder })
    }

    /// The collector's OTLP/gRPC address.
    ///
    /// # Errors
    /// When it takes none.
    pub fn otlp(&self) -> Result<String> {
        Ok(format!("http://{}", self.collector.addresses().otlp_grpc.context("takes no OTLP")?))
    }

    /// The collector's control address.
    #[must_use]
    pub fn control(&self) -> String {
        format!("http://{}", self.collector.addresses().control)
    }

    /// Opens the shop.
    ///
    /// # Errors
    /// When it does not open.
    pub async fn shop(&self, weather: Weather, rate: f64) -> Result<Shop> {
        let config = ShopConfig {
            otlp: self.otlp()?,
            control: Some(self.control()),
            seed: 7,
            state_dir: Some(self.folder.path().join("agents")),
            rate,
            weather,
            ..ShopConfig::default()
        };
        let shop = Shop::start(config).await?;
        shop.traffic()?;
        Ok(shop)
    }

    /// Asks as of now.
    ///
    /// # Errors
    /// The collector's refusal.
    pub async fn ask(&self, question: Question) -> Result<Answer> {
        Ok(self.ask_as_of(question, None).await?.answer)
    }

    /// Asks as of an instant.
    ///
    /// # Errors
    /// The collector's refusal.
    pub async fn ask_as_of(&self, question: Question, as_of: Option<UnixNanos>) -> Result<Answered> {
        Ok(self.collector.ask(Ask { question, as_of }).await?)
    }

    /// Gives a command as `tester`.
    ///
    /// # Errors
    /// The collector's refusal.
    pub async fn command(&self, action: Action) -> Result<Receipt> {
        let command = Command { actor: "tester".to_owned(), reason: "a test".to_owned(), action };
        Ok(self.collector.command(command).await?)
    }

    /// Asks after every commit until `look` finds what it wants.
    ///
    /// # Errors
    /// When [`PATIENCE`] runs out; says what was waited for.
    pub async fn until<T>(&self, what: &str, question: Question, look: impl Fn(&Answer) -> Option<T>) -> Result<T> {
        let mut commits = self.collector.store().subscribe();
        let found = tokio::time::timeout(PATIENCE, async {
            loop {
                if let Some(found) = look(&self.ask(question.clone()).await?) {
                    return anyhow::Ok(found);
                }
                // Missed commits are no matter: the question is asked again anyway.
                if let Err(tokio::sync::broadcast::error::RecvError::Closed) = commits.recv().await {
                    bail!("the store closed");
                }
            }
        });
        found.await.with_context(|| format!("waited in vain for {what}"))?
    }

    /// Sets an override and waits until every instance has applied it.
    ///
    /// # Errors
    /// When an instance refuses it, or patience runs out.
    pub async fn overridden(&self, spec: OverrideSpec, ttl: Duration) -> Result<Change> {
        let ttl_ms = u64::try_from(ttl.as_millis())?;
        let receipt = self.command(Action::SetOverride { spec, ttl_ms }).await?;
        let id = receipt.override_id.context("no override was made")?;
        let change = self
            .until("the override's acknowledgements", all_changes(), |answer| {
                let Answer::Changes(changes) = answer else { return None };
                changes.overrides.iter().find(|c| c.id == id && c.state != ChangeState::Requested).cloned()
            })
            .await?;
        if change.state != ChangeState::Applied {
            bail!("not applied: {change:?}");
        }
        Ok(change)
    }

    /// Waits until so many instances of a service have their control streams up.
    ///
    /// # Errors
    /// When patience runs out.
    pub async fn connected(&self, service: &str, count: usize) -> Result<()> {
        let question = Question::Fleet { range: last(60) };
        let up = |answer: &Answer| {
            let Answer::Fleet(fleet) = answer else { return None };
            let mine = fleet.members.iter().filter(|m| m.service == service && m.connected == Some(true));
            (mine.count() >= count).then_some(())
        };
        self.until(&format!("{count} instances of {service}"), question, up).await
    }
}

/// A collector on free ports over a file.
///
/// # Errors
/// When it does not start.
pub async fn collector(file: &Path, policy: &str) -> Result<Handle> {
    let initial_policy =
        InitialPolicy { document: policy.to_owned(), actor: "tester".to_owned(), reason: "to begin with".to_owned() };
    let config = Config { initial_policy: Some(initial_policy), ..Config::new(file).on_free_ports() };
    Ok(Collector::start(config).await?)
}

/// The shop's own policy.
#[must_use]
pub fn shop_policy() -> &'static str {
    POLICIES
}

/// The last so many seconds, to a little after now, so that nothing that happens meanwhile is missed.
#[must_use]
pub fn last(seconds: u64) -> fuseboard_api::TimeRange {
    let now = UnixNanos::now();
    fuseboard_api::TimeRange { from: now - Duration::from_secs(seconds), to: now + PATIENCE }
}

/// The question for every change of late.
#[must_use]
pub fn all_changes() -> Question {
    Question::Changes { range: last(600) }
}
