//! The link against a small server of its own, over a real socket.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use fuseboard_api::UnixNanos;
use fuseboard_api::ask::{Answer, Answered, Ask, Question, Refusal, Totals};
use fuseboard_api::command::{Action, Command, Receipt};
use fuseboard_api::identity::Whoami;
use fuseboard_api::live::{LiveEvent, Touched};

use super::{Door, Inbox, Link, Source};
use crate::model::{Connection, SlotId, SourceKind, Standing, Want};
use crate::wire::Access;

/// Long enough for a busy machine; nothing waits for it unless it fails.
const LONG: Duration = Duration::from_secs(60);

/// What the server was asked, and the line that it is to tell its listener next (`None` hangs up).
struct Server {
    url: String,
    asked: Receiver<Ask>,
    tell: SyncSender<Option<LiveEvent>>,
}

/// Reads a request's head and body: (first line, body).
fn request(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        bytes.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&bytes).into_owned();
    let length = head.lines().find_map(|l| l.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).ok()?;
    Some((head.lines().next()?.to_owned(), body))
}

fn reply(stream: &mut TcpStream, status: &str, words: &impl serde::Serialize) {
    let body = rmp_serde::to_vec_named(words).unwrap();
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Type: application/msgpack\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(&[head.as_bytes(), &body].concat()).unwrap();
}

fn serve(mut stream: TcpStream, asked: &SyncSender<Ask>, spans: u64) {
    while let Some((line, body)) = request(&mut stream) {
        if line.starts_with("POST /v1/ask ") {
            let ask: Ask = rmp_serde::from_slice(&body).unwrap();
            match ask.question {
                Question::Totals => {
                    let answer = Answer::Totals(Totals { spans, ..Default::default() });
                    reply(&mut stream, "200 OK", &Answered { as_of: UnixNanos(5), answer });
                }
                _ => {
                    let refusal = Refusal::new("internal", "the disk is full: make room");
                    reply(&mut stream, "500 Internal Server Error", &refusal);
                }
            }
            let _ = asked.send(ask);
        } else if line.starts_with("GET /v1/whoami ") {
            reply(&mut stream, "200 OK", &Whoami { name: "ann".into(), asked: true, ..Default::default() });
        } else {
            let command: Command = rmp_serde::from_slice(&body).unwrap();
            assert_eq!(command.action, Action::EndAllOverrides);
            reply(&mut stream, "200 OK", &Receipt { targeted: 3, ..Default::default() });
        }
    }
}

fn server() -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (asked_in, asked) = sync_channel(64);
    let (tell, told) = sync_channel::<Option<LiveEvent>>(4);
    let told = std::sync::Arc::new(std::sync::Mutex::new(told));
    let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
        std::thread::Builder::new().name(name.to_owned()).spawn(work).unwrap();
    };
    spawn(
        "accept",
        Box::new(move || {
            for (n, stream) in (1..).zip(listener.incoming()) {
                let mut stream = stream.unwrap();
                let (asked, told) = (asked_in.clone(), std::sync::Arc::clone(&told));
                let work = move || {
                    let mut first = [0; 12];
                    stream.peek(&mut first).unwrap();
                    if !first.starts_with(b"GET /v1/live") {
                        return serve(stream, &asked, n);
                    }
                    request(&mut stream);
                    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nConnection: close\r\n\r\n";
                    stream.write_all(head.as_bytes()).unwrap();
                    let told = told.lock().unwrap();
                    while let Ok(Some(event)) = told.recv() {
                        let line = serde_json::to_string(&event).unwrap();
                        if stream.write_all(format!("{line}\n").as_bytes()).is_err() {
                            return;
                        }
                    }
                };
                std::thread::Builder::new().name("connection".to_owned()).spawn(work).unwrap();
            }
        }),
    );
    Server { url, asked, tell }
}

/// A link and the bell that it rings.
fn link(url: &str) -> (Link, Receiver<()>) {
    let (ring, bell) = sync_channel(1);
    let source = Source { name: "test".into(), url: url.to_owned(), kind: SourceKind::Live, access: Access::default() };
    let link = Link::open(source, move || {
        let _ = ring.try_send(());
    })
    .unwrap();
    (link, bell)
}

/// Takes what comes until `found` finds what it looks for.
fn wait<T>(link: &mut Link, bell: &Receiver<()>, mut found: impl FnMut(Inbox) -> Option<T>) -> T {
    loop {
        bell.recv_timeout(LONG).expect("something comes");
        if let Some(found) = found(link.take()) {
            return found;
        }
    }
}

fn want(slot: SlotId, question: Question) -> Want {
    Want { slot, ask: Ask { question, as_of: None }, standing: Standing::Fixed }
}

#[test]
fn an_answer_comes_and_is_asked_again_when_its_data_changes() {
    let server = server();
    let (mut link, bell) = link(&server.url);
    link.want(vec![want(SlotId::Totals, Question::Totals)]);
    let as_of = wait(&mut link, &bell, |inbox| {
        inbox.answers.into_iter().find(|d| d.slot == SlotId::Totals).map(|d| d.result.unwrap().1)
    });
    assert_eq!(as_of, UnixNanos(5));
    assert_eq!(server.asked.recv_timeout(LONG).unwrap().question, Question::Totals);
    let event = LiveEvent { generation: 1, as_of: UnixNanos(6), touched: vec![Touched::Spans], ..Default::default() };
    server.tell.send(Some(event)).unwrap();
    assert_eq!(server.asked.recv_timeout(LONG).unwrap().question, Question::Totals, "asked again by itself");
}

#[test]
fn a_refusal_is_told_in_the_collectors_words() {
    let server = server();
    let (mut link, bell) = link(&server.url);
    link.want(vec![want(SlotId::Fleet, Question::Names)]);
    let why = wait(&mut link, &bell, |inbox| inbox.answers.into_iter().next().map(|d| d.result.unwrap_err()));
    assert_eq!(why, "the disk is full: make room");
}

#[test]
fn a_command_gets_its_receipt() {
    let server = server();
    let (mut link, bell) = link(&server.url);
    let command = Command { actor: "op".into(), reason: "enough".into(), action: Action::EndAllOverrides };
    link.act(7, command).unwrap();
    let (number, receipt) = wait(&mut link, &bell, |inbox| inbox.receipts.into_iter().next());
    assert_eq!((number, receipt.unwrap().targeted), (7, 3));
}

#[test]
fn who_one_is_comes_with_the_connection() {
    let server = server();
    let (mut link, bell) = link(&server.url);
    assert_eq!(wait(&mut link, &bell, |inbox| inbox.who).name, "ann");
}

#[test]
fn a_lost_collector_is_said_and_found_again() {
    let server = server();
    let (mut link, bell) = link(&server.url);
    let connection = |inbox: Inbox| inbox.connection;
    assert_eq!(wait(&mut link, &bell, connection), Connection::Up);
    server.tell.send(None).unwrap();
    let mut lost = false;
    wait(&mut link, &bell, |inbox| {
        lost |= matches!(inbox.connection, Some(Connection::Lost { .. }));
        (lost && inbox.connection == Some(Connection::Up)).then_some(())
    });
}

#[test]
fn an_address_without_a_collector_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let (mut link, bell) = link(&format!("http://{address}"));
    let Connection::Lost { why, .. } = wait(&mut link, &bell, |inbox| inbox.connection) else { panic!("not lost") };
    assert!(why.contains(&address.to_string()), "{why}");
}
