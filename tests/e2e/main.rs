//! All end-to-end tests and tidy checks, in one binary.

mod console;
mod control;
mod replay;
mod tidy;
mod traces;
