//! From the texts of `agent.toml` and `conf.d` to [`Config`]: `${NAME}`, `${NAME:-default}` and
//! `${file:/path}` in string values, errors with line, column and the nearest valid choice.
//!
//! Invariant: no message shows what a `${…}` was replaced by.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::dialect::Dialect;
use model::text::{nearest, place};
use serde::{Deserialize, Deserializer, de::Error as _};
use thiserror::Error;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Config, Listen, central};
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
    /// Reads a configuration file and the `conf.d/*.toml` beside it. Relative paths start at its folder.
    ///
    /// # Errors
    /// When one cannot be read, or the place of the first mistake.
    pub fn load(path: &Path) -> Result<Self, Error> {
        Loaded::with_pushed(path, None).map(|loaded| loaded.config)
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
        Self::parse_parts(&[(file, text)], variable)
    }

    /// Reads several files as one: `(name, text)` each. A table stands in one of them.
    ///
    /// # Errors
    /// The place of the first mistake.
    pub fn parse_parts(
        files: &[(&str, &str)],
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        Self::parse_with_pushed(files, None, variable)
    }

    /// As [`Config::parse_parts`], with what a collector handed out, `(name, text)`, laid over it: within the
    /// bounds of the files' own `[central]`, a table of it takes the place of the one of the same name.
    ///
    /// # Errors
    /// The place of the first mistake.
    pub fn parse_with_pushed(
        files: &[(&str, &str)],
        pushed: Option<(&str, &str)>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let mut merged = DeTable::new();
        let mut owners = BTreeMap::new();
        for (file, text) in files {
            let fail = |span, problem| misplaced(file, text, span, problem);
            let mut table =
                DeTable::parse(text).map_err(|error| fail(error.span(), one_line(error.message())))?;
            let expansion = Expansion { variable: &variable, replaced: RefCell::default() };
            substitute_table(table.get_mut(), &expansion)
                .map_err(|(span, problem)| fail(Some(span), problem))?;
            // Each file is read by itself first, so that a mistake has its place.
            Self::deserialize(toml::Deserializer::from(table.clone())).map_err(|error| {
                fail(error.span(), expansion.hide(&with_hint(&one_line(error.message()))))
            })?;
            merge(&mut merged, table.into_inner(), file, &mut owners)
                .map_err(|(span, problem)| fail(Some(span), problem))?;
        }
        if let Some((name, text)) = pushed {
            let local = Self::deserialize(toml::Deserializer::from(Spanned::new(0..0, merged.clone())))
                .map_err(|error| misplaced(name, text, None, one_line(error.message())))?;
            overlay(&mut merged, pushed_table(name, text, Some(&local.central))?);
        }
        let first = files.first().map_or("", |(file, _)| *file);
        let whole = |problem: String| ConfigError { file: first.to_owned(), line: 1, column: 1, problem };
        let config = Self::deserialize(toml::Deserializer::from(Spanned::new(0..0, merged)))
            .map_err(|error| whole(one_line(error.message())))?;
        let statsd = config.statsd.iter().flat_map(|statsd| &statsd.listen);
        if let Some(tcp) = statsd.into_iter().find(|listen| matches!(listen, Listen::Tcp(_))) {
            return Err(whole(format!("[statsd] listens on udp:// and unix:// only, not on `{tcp}`")));
        }
        let tls = config.collector.tls.iter();
        if tls.into_iter().any(|tls| tls.cert.is_some() != tls.key.is_some()) {
            return Err(whole("[collector] tls: `cert` and `key` go together: set both or none".to_owned()));
        }
        if !config.has_input() {
            return Err(whole(
                "nothing to ship: add a [files.NAME] table with `include`, or [otlp]".to_owned(),
            ));
        }
        Ok(config)
    }

    /// The socket on which a running agent answers `status`, `files` and `tail`, also without an `[admin]` listener.
    pub fn admin_socket(&self) -> PathBuf {
        self.agent.data_dir.join("admin.sock")
    }

    /// A fingerprint of the settings, the same for the same settings.
    pub fn version(&self) -> String {
        // Secrets are not shown by `Debug`; one that changes alone keeps the version.
        format!("{:016x}", xxhash_rust::xxh3::xxh3_64(format!("{self:?}").as_bytes()))
    }

    /// The tables that differ from `other` and that everything depends on, so that the agent has to drain
    /// and start anew to use them. The other tables are exchanged while it runs.
    pub fn needs_restart(&self, other: &Self) -> Vec<&'static str> {
        let differs = [
            ("agent", self.agent != other.agent),
            ("collector", self.collector != other.collector),
            // Only the first table and the last one: reading files has a share of the memory.
            ("files", self.files.is_empty() != other.files.is_empty()),
            ("otlp", self.otlp != other.otlp),
            ("spool", self.spool != other.spool),
            ("memory", self.memory != other.memory),
            ("admin", self.admin != other.admin),
            ("central", self.central != other.central),
        ];
        differs.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
    }

    fn has_input(&self) -> bool {
        let has_otlp = self.otlp.grpc.is_some() || self.otlp.http.is_some() || self.otlp.unix.is_some();
        let has_one = self.syslog.is_some() || self.journald.is_some() || self.statsd.is_some();
        let has_group = !(self.files.is_empty() && self.scrape.is_empty() && self.report.is_empty());
        has_otlp || has_one || has_group || self.host.is_some()
    }

    fn resolve(&mut self, folder: &Path) {
        self.agent.data_dir = folder.join(&self.agent.data_dir);
        if let Some(tls) = &mut self.collector.tls {
            for path in [&mut tls.ca, &mut tls.cert, &mut tls.key].into_iter().flatten() {
                *path = folder.join(&*path);
            }
        }
        for files in self.files.values_mut() {
            for glob in &mut files.include {
                let resolved: PathBuf = folder.join(&*glob);
                *glob = resolved.to_string_lossy().into_owned();
            }
        }
        let listed = self.scrape.values_mut().flat_map(|scrape| &mut scrape.target_files);
        for path in listed.chain(self.report.values_mut().flat_map(|report| &mut report.files)) {
            *path = folder.join(&*path);
        }
    }
}

