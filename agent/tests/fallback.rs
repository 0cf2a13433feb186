//! What an application is given for a call that failed or was refused.

use std::convert::Infallible;

use fuseboard_agent::Agent;
use fuseboard_agent::grpc::Reply;
use fuseboard_agent::http::{HttpResponse, LayerError, ReplayBody};
use fuseboard_policy::names;
use http::{Request, Response, StatusCode};
use http_body_util::Empty;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use tokio::net::TcpListener;
use tonic::{Code, Status};
use tower::{Layer as _, ServiceExt as _, service_fn};

use crate::collector::{Collector, Got};
use crate::rig::{Charger, agent, charge, payments};

fn policy(service: &str, fallback: &str, rest: &str) -> String {
    format!("[[edge]]\nservice = \"{service}\"\nfallback = {{ {fallback} }}\n{rest}")
}

const VALUE: &str = "kind = \"value\", name = \"empty\"";

fn told(spans: &[Got], given: &str, outcome: &str) -> bool {
    let is = |got: &Got, key: &str, value: &str| got.text(key).as_deref() == Some(value);
    spans
        .iter()
        .any(|got| is(got, names::CALL, "true") && is(got, names::FALLBACK, given) && is(got, names::OUTCOME, outcome))
}

#[tokio::test]
async fn a_failed_grpc_call_is_given_the_registered_reply_and_a_good_one_its_own() {
    let collector = Collector::start().await;
    let breaker = "breaker = { consecutive_failures = 1, open_ms = 60000 }\n";
    let orders = agent("orders", &collector, &policy("payments", VALUE, breaker)).await;
    let payer = agent("payments", &collector, "").await;
    orders.fallback("empty", || {
        let said = Some(ExportTracePartialSuccess { rejected_spans: 7, error_message: "later".into() });
        Reply::new(&ExportTraceServiceResponse { partial_success: said })
    });
    let charger = Charger::start(&payer, |number, _| {
        Box::pin(async move {
            match number {
                1 => Ok(()),
                2 => Err(Status::not_found("no such card")),
                _ => Err(Status::internal("broken")),
            }
        })
    })
    .await;
    let client = payments(&orders, &[&charger]);
    let call = async || TraceServiceClient::new(client.clone()).export(ExportTraceServiceRequest::default()).await;
    assert_eq!(call().await.unwrap().into_inner().partial_success, None, "a good answer is its own");
    assert_eq!(call().await.unwrap_err().code(), Code::NotFound, "an answer that is no failure, too");
    for _ in 0..2 {
        let given = call().await.unwrap().into_inner().partial_success.unwrap();
        assert_eq!((given.rejected_spans, given.error_message.as_str()), (7, "later"));
    }
    assert_eq!(charger.calls(), 3, "the failure counted: the breaker refused the last one");
    let both = |spans: &[Got]| told(spans, "empty", "failure") && told(spans, "empty", "refused");
    collector.spans("the failed call and the refused one", both).await;
}

#[tokio::test]
async fn a_status_is_given_in_the_words_of_the_protocol() {
    let collector = Collector::start().await;
    let status = |service| policy(service, "kind = \"status\", code = \"504\"", "");
    let orders = agent("orders", &collector, &(status("payments") + &status("bank"))).await;
    let payer = agent("payments", &collector, "").await;
    let charger = Charger::start(&payer, |_, _| Box::pin(async { Err(Status::internal("broken")) })).await;
    let given = charge(&payments(&orders, &[&charger])).await.unwrap_err();
    assert_eq!(given.code(), Code::DeadlineExceeded);
    assert!(given.message().contains("fallback"), "{given}");
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let client = orders.http_client("bank", format!("http://{closed}")).unwrap();
    let given = client.post("/authorize").send().await.unwrap();
    assert_eq!((given.status(), given.bytes().len()), (StatusCode::GATEWAY_TIMEOUT, 0));
    collector.spans("what was given", |spans| told(spans, "504", "failure")).await;
}

#[tokio::test]
async fn http_clients_are_given_their_own_kinds_of_values() {
    let collector = Collector::start().await;
    let orders = agent("orders", &collector, &policy("bank", VALUE, "")).await;
    orders.fallback("empty", || HttpResponse::new(StatusCode::OK, "[]"));
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let client = orders.http_client("bank", format!("http://{closed}")).unwrap();
    let given = client.get("/accounts").send().await.unwrap();
    assert_eq!((given.status(), &given.bytes()[..]), (StatusCode::OK, &b"[]"[..]));

    let broken = service_fn(|_: Request<ReplayBody<Empty<bytes::Bytes>>>| async {
        Ok::<_, Infallible>(Response::builder().status(500).body("broken").unwrap())
    });
    let call = |agent: &Agent| {
        let request = Request::get("http://bank/").body(Empty::<bytes::Bytes>::new()).unwrap();
        agent.http_client_layer("bank").layer(broken).oneshot(request)
    };
    let own = call(&orders).await.unwrap();
    assert_eq!((own.status().as_u16(), *own.body()), (500, "broken"), "there is no value of this kind");
    orders.fallback("empty", || Response::new("none"));
    assert_eq!(*call(&orders).await.unwrap().body(), "none");
    let status = agent("orders", &collector, &policy("bank", "kind = \"status\", code = \"503\"", "")).await;
    let refused = call(&status).await.unwrap_err();
    assert!(matches!(&refused, LayerError::Refused(r) if r.rule == "fallback" && r.code == "503"), "{refused}");
}

#[tarpc::service]
trait Shelf {
    /// How many there are.
    async fn count() -> u32;
}

#[tokio::test]
async fn a_tarpc_call_is_given_the_answer_of_its_service() {
    let collector = Collector::start().await;
    let orders = agent("orders", &collector, &policy("stock", VALUE, "")).await;
    orders.fallback("empty", || ShelfResponse::Count(0));
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let client = ShelfClient::from(orders.tarpc_client("stock", [closed]).unwrap());
    assert_eq!(client.count(tarpc::context::current()).await.unwrap(), 0);
    collector.spans("what was given", |spans| told(spans, "empty", "failure")).await;
}
