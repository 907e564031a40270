//! Histories in which a line was once lost, doubled or out of order, each in its shortest form.

use super::{LINK, Step, check};

/// What happened, whether the pattern matches rotated files, and the steps.
type Failed = (&'static str, bool, &'static [Step]);

const FIRST: usize = 0;
const CRASH: Step = Step::Crash { loses_state: false };
const LONG: Step = Step::WriteLong { stream: FIRST };
const RENAME: Step = Step::Rename { stream: FIRST };
const COPYTRUNCATE: Step = Step::CopyTruncate { stream: FIRST };
const COMPRESS: Step = Step::Compress { stream: FIRST, is_slow: false };
const OVERWRITE: Step = Step::Overwrite { stream: FIRST, lines: 1 };

const fn write(stream: usize, lines: usize, is_cut: bool) -> Step {
    Step::Write { stream, lines, length: 0, is_cut }
}

const fn restore(keeps_times: bool) -> Step {
    Step::Restore { stream: FIRST, keeps_times }
}

const fn recreate(has_banner: bool) -> Step {
    Step::Recreate { stream: FIRST, has_banner }
}

const FAILED: [Failed; 26] = [
    (
        "a link switched before a crash",
        true,
        &[
            write(0, 0, false),
            Step::WriteLong { stream: LINK },
            Step::SwitchLink,
            Step::Read,
            CRASH,
            write(LINK, 1, false),
            write(0, 0, false),
        ],
    ),
    ("lines of one length behind a truncation", true, &[LONG, Step::Stop, Step::Save, COPYTRUNCATE, LONG]),
    (
        "three parts of a stream, two of them new",
        true,
        &[write(0, 0, true), OVERWRITE, RENAME, write(0, 1, false), RENAME, write(0, 2, true)],
    ),
    ("compressed unread beside its missing name", false, &[write(0, 1, false), RENAME, COMPRESS, CRASH]),
    ("compressed with what came after a truncation", false, &[OVERWRITE, OVERWRITE, RENAME, CRASH, COMPRESS]),
    (
        "a half line like the beginning of another file",
        true,
        &[write(0, 1, false), Step::Stop, COPYTRUNCATE, RENAME, write(0, 0, true), RENAME, Step::Look],
    ),
    (
        "all parts renamed when the agent starts",
        true,
        &[
            write(0, 0, true),
            Step::Look,
            RENAME,
            write(0, 1, false),
            Step::Read,
            RENAME,
            write(0, 1, false),
            RENAME,
            CRASH,
        ],
    ),
    ("a compressed file renamed while it is looked through", false, &[LONG, RENAME, COMPRESS, CRASH, RENAME]),
    (
        "an unknown part that is older than a known one",
        true,
        &[LONG, Step::Read, recreate(true), RENAME, CRASH, recreate(true), Step::SwitchLink, CRASH],
    ),
    (
        "two copies that wait for each other",
        true,
        &[OVERWRITE, Step::Read, write(0, 1, false), COPYTRUNCATE, restore(false), COMPRESS],
    ),
    (
        "a copy of lines that never arrived",
        true,
        &[LONG, Step::Read, COPYTRUNCATE, COMPRESS, recreate(true), Step::Read, CRASH],
    ),
    (
        "restored and renamed at once",
        true,
        &[write(0, 1, true), Step::Read, COPYTRUNCATE, restore(true), RENAME, write(0, 0, false)],
    ),
    (
        "renamed while it may be a copy",
        false,
        &[OVERWRITE, RENAME, write(0, 0, true), Step::Deliver { batches: 1 }, RENAME, CRASH],
    ),
    (
        "a copy of a copy of lines that never arrived",
        true,
        &[
            write(0, 1, false),
            Step::Read,
            COPYTRUNCATE,
            Step::Read,
            restore(true),
            recreate(false),
            write(0, 1, false),
            Step::Read,
            CRASH,
        ],
    ),
    (
        "a copy that arrived further than its original",
        true,
        &[
            LONG,
            write(0, 1, false),
            Step::Read,
            COPYTRUNCATE,
            CRASH,
            Step::Read,
            Step::Deliver { batches: 1 },
            restore(false),
            CRASH,
        ],
    ),
    (
        "a copy that was read from its original's place on",
        true,
        &[
            write(0, 0, true),
            Step::Look,
            RENAME,
            RENAME,
            restore(true),
            write(0, 1, false),
            Step::Read,
            CRASH,
            Step::Look,
            COMPRESS,
        ],
    ),
    (
        "compressed after a truncation that was not noticed yet",
        true,
        &[write(0, 1, false), OVERWRITE, RENAME, COMPRESS, Step::Pass { seconds: 2 }, Step::Stop],
    ),
    (
        "two files missing beside one compressed file",
        false,
        &[recreate(true), RENAME, COMPRESS, LONG, CRASH, Step::Read, recreate(false), CRASH],
    ),
    (
        "compressed from a copy that arrived in part",
        true,
        &[
            write(0, 4, false),
            Step::Recreate { stream: 1, has_banner: true },
            Step::Read,
            CRASH,
            Step::Write { stream: 1, lines: 2, length: 51, is_cut: false },
            COPYTRUNCATE,
            Step::Read,
            COMPRESS,
            Step::Deliver { batches: 1 },
            CRASH,
        ],
    ),
    (
        "a restored copy that is renamed before it is seen",
        true,
        &[OVERWRITE, OVERWRITE, COPYTRUNCATE, restore(false), RENAME],
    ),
    (
        "more arrived than was saved of a file that begins like the next one",
        true,
        &[
            write(LINK, 0, false),
            recreate(true),
            write(LINK, 4, true),
            write(LINK, 2, false),
            Step::Read,
            Step::Deliver { batches: 2 },
            recreate(true),
            CRASH,
            RENAME,
        ],
    ),
    (
        "an old file half compressed beside a missing one, after its state was lost",
        false,
        &[
            OVERWRITE,
            Step::Overwrite { stream: 1, lines: 1 },
            RENAME,
            Step::Crash { loses_state: true },
            Step::Save,
            recreate(false),
            Step::Stop,
            Step::Compress { stream: FIRST, is_slow: true },
            Step::Look,
        ],
    ),
    (
        "a copy of a file that begins like one that is gone",
        true,
        &[
            Step::CopyTruncate { stream: 1 },
            write(LINK, 4, false),
            Step::Write { stream: LINK, lines: 4, length: 18, is_cut: false },
            Step::Look,
            Step::WriteLong { stream: 1 },
            recreate(true),
            write(LINK, 2, false),
            recreate(true),
            Step::Write { stream: 1, lines: 1, length: 14, is_cut: false },
            write(1, 2, true),
            write(1, 3, false),
            Step::Read,
            CRASH,
            Step::Stop,
            Step::Look,
            COPYTRUNCATE,
        ],
    ),
    (
        "half compressed behind a truncation that only the lost state knew",
        true,
        &[
            OVERWRITE,
            OVERWRITE,
            RENAME,
            Step::Crash { loses_state: true },
            Step::Compress { stream: FIRST, is_slow: true },
            Step::Look,
        ],
    ),
    (
        "compressed unread beside half a line like its beginning",
        true,
        &[
            write(0, 0, true),
            COPYTRUNCATE,
            COMPRESS,
            write(0, 0, true),
            Step::Look,
            Step::Pass { seconds: 2 },
            Step::Read,
        ],
    ),
    (
        "half a line like that of another file, whose rest comes with the next file",
        true,
        &[write(0, 1, true), OVERWRITE, RENAME, write(0, 0, true), RENAME, Step::Read, write(0, 1, true)],
    ),
];

#[test]
fn histories_that_failed_once_do_not_fail_again() {
    for (name, matches_rotated, steps) in FAILED {
        let glob = if matches_rotated { "*.log*" } else { "*.log" };
        if let Err(failure) = check(glob, steps) {
            panic!("{name}: {failure}");
        }
    }
}