/// A configuration and the texts it was made of.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// Name and text of each part as it stands, `${…}` included; the pushed one comes last.
    pub parts: Vec<(String, String)>,
    /// Whether something pushed is among them.
    pub has_pushed: bool,
}

impl Loaded {
    /// As [`Loaded::with_pushed`], of a file that a collector might hand out.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn with_pushed_file(path: &Path, pushed: &Path) -> Result<Self, Error> {
        let name = pushed.display().to_string();
        let text = std::fs::read_to_string(pushed)
            .map_err(|error| Error::new(ErrorKind::Config, format!("cannot read `{name}`: {error}")))?;
        Self::with_pushed(path, Some((&name, &text)))
    }

    /// Reads a configuration file, its `conf.d`, and lays over them what a collector handed out: its name
    /// and text.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn with_pushed(path: &Path, pushed: Option<(&str, &str)>) -> Result<Self, Error> {
        let paths = parts_of(path);
        let mut parts = Vec::with_capacity(paths.len() + 1);
        for path in &paths {
            let text = std::fs::read_to_string(path).map_err(|error| {
                Error::new(ErrorKind::Config, format!("cannot read `{}`: {error}", path.display()))
            })?;
            parts.push((path.display().to_string(), text));
        }
        let texts: Vec<(&str, &str)> =
            parts.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        let mut config = Config::parse_with_pushed(&texts, pushed, |name| std::env::var(name).ok())?;
        // Made absolute first: a name without a folder has an empty one, which cannot be.
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
        config.resolve(path.parent().unwrap_or(&path));
        parts.extend(pushed.map(|(name, text)| (name.to_owned(), text.to_owned())));
        Ok(Self { config, parts, has_pushed: pushed.is_some() })
    }
}

