//! Filters: the conditions that a list is narrowed to, and the SQL that they become.
//!
//! Names resolve to known columns and values are bound: nothing that a client writes becomes SQL.

mod parser;

use sqlx::{Postgres, QueryBuilder};
use time::OffsetDateTime;
use uuid::Uuid;

use super::order::sortable;
use super::{Kind, Target};

/// What a list is narrowed to: the rows for which every condition holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter(Vec<Condition>);

/// Why a filter was refused, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at position {position}: expected {expected}")]
pub struct FilterError {
    /// The position of the character, from 1.
    pub position: usize,
    /// What was expected there.
    pub expected: String,
}

#[derive(Clone, Debug, PartialEq)]
struct Condition {
    target: Target,
    test: Test,
}

#[derive(Clone, Debug, PartialEq)]
enum Test {
    IsNull(bool),
    Compare(Comparison, Value),
    Like { pattern: String, ignore_case: bool },
    In(Vec<Value>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
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

/// A value, read as its target compares.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    Text(String),
    /// None for text that is no sid, which equals none and is in no order to any.
    Sid(Option<Uuid>),
    Date(OffsetDateTime),
    /// Inside a nested object, with its digits.
    Number(String),
    /// Inside a nested object.
    Boolean(bool),
}

impl Filter {
    /// Reads a filter over the members that `resolve` knows.
    ///
    /// # Errors
    /// Where it is no filter, with the position and what was expected there.
    pub fn parse(
        text: &str,
        resolve: impl Fn(&str) -> Option<Target>,
    ) -> Result<Self, FilterError> {
        parser::conditions(text, &resolve).map(Self)
    }

