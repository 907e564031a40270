//! Parameters of a request: the query of a GET, the form of a POST; and times in them.

use std::time::Duration;

use axum::Form;
use axum::extract::rejection::FormRejection;
use axum::extract::{FromRequest, Request};
use model::time::parse_duration;
use model::{TimeRange, UnixNano};

use super::error::ApiError;
use super::routes::Param;
use model::text::nearest;

/// What `from` is when it is not given.
pub(super) const RANGE_DEFAULT: Duration = Duration::from_secs(15 * 60);

/// Names and values, in order.
#[derive(Debug)]
pub(super) struct Params(Vec<(String, String)>);

impl<S: Send + Sync> FromRequest<S> for Params {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let form: Result<Form<Vec<(String, String)>>, FormRejection> =
            Form::from_request(request, state).await;
        match form {
            Ok(Form(pairs)) => Ok(Self(pairs)),
            Err(rejection) => Err(ApiError::unreadable(rejection.status(), rejection.body_text())),
        }
    }
}

impl Params {
    /// Refuses names that are not `known`, and names given twice.
    pub(super) fn only(self, known: &[Param]) -> Result<Self, ApiError> {
        for (at, (name, _)) in self.0.iter().enumerate() {
            let Some(param) = known.iter().find(|param| param.name == name) else {
                let names: Vec<&str> = known.iter().map(|param| param.name).collect();
                let hint = match (nearest(name, names.iter().copied()), names.is_empty()) {
                    (Some(near), _) => format!("did you mean `{near}`?"),
                    (None, true) => "this path takes no parameters".to_owned(),
                    (None, false) => format!("the parameters are {}", names.join(", ")),
                };
                return Err(ApiError::bad_query(format!("unknown parameter `{name}`")).with_hint(hint));
            };
            if !param.is_repeatable && self.0[..at].iter().any(|(earlier, _)| earlier == name) {
                return Err(ApiError::bad_query(format!("parameter `{name}` is given twice")));
            }
        }
        Ok(self)
    }

    /// The value of a parameter, if it is given and not empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).find(|value| !value.is_empty())
    }

    /// Every value of a repeatable parameter.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| &**value)
    }

    /// The value of a parameter that must be given.
    pub(super) fn required(&self, name: &str) -> Result<&str, ApiError> {
        self.get(name).ok_or_else(|| ApiError::bad_query(format!("parameter `{name}` is missing")))
    }

    /// A whole number.
    pub(super) fn number(&self, name: &str) -> Result<Option<usize>, ApiError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let wrong = || ApiError::bad_query(format!("parameter `{name}`: `{text}` is no whole number"));
        text.parse().map(Some).map_err(|_| wrong())
    }

    /// Yes or no; no unless told.
    pub(super) fn flag(&self, name: &str) -> Result<bool, ApiError> {
        match self.get(name) {
            None | Some("false" | "0") => Ok(false),
            Some("true" | "1") => Ok(true),
            Some(text) => {
                let problem = format!("parameter `{name}`: `{text}` is neither `true` nor `false`");
                Err(ApiError::bad_query(problem))
            }
        }
    }

    /// A time.
    pub(super) fn time(&self, name: &str, now: UnixNano) -> Result<Option<UnixNano>, ApiError> {
        let time = self.get(name).map(|text| parse_time(text, now)).transpose();
        time.map_err(|problem| ApiError::bad_query(format!("parameter `{name}`: {problem}")))
    }

    /// `from` to `to`: to now, and from `last` before that, where they are not given.
    pub(super) fn range(&self, last: Duration, now: UnixNano) -> Result<TimeRange, ApiError> {
        self.range_of(["from", "to"], last, now)
    }

    /// As [`Params::range`], under other names.
    pub(super) fn range_of(
        &self,
        [from_name, to_name]: [&str; 2],
        last: Duration,
        now: UnixNano,
    ) -> Result<TimeRange, ApiError> {
        let to = self.time(to_name, now)?.unwrap_or(now);
        let from = self.time(from_name, now)?.unwrap_or_else(|| to.minus(last));
        match from <= to {
            true => Ok(TimeRange { from, to }),
            false => {
                Err(ApiError::bad_query(format!("`{from_name}` ({from}) lies after `{to_name}` ({to})")))
            }
        }
    }

    /// A duration: seconds, or a number with a unit.
    pub(super) fn duration(&self, name: &str) -> Result<Duration, ApiError> {
        let text = self.required(name)?;
        let seconds = text.parse::<f64>().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        match seconds {
            Some(duration) => Ok(duration),
            None => parse_duration(text)
                .map_err(|problem| ApiError::bad_query(format!("parameter `{name}`: {problem}, or seconds"))),
        }
    }
}

