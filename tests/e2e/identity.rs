//! A collector that asks who one is, and agents and sidecars that say so.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use fuseboard_agent::{Agent, Token};
use fuseboard_api::ask::{Answer, Question};
use fuseboard_api::change::{OverrideAction, OverrideSpec, Selector};
use fuseboard_api::identity::{NewToken, Role};
use fuseboard_collector::tokens::Tokens;
use fuseboard_collector::{Auth, Collector, Config};
use fuseboard_policy::settings::BreakerMode;
use fuseboard_sidecar::Sidecar;
use fuseboard_tests::stage::Stage;

/// A collector that asks, and a file with the token of each service.
async fn guarded<const N: usize>(services: [&str; N]) -> Result<(Stage, [PathBuf; N])> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("stage.db");
    let tokens = Tokens::open(&file).await?;
    for service in services {
        let services = vec![service.to_owned()];
        let wanted = NewToken { name: service.to_owned(), role: Role::Agent, services, ..NewToken::default() };
        std::fs::write(folder.path().join(service), tokens.create(wanted, "root").await?.token)?;
    }
    tokens.close().await;
    let config = Config { auth: Auth::Required, ..Config::new(&file).on_free_ports() };
    let stage = Stage { collector: Collector::start(config).await?, folder };
    let files = services.map(|service| stage.folder.path().join(service));
    Ok((stage, files))
}

/// Makes a span, and says how many records the agent has lost once it was offered.
async fn offer(agent: &Agent, name: &'static str) -> u64 {
    agent.in_span(name, Vec::new(), async {}).await;
    agent.flush().await;
    agent.dropped()
}

async fn stored(stage: &Stage, service: &str) -> Result<u64> {
    let Answer::Totals(totals) = stage.ask(Question::Totals).await? else { anyhow::bail!("no totals") };
    Ok(if totals.services.iter().any(|s| s == service) { totals.spans } else { 0 })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_with_its_own_token_is_heard_and_steered_and_with_anothers_it_is_not() -> Result<()> {
    let (stage, [orders, payments]) = guarded(["orders", "payments"]).await?;
    let start = async |instance: &str, token: &PathBuf| {
        let agent = Agent::builder("orders").instance(instance).otlp(stage.otlp()?).control(stage.control());
        anyhow::Ok(agent.token(Token::file(token)).start().await?)
    };
    // The token of another service, in a file of its own that will be replaced.
    let mine = stage.folder.path().join("mine");
    std::fs::copy(&payments, &mine)?;
    let other = start("orders-2", &mine).await?;
    assert_eq!(offer(&other, "refused").await, 1, "not in the name of another service");
    assert_eq!(stored(&stage, "orders").await?, 0);

    let own = start("orders-1", &orders).await?;
    stage.connected("orders", 1).await?;
    assert_eq!(offer(&own, "stored").await, 0);
    assert_eq!(stored(&stage, "orders").await?, 1);
    let selector = Selector { service: Some("payments".to_owned()), ..Selector::default() };
    let spec = OverrideSpec { selector, action: OverrideAction::Mode(BreakerMode::ForcedOpen) };
    let change = stage.overridden(spec, Duration::from_secs(60)).await?;
    assert_eq!((change.targeted, change.applied), (1, 1), "the other one is not let in");

    // Nobody starts anything anew when a token is replaced.
    std::fs::copy(&orders, &mine)?;
    assert_eq!(offer(&other, "stored now").await, 1, "nothing more is lost");
    assert_eq!(stored(&stage, "orders").await?, 2);
    stage.connected("orders", 2).await?;
    for agent in [own, other] {
        agent.shutdown().await;
    }
    stage.collector.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_says_whose_it_is() -> Result<()> {
    let (stage, [orders]) = guarded(["orders"]).await?;
    let file = stage.folder.path().join("sidecar.toml");
    let text = format!(
        "service = {{ name = \"orders\" }}\ntelemetry = {{ otlp = \"{}\" }}\n\
         control = {{ address = \"{}\", token_file = \"orders\" }}\n\
         [[inbound]]\nlisten = \"127.0.0.1:0\"\nto = \"127.0.0.1:1\"\n",
        stage.otlp()?,
        stage.control()
    );
    std::fs::write(&file, text)?;
    assert_eq!(orders.parent(), file.parent(), "the token is found beside the configuration");
    let sidecar = Sidecar::start(fuseboard_sidecar::Config::load(&file)?).await?;
    stage.connected("orders", 1).await?;
    // Nobody is behind it: the span of this call tells so.
    reqwest::get(format!("http://{}/", sidecar.inbound().first().context("listens")?)).await?;
    sidecar.shutdown().await;
    assert!(stored(&stage, "orders").await? > 0);
    stage.collector.shutdown().await;
    Ok(())
}
