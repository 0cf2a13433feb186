//! Sizes and ages as people write them.

use std::time::Duration;

/// Why a text is no size or age.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no {what}; write {examples}")]
pub struct BadUnit {
    what: &'static str,
    examples: &'static str,
    text: String,
}

/// Reads a size: `500MB`, `8GiB`, `1.5T`, or a plain number of bytes. A unit with an `i`, or a letter alone, counts in
/// 1,024; one with a `B` in 1,000.
///
/// # Errors
/// Says how sizes are written.
pub fn size(text: &str) -> Result<u64, BadUnit> {
    const UNITS: [(&str, f64); 16] = [
        ("", 1.0),
        ("b", 1.0),
        ("kb", 1e3),
        ("mb", 1e6),
        ("gb", 1e9),
        ("tb", 1e12),
        ("k", 1024.0),
        ("m", 1048576.0),
        ("g", 1073741824.0),
        ("t", 1099511627776.0),
        ("kib", 1024.0),
        ("mib", 1048576.0),
        ("gib", 1073741824.0),
        ("tib", 1099511627776.0),
        ("bytes", 1.0),
        ("byte", 1.0),
    ];
    let bad = || BadUnit { what: "size", examples: "500MB, 8GiB or a number of bytes", text: text.to_owned() };
    number(text, &UNITS).map(|bytes| bytes as u64).ok_or_else(bad)
}

/// Reads an age: `90s`, `30m`, `36h`, `7d`, `2w`.
///
/// # Errors
/// Says how ages are written.
pub fn age(text: &str) -> Result<Duration, BadUnit> {
    const UNITS: [(&str, f64); 5] = [("s", 1.0), ("m", 60.0), ("h", 3600.0), ("d", 86_400.0), ("w", 604_800.0)];
    let bad = || BadUnit { what: "age", examples: "90s, 30m, 36h, 7d or 2w", text: text.to_owned() };
    number(text, &UNITS).and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).ok_or_else(bad)
}

/// A positive number with a unit of the list.
fn number(text: &str, units: &[(&str, f64)]) -> Option<f64> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end)?;
    let unit = unit.trim().to_ascii_lowercase();
    let factor = units.iter().find(|(name, _)| *name == unit)?.1;
    let value = number.parse::<f64>().ok()? * factor;
    (value > 0.0 && value < 9e18).then_some(value)
}

/// A number of bytes in the largest unit that leaves it at least 1: `64 MiB`, `1.5 GiB`.
#[must_use]
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let step = (bytes.max(1).ilog2() / 10).min(4);
    let value = bytes as f64 / f64::from(1u32 << (10 * step.min(3))) / if step == 4 { 1024.0 } else { 1.0 };
    let unit = UNITS.get(step as usize).copied().unwrap_or_default();
    if value.fract() == 0.0 { format!("{value} {unit}") } else { format!("{value:.1} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_ages_are_read_as_written() {
        for (text, bytes) in [
            ("1", 1),
            ("500MB", 500_000_000),
            ("8GiB", 8 << 30),
            ("1.5 g", 3 << 29),
            ("64k", 65_536),
            ("2TB", 2_000_000_000_000),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for (text, seconds) in [("90s", 90), ("1.5h", 5_400), ("7d", 604_800), ("2W", 1_209_600)] {
            assert_eq!(age(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "0", "-1", "MB", "1 parsec", "1e9", "99999999999999999999", "1.2.3"] {
            assert!(size(text).is_err() && age(text).is_err(), "{text}");
        }
        assert!(age("5").is_err(), "an age needs its unit");
        let told = size("much").expect_err("no size").to_string();
        assert_eq!(told, "\"much\" is no size; write 500MB, 8GiB or a number of bytes");
    }

    #[test]
    fn bytes_are_written_short() {
        for (n, text) in [
            (0, "0 bytes"),
            (1023, "1023 bytes"),
            (1024, "1 KiB"),
            (64 << 20, "64 MiB"),
            (3 << 29, "1.5 GiB"),
            (3 << 40, "3 TiB"),
        ] {
            assert_eq!(bytes(n), text);
        }
    }
}
