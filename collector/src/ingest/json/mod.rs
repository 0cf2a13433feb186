//! OTLP/JSON into OTLP's messages. Takes what senders really send: 64-bit numbers as text or as numbers, ids in hex of
//! either case, enums as numbers or by name, absent and null fields, fields it does not know.

mod logs;
mod metrics;
mod reader;
mod traces;

pub(crate) use self::logs::logs;
pub(crate) use self::logs::logs_in;
pub(crate) use self::metrics::metrics;
pub(crate) use self::metrics::metrics_in;
pub(crate) use self::reader::{BadJson, Object, Read, bad, whole};
pub(crate) use self::traces::traces;
pub(crate) use self::traces::traces_in;
