//! All end-to-end tests and tidy checks, in one binary.

mod tidy;
