//! What somebody may have meant.

/// `unknown setting; did you mean …`.
pub(super) fn unknown(name: &str, known: &[&str]) -> String {
    match nearest(name, known) {
        Some(near) => format!("unknown setting; did you mean `{near}`?"),
        None => format!("unknown setting; known here: {}", known.join(", ")),
    }
}

/// `unknown word; did you mean …`.
pub(super) fn unknown_word(word: &str, known: &[&str]) -> String {
    match nearest(word, known) {
        Some(near) => format!("unknown word `{word}`; did you mean `{near}`?"),
        None => format!("unknown word `{word}`; known here: {}", known.join(", ")),
    }
}

/// The known name that a third of the letters or fewer separate from this one, capitals and dashes aside.
fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let plain = |name: &str| name.to_ascii_lowercase().replace('-', "_");
    let wanted = plain(name);
    let near = known.iter().map(|k| (distance(&wanted, &plain(k)), *k)).min_by_key(|(d, _)| *d);
    near.filter(|(d, k)| *d <= (k.len().max(name.len()) / 3).max(1)).map(|(_, k)| k)
}

/// Levenshtein's distance, in bytes; names longer than 64 bytes are never near.
fn distance(a: &str, b: &str) -> usize {
    if a.len() > 64 {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, y) in row.iter_mut().skip(1).zip(b.bytes()) {
            let best = (diagonal + usize::from(x != y)).min(left + 1).min(*cell + 1);
            (diagonal, *cell, left) = (*cell, best, best);
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_offered() {
        assert_eq!(distance("min_cals", "min_calls"), 1);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(nearest("min_cals", &["min_calls", "mode"]), Some("min_calls"));
        assert_eq!(nearest("DEADLINE-EXCEEDED", &["deadline_exceeded", "rpc-50"]), Some("deadline_exceeded"));
        assert_eq!(nearest("rpc50", &["rpc-50", "mode"]), Some("rpc-50"));
        assert_eq!(nearest("zebra", &["min_calls", "mode"]), None);
    }
}
