//! Small drawings as text: sparklines, bars on a time axis, braille charts, tables. All are plain
//! functions from numbers to lines, shared by the screens and the plain-text output.

pub(crate) mod bar;
pub(crate) mod chart;
pub(crate) mod sparkline;
pub(crate) mod table;