/// Checks a text that a collector is to hand out, before any host sees it: its keys and values, and that it
/// sets only what a collector may set at all. Each host checks its own bounds besides.
///
/// # Errors
/// The place of the first mistake.
pub fn check_pushed(name: &str, text: &str) -> Result<(), ConfigError> {
    pushed_table(name, text, None).map(drop)
}

fn pushed_table<'i>(
    name: &str,
    text: &'i str,
    settings: Option<&central::CentralSettings>,
) -> Result<DeTable<'i>, ConfigError> {
    let fail = |span, problem| misplaced(name, text, span, problem);
    let table = DeTable::parse(text).map_err(|error| fail(error.span(), one_line(error.message())))?;
    // What may be said at all comes first: an unknown table is told with those that may be set.
    central::check(table.get_ref(), settings).map_err(|(span, problem)| fail(Some(span), problem))?;
    Config::deserialize(toml::Deserializer::from(table.clone()))
        .map_err(|error| fail(error.span(), with_hint(&one_line(error.message()))))?;
    if table.get_ref().is_empty() {
        return Err(fail(None, "it sets nothing: add a table, as [files.NAME]".to_owned()));
    }
    Ok(table.into_inner())
}

/// Puts tables in the place of those of the same name.
fn overlay<'i>(merged: &mut DeTable<'i>, pushed: DeTable<'i>) {
    for (key, value) in pushed {
        let is_group = GROUPS.contains(&key.get_ref().as_ref());
        let span = value.span();
        match (merged.get_mut(&key).map(Spanned::get_mut), value.into_inner()) {
            (Some(DeValue::Table(there)), DeValue::Table(inner)) if is_group => there.extend(inner),
            (_, value) => drop(merged.insert(key, Spanned::new(span, value))),
        }
    }
}

fn misplaced(file: &str, text: &str, span: Option<Range<usize>>, problem: String) -> ConfigError {
    let (line, column) = place(text, span.map_or(0, |span| span.start));
    ConfigError { file: file.to_owned(), line, column, problem }
}

/// A configuration file, then the `*.toml` of the folder `conf.d` beside it, by name.
pub fn parts_of(path: &Path) -> Vec<PathBuf> {
    let folder = path.parent().map(|folder| folder.join("conf.d")).unwrap_or_default();
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut more: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    more.sort();
    std::iter::once(path.to_path_buf()).chain(more).collect()
}

/// Tables of tables: their parts may stand in different files.
const GROUPS: [&str; 3] = ["files", "scrape", "report"];

/// Adds a file's tables; one that another file has already is a mistake.
fn merge<'i>(
    merged: &mut DeTable<'i>,
    table: DeTable<'i>,
    file: &str,
    owners: &mut BTreeMap<String, String>,
) -> Result<(), Misplaced> {
    let mut claim = |name: String, span: Range<usize>| match owners.insert(name.clone(), file.to_owned()) {
        Some(other) if other != file => {
            Err((span, format!("[{name}] stands in `{other}` too: keep it in one file")))
        }
        _ => Ok(()),
    };
    for (key, value) in table {
        let (name, span) = (key.get_ref().to_string(), key.span());
        let is_group = GROUPS.contains(&name.as_str());
        match (is_group, value.get_ref()) {
            (true, DeValue::Table(inner)) => {
                for member in inner.keys() {
                    claim(format!("{name}.{}", member.get_ref()), member.span())?;
                }
            }
            _ => claim(name, span.clone())?,
        }
        match (merged.get_mut(&key).map(Spanned::get_mut), value.into_inner()) {
            (Some(DeValue::Table(there)), DeValue::Table(inner)) if is_group => there.extend(inner),
            (_, value) => drop(merged.insert(key, Spanned::new(span, value))),
        }
    }
    Ok(())
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

/// Looks up what `${…}` stands for, and remembers it so that no message shows it.
struct Expansion<'a> {
    variable: &'a dyn Fn(&str) -> Option<String>,
    replaced: RefCell<Vec<(String, String)>>,
}

/// Bytes of a secret's file.
const SECRET_BYTES_MAX: u64 = 64 << 10;

