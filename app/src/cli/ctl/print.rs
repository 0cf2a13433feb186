//! Tables and JSON on stdout.

use std::io::Write;

use anyhow::Result;
use fuseboard_api::UnixNanos;
use serde::Serialize;

/// Prints one JSON value, indented.
pub(in crate::cli) fn json(value: &impl Serialize) -> Result<()> {
    line(&serde_json::to_string_pretty(value)?)
}

/// Prints one JSON value in a line.
pub(super) fn json_line(value: &impl Serialize) -> Result<()> {
    line(&serde_json::to_string(value)?)
}

/// Prints a line.
pub(in crate::cli) fn line(text: &str) -> Result<()> {
    writeln!(std::io::stdout().lock(), "{text}")?;
    Ok(())
}

/// Prints rows under a header, columns as wide as they need to be, numbers to the right.
/// Without rows the header stands alone and `none` says why, on stderr.
pub(super) fn table<const N: usize>(header: [&str; N], rows: &[[String; N]], none: &str) -> Result<()> {
    let mut widths = header.map(|h| h.chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut out = std::io::stdout().lock();
    let mut write = |cells: [&str; N]| -> Result<()> {
        let mut text = String::new();
        for (cell, width) in cells.iter().zip(widths) {
            let pad = " ".repeat(width - cell.chars().count());
            let numeric = cell.chars().next().is_some_and(|c| c.is_ascii_digit()) && width < 14;
            text += &if numeric { format!("{pad}{cell}  ") } else { format!("{cell}{pad}  ") };
        }
        writeln!(out, "{}", text.trim_end())?;
        Ok(())
    };
    write(header)?;
    rows.iter().try_for_each(|row| write(std::array::from_fn(|i| row[i].as_str())))?;
    if rows.is_empty() && !none.is_empty() {
        eprintln!("{none}");
    }
    Ok(())
}

/// An instant for people and programs alike: RFC 3339, UTC, milliseconds.
pub(super) fn instant(t: UnixNanos) -> String {
    let nanos = std::time::Duration::from_nanos(u64::try_from(t.0).unwrap_or(0));
    humantime::format_rfc3339_millis(std::time::UNIX_EPOCH + nanos).to_string()
}

/// Milliseconds with as many digits as they deserve.
pub(super) fn ms(duration: Option<std::time::Duration>) -> String {
    duration.map_or_else(
        || "-".to_owned(),
        |d| {
            let ms = d.as_secs_f64() * 1e3;
            if ms < 10.0 { format!("{ms:.1} ms") } else { format!("{ms:.0} ms") }
        },
    )
}

/// A share in percent.
pub(super) fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}
