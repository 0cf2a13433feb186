//! The line that every figure is printed as.

/// Prints `figure NAME = VALUE UNIT | rival NAME = VALUE UNIT | ratio X`; the ratio is the value's to the rival's.
pub(crate) fn figure(name: &str, value: f64, unit: &str, rival: &str, rivals: f64) {
    println!(
        "figure {name} = {} {unit} | {rival} = {} {unit} | ratio {:.2}",
        short(value),
        short(rivals),
        value / rivals
    );
}

/// Three digits or so, whatever the size.
fn short(value: f64) -> String {
    match value.abs() {
        v if v >= 1000.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}
