//! A condition of a filter, and its SQL.
//!
//! Members resolve to known columns, and values are bound: no text of a client becomes SQL.

use sqlx::{Postgres, QueryBuilder};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::store::list::target::{Target, sortable};
use crate::store::resource::Kind;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Condition {
    pub target: Target,
    pub test: Test,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Test {
    IsNull(bool),
    Compare(Comparison, Value),
    Like {
        pattern: String,
        ignore_case: bool,
    },
    In(Vec<Value>),
    /// Whether the column has all of these bits.
    Bits(i64),
    /// Whether the column has this value, which no client has sent.
    Constant(&'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Eq,
    Ne,
    Gt,
    Ge,
    Lt,
    Le,
}

impl Comparison {
    fn sql(self) -> &'static str {
        match self {
            Self::Eq => " = ",
            // The complement of `eq`, null included.
            Self::Ne => " is distinct from ",
            Self::Gt => " > ",
            Self::Ge => " >= ",
            Self::Lt => " < ",
            Self::Le => " <= ",
        }
    }
}

/// A value of the type that its target compares.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Text(String),
    /// `None` for text that is not a sid. It equals no sid and has no order.
    Sid(Option<Uuid>),
    Date(OffsetDateTime),
    Integer(i64),
    /// Inside a nested object, with all its digits.
    Number(String),
    Boolean(bool),
}

/// The collation of text inside nested objects, and of patterns.
const COLLATION: &str = r#" collate "C""#;

impl Condition {
    /// Whether an index on one of these columns, or on sids, finds the rows of the condition.
    pub fn is_indexed(&self, indexed: &[&str]) -> bool {
        let Self { target, test } = self;
        let is_range = match test {
            Test::Compare(Comparison::Eq, _) | Test::In(_) => true,
            Test::Like { pattern, ignore_case: false } => {
                target.kind == Kind::Text && !literal_prefix(pattern).is_empty()
            }
            _ => false,
        };
        is_range && (target.column == "sid" || indexed.contains(&target.column))
    }

    /// Appends the condition.
    pub fn push(&self, sql: &mut QueryBuilder<Postgres>) {
        let Self { target, test } = self;
        match test {
            Test::IsNull(expected) => push_is_null(sql, target, *expected),
            Test::Compare(comparison, value) => push_comparison(sql, target, *comparison, value),
            Test::Like { pattern, ignore_case } => push_like(sql, target, pattern, *ignore_case),
            Test::In(values) => push_in(sql, target, values),
            Test::Bits(bits) => {
                sql.push(format_args!("({} & ", target.column)).push_bind(*bits);
                sql.push(") = ").push_bind(*bits);
            }
            Test::Constant(value) => {
                sql.push(format_args!("{} = '{value}'", target.column));
            }
        }
    }
}

fn push_is_null(sql: &mut QueryBuilder<Postgres>, target: &Target, expected: bool) {
    if target.kind == Kind::Json {
        // A missing key is treated as null.
        sql.push("coalesce(");
        push_nested(sql, target);
        sql.push(", 'null')").push(if expected { " = 'null'" } else { " <> 'null'" });
    } else {
        sql.push(target.column).push(if expected { " is null" } else { " is not null" });
    }
}

fn push_comparison(
    sql: &mut QueryBuilder<Postgres>,
    target: &Target,
    comparison: Comparison,
    value: &Value,
) {
    if target.kind == Kind::Json {
        return push_nested_comparison(sql, target, comparison, value);
    }
    if *value == Value::Sid(None) {
        sql.push(comparison == Comparison::Ne);
        return;
    }
    let column = match comparison {
        Comparison::Eq | Comparison::Ne => target.column,
        Comparison::Gt | Comparison::Ge | Comparison::Lt | Comparison::Le => {
            sortable(target.column)
        }
    };
    sql.push(column).push(comparison.sql());
    push_value(sql, value);
    if column != target.column {
        sql.push("::text");
    }
}

