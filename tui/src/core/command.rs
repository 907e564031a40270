//! The command line: what follows `:`. Unknown words get the nearest known one as an answer.

use super::range::Range;
use super::state::Screen;
use model::UnixNano;

/// A command that was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Show a screen.
    Show(Screen),
    /// Show the journey of an id.
    Journey(String),
    /// Show logs that match a search.
    Logs(String),
    /// Set the time range.
    Range(Range),
    /// Show a board.
    Board(String),
    /// Show the keys.
    Help,
    /// Quit.
    Quit,
}

/// The words, for completion and for the nearest one.
const WORDS: [&str; 14] = [
    "corr", "trace", "id", "logs", "range", "dash", "services", "journey", "alerts", "board", "fleet",
    "doctor", "help", "quit",
];

/// Reads a command.
///
/// # Errors
/// For people: what is not understood and what would be.
pub(crate) fn parse(text: &str, now: UnixNano) -> Result<Command, String> {
    let text = text.trim().trim_start_matches(':').trim_start();
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let rest = rest.trim();
    match word {
        "corr" | "trace" | "id" if rest.is_empty() => {
            Err(format!("`{word}` needs an id, as in `{word} ORD-4711` or `{word} order_id=ORD-4711`"))
        }
        "corr" | "trace" | "id" => Ok(Command::Journey(rest.to_owned())),
        "logs" => Ok(Command::Logs(rest.to_owned())),
        "range" | "since" => Range::parse(rest, now).map(Command::Range),
        "dash" | "board" if !rest.is_empty() => Ok(Command::Board(rest.to_owned())),
        "dash" | "board" => Ok(Command::Show(Screen::Board)),
        "services" => Ok(Command::Show(Screen::Services)),
        "journey" => Ok(Command::Show(Screen::Journey)),
        "alerts" => Ok(Command::Show(Screen::Alerts)),
        "fleet" => Ok(Command::Show(Screen::Fleet)),
        "doctor" => Ok(Command::Show(Screen::Doctor)),
        "help" => Ok(Command::Help),
        "q" | "quit" | "exit" => Ok(Command::Quit),
        "" => Err("type a command, as in `corr ORD-4711`".to_owned()),
        _ => Err(match model::text::nearest(word, WORDS.iter().copied()) {
            Some(near) => format!("unknown command `{word}`: did you mean `{near}`?"),
            None => format!("unknown command `{word}`: known are {}", WORDS.join(", ")),
        }),
    }
}

/// `text` with its first word completed, when one command begins so.
pub(crate) fn complete(text: &str) -> Option<String> {
    let typed = text.trim_start();
    if typed.is_empty() || typed.contains(' ') {
        return None;
    }
    let mut matching = WORDS.iter().filter(|word| word.starts_with(typed));
    match (matching.next(), matching.next()) {
        (Some(word), None) => Some(format!("{word} ")),
        _ => None,
    }
}

/// `text` as one word of a shell command.
pub(crate) fn quoted(text: &str) -> String {
    let is_plain = |char: char| char.is_ascii_alphanumeric() || "-_./:=@%+,".contains(char);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Command, String> {
        parse(text, UnixNano(0))
    }

    #[test]
    fn commands_read_with_their_arguments() {
        assert_eq!(read("corr order_id=ORD-4711"), Ok(Command::Journey("order_id=ORD-4711".to_owned())));
        assert_eq!(read(" logs  level>=error x "), Ok(Command::Logs("level>=error x".to_owned())));
        assert_eq!(read("dash shop"), Ok(Command::Board("shop".to_owned())));
        assert_eq!(read("q"), Ok(Command::Quit));
    }

    #[test]
    fn a_wrong_command_says_which_one_is_near() {
        assert!(
            read("lgos x").is_err_and(|problem| problem.contains("known are") || problem.contains("`logs`"))
        );
        assert!(read("alert").is_err_and(|problem| problem.contains("did you mean `alerts`?")));
        assert!(read("corr").is_err_and(|problem| problem.contains("needs an id")));
        assert_eq!(complete("al"), Some("alerts ".to_owned()));
        assert_eq!(complete("x"), None);
    }

    #[test]
    fn shell_words_are_quoted_when_they_must_be() {
        assert_eq!(quoted("ORD-4711"), "ORD-4711");
        assert_eq!(quoted("level>=warn"), "'level>=warn'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
