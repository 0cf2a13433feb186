//! Numbers in words: few digits, one unit, the same everywhere.

use std::time::Duration;

/// Milliseconds: `0.4 ms`, `18 ms`, `1,420 ms`, `12.4 s`, `3 min`.
pub(crate) fn millis(ms: f64) -> String {
    if !ms.is_finite() {
        return "–".to_owned();
    }
    match ms.abs() {
        a if a >= 120_000.0 => duration(Duration::from_secs_f64(a / 1000.0)),
        a if a >= 10_000.0 => format!("{:.1} s", ms / 1000.0),
        a if a >= 10.0 => format!("{} ms", whole(ms)),
        a if a >= 1.0 => format!("{ms:.1} ms"),
        a if a >= 0.01 => format!("{ms:.2} ms"),
        0.0 => "0 ms".to_owned(),
        _ => format!("{:.1} µs", ms * 1000.0),
    }
}

/// A latency.
pub(crate) fn latency(d: Duration) -> String {
    millis(d.as_secs_f64() * 1000.0)
}

/// Nanoseconds as a latency.
pub(crate) fn nanos(n: u64) -> String {
    millis(n as f64 / 1e6)
}

/// A stretch of time in its two largest units: `12 s`, `3 min 5 s`, `2 h 4 min`, `6 d 4 h`.
pub(crate) fn duration(d: Duration) -> String {
    let s = d.as_secs();
    match s {
        0..60 => format!("{s} s"),
        60..3600 if s.is_multiple_of(60) => format!("{} min", s / 60),
        60..3600 => format!("{} min {} s", s / 60, s % 60),
        3600..86_400 if s % 3600 < 60 => format!("{} h", s / 3600),
        3600..86_400 => format!("{} h {} min", s / 3600, s / 60 % 60),
        _ if s % 86_400 < 3600 => format!("{} d", s / 86_400),
        _ => format!("{} d {} h", s / 86_400, s / 3600 % 24),
    }
}

/// Time left on a clock: `3.2 s`, `4:12`, `1:04:12`.
pub(crate) fn countdown(d: Duration) -> String {
    let s = d.as_secs();
    match s {
        0..10 => format!("{:.1} s", d.as_secs_f64()),
        10..60 => format!("{s} s"),
        60..3600 => format!("{}:{:02}", s / 60, s % 60),
        _ => format!("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60),
    }
}

/// A rate: `0`, `0.4/s`, `8.2/s`, `131/s`, `12,400/s`.
pub(crate) fn rate(per_second: f64) -> String {
    match per_second {
        r if r <= 0.0 || !r.is_finite() => "0/s".to_owned(),
        r if r < 0.1 => format!("{:.1}/min", r * 60.0),
        r if r < 10.0 => format!("{r:.1}/s"),
        r => format!("{}/s", whole(r)),
    }
}

/// A share as percents: `0%`, `<0.1%`, `2.1%`, `38%`.
pub(crate) fn percent(share: f64) -> String {
    let p = share * 100.0;
    match p {
        p if p <= 0.0 || !p.is_finite() => "0%".to_owned(),
        p if p < 0.1 => "<0.1%".to_owned(),
        p if p < 10.0 => format!("{p:.1}%"),
        p if p < 100.0 && p > 99.0 => format!("{:.1}%", (p * 10.0).floor() / 10.0),
        p => format!("{p:.0}%"),
    }
}

/// A whole number with thousands apart: `1,204`.
pub(crate) fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// A number rounded to a whole one, thousands apart.
pub(crate) fn whole(x: f64) -> String {
    let sign = if x <= -0.5 { "−" } else { "" };
    format!("{sign}{}", count(x.abs().round() as u64))
}

/// Any value with three digits that count: `0.0123`, `4.56`, `123`, `12,300`, `1.2 M`.
pub(crate) fn value(x: f64) -> String {
    match x.abs() {
        0.0 => "0".to_owned(),
        a if a >= 1e9 => format!("{:.2} G", x / 1e9),
        a if a >= 1e6 => format!("{:.2} M", x / 1e6),
        a if a >= 100.0 => whole(x),
        a if a >= 10.0 => format!("{x:.1}"),
        a if a >= 1.0 => format!("{x:.2}"),
        a if a >= 0.001 => format!("{x:.3}"),
        _ => format!("{x:.1e}"),
    }
}

/// Bytes: `812 B`, `1.4 MB`.
pub(crate) fn bytes(n: u64) -> String {
    match n {
        0..1000 => format!("{n} B"),
        1000..1_000_000 => format!("{:.1} kB", n as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", n as f64 / 1e6),
        _ => format!("{:.2} GB", n as f64 / 1e9),
    }
}

/// `1 span`, `2 spans`: a count with its noun, which takes an s.
pub(crate) fn plural(n: u64, noun: &str) -> String {
    format!("{} {noun}{}", count(n), if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_few_digits() {
        assert_eq!(
            [millis(0.4), millis(18.2), millis(1420.4), millis(12_400.0)],
            ["0.40 ms", "18 ms", "1,420 ms", "12.4 s"]
        );
        assert_eq!([rate(0.0), rate(8.16), rate(131.2), rate(12_400.0)], ["0/s", "8.2/s", "131/s", "12,400/s"]);
        assert_eq!([percent(0.0), percent(0.0004), percent(0.021), percent(0.381)], ["0%", "<0.1%", "2.1%", "38%"]);
        assert_eq!([percent(0.9996), percent(1.0)], ["99.9%", "100%"]);
        assert_eq!([count(0), count(999), count(1204), count(1_234_567)], ["0", "999", "1,204", "1,234,567"]);
        assert_eq!(whole(-1234.4), "−1,234");
        let spans = [5, 185, 7440, 533_000].map(|s| duration(Duration::from_secs(s)));
        assert_eq!(spans, ["5 s", "3 min 5 s", "2 h 4 min", "6 d 4 h"]);
        let left = [3.24, 42.0, 252.0, 3852.0].map(|s| countdown(Duration::from_secs_f64(s)));
        assert_eq!(left, ["3.2 s", "42 s", "4:12", "1:04:12"]);
    }
}
