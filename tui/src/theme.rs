//! From meaning to colour: the terminal's own 16 colours on its own background, or no colour at all.
//!
//! Invariant: no role is told from another by colour alone; every state also has a glyph and a word.

use ratatui::style::{Color, Modifier, Style};

use crate::core::line::Role;

/// How roles look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Theme {
    /// Colours may be used.
    pub(crate) color: bool,
}

const SERIES: [Color; 6] =
    [Color::Cyan, Color::Yellow, Color::Magenta, Color::Green, Color::Blue, Color::Red];

impl Theme {
    /// The style of a role.
    pub(crate) fn style(self, role: Role) -> Style {
        let style = Style::new();
        if !self.color {
            return match role {
                Role::Strong => style.add_modifier(Modifier::BOLD),
                Role::Bad => style.add_modifier(Modifier::BOLD | Modifier::UNDERLINED),
                Role::Warn => style.add_modifier(Modifier::UNDERLINED),
                Role::Dim | Role::Rule => style.add_modifier(Modifier::DIM),
                _ => style,
            };
        }
        match role {
            Role::Text => style,
            Role::Strong => style.add_modifier(Modifier::BOLD),
            Role::Dim | Role::Rule => style.add_modifier(Modifier::DIM),
            Role::Accent => style.fg(Color::Cyan),
            Role::Ok => style.fg(Color::Green),
            Role::Warn => style.fg(Color::Yellow),
            Role::Bad => style.fg(Color::Red).add_modifier(Modifier::BOLD),
            Role::Wait => style.fg(Color::Magenta),
            Role::Series(index) => style.fg(SERIES[usize::from(index) % SERIES.len()]),
        }
    }

    /// The style of the selected row: reversed, in the terminal's own two colours.
    pub(crate) fn selected(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }
}
