//! Filters: the conditions on the rows of a list.

mod condition;
mod parser;

use sqlx::{Postgres, QueryBuilder};
use uuid::Uuid;

use self::condition::{Comparison, Condition, Test, Value};
pub use self::parser::FilterError;
use super::target::Target;
use crate::store::resource::Kind;

/// The conditions of a filter, all of which a row must meet.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter(Vec<Condition>);

impl Filter {
    /// Whether every row meets it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Parses a filter. `resolve` returns the target of a name, or `None` if it is unknown.
    ///
    /// # Errors
    /// [`FilterError`] with the position of the first fault.
    pub fn parse(
        text: &str,
        resolve: impl Fn(&str) -> Option<Target>,
    ) -> Result<Self, FilterError> {
        parser::conditions(text, &resolve).map(Self)
    }

    /// Adds the condition that a column has that sid.
    pub fn and_sid(&mut self, column: &'static str, sid: Uuid) {
        let target = Target { column, path: Vec::new(), kind: Kind::Sid };
        let test = Test::Compare(Comparison::Eq, Value::Sid(Some(sid)));
        self.0.push(Condition { target, test });
    }

    /// Adds the condition that a column of text has that value. The value is a part of the
    /// statement, so that PostgreSQL can use an index of the rows with that value.
    pub fn and_constant(&mut self, column: &'static str, value: &'static str) {
        let target = Target { column, path: Vec::new(), kind: Kind::Text };
        self.0.push(Condition { target, test: Test::Constant(value) });
    }

    /// Whether the filter has conditions and none of them finds its rows by an index on one of
    /// these columns.
    pub(super) fn scans(&self, indexed: &[&str]) -> bool {
        !self.0.is_empty() && !self.0.iter().any(|condition| condition.is_indexed(indexed))
    }

    /// Appends ` and <condition>` for every condition.
    pub fn push(&self, sql: &mut QueryBuilder<Postgres>) {
        for condition in &self.0 {
            sql.push(" and ");
            condition.push(sql);
        }
    }
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
            "number" => target("number", Kind::Integer),
            "flag" => target("flag", Kind::Boolean),
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
                " and name >= $1 and name < $2 and name::text collate \"C\" like $3 escape '' \
                 and name >= $4",
            ),
            ("name like '%a'", r#" and name::text collate "C" like $1 escape ''"#),
            ("name ilike 'a%'", r#" and name::text collate "C" ilike $1 escape ''"#),
            ("number bit 4", " and (number & $1) = $2"),
            ("flag eq true", " and flag = $1"),
            ("number in (1, '2')", " and (number = $1 or number = $2)"),
            ("name in (a, 'b', \"c\")", " and (name = $1 or name = $2 or name = $3)"),
            ("sid eq nonsense", " and false"),
            ("sid ne nonsense", " and true"),
            ("attributes.a.b eq null", " and coalesce((attributes #> $1), 'null') = 'null'"),
        ] {
            assert_eq!(sql(filter), expected, "{filter}");
        }
    }

    #[test]
    fn quotes_decide_the_type_of_a_nested_value() {
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
    fn an_error_has_the_position_and_what_was_expected() {
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
            ("number eq x", 11, "a whole number"),
            ("number like '1%'", 8, "one of eq, ne, gt, ge, lt, le, in, bit"),
            ("name bit 4", 6, "a member with integers"),
            ("flag eq yes", 9, "`true` or `false`"),
            ("flag like 't%'", 6, "one of eq, ne, gt, ge, lt, le, in"),
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

    /// Words and symbols of the language in any order.
    const WORDS: &str = concat!(
        r#"((name|sid|attributes\.a|eq|in|and|like|null|'|"|\\|\(|\)|,|ä| ){1,3} ?)"#,
        "{0,12}"
    );

    proptest! {
        #[test]
        fn parsing_never_panics(filter in any::<String>()) {
            let _ = Filter::parse(&filter, resolve);
        }

        #[test]
        fn parsing_words_of_the_language_never_panics(filter in WORDS) {
            let _ = Filter::parse(&filter, resolve);
        }

        #[test]
        fn the_sql_does_not_depend_on_values(one in "[^\0]{0,20}", other in "[^\0]{0,20}") {
            let quoted = |value: &str| {
                format!("\"{}\"", value.replace('\\', r"\\").replace('"', r#"\""#))
            };
            for filter in
                ["name eq {}", "name ilike {}", "name in ({}, {})", "attributes.a.b ne {}"]
            {
                let with = |value: &str| sql(&filter.replace("{}", &quoted(value)));
                prop_assert_eq!(with(&one), with(&other));
            }
        }
    }
}
