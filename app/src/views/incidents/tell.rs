//! An incident in words: its figures, and its story as lines that lead to the cursor.

use fuseboard_api::incident::Incident;
use fuseboard_api::strip::{Mark, MarkKind};
use fuseboard_api::{TimeRange, UnixNanos};

use crate::widgets::format;

/// The stretch of an incident; it ends at `now` while it is being recorded.
pub(crate) fn range(incident: &Incident, now: UnixNanos) -> TimeRange {
    TimeRange { from: incident.from, to: incident.to.unwrap_or(now).max(incident.from) }
}

/// `6 min · 41,204 calls, 2,118 failed (5.1%)`.
pub(crate) fn figures(incident: &Incident, now: UnixNanos) -> String {
    let length = format::duration(range(incident, now).length());
    if incident.calls == 0 {
        return format!("{length} · no calls inside");
    }
    let share = incident.errors as f64 / incident.calls as f64;
    format!(
        "{length} · {}, {} failed ({})",
        format::plural(incident.calls, "call"),
        format::count(incident.errors),
        format::percent(share)
    )
}

/// The word for a kind of mark; said beside its colour.
pub(crate) fn kind_word(kind: MarkKind) -> &'static str {
    match kind {
        MarkKind::BreakerOpened => "breaker opened",
        MarkKind::BreakerProbing => "breaker probes",
        MarkKind::BreakerClosed => "breaker closed",
        MarkKind::Revision => "revision",
        MarkKind::Override => "override",
        MarkKind::OverrideEnded => "override ended",
        MarkKind::Anomaly => "anomaly",
        MarkKind::IncidentBegan => "incident begins",
        MarkKind::IncidentEnded => "incident ends",
        MarkKind::Deployment => "deployment",
        MarkKind::AgentLost => "agent lost",
    }
}

/// A line of the story: a mark, or several of one kind on one edge that follow each other closely.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Line<'a> {
    /// The first of them.
    pub(crate) mark: &'a Mark,
    /// How many there are.
    pub(crate) times: usize,
    /// When the last of them was.
    pub(crate) until: UnixNanos,
}

/// The story with repetitions folded: marks of one kind about one edge with nothing else between them are one line.
pub(crate) fn lines(story: &[Mark]) -> Vec<Line<'_>> {
    let mut out: Vec<Line<'_>> = Vec::new();
    for mark in story {
        match out.last_mut() {
            Some(last) if last.mark.kind == mark.kind && last.mark.edge == mark.edge && last.mark.text == mark.text => {
                last.times += 1;
                last.until = mark.at;
            }
            _ => out.push(Line { mark, times: 1, until: mark.at }),
        }
    }
    out
}

/// The incident for a post-mortem: figures, story, suspects.
pub(crate) fn markdown(
    incident: &Incident,
    now: UnixNanos,
    date_time: &dyn Fn(UnixNanos) -> String,
    time: &dyn Fn(UnixNanos) -> String,
) -> String {
    let range = range(incident, now);
    let mut out = format!(
        "# {}\n\n{} to {} · {}\n",
        incident.name,
        date_time(range.from),
        time(range.to),
        figures(incident, now)
    );
    if !incident.story.is_empty() {
        out.push_str("\n## What happened\n\n");
        for line in lines(&incident.story) {
            let times = if line.times > 1 {
                format!(" ({} times until {})", line.times, time(line.until))
            } else {
                String::new()
            };
            out.push_str(&format!("- {} {}{times}\n", time(line.mark.at), line.mark.text));
        }
    }
    if !incident.suspects.is_empty() {
        out.push_str("\n## Suspects\n\n");
        for (i, s) in incident.suspects.iter().enumerate() {
            let edge = crate::views::names::full_name(&s.key);
            out.push_str(&format!("{}. {edge} ({}): {}\n", i + 1, format::percent(s.score), s.evidence));
        }
    }
    out
}

/// A file name for an incident: letters, digits and dashes of its name, and when it began.
pub(crate) fn file_name(incident: &Incident, date_time: &str) -> String {
    let safe = |text: &str| {
        let dashed: String = text.chars().map(|c| if c.is_alphanumeric() { c } else { '-' }).collect();
        dashed.split('-').filter(|p| !p.is_empty()).collect::<Vec<_>>().join("-").to_lowercase()
    };
    let name = safe(&incident.name);
    let name = if name.is_empty() { format!("incident-{}", incident.id) } else { name };
    format!("{}-{}.fuse", name.chars().take(60).collect::<String>(), safe(date_time))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(at: i64, text: &str) -> Mark {
        Mark { at: UnixNanos(at), text: text.into(), ..Mark::default() }
    }

    #[test]
    fn repetitions_are_one_line() {
        let story = [mark(1, "opened"), mark(2, "opened"), mark(3, "closed"), mark(4, "opened")];
        let told: Vec<(&str, usize)> = lines(&story).iter().map(|l| (l.mark.text.as_str(), l.times)).collect();
        assert_eq!(told, [("opened", 2), ("closed", 1), ("opened", 1)]);
    }

    #[test]
    fn the_story_becomes_markdown() {
        let incident = Incident {
            name: "Bank slow".into(),
            to: Some(UnixNanos(60_000_000_000)),
            story: vec![mark(1, "opened"), mark(2, "opened")],
            ..Incident::default()
        };
        let at = |t: UnixNanos| format!("@{}", t.0);
        let told = markdown(&incident, UnixNanos(0), &at, &at);
        assert_eq!(
            told,
            "# Bank slow\n\n@0 to @60000000000 · 1 min · no calls inside\n\n## What happened\n\n- @1 opened (2 times until @2)\n"
        );
    }

    #[test]
    fn figures_and_file_names() {
        let incident = Incident {
            id: 3,
            name: "Bank: slow / flapping".into(),
            from: UnixNanos(0),
            to: Some(UnixNanos(360_000_000_000)),
            calls: 41_204,
            errors: 2_118,
            ..Incident::default()
        };
        assert_eq!(figures(&incident, UnixNanos(0)), "6 min · 41,204 calls, 2,118 failed (5.1%)");
        assert_eq!(file_name(&incident, "2026-11-20 14:02:11"), "bank-slow-flapping-2026-11-20-14-02-11.fuse");
        let unnamed = Incident { id: 3, ..Incident::default() };
        assert_eq!(file_name(&unnamed, "2026"), "incident-3-2026.fuse");
    }
}
