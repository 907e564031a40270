//! Putting lines into a buffer, clipped to an area.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::core::line::{Line, Role, rule};
use crate::core::list::first_visible;
use crate::theme::Theme;

/// A rectangle of the screen. Splitting never goes beyond it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Area {
    /// First column.
    pub(crate) x: u16,
    /// First line.
    pub(crate) y: u16,
    /// Columns.
    pub(crate) width: u16,
    /// Lines.
    pub(crate) height: u16,
}

impl Area {
    /// The first `height` lines, and the others.
    pub(crate) fn split_top(self, height: u16) -> (Self, Self) {
        let height = height.min(self.height);
        let top = Self { height, ..self };
        (top, Self { y: self.y + height, height: self.height - height, ..self })
    }

    /// All but the last `height` lines, and those.
    pub(crate) fn split_bottom(self, height: u16) -> (Self, Self) {
        self.split_top(self.height.saturating_sub(height))
    }

    /// The first `width` columns, and the others.
    pub(crate) fn split_left(self, width: u16) -> (Self, Self) {
        let width = width.min(self.width);
        let left = Self { width, ..self };
        (left, Self { x: self.x + width, width: self.width - width, ..self })
    }

    /// Columns, for line makers.
    pub(crate) fn columns(self) -> usize {
        usize::from(self.width)
    }

    /// Lines, for line makers.
    pub(crate) fn lines(self) -> usize {
        usize::from(self.height)
    }
}

/// A buffer and how roles look in it.
pub(crate) struct Painter<'a> {
    buffer: &'a mut Buffer,
    theme: Theme,
}

impl<'a> Painter<'a> {
    /// A painter on `buffer`.
    pub(crate) fn new(buffer: &'a mut Buffer, theme: Theme) -> Self {
        Self { buffer, theme }
    }

    /// `line` at row `row` of `area`.
    pub(crate) fn line(&mut self, area: Area, row: usize, line: &Line) {
        let Some((mut x, y, mut room)) = self.start(area, row) else { return };
        for span in line.spans() {
            let (end, _) =
                self.buffer.set_stringn(x, y, &span.text, usize::from(room), self.theme.style(span.role));
            room = room.saturating_sub(end - x);
            x = end;
        }
    }

    /// The part of `items` that fits around the selected one, which is marked where keys go to this list.
    pub(crate) fn list<T>(
        &mut self,
        area: Area,
        items: &[T],
        (selected, has_keys): (usize, bool),
        mut line_of: impl FnMut(&T) -> Line,
    ) {
        let first = first_visible(selected, items.len(), area.lines());
        for (row, (index, item)) in (first..).zip(items.iter().skip(first)).take(area.lines()).enumerate() {
            let line = line_of(item);
            if index == selected && has_keys {
                self.selected(area, row, &line);
            } else {
                self.line(area, row, &line);
            }
        }
    }

    /// What is said in the place of an answer, a row below the title.
    pub(crate) fn absence(&mut self, area: Area, said: Vec<Line>) {
        let mut lines = vec![Line::new()];
        for line in said {
            let mut indented = Line::new();
            indented.gap(1);
            indented.append(line);
            lines.push(indented);
        }
        self.lines(area, &lines);
    }

    /// `line` as the selected row: a mark in the first column when that is free, and reversed from
    /// edge to edge.
    pub(crate) fn selected(&mut self, area: Area, row: usize, line: &Line) {
        self.line(area, row, line);
        let Some((x, y, width)) = self.start(area, row) else { return };
        let style = self.theme.selected();
        for column in x..x + width {
            if let Some(cell) = self.buffer.cell_mut((column, y)) {
                let bold = cell.style().add_modifier & ratatui::style::Modifier::BOLD;
                cell.set_fg(ratatui::style::Color::Reset);
                cell.modifier = bold;
                cell.set_style(style);
            }
        }
        if let Some(cell) = self.buffer.cell_mut((x, y)).filter(|cell| cell.symbol() == " ") {
            cell.set_symbol(crate::core::glyph::SELECTED);
        }
    }

    /// Lines from the top of `area` on.
    pub(crate) fn lines<'l>(&mut self, area: Area, lines: impl IntoIterator<Item = &'l Line>) {
        for (row, line) in lines.into_iter().take(area.lines()).enumerate() {
            self.line(area, row, line);
        }
    }

    /// A line across `area` at `row`.
    pub(crate) fn rule(&mut self, area: Area, row: usize) {
        self.line(area, row, &rule(area.columns()));
    }

    /// A line down the first column of `area`.
    pub(crate) fn bar(&mut self, area: Area) {
        let bar = Line::of(Role::Rule, "│");
        for row in 0..area.lines() {
            self.line(area, row, &bar);
        }
    }

    /// Position and room of a row, if it is inside the area and the buffer.
    fn start(&self, area: Area, row: usize) -> Option<(u16, u16, u16)> {
        let y = area.y.checked_add(u16::try_from(row).ok()?)?;
        let inside = Rect::new(area.x, area.y, area.width, area.height).intersection(self.buffer.area);
        (y < inside.bottom() && inside.width > 0 && area.x >= inside.x).then_some((inside.x, y, inside.width))
    }
}
