//! Refusals, and the way out of a transaction that carries one.

use fuseboard_api::ask::{Refusal, SettingConflict};

fn refusal(code: &str, message: impl Into<String>) -> Refusal {
    Refusal::new(code, message)
}

/// What was sent makes no sense.
pub(crate) fn bad_request(message: impl Into<String>) -> Refusal {
    refusal("bad_request", message)
}

/// What was named does not exist.
pub(crate) fn not_found(message: impl Into<String>) -> Refusal {
    refusal("not_found", message)
}

/// Somebody else was faster.
pub(crate) fn conflict(message: impl Into<String>) -> Refusal {
    refusal("conflict", message)
}

/// Somebody else was faster, with the settings that both changed.
pub(crate) fn settings_conflict(message: impl Into<String>, conflicts: Vec<SettingConflict>) -> Refusal {
    Refusal { conflicts, ..conflict(message) }
}

/// No changes are taken now.
pub(crate) fn no_changes(message: impl Into<String>) -> Refusal {
    refusal("read_only", message)
}

/// The source is a file that was opened to look at.
pub(crate) fn opened_file() -> Refusal {
    refusal("read_only", "this is an opened file, nothing in it can be changed; connect to a running collector to act")
}

/// It is not known who asks.
pub(crate) fn unauthenticated(message: impl Into<String>) -> Refusal {
    refusal("unauthenticated", message)
}

/// Who asks may not do that.
pub(crate) fn forbidden(message: impl Into<String>) -> Refusal {
    refusal("forbidden", message)
}

/// Who asks has been wrong too often.
pub(crate) fn slow_down(message: impl Into<String>) -> Refusal {
    refusal("slow_down", message)
}

/// It would work at another time.
pub(crate) fn unavailable(message: impl Into<String>) -> Refusal {
    refusal("unavailable", message)
}

/// A fault of the collector.
pub(crate) fn internal(message: impl Into<String>) -> Refusal {
    refusal("internal", message)
}
