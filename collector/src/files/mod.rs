//! Formats of others, read and written: what a file or a port brings becomes OTLP, and what is stored becomes theirs.

pub mod import;
pub mod jaeger;
pub mod zipkin;
