//! Topic globs: `*` stands for any text, `?` for one character.

/// Whether all of `text` is what `glob` describes. At most `glob` × `text` steps.
pub fn is_match(glob: &str, text: &str) -> bool {
    let (glob, text) = (glob.as_bytes(), text.as_bytes());
    let (mut at, mut from) = (0, 0);
    // Where to go on when what followed the last star does not fit: the star, and the text it ends before.
    let mut star: Option<(usize, usize)> = None;
    while from < text.len() {
        match glob.get(at) {
            Some(b'*') => {
                star = Some((at, from));
                at += 1;
            }
            Some(sign) if *sign == b'?' || *sign == text[from] => {
                at += 1;
                from += 1;
            }
            _ => match star {
                Some((star_at, covered)) => {
                    at = star_at + 1;
                    from = covered + 1;
                    star = Some((star_at, covered + 1));
                }
                None => return false,
            },
        }
    }
    glob[at..].iter().all(|sign| *sign == b'*')
}

#[cfg(test)]
mod tests {
    use super::is_match;

    #[test]
    fn a_star_is_any_text_and_a_question_mark_one_sign() {
        for (glob, text, expected) in [
            ("orders", "orders", true),
            ("orders", "orders-v1", false),
            ("orders*", "orders-v1", true),
            ("*.orders.*", "eu.orders.v2", true),
            ("*.orders.*", "orders", false),
            ("orders-v?", "orders-v1", true),
            ("orders-v?", "orders-v12", false),
            ("*a*b", "xaxxab", true),
            ("*", "", true),
            ("", "x", false),
        ] {
            assert_eq!(is_match(glob, text), expected, "{glob} {text}");
        }
    }

    #[test]
    fn many_stars_do_not_make_it_slow() {
        let glob = "*a".repeat(100);
        assert!(!is_match(&glob, &"b".repeat(10_000)));
    }
}
