//! What a question of Jaeger's API asks for.

use std::time::Duration;

use fuseboard_api::ask::Refusal;
use fuseboard_api::trace::TraceQuery;
use fuseboard_api::{TimeRange, TraceId, UnixNanos};

use crate::control::refusal::bad_request;

/// Traces given when nobody says how many; Jaeger's default.
const LIMIT: u32 = 100;
/// Traces given at most.
const MOST: u32 = 1_500;
/// How far back traces are looked for when nobody says; Jaeger's default.
const LOOKBACK: Duration = Duration::from_secs(48 * 3600);
/// The same for dependencies.
const DEPENDENCIES: Duration = Duration::from_secs(24 * 3600);

/// Names and values, as they stood behind the question mark.
#[derive(Debug)]
pub(super) struct Params(pub(super) Vec<(String, String)>);

impl Params {
    /// The first value of a name that is not empty.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, v)| n == name && !v.is_empty()).map(|(_, v)| v.as_str())
    }

    /// All values of a name that are not empty.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(n, v)| n == name && !v.is_empty()).map(|(_, v)| v.as_str())
    }

    /// A search for traces.
    ///
    /// # Errors
    /// Names the parameter that makes no sense.
    pub(super) fn query(&self, now: UnixNanos) -> Result<TraceQuery, Refusal> {
        let service = self.text("service").ok_or_else(|| bad_request("parameter 'service' is required"))?;
        let end = self.time("end", 1_000)?.unwrap_or(now);
        // Jaeger's window sends "custom" when it also sends a start.
        let lookback = self.text("lookback").and_then(go_duration).unwrap_or(LOOKBACK);
        let start = self.time("start", 1_000)?.unwrap_or(end - lookback);
        let (min, max) = (self.duration("minDuration")?, self.duration("maxDuration")?);
        if min.zip(max).is_some_and(|(min, max)| max < min) {
            return Err(bad_request("'maxDuration' should be greater than 'minDuration'"));
        }
        let limit = match self.text("limit") {
            None => LIMIT,
            Some(limit) => limit.parse::<u32>().map_err(|_| bad(limit, "limit", "a number of traces"))?.clamp(1, MOST),
        };
        let mut query = TraceQuery {
            range: TimeRange { from: start, to: end },
            service: Some(service.to_owned()),
            operation: self.text("operation").map(str::to_owned),
            min_ms: min.map(ms),
            max_ms: max.map(ms),
            limit,
            ..TraceQuery::default()
        };
        for (key, value) in self.tags()? {
            match (key.as_str(), value.as_str()) {
                ("error", "true") | ("otel.status_code", "ERROR") => query.errors_only = true,
                _ => query.attributes.push((key, value)),
            }
        }
        Ok(query)
    }

    /// The range of a question for dependencies: here times are in milliseconds.
    ///
    /// # Errors
    /// Names the parameter that makes no sense.
    pub(super) fn dependencies(&self, now: UnixNanos) -> Result<TimeRange, Refusal> {
        let end = self.time("endTs", 1_000_000)?.unwrap_or(now);
        let lookback = match self.text("lookback") {
            None => DEPENDENCIES,
            Some(text) => {
                let ms = text.parse().map_err(|_| bad(text, "lookback", "a number of milliseconds"))?;
                Duration::from_millis(ms)
            }
        };
        Ok(TimeRange::ending(end, lookback))
    }

    fn time(&self, name: &str, nanos: i64) -> Result<Option<UnixNanos>, Refusal> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let time = text.parse::<i64>().map_err(|_| bad(text, name, "a whole number since 1970"))?;
        Ok(Some(UnixNanos(time.saturating_mul(nanos))))
    }

    fn duration(&self, name: &str) -> Result<Option<Duration>, Refusal> {
        let Some(text) = self.text(name) else { return Ok(None) };
        go_duration(text).map(Some).ok_or_else(|| bad(text, name, "a duration such as 1.5s, 100ms or 50us"))
    }

    /// `tags={"key":"value"}` and `tag=key:value`, as often as wanted.
    fn tags(&self) -> Result<Vec<(String, String)>, Refusal> {
        let mut out = Vec::new();
        for tag in self.all("tag") {
            let (key, value) = tag.split_once(':').ok_or_else(|| bad(tag, "tag", "key:value"))?;
            out.push((key.to_owned(), value.to_owned()));
        }
        for tags in self.all("tags") {
            let map: serde_json::Map<String, serde_json::Value> =
                serde_json::from_str(tags).map_err(|_| bad(tags, "tags", "a JSON object of texts"))?;
            out.extend(map.into_iter().map(|(key, value)| match value {
                serde_json::Value::String(text) => (key, text),
                other => (key, other.to_string()),
            }));
        }
        Ok(out)
    }
}

