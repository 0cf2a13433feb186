//! A shop and its collector.

use std::path::PathBuf;

use anyhow::{Context, Result};
use fuseboard_collector::{Config, InitialPolicy};
use fuseboard_demo::{POLICIES, Shop, ShopConfig, ShopReport};

use super::super::source::{Embedded, url};
use super::DemoArgs;

/// Everything that runs.
pub(super) struct Stage {
    pub(super) collector: Embedded,
    pub(super) shop: Shop,
    /// Goes with the stage.
    _folder: tempfile::TempDir,
}

impl Stage {
    /// Starts the collector, then the shop, then its visitors.
    pub(super) async fn set(args: &DemoArgs) -> Result<Self> {
        let folder =
            tempfile::Builder::new().prefix("fuseboard-demo-").tempdir().context("making a temporary folder")?;
        let data: PathBuf = args.data.clone().unwrap_or_else(|| folder.path().join("demo.db"));
        let policy = InitialPolicy {
            document: POLICIES.to_owned(),
            actor: "demo".to_owned(),
            reason: "what the shop begins with".to_owned(),
        };
        let config = Config { initial_policy: Some(policy), ..Config::new(data) };
        let collector = Embedded::start_somewhere(config).await?;
        let addresses = collector.addresses();
        let shop = Shop::start(ShopConfig {
            otlp: url(addresses.otlp_grpc.context("the collector takes no OTLP")?),
            control: Some(collector.url()),
            seed: args.seed,
            state_dir: Some(folder.path().join("agents")),
            rate: args.rate,
            weather: args.weather,
            ..ShopConfig::default()
        })
        .await?;
        shop.traffic()?;
        Ok(Self { collector, shop, _folder: folder })
    }

    /// What the console looks at.
    pub(super) fn source(&self) -> super::open::Look {
        super::open::Look::live("demo shop", self.collector.url())
    }

    /// Closes the shop and gives what it did; the collector goes on.
    pub(super) async fn close(self) -> (ShopReport, Embedded, tempfile::TempDir) {
        (self.shop.shutdown().await, self.collector, self._folder)
    }

    /// Ends everything.
    pub(super) async fn strike(self) {
        let (_, collector, _folder) = self.close().await;
        collector.stop().await;
    }
}