/// `now`, `now-15m`, `now+1h`, RFC 3339 or Unix seconds.
fn parse_time(text: &str, now: UnixNano) -> Result<UnixNano, String> {
    let Some(offset) = text.strip_prefix("now") else {
        return text.parse().map_err(|problem: String| format!("{problem}, or now-15m"));
    };
    // A `+` in a URL reads as a space.
    let (sign, duration) = match offset.split_at_checked(1) {
        None => return Ok(now),
        Some(("-", duration)) => (-1, duration),
        Some(("+" | " ", duration)) => (1, duration),
        Some(_) => return Err(format!("`{text}` is no time: write now-15m")),
    };
    let nanos = i64::try_from(parse_duration(duration)?.as_nanos()).unwrap_or(i64::MAX);
    Ok(now.plus(sign * nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(pairs: &[(&str, &str)]) -> Params {
        Params(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn times_are_absolute_or_relative_to_now() {
        let now = UnixNano(1_800_000_000_000_000_000);
        let minute = 60_000_000_000;
        for (text, expected) in [
            ("now", now.0),
            ("now-15m", now.0 - 15 * minute),
            ("now+1m", now.0 + minute),
            ("now 1m", now.0 + minute),
            ("1800000000", now.0),
            ("1800000000.5", now.0 + 500_000_000),
            ("2027-01-15T08:00:00Z", now.0),
        ] {
            assert_eq!(parse_time(text, now), Ok(UnixNano(expected)), "{text}");
        }
        for text in ["", "nowhere", "now-", "now-15", "yesterday", "now--5m"] {
            assert!(parse_time(text, now).is_err(), "{text}");
        }
    }

    #[test]
    fn a_range_ends_now_unless_told_and_never_begins_after_its_end() {
        let now = UnixNano(1_800_000_000_000_000_000);
        let last = |pairs: &[(&str, &str)]| params(pairs).range(RANGE_DEFAULT, now);
        assert_eq!(last(&[]).expect("valid"), TimeRange::last(RANGE_DEFAULT, now));
        assert_eq!(last(&[("from", "now-1h")]).expect("valid").nanos(), 3_600_000_000_000);
        let error = last(&[("from", "now"), ("to", "now-1h")]).expect_err("turned around");
        assert!(error.body.message.contains("lies after"), "{}", error.body.message);
    }

    #[test]
    fn unknown_and_doubled_parameters_are_named() {
        let known = super::super::routes::LOGS;
        let unknown = params(&[("qery", "x")]).only(known).expect_err("misspelt");
        assert_eq!(unknown.body.hint.as_deref(), Some("did you mean `query`?"));
        assert!(params(&[("query", "x"), ("query", "y")]).only(known).is_err());
        assert!(params(&[("query", "x"), ("limit", "3")]).only(known).is_ok());
    }

    #[test]
    fn steps_are_seconds_or_durations() {
        for (text, nanos) in [("15", 15_000_000_000), ("0.5", 500_000_000), ("1m", 60_000_000_000)] {
            let step = params(&[("step", text)]).duration("step").expect(text);
            assert_eq!(step, Duration::from_nanos(nanos));
        }
        for text in ["", "-1", "NaN", "1e300", "x"] {
            assert!(params(&[("step", text)]).duration("step").is_err(), "{text}");
        }
    }
}
