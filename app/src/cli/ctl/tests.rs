//! Verbs against a collector over HTTP, judged by their exit codes and by what the collector has afterwards.

use clap::Parser as _;
use fuseboard_api::TimeRange;
use fuseboard_api::ask::{Answer, Ask, Question};
use fuseboard_api::change::Changes;
use fuseboard_collector::{Collector, Config, Handle};

use super::super::exit;
use super::*;

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    ctl: CtlArgs,
}

/// A collector, and a folder for files.
struct Stage {
    runtime: tokio::runtime::Runtime,
    collector: Handle,
    folder: tempfile::TempDir,
}

impl Stage {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let config = Config::new(folder.path().join("data.fuseboard")).on_free_ports();
        let collector = runtime.block_on(Collector::start(config)).unwrap();
        Self { runtime, collector, folder }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn write(&self, name: &str, text: &str) -> String {
        std::fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    /// Runs a verb as `actor`; gives its exit code and what it said on stderr.
    fn ctl(&self, actor: &str, verb: &[&str]) -> (u8, String) {
        let url = format!("http://{}", self.collector.addresses().control);
        let head = ["ctl", "--json", "--to", &url, "--actor", actor];
        let line = Line::try_parse_from(head.iter().chain(verb)).unwrap();
        match run(&line.ctl) {
            Ok(()) => (0, String::new()),
            Err(error) => (exit::code(&error), format!("{error:#}")),
        }
    }

    fn ask(&self, question: Question) -> Answer {
        self.runtime.block_on(self.collector.ask(Ask { question, as_of: None })).unwrap().answer
    }

    fn document(&self, revision: u64) -> String {
        let Answer::Document(Some(text)) = self.ask(Question::Document(revision)) else { panic!("no r{revision}") };
        text
    }

    fn changes(&self) -> Changes {
        let range = TimeRange::ending(Client::now() + Duration::from_secs(60), Duration::from_secs(600));
        let Answer::Changes(changes) = self.ask(Question::Changes { range }) else { panic!("no changes") };
        changes
    }
}

fn document(attempt_ms: u32) -> String {
    format!(
        "# ours\n[[edge]]\nservice = \"*\"   # all\ntimeout = {{ attempt_ms = {attempt_ms}, overall_ms = 9000 }}\n\n"
    )
}

#[test]
fn a_plan_is_applied_as_it_was_made_or_not_at_all() {
    let stage = Stage::start();
    let wrong = stage.write("wrong.toml", "[[edge]]\nservice = \"*\"\nbraker = {}\ntimeout = { attempt_ms = 0 }\n");
    let (code, said) = stage.ctl("ann", &["policy", "plan", &wrong]);
    assert_eq!(code, 2);
    assert!(said.contains("wrong.toml:3:1") && said.contains("wrong.toml:4:13"), "{said}");
    let (file, plan) = (stage.write("policy.toml", &document(500)), stage.path("plan.json"));
    assert_eq!(stage.ctl("ann", &["policy", "plan", &file, "--out", &plan]).0, 5, "something would change");
    let apply = ["policy", "apply", &plan, "--reason", "merge 7"];
    assert_eq!(stage.ctl("ann", &apply), (0, String::new()), "nobody is connected, so nobody is waited for");
    assert_eq!(stage.document(1), document(500), "to the byte, comments and blanks included");
    assert_eq!(stage.ctl("ann", &["policy", "plan", &file]).0, 0, "nothing would change any more");
    assert_eq!(stage.ctl("ann", &apply).0, 0, "again is no change");
    assert_eq!(stage.changes().revisions.len(), 1);
    // Somebody else comes in between plan and apply.
    let file = stage.write("policy.toml", &document(600));
    assert_eq!(stage.ctl("ann", &["policy", "plan", &file, "--out", &plan]).0, 5);
    assert_eq!(stage.ctl("bob", &["policy", "edit", "*", "timeout.overall_ms=8000", "--reason", "why"]).0, 0);
    let (code, said) = stage.ctl("ann", &apply);
    assert_eq!(code, 6);
    assert!(said.contains("r2 by bob") && said.contains("* timeout.overall_ms: 9000 → 8000"), "{said}");
    assert_eq!(stage.changes().revisions.len(), 2, "nothing was published");
    let other = Stage::start();
    assert_eq!(other.ctl("eve", &["policy", "apply", &file, "--reason", "another collector"]).0, 0);
    let edited = stage.write("policy.toml", &document(700));
    assert_eq!(other.ctl("eve", &["policy", "plan", &edited, "--out", &plan]).0, 5);
    let back = ["policy", "rollback", "1", "--reason", "why"];
    assert_eq!(stage.ctl("bob", &back).0, 0);
    let stranger = std::fs::read_to_string(&plan).unwrap().replace("\"base\": 1", "\"base\": 3");
    std::fs::write(&plan, stranger).unwrap();
    let (code, said) = stage.ctl("ann", &apply);
    assert!(code == 6 && said.contains("another collector"), "{code} {said}");
}

#[test]
fn two_people_change_the_same_setting_and_one_is_refused_with_the_difference() {
    let stage = Stage::start();
    let file = stage.write("policy.toml", &document(500));
    assert_eq!(stage.ctl("ann", &["policy", "set", &file, "--reason", "first"]).0, 0);
    let edit = |who, setting| stage.ctl(who, &["policy", "edit", "*", setting, "--base", "1", "--reason", "why"]);
    assert_eq!(edit("ann", "timeout.attempt_ms=600").0, 0);
    let (code, said) = edit("bob", "timeout.attempt_ms=700");
    assert_eq!(code, 6);
    assert!(said.contains("* timeout.attempt_ms: was 500, is 600, you want 700"), "{said}");
    assert_eq!(edit("bob", "timeout.overall_ms=8000").0, 0, "another setting");
    assert_eq!(stage.document(3), document(600).replace("9000", "8000"), "both stand");
    assert_eq!(stage.ctl("ann", &["policy", "diff", "1", "3"]).0, 0);
    assert_eq!(stage.ctl("ann", &["policy", "history"]).0, 0);
    assert_eq!(stage.ctl("ann", &["policy", "diff", "1", "9"]).0, 4);
}

#[test]
fn overrides_are_set_renewed_and_ended_and_the_switch_leaves_only_the_ending() {
    let stage = Stage::start();
    let set = |what: &[&str]| {
        let verb = [&["override", "set", "orders:payments", "--for", "5m", "--wait", "0s", "--reason", "why"], what];
        stage.ctl("ann", &verb.concat())
    };
    assert_eq!(set(&["--attempt-timeout", "300ms"]).0, 4, "nobody is there to obey yet");
    assert_eq!(set(&["--delay", "200ms", "--delay-ratio", "0.1"]).0, 4);
    assert_eq!(set(&[]).0, 2, "says nothing of what it does");
    let before = stage.changes().overrides;
    let renew = |time| stage.ctl("bob", &["override", "renew", "1", "--for", time, "--reason", "longer"]).0;
    assert_eq!((renew("1m"), renew("25h"), renew("1h")), (4, 4, 0), "never shorter, at most a day");
    let after = stage.changes().overrides;
    assert!(after[1].expires > before[1].expires && after[0].expires == before[0].expires, "{after:?}");
    assert_eq!(stage.ctl("olga", &["read-only", "on"]).0, 2, "a reason is needed");
    assert_eq!(stage.ctl("olga", &["read-only", "on", "--reason", "freeze"]).0, 0);
    assert_eq!(stage.changes().read_only.map(|by| by.actor).as_deref(), Some("olga"));
    let (code, said) = set(&["--mode", "shadow"]);
    assert!(code == 4 && said.contains("read_only") && said.contains("freeze"), "{code} {said}");
    assert_eq!(renew("2h"), 4);
    assert_eq!(stage.ctl("bob", &["override", "end-all", "--reason", "safe"]).0, 0);
    assert!(stage.changes().overrides.iter().all(|c| c.ended.is_some()));
    assert_eq!(stage.ctl("olga", &["read-only", "off", "--reason", "over"]).0, 0);
    assert_eq!(set(&["--mode", "shadow"]).0, 4, "taken again; nobody is there to obey");
    assert_eq!(stage.changes().overrides.iter().filter(|c| c.ended.is_none()).count(), 1);
}

#[test]
fn the_audit_verifies_live_from_an_export_without_words_and_against_a_head_kept_elsewhere() {
    let stage = Stage::start();
    for attempt_ms in [500, 600, 700] {
        let file = stage.write("policy.toml", &document(attempt_ms));
        assert_eq!(stage.ctl("ann", &["policy", "set", &file, "--reason", "secret reason"]).0, 0);
    }
    let Answer::AuditChain(chain) = stage.ask(Question::AuditChain { expect: None }) else { panic!("no chain") };
    let verify = |more: &[&str]| stage.ctl("ann", &[&["audit", "verify"], more].concat());
    assert_eq!(verify(&["--expect-head", &chain.last_hash]), (0, String::new()));
    let (code, said) = verify(&["--expect-head", &"0".repeat(64)]);
    assert!(code == 4 && said.contains("cut off"), "{code} {said}");
    let lines = stage.path("audit.jsonl");
    assert_eq!(stage.ctl("ann", &["audit", "export", "-o", &lines, "--redact", "reason,detail"]).0, 0);
    let text = std::fs::read_to_string(&lines).unwrap();
    assert!(!text.contains("secret reason") && text.lines().count() == 3, "{text}");
    assert_eq!(verify(&["--file", &lines, "--expect-head", &chain.last_hash]).0, 0);
    let cut: Vec<&str> = text.lines().take(2).collect();
    let cut = stage.write("cut.jsonl", &cut.join("\n"));
    assert_eq!(verify(&["--file", &cut]).0, 0, "the chain itself cannot tell");
    assert_eq!(verify(&["--file", &cut, "--expect-head", &chain.last_hash]).0, 4);
    let forged = stage.write("forged.jsonl", &text.replacen("\"ann\"", "\"eve\"", 1));
    let (code, said) = verify(&["--file", &forged]);
    assert!(code == 4 && said.contains("entry 1") && said.contains("actor"), "{code} {said}");
    assert_eq!(stage.ctl("ann", &["audit", "--by", "ann", "--action", "policy.", "--last", "1h"]).0, 0);
    assert_eq!(verify(&["--file", &stage.write("none", "hello")]).0, 1);
}

#[test]
fn watching_ends_when_a_revision_cannot_come_any_further() {
    let stage = Stage::start();
    for attempt_ms in [500, 600] {
        let file = stage.write("policy.toml", &document(attempt_ms));
        assert_eq!(stage.ctl("ann", &["policy", "set", &file, "--reason", "why"]).0, 0);
    }
    let watch = |more: &[&str]| stage.ctl("ann", &[&["policy", "watch"], more].concat());
    assert_eq!(watch(&["--until", "done", "--revision", "1"]).0, 0);
    let (code, said) = watch(&["--until", "applied", "--revision", "1"]);
    assert!(code == 4 && said.contains("took its place"), "{code} {said}");
    let (code, said) = watch(&["--until", "applied", "--revision", "2", "--for", "1ms"]);
    assert!(code == 4 && said.contains("in time"), "{code} {said}");
    assert_eq!(watch(&["--after", "0", "--for", "1ms"]).0, 0);
    assert_eq!(watch(&["--until", "done", "--revision", "9"]).0, 4);
    assert_eq!(stage.ctl("ann", &["fleet", "--laggards"]).0, 0);
    assert_eq!(stage.ctl("ann", &["policy", "effective", "payments"]).0, 4, "nobody calls it");
}
