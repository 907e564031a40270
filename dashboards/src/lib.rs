//! Boards and alert rules as files: their types, parsing, validation, and the ones we ship.
//!
//! Owns: `dashboards/boards/*.toml`, `dashboards/rules/*.yaml`, and what an error in one says (file,
//! line, column, nearest valid key). Does not own: evaluating rules (`query`), drawing boards (`tui`).

pub mod board;
pub mod rule;
