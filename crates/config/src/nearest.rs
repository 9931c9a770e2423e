//! The known key a misspelled one was meant to be.

/// No key is longer; comparing takes the longer, the longer the text.
const LONGEST: usize = 100;

/// The key that `written` was most likely meant to be, if any is near: at
/// most a third of its letters wrong, whatever the case.
pub(crate) fn nearest<'a>(written: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if written.len() > LONGEST {
        return None;
    }
    let written = written.to_lowercase();
    let limit = (written.chars().count() / 3).max(1);
    known
        .map(|key| (distance(&written, &key.to_lowercase()), key))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, key)| key)
}

/// Edit distance in which swapping two neighbours is one step.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    // Rows of the table for the last two letters of `a` and this one.
    let mut before_last = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, &x) in a.iter().enumerate() {
        let mut row = vec![i + 1; b.len() + 1];
        for (j, &y) in b.iter().enumerate() {
            let replaced = last[j] + usize::from(x != y);
            row[j + 1] = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && x == b[j - 1] && a[i - 1] == y {
                row[j + 1] = row[j + 1].min(before_last[j - 1] + 1);
            }
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_edits() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("listenProt", "listenPort"), 1);
        assert_eq!(distance("same", "same"), 0);
    }

    #[test]
    fn names_the_nearest_and_only_a_near_one() {
        let known = ["flushDiskType", "fileReservedTime", "deleteWhen"];
        let nearest = |written| nearest(written, known.into_iter());
        assert_eq!(nearest("flushdisktyp"), Some("flushDiskType"));
        assert_eq!(nearest("deletWhen"), Some("deleteWhen"));
        assert_eq!(nearest("colour"), None);
        assert_eq!(nearest(&"deleteWhen".repeat(1_000_000)), None);
    }
}
