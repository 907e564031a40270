//! Two texts line by line: what was removed, what was added, and three lines around each.

/// Lines kept around a change.
const CONTEXT: usize = 3;
/// Cells of the table that finds the longest common lines; texts that differ in more are told as replaced.
const CELLS_MAX: usize = 4 << 20;

/// A line of the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// In both.
    Same(&'a str),
    /// Only in the first.
    Removed(&'a str),
    /// Only in the second.
    Added(&'a str),
    /// So many lines that are in both are left out here.
    Skipped(usize),
}

/// Tells equal texts by sight: 8 hexadecimal digits.
pub(super) fn fingerprint(text: &str) -> String {
    // FNV-1a; nobody has to be kept from finding another text with the same one.
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{:08x}", (hash >> 32) ^ (hash & 0xffff_ffff))
}

/// How `after` differs from `before`.
pub(super) fn lines<'a>(before: &'a str, after: &'a str) -> Vec<Line<'a>> {
    let (one, other): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    let head = one.iter().zip(&other).take_while(|(one, other)| one == other).count();
    let tail = one[head..].iter().rev().zip(other[head..].iter().rev()).take_while(|(a, b)| a == b).count();
    let (middle, other_middle) = (&one[head..one.len() - tail], &other[head..other.len() - tail]);
    let mut all: Vec<Line<'a>> = one[..head].iter().map(|line| Line::Same(line)).collect();
    changed(middle, other_middle, &mut all);
    all.extend(one[one.len() - tail..].iter().map(|line| Line::Same(line)));
    shortened(&all)
}

/// Appends the shortest way from one to the other.
fn changed<'a>(one: &[&'a str], other: &[&'a str], out: &mut Vec<Line<'a>>) {
    let width = other.len() + 1;
    if (one.len() + 1).saturating_mul(width) > CELLS_MAX {
        out.extend(one.iter().map(|line| Line::Removed(line)));
        out.extend(other.iter().map(|line| Line::Added(line)));
        return;
    }
    // `common[i][j]`: the most lines that `one[i..]` and `other[j..]` have in common, in order.
    let mut common = vec![0_u32; (one.len() + 1) * width];
    for i in (0..one.len()).rev() {
        for j in (0..other.len()).rev() {
            common[i * width + j] = if one[i] == other[j] {
                common[(i + 1) * width + j + 1] + 1
            } else {
                common[(i + 1) * width + j].max(common[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    while i < one.len() || j < other.len() {
        if i < one.len() && j < other.len() && one[i] == other[j] {
            out.push(Line::Same(one[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == other.len()
            || (i < one.len() && common[(i + 1) * width + j] >= common[i * width + j + 1])
        {
            out.push(Line::Removed(one[i]));
            i += 1;
        } else {
            out.push(Line::Added(other[j]));
            j += 1;
        }
    }
}

/// Leaves out what is far from any change.
fn shortened<'a>(all: &[Line<'a>]) -> Vec<Line<'a>> {
    let is_change = |line: &Line<'_>| !matches!(line, Line::Same(_));
    let is_near = |at: usize| {
        let (from, to) = (at.saturating_sub(CONTEXT), (at + CONTEXT + 1).min(all.len()));
        all[from..to].iter().any(is_change)
    };
    let mut out = Vec::new();
    for (at, line) in all.iter().enumerate() {
        match (is_near(at), out.last_mut()) {
            (true, _) => out.push(*line),
            (false, Some(Line::Skipped(count))) => *count += 1,
            (false, _) => out.push(Line::Skipped(1)),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_line_stands_with_what_is_around_it() {
        let before = (0..20).map(|n| format!("{n}\n")).collect::<String>();
        let after = before.replace("10\n", "ten\n").replace("11\n", "");
        let expected = [
            Line::Skipped(7),
            Line::Same("7"),
            Line::Same("8"),
            Line::Same("9"),
            Line::Removed("10"),
            Line::Removed("11"),
            Line::Added("ten"),
            Line::Same("12"),
            Line::Same("13"),
            Line::Same("14"),
            Line::Skipped(5),
        ];
        assert_eq!(lines(&before, &after), expected);
        assert_eq!(lines("a\n", "a\n"), [Line::Skipped(1)]);
        assert_eq!(lines("", "a\n"), [Line::Added("a")]);
    }

    #[test]
    fn lines_that_moved_are_found_and_texts_too_long_are_replaced() {
        let moved = lines("a\nb\nc\n", "b\nc\na\n");
        assert_eq!(moved, [Line::Removed("a"), Line::Same("b"), Line::Same("c"), Line::Added("a")]);
        let (one, other) = ("x\n".repeat(3000), "y\n".repeat(3000));
        assert_eq!(lines(&one, &other).len(), 6000);
    }
}
