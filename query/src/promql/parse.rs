//! From text to a tree that the evaluator can take: bounded before the grammar sees it, and refused here
//! when any part of it is not supported.

use promql_parser::parser::{Expr, VectorMatchFillValues, VectorSelector};

use super::{PromqlError, aggregate, functions};

/// Longest expression, in bytes.
const TEXT_BYTES_MAX: usize = 16 << 10;

/// Deepest nesting of brackets, before parsing.
const BRACKETS_MAX: usize = 64;

/// Most operators, before parsing: each may make the tree one level deeper.
const OPERATORS_MAX: usize = 512;

/// Deepest tree that is evaluated.
const DEPTH_MAX: usize = 100;

/// Parses and checks an expression.
pub(crate) fn parse(text: &str) -> Result<Expr, PromqlError> {
    check_bounds(text)?;
    // The grammar's number-to-duration conversion panics on numbers like `[1e300]`.
    let parsed = std::panic::catch_unwind(|| promql_parser::parser::parse(text))
        .map_err(|_| bad("parse error: a number in the expression is out of range".to_owned()))?;
    let expr = parsed.map_err(|error| bad(explain(text, error)))?;
    check_tree(&expr)?;
    Ok(expr)
}

/// The expression inside any number of parentheses.
pub(crate) fn strip_parens(mut expr: &Expr) -> &Expr {
    while let Expr::Paren(paren) = expr {
        expr = &paren.expr;
    }
    expr
}

fn bad(message: String) -> PromqlError {
    PromqlError::BadData(message)
}

/// The grammar says of most mistakes only that there is one.
fn explain(text: &str, error: String) -> String {
    let lower = text.to_ascii_lowercase();
    let unsupported = ["anchored", "smoothed", "fill(", "fill_left", "fill_right"];
    match unsupported.iter().find(|word| error == "invalid promql query" && lower.contains(**word)) {
        Some(word) => format!("parse error: `{}` is not supported", word.trim_end_matches('(')),
        None => format!("parse error: {error}: `{}`", first_line(text)),
    }
}

fn first_line(text: &str) -> String {
    let mut short: String = text.trim().chars().take(120).collect();
    if short.len() < text.trim().len() {
        short.push('…');
    }
    short
}

/// Bounds length, bracket nesting and operators, so that the parser's and the tree's recursion is
/// bounded too. Strings and comments do not count.
fn check_bounds(text: &str) -> Result<(), PromqlError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(bad(format!(
            "expression has {} bytes, more than the {TEXT_BYTES_MAX} that are read",
            text.len()
        )));
    }
    if text.trim().is_empty() {
        return Err(bad("parse error: no expression found in input".to_owned()));
    }
    let (mut depth, mut operators) = (0usize, 0usize);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' | '\'' | '`' => skip_string(&mut chars, c),
            '#' => while chars.next_if(|c| *c != '\n').is_some() {},
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            '+' | '-' | '*' | '/' | '%' | '^' | '=' | '!' | '<' | '>' => operators += 1,
            c if c.is_ascii_alphabetic() => {
                let mut word = String::from(c.to_ascii_lowercase());
                while let Some(c) = chars.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
                    word.push(c.to_ascii_lowercase());
                }
                operators += usize::from(matches!(word.as_str(), "and" | "or" | "unless" | "atan2"));
            }
            _ => {}
        }
        if depth > BRACKETS_MAX {
            return Err(bad(format!("expression is nested more than {BRACKETS_MAX} brackets deep")));
        }
        if operators > OPERATORS_MAX {
            return Err(bad(format!("expression has more than {OPERATORS_MAX} operators")));
        }
    }
    Ok(())
}

fn skip_string(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, quote: char) {
    while let Some(c) = chars.next() {
        if c == '\\' && quote != '`' {
            chars.next();
        } else if c == quote {
            return;
        }
    }
}

/// Walks the tree without recursion; checks depth and that every node is supported.
fn check_tree(expr: &Expr) -> Result<(), PromqlError> {
    let mut open = vec![(expr, 1usize)];
    while let Some((expr, depth)) = open.pop() {
        if depth > DEPTH_MAX {
            return Err(bad(format!("expression is nested more than {DEPTH_MAX} operations deep")));
        }
        let mut child = |expr| open.push((expr, depth + 1));
        match expr {
            Expr::Aggregate(aggregate) => {
                aggregate::check(aggregate)?;
                aggregate.param.iter().for_each(|param| child(param));
                child(&aggregate.expr);
            }
            Expr::Unary(unary) => child(&unary.expr),
            Expr::Binary(binary) => {
                let fills = binary.modifier.as_ref().map(|modifier| &modifier.fill_values);
                if fills.is_some_and(|fills| *fills != VectorMatchFillValues::default()) {
                    return Err(PromqlError::Unsupported("`fill` modifiers are not supported".to_owned()));
                }
                child(&binary.lhs);
                child(&binary.rhs);
            }
            Expr::Paren(paren) => child(&paren.expr),
            Expr::Subquery(subquery) => child(&subquery.expr),
            Expr::Call(call) => {
                functions::check(call)?;
                call.args.args.iter().for_each(|arg| child(arg));
            }
            Expr::VectorSelector(selector) => check_selector(selector)?,
            Expr::MatrixSelector(matrix) => check_selector(&matrix.vs)?,
            Expr::NumberLiteral(_) | Expr::StringLiteral(_) => {}
            Expr::Extension(_) => return Err(bad("unknown kind of expression".to_owned())),
        }
    }
    Ok(())
}

fn check_selector(selector: &VectorSelector) -> Result<(), PromqlError> {
    if selector.matchers.or_matchers.is_empty() {
        return Ok(());
    }
    Err(PromqlError::Unsupported(
        "`or` between label matchers is not supported: write `{a=\"1\"} or {b=\"2\"}` or a regular expression"
            .to_owned(),
    ))
}