/// Numbers compare with numbers only, booleans with booleans, text with text. Values of other types
/// are unequal and have no order.
fn push_nested_comparison(
    sql: &mut QueryBuilder<Postgres>,
    target: &Target,
    comparison: Comparison,
    value: &Value,
) {
    let (json_type, sql_type) = match value {
        Value::Number(_) => ("number", "::numeric"),
        Value::Boolean(_) => ("boolean", "::boolean"),
        _ => ("string", COLLATION),
    };
    // The case prevents a cast of values of another type.
    sql.push("case when jsonb_typeof(");
    push_nested(sql, target);
    sql.push(format_args!(") = '{json_type}' then ("));
    push_nested(sql, target);
    sql.push(" #>> '{}')").push(sql_type).push(comparison.sql());
    push_value(sql, value);
    sql.push(format_args!(" else {} end", comparison == Comparison::Ne));
}

fn push_value(sql: &mut QueryBuilder<Postgres>, value: &Value) {
    match value {
        Value::Text(text) => sql.push_bind(text.clone()),
        Value::Sid(sid) => sql.push_bind(*sid),
        Value::Date(date) => sql.push_bind(*date),
        Value::Integer(number) => sql.push_bind(*number),
        Value::Number(digits) => sql.push_bind(digits.clone()).push("::numeric"),
        Value::Boolean(value) => sql.push_bind(*value),
    };
}

/// A pattern has two special characters, `%` and `_`. A backslash is an ordinary character.
///
/// The collation is always `C`, under which `ilike` folds the ASCII letters. Otherwise members
/// inside nested objects would follow the locale of the database, and other members their column.
fn push_like(sql: &mut QueryBuilder<Postgres>, target: &Target, pattern: &str, ignore_case: bool) {
    let like = if ignore_case { " ilike " } else { " like " };
    if target.kind == Kind::Json {
        sql.push("case when jsonb_typeof(");
        push_nested(sql, target);
        sql.push(") = 'string' then (");
        push_nested(sql, target);
        sql.push(" #>> '{}')").push(COLLATION).push(like);
        sql.push_bind(pattern.to_owned()).push(" escape '' else false end");
    } else {
        if target.kind == Kind::Text && !ignore_case {
            push_prefix_range(sql, target.column, pattern);
        }
        sql.push(target.column)
            .push("::text")
            .push(COLLATION)
            .push(like)
            .push_bind(pattern.to_owned())
            .push(" escape ''");
    }
}

/// The part of a pattern before its first special character.
fn literal_prefix(pattern: &str) -> &str {
    pattern.split(['%', '_']).next().unwrap_or_default()
}

/// Appends the range of the texts that start as the pattern does, for an index: PostgreSQL does not
/// derive it from a pattern that is a parameter.
fn push_prefix_range(sql: &mut QueryBuilder<Postgres>, column: &str, pattern: &str) {
    let prefix = literal_prefix(pattern);
    if prefix.is_empty() {
        return;
    }
    sql.push(column).push(" >= ").push_bind(prefix.to_owned()).push(" and ");
    if let Some(end) = end_of_prefix(prefix) {
        sql.push(column).push(" < ").push_bind(end).push(" and ");
    }
}

/// The least text, by code point, that is greater than all texts with that prefix. `None` if the
/// prefix consists of the greatest code point.
fn end_of_prefix(prefix: &str) -> Option<String> {
    let mut rest = prefix.chars();
    while let Some(last) = rest.next_back() {
        let next = (u32::from(last) + 1..=u32::from(char::MAX)).find_map(char::from_u32);
        if let Some(next) = next {
            return Some(format!("{}{next}", rest.as_str()));
        }
    }
    None
}

fn push_in(sql: &mut QueryBuilder<Postgres>, target: &Target, values: &[Value]) {
    for (index, value) in values.iter().enumerate() {
        sql.push(if index == 0 { "(" } else { " or " });
        push_comparison(sql, target, Comparison::Eq, value);
    }
    sql.push(")");
}

fn push_nested(sql: &mut QueryBuilder<Postgres>, target: &Target) {
    sql.push("(").push(target.column).push(" #> ").push_bind(target.path.clone()).push(")");
}
