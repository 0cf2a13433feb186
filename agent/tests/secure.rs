//! The agent's own connections over TLS: export, control, tarpc; and what the environment says about them.

use std::process::{Command, Stdio};
use std::time::Duration;

use fuseboard_agent::{Agent, Severity, Token};
use tokio::net::TcpListener;

use crate::collector::{Collector, soon};
use crate::pki::{Ca, Files, Life, put};
use crate::rig::agent;

/// A collector that lets in only who shows a certificate of the CA. The agent lends it its ears.
async fn secured(host: &Agent, ca: &Ca) -> Collector {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let tls = ca.server().require_clients_of(ca.pem());
    Collector::over(address, host.grpc_tls_incoming(listener, &tls).unwrap())
}

#[tokio::test]
async fn export_and_control_go_over_mtls_with_a_token_that_may_change() {
    let (plain, ca) = (Collector::start().await, Ca::new());
    let host = agent("collector", &plain, "").await;
    let mut collector = secured(&host, &ca).await;
    let own = Files::new(&ca.issue(&["orders"], Life::Long));
    let token = own.chain().with_file_name("token");
    put(&token, "first\n");
    let address = format!("https://{}", collector.address);
    let builder = Agent::builder("orders").otlp(&address).control(&address).token(Token::file(&token));
    let orders = builder.tls(ca.client().identity(own.chain(), own.key())).start().await.unwrap();
    let (session, hello) = collector.session().await;
    assert_eq!((hello.service.as_str(), session.authorization.as_deref()), ("orders", Some("Bearer first")));
    send_one_of_each(&orders).await;
    collector.logs("the record", |logs| logs.len() == 1).await;
    let first = collector.tokens();
    for signal in ["spans", "logs", "metrics"] {
        assert!(first.contains(&(signal, Some("Bearer first".to_owned()))), "{signal}: {first:?}");
    }
    // The next connection and the next exports bring the next token.
    put(&token, "second\n");
    drop(session);
    let (session, _) = collector.session().await;
    assert_eq!(session.authorization.as_deref(), Some("Bearer second"));
    send_one_of_each(&orders).await;
    collector.logs("the next record", |logs| logs.len() == 2).await;
    let second = collector.tokens().split_off(first.len());
    for signal in ["spans", "logs", "metrics"] {
        assert!(second.contains(&(signal, Some("Bearer second".to_owned()))), "{signal}: {second:?}");
    }
    assert_eq!(orders.dropped(), 0);
}

/// Exports a span, a log record and the metrics.
async fn send_one_of_each(agent: &Agent) {
    agent.in_span("sweep", Vec::new(), async { agent.log(Severity::Info, "swept", &[]) }).await;
    agent.flush().await;
}

#[tokio::test]
async fn a_token_in_the_clear_is_warned_of_and_a_missing_one_refused() {
    let collector = Collector::start().await;
    let missing = Agent::builder("orders").token(Token::file("/no/such/token")).start().await.unwrap_err();
    assert!(missing.to_string().contains("/no/such/token"), "{missing}");
    let builder = Agent::builder("orders").otlp(collector.url()).control("http://control.invalid:4390");
    let _orders = builder.token(Token::text("s3cret")).start().await.unwrap();
    let logs = collector.logs("the warning", |logs| !logs.is_empty()).await;
    let said = format!("{logs:?}");
    assert!(said.contains("in the clear") && said.contains("control.invalid") && !said.contains("s3cret"), "{said}");
    // Nobody else gets it over this machine's own loopback.
    assert_eq!(logs.len(), 1, "{said}");
}

/// The other process of the next test: all that it knows is in its environment.
#[tokio::test]
#[ignore = "is run by another test, in an environment of its own"]
async fn child() {
    if std::env::var_os("OTEL_EXPORTER_OTLP_CERTIFICATE").is_none() {
        return;
    }
    let agent = Agent::start("").await.unwrap();
    agent.in_span("sweep", Vec::new(), async { agent.log(Severity::Info, "from the environment", &[]) }).await;
    // Until the other one has seen enough.
    tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new())).await.unwrap().unwrap();
    agent.shutdown().await;
    assert_eq!((agent.service(), agent.dropped()), ("from-the-environment", 0));
}

