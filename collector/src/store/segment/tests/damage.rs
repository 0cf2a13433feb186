//! Damaged blobs give an error and nothing else.

use std::sync::{Arc, LazyLock};

use proptest::prelude::*;

use super::super::{Columns, Parts, SegmentError, encode, ipc, rows};
use super::make::{built, incoming, span, tape, text};

static BLOBS: LazyLock<(Vec<u8>, Vec<u8>)> = LazyLock::new(|| {
    let spans: Vec<_> = (1..60_u8)
        .map(|n| {
            let mut span = span(n / 6 + 1, n, n / 2, 1_000 + u64::from(n));
            span.attributes = vec![text("a", "b"), text("n", &n.to_string())];
            span
        })
        .collect();
    let tape = tape(&spans);
    (encode(&built(&spans)).unwrap(), rows::encode(&incoming(&tape)))
});

/// A blob whose checksum holds whatever else does not.
fn resealed(mut blob: Vec<u8>) -> Option<Vec<u8>> {
    let footer = ipc::footer_at(&blob).ok()?;
    blob.drain(footer.checked_sub(8)?..footer);
    ipc::seal(blob).ok()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn a_forged_checksum_does_no_harm(at in prop::collection::vec(any::<prop::sample::Index>(), 1..4), byte: u8) {
        let mut blob = BLOBS.0.clone();
        for i in at {
            let i = i.index(blob.len());
            blob[i] = byte;
        }
        if let Some(columns) = resealed(blob).and_then(|blob| Columns::decode(blob, Parts::all()).ok()) {
            // Whatever they say, they can be asked.
            for row in 0..columns.rows().min(1_000) {
                prop_assert_eq!(columns.span(row, Arc::default()).trace_id, columns.trace_id(row));
                columns.message(row, &mut Vec::new());
            }
        }
    }

    #[test]
    fn a_flipped_bit_is_told(at in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let (mut columns, mut rows) = BLOBS.clone();
        let (i, j) = (at.index(columns.len()), at.index(rows.len()));
        columns[i] ^= 1 << bit;
        rows[j] ^= 1 << bit;
        prop_assert!(matches!(Columns::decode(columns, Parts::all()), Err(SegmentError::Damaged(_))));
        prop_assert!(matches!(rows::decode(rows), Err(SegmentError::Damaged(_))));
    }

    #[test]
    fn a_cut_is_told(at in any::<prop::sample::Index>()) {
        let (mut columns, mut rows) = BLOBS.clone();
        columns.truncate(at.index(columns.len()));
        rows.truncate(at.index(rows.len()));
        prop_assert!(matches!(Columns::decode(columns, Parts::all()), Err(SegmentError::Damaged(_))));
        prop_assert!(matches!(rows::decode(rows), Err(SegmentError::Damaged(_))));
    }

    #[test]
    fn any_bytes_are_told(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Columns::decode(bytes.clone(), Parts::all()).is_err());
        prop_assert!(rows::decode(bytes).is_err());
    }
}

#[test]
fn an_error_says_what_to_do() {
    let error = Columns::decode(Vec::new(), Parts::all()).unwrap_err().to_string();
    assert!(error.contains("damaged") && error.contains("restore"), "{error}");
}
