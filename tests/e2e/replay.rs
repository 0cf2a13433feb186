//! The replay law: the picture drawn live at T is the picture replayed at T, from the running file and from an incident's.

use anyhow::{Context, Result};
use fuseboard_api::ask::{Answer, Answered, Question};
use fuseboard_api::command::Action;
use fuseboard_api::log::LogQuery;
use fuseboard_api::metric::MetricQuery;
use fuseboard_api::trace::TraceQuery;
use fuseboard_api::{TimeRange, UnixNanos};
use fuseboard_collector::{Collector, Config};
use fuseboard_demo::Weather;
use fuseboard_tests::stage::{Stage, last, shop_policy};

/// One question of each kind over a range.
fn questions(range: TimeRange) -> Vec<Question> {
    vec![
        Question::Strip { range, columns: 120 },
        Question::Board { range },
        Question::Traces(TraceQuery { range, ..TraceQuery::default() }),
        Question::Breakers { range },
        Question::Policies { range },
        Question::Document(1),
        Question::Changes { range },
        Question::Forecasts,
        Question::Logs(LogQuery { range, ..LogQuery::default() }),
        Question::Metrics(MetricQuery { range, ..MetricQuery::default() }),
        Question::Fleet { range },
        Question::Audit(fuseboard_api::fleet::AuditQuery::default()),
        Question::Names,
    ]
}

/// Asks everything as of now; the instants differ a little from question to question.
async fn album(stage: &Stage, range: TimeRange) -> Result<Vec<(Question, Answered)>> {
    let mut album = Vec::new();
    for question in questions(range) {
        album.push((question.clone(), stage.ask_as_of(question, None).await?));
    }
    Ok(album)
}

/// Waits until the bank's trouble has opened a breaker.
async fn tripped(stage: &Stage) -> Result<()> {
    let opened = |answer: &Answer| {
        let Answer::Breakers(breakers) = answer else { return None };
        (!breakers.transitions.is_empty()).then_some(())
    };
    stage.until("a breaker to open", Question::Breakers { range: last(60) }, opened).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_seen_live_is_seen_again_in_the_file_and_in_the_incident() -> Result<()> {
    let stage = Stage::set(shop_policy()).await?;
    let began = UnixNanos::now();
    let start = Action::StartIncident { name: "a slow bank".to_owned(), from: began };
    let incident = stage.command(start).await?.incident.context("no incident was begun")?;
    let shop = stage.shop(Weather::FlappingBank, 20.0).await?;
    tripped(&stage).await?;

    let live = album(&stage, TimeRange { from: began, to: UnixNanos::now() }).await?;
    // Much more arrives after the album was made.
    drop(shop.shutdown().await);
    stage.command(Action::StopIncident { id: incident, to: None }).await?;

    for (question, then) in &live {
        let again = stage.ask_as_of(question.clone(), Some(then.as_of)).await?;
        assert_same(question, then, &again);
    }

    let file = stage.folder.path().join("incident.fuse");
    stage.collector.export_incident(incident, &file).await?;
    let opened = Collector::start(Config::new(&file).read_only().on_free_ports()).await?;
    for (question, then) in &live {
        let ask = fuseboard_api::ask::Ask { question: question.clone(), as_of: Some(then.as_of) };
        assert_same(question, then, &opened.ask(ask).await?);
    }
    opened.shutdown().await;
    stage.collector.shutdown().await;
    Ok(())
}

fn assert_same(question: &Question, then: &Answered, now: &Answered) {
    if then == now {
        return;
    }
    // Both are long: say where they part.
    let (a, b) = (format!("{:#?}", then.answer), format!("{:#?}", now.answer));
    let apart: Vec<_> = a.lines().zip(b.lines()).enumerate().filter(|(_, (x, y))| x != y).take(8).collect();
    panic!("{question:?} is another picture now ({} and {} lines): {apart:#?}", a.lines().count(), b.lines().count());
}
