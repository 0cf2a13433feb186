//! A call keeps the revision that it began under to its end, whatever changes meanwhile, and each of its spans says which.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fuseboard_agent::Agent;
use fuseboard_agent::http::{ReplayBody, Route};
use fuseboard_policy::names;
use http::{Request, Response, StatusCode};
use http_body_util::Empty;
use tokio::sync::{Semaphore, mpsc};
use tonic::Status;
use tower::{Layer as _, ServiceExt as _, service_fn};

use crate::collector::{Collector, Got, Session, soon};
use crate::control::{policy, steered};
use crate::rig::{Charger, agent, charge, payments};

/// A callee that fails twice; its first request waits until it may go on.
struct Callee {
    requests: AtomicUsize,
    began: mpsc::Sender<()>,
    go_on: Semaphore,
}

impl Callee {
    fn new() -> (Arc<Self>, mpsc::Receiver<()>) {
        let (began, has_begun) = mpsc::channel(1);
        (Arc::new(Self { requests: AtomicUsize::new(0), began, go_on: Semaphore::new(0) }), has_begun)
    }

    /// Whether a request is answered well.
    async fn answers(&self) -> bool {
        let number = self.requests.fetch_add(1, Ordering::SeqCst) + 1;
        if number == 1 {
            self.began.send(()).await.unwrap();
            self.go_on.acquire().await.unwrap().forget();
        }
        number > 2
    }
}

fn attempts(most: u32) -> String {
    format!(
        "[[edge]]\nservice = \"*\"\n\
         retry = {{ max_attempts = {most}, non_idempotent = true, on = [\"unavailable\", \"deadline_exceeded\"], \
         backoff = {{ base_ms = 1, max_ms = 1 }} }}\n\
         timeout = {{ attempt_ms = 3000 }}\n"
    )
}

/// Makes a call under revision 1, which allows three attempts, puts revision 2, which allows one, into force during the first
/// attempt, and makes another call.
async fn changed_during<F: Future<Output = bool>>(
    collector: &Collector,
    session: &mut Session,
    callee: (&Callee, &mut mpsc::Receiver<()>),
    call: impl Fn() -> F,
) {
    session.policy(policy(1, &attempts(3))).await;
    session.status("revision 1 runs", |s| s.running == 1).await;
    let change = async {
        soon("the first attempt", callee.1.recv()).await.unwrap();
        session.policy(policy(2, &attempts(1))).await;
        session.status("revision 2 runs", |s| s.running == 2).await;
        callee.0.go_on.add_permits(1);
    };
    let (answered, ()) = tokio::join!(soon("the call", call()), change);
    assert!(answered, "it has the attempts that it began with");
    assert!(soon("the next call", call()).await);
    let under = |spans: &[Got], part: &str| {
        let parts = spans.iter().filter(|s| s.service == "orders" && s.text(part).is_some());
        let mut revisions: Vec<_> = parts.map(|s| s.text(names::REVISION).unwrap()).collect();
        revisions.sort();
        revisions
    };
    let spans = collector.spans("both calls", |spans| under(spans, names::CALL).len() == 2).await;
    assert_eq!(
        (under(&spans, names::CALL), under(&spans, names::ATTEMPT)),
        (["1", "2"].map(str::to_owned).to_vec(), ["1", "1", "1", "2"].map(str::to_owned).to_vec())
    );
}

async fn stage() -> (Collector, Agent, Session) {
    let mut collector = Collector::start().await;
    let orders = steered(&collector, None).await;
    let (session, _) = collector.session().await;
    (collector, orders, session)
}

#[tokio::test]
async fn a_grpc_call_keeps_its_revision() {
    let (collector, orders, mut session) = stage().await;
    let payer = agent("payments", &collector, "").await;
    let (callee, mut began) = Callee::new();
    let answer = callee.clone();
    let charger = Charger::start(&payer, move |_, _| {
        let callee = answer.clone();
        Box::pin(async move { callee.answers().await.then_some(()).ok_or_else(|| Status::unavailable("again")) })
    })
    .await;
    let client = payments(&orders, &[&charger]);
    changed_during(&collector, &mut session, (&callee, &mut began), || async { charge(&client).await.is_ok() }).await;
}

#[tokio::test]
async fn an_http_call_keeps_its_revision() {
    let (collector, orders, mut session) = stage().await;
    let (callee, mut began) = Callee::new();
    let answer = callee.clone();
    let shop = service_fn(move |_: Request<ReplayBody<Empty<bytes::Bytes>>>| {
        let callee = answer.clone();
        async move {
            let status = if callee.answers().await { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            Ok::<_, Infallible>(Response::builder().status(status).body(()).unwrap())
        }
    });
    let client = orders.http_client_layer("shop").layer(shop);
    let call = || async {
        let mut request = Request::get("http://shop/orders/1").body(Empty::new()).unwrap();
        request.extensions_mut().insert(Route("/orders/{id}".into()));
        client.clone().oneshot(request).await.is_ok_and(|answer| answer.status() == StatusCode::OK)
    };
    changed_during(&collector, &mut session, (&callee, &mut began), call).await;
}

#[tokio::test]
async fn a_message_that_is_published_keeps_its_revision() {
    let (collector, orders, mut session) = stage().await;
    let (callee, mut began) = Callee::new();
    let producer = orders.producer("in_process", "order.events").idempotent();
    let call = || async {
        let headers = std::collections::BTreeMap::<String, String>::new();
        let sent = producer.send(headers, |_| async { callee.answers().await.then_some(()).ok_or("again") }).await;
        sent.is_ok()
    };
    changed_during(&collector, &mut session, (&callee, &mut began), call).await;
}

#[tarpc::service]
trait Till {
    /// The first two never come back.
    async fn count();
}

#[derive(Clone)]
struct Cashier(Arc<Callee>);

impl Till for Cashier {
    async fn count(self, _: tarpc::context::Context) {
        if !self.0.answers().await {
            std::future::pending().await
        }
    }
}

#[tokio::test]
async fn a_tarpc_call_keeps_its_revision() {
    let (collector, orders, mut session) = stage().await;
    let seller = agent("till", &collector, "").await;
    let (callee, mut began) = Callee::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (server, cashier) = (seller.tarpc_server(), Cashier(callee.clone()));
    tokio::spawn(async move { server.run(listener, cashier.serve()).await });
    let client = TillClient::from(orders.tarpc_client("till", [address]).unwrap());
    let call = || async { client.count(tarpc::context::current()).await.is_ok() };
    changed_during(&collector, &mut session, (&callee, &mut began), call).await;
}
