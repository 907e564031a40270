//! Names that rotations give to files: which may be one file, or a copy of it, by their names alone.
//!
//! ```text
//! kin of app.log    app.log.1   app.log-20261121   app-20261121.log   app.1.log   app.log.1.old
//! a rotation of it  app.log.1   app.log-20261121   app-20261121.log   app.1.log       numbers and dates only
//! one family        app.log.1   app.log.2.gz       app-20261121.log                   whichever was first
//! plain name        app.log.1   app.log.2.gz       app.log-20261121                   numbers and dates behind an ending
//! ```
//!
//! A name is never evidence by itself. Does not own: comparing what is in the files.

use std::path::{Path, PathBuf};

use super::packed::is_packed;

/// Whether `new` is a name that a rotation gives to `original`: in the same folder,
/// `app.log` → `app.log.1`, `app.log-20261121`, `app-20261121.log`, `app.1.log`; or that of `app.log.2.gz` unpacked.
pub(super) fn is_kin(original: &Path, new: &Path) -> bool {
    if is_packed(original) {
        let unpacked = original.with_extension("");
        return unpacked == new || is_kin(&unpacked, new);
    }
    added(original, new).is_some()
}

/// Whether `new` is kin of the name that a file has, or of the one it had at first: both may have moved on since.
pub(super) fn is_kin_of_one(names: [&Path; 2], new: &Path) -> bool {
    #[cfg(test)]
    super::tests::many::count();
    names.iter().any(|name| is_kin(name, new) || *name != new && is_of_one_family(name, new))
}

/// Whether two files of a folder differ in number, date and compression only: `app.log.1` and `app.log.2.gz`.
fn is_of_one_family(one: &Path, other: &Path) -> bool {
    family(one).is_some_and(|one| family(other) == Some(one)) && one.parent() == other.parent()
}

/// A name without compression, number and date, as what stands before its ending, and the ending.
pub(super) fn family(path: &Path) -> Option<(&str, &str)> {
    let name = path.file_name()?.to_str()?;
    let name = without_count(name.strip_suffix(".gz").unwrap_or(name));
    let (stem, ending) = name.rsplit_once('.').unwrap_or((name, ""));
    Some((without_count(stem), ending))
}

/// A text without `.1`, `-20261121` or the like at its end.
fn without_count(text: &str) -> &str {
    let mut kept = text;
    loop {
        let rest = kept.trim_end_matches(|letter: char| letter.is_ascii_digit() || "TZ:".contains(letter));
        let shorter = rest.trim_end_matches(['.', '-', '_']);
        if shorter.is_empty() || shorter.len() == rest.len() || rest.len() == kept.len() {
            return kept;
        }
        kept = shorter;
    }
}

/// Whether `new` is a name that a rotation gives to the compressed form of `original`.
pub(super) fn may_be_packed_from(original: &Path, new: &Path) -> bool {
    let unpacked = new.with_extension("");
    original == unpacked || is_kin_of_one([original, original], &unpacked)
}

/// Whether `new` is a name that a rotation gives to the compressed form of a file with these names, by numbers and dates
/// only.
pub(super) fn is_packed_rotation(names: [&Path; 2], new: &Path) -> bool {
    let unpacked = new.with_extension("");
    names
        .into_iter()
        .any(|name| *name == unpacked || is_rotation(name, &unpacked) || is_of_one_family(name, &unpacked))
}

/// Whether `new` is `original` with a number or a date: the same stream, rotated.
pub(super) fn is_rotation(original: &Path, new: &Path) -> bool {
    added(original, new).is_some_and(is_counted)
}

/// Whether a text has digits and what stands between them in numbers and times, and nothing else.
fn is_counted(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_digit() || b".-_:TZ".contains(&byte);
    text.bytes().all(is_part) && text.bytes().any(|byte| byte.is_ascii_digit())
}

/// The name that numbers and dates were put behind, one with an ending: `app.log` of `app.log.1`, whether it is there or
/// not. Of other names themselves: `worker-1.log` need not have anything to do with a `worker.log`.
pub(super) fn plain(path: &str) -> &str {
    let unpacked = path.strip_suffix(".gz").unwrap_or(path);
    let name_at = unpacked.rfind('/').map_or(0, |slash| slash + 1);
    let is_plain = |at: &usize| {
        let ending = unpacked[name_at..*at].rsplit_once('.').map(|(_, ending)| ending);
        is_counted(&unpacked[*at..])
            && ending.is_some_and(|ending| ending.contains(|letter: char| letter.is_alphabetic()))
    };
    let mut cuts = unpacked.match_indices(['.', '-', '_']).map(|(at, _)| at).filter(|at| *at > name_at);
    cuts.find(is_plain).map_or(path, |at| &unpacked[..at])
}

