//! What counts as a secret, in two widths.
//!
//! | | looked for in | a mistake costs | so patterns are |
//! |---|---|---|---|
//! | `HIDDEN` | every line and request, in passing, for good | a word of a log that nobody gets back | narrow, each behind a literal that lets most text pass unread |
//! | [`VALUES`] | one case that leaves the house; what is found is replaced everywhere in it | a pseudonym too many, in a copy | wide, whatever they cost |
//!
//! Who adds a secret to one of them looks whether it belongs into the other.

use super::RedactPreset;

/// What a preset looks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) preset: RedactPreset,
    pub(super) kind: &'static str,
    /// One of them is in every text that the pattern matches; letters match whatever their case.
    pub(super) literals: &'static [&'static str],
    pub(super) pattern: &'static str,
}

const fn known(
    preset: RedactPreset,
    kind: &'static str,
    literals: &'static [&'static str],
    pattern: &'static str,
) -> Known {
    Known { preset, kind, literals, pattern }
}

/// What the presets of the agent and of `[redaction]` hide.
pub(super) const HIDDEN: [Known; 12] = [
    known(
        RedactPreset::Tokens,
        "private_key",
        &["-----BEGIN"],
        r#"-----BEGIN [A-Z ]*PRIVATE KEY-----(?:[^"]*?-----END [A-Z ]*PRIVATE KEY-----|[^"]*)"#,
    ),
    known(
        RedactPreset::Tokens,
        "jwt",
        &["eyJ"],
        r"\beyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]*",
    ),
    known(
        RedactPreset::Tokens,
        "authorization",
        &["authorization"],
        r#"(?i)authorization["']?\s*[:=]\s*["']?(?:(?:basic|bearer|digest|token|apikey)\s+)?([^\s"',;\[]+)"#,
    ),
    known(RedactPreset::Tokens, "token", &["bearer"], r"(?i)\bbearer\s+([A-Za-z0-9._~+/=-]{16,})"),
    known(RedactPreset::Tokens, "aws_key", &["AKIA", "ASIA"], r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    known(
        RedactPreset::Tokens,
        "token",
        &["ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"],
        r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,})",
    ),
    known(RedactPreset::Tokens, "token", &["xox"], r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}"),
    known(RedactPreset::Tokens, "token", &["k_live_"], r"\b[sr]k_live_[A-Za-z0-9]{10,}"),
    known(RedactPreset::Tokens, "token", &["AIza"], r"\bAIza[0-9A-Za-z_-]{35}"),
    known(
        RedactPreset::Passwords,
        "password",
        &["passw", "pwd", "secret", "apikey", "api_key", "api-key", "token"],
        r#"(?i)(?:passw(?:or)?d|pwd|secret|api[_-]?key|token)["']?\s*[:=]\s*(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|([^\s"'&,;})\]]+))"#,
    ),
    known(RedactPreset::Passwords, "password", &["://"], r#"://[^/\s:@"]*:([^/\s@"]+)@"#),
    known(
        RedactPreset::Email,
        "email",
        &["@"],
        r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}",
    ),
];

/// What an export looks for: the patterns that are known by name.
pub const VALUES: [(&str, &str); 8] = [
    ("email", r"[A-Za-z0-9._%+\-]{1,64}@[A-Za-z0-9\-]{1,63}(?:\.[A-Za-z0-9\-]{1,63})+"),
    ("bearer", r"(?i)\b(?:bearer|basic)\s+([A-Za-z0-9._~+/\-]{8,}=*)"),
    ("jwt", r"\beyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{4,}\.[A-Za-z0-9_\-]*"),
    ("card", r"\b\d(?:[ \-]?\d){12,18}\b"),
    ("iban", r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b"),
    (
        "password",
        r#"(?i)\b(?:password|passwd|pwd|secret|api[_\-]?key|access[_\-]?token)["']?\s*[=:]\s*["']?([^\s"',;&]{4,})"#,
    ),
    ("url_password", r"://[^/\s:@]{1,128}:([^/\s@]{1,128})@"),
    ("ip", r"\b(?:\d{1,3}\.){3}\d{1,3}\b"),
];

/// Globs on the keys whose values an export redacts unless told otherwise.
pub const ATTRIBUTES: [&str; 24] = [
    "enduser.*",
    "user.*",
    "user_id",
    "client.address",
    "client.ip",
    "source.address",
    "net.peer.ip",
    "net.sock.peer.addr",
    "http.client_ip",
    "*email*",
    "*phone*",
    "*password*",
    "*passwd*",
    "*secret*",
    "*token*",
    "*api_key*",
    "*apikey*",
    "*authorization*",
    "*cookie*",
    "*credit_card*",
    "*card_number*",
    "*iban*",
    "session.id",
    "session_id",
];
/// The id kinds whose values an export redacts unless told otherwise.
pub const ID_KINDS: [&str; 2] = ["user_id", "session_id"];
/// The names in [`VALUES`] of what an export redacts unless told otherwise.
pub const PATTERNS: [&str; 7] = ["email", "bearer", "jwt", "card", "iban", "password", "url_password"];

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::redact::{Redactor, ValuePattern};

    #[test]
    fn a_secret_that_both_know_is_hidden_in_passing_and_found_in_an_export() {
        let all = [RedactPreset::Default, RedactPreset::Email, RedactPreset::Cards];
        let redactor = Redactor::new(&all, &[]).expect("something to hide");
        for (name, secret, text) in [
            ("email", "ann@shop.example", "mail to ann@shop.example failed"),
            ("bearer", "abcdef.0123456789-xyz", "sent Bearer abcdef.0123456789-xyz to"),
            ("jwt", "eyJhbGciOiJI.eyJzdWIi.c2ln", "t: eyJhbGciOiJI.eyJzdWIi.c2ln"),
            ("card", "4111 1111 1111 1111", "paid with 4111 1111 1111 1111 now"),
            ("password", "hunter2hunter2", "login password=hunter2hunter2 failed"),
            ("url_password", "s3cretvalue", "postgres://shop:s3cretvalue@db/orders"),
        ] {
            let hidden = redactor.redact(Cow::Borrowed(text));
            assert!(!hidden.contains(secret) && hidden.contains("[redacted:"), "{name}: {hidden}");
            let mut found = Vec::new();
            let pattern = ValuePattern::built_in(name).expect(name);
            pattern.each(text, &mut |value| found.push(value.to_owned()));
            assert_eq!(found, [secret], "{name}");
        }
    }

    #[test]
    fn what_an_export_redacts_by_itself_is_among_what_it_knows() {
        for name in PATTERNS {
            assert!(VALUES.iter().any(|(known, _)| *known == name), "{name}");
        }
    }
}
