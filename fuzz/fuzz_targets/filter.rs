//! The filter language: no text makes the parser panic, and the SQL of a filter contains nothing of
//! its text.

#![no_main]

use libfuzzer_sys::fuzz_target;
use shortline::short_codes::ShortCode;
use shortline::store::list::{Filter, Target};
use sqlx::QueryBuilder;

fuzz_target!(|text: &str| {
    if let Ok(filter) = Filter::parse(text, Target::of::<ShortCode>) {
        let mut sql = QueryBuilder::new("");
        filter.push(&mut sql);
        let sql = sql.sql();
        let sql = sql.as_str();
        // The generated SQL has quotes around names of JSON types, `{}`, `C` and the empty escape.
        let generated = sql.chars().all(|c| {
            c.is_ascii_lowercase() || c.is_ascii_digit() || " _$.,:()#<>='{}\"C-".contains(c)
        });
        assert!(generated, "{text} became {sql}");
    }
});
