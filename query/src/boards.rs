//! The boards that are served: those we ship and those of a folder.
//!
//! Files are read when they are asked for, so that a change shows at once. A file that has become wrong
//! keeps its last good board and is named in `file_errors`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use dashboards::board::{self, Board};
use query_api::boards::{BoardsAnswer, NamedBoard};

/// Boards by name.
#[derive(Debug)]
pub(crate) struct Boards {
    folder: Option<PathBuf>,
    last_good: Mutex<BTreeMap<String, Board>>,
}

impl Boards {
    /// The boards we ship, and those of `folder`, which win over ours of the same name.
    pub(crate) fn new(folder: Option<PathBuf>) -> Self {
        Self { folder, last_good: Mutex::default() }
    }

    /// All boards. Reads files: call off the async threads.
    pub(crate) fn all(&self) -> BoardsAnswer {
        let mut boards = BTreeMap::new();
        let mut file_errors = Vec::new();
        for (name, text) in board::SHIPPED {
            match board::parse(&format!("{name}.toml"), text) {
                Ok(shipped) => drop(boards.insert(name.to_owned(), shipped)),
                Err(error) => file_errors.push(error.to_string()),
            }
        }
        if let Some(folder) = &self.folder {
            let (read, errors) = board::load_dir(folder);
            let mut last_good = self.last_good.lock().unwrap_or_else(PoisonError::into_inner);
            last_good.extend(read);
            last_good.retain(|name, _| folder.join(format!("{name}.toml")).exists());
            boards.extend(last_good.clone());
            file_errors.extend(errors);
        }
        let boards = boards.into_iter().map(|(name, board)| NamedBoard { name, board }).collect();
        BoardsAnswer { boards, file_errors }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOARD: &str = r#"
schema = 1
title = "Mine"
[[row]]
panel = [ { type = "stat", title = "requests", promql = "sum(up)" } ]
"#;

    fn titles(answer: &BoardsAnswer) -> Vec<(&str, &str)> {
        answer.boards.iter().map(|board| (&*board.name, &*board.board.title)).collect()
    }

    #[test]
    fn a_broken_file_keeps_its_last_good_board_until_it_is_removed() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("mine.toml");
        let boards = Boards::new(Some(folder.path().to_owned()));
        std::fs::write(&file, BOARD).expect("written");
        assert!(titles(&boards.all()).contains(&("mine", "Mine")));

        std::fs::write(&file, "schema = 1\ntitel = 'x'").expect("written");
        let broken = boards.all();
        assert!(titles(&broken).contains(&("mine", "Mine")));
        assert!(broken.file_errors[0].contains("mine.toml:"), "{:?}", broken.file_errors);

        std::fs::remove_file(&file).expect("removed");
        let removed = boards.all();
        assert_eq!(removed.boards.len(), board::SHIPPED.len(), "only ours are left");
        assert!(removed.file_errors.is_empty());
    }
}
