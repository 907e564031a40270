//! The YAML of a rule file, as written, and the checks between its keys.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::yaml::{self, Location, Spanned, YamlError};
use serde::Deserialize;

use super::{FILE_BYTES_MAX, Lang, LogExpr, Rule, RuleError, RuleFile, RuleGroup, RuleKind, parse_duration};

/// Scalars such as `tier: 1.10` are text too, as they are written.
type Texts = BTreeMap<String, Spanned<String>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileYaml {
    #[serde(default)]
    groups: Vec<GroupYaml>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GroupYaml {
    name: Spanned<String>,
    interval: Option<Spanned<String>>,
    query_offset: Option<Spanned<String>>,
    #[serde(default)]
    limit: usize,
    #[serde(default)]
    labels: Texts,
    #[serde(default)]
    rules: Vec<Spanned<RuleYaml>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleYaml {
    alert: Option<Spanned<String>>,
    record: Option<Spanned<String>>,
    expr: Option<Spanned<String>>,
    lang: Option<Spanned<String>>,
    #[serde(rename = "for")]
    hold: Option<Spanned<String>>,
    keep_firing_for: Option<Spanned<String>>,
    #[serde(default)]
    labels: Texts,
    #[serde(default)]
    annotations: Texts,
}

pub(super) fn parse(path: &str, text: &str) -> Result<RuleFile, RuleError> {
    let reader = Reader { path };
    let is_blank = |line: &str| line.trim().is_empty() || line.trim_start().starts_with('#');
    if text.len() <= FILE_BYTES_MAX && text.lines().all(is_blank) {
        return Ok(RuleFile { path: path.to_owned(), groups: Vec::new() });
    }
    let yaml: FileYaml = yaml::read(text, FILE_BYTES_MAX).map_err(|error| reader.refused(error))?;
    let mut names = BTreeSet::new();
    let mut groups = Vec::with_capacity(yaml.groups.len());
    for group in yaml.groups {
        if !names.insert(group.name.value.clone()) {
            let message = format!("group `{}` stands twice in this file", group.name.value);
            return Err(reader.error(group.name.referenced, message));
        }
        groups.push(reader.group(group)?);
    }
    Ok(RuleFile { path: path.to_owned(), groups })
}

/// Turns what is written into rules, and mistakes into errors that name the file.
struct Reader<'a> {
    path: &'a str,
}

impl Reader<'_> {
    fn refused(&self, YamlError { line, column, message }: YamlError) -> RuleError {
        RuleError { path: self.path.to_owned(), line, column, message }
    }

    fn error(&self, place: Location, message: impl Into<String>) -> RuleError {
        self.refused(YamlError::at(place, message))
    }

    fn group(&self, yaml: GroupYaml) -> Result<RuleGroup, RuleError> {
        if yaml.name.value.is_empty() {
            return Err(self.error(yaml.name.referenced, "a group needs a name"));
        }
        let interval = self.duration(yaml.interval.as_ref())?;
        if let (Some(Duration::ZERO), Some(place)) = (interval, &yaml.interval) {
            return Err(self.error(place.referenced, "`interval` must be longer than 0"));
        }
        let rules = yaml.rules.into_iter().map(|rule| self.rule(rule));
        Ok(RuleGroup {
            interval,
            query_offset: self.duration(yaml.query_offset.as_ref())?,
            limit: yaml.limit,
            labels: self.labels(yaml.labels)?,
            rules: rules.collect::<Result<_, _>>()?,
            name: yaml.name.value,
        })
    }

    fn rule(&self, spanned: Spanned<RuleYaml>) -> Result<Rule, RuleError> {
        let place = spanned.referenced;
        let yaml = spanned.value;
        let (kind, name) = match (yaml.alert, yaml.record) {
            (Some(alert), None) => (RuleKind::Alert, alert),
            (None, Some(record)) => (RuleKind::Record, record),
            (Some(alert), Some(_)) => {
                return Err(self.error(alert.referenced, "only one of `record` and `alert` must be set"));
            }
            (None, None) => {
                return Err(self.error(place, "one of `record` or `alert` must be set"));
            }
        };
        if name.value.is_empty() {
            return Err(self.error(name.referenced, "a rule needs a name"));
        }
        if kind == RuleKind::Record {
            let misplaced = [("for", &yaml.hold), ("keep_firing_for", &yaml.keep_firing_for)];
            if let Some((key, Some(value))) = misplaced.iter().find(|(_, value)| value.is_some()) {
                return Err(self.error(value.referenced, format!("invalid field `{key}` in recording rule")));
            }
            if let Some(annotation) = yaml.annotations.values().next() {
                let message = "invalid field `annotations` in recording rule".to_owned();
                return Err(self.error(annotation.referenced, message));
            }
        }
        let expr = match yaml.expr {
            Some(expr) if !expr.value.trim().is_empty() => expr,
            Some(expr) => {
                return Err(self.error(expr.referenced, "field `expr` must be set in rule"));
            }
            None => return Err(self.error(place, "field `expr` must be set in rule")),
        };
        let lang = self.lang(yaml.lang.as_ref(), kind)?;
        if lang == Lang::Logs {
            LogExpr::parse(&expr.value).map_err(|message| self.error(expr.referenced, message))?;
        }
        Ok(Rule {
            kind,
            name: name.value,
            lang,
            hold: self.duration(yaml.hold.as_ref())?.unwrap_or_default(),
            keep_firing_for: self.duration(yaml.keep_firing_for.as_ref())?.unwrap_or_default(),
            labels: self.labels(yaml.labels)?,
            annotations: yaml.annotations.into_iter().map(|(key, text)| (key, text.value)).collect(),
            line: place.line(),
            expr_line: expr.referenced.line(),
            expr: expr.value.trim().to_owned(),
        })
    }

    fn lang(&self, lang: Option<&Spanned<String>>, kind: RuleKind) -> Result<Lang, RuleError> {
        let Some(lang) = lang else { return Ok(Lang::Promql) };
        match (lang.value.as_str(), kind) {
            ("promql", _) => Ok(Lang::Promql),
            ("logs", RuleKind::Alert) => Ok(Lang::Logs),
            ("logs", RuleKind::Record) => {
                Err(self.error(lang.referenced, "a recording rule must be `lang: promql`"))
            }
            (other, _) => {
                Err(self.error(lang.referenced, format!("unknown lang `{other}`: valid are promql, logs")))
            }
        }
    }

    fn labels(&self, texts: Texts) -> Result<BTreeMap<String, String>, RuleError> {
        let is_name = |name: &str| {
            name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
                && name != "__name__"
        };
        let mut labels = BTreeMap::new();
        for (name, value) in texts {
            if !is_name(&name) {
                return Err(self.error(value.referenced, format!("invalid label name: `{name}`")));
            }
            labels.insert(name, value.value);
        }
        Ok(labels)
    }

    fn duration(&self, text: Option<&Spanned<String>>) -> Result<Option<Duration>, RuleError> {
        let parse = |text: &Spanned<String>| {
            parse_duration(&text.value).map_err(|message| self.error(text.referenced, message))
        };
        text.map(parse).transpose()
    }
}
