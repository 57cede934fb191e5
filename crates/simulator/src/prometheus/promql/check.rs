//! What an expression uses, before it is evaluated: unknown parts are refused, read series are listed.

use std::collections::BTreeMap;

use promql_parser::label::MatchOp;
use promql_parser::parser::token::{T_COUNT_VALUES, T_LIMIT_RATIO, T_LIMITK, T_STDDEV, T_STDVAR};
use promql_parser::parser::{AtModifier, Expr, Offset, VectorSelector};

use super::{Stop, functions, millis, not_simulated, ranges};
use crate::prometheus::labels::NAME;
use crate::prometheus::storage::Millis;

/// Refuses what the evaluator would refuse, wherever it stands.
pub(super) fn supported(expression: &Expr) -> Result<(), Stop> {
    match expression {
        Expr::Call(call) => {
            let name = call.func.name;
            if !functions::KNOWN.contains(&name) && !ranges::KNOWN.contains(&name) {
                return not_simulated(format!("the function {name}"));
            }
        }
        Expr::Aggregate(aggregate)
            if [T_COUNT_VALUES, T_LIMITK, T_LIMIT_RATIO, T_STDDEV, T_STDVAR].contains(&aggregate.op.id()) =>
        {
            return not_simulated(format!("the aggregation {}", aggregate.op));
        }
        Expr::Binary(binary) => {
            let fill = binary.modifier.as_ref().map(|modifier| &modifier.fill_values);
            if fill.is_some_and(|fill| fill.lhs.is_some() || fill.rhs.is_some()) {
                return not_simulated("fill");
            }
        }
        Expr::VectorSelector(selector) => alternatives(selector)?,
        Expr::MatrixSelector(matrix) => alternatives(&matrix.vs)?,
        _ => {}
    }
    children(expression).into_iter().try_for_each(supported)
}

fn alternatives(selector: &VectorSelector) -> Result<(), Stop> {
    if selector.matchers.or_matchers.is_empty() { Ok(()) } else { not_simulated("or between label matchers") }
}

fn children(expression: &Expr) -> Vec<&Expr> {
    match expression {
        Expr::Aggregate(aggregate) => aggregate.param.as_deref().into_iter().chain([aggregate.expr.as_ref()]).collect(),
        Expr::Unary(unary) => vec![&unary.expr],
        Expr::Binary(binary) => vec![&binary.lhs, &binary.rhs],
        Expr::Paren(inner) => vec![&inner.expr],
        Expr::Subquery(subquery) => vec![&subquery.expr],
        Expr::Call(call) => call.args.args.iter().map(AsRef::as_ref).collect(),
        Expr::NumberLiteral(_)
        | Expr::StringLiteral(_)
        | Expr::VectorSelector(_)
        | Expr::MatrixSelector(_)
        | Expr::Extension(_) => Vec::new(),
    }
}

/// The names of the series that are read, and how far back. None where that can't be told, or where the value
/// changes with the time alone.
pub(super) fn reads(expression: &Expr) -> Option<BTreeMap<String, Millis>> {
    let mut found = BTreeMap::new();
    collect(expression, 0, &mut found).then_some(found)
}

fn collect(expression: &Expr, back: Millis, found: &mut BTreeMap<String, Millis>) -> bool {
    match expression {
        Expr::VectorSelector(selector) => note(selector, back, found),
        Expr::MatrixSelector(matrix) => note(&matrix.vs, back + millis(matrix.range), found),
        Expr::Subquery(subquery) => {
            let Some(offset) = offset(subquery.offset.as_ref(), subquery.at.as_ref()) else { return false };
            // A step may begin as much before the range as it is long; no rule's step is longer than its range.
            collect(&subquery.expr, back + offset + 2 * millis(subquery.range), found)
        }
        Expr::Call(call) if matches!(call.func.name, "time" | "timestamp") => false,
        other => children(other).into_iter().all(|child| collect(child, back, found)),
    }
}

fn offset(offset: Option<&Offset>, at: Option<&AtModifier>) -> Option<Millis> {
    match (offset, at) {
        (None, None) => Some(0),
        (Some(Offset::Pos(back)), None) => Some(millis(*back)),
        _ => None,
    }
}

fn note(selector: &VectorSelector, back: Millis, found: &mut BTreeMap<String, Millis>) -> bool {
    let named = selector.matchers.matchers.iter().find(|matcher| matcher.name == NAME);
    let named = named.filter(|matcher| matches!(matcher.op, MatchOp::Equal)).map(|matcher| matcher.value.clone());
    let (Some(name), Some(offset)) =
        (selector.name.clone().or(named), offset(selector.offset.as_ref(), selector.at.as_ref()))
    else {
        return false;
    };
    let longest = found.entry(name).or_default();
    *longest = (*longest).max(back + offset);
    true
}
