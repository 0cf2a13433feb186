//! OTLP/JSON into OTLP's messages. Takes what senders really send: 64-bit numbers as text or as numbers, ids in hex of
//! either case, enums as numbers or by name, absent and null fields, fields it does not know.

mod logs;
mod metrics;
mod reader;
mod traces;

pub(super) use self::logs::logs;
pub(super) use self::metrics::metrics;
pub(super) use self::reader::BadJson;
pub(super) use self::traces::traces;
