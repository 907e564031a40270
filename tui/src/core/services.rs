//! The overview: services worst first, queues, and the lines that show them.
//!
//! ```text
//!  state    service    rate/s   err%    p50    p95    p99  log err  rate 15m      err 15m
//!  ✖ bad    payments      212   4.31   38ms  412ms  1.90s      310  ▃▃▃▄▄▄▃▃▃▂▂▂  ▁▁▁▁▁▁▁▂▅▇█▇
//! ```

use model::UnixNano;
use query_api::{Health, QueueRow, ServiceRow, ServicesAnswer};

use super::line::{Line, Role, width_of};
use super::pane::Pane;
use super::{format, list};
use crate::widget::sparkline::sparkline;

/// The blocks of the screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Block {
    /// The table of services.
    #[default]
    Services,
    /// Broker destinations.
    Queues,
    /// Alerts that fire or are about to.
    Alerts,
}

impl Block {
    const ALL: [Self; 3] = [Self::Services, Self::Queues, Self::Alerts];

    /// The block `steps` further, around the end.
    pub(crate) fn moved(self, steps: isize) -> Self {
        let index = Self::ALL.iter().position(|block| *block == self).unwrap_or(0);
        Self::ALL[(index as isize + steps).rem_euclid(3) as usize]
    }
}

/// State of the screen.
#[derive(Clone, Debug, Default)]
pub(crate) struct ServicesScreen {
    /// What is known.
    pub(crate) pane: Pane<ServicesAnswer>,
    /// The block that keys go to.
    pub(crate) block: Block,
    /// The selected service.
    pub(crate) service: usize,
    /// The selected queue.
    pub(crate) queue: usize,
    /// The selected alert of the block.
    pub(crate) alert: usize,
}

impl ServicesScreen {
    /// Takes an answer; the selection stays with its service though the order changes.
    pub(crate) fn take(&mut self, answer: ServicesAnswer, now: UnixNano) {
        let name = self.selected().map(|row| row.service.clone());
        let queue = self.selected_queue().map(|row| row.destination.clone());
        self.service = index_of(answer.services.iter().map(|row| &row.service), name.as_ref(), self.service);
        self.queue = index_of(answer.queues.iter().map(|row| &row.destination), queue.as_ref(), self.queue);
        self.pane.succeed(answer, now);
    }

    /// The selected service.
    pub(crate) fn selected(&self) -> Option<&ServiceRow> {
        self.pane.answer.as_ref()?.services.get(self.service)
    }

    /// The selected queue.
    pub(crate) fn selected_queue(&self) -> Option<&QueueRow> {
        self.pane.answer.as_ref()?.queues.get(self.queue)
    }

    /// Moves the selection of the focused block; `alerts` is how many alerts there are.
    pub(crate) fn move_by(&mut self, steps: isize, alerts: usize) {
        let (services, queues) =
            self.pane.answer.as_ref().map_or((0, 0), |answer| (answer.services.len(), answer.queues.len()));
        match self.block {
            Block::Services => self.service = list::moved(self.service, steps, services),
            Block::Queues => self.queue = list::moved(self.queue, steps, queues),
            Block::Alerts => self.alert = list::moved(self.alert, steps, alerts),
        }
    }
}

fn index_of<'a>(
    mut names: impl ExactSizeIterator<Item = &'a String>,
    wanted: Option<&String>,
    old: usize,
) -> usize {
    let last = names.len().saturating_sub(1);
    names.position(|name| Some(name) == wanted).unwrap_or_else(|| old.min(last))
}

/// Glyph, word and role of a health.
pub(crate) fn health(health: Health) -> (&'static str, Role) {
    match health {
        Health::Ok => ("ok", Role::Ok),
        Health::Silent => ("? silent", Role::Dim),
        Health::Warn => ("! warn", Role::Warn),
        Health::Bad => ("✖ bad", Role::Bad),
    }
}

/// Widths of the columns of the table of services, by what there is room for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Columns {
    state: usize,
    service: usize,
    has_p50: bool,
    has_p99: bool,
    has_logs: bool,
    spark: usize,
}

const RATE: usize = 8;
const PERCENT: usize = 7;
const DURATION: usize = 8;
const LOGS: usize = 9;
const SPARK_MAX: usize = 30;

impl Columns {
    /// Columns for a table of `width`. The name, rate, errors and p95 are always there; p50, p99,
    /// sparklines and log errors come in that order.
    pub(crate) fn new(services: &[ServiceRow], width: usize) -> Self {
        let longest = services.iter().map(|row| width_of(&row.service)).max().unwrap_or(8);
        let state = if width < 56 { 3 } else { 9 };
        let mut room = width.saturating_sub(1 + state + RATE + PERCENT + DURATION);
        let service = longest.clamp(10, 20).min(room);
        room -= service;
        let mut take = |columns: usize| {
            let fits = room >= columns;
            room -= if fits { columns } else { 0 };
            fits
        };
        let has_p50 = take(DURATION);
        let has_p99 = take(DURATION);
        let has_logs = width >= 96 && take(LOGS);
        let spark = (room.saturating_sub(4) / 2).min(SPARK_MAX);
        Self { state, service, has_p50, has_p99, has_logs, spark: if spark >= 6 { spark } else { 0 } }
    }

