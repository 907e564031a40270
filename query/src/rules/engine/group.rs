//! One group: its schedule and its rules' state.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use dashboards::rule::{Rule, RuleGroup, RuleKind};
use model::UnixNano;

use super::nanos;
use crate::rules::active::{ActiveAlerts, Change};
use crate::rules::notice::Notice;
use crate::rules::persist::{RuleAlerts, RuleKey};
use crate::rules::{Cancel, EvalSource, eval};

/// Values of a rule that are kept for its picture.
const HISTORY_MAX: usize = 60;

#[derive(Debug)]
pub(super) struct RuleState {
    pub(super) rule: Rule,
    pub(super) key: RuleKey,
    pub(super) alerts: ActiveAlerts,
    pub(super) last_evaluation: Option<UnixNano>,
    pub(super) error: Option<String>,
    pub(super) history: VecDeque<f64>,
}

#[derive(Debug)]
pub(super) struct GroupState {
    path: String,
    group: RuleGroup,
    interval_nano: i64,
    /// When it is due next; the beginning of time before the first evaluation.
    due_at: UnixNano,
    last_evaluation: Option<UnixNano>,
    pub(super) rules: Vec<RuleState>,
}

impl GroupState {
    pub(super) fn new(path: &str, mut group: RuleGroup, interval_default: Duration) -> Self {
        let interval_nano = nanos(group.interval.unwrap_or(interval_default)).max(1);
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        let rules = std::mem::take(&mut group.rules).into_iter().map(|rule| {
            let count = counts.entry(rule.name.clone()).or_default();
            let key = RuleKey {
                path: path.to_owned(),
                group: group.name.clone(),
                rule: rule.name.clone(),
                nth: *count,
            };
            *count += 1;
            RuleState {
                rule,
                key,
                alerts: ActiveAlerts::default(),
                last_evaluation: None,
                error: None,
                history: VecDeque::new(),
            }
        });
        let rules = rules.collect();
        Self {
            path: path.to_owned(),
            group,
            interval_nano,
            due_at: UnixNano::MIN,
            last_evaluation: None,
            rules,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.group.name
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn due_at(&self) -> UnixNano {
        self.due_at
    }

    pub(super) fn is_due(&self, now: UnixNano) -> bool {
        // A clock that was set back must not stop evaluation until it has caught up.
        self.due_at <= now || self.due_at.since(now) > self.interval_nano
    }

    pub(super) fn last_evaluation(&self) -> Option<(String, String, UnixNano)> {
        Some((self.path.clone(), self.group.name.clone(), self.last_evaluation?))
    }

    /// Takes alerts, history and schedule of the same rules before a reload; resolves the others'.
    pub(super) fn take_over(&mut self, before: Self, now: UnixNano) -> Vec<Notice> {
        self.last_evaluation = before.last_evaluation;
        if before.interval_nano == self.interval_nano {
            self.due_at = before.due_at;
        }
        let mut notices = Vec::new();
        for mut old in before.rules {
            let is_same = |rule: &&mut RuleState| rule.key == old.key && rule.rule.kind == old.rule.kind;
            match self.rules.iter_mut().find(is_same) {
                Some(rule) => {
                    rule.alerts = old.alerts;
                    rule.history = old.history;
                    rule.last_evaluation = old.last_evaluation;
                    rule.error = old.error;
                }
                None => notices.extend(old.resolve(now)),
            }
        }
        notices
    }

    /// Goes on with the schedule from before a restart, so that evaluations missed meanwhile are noted.
    pub(super) fn restore_schedule(&mut self, last: UnixNano, now: UnixNano) {
        if last <= now {
            self.last_evaluation = Some(last);
            self.due_at = last.plus(self.interval_nano).min(now);
        }
    }

    pub(super) fn restore_alerts(&mut self, restored: &mut BTreeMap<RuleKey, RuleAlerts>) {
        for rule in &mut self.rules {
            for alert in restored.remove(&rule.key).into_iter().flat_map(|found| found.alerts) {
                rule.alerts.restore(alert);
            }
        }
    }

    pub(super) fn alerts(&self) -> impl Iterator<Item = RuleAlerts> {
        let with_alerts = self.rules.iter().filter(|rule| rule.alerts.iter().next().is_some());
        with_alerts
            .map(|rule| RuleAlerts { key: rule.key.clone(), alerts: rule.alerts.iter().cloned().collect() })
    }

    pub(super) fn firing(&self) -> impl Iterator<Item = Notice> {
        self.rules.iter().flat_map(|rule| {
            let place = rule.place();
            let firing = rule.alerts.iter().filter(|alert| alert.fired_at.is_some());
            firing.map(move |alert| Notice::firing(alert, &place))
        })
    }

    pub(super) fn resolve_all(self, now: UnixNano) -> Vec<Notice> {
        self.rules.into_iter().flat_map(|mut rule| rule.resolve(now)).collect()
    }

    /// Evaluates the rules in order and sets when the group is due again.
    pub(super) fn evaluate(
        &mut self,
        now: UnixNano,
        source: &dyn EvalSource,
        cancel: &Cancel,
    ) -> Vec<Notice> {
        let missed = self.advance(now);
        let mut notices = Vec::new();
        for rule in &mut self.rules {
            notices.extend(rule.evaluate(&self.group, now, source, cancel));
            if missed > 0 && rule.error.is_none() {
                rule.error = Some(format!("missed {missed} evaluations before {now}"));
            }
        }
        notices
    }

    /// Moves the schedule past `now`, keeping its rhythm; how many evaluations were missed.
    fn advance(&mut self, now: UnixNano) -> i64 {
        let late = now.since(self.due_at);
        let missed = match self.last_evaluation {
            Some(_) if late >= 0 => late / self.interval_nano,
            _ => 0,
        };
        self.due_at = match self.last_evaluation {
            Some(_) if late >= 0 => self.due_at.plus((missed + 1).saturating_mul(self.interval_nano)),
            _ => now.plus(self.interval_nano),
        };
        self.last_evaluation = Some(now);
        missed
    }
}

impl RuleState {
    /// `file:line`
    fn place(&self) -> String {
        format!("{}:{}", self.key.path, self.rule.line)
    }

    fn resolve(&mut self, now: UnixNano) -> Vec<Notice> {
        let place = self.place();
        self.alerts.resolve_all().iter().map(|alert| Notice::resolved(alert, &place, now)).collect()
    }

    fn evaluate(
        &mut self,
        group: &RuleGroup,
        now: UnixNano,
        source: &dyn EvalSource,
        cancel: &Cancel,
    ) -> Vec<Notice> {
        self.last_evaluation = Some(now);
        if self.rule.kind == RuleKind::Record {
            self.error =
                Some(format!("recording rules are not supported yet: `{}` is not written", self.rule.name));
            return Vec::new();
        }
        let found = match eval::evaluate(&self.rule, group, now, source, cancel) {
            Ok(found) => found,
            Err(error) => {
                self.error = Some(error);
                return Vec::new();
            }
        };
        self.error = found.template_error;
        self.history.push_back(found.peak);
        while self.history.len() > HISTORY_MAX {
            self.history.pop_front();
        }
        let (hold, keep) = (nanos(self.rule.hold), nanos(self.rule.keep_firing_for));
        let place = self.place();
        let changes = self.alerts.step(now, hold, keep, found.holding);
        let notices = changes.iter().map(|change| match change {
            Change::Fired(alert) => Notice::firing(alert, &place),
            Change::Resolved(alert) => Notice::resolved(alert, &place, now),
        });
        notices.collect()
    }
}
