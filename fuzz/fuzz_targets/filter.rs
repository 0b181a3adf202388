//! The filter language: no text makes the parser panic, and no part of the text becomes SQL.
//!
//! Run it with cargo-fuzz, on stable Rust:
//! `cargo fuzz run --sanitizer none filter -- -dict=fuzz/words.dict`

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
        // Quotes occur only around the names of JSON types, `{}`, `C` and the empty escape.
        let is_expected = sql.chars().all(|c| {
            c.is_ascii_lowercase() || c.is_ascii_digit() || " _$.,:()#<>='{}\"C-".contains(c)
        });
        assert!(is_expected, "{text} became {sql}");
    }
});
