//! The tables of the rooms, gathered for the store, which knows none of them.

/// What each room adds to the schema; every piece says IF NOT EXISTS.
pub(crate) fn of_rooms() -> impl Iterator<Item = &'static str> {
    crate::control::SCHEMA.into_iter().chain([crate::incident::SCHEMA, crate::analyze::SCHEMA, crate::identity::SCHEMA])
}

/// Columns that tables of the rooms have got since their first version: (table, column, its declaration).
pub(crate) fn added_columns() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    crate::control::ADDED_COLUMNS.into_iter()
}
