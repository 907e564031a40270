//! Lines as container runtimes write them: CRI (containerd, CRI-O) and Docker's `json-file`.
//!
//! ```text
//! CRI     2026-11-24T10:00:00.123456789Z stdout P the first part of
//!         time                           stream tag: F ends a line, P does not; more tags behind `:`
//! Docker  {"log":"text\n","stream":"stdout","time":"2026-11-24T10:00:00.123456789Z"}
//!         a `log` without a line feed at its end is a part of a line
//! ```
//!
//! Invariant: what is not in the format comes back as it is, a whole line; no bytes panic.

use std::borrow::Cow;

use model::UnixNano;
use model::dialect::parse_time;
use serde::Deserialize;

use crate::config::Format;

/// Where a container wrote a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IoStream {
    Stdout,
    Stderr,
}

impl IoStream {
    /// The value of the attribute `log.iostream`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }

    fn parse(text: &[u8]) -> Option<Self> {
        match text {
            b"stdout" => Some(Self::Stdout),
            b"stderr" => Some(Self::Stderr),
            _ => None,
        }
    }
}

/// What the runtime says about a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) time: Option<UnixNano>,
    pub(crate) iostream: Option<IoStream>,
}

/// A line, or a part of one, without what the runtime put around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unwrapped<'a> {
    pub(crate) text: Cow<'a, [u8]>,
    pub(crate) origin: Origin,
    /// Another part of the line follows.
    pub(crate) is_part: bool,
}

/// Takes off what the runtime put around a line.
pub(crate) fn unwrap(format: Format, line: &[u8]) -> Unwrapped<'_> {
    let unwrapped = match format {
        Format::Plain => None,
        Format::Cri => cri(line),
        Format::Docker => docker(line),
        Format::Auto if line.starts_with(br#"{"log":""#) => docker(line),
        Format::Auto => cri(line),
    };
    unwrapped.unwrap_or(Unwrapped { text: Cow::Borrowed(line), origin: Origin::default(), is_part: false })
}

fn cri(line: &[u8]) -> Option<Unwrapped<'_>> {
    // The cheapest proof that it is none: a date begins with a year.
    if !line.first()?.is_ascii_digit() || line.get(4) != Some(&b'-') || line.get(10) != Some(&b'T') {
        return None;
    }
    let mut fields = line.splitn(4, |byte| *byte == b' ');
    let time = fields.next()?;
    let iostream = IoStream::parse(fields.next()?)?;
    let tags = fields.next()?;
    let is_part = match tags.split(|byte| *byte == b':').next()? {
        b"P" => true,
        b"F" => false,
        _ => return None,
    };
    let time = parse_time(std::str::from_utf8(time).ok()?)?;
    let text = Cow::Borrowed(fields.next().unwrap_or_default());
    Some(Unwrapped { text, origin: Origin { time: Some(time), iostream: Some(iostream) }, is_part })
}

#[derive(Deserialize)]
struct DockerLine<'a> {
    #[serde(borrow)]
    log: Cow<'a, str>,
    #[serde(borrow, default)]
    stream: Cow<'a, str>,
    #[serde(borrow, default)]
    time: Cow<'a, str>,
}

fn docker(line: &[u8]) -> Option<Unwrapped<'_>> {
    if line.first() != Some(&b'{') {
        return None;
    }
    let parsed: DockerLine<'_> = serde_json::from_slice(line).ok()?;
    let iostream = IoStream::parse(parsed.stream.as_bytes());
    let is_part = !parsed.log.ends_with('\n');
    let text = match parsed.log {
        Cow::Borrowed(text) => Cow::Borrowed(text.trim_end_matches('\n').as_bytes()),
        Cow::Owned(mut text) => {
            text.truncate(text.trim_end_matches(['\n', '\r']).len());
            Cow::Owned(text.into_bytes())
        }
    };
    Some(Unwrapped { text, origin: Origin { time: parse_time(&parsed.time), iostream }, is_part })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(format: Format, line: &str, text: &str, iostream: Option<IoStream>, is_part: bool) {
        let unwrapped = unwrap(format, line.as_bytes());
        assert_eq!(String::from_utf8_lossy(&unwrapped.text), text);
        assert_eq!((unwrapped.origin.iostream, unwrapped.is_part), (iostream, is_part), "{line}");
        assert_eq!(unwrapped.origin.time.is_some(), iostream.is_some());
    }

    #[test]
    fn cri_and_docker_lines_are_unwrapped_and_parts_are_told() {
        let (out, err) = (Some(IoStream::Stdout), Some(IoStream::Stderr));
        for format in [Format::Auto, Format::Cri] {
            check(format, "2026-11-24T10:00:00.123456789Z stdout F a b  c", "a b  c", out, false);
            check(format, "2026-11-24T10:00:00.1+01:00 stderr P:x half", "half", err, true);
            check(format, "2026-11-24T10:00:00Z stdout F ", "", out, false);
        }
        for format in [Format::Auto, Format::Docker] {
            let line = r#"{"log":"a \"b\"\n","stream":"stdout","time":"2026-11-24T10:00:00.5Z"}"#;
            check(format, line, "a \"b\"", out, false);
            let line =
                r#"{"log":"half","stream":"stderr","time":"2026-11-24T10:00:00.5Z","attrs":{"a":"b"}}"#;
            check(format, line, "half", err, true);
        }
    }

    #[test]
    fn what_is_in_no_format_stays_as_it_is() {
        for line in [
            "2026-11-24T10:00:00Z stdout X no tag",
            "2026-11-24T10:00:00Z info F no stream",
            "2026-11-24 10:00:00 stdout F no time",
            "{\"log\":\"no end",
            "{\"msg\":\"an application's own JSON\"}",
            "",
        ] {
            check(Format::Auto, line, line, None, false);
        }
        check(
            Format::Plain,
            "2026-11-24T10:00:00Z stdout F a",
            "2026-11-24T10:00:00Z stdout F a",
            None,
            false,
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_unwrapped_without_panic(line in proptest::collection::vec(any::<u8>(), 0..200)) {
            for format in [Format::Auto, Format::Plain, Format::Cri, Format::Docker] {
                unwrap(format, &line);
            }
        }
    }
}
