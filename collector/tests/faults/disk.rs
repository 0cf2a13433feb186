//! A disk that is full, a limit on the size of files, a medium that cannot be written: senders are told to wait, the
//! collector says what is wrong, answers go on, and everything passes by itself.

use std::path::{Path, PathBuf};
use std::process::Command;

use fuseboard_collector::{Collector, Config, Mode};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use rustix::process::{Pid, Resource, Rlimit, geteuid, prlimit};

use super::program::Program;
use super::{noise, not_run};
use crate::common::{self, SERVER, With as _, request, span};

/// Spans in a [`large`] request.
const SPANS: u64 = 8;

/// A request of 800 kB that stays so large when it is packed.
fn large(n: u8) -> ExportTraceServiceRequest {
    let mut random = SmallRng::seed_from_u64(u64::from(n));
    let mut one = |i: u8| span(n, i, 0, SERVER, "large").with("text", noise(&mut random, 100_000).as_str());
    request("shop", (1..=SPANS as u8).map(&mut one).collect())
}

/// A small file system in memory.
struct Small {
    dir: tempfile::TempDir,
}

impl Small {
    /// `None` where this process may not mount one.
    fn mount(mib: u32) -> Option<Self> {
        if !cfg!(target_os = "linux") || !geteuid().is_root() {
            return None;
        }
        let dir = tempfile::tempdir().expect("a directory");
        let size = format!("size={mib}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(dir.path()).output();
        mounted.is_ok_and(|m| m.status.success()).then_some(Self { dir })
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("small.fuseboard")
    }

    fn change(&self, options: &str) {
        let options = format!("remount,{options}");
        let changed = Command::new("mount").args(["-o", &options]).arg(self.dir.path()).status();
        assert!(changed.expect("runs").success(), "{options}");
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.dir.path()).status();
    }
}

/// Sends until no more is taken; gives how many requests were acknowledged.
async fn fill(program: &Program) -> u8 {
    for n in 1..=200 {
        let response = program.post(large(n).encode_to_vec()).await;
        match response.status().as_u16() {
            200 => {}
            503 => return n - 1,
            other => panic!("{other}: {}", response.text().await.unwrap_or_default()),
        }
    }
    panic!("160 MB fit");
}

