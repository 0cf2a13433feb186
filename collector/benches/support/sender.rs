//! A connection that sends telemetry.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::program::Program;

/// A connection that is kept.
pub(crate) struct Sender(TcpStream);

impl Sender {
    pub(crate) fn to(program: &Program) -> Self {
        let stream = TcpStream::connect(program.address("otlp_http")).expect("connects");
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
