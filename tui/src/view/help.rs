//! The help: the keymap as it is, the keys of this screen first.

use super::paint::{Area, Painter};
use crate::core::State;
use crate::core::keymap;
use crate::core::line::{Line, Role};

/// Draws the help from its line `top` on.
pub(crate) fn draw(state: &State, top: usize, area: Area, painter: &mut Painter<'_>) {
    let mut lines = vec![heading(&format!("{} {}", state.screen.number(), state.screen.name()))];
    let mut is_global = false;
    for binding in keymap::of_screen(state.screen).filter(|binding| !binding.help.is_empty()) {
        if binding.screen.is_none() && !is_global {
            is_global = true;
            lines.push(Line::new());
            lines.push(heading("everywhere"));
        }
        let mut line = Line::new();
        line.gap(3);
        line.cell(Role::Accent, &keymap::keys_text(binding.keys), 11);
        line.push(Role::Text, binding.help);
        lines.push(line);
    }
    let two_columns = area.columns() >= 100 && lines.len() > area.lines();
    let columns = if two_columns { 2 } else { 1 };
    let height = area.lines().saturating_sub(1);
    let top = top.min(lines.len().saturating_sub(height * columns));
    let (left, right) = area.split_left(area.width / columns as u16);
    painter.lines(left, lines.iter().skip(top).take(height));
    if two_columns {
        painter.lines(right, lines.iter().skip(top + height).take(height));
    }
    let hidden = lines.len().saturating_sub(top + height * columns);
    let more = if hidden > 0 {
        format!(" j {hidden} more · any other key closes")
    } else {
        " any key closes".to_owned()
    };
    painter.line(area, height, &Line::of(Role::Dim, &more));
}

fn heading(text: &str) -> Line {
    Line::of(Role::Strong, &format!(" {text}"))
}
