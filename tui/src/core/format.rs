//! Numbers for people, in fixed widths so that columns align and do not dance.

use model::time::duration_text;

/// A whole number with groups of three: `8 911`; from ten million on `12.3M`.
pub(crate) fn count(number: u64) -> String {
    match number {
        0..10_000_000 => grouped(number),
        10_000_000..10_000_000_000 => format!("{:.1}M", number as f64 / 1e6),
        _ => format!("{:.1}G", number as f64 / 1e9),
    }
}

/// All digits, by thousands.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

/// A rate or a plain number in at most seven columns: `0`, `0.0431`, `0.42`, `3.1`, `212`, `1 904`, `48.2k`.
pub(crate) fn number(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() {
        return if value.is_nan() { "—".to_owned() } else { format!("{value}") };
    }
    match size {
        0.0 => "0".to_owned(),
        _ if size < 10_000.0 && value > 0.0 && value.fract() == 0.0 => grouped(value as u64),
        _ if size < 0.001 => format!("{value:.0e}"),
        _ if size < 0.1 => trimmed(&format!("{value:.4}")),
        _ if size < 1.0 => trimmed(&format!("{value:.3}")),
        _ if size < 100.0 => format!("{value:.1}"),
        _ if size < 10_000.0 && value > 0.0 => grouped(value.round() as u64),
        _ if size < 1e6 => format!("{:.1}k", value / 1e3),
        _ if size < 1e9 => format!("{:.1}M", value / 1e6),
        _ if size < 1e12 => format!("{:.1}G", value / 1e9),
        _ => format!("{value:.0e}"),
    }
}

/// Without zeros at the end of the fraction.
fn trimmed(text: &str) -> String {
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A share of 1 as a percentage without its sign: `4.31`, `0.00`, `100`.
pub(crate) fn percent(ratio: f64) -> String {
    let percent = ratio * 100.0;
    match percent.abs() {
        _ if percent.is_nan() => "—".to_owned(),
        size if size < 9.995 => format!("{percent:.2}"),
        size if size < 99.95 => format!("{percent:.1}"),
        _ => format!("{percent:.0}"),
    }
}

/// Time that has passed, in its largest unit alone: `9m`.
pub(crate) fn elapsed_coarse(nanos: i64) -> String {
    let seconds = nanos.max(0) / model::time::SECOND;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..86_400 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// A duration that may not exist.
pub(crate) fn duration(nanos: Option<i64>) -> String {
    nanos.map_or_else(|| "—".to_owned(), duration_text)
}

/// Time that has passed, coarsely: `4s`, `6m02s`, `3h10m`, `2d`.
pub(crate) fn elapsed(nanos: i64) -> String {
    let seconds = nanos.max(0) / model::time::SECOND;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..86_400 => duration_text(seconds * model::time::SECOND),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

/// A value with its unit, as boards name units. `percent` is of 1.
pub(crate) fn with_unit(value: f64, unit: Option<&str>) -> String {
    if value.is_nan() {
        return "—".to_owned();
    }
    let nanos = |scale: f64| duration_text((value * scale).round() as i64);
    match unit {
        Some("s" | "ms" | "ns") if value == 0.0 => "0s".to_owned(),
        Some("s") if value.is_finite() => nanos(1e9),
        Some("ms") if value.is_finite() => nanos(1e6),
        Some("ns") if value.is_finite() => nanos(1.0),
        Some("percent") => format!("{}%", percent(value)),
        Some("reqps") => format!("{}/s", number(value)),
        Some("bytes") => bytes(value),
        _ => number(value),
    }
}

fn bytes(value: f64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = value;
    let mut unit = 0;
    while value.abs() >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{value:.0}B") } else { format!("{value:.1}{}", units[unit]) }
}

/// One thing or several of them: `1 trace`, `4 traces`.
pub(crate) fn plural(number: usize, word: &str) -> String {
    format!("{} {word}{}", count(number as u64), if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_to_seven_columns() {
        for (value, text) in [
            (0.0, "0"),
            (0.4, "0.4"),
            (0.0431, "0.0431"),
            (12.0, "12"),
            (3.12, "3.1"),
            (212.4, "212"),
            (1904.0, "1 904"),
            (48_210.0, "48.2k"),
            (f64::NAN, "—"),
            (-3.2, "-3.2"),
        ] {
            assert_eq!(number(value), text);
            assert!(super::super::line::width_of(&number(value)) <= 7);
        }
        assert_eq!(count(8_911), "8 911");
        assert_eq!(count(1_234_567), "1 234 567");
    }

    #[test]
    fn values_carry_their_unit() {
        assert_eq!(with_unit(0.412, Some("s")), "412ms");
        assert_eq!(with_unit(4.0e8, Some("ns")), "400ms");
        assert_eq!(with_unit(0.021, Some("percent")), "2.10%");
        assert_eq!(with_unit(552.0, Some("reqps")), "552/s");
        assert_eq!(with_unit(3.0 * 1024.0 * 1024.0, Some("bytes")), "3.0MiB");
        assert_eq!(with_unit(f64::INFINITY, Some("s")), "inf");
    }
}
