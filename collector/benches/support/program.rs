//! The real program, in a process of its own.

use std::io::BufRead as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A running program.
pub(crate) struct Program {
    pub(crate) child: Child,
    /// Its addresses, as it says them.
    said: serde_json::Value,
}

impl Program {
    /// Over a file, on free ports; the file is open and all addresses are bound when this returns.
    pub(crate) fn start(file: &Path) -> Self {
        Self::steered_at(file, "127.0.0.1:0")
    }

    /// The same, with the control plane where a test says.
    pub(crate) fn steered_at(file: &Path, control: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fuseboard-collector"));
        command.arg("--data").arg(file).args(["--control", control]);
        for address in ["--otlp-grpc", "--otlp-http", "--metrics"] {
            command.args([address, "127.0.0.1:0"]);
        }
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the collector starts");
        let mut line = String::new();
        let out = child.stdout.take().expect("piped");
        std::io::BufReader::new(out).read_line(&mut line).expect("its addresses");
        let said = serde_json::from_str(&line).expect("JSON");
        Self { child, said }
    }

    /// One of its addresses: `otlp_http`, `control`….
    pub(crate) fn address(&self, name: &str) -> &str {
        self.said[name].as_str().expect("an address")
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("gone");
    }
}
