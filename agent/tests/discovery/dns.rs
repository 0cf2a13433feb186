//! Discovery by DNS, against a server of these tests' own: it speaks UDP, answers what it is told, and may be silent.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fuseboard_agent::discovery::{Discovery, DiscoveryError, Dns, Instance};
use tokio::net::UdpSocket;

use super::etcd::known;

const A: u16 = 1;
const SOA: u16 = 6;
const SRV: u16 = 33;

/// How the server is.
#[derive(Clone, Copy, PartialEq)]
enum Mood {
    Well,
    Silent,
    /// SERVFAIL for everything.
    Broken,
    /// Knows no zone: negative answers carry no SOA.
    Foreign,
}

/// Time to live in seconds, and data.
type Record = (u32, Vec<u8>);

struct Zone {
    mood: Mood,
    /// By name and type.
    records: HashMap<(String, u16), Vec<Record>>,
}

struct Server {
    address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
    asked: Arc<AtomicUsize>,
}

impl Server {
    async fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let zone = Arc::new(Mutex::new(Zone { mood: Mood::Well, records: HashMap::new() }));
        let asked = Arc::new(AtomicUsize::new(0));
        let (told, count) = (zone.clone(), asked.clone());
        tokio::spawn(async move {
            let mut buffer = [0; 1500];
            loop {
                let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                let answer = told.lock().unwrap().answer(&buffer[..length]);
                if let Some(answer) = answer {
                    socket.send_to(&answer, from).await.unwrap();
                }
            }
        });
        Self { address, zone, asked }
    }

    fn set(&self, name: &str, kind: u16, records: Vec<Record>) {
        self.zone.lock().unwrap().records.insert((name.to_owned(), kind), records);
    }

    fn mood(&self, mood: Mood) {
        self.zone.lock().unwrap().mood = mood;
    }
}

impl Zone {
    fn answer(&self, query: &[u8]) -> Option<Vec<u8>> {
        let (name, end) = read_name(query);
        let kind = u16::from_be_bytes([query[end], query[end + 1]]);
        let found = self.records.get(&(name, kind)).cloned().unwrap_or_default();
        let code: u16 = match self.mood {
            Mood::Silent => return None,
            Mood::Broken => 2,
            Mood::Well | Mood::Foreign => 0,
        };
        let found = if self.mood == Mood::Well { found } else { Vec::new() };
        let authority = u16::from(found.is_empty() && self.mood == Mood::Well);
        let mut answer = query[..2].to_vec();
        let counts = [0x8180 | code, 1, u16::try_from(found.len()).unwrap(), authority, 0];
        answer.extend(counts.iter().flat_map(|n| n.to_be_bytes()));
        answer.extend(&query[12..end + 4]);
        let mut put = |kind: u16, ttl: u32, data: &[u8]| {
            // The name is that of the question.
            answer.extend([0xc0, 12]);
            answer.extend([kind, 1].iter().flat_map(|n| n.to_be_bytes()));
            answer.extend(ttl.to_be_bytes());
            answer.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
            answer.extend(data);
        };
        for (ttl, data) in &found {
            put(kind, *ttl, data);
        }
        if authority == 1 {
            let numbers = [1_u32, 60, 60, 60, 1].iter().flat_map(|n| n.to_be_bytes());
            put(SOA, 1, &[0, 0].into_iter().chain(numbers).collect::<Vec<_>>());
        }
        Some(answer)
    }
}

/// The name in question, and where it ends.
fn read_name(query: &[u8]) -> (String, usize) {
    let (mut at, mut labels) = (12, Vec::new());
    while query[at] > 0 {
        let length = usize::from(query[at]);
        labels.push(String::from_utf8(query[at + 1..=at + length].to_vec()).unwrap().to_lowercase());
        at += length + 1;
    }
    (labels.join("."), at + 1)
}

fn a(last: u8) -> Vec<u8> {
    Ipv4Addr::new(10, 0, 0, last).octets().to_vec()
}

