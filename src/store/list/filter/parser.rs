//! The filter language: conditions on members, joined by `and`.
//!
//! ```text
//! filter    = condition *( "and" condition )
//! condition = member ( operator value / "in" "(" value *( "," value ) ")" )
//! operator  = "eq" / "ne" / "gt" / "ge" / "lt" / "le" / "like" / "ilike" / "bit"
//! value     = "null" / word / quoted    ; quoted: in single or double quotes, with a backslash
//!                                       ; before the same quote and before a backslash
//! member    = name *( "." key )         ; keys select a value inside a nested object
//! ```
//!
//! The keywords are case-insensitive. The parser is written by hand: every error names a position
//! and what was expected there, in the words of this language.

use super::condition::{Comparison, Condition, Test, Value};
use crate::input::date;
use crate::input::number::plain_number;
use crate::input::parse_sid;
use crate::store::list::target::Target;
use crate::store::resource::Kind;

/// The longest filter, in bytes.
const MAX_BYTES: usize = 4 * 1024;
/// The most conditions that a filter joins.
const MAX_CONDITIONS: usize = 32;

/// A filter that is not valid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at position {position}: expected {expected}")]
pub struct FilterError {
    /// The position of the first fault, in characters from 1.
    pub position: usize,
    /// A description of the text that was expected there.
    pub expected: String,
}

/// Parses the conditions of a filter. `resolve` returns the target of a name, or `None` if it is
/// unknown.
pub(super) fn conditions(
    text: &str,
    resolve: &impl Fn(&str) -> Option<Target>,
) -> Result<Vec<Condition>, FilterError> {
    let mut parser = Parser { text, at: 0 };
    if text.len() > MAX_BYTES {
        return Err(parser.expected(format!("at most {MAX_BYTES} bytes")));
    }
    let mut conditions = vec![parser.condition(resolve)?];
    while !parser.is_done() {
        parser.keyword("and")?;
        if conditions.len() == MAX_CONDITIONS {
            return Err(parser.expected(format!("at most {MAX_CONDITIONS} conditions")));
        }
        conditions.push(parser.condition(resolve)?);
    }
    Ok(conditions)
}

/// Parses a filter from left to right.
struct Parser<'a> {
    text: &'a str,
    /// The position of the next character, in bytes.
    at: usize,
}

/// A value in the text of a filter. Inside a nested object, quotes distinguish text from numbers
/// and booleans.
struct Literal {
    text: String,
    quoted: bool,
}

