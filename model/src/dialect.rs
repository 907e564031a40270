//! Log dialects: one line of text into the parts of a log record. To be filled in.
