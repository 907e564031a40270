//! The screen as a pure function of the state. Draws lines made in `core` and `widget`; decides only
//! where they go.
//!
//! ```text
//!  header   screens · range · LIVE or PAUSED · clock
//!  body     the screen
//!  footer   keys that work here, or the prompt, or a notice
//! ```

use ratatui::Frame;

use crate::core::glyph;
use crate::core::layout::Size;
use crate::core::{Screen, State};
use crate::theme::Theme;

mod alerts;
mod board;
mod chrome;
mod doctor;
mod fleet;
mod help;
mod journey;
mod logs;
mod paint;
mod services;

use paint::{Area, Painter};

/// Draws `state`. The frame may have any size; what does not fit is cut.
pub(crate) fn view(state: &State, frame: &mut Frame<'_>) {
    let area = frame.area();
    let size = Size { width: area.width, height: area.height };
    let cursor = {
        let mut painter = Painter::new(frame.buffer_mut(), Theme { color: state.color });
        draw(state, size, &mut painter)
    };
    if let Some((x, y)) = cursor {
        frame.set_cursor_position((x, y));
    }
    if state.ascii {
        to_ascii(frame);
    }
}

fn draw(state: &State, size: Size, painter: &mut Painter<'_>) -> Option<(u16, u16)> {
    let all = Area { x: 0, y: 0, width: size.width, height: size.height };
    if size.is_too_small() {
        painter.line(all, 0, &chrome::too_small(size));
        return None;
    }
    let (header, rest) = all.split_top(1);
    let (body, footer) = rest.split_bottom(1);
    painter.line(header, 0, &chrome::header(state, size));
    match (state.help, state.screen) {
        (Some(top), _) => help::draw(state, top, body, painter),
        (None, Screen::Services) => services::draw(state, body, painter),
        (None, Screen::Journey) => journey::draw(state, body, painter),
        (None, Screen::Logs) => logs::draw(state, body, painter),
        (None, Screen::Alerts) => alerts::draw(state, body, painter),
        (None, Screen::Board) => board::draw(state, body, painter),
        (None, Screen::Fleet) => fleet::draw(state, body, painter),
        (None, Screen::Doctor) => doctor::draw(state, body, painter),
    }
    let (line, cursor) = chrome::footer(state, size);
    painter.line(footer, 0, &line);
    cursor.map(|column| (column.min(size.width - 1), size.height - 1))
}

/// Replaces every glyph by its ASCII twin, in place.
fn to_ascii(frame: &mut Frame<'_>) {
    for cell in &mut frame.buffer_mut().content {
        if !cell.symbol().is_ascii() {
            let twin = glyph::ascii(cell.symbol());
            cell.set_symbol(twin.get(..1).unwrap_or("?"));
        }
    }
}