impl Parser<'_> {
    fn condition(
        &mut self,
        resolve: &impl Fn(&str) -> Option<Target>,
    ) -> Result<Condition, FilterError> {
        self.skip_blanks();
        let start = self.at;
        let name = self.word();
        let Some(target) = resolve(&name) else {
            self.at = start;
            return Err(self.expected(match name.as_str() {
                "" => "the name of a member".to_owned(),
                name => format!("the name of a member, not `{name}`"),
            }));
        };
        let test = self.test(target.kind)?;
        Ok(Condition { target, test })
    }

    fn test(&mut self, kind: Kind) -> Result<Test, FilterError> {
        const OPERATORS: &str = "one of eq, ne, gt, ge, lt, le, like, ilike, in";
        const OF_INTEGERS: &str = "one of eq, ne, gt, ge, lt, le, in, bit";
        const OF_BOOLEANS: &str = "one of eq, ne, gt, ge, lt, le, in";
        let is_integer = kind == Kind::Integer;
        let is_text = !is_integer && kind != Kind::Boolean;
        self.skip_blanks();
        let start = self.at;
        let comparison = match self.word().to_ascii_lowercase().as_str() {
            "eq" => Comparison::Eq,
            "ne" => Comparison::Ne,
            "gt" => Comparison::Gt,
            "ge" => Comparison::Ge,
            "lt" => Comparison::Lt,
            "le" => Comparison::Le,
            "like" if is_text => {
                return Ok(Test::Like { pattern: self.literal()?.text, ignore_case: false });
            }
            "ilike" if is_text => {
                return Ok(Test::Like { pattern: self.literal()?.text, ignore_case: true });
            }
            "bit" if is_integer => {
                self.skip_blanks();
                let start = self.at;
                let bits = self.literal()?.text;
                return self.integer(start, &bits).map(Test::Bits);
            }
            "in" => return Ok(Test::In(self.list(kind)?)),
            "bit" => return Err(self.error_at(start, "a member with integers before `bit`")),
            _ => {
                let expected = match kind {
                    Kind::Integer => OF_INTEGERS,
                    Kind::Boolean => OF_BOOLEANS,
                    Kind::Text | Kind::Sid | Kind::Date | Kind::Json => OPERATORS,
                };
                return Err(self.error_at(start, expected));
            }
        };
        self.skip_blanks();
        let start = self.at;
        let literal = self.literal()?;
        if literal.is_null() {
            return match comparison {
                Comparison::Eq => Ok(Test::IsNull(true)),
                Comparison::Ne => Ok(Test::IsNull(false)),
                _ => Err(self.error_at(start, "a value, since null has no order")),
            };
        }
        Ok(Test::Compare(comparison, self.value(start, literal, kind)?))
    }

    fn list(&mut self, kind: Kind) -> Result<Vec<Value>, FilterError> {
        self.sign('(')?;
        let mut values = Vec::new();
        loop {
            self.skip_blanks();
            let start = self.at;
            let literal = self.literal()?;
            if literal.is_null() {
                return Err(self.error_at(start, "a value; null goes with eq and ne"));
            }
            values.push(self.value(start, literal, kind)?);
            if self.sign(',').is_err() {
                self.sign(')')
                    .map_err(|error| FilterError { expected: "`,` or `)`".to_owned(), ..error })?;
                return Ok(values);
            }
        }
    }

    fn value(&mut self, start: usize, literal: Literal, kind: Kind) -> Result<Value, FilterError> {
        let Literal { text, quoted } = literal;
        Ok(match kind {
            Kind::Text => Value::Text(text),
            Kind::Sid => Value::Sid(parse_sid(&text)),
            Kind::Date => match date::parse(&text) {
                Ok(date) => Value::Date(date),
                Err(_) => {
                    return Err(self.error_at(start, "a date such as 2026-11-22T10:00:00.000Z"));
                }
            },
            Kind::Integer => Value::Integer(self.integer(start, &text)?),
            Kind::Boolean => match text.parse() {
                Ok(value) => Value::Boolean(value),
                Err(_) => return Err(self.error_at(start, "`true` or `false`")),
            },
            Kind::Json if quoted => Value::Text(text),
            Kind::Json => match (text.as_str(), serde_json::from_str(&text)) {
                ("true", _) => Value::Boolean(true),
                ("false", _) => Value::Boolean(false),
                (_, Ok(number)) => match plain_number(&number) {
                    Some(number) => Value::Number(number.to_string()),
                    None => return Err(self.error_at(start, "a number of at most 40 characters")),
                },
                (_, Err(_)) => Value::Text(text),
            },
        })
    }

    fn integer(&mut self, start: usize, text: &str) -> Result<i64, FilterError> {
        text.parse().map_err(|_| self.error_at(start, "a whole number"))
    }

    /// Parses a quoted value or one word.
    fn literal(&mut self) -> Result<Literal, FilterError> {
        self.skip_blanks();
        if let Some(quote @ ('"' | '\'')) = self.peek() {
            return Ok(Literal { text: self.quoted(quote)?, quoted: true });
        }
        let text = self.word();
        if text.is_empty() {
            Err(self.expected("a value"))
        } else {
            Ok(Literal { text, quoted: false })
        }
    }

    fn quoted(&mut self, quote: char) -> Result<String, FilterError> {
        let start = self.at;
        self.at += quote.len_utf8();
        let mut text = String::new();
        while let Some(next) = self.next() {
            match (next, self.peek()) {
                (next, _) if next == quote => return Ok(text),
                ('\\', Some(escaped)) if escaped == quote || escaped == '\\' => {
                    text.push(escaped);
                    self.at += escaped.len_utf8();
                }
                ('\0', _) => break,
                (next, _) => text.push(next),
            }
        }
        Err(self.error_at(start, "a value without U+0000 between two quotes"))
    }

    /// Parses the text up to the next blank, quote, bracket or comma.
    fn word(&mut self) -> String {
        self.skip_blanks();
        let rest = &self.text[self.at..];
        let ends = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '(' | ')' | ',' | '\0');
        let word = &rest[..rest.find(ends).unwrap_or(rest.len())];
        self.at += word.len();
        word.to_owned()
    }

    fn keyword(&mut self, keyword: &str) -> Result<(), FilterError> {
        self.skip_blanks();
        let start = self.at;
        if self.word().eq_ignore_ascii_case(keyword) {
            return Ok(());
        }
        Err(self.error_at(start, &format!("`{keyword}` or the end")))
    }

    fn sign(&mut self, sign: char) -> Result<(), FilterError> {
        self.skip_blanks();
        if self.peek() == Some(sign) {
            self.at += sign.len_utf8();
            return Ok(());
        }
        Err(self.expected(format!("`{sign}`")))
    }

    fn is_done(&mut self) -> bool {
        self.skip_blanks();
        self.at == self.text.len()
    }

    fn skip_blanks(&mut self) {
        self.at = self.text.len() - self.text[self.at..].trim_start().len();
    }

    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }

    fn error_at(&mut self, start: usize, expected: &str) -> FilterError {
        self.at = start;
        self.expected(expected)
    }

    fn expected(&self, expected: impl Into<String>) -> FilterError {
        FilterError {
            position: self.text[..self.at].chars().count() + 1,
            expected: expected.into(),
        }
    }
}

impl Literal {
    fn is_null(&self) -> bool {
        !self.quoted && self.text.eq_ignore_ascii_case("null")
    }
}