fn bad(text: &str, name: &str, wanted: &str) -> Refusal {
    let text: String = text.chars().take(80).collect();
    bad_request(format!("unable to parse param '{name}': {text:?} is not {wanted}"))
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// A trace id as Jaeger takes it: leading zeros may be missing.
///
/// # Errors
/// Says that it is none.
pub(super) fn trace_id(text: &str) -> Result<TraceId, Refusal> {
    let filled = format!("{text:0>32}");
    filled.parse().map_err(|_| bad(text, "traceID", "a trace id: up to 32 hexadecimal digits, not all zero"))
}

/// A duration as Go writes them: `1h30m`, `1.5s`, `100ms`, `50us`, `50µs`, `7ns`.
fn go_duration(mut text: &str) -> Option<Duration> {
    const UNITS: [(&str, f64); 8] =
        [("ns", 1e-9), ("us", 1e-6), ("µs", 1e-6), ("μs", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
    if text.is_empty() {
        return None;
    }
    let mut seconds = 0.0;
    while !text.is_empty() {
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, rest) = text.split_at_checked(end)?;
        // The longest unit first: `ms` is not `m` and something.
        let (unit, factor) =
            UNITS.iter().filter(|(unit, _)| rest.starts_with(unit)).max_by_key(|(unit, _)| unit.len())?;
        seconds += number.parse::<f64>().ok()? * factor;
        text = rest.strip_prefix(unit)?;
    }
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(pairs: &[(&str, &str)]) -> Params {
        Params(pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect())
    }

    #[test]
    fn a_search_is_read_as_jaeger_writes_it() {
        let asked = params(&[
            ("service", "shop"),
            ("operation", "GET /cart"),
            ("start", "1000000"),
            ("end", "5000000"),
            ("lookback", "custom"),
            ("minDuration", "1.5ms"),
            ("maxDuration", ""),
            ("limit", "20"),
            ("tags", r#"{"error":"true","http.status_code":503}"#),
            ("tag", "k:a:b"),
        ]);
        let query = asked.query(UnixNanos(0)).expect("a query");
        let expected = TraceQuery {
            range: TimeRange { from: UnixNanos(1_000_000_000), to: UnixNanos(5_000_000_000) },
            service: Some("shop".into()),
            operation: Some("GET /cart".into()),
            min_ms: Some(1.5),
            errors_only: true,
            attributes: vec![("k".into(), "a:b".into()), ("http.status_code".into(), "503".into())],
            limit: 20,
            ..TraceQuery::default()
        };
        assert_eq!(query, expected);
        let now = UnixNanos(1_800_000_000_000_000_000);
        let bare = params(&[("service", "shop"), ("lookback", "1h")]).query(now).expect("a query");
        assert_eq!((bare.range, bare.limit), (TimeRange::ending(now, Duration::from_secs(3600)), 100));
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for (pairs, word) in [
            (&[][..], "'service'"),
            (&[("service", "s"), ("limit", "x")], "'limit'"),
            (&[("service", "s"), ("start", "now")], "'start'"),
            (&[("service", "s"), ("minDuration", "5")], "'minDuration'"),
            (&[("service", "s"), ("minDuration", "5s"), ("maxDuration", "1s")], "'maxDuration'"),
            (&[("service", "s"), ("tags", "x")], "'tags'"),
            (&[("service", "s"), ("tag", "x")], "'tag'"),
        ] {
            let told = params(pairs).query(UnixNanos(0)).expect_err(word).message;
            assert!(told.contains(word), "{told}");
        }
        assert!(params(&[("lookback", "1h")]).dependencies(UnixNanos(0)).is_err(), "here it is milliseconds");
    }

    #[test]
    fn durations_and_ids_are_read_as_jaeger_reads_them() {
        for (text, nanos) in [
            ("1h30m", 5_400_000_000_000),
            ("1.5s", 1_500_000_000),
            ("100ms", 100_000_000),
            ("50µs", 50_000),
            ("7ns", 7),
        ] {
            assert_eq!(go_duration(text).map(|d| d.as_nanos()), Some(nanos), "{text}");
        }
        for text in ["", "5", "ms", "1x", "1.2.3s"] {
            assert_eq!(go_duration(text), None, "{text}");
        }
        assert_eq!(trace_id("1f").expect("an id").to_string(), format!("{:0>32}", "1f"));
        for text in ["", "0", "xyz", &"1".repeat(33)] {
            assert!(trace_id(text).is_err(), "{text}");
        }
    }
}
