//! Functions of one number, and of a time as Unix seconds.

use jiff::Timestamp;
use jiff::tz::TimeZone;

pub(super) fn function(name: &str) -> Option<fn(f64) -> f64> {
    Some(match name {
        "abs" => f64::abs,
        "ceil" => f64::ceil,
        "floor" => f64::floor,
        "exp" => f64::exp,
        "sqrt" => f64::sqrt,
        "ln" => f64::ln,
        "log2" => f64::log2,
        "log10" => f64::log10,
        "sin" => f64::sin,
        "cos" => f64::cos,
        "tan" => f64::tan,
        "asin" => f64::asin,
        "acos" => f64::acos,
        "atan" => f64::atan,
        "sinh" => f64::sinh,
        "cosh" => f64::cosh,
        "tanh" => f64::tanh,
        "asinh" => f64::asinh,
        "acosh" => f64::acosh,
        "atanh" => f64::atanh,
        "rad" => f64::to_radians,
        "deg" => f64::to_degrees,
        "sgn" => sign,
        _ => return None,
    })
}

/// -1, 0 or 1; zero and NaN stay themselves.
fn sign(value: f64) -> f64 {
    if value > 0.0 {
        1.0
    } else if value < 0.0 {
        -1.0
    } else {
        value
    }
}

/// A part of the date in UTC; NaN for what is no date of the years -9999 to 9999.
pub(super) fn calendar(name: &str) -> Option<fn(f64) -> f64> {
    Some(match name {
        "minute" => |time| part(time, |date| f64::from(date.minute())),
        "hour" => |time| part(time, |date| f64::from(date.hour())),
        "day_of_week" => |time| part(time, |date| f64::from(date.weekday().to_sunday_zero_offset())),
        "day_of_month" => |time| part(time, |date| f64::from(date.day())),
        "day_of_year" => |time| part(time, |date| f64::from(date.day_of_year())),
        "days_in_month" => |time| part(time, |date| f64::from(date.days_in_month())),
        "month" => |time| part(time, |date| f64::from(date.month())),
        "year" => |time| part(time, |date| f64::from(date.year())),
        _ => return None,
    })
}

fn part(seconds: f64, of: fn(&jiff::Zoned) -> f64) -> f64 {
    if !seconds.is_finite() {
        return f64::NAN;
    }
    Timestamp::from_second(seconds as i64).map_or(f64::NAN, |time| of(&time.to_zoned(TimeZone::UTC)))
}
