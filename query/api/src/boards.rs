//! `GET /api/v1/boards` (all boards) and `GET /api/v1/boards/{name}` (one): boards read from files.

use serde::{Deserialize, Serialize};

pub use dashboards::board::{Board, Panel, PanelKind, Row};

/// A board as the server serves it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NamedBoard {
    /// File name without `.toml`.
    pub name: String,
    /// The board.
    pub board: Board,
}

/// All boards, by name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BoardsAnswer {
    /// The boards.
    pub boards: Vec<NamedBoard>,
    /// Board files that could not be read: file, line, column, what is wrong.
    pub file_errors: Vec<String>,
}
