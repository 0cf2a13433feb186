//! The console in front of a running collector, driven by what it tells those who cannot see it.

use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use egui_kittest::Harness;
use egui_kittest::kittest::{NodeT, Queryable};
use fuseboard::app::App;
use fuseboard::link::Source;
use fuseboard::wire::Access;
use fuseboard::{SourceKind, View, testing};
use fuseboard_agent::{Agent, HttpMethod};
use fuseboard_api::identity::{NewToken, Role};
use fuseboard_collector::tokens::Tokens;
use fuseboard_collector::{Auth, Collector, Config, DoorTls};
use fuseboard_tests::stage::{PATIENCE, Stage};
use fuseboard_tls::pki::{Authority, DAY, Order};

use crate::control::{caller, shelf};

/// A console that is painted whenever something has come.
struct Console {
    harness: Harness<'static, App>,
    woken: Receiver<()>,
}

impl Console {
    fn open(stage: &Stage, view: View) -> Result<Self> {
        Self::at(stage.control(), Access::default(), view)
    }

    fn at(url: String, access: Access, view: View) -> Result<Self> {
        let source = Source { name: "stage".to_owned(), url, kind: SourceKind::Live, access };
        let (wake, woken) = sync_channel(1);
        // A full channel holds a wake-up already.
        let app = testing::live(source, view, move || _ = wake.try_send(()))?;
        let harness = Harness::builder().with_size([1440.0, 900.0]).with_max_steps(32).build_ui_state(
            |ui, app: &mut App| {
                app.step(ui.ctx());
                app.paint(ui);
            },
            app,
        );
        Ok(Self { harness, woken })
    }

    /// Paints until a widget with this name is there.
    fn until(&mut self, label: &str) -> Result<()> {
        self.until_some(|h| h.query_by_label(label).map(|_| ())).with_context(|| format!("waiting for {label:?}"))
    }

    /// Paints until a widget whose name contains the text is there.
    fn until_containing(&mut self, text: &str) -> Result<()> {
        let found = |h: &Harness<'static, App>| h.query_all_by_label_contains(text).next().map(|_| ());
        self.until_some(found).with_context(|| format!("waiting for {text:?}"))
    }

    /// Paints until no widget's name contains the text any more.
    fn until_gone(&mut self, text: &str) -> Result<()> {
        let gone = |h: &Harness<'static, App>| h.query_all_by_label_contains(text).next().is_none().then_some(());
        self.until_some(gone).with_context(|| format!("waiting for {text:?} to go"))
    }

    fn until_some(&mut self, look: impl Fn(&Harness<'static, App>) -> Option<()>) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        loop {
            self.harness.run_steps(2);
            if look(&self.harness).is_some() {
                return Ok(());
            }
            let left = end.checked_duration_since(Instant::now()).context("it does not come")?;
            // Some things change with time alone: painted at least twice a second, as a live window is.
            _ = self.woken.recv_timeout(left.min(Duration::from_millis(500)));
        }
    }

    fn click(&mut self, label: &str) {
        self.harness.get_by_label(label).click();
        self.harness.run_steps(3);
    }
}

async fn works(agent: &Agent, address: std::net::SocketAddr) -> Result<bool> {
    let client = agent.http_client("shelf", format!("http://{address}"))?;
    Ok(client.request(HttpMethod::GET, "/item", "/item").send().await.is_ok())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_clicked_in_the_console_is_requested_and_then_applied() -> Result<()> {
    let stage = Stage::set("[[edge]]\nservice = \"shelf\"\nbreaker = { preset = \"count-20\" }\n").await?;
    let (address, _) = shelf().await?;
    let agent = caller(&stage, "clerk-1").await?;
    stage.connected("clerk", 1).await?;
    assert!(works(&agent, address).await?);
    agent.flush().await;

    let mut console = Console::open(&stage, View::Breakers)?;
    tokio::task::block_in_place(|| console.until("clerk → shelf, force open"))?;
    // Nobody is connected: the request stays a request.
    agent.shutdown().await;
    tokio::task::block_in_place(|| -> Result<()> {
        console.click("clerk → shelf, force open");
        console.until("Force open for 5 min")?;
        console.click("Force open for 5 min");
        console.until_containing("requested: forced open · 0 of ")
    })?;
    // The instance comes back: the data says applied, and only now does the console.
    let agent = caller(&stage, "clerk-1").await?;
    tokio::task::block_in_place(|| console.until_gone("requested: "))?;
    assert!(!works(&agent, address).await?, "and the next call is refused");
    agent.shutdown().await;
    stage.collector.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_tls_one_is_let_in_by_a_token_and_given_what_its_role_may_press() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let pki = folder.path().join("pki");
    let (authority, root) = Authority::init(&pki, "stage", DAY)?;
    let own = authority.issue(&Order::new("collector").serving("127.0.0.1"), &pki)?;
    let file = folder.path().join("stage.db");
    let tokens = Tokens::open(&file).await?;
    let mut keys = Vec::new();
    for (name, role) in [("vera", Role::Viewer), ("otto", Role::Operator)] {
        let made = tokens.create(NewToken { name: name.to_owned(), role, ..NewToken::default() }, "tester").await?;
        let path = folder.path().join(name);
        std::fs::write(&path, made.token)?;
        keys.push(Access { token_file: Some(path), ca: Some(root.certificate.clone()), ..Access::default() });
    }
    tokens.close().await;
    let tls = Some(DoorTls::new(own.certificate, own.key));
    let config = Config { auth: Auth::Required, tls, ..Config::new(&file).on_free_ports() };
    let collector = Collector::start(config).await?;
    let url = format!("https://{}", collector.addresses().control);

    tokio::task::block_in_place(|| -> Result<()> {
        let nobody = Access { ca: Some(root.certificate.clone()), ..Access::default() };
        Console::at(url.clone(), nobody, View::Board)?.until("The collector does not know who you are")?;
        Console::at(url.clone(), Access::default(), View::Board)?.until_containing("no TLS connection")?;
        for (access, (who, able)) in keys.into_iter().zip([("signed in as vera", false), ("signed in as otto", true)]) {
            let mut console = Console::at(url.clone(), access, View::Board)?;
            console.until(who)?;
            let record = console.harness.get_by_label("Record");
            assert_eq!(!record.accesskit_node().is_disabled(), able, "{who}");
        }
        Ok(())
    })?;
    collector.shutdown().await;
    Ok(())
}
