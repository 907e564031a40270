//! `ids.yaml` as written, and the checks between its kinds.

use serde::Deserialize;

use super::{FANOUT_DEFAULT, IdKind, IdRules, LINK, LINK_DEFAULT, Normalise, TRACE_ID};
use crate::text::meant;
use crate::time::parse_duration;
use crate::yaml::{self, Spanned, YamlError};

const DEFAULTS: &str = include_str!("defaults.yaml");
/// Bytes of a file.
const FILE_BYTES_MAX: usize = 1 << 20;
/// Kinds of a file.
const KINDS_MAX: usize = 200;
/// Sources of a file.
const SOURCES_MAX: usize = 2_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileYaml {
    kinds: Vec<KindYaml>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KindYaml {
    kind: Spanned<String>,
    #[serde(default)]
    sources: Vec<Spanned<String>>,
    link: Option<Spanned<bool>>,
    max_fanout: Option<Spanned<usize>>,
    max_age: Option<Spanned<String>>,
    #[serde(default)]
    normalise: Vec<Spanned<String>>,
    #[serde(rename = "as")]
    recorded_as: Option<Spanned<String>>,
}

impl Default for IdRules {
    /// The built-in rules.
    fn default() -> Self {
        Self::parse(DEFAULTS).expect("the built-in ids.yaml is tested")
    }
}

impl IdRules {
    /// The text of the built-in rules, to start a file of one's own from.
    pub const fn default_text() -> &'static str {
        DEFAULTS
    }

    /// Compiles the text of an `ids.yaml`.
    ///
    /// # Errors
    /// Unknown keys and sources, malformed patterns, renames in a circle: each with its place and what
    /// would be right.
    pub fn parse(text: &str) -> Result<Self, YamlError> {
        let file: FileYaml = yaml::read(text, FILE_BYTES_MAX)?;
        check_counts(&file)?;
        check_names(&file.kinds)?;
        check_renames(&file.kinds)?;
        let kinds = file.kinds.iter().map(kind).collect::<Result<Vec<_>, _>>()?;
        Self::compile(kinds).map_err(|(at, number, problem)| {
            let source = &file.kinds[at].sources[number];
            YamlError::at(source.referenced, format!("`{}`: {problem}", source.value))
        })
    }
}

fn check_counts(file: &FileYaml) -> Result<(), YamlError> {
    if let Some(kind) = file.kinds.get(KINDS_MAX) {
        return Err(YamlError::at(kind.kind.referenced, format!("{KINDS_MAX} kinds at most")));
    }
    match file.kinds.iter().flat_map(|kind| &kind.sources).nth(SOURCES_MAX) {
        Some(source) => Err(YamlError::at(source.referenced, format!("{SOURCES_MAX} sources at most"))),
        None => Ok(()),
    }
}

fn check_names(kinds: &[KindYaml]) -> Result<(), YamlError> {
    for (at, KindYaml { kind, .. }) in kinds.iter().enumerate() {
        let name = &kind.value;
        let is_reserved = [TRACE_ID, LINK].contains(&name.as_str());
        let is_well_formed = name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        let problem = if is_reserved {
            "is always known; to record other values as it, give another kind `as: trace_id`"
        } else if !is_well_formed {
            "is no name: write a-z, 0-9 and _, beginning with a letter"
        } else if kinds[..at].iter().any(|earlier| earlier.kind.value == *name) {
            "is already defined above"
        } else {
            continue;
        };
        return Err(YamlError::at(kind.referenced, format!("kind `{name}` {problem}")));
    }
    Ok(())
}

fn check_renames(kinds: &[KindYaml]) -> Result<(), YamlError> {
    let target = |name: &str| kinds.iter().find(|kind| kind.kind.value == name);
    for kind in kinds {
        let Some(recorded_as) = &kind.recorded_as else { continue };
        let mut path = vec![kind.kind.value.as_str()];
        let mut next = recorded_as.value.as_str();
        while !path.contains(&next) {
            path.push(next);
            match target(next) {
                Some(KindYaml { recorded_as: Some(further), .. }) => next = &further.value,
                Some(_) => break,
                None if next == TRACE_ID => break,
                None => {
                    let names = kinds.iter().map(|kind| kind.kind.value.as_str()).chain([TRACE_ID]);
                    let hint =
                        meant(next, names, || "name another kind of this file, or trace_id".to_owned());
                    return Err(YamlError::at(
                        recorded_as.referenced,
                        format!("`as: {next}` names no kind: {hint}"),
                    ));
                }
            }
        }
        if path.contains(&next) && path.last() != Some(&next) {
            let circle = format!("{} → {next}", path.join(" → "));
            let message = format!("renames go in a circle, {circle}: let one of these kinds keep its name");
            return Err(YamlError::at(recorded_as.referenced, message));
        }
        if path.len() == 1 {
            let message = format!("`{}` is renamed to itself: leave `as` out", kind.kind.value);
            return Err(YamlError::at(recorded_as.referenced, message));
        }
        check_renamed(kind, recorded_as)?;
    }
    Ok(())
}

/// Values that are recorded as another kind follow that kind's rules.
fn check_renamed(kind: &KindYaml, recorded_as: &Spanned<String>) -> Result<(), YamlError> {
    let places = [
        ("link", kind.link.as_ref().map(|of| of.referenced)),
        ("max_fanout", kind.max_fanout.as_ref().map(|of| of.referenced)),
        ("max_age", kind.max_age.as_ref().map(|of| of.referenced)),
    ];
    match places.into_iter().find_map(|(key, place)| Some((key, place?))) {
        None => Ok(()),
        Some((key, place)) => {
            let (kind, target) = (&kind.kind.value, &recorded_as.value);
            let message =
                format!("`{key}` has no meaning for `{kind}`, which is recorded as `{target}`: set it there");
            Err(YamlError::at(place, message))
        }
    }
}

fn kind(yaml: &KindYaml) -> Result<IdKind, YamlError> {
    let max_age = yaml.max_age.as_ref().map(|text| {
        parse_duration(&text.value)
            .map_err(|problem| YamlError::at(text.referenced, format!("max_age: {problem}")))
    });
    let steps = yaml.normalise.iter().map(|word| {
        let step = Normalise::ALL.iter().find(|(known, _)| *known == word.value);
        step.map(|(_, step)| *step).ok_or_else(|| {
            let words = Normalise::ALL.map(|(word, _)| word);
            let hint = meant(&word.value, words, || format!("the steps are {}", words.join(", ")));
            YamlError::at(word.referenced, format!("`{}` is no step of normalise: {hint}", word.value))
        })
    });
    Ok(IdKind {
        kind: yaml.kind.value.clone(),
        sources: yaml.sources.iter().map(|source| source.value.clone()).collect(),
        link: yaml.link.as_ref().map_or(LINK_DEFAULT, |link| link.value),
        max_fanout: yaml.max_fanout.as_ref().map_or(FANOUT_DEFAULT, |fanout| fanout.value),
        max_age: max_age.transpose()?,
        normalise: steps.collect::<Result<_, _>>()?,
        recorded_as: yaml.recorded_as.as_ref().map(|name| name.value.clone()),
    })
}
