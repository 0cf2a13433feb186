//! A connection of which the test says when which byte is sent.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// HTTP/1.1, kept alive.
pub(super) struct Raw(TcpStream);

impl Raw {
    pub(super) async fn connect(address: &str) -> Self {
        Self(TcpStream::connect(address).await.expect("connects"))
    }

    /// The head of a request with a body of so many bytes.
    pub(super) async fn head(&mut self, length: usize) {
        let head = format!(
            "POST /v1/traces HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-protobuf\r\ncontent-length: {length}\r\n\r\n"
        );
        self.send(head.as_bytes()).await;
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.expect("sent");
        self.0.flush().await.expect("sent");
    }

    pub(super) async fn whole(&mut self, body: &[u8]) {
        self.head(body.len()).await;
        self.send(body).await;
    }

    /// The status of the next answer. Answers of these tests have no body, or one with its length.
    pub(super) async fn status(&mut self) -> u16 {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.0.read_u8().await.expect("an answer"));
        }
        let head = String::from_utf8(head).expect("text").to_ascii_lowercase();
        let length =
            head.lines().find_map(|l| l.strip_prefix("content-length: ")).map_or(0, |n| n.parse().expect("a length"));
        self.0.read_exact(&mut vec![0; length]).await.expect("a body");
        head.split(' ').nth(1).expect("a status").parse().expect("a number")
    }
}
