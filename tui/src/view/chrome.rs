//! Header and footer: where one is, what time it is about, and what can be typed.

use crate::core::alerts;
use crate::core::format;
use crate::core::keymap;
use crate::core::layout::{LEAST, Size, Tier};
use crate::core::line::{Line, Role, width_of};
use crate::core::prompt::Prompt;
use crate::core::range;
use crate::core::{Screen, State};

/// The only line of a terminal in which nothing useful fits.
pub(crate) fn too_small(size: Size) -> Line {
    let text = format!(
        "terminal too small ({}×{}), at least {}×{}",
        size.width, size.height, LEAST.width, LEAST.height
    );
    Line::of(Role::Text, &text)
}

/// The first line.
pub(crate) fn header(state: &State, size: Size) -> Line {
    let width = usize::from(size.width);
    let right = time(state, size);
    let firing = state.alerts.pane.answer.as_ref().map_or(0, alerts::firing);
    let mut left = Line::new();
    left.gap(1);
    if size.tier() == Tier::XS && width < 64 {
        left.push(Role::Strong, &format!("{} {}", state.screen.number(), state.screen.name()));
        if firing > 0 {
            left.push(Role::Bad, &format!("  ✖ {firing}"));
        }
        return left.with_right(right, width);
    }
    // Where not all names fit, the screen that shows has one and the others have their numbers.
    let all = tabs(state, firing, true);
    let has_room = left.width() + all.width() + right.width() < width;
    left.append(if has_room { all } else { tabs(state, firing, false) });
    left.with_right(right, width)
}

/// The screens, with their names or without.
fn tabs(state: &State, firing: usize, has_names: bool) -> Line {
    let mut line = Line::new();
    for screen in Screen::ALL {
        let is_here = screen == state.screen;
        let role = if is_here { Role::Strong } else { Role::Dim };
        line.push(if is_here { Role::Accent } else { Role::Dim }, if is_here { "▸" } else { " " });
        let name = if has_names || is_here { format!(" {}", screen.name()) } else { String::new() };
        line.push(role, &format!("{}{name}", screen.number()));
        if screen == Screen::Alerts && firing > 0 {
            line.push(Role::Bad, &format!("({firing})"));
        }
        line.gap(1);
    }
    line
}

/// Range, whether data flows, and the clock.
fn time(state: &State, size: Size) -> Line {
    let width = size.width;
    let mut line = Line::new();
    if let Some(offline) = &state.offline {
        let made = offline.made_at.to_string();
        let minute = made.get(..16).unwrap_or_default().replace('T', " ");
        let redacted = if offline.is_redacted { "redacted " } else { "" };
        match width {
            100.. => line.push(Role::Warn, &format!("offline {redacted}case, made {minute} UTC ")),
            60.. => line.push(Role::Warn, &format!("offline, {} ", minute.get(5..).unwrap_or_default())),
            _ => line.push(Role::Warn, "offline "),
        }
        return line;
    }
    line.push(Role::Text, &state.range.label());
    line.gap(1);
    let is_fixed = matches!(state.range, range::Range::Between(_));
    match state.paused_at {
        Some(_) => {
            line.push(Role::Warn, "PAUSED");
            let held = state.logs.held.len() as u64;
            if held > 0 {
                line.push(Role::Warn, &format!(" +{} new", format::count(held)));
            }
        }
        None if is_fixed => line.push(Role::Dim, "FIXED"),
        None => line.push(Role::Ok, "LIVE"),
    }
    let clock = range::clock(state.shown_now());
    if width >= 60 {
        line.push(Role::Dim, &format!(" {clock}"));
    } else if width >= 32 {
        line.push(Role::Dim, &format!(" {}", &clock[..5.min(clock.len())]));
    }
    if width >= 100 {
        line.push(Role::Dim, " UTC");
    }
    line.gap(1);
    line
}

