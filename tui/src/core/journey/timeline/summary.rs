//! What is said of a journey as a whole, above its rows: who and how much, how far it is, where the time went, what
//! failed, what happened around it, what was left out. One line each, cut to the width.

use model::time::duration_text;
use query_api::{Journey, JourneyStatus, ProgressState, TimeClass};

use super::Timeline;
use crate::core::format::plural;
use crate::core::glyph;
use crate::core::line::{Line, Role, width_of, wrap};

impl Timeline {
    /// How far the journey is, unless it is simply done.
    pub(crate) fn progress(&self, width: usize) -> Option<Line> {
        let progress = self.journey.progress.as_ref()?;
        let (mark, role) = match progress.state {
            ProgressState::Done => return None,
            ProgressState::Running => (glyph::SPAN, Role::Accent),
            ProgressState::Stuck => (glyph::WAIT, Role::Bad),
            ProgressState::Silent => ("?", Role::Warn),
        };
        let line = Line::of(role, &format!(" {mark} {}", progress.text()));
        Some(line.fit(width))
    }

    /// Who, how much, how long, how it went.
    pub(crate) fn title(&self, width: usize) -> Line {
        let journey = &self.journey;
        let counts = &journey.counts;
        let mut line = Line::new();
        line.gap(1);
        line.push(Role::Strong, &self.name());
        line.gap(3);
        let parts = [
            (counts.traces, "trace"),
            (counts.spans, "span"),
            (counts.logs, "log"),
            (counts.messages, "message"),
        ];
        let parts: Vec<String> = parts.iter().map(|(number, word)| plural(*number, word)).collect();
        line.push(Role::Text, &parts.join(" · "));
        if width >= 100 {
            line.push(Role::Dim, &format!(" · {}", plural(counts.services, "service")));
        }
        let mut right = Line::of(Role::Strong, &duration_text(journey.duration_nano));
        right.gap(2);
        let (word, role) = status(journey.status);
        right.push(role, word);
        right.gap(1);
        line.with_right(right, width)
    }

    /// `order_id=ORD-4711`, or the id as it was asked for when it is of several kinds.
    fn name(&self) -> String {
        match &self.journey.matched[..] {
            [term] => term.to_string(),
            _ => self.journey.id.clone(),
        }
    }

    /// Where the time went, largest first, in one line.
    pub(crate) fn time_spent(&self, width: usize) -> Line {
        let mut line = Line::of(Role::Dim, " time ");
        let total = self.journey.duration_nano.max(1) as f64;
        for (index, spent) in self.journey.time_spent.iter().enumerate() {
            let share = spent.duration_nano as f64 / total * 100.0;
            let (label, role) = spent_label(spent.class, &spent.label);
            let text = format!("{label} {} {share:.0}%", duration_text(spent.duration_nano));
            let rest = self.journey.time_spent.len() - index;
            let room = if rest > 1 { 12 } else { 1 };
            if line.width() + 3 + width_of(&text) + room > width {
                line.push(Role::Dim, &format!(" · {rest} more"));
                break;
            }
            if index > 0 {
                line.push(Role::Dim, " · ");
            }
            line.push(role, &text);
        }
        line.fit(width)
    }

    /// The critical path in the order of time: what the end hung on. What is short is left out when there is
    /// no room for it.
    pub(crate) fn path(&self, width: usize) -> Line {
        let total = self.journey.duration_nano.max(1);
        // In thousandths of the whole: what is shorter than this is left out.
        let least = [0, 5, 10, 20, 50, 100, 200];
        let mut line = Line::new();
        for least in least {
            line = self.path_of(least * (total / 1_000));
            if line.width() < width {
                break;
            }
        }
        line.fit(width)
    }

    fn path_of(&self, least: i64) -> Line {
        let mut steps: Vec<(TimeClass, &str, i64)> = Vec::new();
        let mut left_out = 0;
        for segment in &self.journey.critical_path {
            if segment.duration_nano < least {
                left_out += 1;
                continue;
            }
            match steps.last_mut() {
                Some(last) if last.0 == segment.class && last.1 == segment.label => {
                    last.2 += segment.duration_nano
                }
                _ => steps.push((segment.class, &segment.label, segment.duration_nano)),
            }
        }
        let mut line = Line::of(Role::Dim, " path ");
        for (index, (class, label, nanos)) in steps.into_iter().enumerate() {
            if index > 0 {
                line.push(Role::Dim, " ▸ ");
            }
            let (label, role) = spent_label(class, label);
            line.push(role, &format!("{label} {}", duration_text(nanos)));
        }
        if left_out > 0 {
            line.push(Role::Dim, &format!(" · {left_out} short"));
        }
        line
    }

