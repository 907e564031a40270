//! Two journeys side by side.
//!
//! ```text
//! a: gateway POST /checkout          key of a row: kind, service, name without its variable parts, who consumed
//!      checkout PlaceOrder     ─┐    (`parties`), and its number among siblings of the same key; a row's path is
//!        send orders            ├─►  the keys above it. Rows of one path are the same row. The merged tree is drawn
//! b: gateway POST /checkout    ─┘    in the order of b; what only a has stands after what it followed in a.
//!      checkout PlaceOrder
//! ```
//!
//! Invariants: every span, wait, pause and missing span of both is in exactly one row; nothing recurses.

mod parties;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use query_api::diff::{Change, DiffAttribute, DiffRow, DiffSide, DiffTemplate, DiffTime, JourneyDiff};
use query_api::{Cut, Journey, JourneyRow, QueryStats, RowKind, Text, TimeClass};

use parties::Parties;

/// Attributes that differ, at most.
const ATTRIBUTES_MAX: usize = 200;
/// Log templates, at most.
const TEMPLATES_MAX: usize = 200;
/// A duration differs when it does by this much and by a tenth.
const NOTABLE_NANO: i64 = 1_000_000;

/// An attribute's key with its value in one journey and in the other.
type Difference<'a> = (&'a str, Option<&'a str>, Option<&'a str>);

/// Compares `b` with `a`; `baseline` says how `a` was chosen.
pub fn diff(a: &Journey, b: &Journey, baseline: Option<String>) -> JourneyDiff {
    let merged = Merged::new(a, b);
    let mut cuts: Vec<Cut> = Vec::new();
    for (name, journey) in [("a", a), ("b", b)] {
        let named = |cut: &Cut| Cut { what: format!("{name}: {}", cut.what), ..cut.clone() };
        cuts.extend(journey.cuts.iter().map(named));
    }
    let mut log_templates = templates(a, b);
    let mut attributes = merged.attributes(a, b);
    cut(&mut log_templates, TEMPLATES_MAX, "log templates", &mut cuts);
    cut(&mut attributes, ATTRIBUTES_MAX, "attributes", &mut cuts);
    let mut stats = QueryStats::default();
    stats.add(&a.stats);
    stats.add(&b.stats);
    JourneyDiff {
        a: side(a, baseline),
        b: side(b, None),
        rows: merged.rows(a, b),
        time_spent: time_spent(a, b),
        log_templates,
        attributes,
        cuts,
        stats,
    }
}

fn cut<T>(items: &mut Vec<T>, most: usize, what: &str, cuts: &mut Vec<Cut>) {
    if items.len() > most {
        let what = format!("{most} of {} {what} that differ are listed", items.len());
        cuts.push(Cut { what, limit: "diff".to_owned(), hint: None });
        items.truncate(most);
    }
}

fn side(journey: &Journey, baseline: Option<String>) -> DiffSide {
    DiffSide {
        id: journey.id.clone(),
        baseline,
        start_time: journey.start_time,
        duration_nano: journey.duration_nano,
        status: journey.status,
        counts: journey.counts,
    }
}

/// What makes rows of two journeys the same row, below the same parent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    kind: &'static str,
    service: String,
    name: String,
    /// Who consumed the message; empty for what consumes none.
    party: (String, String),
    /// Number among siblings of the same kind, service, name and party.
    number: usize,
}

#[derive(Default)]
struct Place {
    a: Option<usize>,
    b: Option<usize>,
    depth: u16,
    /// In drawing order.
    children: Vec<usize>,
    /// Where the next child that only `a` has goes: after the last that `a` has here.
    after: usize,
}

/// Waits that one journey alone has, of `b` and of `a`; each consumed, and open.
type Alone = [[Vec<usize>; 2]; 2];

struct Merged {
    /// The first is the root of everything.
    places: Vec<Place>,
}

impl Merged {
    fn new(a: &Journey, b: &Journey) -> Self {
        let mut merged = Self { places: vec![Place::default()] };
        let parties = Parties::new(a, b);
        let mut index: HashMap<(usize, Key), usize> = HashMap::new();
        merged.walk(b, &parties, &mut index, false);
        merged.walk(a, &parties, &mut index, true);
        merged.join_open_waits(a, b);
        merged
    }

