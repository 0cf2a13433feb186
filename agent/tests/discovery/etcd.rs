//! Discovery by a real etcd, which these tests kill, restart, compact and cut off.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fuseboard_agent::discovery::{Discovered, Discovery, DiscoveryError, Etcd, Instance, LeaseState, Snapshot, Watch};
use fuseboard_agent::{Agent, AgentError};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::well;
use crate::collector::{Collector, soon};
use crate::daemon::{Daemon, free_port, program};
use crate::rig::{agent, charge};

/// An etcd of one member.
struct Server {
    directory: TempDir,
    binary: PathBuf,
    ports: [u16; 2],
    daemon: Daemon,
}

impl Server {
    async fn start(test: &str) -> Option<Self> {
        let binary = program(test, "etcd")?;
        let directory = tempfile::tempdir().unwrap();
        let ports = [free_port(), free_port()];
        let daemon = Self::run(&directory, &binary, ports);
        let mut server = Self { directory, binary, ports, daemon };
        server.up().await;
        Some(server)
    }

    fn run(directory: &TempDir, binary: &Path, ports: [u16; 2]) -> Daemon {
        let [client, peer] = ports.map(|port| format!("http://127.0.0.1:{port}"));
        let data = directory.path().join("data").display().to_string();
        let arguments = [
            ["--name", "t1"],
            ["--data-dir", data.as_str()],
            ["--listen-client-urls", client.as_str()],
            ["--advertise-client-urls", client.as_str()],
            ["--listen-peer-urls", peer.as_str()],
            ["--initial-advertise-peer-urls", peer.as_str()],
            ["--initial-cluster", &format!("t1={peer}")],
            ["--log-level", "error"],
        ];
        Daemon::start(directory.path(), binary, &arguments.concat().into_iter().map(str::to_owned).collect::<Vec<_>>())
    }

    async fn up(&mut self) {
        let url = format!("{}/health", self.url());
        self.daemon
            .answers(|| async {
                let answer = reqwest::get(&url).await;
                answer.is_ok_and(|answer| answer.status().is_success())
            })
            .await;
    }

    fn crash(&mut self) {
        self.daemon.kill();
    }

    async fn restart(&mut self) {
        self.daemon = Self::run(&self.directory, &self.binary, self.ports);
        self.up().await;
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports[0])
    }

    fn source(&self) -> Etcd {
        Etcd::new([self.url()]).unwrap().ttl(Duration::from_secs(3))
    }

    /// What etcd answers to a request of its own.
    async fn ask(&self, path: &str, body: &Value) -> Value {
        let answer = reqwest::Client::new().post(format!("{}{path}", self.url())).body(body.to_string()).send().await;
        serde_json::from_slice(&answer.unwrap().bytes().await.unwrap()).unwrap()
    }
}

/// Waits until what is known fits.
pub(super) async fn known(watch: &mut Watch, what: &str, fits: impl Fn(&Snapshot) -> bool) -> Snapshot {
    soon(what, async {
        loop {
            let now = watch.next().await.expect("a watch goes on for ever");
            if fits(&now) {
                return now;
            }
        }
    })
    .await
}

fn ids(snapshot: &Snapshot) -> Vec<&str> {
    let mut ids: Vec<_> = snapshot.instances.iter().map(|instance| instance.id.as_str()).collect();
    ids.sort_unstable();
    ids
}

fn at(port: u16, id: &str) -> Instance {
    Instance::at(format!("127.0.0.1:{port}")).unwrap().named(id)
}

async fn following(collector: &Collector, source: Etcd) -> Agent {
    Agent::builder("orders").otlp(collector.url()).discovery(source).start().await.unwrap()
}

