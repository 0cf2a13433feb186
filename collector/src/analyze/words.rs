//! Sentences with their numbers.

use fuseboard_api::forecast::{Breach, Quantity};
use fuseboard_api::graph::Severity;

use super::normal::{Band, ENOUGH};
use super::series::STEP;

/// From this chance on a crossing is more likely than not.
const LIKELY: f64 = 0.5;

/// What a series does now, and how bad that is.
pub(super) fn of(
    quantity: Quantity,
    now: Option<f64>,
    band: Option<Band>,
    began: Option<i64>,
    breach: Option<&Breach>,
    known: usize,
    end: i64,
) -> (String, Severity) {
    let Some(band) = band else {
        let missing = ENOUGH.saturating_sub(known) as i64 * STEP;
        return (format!("Not enough data yet: {missing} s more are needed to say what is normal."), Severity::Well);
    };
    let Some(now) = now else { return ("No calls in the newest step.".to_owned(), Severity::Well) };
    if let Some(began) = began {
        let text = format!(
            "{} {} for {} s; normal is {} to {}.",
            name(quantity),
            amount(quantity, now),
            end - began,
            amount(quantity, band.lo),
            amount(quantity, band.hi)
        );
        let failed = quantity == Quantity::ErrorRatio && now >= 0.1;
        return (text, if failed { Severity::Failed } else { Severity::AtRisk });
    }
    if let Some(breach) = breach {
        let seconds = breach.earliest.0 / 1_000_000_000 - end;
        let text = format!(
            "{} {} may meet the {} in {} ({:.0} %).",
            name(quantity),
            amount(quantity, now),
            breach.limit,
            lasting(seconds.max(STEP)),
            breach.probability * 100.0
        );
        return (text, if breach.probability >= LIKELY { Severity::AtRisk } else { Severity::Well });
    }
    let text = format!(
        "{} {}, normal ({} to {}).",
        name(quantity),
        amount(quantity, now),
        amount(quantity, band.lo),
        amount(quantity, band.hi)
    );
    (text, Severity::Well)
}

/// How a sentence begins.
fn name(quantity: Quantity) -> &'static str {
    match quantity {
        Quantity::Rate => "Rate",
        Quantity::ErrorRatio => "Errors",
        Quantity::P95 => "p95",
    }
}

/// A value with its unit.
pub(super) fn amount(quantity: Quantity, value: f64) -> String {
    match quantity {
        Quantity::Rate if value < 10.0 => format!("{value:.1}/s"),
        Quantity::Rate => format!("{value:.0}/s"),
        Quantity::ErrorRatio => format!("{:.1} %", value * 100.0),
        Quantity::P95 if value < 10.0 => format!("{value:.1} ms"),
        Quantity::P95 => format!("{value:.0} ms"),
    }
}

fn lasting(seconds: i64) -> String {
    if seconds < 90 { format!("{seconds} s") } else { format!("{} min", (seconds + 30) / 60) }
}

#[cfg(test)]
mod tests {
    use fuseboard_api::UnixNanos;

    use super::*;

    #[test]
    fn a_sentence_says_what_how_much_since_when_and_compared_with_what() {
        let band = Band { lo: 10.0, mid: 20.0, hi: 30.0 };
        let (text, severity) = of(Quantity::P95, Some(900.0), Some(band), Some(100), None, 50, 140);
        assert_eq!(text, "p95 900 ms for 40 s; normal is 10 ms to 30 ms.");
        assert_eq!(severity, Severity::AtRisk);
        let (text, _) = of(Quantity::Rate, Some(5.0), None, None, None, 4, 140);
        assert_eq!(text, "Not enough data yet: 40 s more are needed to say what is normal.");
        let breach = Breach {
            limit: "attempt timeout 800 ms".to_owned(),
            value: 800.0,
            earliest: UnixNanos(260_000_000_000),
            latest: None,
            probability: 0.62,
        };
        let (text, _) = of(Quantity::P95, Some(25.0), Some(band), None, Some(&breach), 50, 140);
        assert_eq!(text, "p95 25 ms may meet the attempt timeout 800 ms in 2 min (62 %).");
    }
}
