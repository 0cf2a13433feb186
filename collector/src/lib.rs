//! Receives OTLP, stores it in SQLite, answers questions, steers agents.
