//! Telling files that hold no lines by their first bytes, so that a wide glob does not ship garbage.
//!
//! When in doubt a file is text: only well-known formats are told, and content in which zeros abound.

/// Signatures at the beginning of files that are found beside logs.
const SIGNATURES: [(&[u8], &str); 10] = [
    (b"\x1f\x8b\x08", "gzip; name it .gz to have it read"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\xfd7zXZ\0", "xz"),
    (b"BZh", "bzip2"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\x7fELF", "a program"),
    (b"LPKSHHRH", "a systemd journal; use [journald]"),
    (b"SQLite format 3\0", "an SQLite database"),
    (b"\xff\xfe", "UTF-16 text; only UTF-8 is read"),
    (b"\xfe\xff", "UTF-16 text; only UTF-8 is read"),
];
/// One zero in so many bytes is none of a text.
const BYTES_A_ZERO: usize = 4;
/// Zeros that make a content no text.
const ZEROS_MIN: usize = 16;

/// What the first bytes of a file are if they are no text.
pub(super) fn kind_of(head: &[u8]) -> Option<&'static str> {
    let signature = SIGNATURES.iter().find(|(signature, _)| head.starts_with(signature));
    if let Some((_, kind)) = signature {
        return Some(kind);
    }
    // A file truncated under a writer that keeps its offset begins with a hole of zeros.
    let leading = head.iter().take_while(|byte| **byte == 0).count();
    let rest = &head[leading..];
    let zeros = rest.iter().filter(|byte| **byte == 0).count();
    (zeros >= ZEROS_MIN && zeros * BYTES_A_ZERO >= rest.len()).then_some("binary records")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binary_files_are_told_and_texts_with_holes_or_stray_zeros_are_not() {
        let utmp = [&[2, 0, 0, 0][..], b"~\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"].concat();
        for (head, kind) in [
            (&b"\x1f\x8b\x08\x00"[..], "gzip"),
            (b"LPKSHHRH\0\0", "[journald]"),
            (b"\xff\xfea\0", "UTF-16"),
            (&utmp, "binary records"),
        ] {
            assert!(kind_of(head).is_some_and(|found| found.contains(kind)), "{kind}");
        }
        let hole = [&[0; 900][..], b"a line behind a hole\n"].concat();
        for text in [&b""[..], b"\xef\xbb\xbfa", b"a\0b", b"BZ", &hole, "caf\u{e9} \u{1f980}\n".as_bytes()] {
            assert_eq!(kind_of(text), None, "{text:?}");
        }
    }
}