/// All names of which `path` is a rotation, in their order.
pub(super) fn rotated_from(path: &Path) -> Vec<PathBuf> {
    let names = shortened(path).into_iter().map(|name| path.with_file_name(name));
    let mut names: Vec<PathBuf> = names.filter(|name| is_rotation(name, path)).collect();
    names.sort_unstable();
    names
}

/// The names of the same folder that have less than `path` has, at the end or before the ending: all of which it is
/// kin, but for those of its family.
pub(super) fn shortened(path: &Path) -> Vec<String> {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return Vec::new() };
    let last_dot = name.rfind('.').unwrap_or_default();
    let mut found = Vec::new();
    for (at, _) in name.match_indices(['.', '-', '_']).filter(|(at, _)| *at > 0) {
        found.push(name[..at].to_owned());
        if at < last_dot {
            found.push(format!("{}{}", &name[..at], &name[last_dot..]));
        }
    }
    found
}

/// What a name has more than another one of the same folder: behind it, or before its ending.
fn added<'a>(original: &Path, new: &'a Path) -> Option<&'a str> {
    if original == new || original.parent() != new.parent() {
        return None;
    }
    let (old, new) = (original.file_name()?.to_str()?, new.file_name()?.to_str()?);
    let extends = |rest: &&str| rest.starts_with(['.', '-', '_']) && rest.len() > 1;
    if let Some(rest) = new.strip_prefix(old).filter(extends) {
        return Some(rest);
    }
    let (stem, ending) = old.rsplit_once('.')?;
    let between = new.strip_prefix(stem)?.strip_suffix(ending)?.strip_suffix('.')?;
    Some(between).filter(extends).filter(|between| between.bytes().any(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_names_that_a_rotation_gives_are_kin() {
        let kin = |old: &str, new: &str| is_kin(&Path::new("/l").join(old), &Path::new("/l").join(new));
        for new in ["app.log.1", "app.log-20261121", "app-20261121.log", "app.1.log", "app.log.1.old"] {
            assert!(kin("app.log", new), "{new}");
        }
        for new in ["app.log", "b.log", "app.logs", "app2.log", "app-errors.log", "app.log."] {
            assert!(!kin("app.log", new), "{new}");
        }
        assert!(!kin("app.log.1", "app.log"));
        assert!(kin("app.log.2.gz", "app.log.2") && !kin("app.log.2.gz", "app.log"));
        let rotated = |new: &str| is_rotation(Path::new("/l/app.log"), &Path::new("/l").join(new));
        assert!(["app.log.1", "app.log-20261121", "app.log.20261124-100000"].into_iter().all(rotated));
        assert!(!rotated("app.log.err2") && !rotated("app.log.1.old"));
        for name in ["app.log", "app.log.1", "app.log.2.gz", "app-2026-11-21.log", "app.log-20261121T10.gz"] {
            assert_eq!(family(Path::new(name)), Some(("app", "log")), "{name}");
        }
        assert_eq!(family(Path::new("app2.log")), Some(("app2", "log")));
        assert_eq!(family(Path::new("2026.log")), Some(("2026", "log")));
        assert!(!is_kin(Path::new("/l/app.log"), Path::new("/m/app.log.1")));
    }

    #[test]
    fn a_plain_name_is_what_stands_before_numbers_behind_an_ending() {
        for name in ["app.log", "app.log.1", "app.log.12.gz", "app.log-20261121", "app.log.2026-11-21T10:00"]
        {
            assert_eq!(plain(&format!("/l.d-1/{name}")), "/l.d-1/app.log", "{name}");
        }
        for name in
            ["worker-1.log", "app-20261121.log", "service-1", "10.0.0.1", ".1", "app.log.old", "x.gz", ""]
        {
            assert_eq!(plain(name), name);
        }
    }

    proptest! {
        /// So that kin is found without comparing every name with every other one.
        #[test]
        fn all_kin_of_a_name_is_of_its_family_or_has_a_shortened_name(
            old in "[ab](\\.log|-1|\\.2|_T|\\.b){0,4}",
            new in "[ab](\\.log|-1|\\.2|_T|\\.b){0,4}",
        ) {
            let (old, new) = (Path::new("/l").join(old), Path::new("/l").join(new));
            let is_shortened = shortened(&new).iter().any(|name| old == new.with_file_name(name));
            let is_of_family = family(&new).is_some() && family(&new) == family(&old);
            if is_kin_of_one([&old, &old], &new) {
                prop_assert!(is_shortened || is_of_family);
            }
            prop_assert_eq!(rotated_from(&new).contains(&old), is_rotation(&old, &new));
        }
    }
}
