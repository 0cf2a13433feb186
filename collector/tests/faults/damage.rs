//! Files that are cut short or whose bits have flipped: what is sound is readable, the rest is reported, and nothing ever
//! panics.

use std::path::{Path, PathBuf};

use fuseboard_api::TraceId;
use fuseboard_api::ask::Question;
use fuseboard_api::log::LogQuery;
use fuseboard_api::trace::TraceQuery;
use prost::Message as _;
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use super::program::Program;
use super::{noise, short_or_long};
use crate::common::{CLIENT, EVER, SERVER, With as _, request, span};

/// Traces in the file that is damaged.
const TRACES: u8 = 40;

/// A file in good order, closed.
async fn sound(dir: &Path) -> PathBuf {
    let file = dir.join("sound.fuseboard");
    let program = Program::start(&file);
    let mut random = SmallRng::seed_from_u64(1);
    for n in 1..=TRACES {
        let text = noise(&mut random, 300);
        let spans = vec![
            span(n, 1, 0, SERVER, "GET /").with("text", text.as_str()),
            span(n, 2, 1, CLIENT, "call").with("peer.service", "bank"),
        ];
        assert_eq!(program.post(request("shop", spans).encode_to_vec()).await.status(), 200);
    }
    program.stop();
    file
}

/// The program either refuses the file by name, or opens it and answers every question or says why not.
async fn survives(file: &Path) {
    let program = match Program::try_start(file) {
        Ok(program) => program,
        Err((code, said)) => {
            assert!(code == Some(1) && said.contains(&file.display().to_string()), "{code:?} {said}");
            return;
        }
    };
    let mut questions = vec![
        Question::Totals,
        Question::Names,
        Question::Board { range: EVER },
        Question::Strip { range: EVER, columns: 100 },
        Question::Traces(TraceQuery { range: EVER, text: Some("e".into()), ..TraceQuery::default() }),
        Question::Logs(LogQuery { range: EVER, ..LogQuery::default() }),
    ];
    questions.extend((1..=TRACES).map(|n| Question::Trace(TraceId([n; 16]))));
    for question in questions {
        if let Err(refusal) = program.ask(question.clone()).await {
            assert!(!refusal.message.is_empty(), "{question:?}");
        }
    }
    let sent = program.post(request("shop", vec![span(200, 1, 0, SERVER, "more")]).encode_to_vec()).await;
    assert!([200, 500, 503].contains(&sent.status().as_u16()), "{sent:?}");
    program.health().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_cut_short_is_refused_or_read_as_far_as_it_goes() {
    let dir = tempfile::tempdir().expect("a directory");
    let whole = std::fs::read(sound(dir.path()).await).expect("read");
    let mut random = SmallRng::seed_from_u64(2);
    for n in 0..short_or_long(6, 100) {
        let file = dir.path().join(format!("cut-{n}.fuseboard"));
        // Some cuts fall between pages.
        let length = random.random_range(20..whole.len());
        let length = if n % 2 == 0 { length / 8192 * 8192 + 20 * usize::from(length < 8192) } else { length };
        std::fs::write(&file, &whole[..length]).expect("written");
        survives(&file).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flipped_bits_anywhere_in_the_file_never_end_the_program() {
    let dir = tempfile::tempdir().expect("a directory");
    let whole = std::fs::read(sound(dir.path()).await).expect("read");
    let mut random = SmallRng::seed_from_u64(3);
    for n in 0..short_or_long(6, 200) {
        let file = dir.path().join(format!("flipped-{n}.fuseboard"));
        let mut bytes = whole.clone();
        for _ in 0..random.random_range(1..40) {
            let at = random.random_range(16..bytes.len());
            bytes[at] ^= 1 << random.random_range(0..8);
        }
        std::fs::write(&file, bytes).expect("written");
        survives(&file).await;
    }
}
