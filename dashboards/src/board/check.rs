//! From TOML text to a board that can be drawn, or the byte where it goes wrong and why.
//!
//! Three passes: TOML syntax, the types (unknown keys among them), then the rules between keys. The
//! first pass keeps where every key stands, so that the third can point at it.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Board, Panel, PanelKind, UNITS};
use model::text::nearest;

/// Byte offset and message.
type Problem = (usize, String);

/// Rows lower than this have no room for a heading and a value.
const ROW_LINES_MIN: u16 = 2;
/// More panels side by side leave none of them room.
const PANELS_MAX: usize = 8;

pub(super) fn parse(text: &str) -> Result<Board, Problem> {
    let places = DeTable::parse(text).map_err(|error| problem_of(&error))?;
    let board: Board = toml::from_str(text).map_err(|error| problem_of(&error))?;
    Check { places: places.get_ref() }.board(&board)?;
    Ok(board)
}

fn problem_of(error: &toml::de::Error) -> Problem {
    (error.span().map_or(0, |span| span.start), plain(error.message()))
}

/// Serde's sentence about an unknown word, turned into ours with the nearest valid word.
fn plain(message: &str) -> String {
    for (theirs, ours) in [("unknown field ", "unknown key"), ("unknown variant ", "unknown value")] {
        let Some(rest) = message.strip_prefix(theirs) else { continue };
        let mut words = rest.split('`').skip(1).step_by(2);
        let Some(word) = words.next() else { continue };
        let valid: Vec<&str> = words.collect();
        return match nearest(word, valid.iter().copied()) {
            Some(near) => format!("{ours} `{word}`: did you mean `{near}`?"),
            None => format!("{ours} `{word}`: valid are {}", list(&valid)),
        };
    }
    message.lines().next().unwrap_or_default().replace("missing field", "missing key")
}

fn list(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

struct Check<'a, 'i> {
    places: &'a DeTable<'i>,
}

impl<'a, 'i> Check<'a, 'i> {
    fn board(&self, board: &Board) -> Result<(), Problem> {
        if board.schema != 1 {
            let problem = format!("schema {} is not known, this version reads schema 1", board.schema);
            return Err((value_at(self.places, "schema"), problem));
        }
        for (key, text) in [("range", &board.range), ("refresh", &board.refresh)] {
            if !is_duration(text) {
                let problem =
                    format!("`{text}` is no duration: write a number and a unit, as in 5s, 15m or 1h30m");
                return Err((value_at(self.places, key), problem));
            }
        }
        if board.rows.is_empty() {
            return Err((value_at(self.places, "row"), "a board needs at least one row".to_owned()));
        }
        let rows = self.places.get("row").and_then(|rows| rows.get_ref().as_array());
        for (index, row) in board.rows.iter().enumerate() {
            let Some(place) = rows.and_then(|rows| rows.get(index)).map(Spanned::get_ref) else { continue };
            let Some(table) = place.as_table() else { continue };
            self.row(row, table)?;
        }
        Ok(())
    }

    fn row(&self, row: &super::Row, place: &'a DeTable<'i>) -> Result<(), Problem> {
        if let Some(height) = row.height.filter(|height| *height < ROW_LINES_MIN) {
            let problem = format!("a row of {height} lines has no room, {ROW_LINES_MIN} is the least");
            return Err((value_at(place, "height"), problem));
        }
        if row.panels.is_empty() || row.panels.len() > PANELS_MAX {
            let problem = format!("a row has 1 to {PANELS_MAX} panels, this one has {}", row.panels.len());
            return Err((value_at(place, "panel"), problem));
        }
        let panels = place.get("panel").and_then(|panels| panels.get_ref().as_array());
        for (index, panel) in row.panels.iter().enumerate() {
            let Some(value) = panels.and_then(|panels| panels.get(index)) else { continue };
            let Some(table) = value.get_ref().as_table() else { continue };
            PanelCheck { panel, place: table, at: value.span().start }.all()?;
        }
        Ok(())
    }
}

struct PanelCheck<'a, 'i> {
    panel: &'a Panel,
    place: &'a DeTable<'i>,
    at: usize,
}

impl PanelCheck<'_, '_> {
    fn all(&self) -> Result<(), Problem> {
        self.question()?;
        self.units()?;
        let panel = self.panel;
        if panel.weight == 0 {
            return self.wrong("weight", "weight 0 would have no width, 1 is the least".to_owned());
        }
        if panel.top == Some(0) {
            return self.wrong("top", "top 0 would show nothing, 1 is the least".to_owned());
        }
        if panel.kind != PanelKind::Table && !panel.columns.is_empty() {
            return self.wrong("columns", "only a table has columns".to_owned());
        }
        if panel.kind != PanelKind::Stat && panel.spark {
            return self.wrong("spark", "only a stat has a sparkline".to_owned());
        }
        Ok(())
    }

    /// Exactly one question, of a language the panel can draw.
    fn question(&self) -> Result<(), Problem> {
        let panel = self.panel;
        let asked = [("promql", &panel.promql), ("logs", &panel.logs), ("sql", &panel.sql)];
        let asked: Vec<&str> = asked.iter().filter(|(_, text)| text.is_some()).map(|(key, _)| *key).collect();
        let [key] = asked[..] else {
            let problem = match asked.len() {
                0 => format!("panel `{}` asks nothing: give it one of `promql`, `logs`, `sql`", panel.title),
                _ => format!("panel `{}` asks {}: keep one of them", panel.title, list(&asked)),
            };
            return Err((self.at, problem));
        };
        match (panel.kind, key) {
            (PanelKind::Timeseries, "logs" | "sql") => {
                self.wrong(key, format!("a timeseries draws `promql`, not `{key}`"))
            }
            (PanelKind::Stat, "sql") => {
                self.wrong(key, "a stat shows `promql` or `logs`, not `sql`".to_owned())
            }
            _ => Ok(()),
        }
    }

    fn units(&self) -> Result<(), Problem> {
        if let Some(unit) = &self.panel.unit {
            self.unit("unit", unit)?;
        }
        for column in &self.panel.columns {
            if let Some((_, unit)) = column.split_once(':') {
                self.unit("columns", unit)?;
            }
        }
        Ok(())
    }

    fn unit(&self, key: &str, unit: &str) -> Result<(), Problem> {
        if UNITS.contains(&unit) {
            return Ok(());
        }
        let problem = match nearest(unit, UNITS) {
            Some(near) => format!("unknown unit `{unit}`: did you mean `{near}`?"),
            None => format!("unknown unit `{unit}`: valid are {}", list(&UNITS)),
        };
        self.wrong(key, problem)
    }

    fn wrong(&self, key: &str, problem: String) -> Result<(), Problem> {
        let at = self.place.get(key).map_or(self.at, |value| value.span().start);
        Err((at, problem))
    }
}

fn value_at(table: &DeTable<'_>, key: &str) -> usize {
    table.get(key).map_or(0, |value: &Spanned<DeValue<'_>>| value.span().start)
}

/// Whole numbers, each with one of the units `ms s m h d w`, and more than nothing in total.
fn is_duration(text: &str) -> bool {
    let mut rest = text;
    let mut has_length = false;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let unit = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit);
        if number.is_empty() || number.len() > 9 || !["ms", "s", "m", "h", "d", "w"].contains(&unit) {
            return false;
        }
        has_length |= number.bytes().any(|digit| digit != b'0');
        rest = tail;
    }
    has_length
}
