//! JSON of every kind: documents of any length, read element by element, and documents a line.

use std::fmt;
use std::rc::Rc;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::gather::Gather;
use super::input::{Meter, Seen, Stream};
use super::{Format, jaeger};
use crate::files::zipkin;
use crate::ingest::{Signal, Telemetry, json};

/// Reads values until the stream ends.
///
/// A line that makes no sense is left out where every line is a document of its own; elsewhere the reading ends there.
pub(super) fn read(stream: Stream<'_>, gather: &mut Gather<'_>) -> Format {
    let mut meter = match Meter::new(stream, gather.most()) {
        Ok(meter) => meter,
        Err(e) => {
            gather.fault(format!("line 1: cannot be read: {e}"));
            return Format::OtlpJson;
        }
    };
    let seen = meter.seen();
    let mut reading = Reading { gather, seen: seen.clone(), format: None, zipkin: Vec::new() };
    let mut lines = Lines::default();
    while !reading.gather.stopped() {
        let base = seen.line() - 1;
        match values(&mut meter, &mut reading, &mut lines) {
            Ok(()) => break,
            Err(_) if reading.gather.stopped() => break,
            Err(error) => {
                // A text that is cut off ends with the line break, which counts to the next line.
                let at = base + error.line() as u64 - u64::from(error.column() == 0 && error.line() > 1);
                reading.syntax(&error, at);
                if error.is_io() || !(at == lines.began || lines.one_each) {
                    break;
                }
                if seen.line() > at {
                    // The parser had looked at what comes next.
                    meter.unread();
                } else if !meter.skip_line().unwrap_or(false) {
                    break;
                }
            }
        }
    }
    reading.zipkin_read();
    reading.format.unwrap_or(Format::OtlpJson)
}

/// Whether documents stand one a line.
#[derive(Default)]
struct Lines {
    /// The line on which the present document began.
    began: u64,
    /// Whether one was read, and each ended on the line that it began on.
    one_each: bool,
    several: bool,
}

/// Reads values up to the first error.
fn values(meter: &mut Meter<'_>, reading: &mut Reading<'_, '_>, lines: &mut Lines) -> serde_json::Result<()> {
    let seen = reading.seen.clone();
    let mut json = serde_json::Deserializer::from_reader(meter);
    // `end` looks past white space for another value.
    while json.end().is_err() {
        seen.mark();
        lines.began = seen.line();
        Document(reading).deserialize(&mut json)?;
        lines.several |= seen.line() > lines.began + 1;
        lines.one_each = !lines.several;
    }
    Ok(())
}

/// The reading of one file.
struct Reading<'g, 's> {
    gather: &'g mut Gather<'s>,
    seen: Rc<Seen>,
    format: Option<Format>,
    /// Zipkin's spans that wait to be translated: halves of one call find each other among them.
    zipkin: Vec<(u64, Value)>,
}

/// Zipkin's spans translated at a time.
const ZIPKIN: usize = 50_000;

/// The lists of OTLP's requests, by their names in JSON.
fn signal_named(key: &str) -> Option<Signal> {
    match key {
        "resourceSpans" => Some(Signal::Traces),
        "resourceLogs" => Some(Signal::Logs),
        "resourceMetrics" => Some(Signal::Metrics),
        _ => None,
    }
}

fn key_of(signal: Signal) -> &'static str {
    match signal {
        Signal::Traces => "resourceSpans",
        Signal::Logs => "resourceLogs",
        Signal::Metrics => "resourceMetrics",
    }
}

impl Reading<'_, '_> {
    fn is(&mut self, format: Format) {
        self.format.get_or_insert(format);
    }

    fn fault(&mut self, sentence: &str) {
        let line = self.seen.line();
        self.gather.fault(format!("line {line}: {sentence}"));
    }

