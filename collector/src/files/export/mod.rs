//! What is stored, written into files that other tools read: OTLP as JSON lines, Jaeger's JSON, Parquet.

pub mod otlp;
pub mod parquet;
