//! Messages as RFCs, `logger` and rsyslog write them, and bytes that nobody would.

use proptest::prelude::*;

use super::parse::*;
use super::*;

/// 2026-11-24T12:00:00Z.
const NOW: UnixNano = UnixNano(1_795_521_600_000_000_000);

fn read(text: &str) -> Message {
    parse(text.as_bytes(), NOW)
}

fn time_of(message: &Message) -> String {
    message.time.expect("a time").to_string()[..19].to_owned()
}

#[test]
fn the_examples_of_rfc_5424_are_read() {
    let message = read(
        "<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - \u{feff}'su root' failed for lonvick on /dev/pts/8",
    );
    assert_eq!((message.facility, message.severity), ("auth", (18, "crit")));
    assert_eq!(
        (message.app.as_deref(), message.process_id.as_deref(), message.message_id.as_deref()),
        (Some("su"), None, Some("ID47"))
    );
    assert_eq!(message.text, "'su root' failed for lonvick on /dev/pts/8");
    assert_eq!(time_of(&message), "2003-10-11T22:14:15");
    let message = read(
        r#"<165>1 2003-10-11T22:14:15.003Z h evntslog 8 ID47 [ex@32473 iut="3" s="App \"x\" \]"][p@1 c="high"] An event"#,
    );
    let params: Vec<_> = message.params.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(
        params,
        [("syslog.ex@32473.iut", "3"), ("syslog.ex@32473.s", "App \"x\" ]"), ("syslog.p@1.c", "high")]
    );
    assert_eq!((message.facility, message.text.as_str()), ("local4", "An event"));
}

#[test]
fn the_forms_of_rfc_3164_and_of_local_programs_are_read() {
    let message = read("<34>Oct 11 22:14:15 mymachine su[99]: 'su root' failed");
    assert_eq!((message.host.as_deref(), message.app.as_deref()), (Some("mymachine"), Some("su")));
    assert_eq!((message.process_id.as_deref(), message.text.as_str()), (Some("99"), "'su root' failed"));
    assert_eq!(time_of(&message), "2026-10-11T22:14:15");
    let local = read("<13>Nov  4 10:41:58 root: hello: world\n");
    assert_eq!((local.host, local.app.as_deref(), local.text.as_str()), (None, Some("root"), "hello: world"));
    let rsyslog = read("<30>2026-11-21T10:41:58.104+01:00 web-1 systemd[1]: Started shop.service.");
    assert_eq!((rsyslog.host.as_deref(), time_of(&rsyslog).as_str()), (Some("web-1"), "2026-11-21T09:41:58"));
    let december = read("<13>Dec 31 23:59:59 h a: b");
    assert_eq!(time_of(&december), "2025-12-31T23:59:59", "not in the future");
}

#[test]
fn what_has_no_form_is_its_text() {
    for text in ["plain text", "<999>x", "<13", "<13>1 too few", "", "{\"a\": 1}", "<13>"] {
        let message = read(text);
        assert!(text.ends_with(&message.text), "{text}: {message:?}");
    }
    assert_eq!(read("<11>oops").severity, (17, "err"));
}

fn frames(mut bytes: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    while let Frame::Message { start, len, used } = frame(bytes, 1000) {
        found.push(String::from_utf8_lossy(&bytes[start..start + len]).into_owned());
        bytes = &bytes[used..];
    }
    found
}

#[test]
fn counted_messages_and_lines_may_follow_each_other() {
    assert_eq!(frames(b"9 <13>a: b\n8 <13>c: d<13>e: f\n"), ["<13>a: b\n", "<13>c: d", "<13>e: f"]);
    assert_eq!(frame(b"20 <13>a", 1000), Frame::Incomplete);
    assert_eq!(frames(b"2026 was a year\n"), ["2026 was a year"]);
    assert_eq!(frames(&[b'x'; 2500]).len(), 2, "pieces, and a rest that waits");
}

proptest! {
    #[test]
    fn any_bytes_are_a_message_and_their_neighbour_is_not_lost(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        parse(&bytes, NOW);
        // A neighbour on the same connection, behind a line end, whatever stood before it.
        let mut stream: Vec<u8> = bytes.into_iter().filter(|byte| !byte.is_ascii_digit() && *byte != b'\n').collect();
        stream.push(b'\n');
        stream.extend_from_slice(b"<13>app: the neighbour\n");
        prop_assert!(frames(&stream).iter().any(|text| text.ends_with("app: the neighbour")));
    }

    #[test]
    fn what_is_written_in_rfc_5424_is_read(app in "[a-z]{1,9}", text in "[ -~]{0,40}", value in "[ -~]{0,9}") {
        let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace(']', "\\]");
        let message = read(&format!("<14>1 2026-11-21T10:41:58Z h {app} 7 - [a b=\"{escaped}\"] {text}"));
        prop_assert_eq!(message.app.as_deref(), Some(app.as_str()));
        prop_assert_eq!(message.params, [("syslog.a.b".to_owned(), value)]);
        prop_assert_eq!(message.text, text);
    }
}
