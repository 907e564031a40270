//! Templates in labels and annotations: the part of Prometheus' that fills in labels and the value.
//!
//! ```text
//! {{ $labels.service_name }}: {{ $value | humanizePercentage }} of requests fail
//! {{ printf "%.1f" $value }}     {{ .Value }}     {{ "text" | toUpper }}
//! ```
//! What is not supported (`if`, `range`, `with`, `query` …) fills in nothing: the text says so where the
//! template stood, and the rule's status too.

mod number;

use crate::promql::Labels;

/// What a template sees.
pub(crate) struct Data<'a> {
    pub(crate) labels: &'a Labels,
    pub(crate) value: f64,
}

#[derive(Clone, Debug, PartialEq)]
enum Term {
    Number(f64),
    Text(String),
}

impl Term {
    fn text(&self) -> String {
        match self {
            Self::Number(number) => number::plain(*number),
            Self::Text(text) => text.clone(),
        }
    }

    fn number(&self) -> Result<f64, String> {
        match self {
            Self::Number(number) => Ok(*number),
            Self::Text(text) => text.trim().parse().map_err(|_| format!("`{text}` is no number")),
        }
    }
}

const FUNCTIONS: &str = "humanize, humanize1024, humanizeDuration, humanizePercentage, humanizeTimestamp, \
                         printf, toUpper, toLower, title, stripPort";

/// Fills in a template.
///
/// # Errors
/// The first thing that cannot be filled in.
pub(crate) fn expand(template: &str, data: &Data<'_>) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = template;
    while let Some(start) = rest.find("{{") {
        let inside = &rest[start + 2..];
        let end =
            inside.find("}}").ok_or_else(|| format!("`{{{{` without `}}}}` at character {}", start + 1))?;
        let (mut action, after) = (&inside[..end], &inside[end + 2..]);
        let mut before = &rest[..start];
        if let Some(trimmed) = action.strip_prefix('-') {
            (action, before) = (trimmed, before.trim_end());
        }
        let trims_after = action.ends_with('-');
        action = action.strip_suffix('-').unwrap_or(action).trim();
        out.push_str(before);
        if !(action.starts_with("/*") && action.ends_with("*/")) {
            out.push_str(&pipeline(action, data)?.text());
        }
        rest = if trims_after { after.trim_start() } else { after };
    }
    out.push_str(rest);
    Ok(out)
}

fn pipeline(action: &str, data: &Data<'_>) -> Result<Term, String> {
    let mut result: Option<Term> = None;
    for command in split(action, '|')? {
        let mut words = split(command.trim(), ' ')?;
        words.retain(|word| !word.is_empty());
        let Some((first, arguments)) = words.split_first() else {
            return Err(format!("an empty command in `{action}`"));
        };
        let is_function = first.starts_with(|c: char| c.is_ascii_alphabetic());
        if is_function && !FUNCTIONS.split(", ").any(|name| name == *first) {
            return Err(format!("`{first}` is not supported; supported are {FUNCTIONS}"));
        }
        let mut arguments = arguments.iter().map(|word| term(word, data)).collect::<Result<Vec<_>, _>>()?;
        arguments.extend(result.take());
        result = Some(if is_function {
            call(first, &arguments)?
        } else if arguments.is_empty() {
            term(first, data)?
        } else {
            return Err(format!("`{first}` takes no arguments"));
        });
    }
    result.ok_or_else(|| "an empty template".to_owned())
}

/// Splits at `separator` outside of quotes.
fn split(text: &str, separator: char) -> Result<Vec<&str>, String> {
    let (mut parts, mut start, mut quote, mut escaped) = (Vec::new(), 0, None, false);
    for (at, c) in text.char_indices() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some('"') if c == '\\' => escaped = true,
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if c == '"' || c == '`' => quote = Some(c),
            None if c == separator || (separator == ' ' && c.is_whitespace()) => {
                parts.push(&text[start..at]);
                start = at + c.len_utf8();
            }
            None => {}
        }
    }
    if quote.is_some() {
        return Err(format!("a quote is never closed in `{text}`"));
    }
    parts.push(&text[start..]);
    Ok(parts)
}

fn term(word: &str, data: &Data<'_>) -> Result<Term, String> {
    if matches!(word, "$value" | ".Value") {
        return Ok(Term::Number(data.value));
    }
    if let Some(label) = word.strip_prefix("$labels.").or_else(|| word.strip_prefix(".Labels.")) {
        return Ok(Term::Text(data.labels.get(label).cloned().unwrap_or_default()));
    }
    if let Some(text) = word.strip_prefix('`').and_then(|text| text.strip_suffix('`')) {
        return Ok(Term::Text(text.to_owned()));
    }
    if word.starts_with('"') {
        return serde_json::from_str(word).map(Term::Text).map_err(|_| format!("`{word}` is no string"));
    }
    if let Ok(number) = word.parse::<f64>() {
        return Ok(Term::Number(number));
    }
    Err(format!("`{word}` is not supported: use $labels.NAME, $value, text, numbers and {FUNCTIONS}"))
}

