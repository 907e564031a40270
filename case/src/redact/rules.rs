//! Redaction rules: what is looked for. The built-in ones, and a YAML file of one's own.
//!
//! ```yaml
//! defaults: true                      # what silmari redacts by itself, too; true unless told
//! attributes: ["enduser.*", card]     # globs on keys of attributes, resources, metric and alert labels
//! id_kinds: [user_id]                 # values of these id kinds
//! patterns:
//!   - email                           # known by name
//!   - name: account                   # or one's own; of a (capture) only the capture
//!     re: 'acct-(\d+)'
//! ```

use model::redact::{ValuePattern, known};
use model::text::meant;
use model::yaml::{self, Spanned, YamlError};
use serde::Deserialize;

/// Bytes of a file.
const FILE_BYTES_MAX: usize = 1 << 20;
/// Rules of one sort in a file.
const RULES_MAX: usize = 1_000;

/// What is redacted.
#[derive(Debug)]
pub struct Rules {
    attributes: Vec<String>,
    id_kinds: Vec<String>,
    pub(super) patterns: Vec<(String, ValuePattern)>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileYaml {
    defaults: Option<bool>,
    #[serde(default)]
    attributes: Vec<Spanned<String>>,
    #[serde(default)]
    id_kinds: Vec<Spanned<String>>,
    #[serde(default)]
    patterns: Vec<Spanned<PatternYaml>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum PatternYaml {
    Named(String),
    Own(OwnYaml),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OwnYaml {
    name: String,
    re: String,
}

impl Default for Rules {
    fn default() -> Self {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let pattern = |name: &&str| Some(((*name).to_owned(), ValuePattern::built_in(name)?));
        Self {
            attributes: owned(&known::ATTRIBUTES),
            id_kinds: owned(&known::ID_KINDS),
            patterns: known::PATTERNS.iter().filter_map(pattern).collect(),
        }
    }
}

impl Rules {
    /// Reads a file of rules.
    ///
    /// # Errors
    /// Unknown keys and patterns, and expressions that cannot be read: each with its place and what would be right.
    pub fn parse(text: &str) -> Result<Self, YamlError> {
        let file: FileYaml = yaml::read(text, FILE_BYTES_MAX)?;
        let mut rules = match file.defaults {
            Some(false) => Self { attributes: Vec::new(), id_kinds: Vec::new(), patterns: Vec::new() },
            None | Some(true) => Self::default(),
        };
        let counts = [file.attributes.len(), file.id_kinds.len(), file.patterns.len()];
        if let Some(count) = counts.iter().find(|count| **count > RULES_MAX) {
            let message = format!("{count} rules of one sort, {RULES_MAX} at most");
            return Err(YamlError::of_file(message));
        }
        for glob in &file.attributes {
            if glob.value.chars().all(|c| c == '*') {
                let message = format!("`{}` names every attribute: name a part of the key", glob.value);
                return Err(YamlError::at(glob.referenced, message));
            }
        }
        rules.attributes.extend(file.attributes.into_iter().map(|glob| glob.value));
        rules.id_kinds.extend(file.id_kinds.into_iter().map(|kind| kind.value));
        for pattern in file.patterns {
            rules.patterns.push(pattern_of(pattern)?);
        }
        Ok(rules)
    }

    /// The id kinds whose values are redacted.
    pub fn id_kinds(&self) -> &[String] {
        &self.id_kinds
    }

    /// The rule that names the key of an attribute or label, whatever its case. In labels `_` stands for `.`.
    pub(super) fn attribute(&self, key: &str) -> Option<&str> {
        let key = key.to_ascii_lowercase();
        let label = key.replace('_', ".");
        let names = |glob: &&String| {
            let glob = glob.to_ascii_lowercase();
            model::ids::is_glob_match(&glob, &key) || model::ids::is_glob_match(&glob, &label)
        };
        self.attributes.iter().find(names).map(String::as_str)
    }

    pub(super) fn is_redacted_kind(&self, kind: &str) -> bool {
        self.id_kinds.iter().any(|known| known == kind)
    }
}

fn pattern_of(yaml: Spanned<PatternYaml>) -> Result<(String, ValuePattern), YamlError> {
    let place = yaml.referenced;
    match yaml.value {
        PatternYaml::Named(name) => match ValuePattern::built_in(&name) {
            Some(pattern) => Ok((name, pattern)),
            None => {
                let names = known::VALUES.map(|(name, _)| name);
                let all = || format!("the patterns are {}; or write name and re", names.join(", "));
                let hint = meant(&name, names, all);
                Err(YamlError::at(place, format!("there is no pattern `{name}`: {hint}")))
            }
        },
        PatternYaml::Own(own) => match ValuePattern::new(&own.re) {
            Ok(pattern) => Ok((own.name, pattern)),
            Err(problem) => Err(YamlError::at(place, format!("`{}`: {problem}", own.name))),
        },
    }
}