    /// Writes ` and …` for every condition.
    pub fn push(&self, sql: &mut QueryBuilder<Postgres>) {
        for Condition { target, test } in &self.0 {
            sql.push(" and ");
            match test {
                Test::IsNull(expected) => push_is_null(sql, target, *expected),
                Test::Compare(comparison, value) => {
                    push_comparison(sql, target, *comparison, value)
                }
                Test::Like { pattern, ignore_case } => {
                    push_like(sql, target, pattern, *ignore_case)
                }
                Test::In(values) => push_in(sql, target, values),
            }
        }
    }
}

fn push_is_null(sql: &mut QueryBuilder<Postgres>, target: &Target, expected: bool) {
    if target.kind == Kind::Json {
        // A missing key counts as null.
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

/// Numbers compare with numbers only, booleans with booleans, text with text; all others are unequal and in no order.
fn push_nested_comparison(
    sql: &mut QueryBuilder<Postgres>,
    target: &Target,
    comparison: Comparison,
    value: &Value,
) {
    let (json_type, sql_type) = match value {
        Value::Number(_) => ("number", "::numeric"),
        Value::Boolean(_) => ("boolean", "::boolean"),
        _ => ("string", r#" collate "C""#),
    };
    // The case keeps the cast from values of another type.
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
        Value::Number(digits) => sql.push_bind(digits.clone()).push("::numeric"),
        Value::Boolean(value) => sql.push_bind(*value),
    };
}

/// A pattern has two special characters, `%` and `_`; a backslash is not one.
fn push_like(sql: &mut QueryBuilder<Postgres>, target: &Target, pattern: &str, ignore_case: bool) {
    let like = if ignore_case { " ilike " } else { " like " };
    if target.kind == Kind::Json {
        sql.push("case when jsonb_typeof(");
        push_nested(sql, target);
        sql.push(") = 'string' then (");
        push_nested(sql, target);
        sql.push(" #>> '{}')")
            .push(like)
            .push_bind(pattern.to_owned())
            .push(" escape '' else false end");
    } else {
        sql.push(target.column)
            .push("::text")
            .push(like)
            .push_bind(pattern.to_owned())
            .push(" escape ''");
    }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn resolve(name: &str) -> Option<Target> {
        let target = |column, kind| Some(Target { column, path: Vec::new(), kind });
        match name {
            "name" => target("name", Kind::Text),
            "sid" => target("sid", Kind::Sid),
            "date" => target("date", Kind::Date),
            _ => {
                let path =
                    name.strip_prefix("attributes.")?.split('.').map(str::to_owned).collect();
                Some(Target { column: "attributes", path, kind: Kind::Json })
            }
        }
    }

    fn sql(filter: &str) -> String {
        let mut sql = QueryBuilder::new("");
        Filter::parse(filter, resolve)
            .unwrap_or_else(|error| panic!("{filter}: {error}"))
            .push(&mut sql);
        sql.sql().as_str().to_owned()
    }

    #[test]
    fn conditions_become_sql_with_bound_values() {
        for (filter, expected) in [
            ("name eq x", " and name = $1"),
            ("name NE 'a b'", " and name is distinct from $1"),
            ("name eq null", " and name is null"),
            ("name ne NULL", " and name is not null"),
            ("name eq \"null\"", " and name = $1"),
            (
                "  name  like  \"a%\"  AND  name ge 5 ",
                " and name::text like $1 escape '' and name >= $2",
            ),
            ("name in (a, 'b', \"c\")", " and (name = $1 or name = $2 or name = $3)"),
            ("sid eq nonsense", " and false"),
            ("sid ne nonsense", " and true"),
            ("attributes.a.b eq null", " and coalesce((attributes #> $1), 'null') = 'null'"),
        ] {
            assert_eq!(sql(filter), expected, "{filter}");
        }
    }

    #[test]
    fn quotes_decide_what_a_nested_value_compares_with() {
        for (filter, json_type) in [
            ("attributes.a eq 5", "number"),
            ("attributes.a eq -1.5e3", "number"),
            ("attributes.a eq '5'", "string"),
            ("attributes.a eq true", "boolean"),
            ("attributes.a eq 'true'", "string"),
            ("attributes.a eq five", "string"),
        ] {
            assert!(
                sql(filter).contains(&format!("= '{json_type}' then")),
                "{filter}: {}",
                sql(filter)
            );
        }
    }

    #[test]
    fn an_error_tells_the_position_and_what_was_expected() {
        for (filter, position, expected) in [
            ("", 1, "the name of a member"),
            ("colour eq red", 1, "the name of a member, not `colour`"),
            ("name", 5, "one of eq"),
            ("name is x", 6, "one of eq"),
            ("name eq", 8, "a value"),
            ("name eq 'x", 9, "between two quotes"),
            ("näme eq x", 1, "not `näme`"),
            ("name eq 'ä' or name eq y", 13, "`and` or the end"),
            ("name eq x and", 14, "the name of a member"),
            ("name eq a b", 11, "`and` or the end"),
            ("name gt null", 9, "null has no order"),
            ("name in a", 9, "`(`"),
            ("name in (a b)", 12, "`,` or `)`"),
            ("name in ()", 10, "a value"),
            ("name in (null)", 10, "null goes with eq and ne"),
            ("name eq 'a\0b'", 9, "without U+0000"),
            ("date gt yesterday", 9, "a date such as"),
            ("attributes.n gt 1e999999", 17, "at most 40 characters"),
        ] {
            let error = Filter::parse(filter, resolve).unwrap_err();
            assert_eq!(error.position, position, "{filter}: {error}");
            assert!(error.expected.contains(expected), "{filter}: {error}");
        }
    }

    #[test]
    fn a_filter_is_bounded() {
        let conditions = |number| vec!["name eq x"; number].join(" and ");
        assert!(Filter::parse(&conditions(32), resolve).is_ok());
        assert!(
            Filter::parse(&conditions(33), resolve).unwrap_err().expected.contains("32 conditions")
        );
        let long = format!("name eq '{}'", "x".repeat(4096));
        assert!(Filter::parse(&long, resolve).unwrap_err().expected.contains("4096 bytes"));
    }

    proptest! {
        #[test]
        fn parsing_never_panics(filter in any::<String>()) {
            let _ = Filter::parse(&filter, resolve);
        }

        #[test]
        fn parsing_what_looks_like_a_filter_never_panics(filter in r#"((name|sid|attributes\.a|eq|in|and|like|null|'|"|\\|\(|\)|,|ä| ){1,3} ?){0,12}"#) {
            let _ = Filter::parse(&filter, resolve);
        }

        #[test]
        fn the_sql_does_not_depend_on_values(one in "[^\0]{0,20}", other in "[^\0]{0,20}") {
            let quoted = |value: &str| format!("\"{}\"", value.replace('\\', r"\\").replace('"', r#"\""#));
            for filter in ["name eq {}", "name like {}", "name in ({}, {})", "attributes.a.b ne {}"] {
                let with = |value: &str| sql(&filter.replace("{}", &quoted(value)));
                prop_assert_eq!(with(&one), with(&other));
            }
        }
    }
}