fn call(name: &str, arguments: &[Term]) -> Result<Term, String> {
    if name == "printf" {
        let (format, arguments) = arguments.split_first().ok_or("`printf` needs a format")?;
        return number::printf(&format.text(), arguments).map(Term::Text);
    }
    let function: fn(&Term) -> Result<String, String> = match name {
        "humanize" => |term| Ok(number::humanize(term.number()?)),
        "humanize1024" => |term| Ok(number::humanize_1024(term.number()?)),
        "humanizeDuration" => |term| Ok(number::humanize_duration(term.number()?)),
        "humanizePercentage" => |term| Ok(number::percentage(term.number()?)),
        "humanizeTimestamp" => |term| Ok(number::timestamp(term.number()?)),
        "toUpper" => |term| Ok(term.text().to_uppercase()),
        "toLower" => |term| Ok(term.text().to_lowercase()),
        "title" => |term| Ok(title(&term.text())),
        // `pipeline` lets nothing pass that is not in `FUNCTIONS`.
        _ => |term| Ok(strip_port(&term.text())),
    };
    match arguments {
        [argument] => function(argument).map(Term::Text),
        _ => Err(format!("`{name}` takes one argument, not {}", arguments.len())),
    }
}

fn title(text: &str) -> String {
    let mut at_start = true;
    let upper = |c: char| {
        let is_start = std::mem::replace(&mut at_start, !c.is_alphanumeric());
        if is_start { c.to_ascii_uppercase() } else { c }
    };
    text.chars().map(upper).collect()
}

fn strip_port(text: &str) -> String {
    match text.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host.to_owned(),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(template: &str, value: f64, expected: &str) {
        let labels = [("service", "billing"), ("instance", "10.0.0.1:80")];
        let labels = labels.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        assert_eq!(expand(template, &Data { labels: &labels, value }), Ok(expected.to_owned()), "{template}");
    }

    #[test]
    fn labels_and_values_are_filled_in() {
        check("{{ $labels.service }} has {{$value}}", 0.25, "billing has 0.25");
        check("{{ .Labels.service | toUpper }}: {{ .Value }}", 3.0, "BILLING: 3");
        check("{{ $labels.nothing }}|", 0.0, "|");
        check("{{ $labels.instance | stripPort }}", 0.0, "10.0.0.1");
        check("a {{- \" }|\" -}} b", 0.0, "a }|b");
        check("no template", 0.0, "no template");
    }

    #[test]
    fn numbers_are_written_for_people() {
        check("{{ $value | humanizePercentage }}", 0.0431, "4.31%");
        check("{{ humanize $value }}", 1_234_567.0, "1.235M");
        check("{{ humanize $value }}", 0.000_12, "120u");
        check("{{ humanize1024 $value }}", 2048.0, "2ki");
        check("{{ $value | humanizeDuration }}", 0.42, "420ms");
        check("{{ $value | humanizeDuration }}", 93_784.0, "1d 2h 3m 4s");
        check("{{ $value | humanizeDuration }}", 4.1, "4.1s");
        check("{{ $value | humanizeTimestamp }}", 0.0, "1970-01-01 00:00:00 +0000 UTC");
        check("{{ printf \"%.2f%% of %s\" $value $labels.service }}", 12.345, "12.35% of billing");
        check("{{ $value | printf \"%d|%v|%q\" 3 \"a\" }}", 1.0, "3|a|\"1\"");
        check("{{ $value }}", f64::INFINITY, "+Inf");
        check("{{ $value }}", 1e21, "1e+21");
    }

    #[test]
    fn what_cannot_be_filled_in_is_an_error_that_names_it() {
        let data = Data { labels: &Labels::new(), value: 1.0 };
        for (template, expected) in [
            ("{{ with query \"up\" }}x{{ end }}", "`with` is not supported"),
            ("{{ $label.foo }}", "`$label.foo` is not supported"),
            ("{{ $value", "without `}}`"),
            ("{{ \"a }}", "never closed"),
            ("{{ }}", "an empty command"),
            ("{{ humanize }}", "takes one argument, not 0"),
            ("{{ \"x\" | humanize }}", "`x` is no number"),
            ("{{ $value 1 }}", "takes no arguments"),
            ("{{ printf \"%z\" 1 }}", "%z"),
            ("{{ printf \"%s\" }}", "lacks an argument"),
        ] {
            let found = expand(template, &data).expect_err(template);
            assert!(found.contains(expected), "{template}: {found:?} lacks {expected:?}");
        }
    }
}
