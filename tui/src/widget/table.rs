//! Rows and columns: columns as wide as what they hold, numbers at the right, the widest cut first.

use crate::core::line::{Line, Role, width_of};

/// A heading or a row of a table with its alignment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Column {
    /// Heading.
    pub(crate) name: String,
    /// Numbers stand at the right.
    pub(crate) is_number: bool,
}

/// Columns between two columns of the table.
const GAP: usize = 2;
/// No column is made narrower than this to let others fit.
const COLUMN_MIN: usize = 6;

/// The heading and one line a row, each at most `width` wide.
pub(crate) fn lines(columns: &[Column], rows: &[Vec<String>], width: usize) -> Vec<Line> {
    let widths = widths(columns, rows, width);
    let heading = columns.iter().map(|column| column.name.as_str());
    let mut lines = vec![line(columns, &widths, heading, Role::Dim).fit(width)];
    for row in rows {
        lines.push(line(columns, &widths, row.iter().map(String::as_str), Role::Text).fit(width));
    }
    lines
}

fn line<'a>(columns: &[Column], widths: &[usize], cells: impl Iterator<Item = &'a str>, role: Role) -> Line {
    let mut line = Line::new();
    for (index, (cell, (column, width))) in cells.zip(columns.iter().zip(widths)).enumerate() {
        if index > 0 {
            line.gap(GAP);
        }
        if column.is_number {
            line.cell_right(role, cell, *width);
        } else {
            line.cell(role, cell, *width);
        }
    }
    line
}

fn widths(columns: &[Column], rows: &[Vec<String>], width: usize) -> Vec<usize> {
    let mut widths: Vec<usize> = columns.iter().map(|column| width_of(&column.name)).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(width_of(cell));
        }
    }
    let gaps = GAP * columns.len().saturating_sub(1);
    while widths.iter().sum::<usize>() + gaps > width {
        let Some(widest) = widths.iter_mut().max() else { break };
        if *widest <= COLUMN_MIN {
            break;
        }
        *widest -= 1;
    }
    widths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_and_the_widest_gives_way() {
        let columns = [
            Column { name: "route".to_owned(), is_number: false },
            Column { name: "p95".to_owned(), is_number: true },
        ];
        let rows = [vec!["GET /a".to_owned(), "12ms".to_owned()], vec!["x".repeat(40), "1.20s".to_owned()]];
        let lines = lines(&columns, &rows, 20);
        assert_eq!(lines[0].plain(), "route            p95");
        assert_eq!(lines[1].plain(), "GET /a          12ms");
        assert_eq!(lines[2].plain(), "xxxxxxxxxxxx…  1.20s");
    }
}
