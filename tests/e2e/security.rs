//! A collector that others reach: agents come over TLS, each with a certificate that names its service.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use fuseboard_agent::tls::ClientTls;
use fuseboard_agent::{Agent, HttpMethod};
use fuseboard_api::ask::{Answer, Question};
use fuseboard_api::change::{OverrideAction, OverrideSpec, Selector};
use fuseboard_collector::{Collector, Config, DoorTls};
use fuseboard_policy::settings::BreakerMode;
use fuseboard_policy::wire::v1::{self, FromAgent, ToAgent, from_agent};
use fuseboard_tests::stage::{PATIENCE, Stage, last};
use fuseboard_tls::Dialer;
use fuseboard_tls::pki::{Authority, DAY, Order};
use rcgen::{CertificateParams, Issuer, KeyPair, date_time_ymd};
use tokio_stream::wrappers::ReceiverStream;
use tonic::codegen::http::Uri;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Code, Status};

use crate::control::shelf;

/// A stage that is open to others, with the CA that it trusts in a folder beside its file.
struct Open(Stage);

impl Open {
    async fn set() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let pki = folder.path().join("pki");
        let (ca, _) = Authority::init(&pki, "test ca", DAY * 30)?;
        ca.issue(&Order::new("collector").serving("127.0.0.1"), &pki)?;
        ca.issue(&Order::new("clerk").service("clerk"), &pki)?;
        ca.issue(&Order::new("orders").service("orders"), &pki)?;
        let mut config = Config::new(folder.path().join("stage.db")).on_free_ports();
        config.control.set_ip([0, 0, 0, 0].into());
        config.otlp_grpc.set_ip([0, 0, 0, 0].into());
        let own = DoorTls::new(pki.join("collector.pem"), pki.join("collector.key"));
        config.tls = Some(DoorTls { client_cas: vec![pki.join("ca.pem")], ..own });
        let open = Self(Stage { collector: Collector::start(config).await?, folder });
        open.issue_expired()?;
        Ok(open)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.folder.path().join("pki").join(name)
    }

    /// A certificate for the service `clerk` that was good for a year, long ago.
    fn issue_expired(&self) -> Result<()> {
        let ca = std::fs::read_to_string(self.file("ca.pem"))?;
        let key = KeyPair::from_pem(&std::fs::read_to_string(self.file("ca.key"))?)?;
        let issuer = Issuer::from_ca_cert_pem(&ca, key)?;
        let mut params = CertificateParams::default();
        let uri = fuseboard_tls::Certificate::service_uri("clerk");
        params.subject_alt_names.push(rcgen::SanType::URI(uri.as_str().try_into()?));
        (params.not_before, params.not_after) = (date_time_ymd(2001, 1, 1), date_time_ymd(2002, 1, 1));
        let key = KeyPair::generate()?;
        std::fs::write(self.file("expired.pem"), params.signed_by(&key, &issuer)?.pem())?;
        Ok(std::fs::write(self.file("expired.key"), key.serialize_pem())?)
    }

    /// What shows a certificate, or none.
    fn showing(&self, certificate: Option<&str>) -> ClientTls {
        let tls = ClientTls::default().roots(self.file("ca.pem"));
        match certificate {
            Some(name) => tls.identity(self.file(&format!("{name}.pem")), self.file(&format!("{name}.key"))),
            None => tls,
        }
    }

    fn control(&self) -> String {
        format!("https://127.0.0.1:{}", self.0.collector.addresses().control.port())
    }

    /// An agent of the service `clerk`.
    async fn clerk(&self, instance: &str, certificate: Option<&str>) -> Result<Agent> {
        let otlp = self.0.collector.addresses().otlp_grpc.context("takes no OTLP")?.port();
        let agent = Agent::builder("clerk").instance(instance).tls(self.showing(certificate));
        let agent = agent.otlp(format!("https://127.0.0.1:{otlp}")).control(self.control());
        Ok(agent.start().await?)
    }

    /// What the collector answers who greets as a service.
    async fn greeted(&self, service: &str, certificate: Option<&str>) -> Result<ToAgent, Status> {
        let wrong = |e: &dyn std::fmt::Display| Status::unavailable(e.to_string());
        let uri: Uri = self.control().parse().map_err(|e| wrong(&e))?;
        let dialer = Dialer::new(&self.showing(certificate)).map_err(|e| wrong(&e))?;
        let (endpoint, connector) = dialer.grpc(uri, PATIENCE);
        let channel = endpoint.connect_with_connector(connector).await.map_err(|e| wrong(&e))?;
        let hello = v1::Hello { service: service.to_owned(), instance: "greeter".to_owned(), ..v1::Hello::default() };
        let (say, words) = tokio::sync::mpsc::channel(1);
        say.try_send(FromAgent { message: Some(from_agent::Message::Hello(hello)) }).map_err(|e| wrong(&e))?;
        let mut client = tonic::client::Grpc::new(channel);
        client.ready().await.map_err(|e| wrong(&e))?;
        let path = PathAndQuery::from_static("/fuseboard.control.v1.Control/Connect");
        let codec = tonic_prost::ProstCodec::<FromAgent, ToAgent>::default();
        let request = tonic::Request::new(ReceiverStream::new(words));
        let answer = client.streaming(request, path, codec).await?.into_inner().message().await?;
        answer.ok_or_else(|| Status::unknown("nothing was said"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_shows_the_certificate_of_a_service_speaks_for_it() -> Result<()> {
    let open = Open::set().await?;
    let refused = async |certificate: Option<&str>| match open.greeted("clerk", certificate).await {
        Ok(_) => anyhow::bail!("{certificate:?} is let in"),
        Err(status) => Ok((status.code(), status.message().to_owned())),
    };
    assert_eq!(refused(None).await?.0, Code::Unauthenticated);
    let (code, said) = refused(Some("orders")).await?;
    assert!(code == Code::PermissionDenied && said.contains("clerk"), "{code:?} {said}");
    assert!(open.greeted("clerk", Some("clerk")).await.is_ok(), "the right one is");
    assert!(open.greeted("orders", Some("orders")).await.is_ok(), "and each for its own");
    open.0.collector.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_all_agents_the_one_with_the_right_certificate_is_steered_and_heard() -> Result<()> {
    let open = Open::set().await?;
    let (address, _) = shelf().await?;
    let mut strangers = Vec::new();
    for (instance, certificate) in [("nobody", None), ("other", Some("orders"))] {
        strangers.push(open.clerk(instance, certificate).await?);
    }
    // What no door lets in is refused before anything is dialled.
    let late = open.clerk("late", Some("expired")).await.err().context("an agent starts with what has ended")?;
    assert!(late.to_string().contains("expired.pem") && late.to_string().contains("renew"), "{late}");
    let right = open.clerk("right", Some("clerk")).await?;
    for agent in strangers.iter().chain([&right]) {
        let client = agent.http_client("shelf", format!("http://{address}"))?;
        let calls = client.request(HttpMethod::GET, "/item", "/item").send().await;
        assert!(calls.is_ok(), "calls of {} flow, steered or not", agent.instance());
        agent.flush().await;
    }
    let stage = &open.0;
    stage.connected("clerk", 1).await?;
    let selector =
        Selector { caller: Some("clerk".to_owned()), service: Some("shelf".to_owned()), ..Selector::default() };
    let spec = OverrideSpec { selector, action: OverrideAction::Mode(BreakerMode::ForcedOpen) };
    let change = stage.overridden(spec, Duration::from_secs(60)).await?;
    assert_eq!((change.targeted, change.applied), (1, 1), "only one is let in");
    for agent in &strangers {
        let client = agent.http_client("shelf", format!("http://{address}"))?;
        let calls = client.request(HttpMethod::GET, "/item", "/item").send().await;
        assert!(calls.is_ok(), "{} hears of nothing", agent.instance());
    }
    let client = right.http_client("shelf", format!("http://{address}"))?;
    assert!(client.request(HttpMethod::GET, "/item", "/item").send().await.is_err(), "and obeys");
    let heard = |answer: &Answer| {
        let Answer::Fleet(fleet) = answer else { return None };
        let mut heard: Vec<String> = fleet.members.iter().map(|m| m.instance.clone()).collect();
        heard.sort();
        (!heard.is_empty()).then_some(heard)
    };
    let heard = stage.until("the fleet", Question::Fleet { range: last(600) }, heard).await?;
    assert_eq!(heard, ["right"], "of the others nothing is stored");
    for agent in strangers.into_iter().chain([right]) {
        agent.shutdown().await;
    }
    open.0.collector.shutdown().await;
    Ok(())
}