    /// Tells what the parser did not like.
    fn syntax(&mut self, error: &serde_json::Error, line: u64) {
        if self.seen.too_long() {
            let most = self.gather.most() >> 20;
            return self.gather.fault(format!("line {line}: a single record is longer than {most} MiB; split it"));
        }
        if let Some(why) = self.seen.broken() {
            return self.gather.fault(format!("line {line}: cannot be read further: {why}"));
        }
        let text = error.to_string();
        let what = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what);
        let what = if error.is_eof() { "the file ends in the middle of a value" } else { what };
        self.gather.fault(format!("line {line}, column {}: {what}", error.column()));
    }

    /// One element of a list of OTLP's resources.
    fn resource(&mut self, signal: Signal, index: usize, element: Value) {
        self.is(Format::OtlpJson);
        let key = key_of(signal);
        let request = Value::Object(Map::from_iter([(key.to_owned(), Value::Array(vec![element]))]));
        let telemetry = match signal {
            Signal::Traces => json::traces_in(&request).map(Telemetry::Traces),
            Signal::Logs => json::logs_in(&request).map(Telemetry::Logs),
            Signal::Metrics => json::metrics_in(&request).map(Telemetry::Metrics),
        };
        match telemetry {
            Ok(telemetry) => self.gather.add(telemetry, self.seen.since_mark()),
            Err(error) => self.fault(&error.to_string().replacen(&format!("{key}[0]"), &format!("{key}[{index}]"), 1)),
        }
    }

    /// One trace of Jaeger.
    fn jaeger(&mut self, trace: &Value) {
        self.is(Format::Jaeger);
        match jaeger::trace(trace) {
            Ok(request) => self.traces(request),
            Err(error) => self.fault(&format!("no trace of Jaeger: {error}")),
        }
    }

    fn traces(&mut self, request: ExportTraceServiceRequest) {
        self.gather.add(Telemetry::Traces(request), self.seen.since_mark());
    }

    /// Translates the spans of Zipkin that were read.
    fn zipkin_read(&mut self) {
        let spans = std::mem::take(&mut self.zipkin);
        let request = |spans: &[Value]| {
            let list = serde_json::to_vec(spans).unwrap_or_default();
            zipkin::request(&list).map(|request| (request, list.len() as u64))
        };
        let (lines, mut spans): (Vec<u64>, Vec<Value>) = spans.into_iter().unzip();
        let mut translated = request(&spans);
        if translated.is_err() {
            // One of them makes no sense; the others shall not suffer for it.
            let mut faults = lines.into_iter();
            spans.retain(|span| {
                let line = faults.next().unwrap_or_default();
                let fault = request(std::slice::from_ref(span)).err();
                if let Some(fault) = &fault {
                    let text = fault.to_string();
                    let what = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what);
                    let what = what.rsplit_once("JSON: ").map_or(what, |(_, what)| what);
                    self.gather.fault(format!("line {line}: no span of Zipkin: {what}"));
                }
                fault.is_none()
            });
            translated = request(&spans);
        }
        if let Ok((request, bytes)) = translated {
            self.gather.add(Telemetry::Traces(request), bytes);
        }
    }

    /// A value that was read whole.
    fn whole(&mut self, value: Value) {
        match value {
            Value::Object(fields) => self.object(fields),
            Value::Array(elements) => elements.into_iter().for_each(|element| self.whole(element)),
            other => self.fault(&format!("{}; expected an object", shown(&other))),
        }
    }

    /// An object that was read whole.
    fn object(&mut self, mut fields: Map<String, Value>) {
        let mut known = false;
        for signal in [Signal::Traces, Signal::Logs, Signal::Metrics] {
            if let Some(list) = fields.remove(key_of(signal)) {
                known = true;
                self.list(list, |reading, i, element| reading.resource(signal, i, element));
            }
        }
        if let Some(traces) = fields.remove("data") {
            known = true;
            self.list(traces, |reading, _, trace| reading.jaeger(&trace));
        }
        if let Some(result) = fields.remove("result") {
            known = true;
            self.whole(result);
        }
        if !known {
            self.rest(fields);
        }
    }

    fn list(&mut self, list: Value, mut each: impl FnMut(&mut Self, usize, Value)) {
        match list {
            Value::Array(elements) => {
                for (i, element) in elements.into_iter().enumerate() {
                    each(self, i, element);
                }
            }
            Value::Null => {}
            other => self.fault(&format!("{}; expected a list", shown(&other))),
        }
    }

    /// An object in which no list of a known name was.
    fn rest(&mut self, fields: Map<String, Value>) {
        if fields.contains_key("spans") && (fields.contains_key("processes") || fields.contains_key("traceID")) {
            return self.jaeger(&Value::Object(fields));
        }
        if fields.contains_key("traceId") && fields.contains_key("id") {
            self.is(Format::Zipkin);
            self.zipkin.push((self.seen.line(), Value::Object(fields)));
            if self.zipkin.len() >= ZIPKIN {
                self.zipkin_read();
            }
            return;
        }
        if let Some(errors) = fields.get("errors").and_then(Value::as_array).filter(|e| !e.is_empty()) {
            let said: Vec<&str> = errors.iter().filter_map(|e| e.get("msg")?.as_str()).collect();
            return self.fault(&format!("Jaeger answered with an error: {}", said.join("; ")));
        }
        // An empty request is a request.
        if !fields.is_empty() {
            let names: Vec<String> = fields.keys().take(4).map(|k| format!("{k:?}")).collect();
            self.fault(&format!(
                "an object with the fields {}; expected resourceSpans, resourceLogs or resourceMetrics of OTLP, data of Jaeger, or \
                 a list of Zipkin's spans",
                names.join(", ")
            ));
        }
    }

    /// What a visitor ends with when nobody wants more.
    fn go_on<E: serde::de::Error>(&self) -> Result<(), E> {
        if self.gather.stopped() { Err(E::custom("stopped")) } else { Ok(()) }
    }
}

