//! The nearest valid word to a misspelt one.

/// The word of `valid` that takes the fewest edits to reach from `word`, if it is near enough that a
/// typing error explains it.
pub(crate) fn nearest<'a>(word: &str, valid: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).max(1) + 1;
    valid
        .into_iter()
        .map(|candidate| (edits(word, candidate), candidate))
        .min_by_key(|(edits, _)| *edits)
        .filter(|(edits, _)| *edits <= limit)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance over characters, one row at a time. Words are cut at 64 characters.
fn edits(from: &str, to: &str) -> usize {
    let from: Vec<char> = from.chars().take(64).collect();
    let to: Vec<char> = to.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(!a.eq_ignore_ascii_case(b));
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_error_finds_its_word_and_a_stranger_finds_none() {
        let valid = ["title", "type", "promql", "timeseries"];
        assert_eq!(nearest("tilte", valid), Some("title"));
        assert_eq!(nearest("promsql", valid), Some("promql"));
        assert_eq!(nearest("timeserie", valid), Some("timeseries"));
        assert_eq!(nearest("colour", valid), None);
    }
}
