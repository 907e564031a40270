//! What `/api/v1/alerts` answers.

use std::collections::BTreeMap;

use dashboards::rule::RuleKind;
use model::UnixNano;
use query_api::{Alert, AlertState, AlertsAnswer, RuleStatus};

use super::group::{GroupState, RuleState};
use super::nanos;
use crate::rules::active::ActiveAlert;

pub(super) fn answer<'a>(
    now: UnixNano,
    groups: impl Iterator<Item = &'a GroupState>,
    file_errors: &BTreeMap<String, String>,
) -> AlertsAnswer {
    let mut rules: Vec<RuleStatus> =
        groups.flat_map(|group| group.rules.iter().map(|rule| rule_status(group, rule))).collect();
    rules.sort_by(|a, b| b.state.cmp(&a.state).then_with(|| a.name.cmp(&b.name)));
    AlertsAnswer { time: now, rules, file_errors: file_errors.values().cloned().collect() }
}

fn rule_status(group: &GroupState, rule: &RuleState) -> RuleStatus {
    let mut alerts: Vec<Alert> = rule.alerts.iter().map(alert).collect();
    alerts.sort_by(|a, b| b.state.cmp(&a.state).then_with(|| a.labels.cmp(&b.labels)));
    let never = format!("recording rules are not supported yet: `{}` is not written", rule.rule.name);
    RuleStatus {
        name: rule.rule.name.clone(),
        group: group.name().to_owned(),
        file: group.path().to_owned(),
        line: rule.rule.line,
        lang: rule.rule.lang.name().to_owned(),
        expr: rule.rule.expr.clone(),
        for_nano: nanos(rule.rule.hold),
        state: alerts.first().map_or(AlertState::Inactive, |alert| alert.state),
        last_evaluation: rule.last_evaluation,
        error: rule.error.clone().or_else(|| (rule.rule.kind == RuleKind::Record).then_some(never)),
        history: rule
            .history
            .iter()
            .copied()
            .map(|value| if value.is_finite() { value } else { 0.0 })
            .collect(),
        alerts,
    }
}

fn alert(active: &ActiveAlert) -> Alert {
    Alert {
        labels: active.labels.clone(),
        annotations: active.annotations.clone(),
        state: if active.fired_at.is_some() { AlertState::Firing } else { AlertState::Pending },
        active_at: active.active_at,
        fired_at: active.fired_at,
        value: active.value,
    }
}
