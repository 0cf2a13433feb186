//! Servers that tests start themselves: on loopback, in a directory of their own, killed at the end.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Longest wait for a program to be up.
const PATIENCE: Duration = Duration::from_secs(20);

/// A program of that name on the path. Where there is none, one line says that the test did not run.
pub(crate) fn program(test: &str, name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|directory| directory.join(name)).find(|file| file.is_file());
    if found.is_none() {
        // Not captured, as `println!` is.
        let _ = writeln!(std::io::stderr(), "not run: {test} (needs {name})");
    }
    found
}

/// A port that is free now.
pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A running process.
pub(crate) struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Starts one whose output goes into a file of the directory.
    pub(crate) fn start(directory: &Path, program: &Path, arguments: &[String]) -> Self {
        let log = directory.join("log");
        let out = File::create(&log).unwrap();
        let mut command = Command::new(program);
        command.args(arguments).current_dir(directory).stdin(Stdio::null());
        let child = command.stdout(out.try_clone().unwrap()).stderr(out).spawn().unwrap();
        Self { child, log }
    }

    /// Waits until it answers; it tells nobody when it does, so it is asked again and again.
    pub(crate) async fn answers<F: Future<Output = bool>>(&mut self, asks: impl FnMut() -> F) {
        self.answers_within(PATIENCE, asks).await;
    }

    /// As [`Daemon::answers`], for one that takes its time.
    pub(crate) async fn answers_within<F: Future<Output = bool>>(
        &mut self,
        patience: Duration,
        mut asks: impl FnMut() -> F,
    ) {
        let up = async {
            while !asks().await {
                if let Some(status) = self.child.try_wait().unwrap() {
                    panic!("it ended with {status}: {}", std::fs::read_to_string(&self.log).unwrap());
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let up = tokio::time::timeout(patience, up).await;
        assert!(up.is_ok(), "it never answered: {}", std::fs::read_to_string(&self.log).unwrap());
    }

    /// Kills it at once, as a crash would.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}
