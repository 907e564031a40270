//! The nearest valid word to a misspelt one, for errors.

/// The choice with the fewest edits from `word`, if a third of its letters or fewer are wrong.
pub(crate) fn nearest<'c>(word: &str, choices: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let word: Vec<char> = word.chars().take(WORD_MAX).flat_map(char::to_lowercase).collect();
    choices
        .into_iter()
        .map(|choice| (edits(&word, choice), choice))
        .min_by_key(|(edits, _)| *edits)
        .filter(|(edits, choice)| *edits <= choice.chars().count().max(word.len()).div_ceil(3))
        .map(|(_, choice)| choice)
}

/// Longer words are compared by their beginning.
const WORD_MAX: usize = 64;

/// Insertions, deletions and replacements between two words (Levenshtein).
fn edits(word: &[char], choice: &str) -> usize {
    let mut row: Vec<usize> = (0..=word.len()).collect();
    for (line, letter) in choice.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (column, other) in word.iter().enumerate() {
            let replaced = diagonal + usize::from(*other != letter);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[word.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_recognised_and_another_word_is_not() {
        let levels = ["trace", "debug", "info", "warn", "error", "fatal"];
        assert_eq!(nearest("eror", levels), Some("error"));
        assert_eq!(nearest("WARM", levels), Some("warn"));
        assert_eq!(nearest("checkout", levels), None);
        assert_eq!(nearest("x", []), None);
    }
}
