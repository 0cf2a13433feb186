//! HTTP and gRPC on the wire.

mod connect;
mod grpc;
mod http;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use self::connect::Target;
use self::grpc::GrpcCaller;
use self::http::{HttpCaller, Template};
use crate::{Engine, LoadError, LoadPlan, Progress, Report, Thresholds};

/// A plan that has been checked and can be run.
pub struct Load {
    engine: Engine,
    target: Arc<Target>,
    template: Arc<Template>,
    plan: LoadPlan,
    progress: Progress,
}

impl std::fmt::Debug for Load {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Load").field("plan", &self.plan).finish_non_exhaustive()
    }
}

impl Load {
    /// Checks a plan and reads the files it names; nothing is sent.
    ///
    /// # Errors
    /// A plan that makes no sense; see [`LoadError`].
    pub fn new(plan: &LoadPlan) -> Result<Self, LoadError> {
        plan.check()?;
        plan.pace.check(plan.duration)?;
        let target = Target::new(plan)?;
        if plan.streams > 1 && !target.http2 {
            let (name, value, must) = ("streams", plan.streams.to_string(), "1 with HTTP/1.1; ask for HTTP/2");
            return Err(LoadError::Number { name, value, must });
        }
        let template = if target.grpc { grpc::template(plan, &target)? } else { http::template(plan, &target)? };
        let engine = Engine {
            name: plan.url.clone(),
            pace: plan.pace,
            duration: plan.duration,
            timeout: plan.timeout,
            thresholds: plan.thresholds.clone().unwrap_or_else(|| Thresholds::usual(plan.pace.rate())),
        };
        let (target, template) = (Arc::new(target), Arc::new(template));
        Ok(Self { engine, target, template, plan: plan.clone(), progress: Progress::new()? })
    }

    /// What the run has seen so far.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// Runs to the end or until `cancel`.
    ///
    /// # Errors
    /// The machine gives no thread. Failed requests are not errors, they are counted in the report.
    pub async fn run(self, cancel: CancellationToken) -> Result<Report, LoadError> {
        let links: Vec<_> = (0..self.plan.connections).map(|_| self.target.link()).collect();
        let callers = links.into_iter().flat_map(|link| std::iter::repeat_n(link, self.plan.streams));
        let http = callers.map(|link| HttpCaller::new(link, Arc::clone(&self.template)));
        if self.target.grpc {
            let callers = http.map(GrpcCaller).collect();
            return self.engine.run(callers, &self.progress, cancel).await;
        }
        self.engine.run(http.collect(), &self.progress, cancel).await
    }
}

/// Runs a plan to its end or until `cancel`.
///
/// # Errors
/// A plan that makes no sense; see [`LoadError`]. Failed requests are not errors, they are counted in the report.
pub async fn run(plan: &LoadPlan, cancel: CancellationToken) -> Result<Report, LoadError> {
    Load::new(plan)?.run(cancel).await
}