/// The last line, and the column of the cursor when something is typed there.
pub(crate) fn footer(state: &State, size: Size) -> (Line, Option<u16>) {
    let width = usize::from(size.width);
    if let Some(prompt) = &state.prompt {
        return prompt_line(prompt, state, width);
    }
    if !state.chord.is_empty() {
        return (chord_line(state).fit(width), None);
    }
    if let Some(notice) = &state.notice {
        let mut line = Line::new();
        line.gap(1);
        line.push(notice.role, &notice.text);
        return (line.fit(width), None);
    }
    (hints(state, width), None)
}

fn prompt_line(prompt: &Prompt, state: &State, width: usize) -> (Line, Option<u16>) {
    let mut line = Line::new();
    line.gap(1);
    line.push(Role::Accent, prompt.kind.label());
    let before = Line::of(Role::Strong, &prompt.text[..prompt.cursor]);
    let after = Line::of(Role::Strong, &prompt.text[prompt.cursor..]);
    // Long input scrolls: the cursor stays in view.
    let room = width.saturating_sub(line.width() + 2).max(1);
    let (before, cut) = tail(before, room);
    let cursor = line.width() + before.width();
    if cut {
        line.push(Role::Dim, "…");
    }
    line.append(before);
    line.append(after);
    let cursor = cursor + usize::from(cut);
    let right = match (&prompt.problem, prompt.preview(state.now)) {
        (Some(problem), _) => Line::of(Role::Bad, &format!("✖ {problem} ")),
        (None, Some(Ok(preview))) => Line::of(Role::Ok, &format!("{preview} ")),
        (None, Some(Err(problem))) => Line::of(Role::Warn, &format!("{problem} ")),
        (None, None) if prompt.text.is_empty() => Line::of(Role::Dim, &format!("{} ", prompt.kind.example())),
        (None, None) => Line::new(),
    };
    let right = right.fit(width.saturating_sub(line.width() + 2));
    (line.with_right(right, width), u16::try_from(cursor).ok())
}

/// The end of a line in `room` columns, and whether something was cut.
fn tail(line: Line, room: usize) -> (Line, bool) {
    if line.width() < room {
        return (line, false);
    }
    let text = line.plain();
    let mut kept = String::new();
    for char in text.chars().rev() {
        if width_of(&kept) + 3 > room {
            break;
        }
        kept.insert(0, char);
    }
    (Line::of(Role::Strong, &kept), true)
}

/// The keys that go on after the ones typed.
fn chord_line(state: &State) -> Line {
    let mut line = Line::new();
    line.gap(1);
    let typed: Vec<String> = state.chord.iter().map(ToString::to_string).collect();
    line.push(Role::Accent, &format!("{} …", typed.join(" ")));
    for (binding, rest) in keymap::continuing(state.screen, &state.chord) {
        let keys: Vec<String> = rest.iter().map(ToString::to_string).collect();
        line.gap(2);
        line.push(Role::Strong, &keys.join(" "));
        line.push(Role::Dim, &format!(" {}", binding.help));
    }
    line
}

/// Keys worth knowing here; the start note while nothing was opened.
fn hints(state: &State, width: usize) -> Line {
    let mut right = Line::new();
    if let Some(note) = &state.start_note {
        right.push(Role::Accent, note);
        right.gap(2);
    }
    for (key, word) in [("c", "id"), ("t", "range"), (":", "command"), ("?", "help")] {
        if width >= 80 || (width >= 60 && key != "c") || key == "?" {
            right.push(Role::Strong, key);
            right.push(Role::Dim, &format!(" {word}  "));
        }
    }
    let right = right.fit(width);
    let room = width.saturating_sub(right.width() + 1);
    let mut left = Line::new();
    left.gap(1);
    for binding in keymap::of_screen(state.screen).filter(|binding| !binding.hint.is_empty()) {
        let keys = keymap::keys_text(binding.keys);
        if left.width() + width_of(&keys) + binding.hint.len() + 3 > room {
            break;
        }
        left.push(Role::Strong, &keys);
        left.push(Role::Dim, &format!(" {}  ", binding.hint));
    }
    left.with_right(right, width)
}
