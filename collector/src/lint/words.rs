//! Numbers as people read them.

/// Milliseconds: `0.8 ms`, `45 ms`, `2,400 ms`.
pub(super) fn ms(value: f64) -> String {
    if value < 10.0 { format!("{value:.1} ms") } else { format!("{} ms", grouped(value)) }
}

/// A rate a second: `0.02/s`, `3.5/s`, `120/s`.
pub(super) fn per_sec(value: f64) -> String {
    if value < 0.1 {
        format!("{value:.3}/s")
    } else if value < 10.0 {
        format!("{value:.1}/s")
    } else {
        format!("{}/s", grouped(value))
    }
}

/// A share as per cent: `0.3 %`, `45 %`.
pub(super) fn percent(share: f64) -> String {
    let value = share * 100.0;
    if value > 0.0 && value < 10.0 { format!("{value:.1} %") } else { format!("{value:.0} %") }
}

/// A factor: `1.2x`, `27x`.
pub(super) fn times(value: f64) -> String {
    if value < 10.0 { format!("{value:.1}x") } else { format!("{}x", grouped(value)) }
}

/// A length of time for people: `10 s`, `5 min`, `2 h`.
pub(super) fn lasting(seconds: f64) -> String {
    match seconds {
        s if s < 1.0 => format!("{:.0} ms", s * 1e3),
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7_200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.0} h", s / 3_600.0),
        s => format!("{:.0} days", s / 86_400.0),
    }
}

/// A count, or a number large enough to be one, with its thousands apart.
pub(super) fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.max(0.0));
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 call`, `5 calls`.
pub(super) fn count(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(n as f64), if n == 1 { one } else { many })
}

/// A setting's value that people would choose: two digits that matter, rounded up.
pub(super) fn round_up(value: f64) -> u64 {
    let value = value.max(1.0);
    let step = 10f64.powf((value.log10().floor() - 1.0).max(0.0));
    ((value / step).ceil() * step) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_people_write_them() {
        assert_eq!((ms(0.84), ms(45.2), ms(2_400.0)), ("0.8 ms".into(), "45 ms".into(), "2,400 ms".into()));
        assert_eq!(
            (per_sec(0.016), per_sec(3.52), per_sec(1_200.0)),
            ("0.016/s".into(), "3.5/s".into(), "1,200/s".into())
        );
        assert_eq!((percent(0.0), percent(0.003), percent(0.45)), ("0 %".into(), "0.3 %".into(), "45 %".into()));
        assert_eq!((times(1.2), times(27.0)), ("1.2x".into(), "27x".into()));
        assert_eq!((lasting(0.5), lasting(10.0), lasting(300.0)), ("500 ms".into(), "10 s".into(), "5 min".into()));
        assert_eq!((count(1, "call", "calls"), grouped(1_234_567.0)), ("1 call".into(), "1,234,567".into()));
        assert_eq!((round_up(3.2), round_up(847.0), round_up(1_234.0)), (4, 850, 1_300));
    }
}
