//! One SQLite file behind a narrow door.
//!
//! The door is [`Store`](self): `append` for telemetry, `transact` for everything else that is written, `read` for
//! everything that is read, `as_of_now` and `subscribe` for the replay law.
