//! The binary and its signals.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use tokio::sync::Notify;

use crate::rig::{nobody, serve, soon};

/// Killed when a test fails before its end.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It has ended already where all went well.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn signal(process: &Process, name: &str) {
    let done = Command::new("kill").args([&format!("-{name}"), &process.0.id().to_string()]).status().unwrap();
    assert!(done.success());
}

#[tokio::test]
async fn hangup_reads_the_file_again_and_term_lets_requests_finish() {
    let (asked, answer) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (told, wait) = (asked.clone(), answer.clone());
    let slow = move || {
        let (told, wait) = (told.clone(), wait.clone());
        async move {
            told.notify_one();
            wait.notified().await;
            "late, but whole"
        }
    };
    let old = serve(Router::new().route("/which", get(|| async { "old" }))).await;
    let new = serve(Router::new().route("/which", get(|| async { "new" })).route("/slow", get(slow))).await;
    let (port, folder) = (nobody().await, tempfile::tempdir().unwrap());
    let file = folder.path().join("sidecar.toml");
    let write = |bank: std::net::SocketAddr| {
        let text = format!(
            "service = {{ name = \"shop\" }}\ntelemetry = {{ otlp = \"127.0.0.1:1\" }}\nadmin = {{ }}\n\
             [[outbound]]\nlisten = \"{port}\"\nto = \"bank\"\n[[upstream]]\nservice = \"bank\"\naddresses = [\"{bank}\"]\n"
        );
        std::fs::write(&file, text).unwrap();
    };
    write(old);
    let mut command = Command::new(env!("CARGO_BIN_EXE_fuseboard-agent"));
    let child = command.arg("run").arg(&file).stderr(Stdio::piped()).spawn().unwrap();
    let mut process = Process(child);
    let mut words = BufReader::new(process.0.stderr.take().unwrap()).lines();
    let url = format!("http://{port}");
    let which = async || reqwest::get(format!("{url}/which")).await.ok()?.text().await.ok();
    // The port is open when it answers; until then connections are refused at once.
    soon(async {
        while which().await.as_deref() != Some("old") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;

    write(new);
    signal(&process, "HUP");
    let (said, words) = tokio::task::spawn_blocking(move || (words.next(), words)).await.unwrap();
    assert!(said.unwrap().unwrap().contains("is in force"));
    assert_eq!(which().await.as_deref(), Some("new"));

    let late = tokio::spawn(reqwest::get(format!("{url}/slow")));
    soon(asked.notified()).await;
    signal(&process, "TERM");
    // Nobody else is let in from now on; who was, is answered.
    soon(async {
        while tokio::net::TcpStream::connect(port).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    answer.notify_one();
    assert_eq!(soon(late).await.unwrap().unwrap().text().await.unwrap(), "late, but whole");
    let ended = tokio::task::spawn_blocking(move || process.0.wait()).await.unwrap().unwrap();
    assert!(ended.success());
    drop(words);
}