    /// The line of headings; `range` names what the sparklines span.
    pub(crate) fn heading(&self, range: &str) -> Line {
        let mut line = Line::new();
        line.gap(1);
        line.cell(Role::Dim, if self.state > 3 { "state" } else { "" }, self.state);
        line.cell(Role::Dim, "service", self.service);
        line.cell_right(Role::Dim, "rate/s", RATE);
        line.cell_right(Role::Dim, "err%", PERCENT);
        for (is_shown, name) in [(self.has_p50, "p50"), (true, "p95"), (self.has_p99, "p99")] {
            if is_shown {
                line.cell_right(Role::Dim, name, DURATION);
            }
        }
        if self.has_logs {
            line.cell_right(Role::Dim, "log err", LOGS);
        }
        if self.spark > 0 {
            for name in ["rate", "err"] {
                line.gap(2);
                line.cell(Role::Dim, &format!("{name} {range}"), self.spark);
            }
        }
        line
    }

    /// One service.
    pub(crate) fn service(&self, row: &ServiceRow, now: UnixNano) -> Line {
        let (state, role) = health(row.health);
        let mut line = Line::new();
        line.gap(1);
        let glyph = if self.state > 3 { state } else { state.split(' ').next().unwrap_or_default() };
        line.cell(role, glyph, self.state);
        line.cell(
            if row.health == Health::Silent { Role::Dim } else { Role::Strong },
            &row.service,
            self.service,
        );
        line.cell_right(Role::Text, &format::number(row.rate), RATE);
        let has_requests = row.p95_nano.is_some();
        let errors = if has_requests { format::percent(row.error_ratio) } else { "—".to_owned() };
        line.cell_right(error_role(row.error_ratio), &errors, PERCENT);
        for (is_shown, nanos) in
            [(self.has_p50, row.p50_nano), (true, row.p95_nano), (self.has_p99, row.p99_nano)]
        {
            if is_shown {
                let role = if nanos.is_some() { Role::Text } else { Role::Dim };
                line.cell_right(role, &format::duration(nanos), DURATION);
            }
        }
        if self.has_logs {
            let role = if row.log_errors > 0 { Role::Bad } else { Role::Dim };
            line.cell_right(role, &format::count(row.log_errors), LOGS);
        }
        if self.spark > 0 {
            line.gap(2);
            line.cell(Role::Accent, &sparkline(&row.rates, self.spark, 0.0), self.spark);
            line.gap(2);
            if row.health == Health::Silent {
                let silent = format!("{} ago", format::elapsed_coarse(now.since(row.last_seen)));
                line.cell(Role::Dim, &silent, self.spark);
            } else {
                let errors = sparkline(&row.error_ratios, self.spark, 0.02);
                line.cell(error_role(row.error_ratio), &errors, self.spark);
            }
        }
        line
    }
}

/// The role of a share of failed requests; the bounds are those of [`Health`].
fn error_role(ratio: f64) -> Role {
    match ratio {
        _ if ratio > 0.02 => Role::Bad,
        _ if ratio > 0.005 => Role::Warn,
        _ => Role::Dim,
    }
}

/// The headings above the queues.
pub(crate) fn queue_heading(width: usize) -> Line {
    let mut line = Line::new();
    line.gap(1);
    line.cell(Role::Dim, "queues", queue_name_width(width));
    for (name, columns) in [("in/s", 7), ("out/s", 7), ("pending", 9), ("wait p95", 10)] {
        line.cell_right(Role::Dim, name, columns);
    }
    line.fit(width)
}

/// One queue.
pub(crate) fn queue(row: &QueueRow, width: usize) -> Line {
    let (state, role) = health(row.health);
    let mut line = Line::new();
    line.gap(1);
    let state_width = if width >= 60 { 9 } else { 3 };
    line.cell(
        role,
        if state_width == 3 { state.split(' ').next().unwrap_or_default() } else { state },
        state_width,
    );
    line.cell(Role::Strong, &row.destination, queue_name_width(width) - state_width);
    line.cell_right(Role::Text, &format::number(row.in_rate), 7);
    line.cell_right(Role::Text, &format::number(row.out_rate), 7);
    line.cell_right(if row.pending > 0 { role } else { Role::Dim }, &format::count(row.pending), 9);
    line.cell_right(Role::Wait, &format::duration(row.wait_p95_nano), 10);
    line.fit(width)
}

/// Columns of state and name together.
fn queue_name_width(width: usize) -> usize {
    width.saturating_sub(1 + 7 + 7 + 9 + 10).clamp(11, 32)
}

/// What all services do together, and what the answer cost and left out.
pub(crate) fn totals(answer: &ServicesAnswer) -> Line {
    let rate: f64 = answer.services.iter().map(|row| row.rate).sum();
    let errors: f64 = answer.services.iter().map(|row| row.rate * row.error_ratio).sum();
    let ratio = if rate > 0.0 { errors / rate } else { 0.0 };
    let mut line = Line::new();
    line.push(Role::Text, &format!("{} requests/s", format::number(rate)));
    line.push(Role::Dim, " · ");
    line.push(error_role(ratio), &format!("{}% errors", format::percent(ratio)));
    let stats = &answer.stats;
    let elapsed = i64::try_from(stats.elapsed_nano).unwrap_or(i64::MAX);
    let cost =
        format!(" · {} rows in {}", format::count(stats.rows_scanned), model::time::duration_text(elapsed));
    line.push(Role::Dim, &cost);
    for cut in &answer.cuts {
        line.push(Role::Warn, &format!(" · {}", cut.what));
    }
    line
}
