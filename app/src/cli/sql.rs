//! `fuseboard sql`: statements by hand over a Fuseboard file.

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use fuseboard_collector::sql::{Cell, Database, SqlError};

/// For `--help`.
pub(super) const HELP: &str = "\
Tables:
  spans          trace_id span_id parent_id service instance version name kind status status_message start end duration_ms
                 attributes resource scope scope_version events links trace_state flags arrival
  logs           time severity severity_text body event_name attributes service instance version trace_id span_id arrival
  metric_points  time service instance name unit kind value count sum attributes arrival
  edges          second caller callee operation instance version calls errors refused attempts arrival
  and every table of the file as it is: SELECT name FROM sqlite_schema
Times are Unix nanoseconds, `second` seconds; attributes, resource, events and links are JSON.
Functions: attr(attributes, 'http.route') is a value, iso(start) a time for people, and all of SQLite's.
A condition on trace_id, service or start keeps a statement from reading everything.

Examples:
  fuseboard sql \"SELECT service, count(*), avg(duration_ms) FROM spans GROUP BY service\"
  fuseboard sql --data bank.fuse --csv \"SELECT iso(start), name, attr(attributes,'http.route') FROM spans WHERE status='error'\"";

/// Arguments of `sql`.
#[derive(Args)]
pub(super) struct SqlArgs {
    /// The Fuseboard file; default: the collector's own file of this user. It may be written meanwhile.
    #[arg(long, value_name = "FILE", env = "FUSEBOARD_DATA")]
    data: Option<PathBuf>,
    /// One SELECT of SQLite's language.
    #[arg(value_name = "STATEMENT")]
    statement: String,
    /// Print a JSON list of objects.
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Print CSV with a header.
    #[arg(long)]
    csv: bool,
    /// Rows printed at most; 0 prints all.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    limit: u64,
}

/// Carries out the statement.
pub(super) fn run(args: &SqlArgs) -> Result<()> {
    let data = args.data.clone().unwrap_or_else(fuseboard_collector::default_data_file);
    if !data.exists() {
        bail!("{} does not exist; name a Fuseboard file with --data", data.display());
    }
    let database = Database::open(&data)?;
    let out = io::BufWriter::new(io::stdout().lock());
    let printer: Box<dyn Printer> = match (args.json, args.csv) {
        (true, _) => Box::new(JsonList { out, names: Vec::new(), any: false }),
        (_, true) => Box::new(Csv { out }),
        _ => Box::new(Table { out, widths: Vec::new(), waiting: Vec::new() }),
    };
    print(&database, args, printer)
}

