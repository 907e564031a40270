//! What a closure left out, in words. Nothing is cut silently: each limit that bites and each kind of id
//! that is not followed becomes one [`Cut`].

use query_api::Cut;

use super::Limits;

/// What limits left out.
#[derive(Default)]
pub(crate) struct LeftOut {
    /// Terms that were not looked up, because of `bound`.
    pub(crate) terms: usize,
    pub(crate) bound: Option<Bound>,
    pub(crate) traces: usize,
    /// Groups of the id that was asked for (a trace within a minute, or a single record) that were not read.
    pub(crate) groups: u64,
    pub(crate) spans: usize,
    pub(crate) logs: usize,
    pub(crate) ids: usize,
    pub(crate) is_cancelled: bool,
}

/// What ends a search early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    Hops,
    Traces,
    Spans,
}

/// An id that was not followed, and why.
#[derive(Clone, Debug)]
pub(crate) struct RefusedId {
    /// `kind=value`.
    pub(crate) text: String,
    pub(crate) why: Refusal,
    /// Traces it hangs on, or records that lie too far away; 0 where that was not counted.
    pub(crate) count: usize,
}

/// Ids of one kind that were not followed, for one reason.
pub(crate) struct Refused {
    pub(crate) example: String,
    pub(crate) fanout: usize,
    pub(crate) count: usize,
}

/// Why an id was not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Refusal {
    DoesNotJoin,
    UnknownKind,
    TooManyTraces,
    TooOld,
}

/// What a large journey leaves out of its rows, so that it stays small enough to look at.
pub(crate) fn brief_cut(records: usize) -> Option<Cut> {
    (records > 0).then(|| {
        Cut {
        what: format!(
            "{records} rows have no attributes but those a journey is made of (messages, status, versions)"
        ),
        limit: query_api::journey::record::BRIEF_LIMIT.to_owned(),
        hint: Some(
            "all attributes of one row: Enter on it, or `silmari trace … --row N`; of all rows: ask for one of the \
             traces, or a shorter time range"
                .to_owned(),
        ),
    }
    })
}

/// What is said of points whose exemplars were not looked for.
pub(crate) fn points_cut(groups: u64) -> Option<Cut> {
    (groups > 0).then(|| Cut {
        what: format!(
            "exemplars of the newest points are shown; about {groups} groups of older ones were not read"
        ),
        limit: "exemplars".to_owned(),
        hint: Some("ask for a shorter time range, or for one of the traces".to_owned()),
    })
}

/// The cuts of the limits that bit.
pub(crate) fn limit_cuts(left_out: &LeftOut, limits: &Limits) -> Vec<Cut> {
    let mut cuts = Vec::new();
    let mut cut = |is_cut: bool, limit: &str, most: usize, what: String| {
        if is_cut {
            let lifted = match most {
                0 => String::new(),
                most => format!("raise `{limit}` (--{limit}, {most} at most), or "),
            };
            let hint = Some(format!("{lifted}ask for a shorter time range"));
            cuts.push(Cut { what, limit: limit.to_owned(), hint });
        }
    };
    let is_bound = |bound| left_out.bound == Some(bound);
    let rest = |count: usize, of: &str| match count {
        0 => "whether there are more was not searched".to_owned(),
        count => format!("{count} {of} are left out"),
    };
    let what = match left_out.groups {
        0 => format!("cut at {} traces; {}", limits.traces, rest(left_out.traces, "older ones")),
        groups => {
            format!("cut at the newest {} traces; about {groups} older ones are not read", limits.traces)
        }
    };
    let is_cut = left_out.traces > 0 || left_out.groups > 0 || is_bound(Bound::Traces);
    cut(is_cut, "traces", Limits::TRACES_MAX, what);
    let hops = if limits.hops == 1 { "1 hop" } else { &format!("{} hops", limits.hops) };
    let what = match left_out.terms {
        1 => format!("cut after {hops}; 1 id or link is not followed"),
        terms => format!("cut after {hops}; {terms} ids and links are not followed"),
    };
    cut(is_bound(Bound::Hops), "hops", Limits::HOPS_MAX, what);
    let what = format!("cut at {} spans; {}", limits.spans, rest(left_out.spans, "later ones"));
    cut(left_out.spans > 0 || is_bound(Bound::Spans), "spans", Limits::ROWS_MAX, what);
    let what = format!("cut at {} log records; {} are left out", limits.logs, left_out.logs);
    cut(left_out.logs > 0, "logs", Limits::ROWS_MAX, what);
    let what = format!("followed {} ids and links; {} are left out", limits.ids, left_out.ids);
    cut(left_out.ids > 0, "ids", 0, what);
    if left_out.is_cancelled {
        let what = "the search was given up before its end".to_owned();
        cuts.push(Cut {
            what,
            limit: "timeout".to_owned(),
            hint: Some("ask for a shorter time range".to_owned()),
        });
    }
    cuts
}

impl Refused {
    /// Names what was not followed.
    pub(crate) fn cut(&self, kind: &str, why: Refusal) -> Cut {
        let example = &self.example;
        let others = match self.count {
            1 => String::new(),
            count => format!(" (and {} more of this kind)", count - 1),
        };
        let (what, limit) = match why {
            Refusal::DoesNotJoin => (
                format!("{example}{others} is shown and not followed: {kind} does not join"),
                format!("ids.yaml {kind}.link"),
            ),
            Refusal::UnknownKind => (
                format!("{example}{others} is shown and not followed: {kind} is no configured kind"),
                format!("ids.yaml {kind}"),
            ),
            Refusal::TooManyTraces => (
                format!("{example}{others} is shown and not followed: it hangs on {} traces", self.fanout),
                format!("ids.yaml {kind}.max_fanout"),
            ),
            Refusal::TooOld => (
                format!("{example}{others}: {} records that share it lie too far away in time", self.fanout),
                format!("ids.yaml {kind}.max_age"),
            ),
        };
        let lifted = if why == Refusal::TooManyTraces { "raise `degree` (--degree), or " } else { "" };
        Cut { what, limit, hint: Some(format!("{lifted}search for {example} to see all it reaches")) }
    }
}
