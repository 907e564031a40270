//! `[central]`: what a configuration that the collector hands out may say on this host, and laying it over
//! the local one.
//!
//! ```text
//! local files ─► tables ◄─ pushed text, refused with its place when it
//!                             · sets a table that [central] tables does not name
//!                             · names a path outside [central] folders
//!                             · holds a secret, a program to run, or `${…}`
//! ```
//!
//! A pushed table takes the place of the local one of the same name, whole; `[files.a]` leaves `[files.b]`
//! as it is. Why these bounds: docs/adr, "What central configuration may set".

use std::ops::Range;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use model::text::nearest;
use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// `[central]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CentralSettings {
    /// Whether configurations that the collector hands out are taken. Default `false`.
    pub accept: bool,
    /// The tables that they may set: `files`, `scrape`, `host`, `journald`, `report`, `syslog`, `statsd`.
    /// Default `files`, `scrape`, `host`, `journald`.
    pub tables: Vec<CentralTable>,
    /// Folders that paths in `files`, `report` and `scrape` must lie in. Default `/var/log`.
    pub folders: Vec<PathBuf>,
    /// How long a new one has to do well before it is kept; then, or when an input fails before, the last good
    /// one comes back. Default `60s`.
    #[serde(deserialize_with = "super::load::interval")]
    #[schemars(with = "String")]
    pub trial: Duration,
}

impl Default for CentralSettings {
    fn default() -> Self {
        use CentralTable::{Files, Host, Journald, Scrape};
        Self {
            accept: false,
            tables: vec![Files, Scrape, Host, Journald],
            folders: vec![PathBuf::from("/var/log")],
            trial: Duration::from_secs(60),
        }
    }
}

/// A table that a collector may be allowed to set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CentralTable {
    /// `[files.NAME]`
    Files,
    /// `[scrape.NAME]`
    Scrape,
    /// `[host]`
    Host,
    /// `[journald]`
    Journald,
    /// `[report.NAME]`
    Report,
    /// `[syslog]`: opens listeners.
    Syslog,
    /// `[statsd]`: opens listeners.
    Statsd,
}

impl CentralTable {
    const ALL: [Self; 7] =
        [Self::Files, Self::Scrape, Self::Host, Self::Journald, Self::Report, Self::Syslog, Self::Statsd];

    /// The table's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Scrape => "scrape",
            Self::Host => "host",
            Self::Journald => "journald",
            Self::Report => "report",
            Self::Syslog => "syslog",
            Self::Statsd => "statsd",
        }
    }
}

type Misplaced = (Range<usize>, String);

/// Checks that `table` says nothing that a collector may not say. Without `settings` only what no host
/// allows is looked for.
pub(super) fn check(table: &DeTable<'_>, settings: Option<&CentralSettings>) -> Result<(), Misplaced> {
    for (key, value) in table {
        let name = key.get_ref().as_ref();
        let Some(known) = CentralTable::ALL.into_iter().find(|table| table.name() == name) else {
            return Err((key.span(), never(name)));
        };
        if settings.is_some_and(|settings| !settings.tables.contains(&known)) {
            let problem = format!("this host does not let its collector set [{name}]: see [central] tables");
            return Err((key.span(), problem));
        }
        let DeValue::Table(inner) = value.get_ref() else { continue };
        if matches!(known, CentralTable::Files | CentralTable::Scrape | CentralTable::Report) {
            for member in inner.values() {
                if let DeValue::Table(member) = member.get_ref() {
                    check_keys(known, member, settings)?;
                }
            }
        } else {
            check_keys(known, inner, settings)?;
        }
        no_references(value)?;
    }
    Ok(())
}

fn never(name: &str) -> String {
    let all = CentralTable::ALL.map(CentralTable::name);
    let is_local = ["agent", "collector", "otlp", "spool", "memory", "admin", "central"].contains(&name);
    let hint = nearest(name, all).filter(|_| !is_local);
    let hint = hint.map(|near| format!(", did you mean `{near}`?")).unwrap_or_default();
    format!("[{name}] is not set by a collector{hint} (it may set {})", all.join(", "))
}

/// Keys that would run a program, hold a secret, or read what the host's owner does not offer.
fn check_keys(
    table: CentralTable,
    keys: &DeTable<'_>,
    settings: Option<&CentralSettings>,
) -> Result<(), Misplaced> {
    for (key, value) in keys {
        let name = key.get_ref().as_ref();
        let why = match (table, name) {
            (CentralTable::Journald, "command") => "names a program to run",
            (CentralTable::Host, "proc" | "cgroup") => "names a folder to read",
            (CentralTable::Scrape, "bearer_token") => "is a secret",
            _ => "",
        };
        if !why.is_empty() {
            let problem =
                format!("`{name}` {why}: only the host's own configuration sets it, never its collector");
            return Err((key.span(), problem));
        }
        let is_path = matches!(
            (table, name),
            (CentralTable::Files, "include")
                | (CentralTable::Report, "files")
                | (CentralTable::Scrape, "target_files")
        );
        if let (true, Some(settings), DeValue::Array(paths)) = (is_path, settings, value.get_ref()) {
            for path in paths.iter() {
                if let DeValue::String(text) = path.get_ref() {
                    check_path(text, &settings.folders).map_err(|problem| (path.span(), problem))?;
                }
            }
        }
    }
    Ok(())
}

/// Whether a path, or a glob's part before its first wildcard, lies in one of `folders`.
fn check_path(text: &str, folders: &[PathBuf]) -> Result<(), String> {
    let fixed: PathBuf = Path::new(text)
        .components()
        .take_while(|part| !part.as_os_str().to_string_lossy().contains(['*', '?', '[', '{', '\\']))
        .collect();
    // A `..` behind a wildcard would lead out again.
    let leads_out = text.contains("..") || fixed.components().any(|part| part == Component::ParentDir);
    if !leads_out && folders.iter().any(|folder| fixed.starts_with(folder)) {
        return Ok(());
    }
    let all = folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(", ");
    Err(format!("`{text}` lies outside of what this host offers its collector: {all} ([central] folders)"))
}

/// `${…}` would send what stands in the host's environment and files.
fn no_references(value: &Spanned<DeValue<'_>>) -> Result<(), Misplaced> {
    match value.get_ref() {
        DeValue::String(text) if text.contains("${") => {
            let problem = "`${…}` is not looked up in what a collector hands out: write the value".to_owned();
            Err((value.span(), problem))
        }
        DeValue::Table(table) => table.values().try_for_each(no_references),
        DeValue::Array(values) => values.iter().try_for_each(no_references),
        _ => Ok(()),
    }
}
