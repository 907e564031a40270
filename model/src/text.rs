//! Small things about text that errors need: where a place is, and which word was meant.

/// Line and column, both from 1 and the column in characters, of the byte `at` of `text`.
pub fn place(text: &str, at: usize) -> (usize, usize) {
    let before = &text[..text.floor_char_boundary(at.min(text.len()))];
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// The word of `valid` that `word` most likely was meant to be: the one with the fewest wrong letters, if
/// no more than a third of them are wrong or `word` is its beginning. `None` when none is near.
pub fn nearest<'a>(word: &str, valid: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = |(edits, choice): &(usize, &str)| {
        let letters = word.chars().count().max(choice.chars().count());
        *edits <= letters.div_ceil(3) || (!word.is_empty() && choice.starts_with(word))
    };
    let measured = valid.into_iter().map(|choice| (edits(word, choice), choice));
    measured.filter(near).min_by_key(|(edits, _)| *edits).map(|(_, choice)| choice)
}

/// What to say of a word that is not known: `` did you mean `WORD`? ``, or `otherwise` when none of `valid` is near.
pub fn meant<'a>(
    word: &str,
    valid: impl IntoIterator<Item = &'a str>,
    otherwise: impl FnOnce() -> String,
) -> String {
    nearest(word, valid).map_or_else(otherwise, |near| format!("did you mean `{near}`?"))
}

/// How many letters have to be put in, taken out, replaced or swapped with their neighbour.
fn edits(from: &str, to: &str) -> usize {
    let from: Vec<char> = from.chars().take(64).flat_map(char::to_lowercase).collect();
    let to: Vec<char> = to.chars().take(64).flat_map(char::to_lowercase).collect();
    let mut table = vec![vec![0; to.len() + 1]; from.len() + 1];
    for row in 0..=from.len() {
        for column in 0..=to.len() {
            table[row][column] = match (row, column) {
                (0, other) | (other, 0) => other,
                _ => {
                    let differs = usize::from(from[row - 1] != to[column - 1]);
                    let mut least = (table[row - 1][column] + 1)
                        .min(table[row][column - 1] + 1)
                        .min(table[row - 1][column - 1] + differs);
                    let swapped = row > 1
                        && column > 1
                        && from[row - 1] == to[column - 2]
                        && from[row - 2] == to[column - 1];
                    if swapped {
                        least = least.min(table[row - 2][column - 2] + 1);
                    }
                    least
                }
            };
        }
    }
    table[from.len()][to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_finds_its_word_and_a_stranger_finds_none() {
        let valid = ["seal_rows", "seal_interval", "listen"];
        assert_eq!(nearest("seal_row", valid), Some("seal_rows"));
        assert_eq!(nearest("lsiten", valid), Some("listen"));
        assert_eq!(nearest("banana", valid), None);
    }

    #[test]
    fn a_place_is_counted_in_characters_from_one() {
        assert_eq!(place("ab\nçd", 0), (1, 1));
        assert_eq!(place("ab\nçd", 5), (2, 2));
        assert_eq!(place("ab", 99), (1, 3));
    }
}