/// Both doors ask the sender to come again later.
async fn asks_to_wait(program: &Program, n: u8) -> String {
    let response = program.post(large(n).encode_to_vec()).await;
    assert_eq!(response.status(), 503);
    assert!(response.headers().contains_key("retry-after"), "{:?}", response.headers());
    let refused = program.grpc().await.export(large(n)).await.expect_err("no room");
    assert_eq!(refused.code(), tonic::Code::Unavailable);
    assert!(String::from_utf8_lossy(refused.details()).contains("google.rpc.RetryInfo"));
    refused.message().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_makes_senders_wait_and_passes_without_a_restart() {
    let Some(small) = Small::mount(12) else {
        return not_run("a full disk", "a file system in memory takes Linux and root");
    };
    let program = Program::start(&small.file());
    let taken = fill(&program).await;
    assert!(taken > 0, "something fits");
    let said = asks_to_wait(&program, taken + 1).await;
    assert!(said.contains("the disk is full"), "{said}");
    let (status, health) = program.health().await;
    assert!(status == 503 && health.contains("the disk is full"), "{status} {health}");
    let totals = program.totals().await;
    assert_eq!(totals.spans, u64::from(taken) * SPANS, "what was acknowledged, and nothing of what was not");
    assert!(totals.trouble.contains("the disk is full"));
    // There is space again.
    small.change("size=200m");
    for n in taken + 1..taken + 4 {
        assert_eq!(program.post(large(n).encode_to_vec()).await.status(), 200);
    }
    assert_eq!(program.health().await.0, 200);
    program.kill();
    let program = Program::start(&small.file());
    assert_eq!(program.totals().await.spans, u64::from(taken + 3) * SPANS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_starts_on_a_full_disk_says_so_or_waits() {
    let Some(small) = Small::mount(6) else {
        return not_run("a start on a full disk", "a file system in memory takes Linux and root");
    };
    let program = Program::start(&small.file());
    let taken = fill(&program).await;
    program.kill();
    // Not a byte is left.
    let ballast = small.file().with_extension("ballast");
    let _ = std::io::copy(
        &mut std::io::Read::take(std::io::repeat(0), 64 << 20),
        &mut std::fs::File::create(&ballast).expect("made"),
    );
    match Program::try_start(&small.file()) {
        Ok(program) => assert_eq!(program.post(large(100).encode_to_vec()).await.status(), 503),
        Err((code, said)) => assert!(code == Some(1) && said.contains("the disk is full"), "{code:?} {said}"),
    }
    std::fs::remove_file(&ballast).expect("removed");
    small.change("size=200m");
    let program = Program::start(&small.file());
    assert_eq!(program.totals().await.spans, u64::from(taken) * SPANS);
}

/// The program with a limit on the size of its files instead of a full disk; `SIGXFSZ` is ignored, so that writes fail.
fn without_signal(file: &Path) -> Command {
    let wrapped = common::command(file);
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; exec \"$@\"", "sh"]).arg(wrapped.get_program()).args(wrapped.get_args());
    command
}

fn limit_files(program: &Program, bytes: Option<u64>) {
    let pid = Pid::from_raw(program.pid().cast_signed());
    prlimit(pid, Resource::Fsize, Rlimit { current: bytes, maximum: None }).expect("limited");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_fails_makes_senders_wait_and_passes_without_a_restart() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("limited.fuseboard");
    let program = Program::run(without_signal(&file), &file);
    assert_eq!(program.post(large(1).encode_to_vec()).await.status(), 200);
    limit_files(&program, Some(100_000));
    asks_to_wait(&program, 2).await;
    let (status, health) = program.health().await;
    assert!(status == 503 && health.len() > 10, "{status} {health}");
    assert_eq!(program.totals().await.spans, SPANS);
    limit_files(&program, None);
    for n in 2..5 {
        assert_eq!(program.post(large(n).encode_to_vec()).await.status(), 200);
    }
    assert_eq!(program.health().await.0, 200);
    program.kill();
    assert_eq!(Program::start(&file).totals().await.spans, 4 * SPANS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_cannot_be_written_is_named_and_can_be_looked_at() {
    use std::os::unix::fs::PermissionsExt as _;
    let small = Small::mount(64);
    if small.is_none() && geteuid().is_root() {
        return not_run("a read-only medium", "root writes any file, and no file system can be mounted here");
    }
    let dir = tempfile::tempdir().expect("a directory");
    let file = small.as_ref().map_or_else(|| dir.path().join("kept.fuseboard"), Small::file);
    let program = Program::start(&file);
    assert_eq!(program.post(large(1).encode_to_vec()).await.status(), 200);
    program.stop();
    let mode = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("changed");
    };
    match &small {
        Some(small) => small.change("ro"),
        None => {
            mode(&file, 0o444);
            mode(dir.path(), 0o555);
        }
    }
    let (code, said) = Program::refused(&file);
    assert!(code == Some(1) && said.contains(&file.display().to_string()), "{code:?} {said}");
    let config = Config { mode: Mode::ReadOnly, ..Config::new(&file).on_free_ports() };
    let looked = Collector::start(config).await.expect("it can be looked at");
    let ask = fuseboard_api::ask::Ask { question: fuseboard_api::ask::Question::Totals, as_of: None };
    let fuseboard_api::ask::Answer::Totals(totals) = looked.ask(ask).await.expect("an answer").answer else {
        panic!("totals")
    };
    assert!(totals.read_only && totals.spans == SPANS, "{totals:?}");
    looked.shutdown().await;
    if small.is_none() {
        mode(dir.path(), 0o755);
    }
}
