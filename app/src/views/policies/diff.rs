//! What changed between two documents, line by line.

/// What happened to a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// In both.
    Same,
    /// Only in the older one.
    Removed,
    /// Only in the newer one.
    Added,
    /// Stands for so many equal lines that are not shown.
    Folded(usize),
}

/// One line of a diff.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// What happened.
    pub(crate) kind: Kind,
    /// The line; empty when folded.
    pub(crate) text: String,
}

/// Above so many pairs of differing lines the middle is shown as removed and added as a whole: nobody reads such a diff
/// line by line, and the table would not fit in memory.
const LIMIT: usize = 4_000_000;

/// The shortest diff by lines (longest common subsequence), `context` equal lines kept around each change.
#[must_use]
pub(crate) fn lines(old: &str, new: &str, context: usize) -> Vec<Line> {
    let (a, b): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let head = a.iter().zip(&b).take_while(|(x, y)| x == y).count();
    let tail = a[head..].iter().rev().zip(b[head..].iter().rev()).take_while(|(x, y)| x == y).count();
    let mut out: Vec<Line> = a[..head].iter().map(|l| line(Kind::Same, l)).collect();
    middle(&a[head..a.len() - tail], &b[head..b.len() - tail], &mut out);
    out.extend(a[a.len() - tail..].iter().map(|l| line(Kind::Same, l)));
    fold(out, context)
}

/// (removed, added) lines of a diff.
#[must_use]
pub(crate) fn totals(diff: &[Line]) -> (usize, usize) {
    let of = |kind| diff.iter().filter(|l| l.kind == kind).count();
    (of(Kind::Removed), of(Kind::Added))
}

fn line(kind: Kind, text: &str) -> Line {
    Line { kind, text: text.to_owned() }
}

fn middle(a: &[&str], b: &[&str], out: &mut Vec<Line>) {
    if a.len().saturating_mul(b.len()) > LIMIT {
        out.extend(a.iter().map(|l| line(Kind::Removed, l)));
        out.extend(b.iter().map(|l| line(Kind::Added, l)));
        return;
    }
    // common[i][j]: length of the longest common subsequence of a[i..] and b[j..].
    let width = b.len() + 1;
    let mut common = vec![0u32; (a.len() + 1) * width];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            common[i * width + j] = if a[i] == b[j] {
                common[(i + 1) * width + j + 1] + 1
            } else {
                common[(i + 1) * width + j].max(common[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    while i < a.len() || j < b.len() {
        if i < a.len() && j < b.len() && a[i] == b[j] {
            out.push(line(Kind::Same, a[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == b.len() || (i < a.len() && common[(i + 1) * width + j] >= common[i * width + j + 1]) {
            out.push(line(Kind::Removed, a[i]));
            i += 1;
        } else {
            out.push(line(Kind::Added, b[j]));
            j += 1;
        }
    }
}

fn fold(all: Vec<Line>, context: usize) -> Vec<Line> {
    let mut near = vec![false; all.len()];
    for (i, l) in all.iter().enumerate() {
        if l.kind != Kind::Same {
            let end = (i + context + 1).min(all.len());
            near[i.saturating_sub(context)..end].fill(true);
        }
    }
    let mut out: Vec<Line> = Vec::new();
    for (l, keep) in all.into_iter().zip(near) {
        match (keep, out.last_mut()) {
            (true, _) => out.push(l),
            (false, Some(Line { kind: Kind::Folded(n), .. })) => *n += 1,
            (false, _) => out.push(Line { kind: Kind::Folded(1), text: String::new() }),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(old: &str, new: &str, context: usize) -> Vec<String> {
        lines(old, new, context)
            .iter()
            .map(|l| match l.kind {
                Kind::Same => format!("  {}", l.text),
                Kind::Removed => format!("- {}", l.text),
                Kind::Added => format!("+ {}", l.text),
                Kind::Folded(n) => format!("… {n}"),
            })
            .collect()
    }

    #[test]
    fn one_setting_moved() {
        let old = "[[edge]]\nservice = \"payments\"\ntimeout = 800\nretry = 3\n# end\n";
        let new = "[[edge]]\nservice = \"payments\"\ntimeout = 1600\nretry = 3\n# end\n";
        assert_eq!(
            shown(old, new, 1),
            ["… 1", "  service = \"payments\"", "- timeout = 800", "+ timeout = 1600", "  retry = 3", "… 1"]
        );
    }

    #[test]
    fn equal_documents_fold_into_one_line_and_empty_ones_into_none() {
        assert_eq!(shown("a\nb\nc", "a\nb\nc", 3), ["… 3"]);
        assert!(lines("", "", 3).is_empty());
        assert_eq!(shown("", "a", 3), ["+ a"]);
    }

    #[test]
    fn lines_that_stay_are_found_between_changes() {
        assert_eq!(shown("a\nb\nc\nd", "b\nx\nd\ne", 9), ["- a", "  b", "- c", "+ x", "  d", "+ e"]);
        assert_eq!(totals(&lines("a\nb\nc\nd", "b\nx\nd\ne", 0)), (2, 2));
    }
}
