//! From the text of `agent.toml` to [`Config`]: `${NAME}` and `${NAME:-default}` in string values,
//! errors with line, column and the nearest valid choice.

use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};

use model::dialect::Dialect;
use model::text::nearest;
use serde::{Deserialize, Deserializer, de::Error as _};
use thiserror::Error;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Config;
use crate::{Error, ErrorKind};

/// Why a configuration is not used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{file}:{line}:{column}: {problem}")]
pub struct ConfigError {
    /// The file.
    pub file: String,
    /// Its line, from 1.
    pub line: usize,
    /// Its column in characters, from 1.
    pub column: usize,
    /// What is wrong and what would be right.
    pub problem: String,
}

impl From<ConfigError> for Error {
    fn from(error: ConfigError) -> Self {
        Self::new(ErrorKind::Config, error.to_string())
    }
}

impl Config {
    /// Reads a configuration file. Relative paths in it start at its folder.
    ///
    /// # Errors
    /// When it cannot be read, or the place of the first mistake.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Error::new(ErrorKind::Config, format!("cannot read `{}`: {error}", path.display()))
        })?;
        let mut config = Self::parse(&text, &path.display().to_string(), |name| std::env::var(name).ok())?;
        let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
        config.resolve(&std::path::absolute(&folder).unwrap_or(folder));
        Ok(config)
    }

    /// Reads configuration text; `file` names it in errors, `variable` looks up `${NAME}`.
    ///
    /// # Errors
    /// The place of the first mistake.
    pub fn parse(
        text: &str,
        file: &str,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let fail = |span: Option<Range<usize>>, problem: String| {
            let (line, column) = place(text, span.map_or(0, |span| span.start));
            ConfigError { file: file.to_owned(), line, column, problem }
        };
        let mut table =
            DeTable::parse(text).map_err(|error| fail(error.span(), one_line(error.message())))?;
        substitute_table(table.get_mut(), &variable).map_err(|(span, problem)| fail(Some(span), problem))?;
        let config = Self::deserialize(toml::Deserializer::from(table))
            .map_err(|error| fail(error.span(), with_hint(&one_line(error.message()))))?;
        if config.files.is_empty() && config.otlp.grpc.is_none() && config.otlp.http.is_none() {
            return Err(fail(
                None,
                "nothing to ship: add a [files.NAME] table with `include`, or [otlp]".to_owned(),
            ));
        }
        Ok(config)
    }

    fn resolve(&mut self, folder: &Path) {
        self.agent.data_dir = folder.join(&self.agent.data_dir);
        for files in self.files.values_mut() {
            for glob in &mut files.include {
                let resolved: PathBuf = folder.join(&*glob);
                *glob = resolved.to_string_lossy().into_owned();
            }
        }
    }
}

fn place(text: &str, at: usize) -> (usize, usize) {
    let before = &text[..text.floor_char_boundary(at)];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Adds the nearest choice to serde's "unknown field/variant `x`, expected one of `a`, `b`".
fn with_hint(message: &str) -> String {
    let Some((head, choices)) =
        message.strip_prefix("unknown ").and_then(|rest| rest.split_once(", expected "))
    else {
        return message.to_owned();
    };
    let word = head.split('`').nth(1).unwrap_or_default();
    let hint = nearest(word, choices.split('`').skip(1).step_by(2));
    let hint = hint.map(|choice| format!(", did you mean `{choice}`?")).unwrap_or_default();
    let head = head.replacen("field", "key", 1).replacen("variant", "value", 1);
    format!("unknown {head}{hint} (expected {choices})")
}

type Misplaced = (Range<usize>, String);

fn substitute_table(
    table: &mut DeTable<'_>,
    variable: &impl Fn(&str) -> Option<String>,
) -> Result<(), Misplaced> {
    table.iter_mut().try_for_each(|(_, value)| substitute(value, variable))
}

fn substitute(
    value: &mut Spanned<DeValue<'_>>,
    variable: &impl Fn(&str) -> Option<String>,
) -> Result<(), Misplaced> {
    let span = value.span();
    match value.get_mut() {
        DeValue::String(text) if text.contains("${") => {
            *text = expand(text, variable).map_err(|problem| (span, problem))?.into();
            Ok(())
        }
        DeValue::Table(table) => substitute_table(table, variable),
        DeValue::Array(values) => values.iter_mut().try_for_each(|value| substitute(value, variable)),
        _ => Ok(()),
    }
}

fn expand(text: &str, variable: &impl Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (inner, after) = after.split_once('}').ok_or("`${` without its `}`")?;
        let (name, default) = match inner.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inner, None),
        };
        let value = variable(name).filter(|value| !value.is_empty()).or(default.map(str::to_owned));
        let value = value.ok_or_else(|| {
            format!("environment variable `{name}` is not set: set it, or write ${{{name}:-default}}")
        })?;
        out.push_str(before);
        out.push_str(&value);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a URL, or a list of URLs")]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

pub(super) fn endpoints<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let urls = match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(url) => vec![url],
        OneOrMany::Many(urls) => urls,
    };
    if urls.is_empty() {
        return Err(D::Error::custom("the list of endpoints is empty"));
    }
    urls.iter().map(|url| endpoint(url).map_err(D::Error::custom)).collect()
}

/// Checks a base URL and drops its trailing slash.
fn endpoint(url: &str) -> Result<String, String> {
    let uri: http::Uri = url.parse().map_err(|error| format!("`{url}` is no URL: {error}"))?;
    match uri.scheme_str() {
        Some("http") if uri.host().is_some_and(|host| !host.is_empty()) => {
            Ok(url.trim_end_matches('/').to_owned())
        }
        Some("https") => {
            Err(format!("`{url}`: this build speaks http only; put a TLS proxy beside the agent"))
        }
        _ => Err(format!("`{url}` is no endpoint: write http://HOST:PORT, as in http://127.0.0.1:4318")),
    }
}

pub(super) fn globs<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let globs = Vec::<String>::deserialize(deserializer)?;
    for glob in &globs {
        globset::Glob::new(glob)
            .map_err(|error| D::Error::custom(format!("`{glob}` is no glob: {}", error.kind())))?;
    }
    Ok(globs)
}

pub(super) fn dialect<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Dialect, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
}

pub(super) fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let wrong = |_| D::Error::custom(format!("`{text}` is no address: write IP:PORT, as in 127.0.0.1:4318"));
    text.parse().map(Some).map_err(wrong)
}

pub(super) fn batch_bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    within(model::units::size::deserialize::<u64, _>(deserializer)?, 1 << 10, 3 << 20, "1KiB to 3MiB")
}

pub(super) fn spool_bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    within(model::units::size::deserialize::<u64, _>(deserializer)?, 1 << 20, u64::MAX, "1MiB or more")
}

fn within<E: serde::de::Error>(bytes: u64, least: u64, most: u64, allowed: &str) -> Result<u64, E> {
    let is_allowed = (least..=most).contains(&bytes);
    if is_allowed { Ok(bytes) } else { Err(E::custom(format!("{bytes} bytes is out of range: {allowed}"))) }
}
