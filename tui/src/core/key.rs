//! Keys as values, and their text form: `j`, `<cr>`, `<esc>`, `<c-c>`. Tests and help write them so.

use std::fmt;

/// One key press.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    /// The character it produced.
    Char(char),
    /// A letter with Control held.
    Ctrl(char),
    /// Enter.
    Enter,
    /// Escape.
    Esc,
    /// Tab.
    Tab,
    /// Shift and Tab.
    BackTab,
    /// Backspace.
    Backspace,
    /// Delete.
    Delete,
    /// Arrow up.
    Up,
    /// Arrow down.
    Down,
    /// Arrow left.
    Left,
    /// Arrow right.
    Right,
    /// Page up.
    PageUp,
    /// Page down.
    PageDown,
    /// Home.
    Home,
    /// End.
    End,
}

const NAMED: [(&str, Key); 15] = [
    ("cr", Key::Enter),
    ("esc", Key::Esc),
    ("tab", Key::Tab),
    ("s-tab", Key::BackTab),
    ("bs", Key::Backspace),
    ("del", Key::Delete),
    ("up", Key::Up),
    ("down", Key::Down),
    ("left", Key::Left),
    ("right", Key::Right),
    ("pageup", Key::PageUp),
    ("pagedown", Key::PageDown),
    ("home", Key::Home),
    ("end", Key::End),
    ("space", Key::Char(' ')),
];

/// Reads keys from their text form. `<` that opens no name is the character itself.
pub(crate) fn parse(text: &str) -> Vec<Key> {
    let mut keys = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        match first {
            '<' => match named(rest) {
                Some((key, length)) => {
                    keys.push(key);
                    rest = &rest[length..];
                    continue;
                }
                None => keys.push(Key::Char('<')),
            },
            char => keys.push(Key::Char(char)),
        }
        rest = &rest[first.len_utf8()..];
    }
    keys
}

fn named(text: &str) -> Option<(Key, usize)> {
    let end = text.find('>')?;
    let name = &text[1..end];
    if let Some((_, key)) = NAMED.iter().find(|(known, _)| *known == name) {
        return Some((*key, end + 1));
    }
    let mut letter = name.strip_prefix("c-")?.chars();
    match (letter.next(), letter.next()) {
        (Some(letter), None) => Some((Key::Ctrl(letter), end + 1)),
        _ => None,
    }
}

impl fmt::Display for Key {
    /// For people: `j`, `Enter`, `Ctrl-c`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Char(' ') => f.write_str("Space"),
            Self::Char(char) => write!(f, "{char}"),
            Self::Ctrl(char) => write!(f, "Ctrl-{char}"),
            Self::Enter => f.write_str("Enter"),
            Self::Esc => f.write_str("Esc"),
            Self::Tab => f.write_str("Tab"),
            Self::BackTab => f.write_str("Shift-Tab"),
            Self::Backspace => f.write_str("Backspace"),
            Self::Delete => f.write_str("Del"),
            Self::Up => f.write_str("↑"),
            Self::Down => f.write_str("↓"),
            Self::Left => f.write_str("←"),
            Self::Right => f.write_str("→"),
            Self::PageUp => f.write_str("PgUp"),
            Self::PageDown => f.write_str("PgDn"),
            Self::Home => f.write_str("Home"),
            Self::End => f.write_str("End"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_strings_read_names_controls_and_plain_characters() {
        assert_eq!(
            parse("3/e<cr><c-c><x"),
            [
                Key::Char('3'),
                Key::Char('/'),
                Key::Char('e'),
                Key::Enter,
                Key::Ctrl('c'),
                Key::Char('<'),
                Key::Char('x')
            ]
        );
    }
}
