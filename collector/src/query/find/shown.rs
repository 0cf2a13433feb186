//! A field of one row, as text.

use fuseboard_api::attr;
use fuseboard_api::filter::{Field, Kind, Known, Place};

use super::plan::columns_of;
use super::source::Source;
use crate::store::StoreError;
use crate::store::segment::{Columns, Parts};

/// Whether a field has one value a span, by which spans can be grouped.
pub(in crate::query) fn is_single(field: &Field) -> bool {
    match field {
        Field::Attribute(place, _) => *place != Place::Event,
        Field::Known(known) => {
            let root_or_event = matches!(known, Known::Event | Known::RootService | Known::RootName);
            !root_or_event && matches!(known.kind(), Kind::Text | Kind::Words(_))
        }
    }
}

/// The columns that a field lies in.
pub(in crate::query) fn parts_of(field: &Field) -> Parts {
    columns_of(field).1
}

/// The value of a field for which [`is_single`] holds; `None` when the row has none.
pub(in crate::query) fn shown(
    field: &Field,
    columns: &Columns,
    row: usize,
    source: &impl Source,
) -> Result<Option<String>, StoreError> {
    let origin = || source.origin(columns.origin(row));
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let in_resource = |key: &str| Ok::<_, StoreError>(attr::get(&origin()?.resource, key).map(ToString::to_string));
    let word = |known: Known, code: u8| match known.kind() {
        Kind::Words(words) => words.get(usize::from(code)).map(|word| (*word).to_owned()),
        _ => None,
    };
    Ok(match field {
        Field::Attribute(Place::Span, key) => columns.attr(row, key).map(|v| v.to_string()),
        Field::Attribute(Place::Resource, key) => in_resource(key)?,
        Field::Attribute(Place::Anywhere, key) => match columns.attr(row, key) {
            Some(value) => Some(value.to_string()),
            None => in_resource(key)?,
        },
        Field::Known(Known::Service) => some(&origin()?.service),
        Field::Known(Known::Instance) => some(&origin()?.instance),
        Field::Known(Known::Version) => some(&origin()?.version),
        Field::Known(Known::Scope) => some(&origin()?.scope),
        Field::Known(Known::Name) => some(columns.name(row)),
        Field::Known(Known::Message) => some(columns.status_message(row)),
        Field::Known(Known::Peer) => columns.peer(row).map(str::to_owned),
        Field::Known(known @ Known::Kind) => word(*known, columns.kind(row)),
        Field::Known(known @ Known::Status) => word(*known, columns.status(row)),
        Field::Known(_) | Field::Attribute(Place::Event, _) => None,
    })
}