impl Expansion<'_> {
    /// The value of what stands between the braces.
    fn value(&self, inner: &str) -> Result<String, String> {
        let value = match inner.strip_prefix("file:") {
            Some(path) => secret(path)?,
            None => {
                let (name, default) = match inner.split_once(":-") {
                    Some((name, default)) => (name, Some(default)),
                    None => (inner, None),
                };
                let value = (self.variable)(name).filter(|value| !value.is_empty());
                value.or(default.map(str::to_owned)).ok_or_else(|| {
                    format!("environment variable `{name}` is not set: set it, or write ${{{name}:-default}}")
                })?
            }
        };
        self.replaced.borrow_mut().push((value.clone(), format!("${{{inner}}}")));
        Ok(value)
    }

    /// A message with what was looked up written as it stands in the file.
    fn hide(&self, message: &str) -> String {
        let replaced = self.replaced.borrow();
        replaced
            .iter()
            .filter(|(value, _)| value.len() >= 4)
            .fold(message.to_owned(), |message, (value, written)| message.replace(value.as_str(), written))
    }
}

/// The text of a secret's file, without the line end.
fn secret(path: &str) -> Result<String, String> {
    let problem = |error: std::io::Error| format!("cannot read the secret `{path}`: {error}");
    let mut text = String::new();
    let mut file = std::fs::File::open(path).map_err(problem)?;
    std::io::Read::read_to_string(&mut std::io::Read::take(&mut file, SECRET_BYTES_MAX), &mut text)
        .map_err(problem)?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

fn substitute_table(table: &mut DeTable<'_>, expansion: &Expansion<'_>) -> Result<(), Misplaced> {
    table.iter_mut().try_for_each(|(_, value)| substitute(value, expansion))
}

fn substitute(value: &mut Spanned<DeValue<'_>>, expansion: &Expansion<'_>) -> Result<(), Misplaced> {
    let span = value.span();
    match value.get_mut() {
        DeValue::String(text) if text.contains("${") => {
            *text = expand(text, expansion).map_err(|problem| (span, problem))?.into();
            Ok(())
        }
        DeValue::Table(table) => substitute_table(table, expansion),
        DeValue::Array(values) => values.iter_mut().try_for_each(|value| substitute(value, expansion)),
        _ => Ok(()),
    }
}

fn expand(text: &str, expansion: &Expansion<'_>) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (inner, after) = after.split_once('}').ok_or("`${` without its `}`")?;
        out.push_str(before);
        out.push_str(&expansion.value(inner)?);
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
        Some("http" | "https") if uri.host().is_some_and(|host| !host.is_empty()) => {
            Ok(url.trim_end_matches('/').to_owned())
        }
        _ => Err(format!(
            "`{url}` is no endpoint: write http://HOST:PORT or https://HOST:PORT, as in http://127.0.0.1:4318"
        )),
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

/// A duration of at least 100 ms.
pub(super) fn interval<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let interval = model::units::duration::deserialize(deserializer)?;
    let is_enough = interval >= Duration::from_millis(100);
    if is_enough { Ok(interval) } else { Err(D::Error::custom("an interval is 100ms or more")) }
}

pub(super) fn batch_bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    within(model::units::size::deserialize::<u64, _>(deserializer)?, 1 << 10, 3 << 20, "1KiB to 3MiB")
}

pub(super) fn spool_bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let bytes = model::units::size::deserialize::<u64, _>(deserializer)?;
    within(bytes, 1 << 20, u64::MAX, "1MiB or more").map(Some)
}

pub(super) fn memory_bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let bytes = model::units::size::deserialize::<u64, _>(deserializer)?;
    within(bytes, 1 << 20, 1 << 40, "1MiB to 1TiB").map(Some)
}

fn within<E: serde::de::Error>(bytes: u64, least: u64, most: u64, allowed: &str) -> Result<u64, E> {
    let is_allowed = (least..=most).contains(&bytes);
    if is_allowed { Ok(bytes) } else { Err(E::custom(format!("{bytes} bytes is out of range: {allowed}"))) }
}
