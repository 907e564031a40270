//! The window of a long list that is drawn: only what is visible is ever made into lines.

/// First row to draw, so that `selected` is visible and stays near the middle of `height` rows.
/// It depends on nothing but its arguments, so a resize cannot leave it in a wrong place.
pub(crate) fn first_visible(selected: usize, rows: usize, height: usize) -> usize {
    selected.saturating_sub(height / 2).min(rows.saturating_sub(height))
}

/// `selected` moved by `steps` and kept inside `rows`.
pub(crate) fn moved(selected: usize, steps: isize, rows: usize) -> usize {
    selected.saturating_add_signed(steps).min(rows.saturating_sub(1))
}

/// The one of `places` (ascending) that comes after `selected`, or before it; around the end.
pub(crate) fn next_of(places: &[usize], selected: usize, is_forward: bool) -> Option<usize> {
    if is_forward {
        places.iter().find(|place| **place > selected).or(places.first()).copied()
    } else {
        places.iter().rev().find(|place| **place < selected).or(places.last()).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_selection_is_always_inside_the_window() {
        for rows in 0..30usize {
            for height in 1..12usize {
                for selected in 0..rows {
                    let first = first_visible(selected, rows, height);
                    assert!(
                        first <= selected && selected < first + height,
                        "{selected} of {rows} in {height}"
                    );
                    assert!(
                        first == 0 || first + height <= rows,
                        "no empty lines while rows are hidden above"
                    );
                }
            }
        }
    }
}
