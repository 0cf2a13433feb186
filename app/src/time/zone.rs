//! How instants are written.

use fuseboard_api::UnixNanos;

/// Where the clock hands are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Zone {
    /// Seconds east of UTC.
    pub(crate) offset: i32,
}

/// A day, hour and so on of one instant.
struct Civil {
    year: i64,
    month: u32,
    day: u32,
    hour: u32,
    minute: u32,
    second: u32,
    milli: u32,
}

impl Zone {
    /// Coordinated universal time.
    pub(crate) const UTC: Self = Self { offset: 0 };

    /// The zone of this machine at an instant: `/etc/localtime` or the file that `TZ` names; UTC when neither can be read.
    pub(crate) fn local(at: UnixNanos) -> Self {
        let path = match std::env::var("TZ") {
            Ok(name) if name.starts_with('/') => name,
            Ok(name) if !name.is_empty() => format!("/usr/share/zoneinfo/{}", name.trim_start_matches(':')),
            _ => "/etc/localtime".to_owned(),
        };
        let offset = std::fs::read(path).ok().and_then(|bytes| tzif_offset(&bytes, at.0.div_euclid(1_000_000_000)));
        Self { offset: offset.unwrap_or(0) }
    }

    /// `14:02`.
    pub(crate) fn minute(self, t: UnixNanos) -> String {
        let c = self.civil(t);
        format!("{:02}:{:02}", c.hour, c.minute)
    }

    /// `14:02:11`.
    pub(crate) fn time(self, t: UnixNanos) -> String {
        let c = self.civil(t);
        format!("{:02}:{:02}:{:02}", c.hour, c.minute, c.second)
    }

    /// `14:02:11.2`.
    pub(crate) fn tenth(self, t: UnixNanos) -> String {
        let c = self.civil(t);
        format!("{:02}:{:02}:{:02}.{}", c.hour, c.minute, c.second, c.milli / 100)
    }

    /// `14:02:11.204`.
    pub(crate) fn milli(self, t: UnixNanos) -> String {
        let c = self.civil(t);
        format!("{:02}:{:02}:{:02}.{:03}", c.hour, c.minute, c.second, c.milli)
    }

    /// `2026-11-20`.
    pub(crate) fn date(self, t: UnixNanos) -> String {
        let c = self.civil(t);
        format!("{:04}-{:02}-{:02}", c.year, c.month, c.day)
    }

    /// `2026-11-20 14:02:11`.
    pub(crate) fn date_time(self, t: UnixNanos) -> String {
        format!("{} {}", self.date(t), self.time(t))
    }

    /// Civil date from days since 1970-01-01, after Howard Hinnant, "chrono-compatible low-level date algorithms".
    fn civil(self, t: UnixNanos) -> Civil {
        let millis = t.0.div_euclid(1_000_000).saturating_add(i64::from(self.offset) * 1000);
        let (days, rest) = (millis.div_euclid(86_400_000), millis.rem_euclid(86_400_000));
        let z = days + 719_468;
        let (era, doe) = (z.div_euclid(146_097), z.rem_euclid(146_097));
        let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
        let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
        let mp = (5 * doy + 2) / 153;
        let month = if mp < 10 { mp + 3 } else { mp - 9 };
        Civil {
            year: yoe + era * 400 + i64::from(month <= 2),
            month: month as u32,
            day: (doy - (153 * mp + 2) / 5 + 1) as u32,
            hour: (rest / 3_600_000) as u32,
            minute: (rest / 60_000 % 60) as u32,
            second: (rest / 1000 % 60) as u32,
            milli: (rest % 1000) as u32,
        }
    }
}

/// The offset in force at `seconds`, from a compiled zone file (RFC 9636), version 2 or later: the last transition before
/// it. The rule after the last transition is not read; files list transitions to 2037.
fn tzif_offset(bytes: &[u8], seconds: i64) -> Option<i32> {
    const HEADER: usize = 44;
    let count = |at: usize| -> Option<usize> {
        let four: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_be_bytes(four)).ok()
    };
    if bytes.get(..4)? != b"TZif" || *bytes.get(4)? < b'2' {
        return None;
    }
    let sizes = |at: usize| -> Option<[usize; 6]> {
        Some([count(at + 20)?, count(at + 24)?, count(at + 28)?, count(at + 32)?, count(at + 36)?, count(at + 40)?])
    };
    // The first block holds 4-byte times for old readers; the second, after it, the same with 8 bytes.
    let [isut, isstd, leap, times, types, chars] = sizes(0)?;
    let second = HEADER + times * 5 + types * 6 + chars + leap * 8 + isstd + isut;
    let [_, _, _, times, types, _] = sizes(second)?;
    let first_time = second + HEADER;
    let mut kind = 0_usize;
    for i in 0..times {
        let eight: [u8; 8] = bytes.get(first_time + i * 8..first_time + i * 8 + 8)?.try_into().ok()?;
        if i64::from_be_bytes(eight) > seconds {
            break;
        }
        kind = usize::from(*bytes.get(first_time + times * 8 + i)?);
    }
    if kind >= types {
        return None;
    }
    let at = first_time + times * 9 + kind * 6;
    let four: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
    Some(i32::from_be_bytes(four))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_written() {
        let t = UnixNanos(1_700_000_000_987_000_000);
        assert_eq!(Zone::UTC.date_time(t), "2023-11-14 22:13:20");
        assert_eq!(Zone { offset: 7200 }.milli(t), "00:13:20.987");
        assert_eq!(Zone { offset: 7200 }.date(t), "2023-11-15");
        assert_eq!(Zone::UTC.date(UnixNanos(-1)), "1969-12-31");
        assert_eq!(Zone::UTC.date(UnixNanos(951_782_400_000_000_000)), "2000-02-29");
    }
}
