//! One condition on one label, compiled once for a query.

use regex_automata::meta::Regex;

use super::PromqlError;

/// How a label is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MatchOp {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`
    Regex,
    /// `!~`
    NotRegex,
}

/// One condition on one label. A label that is absent compares as empty text.
#[derive(Clone, Debug)]
pub struct Matcher {
    /// The label; `__name__` is the metric's name.
    pub name: String,
    /// How it is compared.
    pub op: MatchOp,
    /// What it is compared with; a regular expression holds for the whole label.
    pub value: String,
    regex: Option<Regex>,
}

impl Matcher {
    /// A condition; a regular expression is anchored at both ends and `.` matches a line break too.
    ///
    /// # Errors
    /// The regular expression is none, or compiles to more than 1 MiB.
    pub fn new(name: &str, op: MatchOp, value: &str) -> Result<Self, PromqlError> {
        let regex = match op {
            MatchOp::Equal | MatchOp::NotEqual => None,
            MatchOp::Regex | MatchOp::NotRegex => Some(anchored(value)?),
        };
        Ok(Self { name: name.to_owned(), op, value: value.to_owned(), regex })
    }

    /// Whether a label of this value passes.
    pub fn is_match(&self, value: &str) -> bool {
        let regex_matches = |regex: &Option<Regex>| regex.as_ref().is_some_and(|regex| regex.is_match(value));
        match self.op {
            MatchOp::Equal => self.value == value,
            MatchOp::NotEqual => self.value != value,
            MatchOp::Regex => regex_matches(&self.regex),
            MatchOp::NotRegex => !regex_matches(&self.regex),
        }
    }
}

const REGEX_BYTES_MAX: usize = 1 << 20;

/// Compiles `pattern` so that it has to match the whole text.
pub(crate) fn anchored(pattern: &str) -> Result<Regex, PromqlError> {
    let config = Regex::config().nfa_size_limit(Some(REGEX_BYTES_MAX));
    let compile = |pattern: &str| {
        let compiled = Regex::builder().configure(config.clone()).build(&format!("^(?s:{pattern})$"));
        compiled.map_err(|error| PromqlError::BadData(format!("error parsing regexp: {error}: `{pattern}`")))
    };
    compile(pattern).or_else(|error| compile(&escape_stray_braces(pattern)).map_err(|_| error))
}

/// Go reads `{` that opens no repetition as itself; here it must be escaped.
fn escape_stray_braces(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut rest = pattern;
    while let Some(found) = rest.find(['\\', '{']) {
        out.push_str(&rest[..found]);
        rest = &rest[found..];
        if let Some(after) = rest.strip_prefix('\\') {
            let escaped = after.chars().next().map_or(0, char::len_utf8);
            out.push_str(&rest[..1 + escaped]);
            rest = &rest[1 + escaped..];
        } else {
            let inside = rest[1..].split('}').next().unwrap_or("");
            let is_repetition = rest[1..].contains('}')
                && inside.starts_with(|c: char| c.is_ascii_digit())
                && inside.chars().all(|c| c.is_ascii_digit() || c == ',');
            out.push_str(if is_repetition { "{" } else { "\\{" });
            rest = &rest[1..];
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, text: &str, expected: bool) {
        let matcher = Matcher::new("a", MatchOp::Regex, pattern).expect("the pattern compiles");
        assert_eq!(matcher.is_match(text), expected, "{pattern} on {text}");
    }

    #[test]
    fn a_regex_holds_for_the_whole_label_alternatives_included() {
        check("foo|bar", "foo", true);
        check("foo|bar", "xbar", false);
        check("foo|bar", "foox", false);
        check("a.b", "a\nb", true);
        check("5..", "503", true);
    }

    #[test]
    fn a_brace_that_opens_no_repetition_is_itself() {
        check("a{b}", "a{b}", true);
        check("a{2}", "aa", true);
        check("a\\{2}", "a{2}", true);
    }

    #[test]
    fn a_broken_or_huge_regex_is_refused() {
        assert!(Matcher::new("a", MatchOp::Regex, "(").is_err());
        assert!(Matcher::new("a", MatchOp::Regex, r"(\pL{1000}){1000}").is_err());
    }
}