fn srv(priority: u16, weight: u16, port: u16, target: &str) -> Vec<u8> {
    let mut data: Vec<u8> = [priority, weight, port].iter().flat_map(|n| n.to_be_bytes()).collect();
    for label in target.split('.') {
        data.push(u8::try_from(label.len()).unwrap());
        data.extend(label.as_bytes());
    }
    data.push(0);
    data
}

fn addresses(instances: &[Instance]) -> Vec<(&str, u32)> {
    instances.iter().map(|instance| (instance.address.as_str(), instance.weight)).collect()
}

#[tokio::test]
async fn srv_records_say_who_and_how_much_and_change() {
    let server = Server::start().await;
    server.set("a.shop.test", A, vec![(1, a(1))]);
    server.set("b.shop.test", A, vec![(1, a(2))]);
    let name = "_grpc._tcp.payments.shop.test";
    let first = vec![
        (1, srv(0, 10, 50051, "a.shop.test")),
        (1, srv(0, 0, 50052, "b.shop.test")),
        (1, srv(10, 5, 1, "a.shop.test")),
    ];
    server.set(name, SRV, first);
    let dns = Dns::srv("_grpc._tcp.{service}.shop.test").unwrap().servers(&[server.address]).unwrap();
    let dns = dns.ttl(Duration::from_millis(100), Duration::from_secs(60));
    let found = dns.instances("payments").await.unwrap();
    let mut found = addresses(&found);
    found.sort_unstable();
    assert_eq!(found, [("10.0.0.1:50051", 10), ("10.0.0.2:50052", 1)]);

    let mut watch = dns.watch("payments");
    known(&mut watch, "the first list", |now| now.instances.len() == 2).await;
    server.set(name, SRV, vec![(1, srv(0, 3, 50052, "b.shop.test"))]);
    let second = known(&mut watch, "the change, when the second is over", |now| now.instances.len() == 1).await;
    assert_eq!(addresses(&second.instances), [("10.0.0.2:50052", 3)]);

    for mood in [Mood::Silent, Mood::Broken] {
        server.mood(mood);
        let stale = known(&mut watch, "the outage", |now| now.stale.is_some()).await;
        assert_eq!(addresses(&stale.instances), [("10.0.0.2:50052", 3)]);
        server.mood(Mood::Well);
        known(&mut watch, "it answers again", |now| now.stale.is_none()).await;
    }
    let refused = dns.register("payments", Instance::at("a:1").unwrap()).unwrap_err();
    assert!(matches!(refused, DiscoveryError::Unsupported(_)));
}

#[tokio::test]
async fn a_zone_is_believed_when_it_says_that_nobody_is_there_and_nobody_else_is() {
    let server = Server::start().await;
    server.set("bank.shop.test", A, vec![(0, a(1)), (3600, a(2))]);
    let dns = Dns::host("{service}.shop.test", 80).unwrap().servers(&[server.address]).unwrap();
    let mut watch = dns.ttl(Duration::from_millis(100), Duration::from_millis(300)).watch("bank");
    let found = known(&mut watch, "two addresses", |now| now.answered).await;
    assert_eq!(addresses(&found.instances), [("10.0.0.1:80", 1), ("10.0.0.2:80", 1)]);

    server.mood(Mood::Foreign);
    let stale = known(&mut watch, "no answer to be believed", |now| now.stale.is_some()).await;
    assert_eq!(stale.instances.len(), 2);
    server.mood(Mood::Well);
    known(&mut watch, "it is well", |now| now.stale.is_none() && now.instances.len() == 2).await;
    server.set("bank.shop.test", A, Vec::new());
    known(&mut watch, "nobody is there", |now| now.stale.is_none() && now.instances.is_empty()).await;
    // A record without a time to live is not asked for all the time, and the cap goes before a long one.
    let before = server.asked.load(Ordering::SeqCst);
    server.set("bank.shop.test", A, vec![(3600, a(3))]);
    known(&mut watch, "it is back", |now| now.instances.len() == 1).await;
    server.set("bank.shop.test", A, vec![(3600, a(4))]);
    known(&mut watch, "before its hour is over", |now| {
        now.instances.first().is_some_and(|i| i.address == "10.0.0.4:80")
    })
    .await;
    assert!(server.asked.load(Ordering::SeqCst) > before);
}
