//! Lengths of time on the command line.

use std::time::Duration;

/// Longer ones mean nothing here, and adding them to a clock could overflow it.
const MOST: Duration = Duration::from_secs(100 * 366 * 24 * 3600);

/// A length of time that may be zero: `500ms`, `30s`, `1h 30m`.
pub(super) fn any(text: &str) -> Result<Duration, String> {
    let parsed = humantime::parse_duration(text).map_err(|_| {
        format!("{text:?} is no length of time; write a number with its unit, like 500ms, 30s, 5m or 1h")
    })?;
    if parsed <= MOST { Ok(parsed) } else { Err("at most 100 years make sense here".to_owned()) }
}

/// A length of time above zero.
pub(super) fn lasting(text: &str) -> Result<Duration, String> {
    any(text).and_then(|d| if d.is_zero() { Err("it must be longer than nothing".to_owned()) } else { Ok(d) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_have_units_and_bounds() {
        assert_eq!(any("1h 30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(any("0s"), Ok(Duration::ZERO));
        assert!(any("60").unwrap_err().contains("unit"));
        assert!(any("-5s").is_err());
        assert!(any("200y").unwrap_err().contains("100 years"));
        assert!(any("99999999999999999999y").is_err());
        assert!(lasting("0s").is_err());
        assert_eq!(lasting("250ms"), Ok(Duration::from_millis(250)));
    }
}
