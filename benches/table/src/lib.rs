//! What every benchmark measures and reports with: processor time, memory and bytes on disk; a table of plain text that
//! says what was measured, how much, what it means.

mod folder;
mod process;

use std::fmt;

pub use folder::bytes_below;
pub use process::{Memory, Process, drop_page_cache};

/// Rows of name, value and remark.
#[derive(Clone, Debug, Default)]
pub struct Table {
    title: String,
    rows: Vec<[String; 3]>,
    /// What was measured beside it.
    beside: Vec<Table>,
}

impl Table {
    /// An empty table under `title`.
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), rows: Vec::new(), beside: Vec::new() }
    }

    /// Puts another table under this one.
    pub fn append(&mut self, other: Self) {
        self.beside.push(other);
    }

    /// Adds a row.
    pub fn row(&mut self, name: impl Into<String>, value: impl Into<String>, remark: impl Into<String>) {
        self.rows.push([name.into(), value.into(), remark.into()]);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width =
            |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let (name_width, value_width) = (width(0), width(1));
        writeln!(f, "{}", self.title)?;
        for [name, value, remark] in &self.rows {
            let line = format!("  {name:<name_width$}  {value:>value_width$}  {remark}");
            writeln!(f, "{}", line.trim_end())?;
        }
        self.beside.iter().try_for_each(|table| write!(f, "{table}"))
    }
}

/// A whole number with a space between thousands.
pub fn whole(number: f64) -> String {
    let digits = format!("{:.0}", number.max(0.0));
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

/// Bytes in MiB with one digit behind the point.
pub fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_stand_apart_and_values_stand_under_each_other() {
        assert_eq!(
            (whole(0.4), whole(999.0), whole(1_234_567.2)),
            ("0".into(), "999".into(), "1 234 567".into())
        );
        let mut table = Table::new("t");
        table.row("a", "1", "x");
        table.row("bbb", "22", "");
        assert_eq!(table.to_string(), "t\n  a     1  x\n  bbb  22\n");
    }
}