#[tokio::test]
async fn no_call_fails_while_instances_leave_and_etcd_crashes() {
    let Some(mut etcd) = Server::start("no_call_fails_while_instances_leave_and_etcd_crashes").await else { return };
    let collector = Collector::start().await;
    let (orders, payer) = (following(&collector, etcd.source()).await, agent("payments", &collector, "").await);
    let (one, other) = (well(&payer).await, well(&payer).await);
    let source = etcd.source();
    let leaving = source.register("payments", at(one.address.port(), "pay-1")).unwrap();
    let staying = source.register("payments", at(other.address.port(), "pay-2")).unwrap();
    soon("both are registered", async { tokio::join!(leaving.kept(), staying.kept()) }).await;
    let client = orders.grpc_client("payments", Discovered).unwrap();
    let going = Arc::new(AtomicBool::new(true));
    let caller = tokio::spawn({
        let (client, going) = (client.clone(), going.clone());
        async move {
            while going.load(Ordering::SeqCst) {
                charge(&client).await.expect("no call fails");
            }
        }
    });
    soon("both are called", async {
        while one.calls() == 0 || other.calls() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;

    leaving.end().await.unwrap();
    let seen = |fits: fn(&Snapshot) -> bool| {
        let orders = orders.clone();
        async move {
            while !orders.discovered("payments").as_ref().is_some_and(fits) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    };
    soon("it left", seen(|known| ids(known) == ["pay-2"])).await;

    etcd.crash();
    soon("the outage is seen", seen(|known| known.stale.is_some())).await;
    let before = other.calls();
    soon("calls go on", async {
        while other.calls() < before + 10 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(ids(&orders.discovered("payments").unwrap()), ["pay-2"]);
    soon("the lease notices, too", staying.states().wait_for(|state| matches!(state, LeaseState::Trying { .. })))
        .await
        .unwrap();

    etcd.restart().await;
    soon("it is fresh again", seen(|known| known.stale.is_none() && ids(known) == ["pay-2"])).await;
    soon("the lease goes on", staying.kept()).await;
    let third = source.register("payments", at(one.address.port(), "pay-3")).unwrap();
    soon("a new one is found", seen(|known| ids(known) == ["pay-2", "pay-3"])).await;
    going.store(false, Ordering::SeqCst);
    caller.await.unwrap();
    drop(third);
}

#[tokio::test]
async fn a_lost_lease_and_a_deleted_key_are_made_good() {
    let Some(etcd) = Server::start("a_lost_lease_and_a_deleted_key_are_made_good").await else { return };
    let source = etcd.source();
    let mut watch = source.watch("payments");
    let lease = source.register("payments", at(7, "pay-1").weighing(3)).unwrap();
    let first = known(&mut watch, "it is registered", |now| ids(now) == ["pay-1"]).await;
    assert_eq!((first.instances[0].weight, first.instances[0].address.as_str()), (3, "127.0.0.1:7"));

    let leases = etcd.ask("/v3/lease/leases", &json!({})).await;
    let id = leases["leases"][0]["ID"].as_str().unwrap();
    etcd.ask("/v3/lease/revoke", &json!({ "ID": id })).await;
    known(&mut watch, "the lease is gone", |now| now.answered && now.instances.is_empty()).await;
    known(&mut watch, "it is registered again", |now| ids(now) == ["pay-1"]).await;

    source.deregister("payments", "pay-1").await.unwrap();
    known(&mut watch, "the key is gone", |now| now.instances.is_empty()).await;
    known(&mut watch, "it is put again", |now| ids(now) == ["pay-1"]).await;

    lease.end().await.unwrap();
    assert!(source.instances("payments").await.unwrap().is_empty());
    let leases = etcd.ask("/v3/lease/leases", &json!({})).await;
    assert!(leases["leases"].as_array().is_none_or(Vec::is_empty), "the lease is revoked: {leases}");
}

/// A way to etcd that can be cut.
struct Way {
    address: SocketAddr,
    to: String,
    running: Option<JoinHandle<()>>,
}

impl Way {
    async fn open(to: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut way = Self { address: listener.local_addr().unwrap(), to, running: None };
        way.run(listener);
        way
    }

    fn run(&mut self, listener: TcpListener) {
        let to = self.to.clone();
        self.running = Some(tokio::spawn(async move {
            let mut all = tokio::task::JoinSet::new();
            loop {
                let (mut near, _) = listener.accept().await.unwrap();
                let to = to.clone();
                all.spawn(async move {
                    let mut far = TcpStream::connect(to).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                });
            }
        }));
    }

    async fn cut(&mut self) {
        let running = self.running.take().unwrap();
        running.abort();
        assert!(running.await.unwrap_err().is_cancelled());
    }

    async fn mend(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.run(listener);
    }
}

#[tokio::test]
async fn what_was_compacted_while_cut_off_is_listed_again() {
    let Some(etcd) = Server::start("what_was_compacted_while_cut_off_is_listed_again").await else { return };
    let mut way = Way::open(format!("127.0.0.1:{}", etcd.ports[0])).await;
    let far = Etcd::new([format!("http://{}", way.address)]).unwrap();
    let near = etcd.source();
    let mut watch = far.watch("payments");
    let gone = near.register("payments", at(1, "pay-1")).unwrap();
    known(&mut watch, "it is seen", |now| ids(now) == ["pay-1"]).await;

    way.cut().await;
    known(&mut watch, "the cut is seen", |now| now.stale.is_some() && ids(now) == ["pay-1"]).await;
    let come = near.register("payments", at(2, "pay-2")).unwrap();
    come.kept().await;
    gone.end().await.unwrap();
    let now = etcd.ask("/v3/kv/range", &json!({ "key": "eA==" })).await;
    let compacted =
        etcd.ask("/v3/kv/compaction", &json!({ "revision": now["header"]["revision"], "physical": true })).await;
    assert!(compacted["error"].is_null(), "{compacted}");

    way.mend().await;
    known(&mut watch, "both changes are known", |now| now.stale.is_none() && ids(now) == ["pay-2"]).await;
    let more = near.register("payments", at(3, "pay-3")).unwrap();
    known(&mut watch, "the watch goes on", |now| ids(now) == ["pay-2", "pay-3"]).await;
    drop(more);
}

#[tokio::test]
async fn an_etcd_that_lost_its_data_is_filled_again_and_nobody_notices() {
    let Some(mut etcd) = Server::start("an_etcd_that_lost_its_data_is_filled_again_and_nobody_notices").await else {
        return;
    };
    let source = etcd.source();
    let mut watch = source.watch("payments");
    let lease = source.register("payments", at(1, "pay-1")).unwrap();
    // The revisions of the new store are to be behind those of the old one.
    for _ in 0..5 {
        etcd.ask("/v3/kv/put", &json!({ "key": "eA==", "value": "eA==" })).await;
    }
    known(&mut watch, "it is seen", |now| ids(now) == ["pay-1"]).await;
    etcd.crash();
    known(&mut watch, "the crash is seen", |now| now.stale.is_some()).await;
    std::fs::remove_dir_all(etcd.directory.path().join("data")).unwrap();
    etcd.restart().await;
    soon("it is fresh again", async {
        loop {
            let now = watch.next().await.unwrap();
            assert_eq!(ids(&now), ["pay-1"], "it never vanished");
            if now.stale.is_none() {
                return;
            }
        }
    })
    .await;
    lease.end().await.unwrap();
    known(&mut watch, "it left", |now| now.instances.is_empty()).await;
}

#[tokio::test]
async fn logs_in_where_etcd_asks_for_it() {
    let Some(etcd) = Server::start("logs_in_where_etcd_asks_for_it").await else { return };
    etcd.ask("/v3/auth/user/add", &json!({ "name": "root", "password": "secret" })).await;
    etcd.ask("/v3/auth/role/add", &json!({ "name": "root" })).await;
    etcd.ask("/v3/auth/user/grant", &json!({ "user": "root", "role": "root" })).await;
    let enabled = etcd.ask("/v3/auth/enable", &json!({})).await;
    assert!(enabled["error"].is_null(), "{enabled}");
    let refused = etcd.source().instances("payments").await.unwrap_err();
    assert!(matches!(refused, DiscoveryError::Refused { .. }), "{refused}");
    let source = etcd.source().user("root", "secret");
    let mut watch = source.watch("payments");
    let lease = source.register("payments", at(1, "pay-1")).unwrap();
    known(&mut watch, "it is seen", |now| ids(now) == ["pay-1"]).await;
    lease.end().await.unwrap();
}

#[tokio::test]
async fn a_member_that_is_not_there_is_left_for_the_next() {
    let Some(etcd) = Server::start("a_member_that_is_not_there_is_left_for_the_next").await else { return };
    let source = Etcd::new([format!("http://127.0.0.1:{}", free_port()), etcd.url()]).unwrap();
    let mut watch = source.watch("payments");
    known(&mut watch, "the other member answers", |now| now.answered).await;
    assert!(source.instances("payments").await.unwrap().is_empty());
    let none: [&str; 0] = [];
    assert!(matches!(Etcd::new(none), Err(AgentError::NoAddress(_))));
}