/// Rows taken on, in one of the forms.
trait Printer {
    fn header(&mut self, names: &[String]) -> io::Result<()>;
    fn row(&mut self, row: &[Cell<'_>]) -> io::Result<()>;
    fn end(&mut self) -> io::Result<()>;
}

fn print(database: &Database, args: &SqlArgs, printer: Box<dyn Printer + '_>) -> Result<()> {
    let printer = std::cell::RefCell::new(printer);
    let (mut failed, mut rows, mut cut) = (None, 0, false);
    let mut header = Ok(());
    let done = database.query(
        &args.statement,
        |names| {
            header = printer.borrow_mut().header(names);
            header.is_ok()
        },
        |row| {
            cut = args.limit > 0 && rows == args.limit;
            if cut {
                return false;
            }
            rows += 1;
            failed = printer.borrow_mut().row(row).err();
            failed.is_none()
        },
    );
    header?;
    match done {
        Err(SqlError::Stopped) => failed.map_or(Ok(()), Err)?,
        other => other?,
    }
    printer.borrow_mut().end()?;
    if cut {
        eprintln!("The first {} rows; --limit 0 prints all.", args.limit);
    }
    Ok(())
}

/// A cell as text.
fn text(cell: &Cell<'_>) -> String {
    match cell {
        Cell::Null => String::new(),
        Cell::Int(i) => i.to_string(),
        Cell::Real(d) => d.to_string(),
        Cell::Text(s) => (*s).to_owned(),
        Cell::Blob(b) => b.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

/// Rows that a table looks at before it settles how wide its columns are.
const LOOKED_AT: usize = 500;
/// Letters of a cell that make a column wider.
const WIDEST: usize = 60;

/// Aligned columns, numbers to the right.
struct Table<W> {
    out: W,
    widths: Vec<usize>,
    /// The header and the first rows: text, and whether it is a number. Empty once the widths are settled.
    waiting: Vec<Vec<(String, bool)>>,
}

impl<W: Write> Table<W> {
    fn settle(&mut self) -> io::Result<()> {
        for row in std::mem::take(&mut self.waiting) {
            self.write(&row)?;
        }
        Ok(())
    }

    fn write(&mut self, row: &[(String, bool)]) -> io::Result<()> {
        let mut line = String::new();
        for ((cell, number), width) in row.iter().zip(&self.widths) {
            let pad = " ".repeat(width.saturating_sub(cell.chars().count()));
            line += &if *number { format!("{pad}{cell}  ") } else { format!("{cell}{pad}  ") };
        }
        writeln!(self.out, "{}", line.trim_end())
    }
}

impl<W: Write> Printer for Table<W> {
    fn header(&mut self, names: &[String]) -> io::Result<()> {
        self.widths = names.iter().map(|name| name.chars().count()).collect();
        self.waiting.push(names.iter().map(|name| (name.clone(), false)).collect());
        Ok(())
    }

    fn row(&mut self, row: &[Cell<'_>]) -> io::Result<()> {
        // A line is a row.
        let plain = |cell: &Cell<'_>| text(cell).replace(['\n', '\r', '\t'], " ");
        let number = |cell: &Cell<'_>| matches!(cell, Cell::Int(_) | Cell::Real(_));
        let row: Vec<(String, bool)> = row.iter().map(|cell| (plain(cell), number(cell))).collect();
        if self.waiting.is_empty() {
            return self.write(&row);
        }
        for (width, (cell, _)) in self.widths.iter_mut().zip(&row) {
            *width = (*width).max(cell.chars().count().min(WIDEST));
        }
        self.waiting.push(row);
        if self.waiting.len() > LOOKED_AT { self.settle() } else { Ok(()) }
    }

    fn end(&mut self) -> io::Result<()> {
        self.settle()?;
        self.out.flush()
    }
}

/// RFC 4180.
struct Csv<W> {
    out: W,
}

impl<W: Write> Csv<W> {
    fn line(&mut self, cells: impl Iterator<Item = String>) -> io::Result<()> {
        for (i, cell) in cells.enumerate() {
            let comma = if i == 0 { "" } else { "," };
            if cell.contains(['"', ',', '\n', '\r']) {
                write!(self.out, "{comma}\"{}\"", cell.replace('"', "\"\""))?;
            } else {
                write!(self.out, "{comma}{cell}")?;
            }
        }
        self.out.write_all(b"\r\n")
    }
}

impl<W: Write> Printer for Csv<W> {
    fn header(&mut self, names: &[String]) -> io::Result<()> {
        self.line(names.iter().cloned())
    }

    fn row(&mut self, row: &[Cell<'_>]) -> io::Result<()> {
        self.line(row.iter().map(text))
    }

    fn end(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// A JSON list, an object a row, in the statement's order.
struct JsonList<W> {
    out: W,
    names: Vec<String>,
    any: bool,
}

impl<W: Write> Printer for JsonList<W> {
    fn header(&mut self, names: &[String]) -> io::Result<()> {
        self.names = names.iter().map(|name| serde_json::Value::from(name.as_str()).to_string()).collect();
        write!(self.out, "[")
    }

    fn row(&mut self, row: &[Cell<'_>]) -> io::Result<()> {
        write!(self.out, "{}\n  {{", if self.any { "," } else { "" })?;
        self.any = true;
        for (i, (name, cell)) in self.names.iter().zip(row).enumerate() {
            let value = match cell {
                Cell::Null => serde_json::Value::Null,
                Cell::Int(i) => (*i).into(),
                Cell::Real(d) => (*d).into(),
                other => text(other).into(),
            };
            write!(self.out, "{}{name}: {value}", if i == 0 { "" } else { ", " })?;
        }
        write!(self.out, "}}")
    }

    fn end(&mut self) -> io::Result<()> {
        writeln!(self.out, "{}]", if self.any { "\n" } else { "" })?;
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: [[Cell<'static>; 3]; 2] = [
        [Cell::Int(7), Cell::Text("a,\"b\"\nc"), Cell::Null],
        [Cell::Real(0.5), Cell::Text("ü"), Cell::Blob(&[1, 255])],
    ];

    fn printed(make: impl FnOnce(&mut Vec<u8>) -> Box<dyn Printer + '_>) -> String {
        let mut out = Vec::new();
        let mut printer = make(&mut out);
        printer.header(&["n".into(), "text".into(), "x".into()]).unwrap();
        ROWS.iter().for_each(|row| printer.row(row).unwrap());
        printer.end().unwrap();
        drop(printer);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_form_keeps_every_cell() {
        let csv = printed(|out| Box::new(Csv { out }));
        assert_eq!(csv, "n,text,x\r\n7,\"a,\"\"b\"\"\nc\",\r\n0.5,ü,01ff\r\n");
        let json = printed(|out| Box::new(JsonList { out, names: Vec::new(), any: false }));
        let parsed: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(parsed[0], serde_json::json!({"n": 7, "text": "a,\"b\"\nc", "x": null}));
        assert_eq!(parsed[1]["x"], "01ff");
        let table = printed(|out| Box::new(Table { out, widths: Vec::new(), waiting: Vec::new() }));
        assert_eq!(table, "n    text     x\n  7  a,\"b\" c\n0.5  ü        01ff\n");
    }
}
