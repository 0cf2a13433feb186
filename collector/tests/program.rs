//! The program itself: what it prints, how it stops, how it fails.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};

use crate::common::command;

/// The program on free ports over a file of its own.
fn program(dir: &tempfile::TempDir) -> Command {
    command(&dir.path().join("new").join("data.fuseboard"))
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_prints_its_addresses_serves_and_stops_in_order() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut child = program(&dir).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    let mut out = BufReader::new(child.stdout.take().expect("piped"));
    let mut line = String::new();
    out.read_line(&mut line).expect("a line");
    let addresses: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    for name in ["otlp_grpc", "otlp_http", "control", "metrics", "zipkin", "jaeger_api"] {
        let address = addresses[name].as_str().expect("text");
        assert!(address.parse::<std::net::SocketAddr>().is_ok_and(|a| a.port() > 0), "{line}");
    }
    let control = addresses["control"].as_str().expect("text");
    let reply = reqwest::get(format!("http://{control}/v1/stats")).await.expect("a reply");
    assert_eq!(reply.status(), 200);
    let second = program(&dir).output().expect("runs");
    assert_eq!(second.status.code(), Some(1), "the file is taken");
    let told = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(told.contains("in use") && told.contains(&child.id().to_string()), "{told}");
    let asked = Command::new("kill").arg("-TERM").arg(child.id().to_string()).status().expect("runs");
    assert!(asked.success());
    assert_eq!(child.wait().expect("ends").code(), Some(0));
    let mut rest = String::new();
    out.read_to_string(&mut rest).expect("text");
    assert_eq!(rest, "", "one line and no more");
}

#[test]
fn what_it_cannot_do_it_says_with_an_exit_code() {
    let dir = tempfile::tempdir().expect("a directory");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().expect("bound").to_string();
    let text = dir.path().join("notes.txt");
    std::fs::write(&text, "not a database, but longer than its header").expect("written");
    let text = text.display().to_string();
    for (arguments, code, word) in [
        (["--control", "0.0.0.0:0"], 3, "--tls-cert"),
        (["--metrics", taken.as_str()], 3, "--metrics"),
        (["--control", "nowhere"], 2, "--control"),
        (["--data", text.as_str()], 1, "not a Fuseboard file"),
    ] {
        // Later arguments of the same name are refused, so each try has its own.
        let mut command = Command::new(env!("CARGO_BIN_EXE_fuseboard-collector"));
        let all = ["--data", "--otlp-grpc", "--otlp-http", "--control", "--metrics"];
        for name in all.into_iter().filter(|n| *n != arguments[0]) {
            match name {
                "--data" => command.arg(name).arg(dir.path().join("data.fuseboard")),
                _ => command.args([name, "127.0.0.1:0"]),
            };
        }
        let told = command.args(arguments).output().expect("runs");
        let words = String::from_utf8_lossy(&told.stderr).into_owned();
        assert_eq!(told.status.code(), Some(code), "{arguments:?}: {words}");
        assert!(words.contains(word), "{arguments:?}: {words}");
        assert!(told.stdout.is_empty());
    }
}
