//! Numbers as Prometheus' templates write them.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::Term;

/// Go's `%v`: shortest text that reads back, with an exponent for very large and very small numbers.
pub(super) fn plain(number: f64) -> String {
    match special(number) {
        Some(text) => text.to_owned(),
        None if number != 0.0 && !(1e-4..1e21).contains(&number.abs()) => exponent(&format!("{number:e}")),
        None => number.to_string(),
    }
}

fn special(number: f64) -> Option<&'static str> {
    match number {
        n if n.is_nan() => Some("NaN"),
        f64::INFINITY => Some("+Inf"),
        f64::NEG_INFINITY => Some("-Inf"),
        _ => None,
    }
}

/// Rust's `1.5e7` as Go's `1.5e+07`.
fn exponent(text: &str) -> String {
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
    format!("{mantissa}e{sign}{digits:0>2}")
}

/// `%.<digits>g`: so many significant digits, no zeros at the end.
fn significant(number: f64, digits: usize) -> String {
    if let Some(text) = special(number) {
        return text.to_owned();
    }
    let digits = digits.max(1);
    let scientific = format!("{number:.*e}", digits - 1);
    let power: i32 = scientific.split_once('e').and_then(|(_, power)| power.parse().ok()).unwrap_or(0);
    let trim = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    let limit = i32::try_from(digits).unwrap_or(i32::MAX);
    if power < -4 || power >= limit {
        let (mantissa, power) = scientific.split_once('e').unwrap_or((&scientific, "0"));
        return exponent(&format!("{}e{power}", trim(mantissa)));
    }
    let decimals = usize::try_from(limit - 1 - power).unwrap_or(0);
    trim(&format!("{number:.decimals$}"))
}

fn scaled(mut number: f64, base: f64, up: &[&str], down: &[&str]) -> String {
    let mut prefix = "";
    if number != 0.0 && number.is_finite() {
        if number.abs() >= 1.0 {
            for next in up {
                if number.abs() < base {
                    break;
                }
                prefix = next;
                number /= base;
            }
        } else {
            for next in down {
                if number.abs() >= 1.0 {
                    break;
                }
                prefix = next;
                number *= base;
            }
        }
    }
    format!("{}{prefix}", significant(number, 4))
}

const SMALL: [&str; 8] = ["m", "u", "n", "p", "f", "a", "z", "y"];

pub(super) fn humanize(number: f64) -> String {
    scaled(number, 1000.0, &["k", "M", "G", "T", "P", "E", "Z", "Y"], &SMALL)
}

pub(super) fn humanize_1024(number: f64) -> String {
    scaled(number, 1024.0, &["ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"], &[])
}

pub(super) fn percentage(number: f64) -> String {
    format!("{}%", significant(number * 100.0, 4))
}

pub(super) fn humanize_duration(seconds: f64) -> String {
    if !seconds.is_finite() {
        return significant(seconds, 4);
    }
    if seconds.abs() < 60.0 {
        return format!("{}s", scaled(seconds, 1000.0, &[], &SMALL));
    }
    let sign = if seconds < 0.0 { "-" } else { "" };
    let whole = seconds.abs() as u64;
    let (days, hours, minutes, rest) = (whole / 86_400, whole / 3600 % 24, whole / 60 % 60, whole % 60);
    match (days, hours) {
        (0, 0) => format!("{sign}{minutes}m {rest}s"),
        (0, _) => format!("{sign}{hours}h {minutes}m {rest}s"),
        _ => format!("{sign}{days}d {hours}h {minutes}m {rest}s"),
    }
}

pub(super) fn timestamp(seconds: f64) -> String {
    if !seconds.is_finite() {
        return significant(seconds, 4);
    }
    match Timestamp::from_second(seconds as i64) {
        Ok(time) => time.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string(),
        Err(_) => significant(seconds, 4),
    }
}

/// Decimals and digits beyond this are not asked for by anyone.
const PRECISION_MAX: usize = 64;

/// The verbs `%s %v %q %d %f %g %e` with an optional precision, and `%%`.
pub(super) fn printf(format: &str, arguments: &[Term]) -> Result<String, String> {
    let mut out = String::new();
    let mut arguments = arguments.iter();
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let verb_at =
            rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).ok_or("`%` at the end of a format")?;
        let precision = rest[..verb_at].strip_prefix('.').map(|digits| digits.parse::<usize>().unwrap_or(0));
        if precision.is_none() && verb_at > 0 {
            return Err(format!("a width is not supported in `%{}`", &rest[..=verb_at]));
        }
        let precision = precision.map(|precision| precision.min(PRECISION_MAX));
        let verb = rest[verb_at..].chars().next().unwrap_or('%');
        rest = &rest[verb_at + verb.len_utf8()..];
        if verb == '%' {
            out.push('%');
            continue;
        }
        let argument = arguments.next().ok_or_else(|| format!("`printf` lacks an argument for `%{verb}`"))?;
        out.push_str(&match verb {
            's' | 'v' => argument.text(),
            'q' => format!("{:?}", argument.text()),
            'd' => format!("{:.0}", argument.number()?.trunc()),
            'f' => fixed(argument.number()?, precision.unwrap_or(6)),
            'g' => precision.map_or_else(
                || Ok(plain(argument.number()?)),
                |p| argument.number().map(|n| significant(n, p)),
            )?,
            'e' => exponent(&format!("{:.*e}", precision.unwrap_or(6), argument.number()?)),
            other => return Err(format!("the verb `%{other}` is not supported in `printf`")),
        });
    }
    out.push_str(rest);
    Ok(out)
}

fn fixed(number: f64, decimals: usize) -> String {
    special(number).map_or_else(|| format!("{number:.decimals$}"), str::to_owned)
}