    fn walk(
        &mut self,
        journey: &Journey,
        parties: &Parties<'_>,
        index: &mut HashMap<(usize, Key), usize>,
        is_a: bool,
    ) {
        let mut numbers: HashMap<(usize, Key), usize> = HashMap::new();
        // The place of the last row of each depth.
        let mut open: Vec<(u16, usize)> = Vec::new();
        for (at, row) in journey.rows.iter().enumerate() {
            if row.kind == RowKind::Trace {
                // What stands above a heading, or in the trace before, is no parent of what stands below it.
                open.clear();
            }
            let Some(kind) = kind(row.kind) else { continue };
            while open.last().is_some_and(|(depth, _)| *depth >= row.depth) {
                open.pop();
            }
            let parent = open.last().map_or(0, |(_, place)| *place);
            let name = match row.kind {
                // An offset is new each time.
                RowKind::QueueWait => String::new(),
                _ => template(&row.name),
            };
            let party = parties.of(row);
            let mut key = Key { kind, service: row.service.to_string(), name, party, number: 0 };
            let number = numbers.entry((parent, key.clone())).or_default();
            key.number = *number;
            *number += 1;
            let place = match index.get(&(parent, key.clone())) {
                Some(place) => *place,
                None => self.add(parent, (parent, key), open.len() as u16, index, is_a),
            };
            let side = &mut self.places[place];
            *(if is_a { &mut side.a } else { &mut side.b }) = Some(at);
            if is_a {
                let parent = &mut self.places[parent];
                parent.after =
                    parent.children.iter().position(|child| *child == place).map_or(0, |at| at + 1);
            }
            open.push((row.depth, place));
        }
    }

    fn add(
        &mut self,
        parent: usize,
        key: (usize, Key),
        depth: u16,
        index: &mut HashMap<(usize, Key), usize>,
        is_a: bool,
    ) -> usize {
        let place = self.places.len();
        self.places.push(Place { depth, ..Place::default() });
        let children = &mut self.places[parent];
        let at = if is_a { children.after.min(children.children.len()) } else { children.children.len() };
        children.children.insert(at, place);
        index.insert(key, place);
        place
    }

    /// Messages that nobody has consumed in one journey are those that somebody has in the other, when there are as
    /// many: nothing says for whom an open wait waits, and it stands elsewhere, below its producer.
    fn join_open_waits(&mut self, a: &Journey, b: &Journey) {
        let mut by_destination: BTreeMap<&str, Alone> = BTreeMap::new();
        for (at, place) in self.places.iter().enumerate() {
            let (row, is_a) = match (place.a, place.b) {
                (Some(row), None) => (&a.rows[row], true),
                (None, Some(row)) => (&b.rows[row], false),
                _ => continue,
            };
            if row.kind == RowKind::QueueWait {
                let alone = by_destination.entry(&row.service).or_default();
                alone[usize::from(is_a)][usize::from(row.is_open)].push(at);
            }
        }
        let mut joined = BTreeSet::new();
        for [[taken_b, open_b], [taken_a, open_a]] in by_destination.into_values() {
            for (of_b, of_a) in [(taken_b, open_a), (open_b, taken_a)] {
                let pairs = of_b.iter().zip(&of_a).filter(|_| of_b.len() == of_a.len());
                for (of_b, of_a) in pairs {
                    self.places[*of_b].a = self.places[*of_a].a;
                    joined.insert(*of_a);
                }
            }
        }
        for place in &mut self.places {
            place.children.retain(|child| !joined.contains(child));
        }
    }

    fn rows(&self, a: &Journey, b: &Journey) -> Vec<DiffRow> {
        let mut rows = Vec::with_capacity(self.places.len());
        let mut stack: Vec<usize> = self.places[0].children.iter().rev().copied().collect();
        while let Some(at) = stack.pop() {
            let place = &self.places[at];
            stack.extend(place.children.iter().rev());
            let (in_a, in_b) = (place.a.map(|at| &a.rows[at]), place.b.map(|at| &b.rows[at]));
            let Some(shown) = in_b.or(in_a) else { continue };
            rows.push(DiffRow {
                change: change(in_a, in_b),
                kind: shown.kind,
                depth: place.depth,
                service: shown.service.to_string(),
                name: shown.name.to_string(),
                consumer: parties::consumer(shown).to_owned(),
                group: parties::group(shown).to_owned(),
                a_nano: in_a.map(|row| row.duration_nano),
                b_nano: in_b.map(|row| row.duration_nano),
                is_newly_failed: in_b.is_some_and(|row| row.is_error) && in_a.is_none_or(|row| !row.is_error),
            });
        }
        rows
    }

    /// Attributes of spans that both have, whose values differ and are no ids of either journey.
    fn attributes(&self, a: &Journey, b: &Journey) -> Vec<DiffAttribute> {
        let ids: BTreeSet<&str> = a.ids.iter().chain(&b.ids).map(|term| term.value.as_str()).collect();
        let mut places: BTreeMap<Difference<'_>, (&JourneyRow, usize)> = BTreeMap::new();
        for place in &self.places {
            let (Some(at_a), Some(at_b)) = (place.a, place.b) else { continue };
            let (in_a, in_b) = (&a.rows[at_a], &b.rows[at_b]);
            if in_b.kind != RowKind::Span {
                continue;
            }
            for (of_a, of_b) in [(&in_a.attributes, &in_b.attributes), (&in_a.resource, &in_b.resource)] {
                let keys: BTreeSet<&str> = of_a.keys().chain(of_b.keys()).map(Text::as_str).collect();
                for key in keys.into_iter().filter(|key| !varies(key)) {
                    let (old, new) = (of_a.text(key), of_b.text(key));
                    let is_id = [old, new].into_iter().flatten().any(|value| ids.contains(value));
                    if old != new && !is_id {
                        places.entry((key, old, new)).or_insert((in_b, 0)).1 += 1;
                    }
                }
            }
        }
        let shown = |((key, old, new), (row, spans)): (Difference<'_>, (&JourneyRow, usize))| DiffAttribute {
            service: row.service.to_string(),
            name: row.name.to_string(),
            key: key.to_owned(),
            a: old.map(str::to_owned),
            b: new.map(str::to_owned),
            spans,
        };
        let mut attributes: Vec<DiffAttribute> = places.into_iter().map(shown).collect();
        attributes.sort_by(|one, other| other.spans.cmp(&one.spans).then_with(|| one.key.cmp(&other.key)));
        attributes
    }
}

