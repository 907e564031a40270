//! Functions that rewrite labels or order by them.

use promql_parser::parser::Call;

use super::argument;
use crate::promql::eval::Evaluator;
use crate::promql::rows::{Row, merge};
use crate::promql::{PromqlError, labels, matcher};

impl Evaluator<'_> {
    /// `label_replace(v, "dst", "replacement", "src", "regex")`
    pub(super) fn label_replace(&self, call: &Call) -> Result<Vec<Row>, PromqlError> {
        let rows = self.vector(argument(call, 0)?)?;
        let target = self.text(argument(call, 1)?)?;
        let replacement = self.text(argument(call, 2)?)?;
        let source = self.text(argument(call, 3)?)?;
        let pattern = self.text(argument(call, 4)?)?;
        if target.is_empty() {
            let text = format!("invalid destination label name in label_replace(): {target}");
            return Err(PromqlError::BadData(text));
        }
        let regex = matcher::anchored(pattern).map_err(|error| {
            let text = format!("invalid regular expression in label_replace(): {pattern}: {error}");
            PromqlError::BadData(text)
        })?;
        let mut captures = regex.create_captures();
        let rows = rows.into_iter().map(|row| {
            let value = row.labels.get(source).map_or("", String::as_str);
            regex.captures(value, &mut captures);
            if !captures.is_match() {
                return row;
            }
            let replaced = captures.interpolate_string(value, replacement);
            let mut labels = (*row.labels).clone();
            labels::set(&mut labels, target, replaced);
            Row::new(labels, row.values)
        });
        merge(rows.collect())
    }

    /// `label_join(v, "dst", "separator", "src", …)`
    pub(super) fn label_join(&self, call: &Call) -> Result<Vec<Row>, PromqlError> {
        let rows = self.vector(argument(call, 0)?)?;
        let target = self.text(argument(call, 1)?)?;
        let separator = self.text(argument(call, 2)?)?;
        let sources = call.args.args.iter().skip(3).map(|source| self.text(source));
        let sources = sources.collect::<Result<Vec<_>, _>>()?;
        if target.is_empty() {
            let text = format!("invalid destination label name in label_join(): {target}");
            return Err(PromqlError::BadData(text));
        }
        let rows = rows.into_iter().map(|row| {
            let parts = sources.iter().map(|source| row.labels.get(*source).map_or("", String::as_str));
            let joined = parts.collect::<Vec<_>>().join(separator);
            let mut labels = (*row.labels).clone();
            labels::set(&mut labels, target, joined);
            Row::new(labels, row.values)
        });
        merge(rows.collect())
    }

    /// `sort_by_label(v, "label", …)`, numbers inside values in order of size.
    pub(super) fn sort_by_label(&self, call: &Call) -> Result<Vec<Row>, PromqlError> {
        let mut rows = self.vector(argument(call, 0)?)?;
        let names = call.args.args.iter().skip(1).map(|name| self.text(name));
        let names = names.collect::<Result<Vec<_>, _>>()?;
        let is_descending = call.func.name == "sort_by_label_desc";
        rows.sort_by(|a, b| {
            let value = |row: &Row, name: &str| row.labels.get(name).cloned().unwrap_or_default();
            let by_names = names.iter().map(|name| natural(&value(a, name), &value(b, name)));
            let order = by_names.fold(std::cmp::Ordering::Equal, std::cmp::Ordering::then);
            let order = order.then_with(|| a.labels.cmp(&b.labels));
            if is_descending { order.reverse() } else { order }
        });
        Ok(rows)
    }
}

/// Compares text so that `node-9` comes before `node-10`.
fn natural(a: &str, b: &str) -> std::cmp::Ordering {
    let (mut a, mut b) = (a, b);
    while !a.is_empty() && !b.is_empty() {
        let (part_a, part_b) = (leading_part(a), leading_part(b));
        let is_number = |part: &str| part.starts_with(|c: char| c.is_ascii_digit());
        let order = if is_number(part_a) && is_number(part_b) {
            let digits = |part: &str| part.trim_start_matches('0').to_owned();
            let (x, y) = (digits(part_a), digits(part_b));
            x.len().cmp(&y.len()).then_with(|| x.cmp(&y))
        } else {
            part_a.cmp(part_b)
        };
        if order.is_ne() {
            return order;
        }
        (a, b) = (&a[part_a.len()..], &b[part_b.len()..]);
    }
    a.len().cmp(&b.len())
}

/// The digits, or the text without digits, at the start of `text`.
fn leading_part(text: &str) -> &str {
    let is_number = text.starts_with(|c: char| c.is_ascii_digit());
    let end = text.find(|c: char| c.is_ascii_digit() != is_number).unwrap_or(text.len());
    &text[..end]
}