#[tokio::test]
async fn the_environment_says_where_and_how() {
    let (plain, ca) = (Collector::start().await, Ca::new());
    let host = agent("collector", &plain, "").await;
    let mut collector = secured(&host, &ca).await;
    let own = Files::new(&ca.issue(&["child"], Life::Long));
    let roots = own.chain().with_file_name("ca.pem");
    put(&roots, &ca.text());
    let token = own.chain().with_file_name("token");
    put(&token, "from a file");
    let address = collector.address.to_string();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["secure::child", "--exact", "--ignored"]).stdout(Stdio::null());
    command.env("OTEL_SERVICE_NAME", "from-the-environment");
    // Without a scheme, and not insecure.
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", &address).env("OTEL_EXPORTER_OTLP_INSECURE", "false");
    command.env("OTEL_EXPORTER_OTLP_CERTIFICATE", &roots).env("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", own.chain());
    command.env("OTEL_EXPORTER_OTLP_CLIENT_KEY", own.key()).env("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=shop%20one");
    command.env("FUSEBOARD_CONTROL", format!("https://{address}")).env("FUSEBOARD_TOKEN_FILE", &token);
    command.env("FUSEBOARD_TLS_ROOTS", &roots).env("FUSEBOARD_TLS_CERTIFICATE", own.chain());
    command.env("FUSEBOARD_TLS_KEY", own.key());
    // What is said of spans alone wins over the token, for spans.
    command.env("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "x-tenant=shop%20one,authorization=Basic%20eDp5");
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    // Whatever happens here ends it.
    let enough = child.stdin.take();
    collector.logs("its record", |logs| logs.len() == 1).await;
    collector.spans("its span", |spans| spans.len() == 1).await;
    let tenant = || Some("shop one".to_owned());
    assert_eq!(collector.tenants(), [tenant(), tenant()]);
    let (session, _) = collector.session().await;
    assert_eq!(session.authorization.as_deref(), Some("Bearer from a file"));
    for (signal, token) in collector.tokens() {
        let wanted = if signal == "spans" { "Basic eDp5" } else { "Bearer from a file" };
        assert_eq!(token.as_deref(), Some(wanted), "{signal}");
    }
    drop(enough);
    let ended = tokio::task::spawn_blocking(move || child.wait());
    let ended = soon("the other process ends", ended).await.unwrap().unwrap();
    assert!(ended.success(), "{ended}");
}

#[tarpc::service]
trait Stock {
    /// Who calls.
    async fn caller() -> String;
}

#[derive(Clone)]
struct Shelf;

impl Stock for Shelf {
    async fn caller(self, _: tarpc::context::Context) -> String {
        let peer = fuseboard_agent::context::peer().unwrap();
        peer.certificate().and_then(|shown| shown.name()).unwrap_or_default().to_owned()
    }
}

#[tokio::test]
async fn tarpc_goes_over_mtls() {
    let (collector, ca) = (Collector::start().await, Ca::new());
    let orders = agent("orders", &collector, "").await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let tls = ca.issue(&["stock"], Life::Long).server().require_clients_of(ca.pem());
    let server = orders.tarpc_server();
    tokio::spawn(async move { server.run_tls(listener, &tls, Shelf.serve()).await.unwrap() });
    let own = Files::new(&ca.issue(&["orders"], Life::Long));
    let secure = orders.with_tls(&ca.client().identity(own.chain(), own.key())).unwrap();
    let stock = |agent: &Agent, name: &str| {
        StockClient::from(agent.tarpc_client("stock", [address]).unwrap().tls(name.to_owned()))
    };
    let mut ctx = tarpc::context::current();
    ctx.deadline = std::time::Instant::now() + Duration::from_secs(20);
    assert_eq!(stock(&secure, "stock").caller(ctx).await.unwrap(), "orders");
    let error = stock(&secure, "elsewhere").caller(ctx).await.unwrap_err();
    let text = format!("{error:?}");
    assert!(text.contains("set the server name"), "{text}");
    let nobody = orders.with_tls(&ca.client()).unwrap();
    stock(&nobody, "stock").caller(ctx).await.unwrap_err();
}
