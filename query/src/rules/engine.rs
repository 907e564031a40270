//! The engine: all groups, when each is due, what each rule's last evaluation found. No I/O, no clock.

mod group;
mod status;

use std::collections::BTreeMap;
use std::time::Duration;

use dashboards::rule::{self, Lang, LogExpr, RuleFile, RuleKind};
use model::UnixNano;
use query_api::AlertsAnswer;

use super::notice::Notice;
use super::persist::{RuleAlerts, RuleKey, State};
use super::{Cancel, EvalSource, Settings};
use crate::promql;
use group::GroupState;

/// A rule file as it was read.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// The file, as configured.
    pub path: String,
    /// Its content, or why it cannot be read.
    pub text: Result<String, String>,
}

/// All rules and their alerts.
#[derive(Debug)]
pub struct Engine {
    settings: Settings,
    /// Groups by file, in the order of the file.
    files: BTreeMap<String, Vec<GroupState>>,
    file_errors: BTreeMap<String, String>,
    /// Alerts from the state file whose rules have not been read yet.
    restored: BTreeMap<RuleKey, RuleAlerts>,
    restored_groups: BTreeMap<(String, String), UnixNano>,
}

impl Engine {
    /// An engine without rules that remembers `state`. Alerts that were pending longer ago than
    /// [`Settings::outage_tolerance`] are forgotten; firing ones never.
    pub fn new(settings: Settings, state: Option<&State>, now: UnixNano) -> Self {
        let mut engine = Self {
            files: BTreeMap::new(),
            file_errors: BTreeMap::new(),
            restored: BTreeMap::new(),
            restored_groups: BTreeMap::new(),
            settings,
        };
        if let Some(state) = state {
            let is_recent = now.since(state.saved_at) <= nanos(engine.settings.outage_tolerance);
            for rule in &state.rules {
                let mut rule = rule.clone();
                rule.alerts.retain(|alert| is_recent || alert.fired_at.is_some());
                engine.restored.insert(rule.key.clone(), rule);
            }
            let groups = state.groups.iter().map(|(path, name, time)| ((path.clone(), name.clone()), *time));
            engine.restored_groups = groups.collect();
        }
        engine
    }

    /// Takes a new set of files. A file that is wrong keeps the rules it held before and is named in the
    /// status; a file that is no longer there takes its rules with it. The notices resolve alerts whose
    /// rules are gone.
    pub fn reload(&mut self, files: &[SourceFile], now: UnixNano) -> Vec<Notice> {
        let mut before = std::mem::take(&mut self.files);
        self.file_errors.clear();
        let mut notices = Vec::new();
        for file in files {
            match self.check(file) {
                Ok(parsed) => {
                    let old = before.remove(&file.path).unwrap_or_default();
                    let (groups, resolved) = self.adopt(parsed, old, now);
                    self.files.insert(file.path.clone(), groups);
                    notices.extend(resolved);
                }
                Err(error) => {
                    self.file_errors.insert(file.path.clone(), error);
                    if let Some(old) = before.remove(&file.path) {
                        self.files.insert(file.path.clone(), old);
                    }
                }
            }
        }
        notices.extend(before.into_values().flatten().flat_map(|group| group.resolve_all(now)));
        notices.extend(self.resolve_orphans(now));
        notices
    }

    /// Parses a file and checks every expression in it.
    fn check(&self, file: &SourceFile) -> Result<RuleFile, String> {
        let text = file.text.as_ref().map_err(|error| format!("{}: {error}", file.path))?;
        let parsed = rule::parse(&file.path, text).map_err(|error| error.to_string())?;
        for rule in parsed.groups.iter().flat_map(|group| &group.rules) {
            let checked = match rule.lang {
                Lang::Promql => promql::check(&rule.expr).map_err(|error| error.to_string()),
                Lang::Logs => LogExpr::parse(&rule.expr)
                    .and_then(|expr| (self.settings.check_search)(&expr.search).map_err(|e| e.to_string())),
            };
            match (checked, rule.kind) {
                (Err(error), RuleKind::Alert) => {
                    return Err(format!("{}:{}: alert `{}`: {error}", file.path, rule.expr_line, rule.name));
                }
                (Err(error), RuleKind::Record) => {
                    return Err(format!("{}:{}: record `{}`: {error}", file.path, rule.expr_line, rule.name));
                }
                (Ok(()), _) => {}
            }
        }
        Ok(parsed)
    }

    /// Groups of a file, with the alerts that their rules had before.
    fn adopt(
        &mut self,
        file: RuleFile,
        old: Vec<GroupState>,
        now: UnixNano,
    ) -> (Vec<GroupState>, Vec<Notice>) {
        let mut old: BTreeMap<String, GroupState> =
            old.into_iter().map(|group| (group.name().to_owned(), group)).collect();
        let mut notices = Vec::new();
        let mut groups = Vec::with_capacity(file.groups.len());
        for parsed in file.groups {
            let mut group = GroupState::new(&file.path, parsed, self.settings.interval);
            if let Some(before) = old.remove(group.name()) {
                notices.extend(group.take_over(before, now));
            } else if let Some(last) =
                self.restored_groups.remove(&(file.path.clone(), group.name().to_owned()))
            {
                group.restore_schedule(last, now);
            }
            group.restore_alerts(&mut self.restored);
            groups.push(group);
        }
        notices.extend(old.into_values().flat_map(|group| group.resolve_all(now)));
        (groups, notices)
    }

    /// Resolves restored alerts whose rule is in no file; those of a broken file wait for it.
    fn resolve_orphans(&mut self, now: UnixNano) -> Vec<Notice> {
        let mut notices = Vec::new();
        let file_errors = &self.file_errors;
        self.restored.retain(|key, rule| {
            if file_errors.contains_key(&key.path) {
                return true;
            }
            let fired = rule.alerts.iter().filter(|alert| alert.fired_at.is_some());
            notices.extend(fired.map(|alert| Notice::resolved(alert, &key.path, now)));
            false
        });
        notices
    }

    /// Evaluates every group that is due, its rules one after the other; what changed.
    pub fn evaluate(&mut self, now: UnixNano, source: &dyn EvalSource) -> Vec<Notice> {
        self.evaluate_until(now, source, &Cancel::default())
    }

    pub(crate) fn evaluate_until(
        &mut self,
        now: UnixNano,
        source: &dyn EvalSource,
        cancel: &Cancel,
    ) -> Vec<Notice> {
        let due = self.files.values_mut().flatten().filter(|group| group.is_due(now));
        due.flat_map(|group| group.evaluate(now, source, cancel)).collect()
    }

    /// When the next group is due; `None` without groups. It may lie in the past.
    pub fn next_due(&self) -> Option<UnixNano> {
        self.files.values().flatten().map(GroupState::due_at).min()
    }

    /// Every alert that fires.
    pub fn firing(&self) -> Vec<Notice> {
        self.files.values().flatten().flat_map(GroupState::firing).collect()
    }

    /// What the API answers.
    pub fn status(&self, now: UnixNano) -> AlertsAnswer {
        status::answer(now, self.files.values().flatten(), &self.file_errors)
    }

    /// What must survive a restart, without the receivers' queues.
    pub fn state(&self, now: UnixNano) -> State {
        let mut state = State::new(now);
        for group in self.files.values().flatten() {
            state.rules.extend(group.alerts());
            state.groups.extend(group.last_evaluation());
        }
        state.rules.extend(self.restored.values().cloned());
        state
    }
}

pub(in crate::rules) fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}