/// A row's kind, for those that are aligned.
const fn kind(kind: RowKind) -> Option<&'static str> {
    match kind {
        RowKind::Trace | RowKind::Log | RowKind::Event | RowKind::Exemplar => None,
        RowKind::Span => Some("span"),
        RowKind::Inferred => Some("inferred"),
        RowKind::QueueWait => Some("wait"),
        RowKind::BackOff => Some("back_off"),
        RowKind::Missing => Some("missing"),
    }
}

fn change(a: Option<&JourneyRow>, b: Option<&JourneyRow>) -> Change {
    let (Some(a), Some(b)) = (a, b) else {
        return if a.is_some() { Change::Missing } else { Change::Extra };
    };
    let difference = b.duration_nano - a.duration_nano;
    let notable = NOTABLE_NANO.max(a.duration_nano / 10);
    match difference {
        _ if difference >= notable => Change::Slower,
        _ if -difference >= notable => Change::Faster,
        _ => Change::Same,
    }
}

/// Attributes that are new each time.
fn varies(key: &str) -> bool {
    const ENDS: [&str; 8] =
        [".port", ".offset", "thread.id", "thread.name", ".size", ".uuid", "request_id", "message.id"];
    ENDS.iter().any(|end| key.ends_with(end)) || key.starts_with("silmari.")
}

fn time_spent(a: &Journey, b: &Journey) -> Vec<DiffTime> {
    let mut by_label: BTreeMap<(TimeClass, &str), (i64, i64)> = BTreeMap::new();
    for spent in &a.time_spent {
        by_label.entry((spent.class, &spent.label)).or_default().0 += spent.duration_nano;
    }
    for spent in &b.time_spent {
        by_label.entry((spent.class, &spent.label)).or_default().1 += spent.duration_nano;
    }
    let shown = |((class, label), (a_nano, b_nano)): ((TimeClass, &str), (i64, i64))| DiffTime {
        class,
        label: label.to_owned(),
        a_nano,
        b_nano,
    };
    let mut times: Vec<DiffTime> = by_label.into_iter().map(shown).collect();
    times.sort_by_key(|time| std::cmp::Reverse((time.b_nano - time.a_nano).abs()));
    times
}

fn templates(a: &Journey, b: &Journey) -> Vec<DiffTemplate> {
    let mut counts: BTreeMap<(&str, &str, String), (usize, usize)> = BTreeMap::new();
    for row in a.rows.iter().filter(|row| row.kind == RowKind::Log) {
        counts.entry((&row.service, &row.label, template(&row.name))).or_default().0 += 1;
    }
    for row in b.rows.iter().filter(|row| row.kind == RowKind::Log) {
        counts.entry((&row.service, &row.label, template(&row.name))).or_default().1 += 1;
    }
    let only_one = counts.into_iter().filter(|(_, (a, b))| *a == 0 || *b == 0);
    let mut templates: Vec<DiffTemplate> = only_one
        .map(|((service, label, template), (a, b))| DiffTemplate {
            service: service.to_owned(),
            label: label.to_owned(),
            template,
            a,
            b,
        })
        .collect();
    // What is new in b before what is gone.
    templates.sort_by_key(|template| std::cmp::Reverse(template.b));
    templates
}

/// A text with `*` for its variable parts: words that hold a digit, and what stands after `=` or in quotes
/// when it does.
pub(crate) fn template(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let is_word = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let word = &rest[..end];
        match word.contains(|c: char| c.is_ascii_digit()) {
            true => out.push('*'),
            false => out.push_str(word),
        }
        let next = rest[end..].find(is_word).map_or(rest.len(), |at| end + at);
        out.push_str(&rest[end..next]);
        rest = &rest[next..];
    }
    out
}

#[cfg(test)]
mod tests {
    use super::template;

    #[test]
    fn words_that_hold_a_digit_are_variable() {
        for (text, expected) in [
            ("acquirer timeout after 800ms", "acquirer timeout after *"),
            ("order ORD-4711 of 3 items", "order * of * items"),
            ("stock low sku=991", "stock low sku=*"),
            ("GET /orders/0af7651916cd43dd", "GET /orders/*"),
            ("no digits, ünïcode", "no digits, ünïcode"),
            ("", ""),
        ] {
            assert_eq!(template(text), expected);
        }
    }
}
