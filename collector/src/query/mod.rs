//! Answers questions from the store, as of an instant.