    /// The first error, if there is one.
    pub(crate) fn failure(&self, width: usize) -> Option<Line> {
        let failure = self.journey.failure.as_ref()?;
        let mut line = Line::of(Role::Bad, &format!(" {} {}", glyph::ERROR, failure.service));
        line.push(Role::Text, &format!("  {}", failure.name));
        if !failure.message.is_empty() && failure.message != failure.name {
            line.push(Role::Bad, &format!("  {}", failure.message));
        }
        Some(line.fit(width))
    }
}

/// Word and role of a journey's status.
pub(crate) fn status(status: JourneyStatus) -> (&'static str, Role) {
    match status {
        JourneyStatus::Ok => ("ok", Role::Ok),
        JourneyStatus::Failed => ("✖ failed", Role::Bad),
        JourneyStatus::Waiting => ("╌ waiting", Role::Wait),
    }
}

fn spent_label(class: TimeClass, label: &str) -> (String, Role) {
    match class {
        TimeClass::SelfTime => (label.to_owned(), Role::Text),
        TimeClass::Inferred => (format!("{label} (inferred)"), Role::Text),
        TimeClass::QueueWait => (format!("wait {label}"), Role::Wait),
        TimeClass::BackOff => (format!("back-off {label}"), Role::Wait),
        TimeClass::Gap => ("gap".to_owned(), Role::Dim),
    }
}

/// What was left out, whole: the end of each says how to have it.
pub(crate) fn whole_cuts(journey: &Journey, width: usize) -> Vec<Line> {
    let mut lines = Vec::new();
    for cut in &journey.cuts {
        let hint = cut.hint.as_ref().map(|hint| format!(": {hint}")).unwrap_or_default();
        let text = format!("{}  limit {}{hint}", cut.what, cut.limit);
        for (index, part) in wrap(&text, width.saturating_sub(4), 6).into_iter().enumerate() {
            let mut line = Line::of(Role::Warn, if index == 0 { " ! " } else { "   " });
            line.push(Role::Warn, &part);
            lines.push(line);
        }
    }
    lines
}

/// The first two of several lines; of more than two the first, and how many more there are.
pub(crate) fn first_two(mut lines: Vec<Line>, sign: &str, width: usize) -> Vec<Line> {
    if lines.len() > 2 {
        let more = lines.len() - 1;
        lines.truncate(1);
        let text = format!(" {sign} and {more} more: yc copies the command that lists them");
        lines.push(Line::of(Role::Dim, &text).fit(width));
    }
    lines
}

/// What was left out, one line each.
pub(crate) fn cuts(journey: &Journey, width: usize) -> Vec<Line> {
    let cut = |cut: &query_api::Cut| {
        let mut line = Line::of(Role::Warn, &format!(" ! {}", cut.what));
        line.push(Role::Dim, &format!("  limit {}", cut.limit));
        if let Some(hint) = &cut.hint {
            line.push(Role::Dim, &format!(": {hint}"));
        }
        line.fit(width)
    };
    journey.cuts.iter().map(cut).collect()
}

/// `clocks corrected: billing +40ms`.
pub(crate) fn corrections(journey: &Journey) -> String {
    let offset = |(service, nanos): (&String, &i64)| {
        let sign = if *nanos > 0 { "+" } else { "" };
        format!("{service} {sign}{}", duration_text(*nanos))
    };
    let offsets: Vec<String> = journey.clock_offsets.iter().map(offset).collect();
    format!("clocks corrected: {}", offsets.join(", "))
}

/// Alerts that fired and versions that changed, one line each.
pub(crate) fn happenings(journey: &Journey, width: usize) -> Vec<Line> {
    let happening = |mark: &query_api::JourneyMark| {
        let (word, role) = match mark.kind {
            query_api::MarkKind::Alert => ("alert", Role::Bad),
            query_api::MarkKind::Deploy => ("deploy", Role::Accent),
            query_api::MarkKind::Config => ("config", Role::Accent),
        };
        let mut line = Line::of(role, &format!(" ▲ {word} "));
        line.push(Role::Strong, &mark.service);
        line.push(Role::Text, &format!("  {}  {}", mark.time.clock_text(), mark.text));
        line.fit(width)
    };
    journey.marks.iter().map(happening).collect()
}
