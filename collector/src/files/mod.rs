//! Formats of others, read and written: what a file or a port brings becomes OTLP, and what is stored becomes theirs.

pub mod export;
pub mod import;
pub mod jaeger;
pub(crate) mod words;
pub mod zipkin;
