//! The functions a statement can call.
//!
//! A list of what is offered, not of what is refused, so that a function that a later DataFusion adds is
//! not offered unseen. Left out are those whose result can be larger than memory (`repeat`, `lpad`,
//! `rpad`, `generate_series`, `range`, `array_repeat`, `array_resize`) or grow with every nesting
//! (`replace`, `regexp_replace`, `overlay`), and those that tell about files (`input_file_name`).

use std::sync::Arc;

use datafusion::execution::SessionStateDefaults;
use datafusion::logical_expr::ScalarUDF;

/// Scalar functions that are offered, sorted. Aggregate and window functions are all offered.
pub(super) const OFFERED: &[&str] = &[
    "abs",
    "acos",
    "acosh",
    "array_distinct",
    "array_element",
    "array_has",
    "array_has_all",
    "array_has_any",
    "array_length",
    "array_max",
    "array_min",
    "array_position",
    "array_slice",
    "array_sort",
    "array_to_string",
    "arrow_typeof",
    "ascii",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "bit_length",
    "btrim",
    "cardinality",
    "cbrt",
    "ceil",
    "character_length",
    "chr",
    "coalesce",
    "concat",
    "concat_ws",
    "contains",
    "cos",
    "cosh",
    "cot",
    "current_date",
    "current_time",
    "date_bin",
    "date_part",
    "date_trunc",
    "degrees",
    "empty",
    "ends_with",
    "exp",
    "find_in_set",
    "floor",
    "from_unixtime",
    "gcd",
    "get_field",
    "greatest",
    "initcap",
    "isnan",
    "iszero",
    "lcm",
    "least",
    "left",
    "levenshtein",
    "ln",
    "log",
    "log10",
    "log2",
    "lower",
    "ltrim",
    "make_array",
    "make_date",
    "map_entries",
    "map_extract",
    "map_keys",
    "map_values",
    "nanvl",
    "now",
    "nullif",
    "nvl",
    "nvl2",
    "octet_length",
    "pi",
    "power",
    "radians",
    "regexp_count",
    "regexp_instr",
    "regexp_like",
    "regexp_match",
    "reverse",
    "right",
    "round",
    "rtrim",
    "signum",
    "sin",
    "sinh",
    "split_part",
    "sqrt",
    "starts_with",
    "strpos",
    "substr",
    "substr_index",
    "tan",
    "tanh",
    "to_char",
    "to_date",
    "to_hex",
    "to_timestamp",
    "to_timestamp_micros",
    "to_timestamp_millis",
    "to_timestamp_nanos",
    "to_timestamp_seconds",
    "to_unixtime",
    "translate",
    "trunc",
    "upper",
];

/// Functions that are left out on purpose, for the text of the error.
pub(super) const REFUSED: &[&str] = &[
    "array_repeat",
    "array_resize",
    "generate_series",
    "input_file_name",
    "list_repeat",
    "list_resize",
    "lpad",
    "overlay",
    "range",
    "regexp_replace",
    "repeat",
    "replace",
    "rpad",
];

/// The offered functions of DataFusion's.
pub(super) fn scalar_functions() -> Vec<Arc<ScalarUDF>> {
    let all = SessionStateDefaults::default_scalar_functions();
    all.into_iter().filter(|function| OFFERED.contains(&function.name())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_offered_function_exists_and_none_is_also_refused() {
        assert!(OFFERED.is_sorted() && REFUSED.is_sorted());
        let functions = scalar_functions();
        for name in OFFERED {
            assert!(functions.iter().any(|function| function.name() == *name), "`{name}` does not exist");
            assert!(!REFUSED.contains(name), "`{name}` is refused");
        }
        for function in &functions {
            for alias in function.aliases() {
                assert!(!REFUSED.contains(&alias.as_str()), "`{alias}` is refused");
            }
        }
    }
}
