//! The real program, in a process of its own.

use std::io::{BufRead as _, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A running program.
pub(crate) struct Program {
    /// Its process.
    pub(crate) child: Child,
    /// Where it takes OTLP/HTTP.
    address: String,
}

impl Program {
    /// Over a file, on free ports; the file is open and all addresses are bound when this returns.
    pub(crate) fn start(file: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fuseboard-collector"));
        command.arg("--data").arg(file);
        for address in ["--otlp-grpc", "--otlp-http", "--control", "--metrics"] {
            command.args([address, "127.0.0.1:0"]);
        }
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the collector starts");
        let mut line = String::new();
        let out = child.stdout.take().expect("piped");
        std::io::BufReader::new(out).read_line(&mut line).expect("its addresses");
        let said: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        let address = said["otlp_http"].as_str().expect("an address").to_owned();
        Self { child, address }
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("gone");
    }
}

/// A connection that is kept.
pub(crate) struct Sender(TcpStream);

impl Sender {
    pub(crate) fn to(program: &Program) -> Self {
        let stream = TcpStream::connect(&program.address).expect("connects");
        stream.set_nodelay(true).expect("set");
        Self(stream)
    }

    /// Sends a request; true when it was acknowledged, false when the program asks to wait.
    pub(crate) fn post(&mut self, body: &[u8]) -> bool {
        let head = format!(
            "POST /v1/traces HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-protobuf\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        self.0.write_all(head.as_bytes()).and_then(|()| self.0.write_all(body)).expect("sent");
        let (mut answer, mut byte) = (Vec::new(), [0]);
        while !answer.ends_with(b"\r\n\r\n") {
            self.0.read_exact(&mut byte).expect("an answer");
            answer.push(byte[0]);
        }
        let answer = String::from_utf8(answer).expect("text").to_ascii_lowercase();
        let length = answer.lines().find_map(|l| l.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
        self.0.read_exact(&mut vec![0; length]).expect("a body");
        match answer.split(' ').nth(1) {
            Some("200") => true,
            Some("503") => false,
            other => panic!("neither taken nor asked to wait: {other:?}"),
        }
    }
}
