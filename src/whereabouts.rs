//! `silmari where ID`: the messages an id travelled in, and how far each consumer group is with them.

use std::fmt::Write as _;

use clap::Args;
use model::UnixNano;
use query_api::{GroupProgress, GroupState, MessageWhere, WhereAnswer};

use crate::exit::Failure;
use crate::ids::not_found;
use crate::output::{self, clean};
use crate::remote::{DAY, RangeArgs, ServerArgs};

/// Arguments of `where`.
#[derive(Args, Debug)]
pub(crate) struct WhereArgs {
    /// An order number, a correlation ID, a trace ID, a Kafka message key …, or kind=value
    id: String,
    #[command(flatten)]
    range: RangeArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(server: &ServerArgs, arguments: WhereArgs) -> Result<(), Failure> {
    let range = arguments.range.range(DAY)?;
    let answer = server.client()?.whereabouts(&arguments.id, range).await;
    let answer = answer.map_err(|error| not_found(&arguments.id, error))?;
    if arguments.json {
        return output::json(&answer);
    }
    output::text(&text(&answer))
}

fn text(answer: &WhereAnswer) -> String {
    let matched: Vec<String> = answer.matched.iter().map(|term| clean(&term.to_string())).collect();
    let mut out = format!("{}\n", matched.join("  "));
    if answer.messages.is_empty() {
        out.push_str("  in no message: nothing with this id names a topic, partition and offset\n");
        out.push_str("  without instrumented producers, [kafka_tap] in silmari.toml records them\n");
    }
    for message in &answer.messages {
        out.push_str(&produced(message));
        if message.groups.is_empty() {
            out.push_str(
                "    no consumer group is known; [kafka_tap] in silmari.toml looks at their offsets\n",
            );
        }
        for group in &message.groups {
            writeln!(out, "    {}", progress(group)).unwrap_or_default();
        }
    }
    for cut in &answer.cuts {
        let hint = cut.hint.as_ref().map(|hint| format!(" — {hint}")).unwrap_or_default();
        writeln!(out, "cut: {}{}", clean(&cut.what), clean(&hint)).unwrap_or_default();
    }
    out
}

fn produced(message: &MessageWhere) -> String {
    let MessageWhere { topic, partition, offset, produced_at, .. } = message;
    let by = match message.produced_by.as_str() {
        "" => String::new(),
        service => format!(" by {}", clean(service)),
    };
    let key = match message.key.as_str() {
        "" => String::new(),
        key => format!(" key {}", clean(key)),
    };
    format!("  produced {} p{partition}@{offset} {}{by}{key}\n", clean(topic), clock(*produced_at))
}

fn progress(group: &GroupProgress) -> String {
    let name = clean(&group.group);
    match &group.state {
        GroupState::Consumed { at, service, .. } => {
            format!("group {name} consumed it at {} in {}", clock(*at), clean(service))
        }
        GroupState::Passed { after: Some(after), before } => {
            format!("group {name} passed it between {} and {}", clock(*after), clock(*before))
        }
        GroupState::Passed { after: None, before } => {
            format!("group {name} passed it before {}", clock(*before))
        }
        GroupState::NotConsumed { committed, lag, growth_per_second, ahead, seen_at } => {
            let growth = match growth_per_second {
                Some(rate) if *rate >= 0.05 => format!(", growing {}/s", short(*rate)),
                Some(rate) if *rate <= -0.05 => format!(", shrinking {}/s", short(-rate)),
                Some(_) => ", steady".to_owned(),
                None => String::new(),
            };
            let (lag, ahead, seen) = (grouped(*lag), grouped(*ahead), clock(*seen_at));
            match committed {
                Some(_) => {
                    format!(
                        "group {name} has not consumed it (lag {lag}{growth}; {ahead} before it; seen {seen})"
                    )
                }
                // Where it would begin, at the beginning or at the end, only its consumers know.
                None => {
                    format!(
                        "group {name} has committed nothing in this partition (lag up to {lag}{growth}; seen {seen})"
                    )
                }
            }
        }
    }
}

/// A rate: whole from ten on, else with one decimal.
fn short(rate: f64) -> String {
    if rate >= 9.95 { format!("{rate:.0}") } else { format!("{rate:.1}") }
}

/// Thousands apart, as in 1,204.
pub(crate) fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut out = String::from(if number < 0 { "-" } else { "" });
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// The time of day, as RFC 3339 writes it, to the second; with its day when it is not today's.
fn clock(time: UnixNano) -> String {
    let text = time.to_string();
    let (day, rest) = text.split_once('T').unwrap_or(("", &text));
    let second = rest.get(..8).unwrap_or(rest);
    let today = model::SystemClock::shared().now().to_string();
    if today.starts_with(day) { second.to_owned() } else { format!("{day} {second}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(state: serde_json::Value) -> String {
        let mut group = serde_json::json!({ "group": "shipping" });
        for (key, value) in state.as_object().expect("an object") {
            group[key] = value.clone();
        }
        progress(&serde_json::from_value(group).expect("a group"))
    }

    #[test]
    fn each_state_is_a_sentence() {
        let (at, later) = ("2020-01-01T12:03:10Z", "2020-01-01T12:03:15Z");
        for (state, expected) in [
            (
                serde_json::json!({ "state": "passed", "after": at, "before": later }),
                "group shipping passed it between 2020-01-01 12:03:10 and 2020-01-01 12:03:15",
            ),
            (
                serde_json::json!({ "state": "not_consumed", "committed": 40, "lag": 1204, "growth_per_second": 12.2, "ahead": 7, "seen_at": at }),
                "group shipping has not consumed it (lag 1,204, growing 12/s; 7 before it; seen 2020-01-01 12:03:10)",
            ),
            (
                serde_json::json!({ "state": "not_consumed", "committed": 9, "lag": 5, "ahead": 0, "seen_at": at }),
                "group shipping has not consumed it (lag 5; 0 before it; seen 2020-01-01 12:03:10)",
            ),
            (
                serde_json::json!({ "state": "not_consumed", "lag": 5, "ahead": 3, "seen_at": at }),
                "group shipping has committed nothing in this partition (lag up to 5; seen 2020-01-01 12:03:10)",
            ),
        ] {
            assert_eq!(told(state), expected);
        }
        assert_eq!(grouped(-1_234_567), "-1,234,567");
        assert_eq!(
            (short(0.26), short(9.97), short(12.2)),
            ("0.3".to_owned(), "10".to_owned(), "12".to_owned())
        );
    }
}