/// A value for a sentence, shortened.
fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(40) {
        Some((cut, _)) => format!("{}…", text.get(..cut).unwrap_or_default()),
        None => text,
    }
}

/// One document: an object or a list.
struct Document<'r, 'g, 's>(&'r mut Reading<'g, 's>);

impl<'de> DeserializeSeed<'de> for Document<'_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Document<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or a list of telemetry")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let (mut rest, mut known) = (Map::new(), false);
        while let Some(key) = map.next_key::<String>()? {
            let reading = &mut *self.0;
            if let Some(signal) = signal_named(&key) {
                known = true;
                reading.is(Format::OtlpJson);
                map.next_value_seed(Elements { reading, of: Some(signal) })?;
            } else if key == "data" {
                // Set only by what is in it: an answer that is an error has no data.
                known |= map.next_value_seed(Elements { reading, of: None })?;
            } else if key == "result" {
                known = true;
                map.next_value_seed(Document(reading))?;
            } else if known {
                map.next_value::<IgnoredAny>()?;
            } else {
                rest.insert(key, map.next_value()?);
            }
        }
        if !known {
            self.0.rest(rest);
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(element) = list.next_element::<Value>()? {
            self.0.whole(element);
            self.0.go_on::<A::Error>()?;
            self.0.seen.mark();
        }
        Ok(())
    }
}

/// The elements of a list of OTLP's resources, or of Jaeger's traces. Gives whether there was a list.
struct Elements<'r, 'g, 's> {
    reading: &'r mut Reading<'g, 's>,
    of: Option<Signal>,
}

impl<'de> DeserializeSeed<'de> for Elements<'_, '_, '_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<bool, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Elements<'_, '_, '_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.of.is_some() { "a list of OTLP's resources" } else { "a list of Jaeger's traces" })
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<bool, A::Error> {
        let mut count = 0;
        self.reading.seen.mark();
        while let Some(element) = list.next_element::<Value>()? {
            match self.of {
                Some(signal) => self.reading.resource(signal, count, element),
                None => self.reading.jaeger(&element),
            }
            count += 1;
            self.reading.go_on::<A::Error>()?;
            self.reading.seen.mark();
        }
        Ok(true)
    }
}
